//! Lookups: named SQL that finds rows which an event needs besides the changed one.
//!
//! A lookup gets the keys of a whole page as `$1::text[]` and returns rows with a column `key`: one query a page, and none
//! for keys that were found a moment ago.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use lru::LruCache;
use sqlx::PgPool;

use super::{
    fault::Fault,
    load::{At, LookupDeclaration},
    query::{Patience, Prepared, Query, QueryError, Runnable},
    rule::parse_table,
    vocabulary::Returns,
};
use crate::{
    change::{Row, TableName},
    grants::Kind,
};

/// How long a lookup is left alone that was ended for its time: the next would take as long, and every event with it.
const REST: Duration = Duration::from_secs(30);

/// Keys that a cache holds at most.
const CACHE_SIZE: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

#[derive(Debug)]
pub(super) struct Lookup {
    pub name: String,
    pub returns: Returns,
    pub query: Query,
    cache: Duration,
    stale_after: Vec<TableName>,
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
        let query = Query::compile((Kind::Lookup, &name), &place, sql, true, faults);
        let table = |At { line, value }: At<String>| {
            parse_table(&value).map_err(|reason| faults.push(place.fault(line, reason))).ok()
        };
        let stale_after = stale_after.into_iter().filter_map(table).collect();
        Self { name, returns, query, cache, stale_after }
    }
}

/// Runs lookups, and remembers for a moment what they found.
pub(super) struct Runner {
    pool: PgPool,
    /// By the lookup's place in the catalog; `None` while the database refuses it.
    runnable: Vec<Option<Runnable>>,
    caches: Vec<LruCache<Box<str>, (Instant, Found)>>,
    /// By the lookup's place: until when it rests, and why.
    resting: Vec<Option<(Instant, String)>>,
    /// Whether a lookup that writes is refused, as it must be where a change is only tried.
    pub without_writing: bool,
    /// Whether a lookup that was ended for its time counts as one that was not answered: where nobody buries what it fails
    /// on, the page has to be tried again.
    pub insists: bool,
}

impl Runner {
    pub fn new(pool: PgPool, lookups: &[Lookup]) -> Self {
        let caches = lookups.iter().map(|_| LruCache::new(CACHE_SIZE)).collect();
        let runnable = lookups.iter().map(|lookup| lookup.query.unprepared()).collect();
        let resting = lookups.iter().map(|_| None).collect();
        Self { pool, runnable, caches, resting, without_writing: false, insists: false }
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Has the database prepare every lookup, in the catalog's order.
    pub async fn prepare(&mut self, lookups: &[Lookup], patience: &mut Patience) -> Vec<Prepared> {
        let mut outcomes = Vec::with_capacity(lookups.len());
        for (lookup, runnable) in lookups.iter().zip(&mut self.runnable) {
            let prepared = patience.prepare(&lookup.query, &self.pool).await;
            match &prepared {
                Prepared::Runnable(fresh) => *runnable = Some(fresh.clone()),
                Prepared::Refused(_) => *runnable = None,
                // What is known from before is better than nothing.
                Prepared::Unknown => {}
            }
            outcomes.push(prepared);
        }
        outcomes
    }

    /// Forgets what may be out of date now that these tables have changed.
    pub fn tables_changed(&mut self, lookups: &[Lookup], changed: &BTreeSet<&TableName>) {
        for (lookup, cache) in lookups.iter().zip(&mut self.caches) {
            if lookup.stale_after.iter().any(|table| changed.contains(table)) {
                cache.clear();
            }
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
            Some((at, rows)) if at.elapsed() <= lookup.cache => {
                found.insert((*key).into(), rows.clone());
                false
            }
            _ => true,
        });
        if keys.is_empty() {
            return Ok(Ok(found));
        }
        let Some(runnable) = &self.runnable[place] else { return Ok(Err("the database can't run it".to_owned())) };
        if let Some((until, reason)) = &self.resting[place] {
            let rest = until.saturating_duration_since(Instant::now());
            if !rest.is_zero() {
                let seconds = rest.as_secs() + 1;
                return Ok(Err(format!("{reason}; it is not asked again within the next {seconds} s")));
            }
        }
        let asked = Instant::now();
        let list: Vec<&str> = keys.iter().copied().collect();
        let rows = match self.without_writing {
            true => runnable.rows_without_writing(&self.pool, &list).await,
            false => runnable.rows(&self.pool, &list).await,
        };
        let rows = match rows {
            Ok(rows) => rows,
            Err(QueryError::Unavailable(reason)) => return Err(Unavailable { lookup: lookup.name.clone(), reason }),
            Err(QueryError::Refused(reason)) => return Ok(Err(reason)),
            Err(QueryError::Cancelled(reason)) if self.insists => {
                return Err(Unavailable { lookup: lookup.name.clone(), reason });
            }
            Err(QueryError::Cancelled(reason)) => {
                self.resting[place] = Some((Instant::now() + REST, reason.clone()));
                return Ok(Err(reason));
            }
        };
        let mut by_key: HashMap<Box<str>, Vec<Row>> = keys.iter().map(|key| ((*key).into(), Vec::new())).collect();
        for (key, row) in rows {
            // A key that nobody asked for is the SQL's own affair.
            if let Some(rows) = by_key.get_mut(key.as_str()) {
                rows.push(row);
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
    pub fn tire(&mut self, place: usize) {
        self.resting[place] = Some((Instant::now() + REST, "it took too long".to_owned()));
    }

    /// Has a key's rows found already, and for good, so that no database is asked.
    pub fn remember(&mut self, place: usize, key: &str, rows: Vec<Row>) {
        let later = Instant::now() + Duration::from_secs(3600);
        self.caches[place].put(key.into(), (later, rows.into()));
    }
}
