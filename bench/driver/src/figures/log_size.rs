//! How cost grows with the size of the change log: commit to client with ever more rows in it that were swept long ago.

use anyhow::Result;

use crate::{
    audience::Audience,
    bench::Bench,
    fan_out::{Rate, measure as measure_fan_out, warm_up},
    peer::Peer,
    plot::Chart,
    results::Results,
    server::Server,
    sql,
};

/// Rows in the log, at least.
const SIZES: [i64; 4] = [10_000, 400_000, 800_000, 1_600_000];
const RATE: Rate = Rate { changes_per_second: 50.0, seconds: 5.0 };

pub fn measure(bench: &Bench, results: &mut Results) -> Result<()> {
    let peer = Peer::Rowcast;
    let url = bench.url(peer);
    let server = bench.start(peer)?;
    let audience = Audience::of_storefronts(&server.address, 1, 1)?;
    warm_up(peer, &server, &url, &audience)?;
    let (mut latency, mut cpu) = (Vec::new(), Vec::new());
    for size in SIZES {
        let rows = fill_log(bench, &server, size)?;
        bench.tidy(peer)?;
        bench.catch_up(peer, Some(&server))?;
        let heard = measure_fan_out(peer, &server, &url, &audience, RATE)?;
        let millions = rows as f64 / 1e6;
        latency.push((millions, heard.p50));
        cpu.push((millions, heard.cpu_seconds * 1e6 / f64::from(heard.changes)));
    }
    results.charts.push(Chart {
        name: "log-latency",
        title: "Commit to client, p50",
        x: "million rows in the change log",
        y: "ms",
        unit: "ms",
        points: latency,
        slope_unit: ("ms for each million rows", 1.0),
    });
    results.charts.push(Chart {
        name: "log-cpu",
        title: "CPU for a change",
        x: "million rows in the change log",
        y: "µs of the service's CPU for one change",
        unit: "µs",
        points: cpu,
        slope_unit: ("µs for each million rows", 1.0),
    });
    Ok(())
}

/// Fills the log with copies of rows that are in it, whose transactions have been swept. Gives how many there are then.
fn fill_log(bench: &Bench, server: &Server, at_least: i64) -> Result<i64> {
    let peer = Peer::Rowcast;
    let url = &bench.url(peer);
    let count = || sql::value::<i64>(url, "select count(*) from rowcast.change");
    let mut rows = count()?;
    if rows == 0 {
        sql::execute(url, "update products set description = description || '.' where id like 'product-1%'")?;
        bench.catch_up(peer, Some(server))?;
        rows = count()?;
    }
    while rows < at_least {
        let wanted = rows.min(at_least - rows);
        sql::execute(url, &format!("insert into rowcast.change select * from rowcast.change limit {wanted}"))?;
        rows = count()?;
    }
    sql::execute(url, "vacuum analyze rowcast.change")?;
    Ok(rows)
}
