//! What writers keep of their throughput: 32 of them, as fast as they can.

use std::time::Duration;

use anyhow::Result;
use rowcast_bench_load::writer::{Saturated, write_saturating};

use crate::{bench::Bench, peer::Peer, results::Results};

const WRITERS: u32 = 32;
const DURATION: Duration = Duration::from_secs(4);
const ROWS: u32 = 10_000;

pub fn measure(bench: &Bench, peer: Peer, results: &mut Results) -> Result<()> {
    bench.tidy(peer)?;
    if peer == Peer::Rowcast {
        // The trigger alone, while the service is down.
        let unread = write(bench, peer)?;
        results.add("writers.unread", peer, unread);
        if let Some(plain) = results.last("writers.rate", Peer::Nothing) {
            results.add("writers.kept-unread", peer, 100.0 * unread / plain);
        }
        bench.tidy(peer)?;
    }
    let server = bench.start_if_any(peer)?;
    bench.catch_up(peer, server.as_ref())?;
    let rate = write(bench, peer)?;
    results.add("writers.rate", peer, rate);
    if let Some(plain) = results.last("writers.rate", Peer::Nothing).filter(|_| peer != Peer::Nothing) {
        results.add("writers.kept", peer, 100.0 * rate / plain);
    }
    bench.catch_up(peer, server.as_ref())
}

fn write(bench: &Bench, peer: Peer) -> Result<f64> {
    let saturated = Saturated { url: bench.url(peer), writers: WRITERS, duration: DURATION, rows: ROWS };
    bench.on_all_cores(|| write_saturating(&saturated))
}
