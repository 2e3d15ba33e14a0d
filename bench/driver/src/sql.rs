//! Statements of the benchmark itself, outside of what is measured.

use anyhow::{Context, Result};
use rowcast_bench_load::writer::connect;
use tokio::runtime;
use tokio_postgres::types::FromSqlOwned;

/// Runs statements.
pub fn execute(url: &str, sql: &str) -> Result<()> {
    on_a_runtime(async {
        let client = connect(url).await?;
        client.batch_execute(sql).await.with_context(|| format!("Postgres refused: {sql:.200}"))
    })
}

/// The one value that a query returns.
pub fn value<T: FromSqlOwned>(url: &str, sql: &str) -> Result<T> {
    on_a_runtime(async {
        let client = connect(url).await?;
        let row = client.query_one(sql, &[]).await.with_context(|| format!("Postgres refused: {sql:.200}"))?;
        row.try_get(0).with_context(|| format!("{sql:.200} returned another type than expected"))
    })
}

/// Runs a future to its end on this thread.
pub fn on_a_runtime<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}
