//! The server's CPU at 100 changes a second, with 1,000 sockets in 200 rooms.

use anyhow::Result;

use crate::{
    audience::{Audience, STORES},
    bench::Bench,
    fan_out::{Rate, measure as measure_fan_out, warm_up},
    peer::Peer,
    results::Results,
};

const SOCKETS: usize = 1_000;
const RATE: Rate = Rate { changes_per_second: 100.0, seconds: 6.0 };

pub fn measure(bench: &Bench, peer: Peer, results: &mut Results) -> Result<()> {
    let server = bench.start(peer)?;
    let audience = Audience::of_storefronts(&server.address, SOCKETS, STORES)?;
    warm_up(peer, &server, &bench.url(peer), &audience)?;
    let heard = measure_fan_out(peer, &server, &bench.url(peer), &audience, RATE)?;
    results.add("service-cpu.share", peer, 100.0 * heard.cpu_seconds / heard.seconds);
    results.add("service-cpu.p99", peer, heard.p99);
    Ok(())
}
