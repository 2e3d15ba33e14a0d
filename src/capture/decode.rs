//! From a row of the change log to a [`Change`]: the one place where its columns are parsed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio_postgres::types::Json;

use super::CaptureError;
use crate::{
    change::{Change, Kind, Op, Row, TableName, Tables},
    wire::{self, Layout},
};

/// The columns that [`change`] reads, in this order.
pub const COLUMNS: &str = r#"id, xid::text, op::text, at, schema, "table", old, new, actor"#;

/// How the rows of each table were read last; good for as long as the tables are the same.
pub type Layouts = HashMap<TableName, Layout>;

/// Decodes a row of [`COLUMNS`] whose first column stands at `first`, and tells how many bytes its values hold.
pub fn change(
    row: &tokio_postgres::Row,
    first: usize,
    tables: &Tables,
    layouts: &mut Layouts,
) -> Result<(Change, usize), CaptureError> {
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
    let kind_of = |column: &str| shape.and_then(|table| table.columns.get(column)).map_or(Kind::Plain, |it| it.kind);
    let layout = layouts.entry(table.clone()).or_default();
    let mut bytes = 0;
    let mut side = |column| -> Result<Option<Row>, CaptureError> {
        let Some(Json(raw)) = row.try_get::<_, Option<Json<&RawValue>>>(column)? else { return Ok(None) };
        bytes += raw.get().len();
        let row = wire::row_like(layout, raw.get(), kind_of);
        row.map(Some).map_err(|error| malformed(&format!("a row that is no object: {error}")))
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
