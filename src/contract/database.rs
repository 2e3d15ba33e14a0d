//! What the database at hand has of all that the catalog names: tables and their columns, lookups, schedules.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio_postgres::{
    Client,
    types::{Kind as TypeKind, Type},
};

use super::{infer::Columns, shape};
use crate::{
    capture::{Connection, describe, read_tables},
    catalog::{Catalog, Engine, Inactive, describe::QueryView},
    change::{Column, Kind, OWN_SCHEMA, TableName},
    config::{Config, DatabaseUrl},
    error::Error,
    migrate, pool,
};

/// What was found. Nothing is written into the database.
pub struct Database {
    pub(super) client: Connection,
    /// Who asks, as SQL names the role.
    pub role: String,
    pub tables: BTreeMap<TableName, Found>,
    /// By their places in the catalog.
    pub lookups: Vec<Prepared>,
    /// By their places in the catalog.
    pub schedules: Vec<Prepared>,
    /// The rules, and audiences of rules, that are not live.
    pub inactive: Vec<Inactive>,
    /// Why announcements reach nobody, if the catalog has them and they don't.
    pub unannounced: Option<String>,
}

/// A table that a rule names.
#[derive(Debug)]
pub struct Found {
    pub state: TableState,
    /// Its columns that are left out of capture.
    pub excluded: Vec<String>,
    /// Where only some columns are captured: the list, as it was given.
    pub only: Option<Vec<String>>,
    /// Its captured columns; `None` where they can't be told.
    pub columns: Option<Columns>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableState {
    Watched,
    /// Its capture triggers are missing or disabled.
    Disabled,
    Unwatched,
    Missing,
    /// It is a view, or something else that no trigger of rows can watch: what it is.
    Unwatchable(&'static str),
    /// It stands for a schedule, or for what the gateway knows.
    Own,
}

/// A lookup or a schedule, prepared.
#[derive(Debug)]
pub enum Prepared {
    Runnable {
        sql: String,
        columns: Columns,
    },
    /// Why the database refuses it.
    Refused(String),
}

impl Prepared {
    pub fn columns(&self) -> Option<&Columns> {
        match self {
            Self::Runnable { columns, .. } => Some(columns),
            Self::Refused(_) => None,
        }
    }
}

impl Database {
    /// Looks at the database with the eyes of `rowcast serve`.
    ///
    /// # Errors
    ///
    /// If the database can't be reached, or was never migrated.
    pub async fn read(catalog: &Arc<Catalog>, config: &Config, url: &DatabaseUrl) -> Result<Self, Error> {
        let pool = pool::open(&config.lookups, url, "contract").await?;
        migrate::require_current(&pool).await?;
        let failed = |error: crate::capture::CaptureError| Error::Database(error.to_string());
        let client = Connection::open(&url.for_capture()?, "contract").await.map_err(failed)?;
        let second = Connection::open(&url.for_capture()?, "contract").await.map_err(failed)?;
        refuse_forgetful_pooler(&client, &second).await?;
        drop(second);
        let watched = read_tables(&client).await.map_err(failed)?;
        let inactive = Engine::new(catalog.clone(), pool.clone()).bind(&watched).await;

        let mut tables = BTreeMap::new();
        for (name, table) in watched.iter() {
            let state = if table.captured { TableState::Watched } else { TableState::Disabled };
            tables.insert(
                name.clone(),
                Found {
                    state,
                    columns: Some(shapes(&table.columns)),
                    excluded: excluded(&client, name).await?,
                    only: only(&client, name).await?,
                },
            );
        }
        for (name, columns) in catalog.own_tables(&pool).await.iter() {
            let columns = columns.map(|columns| shapes(columns.iter()));
            tables.insert(name.clone(), Found { state: TableState::Own, columns, excluded: Vec::new(), only: None });
        }
        let unannounced = match catalog.announces() {
            true => catalog.recipients_of_announcements(&pool).await.err(),
            false => None,
        };
        pool.close().await;
        for name in catalog.tables() {
            if !tables.contains_key(name) {
                tables.insert(name.clone(), unwatched(&client, name).await?);
            }
        }
        let lookups = prepare_all(&client, catalog.described_lookups()).await;
        let schedules = prepare_all(&client, catalog.described_schedules()).await;
        for (schedule, prepared) in catalog.schedules().iter().zip(&schedules) {
            // These know which columns are never null.
            if let (Some(found), Some(columns)) = (tables.get_mut(&schedule.table()), prepared.columns()) {
                found.columns = Some(columns.clone());
            }
        }
        let role = client.query_one("select quote_ident(current_user)", &[]).await;
        let role = role.map_err(|error| Error::Database(describe(&error)))?.get(0);
        Ok(Self { client, role, tables, lookups, schedules, inactive, unannounced })
    }

    pub fn table(&self, name: &TableName) -> Option<&Found> {
        self.tables.get(name)
    }
}

/// How long a statement may take that asks nothing of the database.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Refuses a pooler that gives each transaction another of its connections and forgets what was prepared on which: what one
/// session prepared another runs, so the answers would be to other questions.
///
/// A statement is prepared, and must be what is run: at once, for poolers whose connections take turns, and while `other`
/// keeps the connection that was used last, for those that hand out that one next.
async fn refuse_forgetful_pooler(client: &Client, other: &Client) -> Result<(), Error> {
    let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let asked = format!("rowcast {} {unique}", std::process::id());
    let probe = async {
        let statement = client.prepare(&format!("select '{asked}'")).await?;
        let is_answered = async || {
            let row = client.query_one(&statement, &[]).await?;
            Ok::<bool, tokio_postgres::Error>(row.try_get::<_, &str>(0).is_ok_and(|answer| answer == asked))
        };
        let at_once = is_answered().await? && is_answered().await?;
        other.batch_execute("begin").await?;
        let kept = tokio::time::timeout(PROBE_TIMEOUT, is_answered()).await;
        other.batch_execute("rollback").await?;
        Ok::<bool, tokio_postgres::Error>(at_once && kept.unwrap_or(Ok(false))?)
    };
    match probe.await {
        Ok(true) => Ok(()),
        Err(error) if error.is_closed() => Err(Error::Database(describe(&error))),
        Ok(false) | Err(_) => Err(Error::Unreachable(
            "a transaction pooler stands between that loses prepared statements, so nothing could be told for sure. Give \
             rowcast a direct connection, or let the pooler keep them (PgBouncer from 1.21 on: max_prepared_statements)"
                .into(),
        )),
    }
}

fn shapes<'a>(columns: impl IntoIterator<Item = (&'a Box<str>, &'a Column)>) -> Columns {
    columns.into_iter().map(|(name, column)| (name.to_string(), shape::of_column(column))).collect()
}

/// The columns of a watched table that are left out of capture, as far as they are there.
async fn excluded(client: &Client, name: &TableName) -> Result<Vec<String>, Error> {
    const EXCLUDED: &str = "
        select a.attname::text from rowcast.watched w
        join pg_catalog.pg_attribute a on a.attrelid = w.relation and a.attnum > 0 and not a.attisdropped
             and (a.attname::text = any (w.excluded)
                  or w.only_columns is not null and not a.attname::text = any (w.only_columns || w.digest_columns))
        where w.schema = $1 and w.\"table\" = $2 order by 1";
    let found = client.query(EXCLUDED, &[&&*name.schema, &&*name.name]).await;
    let found = found.map_err(|error| Error::Database(describe(&error)))?;
    Ok(found.iter().map(|row| row.get(0)).collect())
}

/// The list of the only columns of a watched table that are captured, if it has one.
async fn only(client: &Client, name: &TableName) -> Result<Option<Vec<String>>, Error> {
    const ONLY: &str = "select w.only_columns from rowcast.watched w where w.schema = $1 and w.\"table\" = $2";
    let found = client.query_one(ONLY, &[&&*name.schema, &&*name.name]).await;
    found.map(|row| row.get(0)).map_err(|error| Error::Database(describe(&error)))
}

/// A table that no trigger watches, if it is there.
async fn unwatched(client: &Client, name: &TableName) -> Result<Found, Error> {
    const KNOWN: &str = "
        select c.oid::regclass::text, c.relkind::text from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p', 'v', 'm', 'f')";
    let failed = |error: tokio_postgres::Error| Error::Database(describe(&error));
    if &*name.schema == OWN_SCHEMA {
        return Ok(Found { state: TableState::Missing, columns: None, excluded: Vec::new(), only: None });
    }
    let Some(row) = client.query_opt(KNOWN, &[&&*name.schema, &&*name.name]).await.map_err(failed)? else {
        return Ok(Found { state: TableState::Missing, columns: None, excluded: Vec::new(), only: None });
    };
    let kind = match row.get(1) {
        "v" => Some("a view"),
        "m" => Some("a materialized view"),
        "f" => Some("a foreign table"),
        _ => None,
    };
    if let Some(kind) = kind {
        return Ok(Found { state: TableState::Unwatchable(kind), columns: None, excluded: Vec::new(), only: None });
    }
    let quoted: String = row.get(0);
    let columns = columns_of(client, &format!("select * from {quoted}")).await.ok();
    Ok(Found { state: TableState::Unwatched, columns, excluded: Vec::new(), only: None })
}

async fn prepare_all<'c>(client: &Client, queries: impl Iterator<Item = QueryView<'c>>) -> Vec<Prepared> {
    let mut all = Vec::new();
    for query in queries {
        all.push(prepare(client, &query).await);
    }
    all
}

/// The first form that the database takes.
async fn prepare(client: &Client, query: &QueryView<'_>) -> Prepared {
    let mut refused = None;
    for sql in &query.forms {
        match columns_of(client, sql).await {
            Ok(mut columns) => {
                // Rows without a key are passed over.
                if let Some(key) = columns.remove("key") {
                    columns.insert("key".to_owned(), key.without_null().unwrap_or(shape::Shape::Unknown));
                }
                return Prepared::Runnable { sql: (*sql).to_owned(), columns };
            }
            Err(reason) => refused = refused.or(Some(reason)),
        }
    }
    Prepared::Refused(refused.unwrap_or_else(|| "there is no SQL".to_owned()))
}

/// The columns that a query returns. One is taken as never null if it is a column of a table that says so, and no outer
/// join stands in between.
async fn columns_of(client: &Client, sql: &str) -> Result<Columns, String> {
    const NOT_NULL: &str = "
        select a.attrelid, a.attnum from pg_catalog.pg_attribute a
        join unnest($1::oid[], $2::int2[]) as wanted (relation, number)
          on a.attrelid = wanted.relation and a.attnum = wanted.number
        where a.attnotnull";
    let statement = client.prepare(sql).await.map_err(|error| describe(&error))?;
    let origins: Vec<(u32, i16)> =
        statement.columns().iter().filter_map(|column| column.table_oid().zip(column.column_id())).collect();
    let (relations, numbers): (Vec<u32>, Vec<i16>) = origins.into_iter().unzip();
    let found = client.query(NOT_NULL, &[&relations, &numbers]).await.map_err(|error| describe(&error))?;
    let mut not_null: BTreeSet<(u32, i16)> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    if has_outer_join(sql) {
        not_null.clear();
    }
    let columns = statement.columns().iter().map(|column| {
        let origin = column.table_oid().zip(column.column_id());
        let nullable = !origin.is_some_and(|origin| not_null.contains(&origin));
        (column.name().to_owned(), shape::of_column(&column_of(column.type_(), nullable)))
    });
    Ok(columns.collect())
}

fn has_outer_join(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    let mut words = sql.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.any(|word| ["left", "right", "full"].contains(&word))
}

fn column_of(of: &Type, nullable: bool) -> Column {
    let base = below(of);
    let kind = match *base {
        Type::NUMERIC => Kind::Decimal,
        Type::NUMERIC_ARRAY => Kind::DecimalArray,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => Kind::Timestamp,
        Type::TIMESTAMP_ARRAY | Type::TIMESTAMPTZ_ARRAY => Kind::TimestampArray,
        _ => Kind::Plain,
    };
    let (named, labels) = match base.kind() {
        TypeKind::Enum(labels) => (base, labels.as_slice()),
        TypeKind::Array(item) => match below(item).kind() {
            TypeKind::Enum(labels) => (below(item), labels.as_slice()),
            _ => (base, &[] as &[String]),
        },
        _ => (base, &[] as &[String]),
    };
    let schema = if ["public", "pg_catalog"].contains(&named.schema()) { "" } else { named.schema() };
    let dot = if schema.is_empty() { "" } else { "." };
    Column {
        kind,
        nullable,
        sql_type: format!("{schema}{dot}{}", named.name()),
        base_type: base.name().to_owned(),
        labels: labels.to_vec(),
    }
}

/// The type below a domain.
fn below(of: &Type) -> &Type {
    match of.kind() {
        TypeKind::Domain(inner) => below(inner),
        _ => of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outer_join_is_seen_however_it_is_written() {
        assert!(has_outer_join("select 1 from a LEFT\n outer join b on true"));
        assert!(has_outer_join("select 1 from a full join b using (id)"));
        assert!(!has_outer_join("select a.left_side from a join b on true"));
    }
}
