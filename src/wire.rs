//! The form in which a column's value reaches a frontend: `numeric` as a string with every digit, times in UTC.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::change::{Kind, Row};

/// Reads a row's JSON object, each value into the form that its column's kind asks for.
///
/// # Errors
///
/// If the text is no JSON object.
pub fn row(json: &str, kind_of: impl Fn(&str) -> Kind) -> Result<Row, serde_json::Error> {
    RowSeed(kind_of).deserialize(&mut serde_json::Deserializer::from_str(json))
}

struct RowSeed<F>(F);

impl<'de, F: Fn(&str) -> Kind> DeserializeSeed<'de> for RowSeed<F> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: Fn(&str) -> Kind> Visitor<'de> for RowSeed<F> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut columns = Vec::new();
        while let Some(name) = map.next_key::<Cow<'_, str>>()? {
            let value: Box<RawValue> = map.next_value()?;
            let value = wire((self.0)(&name), value);
            columns.push((name.into(), value));
        }
        Ok(columns.into_iter().collect())
    }
}

/// The value as a frontend receives it. A value that does not have its kind's form (the column had another type when
/// it was written; `NaN`; `infinity`) stays as it is.
pub fn wire(kind: Kind, value: Box<RawValue>) -> Box<RawValue> {
    let text = value.get();
    let converted = match kind {
        Kind::Plain => None,
        Kind::Decimal => is_number(text).then(|| format!("\"{text}\"")),
        Kind::DecimalArray => each_item(text, |item| is_number(item).then(|| format!("\"{item}\""))),
        Kind::TimestampArray => each_item(text, utc),
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

/// `[1.50,null,[2]]` becomes `["1.50",null,["2"]]`: what an item becomes, where it becomes something. No item holds a comma
/// or a bracket.
fn each_item(json: &str, converted: impl Fn(&str) -> Option<String>) -> Option<String> {
    if !json.starts_with('[') {
        return None;
    }
    let mut items = String::with_capacity(json.len() + 16);
    for piece in json.split_inclusive([',', '[', ']']) {
        let (token, delimiter) = match piece.strip_suffix([',', '[', ']']) {
            Some(token) => (token, &piece[token.len()..]),
            None => (piece, ""),
        };
        items.push_str(converted(token).as_deref().unwrap_or(token));
        items.push_str(delimiter);
    }
    Some(items)
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
    fn times_in_arrays_are_utc_too() {
        let postgres = r#"["2026-01-31T12:00:00+02:00",null,"infinity"]"#;
        assert_eq!(wired(Kind::TimestampArray, postgres), r#"["2026-01-31T10:00:00.000Z",null,"infinity"]"#);
        let nested = r#"[["2026-01-31T12:00:00"],[]]"#;
        assert_eq!(wired(Kind::TimestampArray, nested), r#"[["2026-01-31T12:00:00.000Z"],[]]"#);
        assert_eq!(wired(Kind::TimestampArray, "null"), "null");
    }

    #[test]
    fn a_value_of_the_columns_former_type_stays_as_it_was() {
        assert_eq!(wired(Kind::Decimal, "\"twelve\""), "\"twelve\"");
        assert_eq!(wired(Kind::Timestamp, "17"), "17");
        assert_eq!(wired(Kind::DecimalArray, "{}"), "{}");
    }
}
