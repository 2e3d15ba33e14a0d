//! SQL of the catalog: prepared by the database that it is for, run with keys, its rows in the form that frontends get.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use sqlx::{
    AssertSqlSafe, Column as _, Executor as _, PgPool, SqlSafeStr as _, Statement as _, TypeInfo as _,
    postgres::PgTypeInfo,
};

use super::{
    fault::Fault,
    load::{At, Place},
};
use crate::{
    change::{Column, Kind, Row},
    error::{is_cancelled, is_locked, is_unavailable, sqlstate},
    grants::{self, Granted, Granting, Kind as GrantedKind},
    pool,
    wire::{self, Layout},
};

/// What Postgres answers to SQL that writes in a transaction that may not.
pub(super) const WRITES: &str = "SQLSTATE 25006";

/// How long a query is tried again whose table is locked.
const LOCKED: Duration = Duration::from_secs(5);
/// The pause before that, in which whoever waits for our query's own locks gets them.
const GIVEN_WAY: Duration = Duration::from_millis(20);

/// A query in one or more forms: the first that the database can run is used. Each returns a column `key`.
///
/// A role that may not read the tables runs the function that was granted for it, which does the same.
#[derive(Debug)]
pub(super) struct Query {
    kind: GrantedKind,
    name: String,
    forms: Vec<Arc<str>>,
    /// Whether it is given keys, `$1::text[]`.
    takes_keys: bool,
}

/// A form that the database has prepared.
#[derive(Debug, Clone)]
pub struct Runnable {
    sql: Arc<str>,
    takes_keys: bool,
    /// The columns of its rows; that none of them is null is not known.
    pub columns: Arc<BTreeMap<Box<str>, Column>>,
}

/// What became of a query when the database prepared it.
#[derive(Debug)]
pub(super) enum Prepared {
    Runnable(Runnable),
    /// The database refuses every form: why it refuses the first, or the one that lacks more than a table, a column or a
    /// function.
    Refused(String),
    /// Nobody knows: the database did not answer.
    Unknown,
}

/// How long many queries may take to prepare where the database doesn't answer: sweeps wait for them.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is left of the patience with a database. One that answers may take its time.
#[derive(Debug)]
pub struct Patience {
    ends_at: Instant,
    is_unanswered: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self { ends_at: Instant::now() + PATIENCE, is_unanswered: false }
    }
}

impl Patience {
    /// `Query::prepare`, without asking once the patience is at its end.
    pub(super) async fn prepare(&mut self, query: &Query, pool: &PgPool) -> Prepared {
        if self.is_unanswered && Instant::now() > self.ends_at {
            return Prepared::Unknown;
        }
        let prepared = query.prepare(pool).await;
        self.is_unanswered = matches!(prepared, Prepared::Unknown);
        prepared
    }
}

/// Why a query gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The database did not answer: it may later.
    #[error("the database did not answer: {0}")]
    Unavailable(String),
    /// It ended the query before it was done, for its time or for a lock on its tables: it would take as long again.
    #[error("{0}")]
    Cancelled(String),
    /// It refuses the query, or a row of it can't be read.
    #[error("{0}")]
    Refused(String),
}

impl Query {
    pub fn compile(
        (kind, name): (GrantedKind, &str),
        place: &Place,
        forms: Vec<At<String>>,
        takes_keys: bool,
        faults: &mut Vec<Fault>,
    ) -> Self {
        for form in &forms {
            if takes_keys != form.value.contains("$1") {
                let reason = match takes_keys {
                    true => "`sql` never uses $1, the keys to look up (text[])",
                    false => "`sql` uses $1, which it is not given",
                };
                faults.push(place.fault(form.line, reason));
            }
        }
        let forms = forms.into_iter().map(|form| form.value.trim().trim_end_matches(';').into()).collect();
        Self { kind, name: name.to_owned(), forms, takes_keys }
    }

    /// Without the keys that the schedule of this name, a plain word, has told: so its result doesn't grow with its past.
    pub fn without_told(self, schedule: &str) -> Self {
        let without = |form: Arc<str>| -> Arc<str> {
            format!(
                "select found.* from ({form}\n) found where not exists (select from rowcast.told \
                 where told.schedule = '{schedule}' and told.key = found.key::text)"
            )
            .into()
        };
        Self { forms: self.forms.into_iter().map(without).collect(), ..self }
    }

    /// As it is declared, the first form first.
    pub fn forms(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().map(|form| &**form)
    }

    /// As it is granted to a role that may not read the tables.
    pub fn granted(&self) -> Granted {
        let forms = self.forms.iter().map(|form| form.to_string()).collect();
        Granted { kind: self.kind, name: self.name.clone(), forms, takes_keys: self.takes_keys }
    }

    /// The function that was granted, if it is current and works; else the first form that the database takes, run for no
    /// key at all: that shows missing privileges too. A later form is for a database that lacks a table, a column or a
    /// function; what is refused for another reason, a missing privilege above all, is refused, and not answered with less.
    pub async fn prepare(&self, pool: &PgPool) -> Prepared {
        let function = grants::function_name(self.kind, &self.name);
        let granting = match within_time(grants::look(pool, &function, &self.forms)).await {
            Ok(granting) => granting,
            Err(QueryError::Unavailable(_) | QueryError::Cancelled(_)) => return Prepared::Unknown,
            Err(QueryError::Refused(_)) => Granting::Missing,
        };
        let mut refused = None;
        if granting == Granting::Current {
            let call = format!("select * from {}", grants::call(&function, self.takes_keys)).into();
            // Boxed, since a query's future is large.
            match Box::pin(self.prepare_form(&call, "", pool)).await {
                Ok(runnable) => return Prepared::Runnable(runnable),
                Err(QueryError::Unavailable(_) | QueryError::Cancelled(_)) => return Prepared::Unknown,
                Err(QueryError::Refused(reason)) => {
                    refused = Some(format!("{reason}; {}", grants::OUTDATED));
                }
            }
        }
        for sql in &self.forms {
            match Box::pin(self.prepare_form(sql, " limit 0", pool)).await {
                Ok(runnable) => return Prepared::Runnable(runnable),
                Err(QueryError::Unavailable(_) | QueryError::Cancelled(_)) => return Prepared::Unknown,
                Err(QueryError::Refused(reason)) => {
                    let is_last = !lacks_something(&reason);
                    refused = refused.or_else(|| Some(grants::with_remedy(reason, granting)));
                    if is_last {
                        break;
                    }
                }
            }
        }
        Prepared::Refused(refused.unwrap_or_else(|| "there is no SQL".to_owned()))
    }

    /// The first form, though no database has prepared it.
    pub fn unprepared(&self) -> Option<Runnable> {
        Some(self.runnable(self.forms.first()?, BTreeMap::new()))
    }

    fn runnable(&self, sql: &Arc<str>, columns: BTreeMap<Box<str>, Column>) -> Runnable {
        Runnable { sql: sql.clone(), takes_keys: self.takes_keys, columns: Arc::new(columns) }
    }

    /// `limit` is empty for a function: what is in it shows only when it is run.
    async fn prepare_form(&self, sql: &Arc<str>, limit: &str, pool: &PgPool) -> Result<Runnable, QueryError> {
        let attempt = async {
            let mut connection = pool.acquire().await?;
            let plain = format!("select * from ({sql}\n) found");
            let statement = connection.prepare(AssertSqlSafe(plain).into_sql_str()).await?;
            let described =
                statement.columns().iter().map(|column| (column.name().into(), describe(column.type_info())));
            let runnable = self.runnable(sql, described.collect());
            if runnable.columns.contains_key("key") {
                let none = format!("{}{limit}", runnable.wrapped());
                let query = sqlx::query(AssertSqlSafe(none));
                let query = if self.takes_keys { query.bind(Vec::<String>::new()) } else { query };
                query.execute(&mut *connection).await?;
            }
            Ok(runnable)
        };
        // Cancelled for its time, it waited for a lock: that says nothing of the query.
        let runnable = within_time(Box::pin(attempt)).await?;
        match runnable.columns.contains_key("key") {
            true => Ok(runnable),
            false => Err(QueryError::Refused("its SQL returns no column \"key\"".to_owned())),
        }
    }
}

#[cfg(test)]
impl Runnable {
    /// As if a database had prepared it: of its columns only the names are known.
    pub fn with_columns(columns: &[&str]) -> Self {
        let column = || Column { kind: Kind::Plain, nullable: true, sql_type: "text".into(), ..Column::default() };
        let columns = columns.iter().map(|name| ((*name).into(), column())).collect();
        Self { sql: "".into(), takes_keys: true, columns: Arc::new(columns) }
    }
}

impl Runnable {
    /// The rows of these keys, each with its key; of a query that takes none, all.
    pub async fn rows(&self, pool: &PgPool, keys: &[&str]) -> Result<Vec<(String, Row)>, QueryError> {
        let ask = || {
            let query = sqlx::query_as::<_, (String, String)>(AssertSqlSafe(self.wrapped()));
            let query = if self.takes_keys { query.bind(keys) } else { query };
            query.fetch_all(pool).boxed()
        };
        self.parse(giving_way(ask).await?)
    }

    /// The same without leaving anything behind: SQL that writes is refused, with [`WRITES`] in the reason.
    pub async fn rows_without_writing(&self, pool: &PgPool, keys: &[&str]) -> Result<Vec<(String, Row)>, QueryError> {
        let ask = || {
            let ask = async {
                let mut transaction = pool.begin_with("begin read only").await?;
                let query = sqlx::query_as::<_, (String, String)>(AssertSqlSafe(self.wrapped()));
                let query = if self.takes_keys { query.bind(keys) } else { query };
                let found = query.fetch_all(&mut *transaction).await?;
                transaction.rollback().await?;
                Ok(found)
            };
            ask.boxed()
        };
        self.parse(giving_way(ask).await?)
    }

    /// Of the rows of one key the values of a column as text, each once and in their order by bytes: those after `after`,
    /// `limit` at most.
    pub async fn page(
        &self,
        pool: &PgPool,
        key: &str,
        column: &'static str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, QueryError> {
        let paged = format!(
            "select distinct found.{column}::text collate \"C\" as value from ({}\n) found
             where found.key is not null and found.{column}::text collate \"C\" > $2 order by value limit $3",
            self.sql
        );
        let ask = || {
            let query = sqlx::query_scalar(AssertSqlSafe(paged.clone())).bind(vec![key]);
            let query = query.bind(after.unwrap_or_default()).bind(limit as i64);
            query.fetch_all(pool).boxed()
        };
        giving_way(ask).await
    }

    fn parse(&self, found: Vec<(String, String)>) -> Result<Vec<(String, Row)>, QueryError> {
        let kind_of = |column: &str| Some(self.columns.get(column).map_or(Kind::Plain, |column| column.kind));
        let mut layout = Layout::default();
        let parsed = found.into_iter().map(|(key, json)| {
            let row = wire::row_like(&mut layout, &json, kind_of);
            row.map(|row| (key, row)).map_err(|error| QueryError::Refused(format!("a row is no JSON: {error}")))
        });
        parsed.collect()
    }

    /// Rows as JSON text, so that the SQL may select columns of any type.
    fn wrapped(&self) -> String {
        format!(
            "select found.key::text, row_to_json(found)::text from ({}\n) found where found.key is not null",
            self.sql
        )
    }
}

fn describe(type_info: &PgTypeInfo) -> Column {
    let sql_type = type_info.name().to_ascii_lowercase();
    let kind = match sql_type.as_str() {
        "numeric" => Kind::Decimal,
        "numeric[]" => Kind::DecimalArray,
        "timestamp" | "timestamptz" => Kind::Timestamp,
        "timestamp[]" | "timestamptz[]" => Kind::TimestampArray,
        _ => Kind::Plain,
    };
    Column { kind, nullable: true, sql_type, ..Column::default() }
}

async fn within_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, QueryError> {
    pool::in_time(answer).await.map_err(QueryError::from)
}

/// Asks again while a table is locked, for as long as [`LOCKED`].
async fn giving_way<'a, T>(ask: impl Fn() -> BoxFuture<'a, Result<T, sqlx::Error>>) -> Result<T, QueryError> {
    let asked = Instant::now();
    loop {
        match pool::in_time(ask()).await {
            Err(error) if is_locked(&error) && asked.elapsed() < LOCKED => tokio::time::sleep(GIVEN_WAY).await,
            outcome => return outcome.map_err(QueryError::from),
        }
    }
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        if is_cancelled(&error) || is_locked(&error) {
            Self::Cancelled(plainly(&error))
        } else if is_unavailable(&error) {
            Self::Unavailable(error.to_string())
        } else {
            Self::Refused(plainly(&error))
        }
    }
}

/// Whether it names what the database hasn't: a table, a column, or a function or operator for these types.
fn lacks_something(reason: &str) -> bool {
    [sqlstate::UNDEFINED_TABLE, sqlstate::UNDEFINED_COLUMN, sqlstate::UNDEFINED_FUNCTION]
        .iter()
        .any(|code| reason.ends_with(&format!("(SQLSTATE {code})")))
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
