//! Changes as fast as so many connections can make them.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::{runtime, task::JoinSet};
use tokio_postgres::types::Type;

use super::connect;

const UPDATE: &str = "update products set stock = stock - 1 where id = $1";

/// What to write.
#[derive(Debug, Clone)]
pub struct Saturated {
    /// The URL of the database.
    pub url: String,
    /// Connections, each of which waits for one commit before it sends the next.
    pub writers: u32,
    /// For how long.
    pub duration: Duration,
    /// Rows `product-0` up to, not including, this number, drawn at random.
    pub rows: u32,
}

/// Lowers stocks row by row, each in a transaction of its own, on this thread. Gives commits a second.
///
/// Each statement is sent without a name, in one round trip, as Node's `pg` and Prisma on top of it send theirs; so it is
/// parsed each time.
pub fn write_saturating(saturated: &Saturated) -> Result<f64> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(write(saturated))
}

async fn write(saturated: &Saturated) -> Result<f64> {
    let mut clients = Vec::new();
    for _ in 0..saturated.writers {
        clients.push(connect(&saturated.url).await?);
    }
    let started = Instant::now();
    let end = started + saturated.duration;
    let mut running = JoinSet::new();
    for (seed, client) in clients.into_iter().enumerate() {
        let rows = saturated.rows;
        running.spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed as u64);
            let mut commits = 0_u64;
            while Instant::now() < end {
                let id = format!("product-{}", random.u32(0..rows));
                client.query_typed(UPDATE, &[(&id, Type::VARCHAR)]).await?;
                commits += 1;
            }
            Ok::<_, tokio_postgres::Error>(commits)
        });
    }
    let mut commits = 0;
    while let Some(ended) = running.join_next().await {
        commits += ended.map_err(|error| anyhow!("a writer panicked: {error}"))??;
    }
    Ok(commits as f64 / started.elapsed().as_secs_f64())
}
