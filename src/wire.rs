//! The form in which a column's value reaches a frontend: `numeric` as a string with every digit, times in UTC.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::change::{Kind, Names, Row};

/// Reads a row's JSON object, each value into the form that its column's kind asks for; columns of no kind are left out.
///
/// # Errors
///
/// If the text is no JSON object.
pub fn row(json: &str, kind_of: impl Fn(&str) -> Option<Kind>) -> Result<Row, serde_json::Error> {
    row_like(&mut Layout::default(), json, kind_of)
}

/// As [`row`], for rows of one table, one after the other: most have the columns of the one before, and take from it what
/// needn't be worked out again. A layout is good for as long as the kinds are the same.
pub fn row_like(
    layout: &mut Layout,
    json: &str,
    kind_of: impl Fn(&str) -> Option<Kind>,
) -> Result<Row, serde_json::Error> {
    RowSeed { layout, kind_of }.deserialize(&mut serde_json::Deserializer::from_str(json))
}

/// The columns of the last row that had each once.
#[derive(Debug, Default)]
pub struct Layout {
    names: Names,
    /// In the order of the text: a column's place among the names, and its kind.
    columns: Vec<(usize, Kind)>,
}

impl Layout {
    /// `kinds`: of each column, in the order of the text. Where a name comes twice, rows can't be read by it: it is empty.
    fn of(row: &Row, kinds: &[(Box<str>, Kind)]) -> Self {
        if row.names().len() != kinds.len() {
            return Self::default();
        }
        let columns = kinds.iter().filter_map(|(name, kind)| Some((row.place(name)?, *kind))).collect();
        Self { names: row.names().clone(), columns }
    }
}

struct RowSeed<'l, F> {
    layout: &'l mut Layout,
    kind_of: F,
}

/// A JSON string, borrowed where it has no escapes; `Cow` alone always owns what it reads.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl<'de, F: Fn(&str) -> Option<Kind>> DeserializeSeed<'de> for RowSeed<'_, F> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: Fn(&str) -> Option<Kind>> Visitor<'de> for RowSeed<'_, F> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let Self { layout, kind_of } = self;
        let Layout { names, columns } = &*layout;
        let mut values: Vec<Option<Box<RawValue>>> = vec![None; names.len()];
        let mut alike = 0;
        let mut unknown = None;
        while let Some(Text(name)) = map.next_key()? {
            match columns.get(alike) {
                Some(&(place, kind)) if *names[place] == *name => {
                    values[place] = Some(wire(kind, map.next_value()?));
                    alike += 1;
                }
                _ => {
                    unknown = Some(name);
                    break;
                }
            }
        }
        if unknown.is_none() && alike == columns.len() {
            return Ok(Row::new(names.clone(), values.into_iter().flatten().collect()));
        }

        // It has other columns than the one before.
        let (mut read, mut kinds) = (Vec::new(), Vec::new());
        for &(place, kind) in &columns[..alike] {
            read.extend(values[place].take().map(|value| (names[place].clone(), value)));
            kinds.push((names[place].clone(), kind));
        }
        while let Some(name) = unknown {
            match kind_of(&name) {
                Some(kind) => {
                    read.push((name.as_ref().into(), wire(kind, map.next_value()?)));
                    kinds.push((name.into(), kind));
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
            unknown = map.next_key()?.map(|Text(name)| name);
        }
        let row: Row = read.into_iter().collect();
        *layout = Layout::of(&row, &kinds);
        Ok(row)
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
    fn columns_of_no_kind_are_left_out_of_each_row() {
        let kind_of = |name: &str| (name != "virtual").then_some(Kind::Plain);
        let mut layout = Layout::default();
        for _ in 0..2 {
            let read = row_like(&mut layout, r#"{"a":1,"virtual":[null],"z":2}"#, kind_of).unwrap();
            let columns: Vec<_> = read.columns().map(|(name, value)| (name, value.get())).collect();
            assert_eq!(columns, [("a", "1"), ("z", "2")]);
        }
    }

    #[test]
    fn rows_are_read_the_same_whatever_the_row_before_them_was() {
        let kind_of = |name: &str| Some(if name.starts_with('d') { Kind::Decimal } else { Kind::Plain });
        let rows = [
            r#"{"id":"a","d":1.50,"c":null}"#,
            r#"{"id":"b","d":2,"c":[1]}"#,        // the same columns
            r#"{"id":"c","d":3}"#,                // one fewer
            r#"{"id":"d","d":4,"c":0,"e":{}}"#,   // two more
            r#"{"d":5,"id":"e","c":0,"e":1}"#,    // another order
            r#"{"id":"f","id":"g","d":6,"d":7}"#, // a name twice
            r#"{"id":"h","id":"i","d":8,"d":9}"#,
            r#"{"id":"\u006a","\u0064":10}"#,
            "{}",
            r#"{"id":"k"}"#,
        ];
        for pair in rows.iter().flat_map(|one| rows.iter().map(move |other| [one, other])) {
            let mut layout = Layout::default();
            for json in pair {
                let alone = row(json, kind_of).unwrap().to_json();
                assert_eq!(row_like(&mut layout, json, kind_of).unwrap().to_json(), alone, "{pair:?}");
            }
        }
        assert_eq!(row(rows[0], kind_of).unwrap().to_json(), r#"{"c":null,"d":"1.50","id":"a"}"#);
        assert_eq!(row(rows[5], kind_of).unwrap().to_json(), r#"{"d":"7","id":"g"}"#);
        assert_eq!(row(rows[7], kind_of).unwrap().to_json(), r#"{"d":"10","id":"\u006a"}"#);
    }

    #[test]
    fn rows_of_the_same_columns_share_their_names() {
        let mut layout = Layout::default();
        let mut read = |json| row_like(&mut layout, json, |_| Some(Kind::Plain)).unwrap();
        let (first, second, third) = (read(r#"{"b":1,"a":2}"#), read(r#"{"b":3,"a":4}"#), read(r#"{"a":3,"c":4}"#));
        assert!(std::sync::Arc::ptr_eq(first.names(), second.names()));
        assert!(!std::sync::Arc::ptr_eq(first.names(), third.names()));
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
