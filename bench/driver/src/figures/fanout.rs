//! 1,000 sockets in one room, at three rates.

use anyhow::{Context, Result};

use crate::{
    audience::Audience,
    bench::Bench,
    fan_out::{Rate, measure as measure_fan_out, warm_up},
    peer::Peer,
    results::{Metric, Results},
};

/// How many sockets.
pub const SOCKETS: usize = 1000;

struct Step {
    changes_per_second: f64,
    p50: Metric,
    p99: Metric,
    deliveries: Metric,
    generator: Metric,
}

const STEPS: [Step; 3] = [
    Step {
        changes_per_second: 60.0,
        p50: "fanout-60.p50",
        p99: "fanout-60.p99",
        deliveries: "fanout-60.deliveries",
        generator: "fanout-60.generator",
    },
    Step {
        changes_per_second: 100.0,
        p50: "fanout-100.p50",
        p99: "fanout-100.p99",
        deliveries: "fanout-100.deliveries",
        generator: "fanout-100.generator",
    },
    Step {
        changes_per_second: 200.0,
        p50: "fanout-200.p50",
        p99: "fanout-200.p99",
        deliveries: "fanout-200.deliveries",
        generator: "fanout-200.generator",
    },
];

const SECONDS: f64 = 3.0;

pub fn measure(bench: &Bench, peer: Peer, results: &mut Results) -> Result<()> {
    let server = bench.start(peer)?;
    let empty = server.resident_kilobytes()?;
    let audience = Audience::of_storefronts(&server.address, SOCKETS, 1)?;
    warm_up(peer, &server, &bench.url(peer), &audience)?;
    for step in &STEPS {
        let rate = Rate { changes_per_second: step.changes_per_second, seconds: SECONDS };
        let heard = measure_fan_out(peer, &server, &bench.url(peer), &audience, rate)
            .with_context(|| format!("at {} changes a second", step.changes_per_second))?;
        results.add(step.p50, peer, heard.p50);
        results.add(step.p99, peer, heard.p99);
        results.add(step.deliveries, peer, heard.deliveries_per_second);
        results.add(step.generator, peer, 100.0 * heard.generator_cpu_seconds / heard.seconds);
    }
    results.add("memory.loaded", peer, (server.peak_kilobytes()? - empty) / SOCKETS as f64);
    Ok(())
}
