//! Lookups: named SQL that finds rows which an event needs besides the changed one.
//!
//! A lookup gets the keys of a whole page as `$1::text[]` and returns rows with a column `key`: one query a page, and none
//! for keys that were found a moment ago.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use lru::LruCache;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Column as _, Executor as _, PgPool, SqlSafeStr as _, Statement as _};

use super::{
    expression::Returns,
    fault::Fault,
    load::{At, LookupDeclaration},
    rule::parse_table,
};
use crate::change::{Row, TableName};

/// How long the database may take to answer; after that the page is tried again.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Keys that a cache holds at most.
const CACHE_SIZE: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

#[derive(Debug)]
pub(super) struct Lookup {
    pub name: String,
    pub returns: Returns,
    cache: Duration,
    stale_after: Vec<TableName>,
    sql: Arc<str>,
}

/// The rows that a key has; empty if there are none.
pub(super) type Found = Arc<[Row]>;

/// The database didn't answer: the page is to be tried again, nothing is lost.
#[derive(Debug, thiserror::Error)]
#[error("the database did not answer the lookup {lookup:?}: {reason}")]
pub struct Unavailable {
    lookup: String,
    reason: String,
}

impl Lookup {
    pub fn compile(declaration: LookupDeclaration, faults: &mut Vec<Fault>) -> Self {
        let LookupDeclaration { place, name, returns, cache, stale_after, sql } = declaration;
        let returns = match returns.value.as_str() {
            "one" => Returns::One,
            "many" => Returns::Many,
            other => {
                let reason = format!("`returns` is {other:?}, expected \"one\" or \"many\"");
                faults.push(place.fault(returns.line, reason));
                Returns::Many
            }
        };
        if !sql.value.contains("$1") {
            let reason = "`sql` never uses $1, the keys to look up (text[])";
            faults.push(place.fault(sql.line, reason));
        }
        let table = |At { line, value }: At<String>| {
            parse_table(&value).map_err(|reason| faults.push(place.fault(line, reason))).ok()
        };
        let stale_after = stale_after.into_iter().filter_map(table).collect();
        Self { name, returns, cache, stale_after, sql: sql.value.trim().trim_end_matches(';').into() }
    }
}

/// Runs lookups, and remembers for a moment what they found.
pub(super) struct Runner {
    pool: PgPool,
    caches: Vec<LruCache<Box<str>, (Instant, Found)>>,
}

/// What a lookup's SQL turned out to give when the database prepared it.
pub(super) enum Prepared {
    /// The columns of its rows.
    Columns(BTreeSet<String>),
    /// The database refuses it.
    Refused(String),
    /// Nobody knows: the database did not answer.
    Unknown,
}

impl Runner {
    pub fn new(pool: PgPool, lookups: &[Lookup]) -> Self {
        Self { pool, caches: lookups.iter().map(|_| LruCache::new(CACHE_SIZE)).collect() }
    }

    /// Forgets what may be out of date now that these tables have changed.
    pub fn tables_changed(&mut self, lookups: &[Lookup], changed: &BTreeSet<&TableName>) {
        for (lookup, cache) in lookups.iter().zip(&mut self.caches) {
            if lookup.stale_after.iter().any(|table| changed.contains(table)) {
                cache.clear();
            }
        }
    }

    /// Has the database prepare the SQL, and run it for no key at all: that shows missing privileges too.
    pub async fn prepare(&self, lookup: &Lookup) -> Prepared {
        let attempt = async {
            let mut connection = self.pool.acquire().await?;
            let sql = format!("select * from ({}\n) found", lookup.sql);
            let statement = connection.prepare(AssertSqlSafe(sql).into_sql_str()).await?;
            let columns: BTreeSet<_> = statement.columns().iter().map(|column| column.name().to_owned()).collect();
            if columns.contains("key") {
                let none: &[&str] = &[];
                sqlx::query(AssertSqlSafe(wrapped(lookup))).bind(none).execute(&mut *connection).await?;
            }
            Ok(columns)
        };
        match tokio::time::timeout(TIMEOUT, attempt).await {
            Ok(Ok(columns)) if columns.contains("key") => Prepared::Columns(columns),
            Ok(Ok(_)) => Prepared::Refused("its SQL returns no column \"key\"".to_owned()),
            Ok(Err(error)) if is_unavailable(&error) => Prepared::Unknown,
            Ok(Err(error)) => Prepared::Refused(plainly(&error)),
            Err(_) => Prepared::Unknown,
        }
    }

    /// The rows of each key; or why the SQL failed.
    pub async fn find(
        &mut self,
        place: usize,
        lookup: &Lookup,
        mut keys: BTreeSet<&str>,
    ) -> Result<Result<HashMap<Box<str>, Found>, String>, Unavailable> {
        let cache = &mut self.caches[place];
        let mut found = HashMap::with_capacity(keys.len());
        keys.retain(|key| match cache.get(*key) {
            Some((at, rows)) if at.elapsed() < lookup.cache => {
                found.insert((*key).into(), rows.clone());
                false
            }
            _ => true,
        });
        if keys.is_empty() {
            return Ok(Ok(found));
        }
        let asked = Instant::now();
        let list: Vec<&str> = keys.iter().copied().collect();
        let query =
            sqlx::query_as::<_, (String, String)>(AssertSqlSafe(wrapped(lookup))).bind(list).fetch_all(&self.pool);
        let unavailable = |reason| Unavailable { lookup: lookup.name.clone(), reason };
        let rows = match tokio::time::timeout(TIMEOUT, query).await {
            Err(_) => return Err(unavailable(format!("no answer within {TIMEOUT:?}"))),
            Ok(Err(error)) if is_unavailable(&error) => return Err(unavailable(error.to_string())),
            Ok(Err(error)) => return Ok(Err(plainly(&error))),
            Ok(Ok(rows)) => rows,
        };
        let mut by_key: HashMap<Box<str>, Vec<Row>> = keys.iter().map(|key| ((*key).into(), Vec::new())).collect();
        for (key, row) in rows {
            // A key that nobody asked for is the SQL's own affair.
            let Some(rows) = by_key.get_mut(key.as_str()) else { continue };
            match serde_json::from_str::<BTreeMap<Box<str>, Box<RawValue>>>(&row) {
                Ok(columns) => rows.push(columns.into_iter().collect()),
                Err(error) => return Ok(Err(format!("a row is not JSON: {error}"))),
            }
        }
        for (key, rows) in by_key {
            let rows: Found = rows.into();
            // That one row is missing may change the next moment (somebody signs up); that many are none is the rule.
            let settled = lookup.returns == Returns::Many || !rows.is_empty();
            if settled && !lookup.cache.is_zero() {
                cache.put(key.clone(), (asked, rows.clone()));
            }
            found.insert(key, rows);
        }
        Ok(Ok(found))
    }
}

#[cfg(test)]
impl Runner {
    /// Has a key's rows found already, so that no database is asked.
    pub fn remember(&mut self, place: usize, key: &str, rows: Vec<Row>) {
        self.caches[place].put(key.into(), (Instant::now(), rows.into()));
    }
}

/// Rows as JSON text, so that the SQL may select columns of any type.
fn wrapped(lookup: &Lookup) -> String {
    format!(
        "select found.key::text, row_to_json(found)::text from ({}\n) found where found.key is not null",
        lookup.sql
    )
}

/// Whether trying again may help: the connection is gone, the server is starting, stopping or full.
fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            // A lookup that is cancelled for taking too long would take as long again.
            code != "57014" && ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => false,
        _ => true,
    }
}

fn plainly(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => match error.code() {
            Some(code) => format!("{} (SQLSTATE {code})", error.message()),
            None => error.message().to_owned(),
        },
        other => other.to_string(),
    }
}
