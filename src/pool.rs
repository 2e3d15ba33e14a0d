//! Pools of connections for queries.

use std::time::Duration;

use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    config::{DatabaseUrl, LookupConfig},
    error::Error,
};

/// How long Postgres may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one of our statements may wait for a lock at a time.
///
/// Below Postgres' deadlock_timeout, a second by default, after which whoever still waits looks for a circle and ends its
/// own statement to break it. A migration of the application's that waits for a table which our query has read, while our
/// query waits for another that the migration has altered, is such a circle; ours gives way before the migration looks.
const LOCK_TIMEOUT: Duration = Duration::from_millis(800);

/// How long a connection that rested may take to say that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// What Postgres answers, or that it didn't in time, which counts as a connection that is gone.
///
/// Its own limit is shorter; this one is for when nothing comes at all: a host that vanished, a network cut in half.
pub async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {ANSWER_TIMEOUT:?}"));
    // Boxed, since a query's future is large.
    tokio::time::timeout(ANSWER_TIMEOUT, Box::pin(answer)).await.unwrap_or_else(|_| Err(sqlx::Error::Io(late())))
}

/// Opens a pool whose statements Postgres itself ends when they take too long.
///
/// The limit is given as the connection is opened, never by SET: through a transaction pooler, what is SET stays with
/// whoever has the server's connection next, and that is the application. A pooler that refuses such a limit (PgBouncer
/// does) gets none; then only the waiting ends in time.
///
/// # Errors
///
/// If the database can't be reached, or refuses the login.
pub async fn open(config: &LookupConfig, url: &DatabaseUrl, purpose: &str) -> Result<PgPool, Error> {
    let plain = url.for_pool()?.application_name(&format!("rowcast {purpose}"));
    let limit = format!("{}ms", config.statement_timeout.as_millis());
    let lock_limit = format!("{}ms", LOCK_TIMEOUT.as_millis());
    // What is asked many times a second is over before it would have been compiled.
    let limited =
        plain.clone().options([("statement_timeout", &*limit), ("lock_timeout", &*lock_limit), ("jit", "off")]);
    let options = match try_out(&limited).await {
        Ok(()) => limited,
        Err(error) if is_refused(&error) => {
            try_out(&plain).await?;
            tracing::info!(purpose, "a pooler stands between, so Postgres sets no limit to the time of a query");
            plain
        }
        Err(error) => return Err(error.into()),
    };
    let pool = PgPoolOptions::new()
        .max_connections(config.connections)
        .acquire_timeout(config.acquire_timeout)
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(answers(connection)));
    Ok(pool.connect_with(options).await?)
}

/// Whether a connection is there still. One that has fallen silent is given up at once, so that the next has its turn
/// before whoever waits has waited long enough.
async fn answers(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let late = || std::io::Error::new(std::io::ErrorKind::TimedOut, format!("no answer within {PING_TIMEOUT:?}"));
    match tokio::time::timeout(PING_TIMEOUT, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        Err(_) => Err(sqlx::Error::Io(late())),
    }
}

/// A connection of its own: a pool would try for its whole time, and not say what is wrong.
async fn try_out(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    in_time(async { PgConnection::connect_with(options).await?.close().await }).await
}

fn is_refused(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|db| db.message().contains("unsupported startup parameter"))
}
