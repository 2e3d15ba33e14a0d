//! The watched tables as they are now: which columns they have, and of which kind.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Row};

use super::{CaptureError, statement::Statement};
use crate::change::{Change, Column, Kind, OWN_SCHEMA, Op, Table, TableName, Tables};

/// A domain counts as the type below it. A digest is text. From Postgres 18 on a generated column may be virtual.
const TABLES: &str = r#"
select w.schema, w."table", w.enabled, a.attname::text, not a.attnotnull as nullable, a.attgenerated = 'v' as is_virtual,
       format_type(captured.type, captured.modifier) as sql_type, base.oid as base_type, base.typname::text as base_name,
       array(select e.enumlabel::text from pg_catalog.pg_enum e
             where e.enumtypid in (base.oid, nullif(base.typelem, 0)) order by e.enumsortorder) as labels
from rowcast.watched w
join pg_catalog.pg_attribute a on a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
     and not a.attname::text = any (w.excluded)
     and (w.only_columns is null or a.attname::text = any (w.only_columns || w.digest_columns))
cross join lateral (
  select case when d.is_digest then 'text'::regtype::oid else a.atttypid end, case when d.is_digest then -1 else a.atttypmod end
  from (select a.attname::text = any (w.digest_columns)) as d (is_digest)) as captured (type, modifier)
join pg_catalog.pg_type t on t.oid = captured.type
join pg_catalog.pg_type base on base.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
"#;

/// Oids of `pg_catalog.pg_type`, the same in every Postgres (`pg_type.dat`).
mod oid {
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMP_ARRAY: u32 = 1115;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const TIMESTAMPTZ_ARRAY: u32 = 1185;
    pub const NUMERIC_ARRAY: u32 = 1231;
    pub const NUMERIC: u32 = 1700;
}

/// Reads the watched tables from the catalogs of Postgres.
pub async fn read(client: &Client) -> Result<Tables, CaptureError> {
    decode(&client.query_typed(TABLES, &[]).await?)
}

/// The statement for [`read_by`]. To plan it takes Postgres longer than to run it.
pub async fn reading(client: &Client, pooled: bool) -> Result<Statement, CaptureError> {
    Ok(Statement::new(client, pooled, TABLES, &[]).await?)
}

/// As [`read`], for who reads them again and again.
pub async fn read_by(reading: &Statement, client: &Client) -> Result<Tables, CaptureError> {
    decode(&reading.query(client, Vec::new()).await?)
}

fn decode(rows: &[Row]) -> Result<Tables, CaptureError> {
    let mut tables: BTreeMap<TableName, Table> = BTreeMap::new();
    for row in rows {
        let table = tables.entry(TableName::new(row.try_get(0)?, row.try_get(1)?)).or_default();
        table.captured = row.try_get(2)?;
        let name: &str = row.try_get(3)?;
        if row.try_get(5)? {
            table.virtual_columns.insert(name.into());
            continue;
        }
        let kind = match row.try_get::<_, u32>(7)? {
            oid::NUMERIC => Kind::Decimal,
            oid::NUMERIC_ARRAY => Kind::DecimalArray,
            oid::TIMESTAMP | oid::TIMESTAMPTZ => Kind::Timestamp,
            oid::TIMESTAMP_ARRAY | oid::TIMESTAMPTZ_ARRAY => Kind::TimestampArray,
            _ => Kind::Plain,
        };
        let column = Column {
            kind,
            nullable: row.try_get(4)?,
            sql_type: row.try_get(6)?,
            base_type: row.try_get(8)?,
            labels: row.try_get(9)?,
        };
        table.columns.insert(name.into(), column);
    }
    Ok(tables.into_iter().collect())
}

/// Whether a change has the columns that its table is known to have. If not, the table was altered since.
pub fn fits(change: &Change, tables: &Tables) -> bool {
    let Some(row) = change.row() else { return change.op == Op::Truncate };
    // The rows of a schedule are written in their final form.
    let Some(table) = tables.get(&change.table) else { return &*change.table.schema == OWN_SCHEMA };
    row.columns().map(|(name, _)| name).eq(table.columns.keys().map(|name| &**name))
}
