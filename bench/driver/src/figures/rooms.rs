//! How cost grows with rooms: 500 sockets, each in ever more rooms of products that nobody else looks at.

use anyhow::{Context, Result};

use crate::{
    audience::Audience,
    bench::Bench,
    fan_out::{Rate, measure as measure_fan_out},
    peer::Peer,
    plot::Chart,
    results::Results,
};

const SOCKETS: u32 = 500;
const ROOMS_EACH: [u32; 4] = [1, 16, 32, 64];
const RATE: Rate = Rate { changes_per_second: 200.0, seconds: 4.0 };

pub fn measure(bench: &Bench, results: &mut Results) -> Result<()> {
    let peer = Peer::Rowcast;
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for each in ROOMS_EACH {
        let server = bench.start(peer)?;
        let audience = Audience::of_products(&server.address, SOCKETS, each)?;
        // Each product that is looked at makes an event of its own, once.
        server.wait_until_quiet()?;
        let rooms = f64::from(SOCKETS * each);
        memory.push((rooms, server.resident_kilobytes()? / 1024.0));
        let heard = measure_fan_out(peer, &server, &bench.url(peer), &audience, RATE)
            .with_context(|| format!("with {rooms} rooms"))?;
        cpu.push((rooms, heard.cpu_seconds * 1e6 / f64::from(heard.changes)));
    }
    results.charts.push(Chart {
        name: "rooms-cpu",
        title: "CPU for a change that one hears",
        x: "rooms",
        y: "µs of the service's CPU for one change",
        unit: "µs",
        points: cpu,
        slope_unit: ("µs for each 1,000 rooms", 1e3),
    });
    results.charts.push(Chart {
        name: "rooms-memory",
        title: "Memory, 500 connections",
        x: "rooms",
        y: "MB of the service",
        unit: "MB",
        points: memory,
        slope_unit: ("KB for each room", 1024.0),
    });
    Ok(())
}
