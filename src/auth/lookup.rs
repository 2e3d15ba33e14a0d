//! The SQL that sign-in runs: named, with keys as `$1` (text[]) and a column `key`, as the catalog's lookups are.

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, PgPool, types::Json};

use crate::{
    error::{Error, is_cancelled, is_unavailable, sqlstate},
    gateway::Refused,
    grants::{self, Granted, Kind},
    seldom::Seldom,
};

/// How long a client waits for the database at most.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long it is taken for granted whether a function was.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// What Postgres says of SQL that doesn't fit the database: something is missing.
const NOT_THERE: [&str; 5] = [
    sqlstate::UNDEFINED_TABLE,
    sqlstate::INVALID_SCHEMA,
    "42703", // undefined_column
    "42883", // undefined_function
    "42846", // cannot_coerce
];

/// invalid_text_representation
const INVALID_TEXT: &str = "22P02";

/// SQL of sign-in, in one or more forms: the first that the database can run is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedQuery {
    pub name: &'static str,
    /// Each takes keys as `$1` (text[]), and returns rows with a column `key`.
    pub forms: Vec<String>,
}

impl NamedQuery {
    /// As it is granted to a role that may not read the tables.
    pub fn granted(&self) -> Granted {
        Granted { kind: Kind::SignIn, name: self.name.to_owned(), forms: self.forms.clone(), takes_keys: true }
    }
}

/// A query, and the database to run it on.
#[derive(Debug)]
pub(super) struct Lookup {
    pool: PgPool,
    query: NamedQuery,
    /// What is made of a row `found`: SQL that gives JSON.
    projection: String,
    /// The form that worked last.
    form: AtomicUsize,
    /// Whether the function that was granted for it is there and made of this SQL, and when that was looked at.
    granted: Mutex<Option<(Instant, bool)>>,
    log: Seldom,
}

/// What a query gave.
#[derive(Debug)]
pub(super) enum Found<T> {
    Rows(Vec<T>),
    /// The key can be nobody's: it has another form than the keys of the table (no uuid, where they are).
    NoKey,
    /// The database has nothing that it could ask, or doesn't let it; why.
    NotThere(sqlx::Error),
}

impl Lookup {
    /// `projection` is the program's own SQL, of a row called `found`.
    pub fn new(pool: PgPool, query: NamedQuery, projection: &str) -> Self {
        Self {
            pool,
            query,
            projection: projection.to_owned(),
            form: AtomicUsize::new(0),
            granted: Mutex::default(),
            log: Seldom::default(),
        }
    }

    /// The rows of one key.
    ///
    /// # Errors
    ///
    /// [`Refused::Unavailable`] if the database doesn't answer in time, or with what can't be read.
    pub async fn find<T: DeserializeOwned>(&self, key: &str) -> Result<Found<T>, Refused> {
        match tokio::time::timeout(DATABASE_TIMEOUT, Box::pin(self.ask(key))).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => {
                self.complain(&error, "sign-in could not ask the database");
                let error = "the database could not be asked who you are; try again in a moment";
                Err(Refused::Unavailable(error.to_owned()))
            }
            Err(_) => Err(Refused::Unavailable(format!(
                "the database did not answer within {} s who you are; try again in a moment",
                DATABASE_TIMEOUT.as_secs()
            ))),
        }
    }

    /// Into the log: each complaint seldom, since everybody who signs in brings it about.
    pub fn complain(&self, error: &sqlx::Error, complaint: &'static str) {
        if let Some(times) = self.log.is_time(complaint, Instant::now()) {
            tracing::warn!(query = self.query.name, %error, times, "{complaint}; told at most once a minute");
        }
    }

    /// Whether the database can run it at all; `remedy` says what to do if not.
    ///
    /// # Errors
    ///
    /// Why not. That the database doesn't answer is none: it may later.
    pub async fn check(&self, remedy: &str) -> Result<(), Error> {
        let answer = tokio::time::timeout(DATABASE_TIMEOUT, Box::pin(self.ask::<serde_json::Value>(""))).await;
        let error = match answer {
            Ok(Ok(Found::NotThere(error)) | Err(error)) => error,
            Ok(Ok(Found::Rows(_) | Found::NoKey)) | Err(_) => return Ok(()),
        };
        if is_unavailable(&error) || is_cancelled(&error) {
            return Ok(());
        }
        let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        let text = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
        Err(match code.as_deref() {
            Some(sqlstate::INSUFFICIENT_PRIVILEGE) => Error::Denied(format!(
                "{remedy}: {text}. As the owner, run `rowcast migrate --gateway-role ROLE` with this configuration"
            )),
            _ => Error::Configuration(format!("{remedy}: {text}")),
        })
    }

    /// Whether the database lets it be run, if what it needs is there.
    ///
    /// # Errors
    ///
    /// If it doesn't.
    pub async fn check_rights(&self, remedy: &str) -> Result<(), Error> {
        match self.check(remedy).await {
            Err(error @ Error::Denied(_)) => Err(error),
            _ => Ok(()),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, key: &str) -> Result<Found<T>, sqlx::Error> {
        if self.is_granted().await? {
            let call = grants::call(&self.query.granted().function(), true);
            match self.ask_source(&call, key).await {
                Ok(rows) => return Ok(Found::Rows(rows)),
                Err(error) if has_code(&error, &[INVALID_TEXT]) => return Ok(Found::NoKey),
                // It no longer fits the tables; the owner has to make it anew, or this role may read them itself.
                Err(error) if has_code(&error, &NOT_THERE) || is_denied(&error) => *self.remembered() = None,
                Err(error) => return Err(error),
            }
        }
        let forms = self.query.forms.len();
        let first = self.form.load(Ordering::Relaxed);
        let (mut not_there, mut denied) = (None, None);
        for form in (0..forms).map(|next| (first + next) % forms) {
            match self.ask_source(&format!("({}\n)", self.query.forms[form]), key).await {
                Ok(rows) => {
                    self.form.store(form, Ordering::Relaxed);
                    return Ok(Found::Rows(rows));
                }
                // What is there and may not be read is not taken for missing: then somebody would be less than they are, or more.
                Err(error) if is_denied(&error) => denied = denied.or(Some(error)),
                Err(error) if has_code(&error, &NOT_THERE) => not_there = not_there.or(Some(error)),
                Err(error) if has_code(&error, &[INVALID_TEXT]) => return Ok(Found::NoKey),
                Err(error) => return Err(error),
            }
        }
        if let Some(denied) = denied {
            return Err(denied);
        }
        Ok(Found::NotThere(not_there.unwrap_or(sqlx::Error::RowNotFound)))
    }

    async fn is_granted(&self) -> Result<bool, sqlx::Error> {
        if let Some((at, granted)) = *self.remembered()
            && at.elapsed() < LOOK_AGAIN
        {
            return Ok(granted);
        }
        let granted = grants::source(&self.pool, &self.query.granted()).await?.is_some();
        *self.remembered() = Some((Instant::now(), granted));
        Ok(granted)
    }

    fn remembered(&self) -> MutexGuard<'_, Option<(Instant, bool)>> {
        self.granted.lock().expect("no panic under the lock")
    }

    /// Rows of `source`: a function that was granted, or the query's own SQL.
    async fn ask_source<T: DeserializeOwned>(&self, source: &str, key: &str) -> Result<Vec<T>, sqlx::Error> {
        let sql = format!("select {} from {source} found where found.key::text = any($1)", self.projection);
        let rows: Vec<Json<serde_json::Value>> =
            sqlx::query_scalar(AssertSqlSafe(sql)).bind(vec![key]).fetch_all(&self.pool).await?;
        let parse = |Json(row)| serde_json::from_value(row).map_err(|error| sqlx::Error::Decode(Box::new(error)));
        rows.into_iter().map(parse).collect()
    }
}

fn is_denied(error: &sqlx::Error) -> bool {
    has_code(error, &[sqlstate::INSUFFICIENT_PRIVILEGE])
}

fn has_code(error: &sqlx::Error, codes: &[&str]) -> bool {
    error.as_database_error().is_some_and(|error| error.code().is_some_and(|code| codes.contains(&&*code)))
}
