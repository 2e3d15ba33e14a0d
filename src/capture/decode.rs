//! From a row of the change log to a [`Change`]: the one place where its columns are parsed.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio_postgres::types::Json;

use super::CaptureError;
use crate::change::{Change, Kind, Op, Row, Table, TableName, Tables};

/// The columns that [`change`] reads, in this order.
pub const COLUMNS: &str = r#"id, xid::text, op::text, at, schema, "table", old, new, actor"#;

/// Decodes a row of [`COLUMNS`] whose first column stands at `first`, and tells how many bytes its values hold.
pub fn change(row: &tokio_postgres::Row, first: usize, tables: &Tables) -> Result<(Change, usize), CaptureError> {
    let malformed = |what: &str| CaptureError::Log(format!("the change log holds {what}"));
    let xid: &str = row.try_get(first + 1)?;
    let op = match row.try_get::<_, &str>(first + 2)? {
        "I" => Op::Insert,
        "U" => Op::Update,
        "D" => Op::Delete,
        "T" => Op::Truncate,
        other => return Err(malformed(&format!("the operation {other:?}, expected I, U, D or T"))),
    };
    let table = TableName::new(row.try_get(first + 4)?, row.try_get(first + 5)?);
    let shape = tables.get(&table);
    let mut bytes = 0;
    let mut side = |column| -> Result<Option<Row>, CaptureError> {
        let Some(Json(raw)) = row.try_get::<_, Option<Json<&RawValue>>>(column)? else { return Ok(None) };
        bytes += raw.get().len();
        let mut json = serde_json::Deserializer::from_str(raw.get());
        RowSeed(shape)
            .deserialize(&mut json)
            .map(Some)
            .map_err(|error| malformed(&format!("a row that is no object: {error}")))
    };
    let (old, new) = (side(first + 6)?, side(first + 7)?);
    let change = Change {
        id: row.try_get(first)?,
        xid: xid.parse().map_err(|_| malformed(&format!("the transaction id {xid:?}")))?,
        at: row.try_get::<_, DateTime<Utc>>(first + 3)?,
        table,
        op,
        old,
        new,
        actor: row.try_get(first + 8)?,
    };
    Ok((change, bytes))
}

/// Reads a row's JSON object, each value into the form that its column's kind asks for.
struct RowSeed<'a>(Option<&'a Table>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut columns = Vec::new();
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            let value: Box<RawValue> = map.next_value()?;
            let kind = self.0.and_then(|table| table.columns.get(&*name)).map_or(Kind::Plain, |column| column.kind);
            columns.push((name.into(), wire(kind, value)));
        }
        Ok(columns.into_iter().collect())
    }
}

/// The value as a frontend receives it. A value that does not have its kind's form (the column had another type when
/// it was written; `NaN`; `infinity`) stays as it is.
fn wire(kind: Kind, value: Box<RawValue>) -> Box<RawValue> {
    let text = value.get();
    let converted = match kind {
        Kind::Plain => None,
        Kind::Decimal => is_number(text).then(|| format!("\"{text}\"")),
        Kind::DecimalArray => quote_numbers(text),
        Kind::Timestamp => utc(text),
    };
    match converted {
        Some(json) => RawValue::from_string(json).expect("a quoted number or time is JSON"),
        None => value,
    }
}

fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// `[1.50,null,[2]]` becomes `["1.50",null,["2"]]`.
fn quote_numbers(json: &str) -> Option<String> {
    if !json.starts_with('[') {
        return None;
    }
    let mut quoted = String::with_capacity(json.len() + 16);
    for piece in json.split_inclusive([',', '[', ']']) {
        let (token, delimiter) = match piece.strip_suffix([',', '[', ']']) {
            Some(token) => (token, &piece[token.len()..]),
            None => (piece, ""),
        };
        match is_number(token) {
            true => quoted.extend(["\"", token, "\""]),
            false => quoted.push_str(token),
        }
        quoted.push_str(delimiter);
    }
    Some(quoted)
}

/// `"2026-01-31T12:00:00.5+02:00"` becomes `"2026-01-31T10:00:00.500Z"`; a time without a zone is taken as UTC.
fn utc(json: &str) -> Option<String> {
    let text = json.strip_prefix('"')?.strip_suffix('"')?;
    let time = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.with_timezone(&Utc),
        Err(_) => text.parse::<NaiveDateTime>().ok()?.and_utc(),
    };
    let format = if time.timestamp_subsec_micros() % 1000 == 0 { SecondsFormat::Millis } else { SecondsFormat::Micros };
    Some(format!("\"{}\"", time.to_rfc3339_opts(format, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wired(kind: Kind, json: &str) -> String {
        wire(kind, RawValue::from_string(json.into()).unwrap()).get().into()
    }

    #[test]
    fn a_decimal_keeps_every_digit_as_a_string() {
        let digits = "-123456789012345678901234567890.123456789012345678901234567890";
        assert_eq!(wired(Kind::Decimal, digits), format!("\"{digits}\""));
        assert_eq!(wired(Kind::Decimal, "null"), "null");
        assert_eq!(wired(Kind::Decimal, "\"NaN\""), "\"NaN\"");
    }

    #[test]
    fn decimals_in_arrays_are_strings_too() {
        assert_eq!(wired(Kind::DecimalArray, "[1.50,null,-2]"), r#"["1.50",null,"-2"]"#);
        assert_eq!(wired(Kind::DecimalArray, "[[1.5],[\"NaN\"]]"), r#"[["1.5"],["NaN"]]"#);
        assert_eq!(wired(Kind::DecimalArray, "[]"), "[]");
        assert_eq!(wired(Kind::DecimalArray, "null"), "null");
    }

    #[test]
    fn times_are_utc_whatever_the_sessions_time_zone_was() {
        for (postgres, frontend) in [
            (r#""2026-01-31T12:00:00.123+05:30""#, r#""2026-01-31T06:30:00.123Z""#),
            (r#""2026-01-31T12:00:00.123456+00:00""#, r#""2026-01-31T12:00:00.123456Z""#),
            (r#""2026-01-31T12:00:00""#, r#""2026-01-31T12:00:00.000Z""#),
            (r#""infinity""#, r#""infinity""#),
            (r#""0044-03-15T00:00:00 BC""#, r#""0044-03-15T00:00:00 BC""#),
            ("null", "null"),
        ] {
            assert_eq!(wired(Kind::Timestamp, postgres), frontend);
        }
    }

    #[test]
    fn a_value_of_the_columns_former_type_stays_as_it_was() {
        assert_eq!(wired(Kind::Decimal, "\"twelve\""), "\"twelve\"");
        assert_eq!(wired(Kind::Timestamp, "17"), "17");
        assert_eq!(wired(Kind::DecimalArray, "{}"), "{}");
    }
}
