//! Commit to client: one socket, 50 changes a second.

use anyhow::Result;

use crate::{
    audience::Audience,
    bench::Bench,
    fan_out::{Rate, measure as measure_fan_out, warm_up},
    peer::Peer,
    results::Results,
};

const RATE: Rate = Rate { changes_per_second: 50.0, seconds: 4.0 };

pub fn measure(bench: &Bench, peer: Peer, results: &mut Results) -> Result<()> {
    let server = bench.start(peer)?;
    let audience = Audience::of_storefronts(&server.address, 1, 1)?;
    warm_up(peer, &server, &bench.url(peer), &audience)?;
    let heard = measure_fan_out(peer, &server, &bench.url(peer), &audience, RATE)?;
    results.add("latency.p50", peer, heard.p50);
    results.add("latency.p99", peer, heard.p99);
    results.add("latency.after-answer", peer, heard.p50_after_answer);
    Ok(())
}
