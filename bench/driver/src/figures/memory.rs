//! Memory per idle connection: what the server's process has more with the sockets than without.

use std::{thread::sleep, time::Duration};

use anyhow::Result;

use crate::{
    audience::{Audience, STORES},
    bench::Bench,
    peer::Peer,
    results::Results,
};

const SOCKETS: usize = 4_000;
const SETTLE: Duration = Duration::from_secs(1);

pub fn measure(bench: &Bench, peer: Peer, results: &mut Results) -> Result<()> {
    let server = bench.start(peer)?;
    sleep(SETTLE);
    let empty = server.resident_kilobytes()?;
    let audience = Audience::of_storefronts(&server.address, SOCKETS, STORES)?;
    sleep(SETTLE);
    results.add("memory.idle", peer, (server.resident_kilobytes()? - empty) / SOCKETS as f64);
    audience.crowd.require_all()
}
