//! How long an UPDATE of 100,000 rows takes, commit included.

use std::time::Instant;

use anyhow::{Result, bail};
use rowcast_bench_load::writer::connect;

use crate::{audience::PRODUCTS, bench::Bench, peer::Peer, results::Results, sql};

pub fn measure(bench: &Bench, peer: Peer, results: &mut Results) -> Result<()> {
    bench.tidy(peer)?;
    let server = bench.start_if_any(peer)?;
    let updated = || bench.on_all_cores(|| sql::on_a_runtime(update_all(&bench.url(peer))));
    let seconds = updated()?;
    results.add("bulk.seconds", peer, seconds);
    let plain = results.last("bulk.seconds", Peer::Nothing).filter(|_| peer != Peer::Nothing);
    if let Some(plain) = plain {
        results.add("bulk.times", peer, seconds / plain);
    }
    bench.catch_up(peer, server.as_ref())?;
    if peer == Peer::Rowcast {
        bench.tidy(peer)?;
        let seconds = bench.by_statement(updated)?;
        results.add("bulk-by-statement.seconds", peer, seconds);
        if let Some(plain) = plain {
            results.add("bulk-by-statement.times", peer, seconds / plain);
        }
        bench.catch_up(peer, server.as_ref())?;
    }
    Ok(())
}

async fn update_all(url: &str) -> Result<f64> {
    let client = connect(url).await?;
    let started = Instant::now();
    let rows = client
        .execute("update products set stock = stock - 1 where id like 'product-%' and seller_id like 'store-%'", &[])
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    if rows != u64::from(PRODUCTS) {
        bail!("expected to update {PRODUCTS} rows, updated {rows}");
    }
    Ok(seconds)
}
