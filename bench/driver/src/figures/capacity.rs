//! The most deliveries a second with the 99th percentile under 150 ms: between two rates the one in the middle is
//! tried until they are 6 % apart.

use anyhow::{Context, Result};

use super::fanout::SOCKETS;
use crate::{
    audience::Audience,
    bench::Bench,
    fan_out::{Heard, Rate, measure as measure_fan_out, warm_up},
    peer::Peer,
    results::Results,
    server::Server,
};

const LIMIT_MILLISECONDS: f64 = 150.0;
const SECONDS: f64 = 2.0;
/// Changes a second between which the answer is looked for.
const LEAST: f64 = 20.0;
const MOST: f64 = 1000.0;
const STEPS: u32 = 6;

pub fn measure(bench: &Bench, peer: Peer, results: &mut Results) -> Result<()> {
    let (mut good, mut bad) = (LEAST, MOST);
    let mut best = None;
    let mut stage = None;
    for _ in 0..STEPS {
        let rate = (good * bad).sqrt();
        match attempt_twice(bench, peer, &mut stage, rate) {
            Some(heard) => (good, best) = (rate, Some(heard)),
            None => bad = rate,
        }
    }
    let best = best.with_context(|| format!("expected some rate above {LEAST} changes a second to do, none did"))?;
    results.add("capacity", peer, best.deliveries_per_second);
    results.add("capacity.cpu", peer, 100.0 * best.cpu_seconds / best.seconds);
    results.add("capacity.generator", peer, 100.0 * best.generator_cpu_seconds / best.seconds);
    Ok(())
}

/// What was heard, if it was heard in time. A near miss is tried once more: one hiccup would halve the answer.
fn attempt_twice(bench: &Bench, peer: Peer, stage: &mut Option<(Audience, Server)>, rate: f64) -> Option<Heard> {
    for _ in 0..2 {
        match attempt(bench, peer, stage, rate) {
            Ok(heard) if heard.p99 < LIMIT_MILLISECONDS => return Some(heard),
            Ok(heard) if heard.p99 < 2.0 * LIMIT_MILLISECONDS => {}
            Ok(_) => return None,
            // Too much for it, or for the generator: sockets were cut, or the rate could not be kept. New ones are needed.
            Err(error) => {
                eprintln!("          not at {rate:.0} changes a second: {error:#}");
                *stage = None;
                return None;
            }
        }
    }
    None
}

fn attempt(bench: &Bench, peer: Peer, stage: &mut Option<(Audience, Server)>, rate: f64) -> Result<Heard> {
    let url = bench.url(peer);
    if stage.is_none() {
        let server = bench.start(peer)?;
        let audience = Audience::of_storefronts(&server.address, SOCKETS, 1)?;
        warm_up(peer, &server, &url, &audience)?;
        *stage = Some((audience, server));
    }
    let (audience, server) = stage.as_ref().expect("it was set above");
    measure_fan_out(peer, server, &url, audience, Rate { changes_per_second: rate, seconds: SECONDS })
}
