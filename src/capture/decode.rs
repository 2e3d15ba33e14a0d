//! From a row of the change log to [`Change`]s: the one place where its columns are parsed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio_postgres::types::Json;

use super::{CaptureError, piece::Piece};
use crate::{
    change::{Change, Kind, Op, Row, TableName, Tables},
    wire::{self, Layout},
};

/// The columns that are read, in this order.
pub const COLUMNS: &str = r#"id, xid::text, op::text, at, schema, "table", old, new, actor"#;

/// How the rows of each table were read last; good for as long as the tables are the same.
pub type Layouts = HashMap<TableName, Layout>;

/// Which row of the change log: its id, and the transaction that wrote it. An id alone may be handed out anew when a database
/// was restored.
pub type Key = (i64, u64);

/// The key of a row of [`COLUMNS`] whose first column stands at `first`.
pub fn key(row: &tokio_postgres::Row, first: usize) -> Result<Key, CaptureError> {
    let xid: &str = row.try_get(first + 1)?;
    Ok((row.try_get(first)?, xid.parse().map_err(|_| malformed(&format!("the transaction id {xid:?}")))?))
}

/// Decodes a row of [`COLUMNS`] whose first column stands at `first` to the end of `changes`, and tells how many bytes its
/// values hold. It is one change, or, with a small letter for its operation, those of many rows of a statement.
pub fn changes(
    row: &tokio_postgres::Row,
    first: usize,
    tables: &Tables,
    layouts: &mut Layouts,
    changes: &mut Vec<Change>,
) -> Result<usize, CaptureError> {
    let (id, xid) = key(row, first)?;
    let (op, many) = match row.try_get::<_, &str>(first + 2)? {
        "I" => (Op::Insert, false),
        "U" => (Op::Update, false),
        "D" => (Op::Delete, false),
        "T" => (Op::Truncate, false),
        "i" => (Op::Insert, true),
        "u" => (Op::Update, true),
        "d" => (Op::Delete, true),
        other => return Err(malformed(&format!("the operation {other:?}, expected I, U, D, T, i, u or d"))),
    };
    let table = TableName::new(row.try_get(first + 4)?, row.try_get(first + 5)?);
    let shape = tables.get(&table);
    let kind_of = |column: &str| shape.map_or(Some(Kind::Plain), |table| table.kind_of(column));
    let at: DateTime<Utc> = row.try_get(first + 3)?;
    let actor: Option<String> = row.try_get(first + 8)?;
    let change = |id, old, new| Change { id, xid, at, table: table.clone(), op, old, new, actor: actor.clone() };
    let json = |column| -> Result<Option<&str>, CaptureError> {
        Ok(row.try_get::<_, Option<Json<&RawValue>>>(column)?.map(|Json(raw)| raw.get()))
    };
    let (old, new) = (json(first + 6)?, json(first + 7)?);
    if many {
        let piece = Piece::read(new.unwrap_or("null"), op, kind_of)
            .map_err(|error| malformed(&format!("rows of a statement that can't be read: {error}")))?;
        if piece.last_id() != Some(id) {
            return Err(malformed(&format!(
                "rows of a statement that end with the id {:?}, expected {id}",
                piece.last_id()
            )));
        }
        changes.extend(piece.rows().map(|(id, old, new)| change(id, old, new)));
    } else {
        let layout = layouts.entry(table.clone()).or_default();
        let mut side = |json: Option<&str>| -> Result<Option<Row>, CaptureError> {
            let row = json.map(|json| wire::row_like(layout, json, kind_of)).transpose();
            row.map_err(|error| malformed(&format!("a row that is no object: {error}")))
        };
        let (old, new) = (side(old)?, side(new)?);
        changes.push(change(id, old, new));
    }
    Ok(old.map_or(0, str::len) + new.map_or(0, str::len))
}

fn malformed(what: &str) -> CaptureError {
    CaptureError::Log(format!("the change log holds {what}"))
}
