//! How cost grows with the rows of one transaction: until the commit is answered, and until the service has processed all.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{audience::PRODUCTS, bench::Bench, peer::Peer, plot::Chart, results::Results, sql};

const ROWS: [u32; 6] = [1, 100, 1_000, 10_000, 30_000, PRODUCTS];
const TIMEOUT: Duration = Duration::from_secs(60);

pub fn measure(bench: &Bench, results: &mut Results) -> Result<()> {
    let peer = Peer::Rowcast;
    let server = bench.start(peer)?;
    let (mut committed, mut processed) = (Vec::new(), Vec::new());
    for rows in ROWS {
        bench.tidy(peer)?;
        bench.catch_up(peer, Some(&server))?;
        let swept = server.swept()?;
        let statement = format!(
            "update products set description = description || '.' where id in (select 'product-' || n from generate_series(0, {}) as n)",
            rows - 1
        );
        let started = Instant::now();
        sql::execute(&bench.url(peer), &statement)?;
        committed.push((f64::from(rows), started.elapsed().as_secs_f64() * 1e3));
        server.wait_until_swept(swept + f64::from(rows), TIMEOUT)?;
        processed.push((f64::from(rows), started.elapsed().as_secs_f64() * 1e3));
    }
    results.charts.push(Chart {
        name: "rows-commit",
        title: "Until the commit is answered",
        x: "rows of one transaction",
        y: "ms",
        unit: "ms",
        points: committed,
        slope_unit: ("µs for each row", 1e3),
    });
    results.charts.push(Chart {
        name: "rows-processed",
        title: "Until the service has processed all",
        x: "rows of one transaction",
        y: "ms",
        unit: "ms",
        points: processed,
        slope_unit: ("µs for each row", 1e3),
    });
    Ok(())
}
