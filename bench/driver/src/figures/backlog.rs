//! The backlog after an outage: changes of all kinds are written while the service is down, and then it starts.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{bench::Bench, peer::Peer, results::Results, sql};

/// About one change in two is of a product, the others of everything else that the catalog has rules for.
const CHANGES: &str = include_str!("../../sql/backlog.sql");
const TIMEOUT: Duration = Duration::from_secs(120);

pub fn measure(bench: &Bench, results: &mut Results) -> Result<()> {
    let peer = Peer::Rowcast;
    let url = bench.url(peer);
    bench.tidy(peer)?;
    // Whatever earlier figures left.
    let server = bench.start(peer)?;
    bench.catch_up(peer, Some(&server))?;
    drop(server);

    sql::execute(&url, CHANGES)?;
    let changes: i64 = sql::value(&url, "select changes from bench_backlog")?;

    let server = bench.start(peer)?;
    let (at_first, started) = (server.swept()?, Instant::now());
    server.wait_until_swept(changes as f64, TIMEOUT)?;
    let seconds = started.elapsed().as_secs_f64();
    let dead_letters = server.counter("rowcast_dead_letters_total")?;
    if dead_letters > 0.0 {
        bail!("expected every rule to take every change, found {dead_letters} dead letters");
    }
    results.add("backlog.rate", peer, (changes as f64 - at_first) / seconds);
    results.add("backlog.peak", peer, server.peak_kilobytes()? / 1024.0);
    Ok(())
}
