//! CPU that capture adds to a single-row update inside Postgres: of the writer's own backend, by the kernel's account.

use anyhow::{Context, Result};
use rowcast_bench_load::writer::connect;

use crate::{bench::Bench, peer::Peer, proc::cpu_seconds_of_one_thread, results::Results, sql};

const WARM_UP: u32 = 1_000;
const UPDATES: u32 = 8_000;
const ROWS: u32 = 1_000;

pub fn measure(bench: &Bench, peer: Peer, results: &mut Results) -> Result<()> {
    bench.tidy(peer)?;
    let server = bench.start_if_any(peer)?;
    let micros = bench.on_all_cores(|| sql::on_a_runtime(update_rows(&bench.url(peer))))?;
    results.add("update-cpu.all", peer, micros);
    if let Some(plain) = results.last("update-cpu.all", Peer::Nothing).filter(|_| peer != Peer::Nothing) {
        results.add("update-cpu.added", peer, micros - plain);
        if peer == Peer::Rowcast {
            let measured = || bench.on_all_cores(|| sql::on_a_runtime(update_rows(&bench.url(peer))));
            results.add("update-cpu.added-by-statement", peer, bench.by_statement(measured)? - plain);
        }
    }
    bench.catch_up(peer, server.as_ref())
}

/// Microseconds of CPU for each update, a transaction of its own. The commit does not wait for the disk, which would
/// only add noise: waiting costs no CPU.
async fn update_rows(url: &str) -> Result<f64> {
    let client = connect(url).await?;
    client.batch_execute("set synchronous_commit = off").await?;
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await?.get(0);
    let update = client.prepare("update products set stock = stock - 1 where id = $1").await?;
    let mut before = 0.0;
    for number in 0..WARM_UP + UPDATES {
        if number == WARM_UP {
            before = cpu_seconds_of_one_thread(pid as u32).context("Postgres must run on this machine")?;
        }
        client.execute(&update, &[&format!("product-{}", number % ROWS)]).await?;
    }
    Ok((cpu_seconds_of_one_thread(pid as u32)? - before) * 1e6 / f64::from(UPDATES))
}
