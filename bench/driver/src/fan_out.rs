//! One measurement: changes at a given rate, and when every socket heard every one of them.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use rowcast_bench_load::{
    ledger::Ledger,
    verdict::{expected, judge, percentile},
    writer::{Paced, Way, write_paced},
};

use crate::{audience::Audience, peer::Peer, proc, server::Server};

/// How long nothing may arrive until what is missing counts as lost.
const STALL: Duration = Duration::from_secs(5);

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Changes a second.
    pub changes_per_second: f64,
    /// For how long.
    pub seconds: f64,
}

/// What was heard.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// Milliseconds from the moment before the statement was sent, of every message on every socket.
    pub p50: f64,
    /// The same.
    pub p99: f64,
    /// The same from the answer to the commit.
    pub p50_after_answer: f64,
    /// Messages a second, from the first statement to the last arrival.
    pub deliveries_per_second: f64,
    /// Seconds of the server's CPU.
    pub cpu_seconds: f64,
    /// Seconds of this program's CPU.
    pub generator_cpu_seconds: f64,
    /// How long it took in all.
    pub seconds: f64,
    /// How many changes there were.
    pub changes: u32,
}

/// Writes, listens, and fails if one message is missing or came twice.
pub fn measure(peer: Peer, server: &Server, database: &str, audience: &Audience, rate: Rate) -> Result<Heard> {
    let changes = (rate.changes_per_second * rate.seconds).round().max(1.0) as u32;
    let ledger = Arc::new(Ledger::open(changes));
    let messages = changes as usize * audience.groups.len() / (1 + audience.groups.iter().max().unwrap_or(&0)) as usize;
    let paced = Paced {
        way: match peer {
            Peer::NodeApp => Way::Application(server.address.clone()),
            _ => Way::Postgres(database.to_owned()),
        },
        rate: rate.changes_per_second,
        rows: audience.rows.clone(),
    };

    let cpu_before = server.cpu_seconds()?;
    let generator_before = proc::cpu_seconds(std::process::id())?;
    audience.crowd.record(&ledger, messages);
    let started = ledger.now();
    let written = write_paced(&paced, &ledger);
    // What was written is waited for even if the rate was not kept: the next measurement must not hear it.
    audience.crowd.settle(expected(&ledger, &audience.groups), STALL);
    let arrivals = audience.crowd.arrivals();
    let cpu_seconds = server.cpu_seconds()? - cpu_before;
    let generator_cpu_seconds = proc::cpu_seconds(std::process::id())? - generator_before;
    written?;
    audience.crowd.require_all()?;

    let latencies = judge(&ledger, &arrivals, &audience.groups)?;
    let last = arrivals.iter().map(|arrival| arrival.at).max().unwrap_or(started);
    let seconds = (last - started) as f64 / 1e6;
    Ok(Heard {
        p50: percentile(&latencies.from_sent, 0.5),
        p99: percentile(&latencies.from_sent, 0.99),
        p50_after_answer: percentile(&latencies.from_answer, 0.5),
        deliveries_per_second: arrivals.len() as f64 / seconds,
        cpu_seconds,
        generator_cpu_seconds,
        seconds,
        changes,
    })
}

/// A second of changes that nobody measures: connections open, code is compiled, caches are filled.
pub fn warm_up(peer: Peer, server: &Server, database: &str, audience: &Audience) -> Result<()> {
    measure(peer, server, database, audience, Rate { changes_per_second: 40.0, seconds: 1.0 }).map(|_| ())
}
