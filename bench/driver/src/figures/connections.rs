//! How cost grows with connections, 100 to 10,000, all in one room.

use anyhow::{Context, Result};

use crate::{
    audience::Audience,
    bench::Bench,
    fan_out::{Rate, measure as measure_fan_out, warm_up},
    peer::Peer,
    plot::Chart,
    results::Results,
};

const SOCKETS: [usize; 5] = [100, 1_000, 3_000, 6_000, 10_000];
/// Deliveries a second at every size, so that all are measured under the same load.
const DELIVERIES: f64 = 30_000.0;
const MOST_CHANGES: f64 = 100.0;
const SECONDS: f64 = 4.0;

pub fn measure(bench: &Bench, results: &mut Results) -> Result<()> {
    let peer = Peer::Rowcast;
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for sockets in SOCKETS {
        let server = bench.start(peer)?;
        let audience = Audience::of_storefronts(&server.address, sockets, 1)
            .with_context(|| format!("with {sockets} sockets; see how many files a process may open: ulimit -Hn"))?;
        std::thread::sleep(std::time::Duration::from_millis(500));
        memory.push((sockets as f64, server.resident_kilobytes()? / 1024.0));
        let changes_per_second = (DELIVERIES / sockets as f64).min(MOST_CHANGES);
        if sockets <= 1_000 {
            warm_up(peer, &server, &bench.url(peer), &audience)?;
        }
        let rate = Rate { changes_per_second, seconds: SECONDS };
        let heard = measure_fan_out(peer, &server, &bench.url(peer), &audience, rate)
            .with_context(|| format!("with {sockets} sockets"))?;
        cpu.push((sockets as f64, heard.cpu_seconds * 1e3 / f64::from(heard.changes)));
    }
    results.charts.push(Chart {
        name: "connections-cpu",
        title: "CPU for a change that all hear",
        x: "connections in one room",
        y: "ms of the service's CPU for one change",
        unit: "ms",
        points: cpu,
        slope_unit: ("µs for each connection", 1e3),
    });
    results.charts.push(Chart {
        name: "connections-memory",
        title: "Memory",
        x: "idle connections",
        y: "MB of the service",
        unit: "MB",
        points: memory,
        slope_unit: ("KB for each connection", 1024.0),
    });
    Ok(())
}
