//! The rows of a large statement that share a row of the change log, column by column, as `rowcast.capture_statement()`
//! writes them: `{"ids": [7, 8], "old": {"stock": [5, 5]}, "new": {"id": ["a", "b"], "stock": [4, 5]}}`.
//!
//! Of an update `old` has only the columns in which at least one of these rows differs from before.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, de::Error as _};
use serde_json::value::RawValue;

use crate::{
    change::{Kind, Names, Op, Row},
    wire,
};

/// The rows of a piece, read.
#[derive(Debug)]
pub struct Piece {
    ids: Vec<i64>,
    op: Op,
    before: Columns,
    after: Columns,
}

/// Columns in alphabetical order, each with its values in the form that a frontend receives.
#[derive(Debug, Default)]
struct Columns {
    names: Names,
    values: Vec<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
struct Written<'a> {
    ids: Vec<i64>,
    #[serde(borrow)]
    old: Option<Values<'a>>,
    #[serde(borrow)]
    new: Option<Values<'a>>,
}

/// By column.
type Values<'a> = BTreeMap<Cow<'a, str>, Vec<Box<RawValue>>>;

impl Piece {
    /// # Errors
    ///
    /// If it is no such object, a column has not as many values as there are ids, or `old` has a column that `new` lacks.
    pub fn read(json: &str, op: Op, kind_of: impl Fn(&str) -> Option<Kind>) -> Result<Self, serde_json::Error> {
        let Written { ids, old, new } = serde_json::from_str(json)?;
        let columns = |values: Option<Values<'_>>| {
            let (mut names, mut columns) = (Vec::new(), Vec::new());
            for (name, column) in values.unwrap_or_default() {
                if column.len() != ids.len() {
                    return Err(serde_json::Error::custom(format_args!(
                        "{} ids, and {} values of {name}",
                        ids.len(),
                        column.len()
                    )));
                }
                let Some(kind) = kind_of(&name) else { continue };
                names.push(name.into());
                columns.push(column.into_iter().map(|value| wire::wire(kind, value)).collect());
            }
            Ok(Columns { names: names.into(), values: columns })
        };
        let (before, after) = (columns(old)?, columns(new)?);
        if op == Op::Update
            && let Some(name) = before.names.iter().find(|name| after.place(name).is_none())
        {
            return Err(serde_json::Error::custom(format_args!("a value of {name} before, and none after")));
        }
        Ok(Self { ids, op, before, after })
    }

    /// The id of the log's row.
    pub fn last_id(&self) -> Option<i64> {
        self.ids.last().copied()
    }

    /// Each row's id, the row before and the row after; but none that an update left as it was.
    pub fn rows(self) -> impl Iterator<Item = (i64, Option<Row>, Option<Row>)> {
        let Self { ids, op, before, after } = self;
        ids.into_iter().enumerate().filter_map(move |(place, id)| match op {
            Op::Insert => Some((id, None, Some(after.row(place)))),
            Op::Delete => Some((id, Some(before.row(place)), None)),
            Op::Truncate => None,
            Op::Update => {
                let (new, mut old) = (after.row(place), after.values_at(place));
                let mut differs = false;
                for (name, values) in before.names.iter().zip(&before.values) {
                    let value = &mut old[after.place(name).expect("looked up when it was read")];
                    differs |= value.get() != values[place].get();
                    value.clone_from(&values[place]);
                }
                differs.then(|| (id, Some(Row::new(after.names.clone(), old)), Some(new)))
            }
        })
    }
}

impl Columns {
    fn place(&self, column: &str) -> Option<usize> {
        self.names.binary_search_by(|name| (**name).cmp(column)).ok()
    }

    fn values_at(&self, place: usize) -> Vec<Box<RawValue>> {
        self.values.iter().map(|column| column[place].clone()).collect()
    }

    fn row(&self, place: usize) -> Row {
        Row::new(self.names.clone(), self.values_at(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(column: &str) -> Option<Kind> {
        Some(if column == "price" { Kind::Decimal } else { Kind::Plain })
    }

    fn rows(op: Op, json: &str) -> Vec<(i64, Option<String>, Option<String>)> {
        let piece = Piece::read(json, op, kind_of).unwrap();
        piece.rows().map(|(id, old, new)| (id, old.map(|row| row.to_json()), new.map(|row| row.to_json()))).collect()
    }

    fn error(json: &str) -> String {
        Piece::read(json, Op::Update, kind_of).unwrap_err().to_string()
    }

    #[test]
    fn the_row_before_is_the_row_after_but_for_what_differs() {
        let json =
            r#"{"ids": [7, 9], "old": {"price": [1.50, 2.00]}, "new": {"price": [1.60, 2.10], "id": ["a", "b"]}}"#;
        let row = |json: &str| Some(json.to_owned());
        assert_eq!(
            rows(Op::Update, json),
            [
                (7, row(r#"{"id":"a","price":"1.50"}"#), row(r#"{"id":"a","price":"1.60"}"#)),
                (9, row(r#"{"id":"b","price":"2.00"}"#), row(r#"{"id":"b","price":"2.10"}"#)),
            ]
        );
    }

    #[test]
    fn a_row_that_was_left_as_it_was_is_no_change() {
        let json = r#"{"ids": [7, 8, 9], "old": {"stock": [5, 6, 7]}, "new": {"stock": [5, 0, 7]}}"#;
        let changes = rows(Op::Update, json);
        assert_eq!(changes.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn rows_that_were_inserted_have_no_row_before_and_deleted_ones_none_after() {
        let row = Some(r#"{"\"q\"":null}"#.to_owned());
        assert_eq!(
            rows(Op::Insert, r#"{"ids": [7], "old": null, "new": {"\"q\"": [null]}}"#),
            [(7, None, row.clone())]
        );
        assert_eq!(rows(Op::Delete, r#"{"ids": [7], "old": {"\"q\"": [null]}, "new": null}"#), [(7, row, None)]);
        assert_eq!(rows(Op::Insert, r#"{"ids": [7], "old": null, "new": null}"#), [(7, None, Some("{}".to_owned()))]);
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        assert!(error("null").contains("invalid type"), "{}", error("null"));
        let short = error(r#"{"ids": [7, 8], "old": {}, "new": {"id": ["a"]}}"#);
        assert!(short.contains("2 ids, and 1 values of id"), "{short}");
        let lacks = error(r#"{"ids": [7], "old": {"gone": [1]}, "new": {"id": ["a"]}}"#);
        assert!(lacks.contains("a value of gone before, and none after"), "{lacks}");
    }
}
