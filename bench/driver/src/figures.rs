//! The figures, one file each.

mod backlog;
mod bulk;
mod capacity;
mod connections;
mod fanout;
mod latency;
mod log_size;
mod memory;
mod rooms;
mod rows;
mod rules;
mod service_cpu;
mod update_cpu;
mod writers;

use anyhow::Result;
use clap::ValueEnum;

use crate::{bench::Bench, peer::Peer, results::Results};

/// Something to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Figure {
    /// Commit to client: 1 socket, 50 changes a second.
    Latency,
    /// 1,000 sockets in one room, at 60, 100 and 200 changes a second.
    Fanout,
    /// The most deliveries a second with p99 under 150 ms.
    Capacity,
    /// Writers' throughput kept, 32 writers saturating.
    Writers,
    /// CPU added to a single-row update inside Postgres.
    UpdateCpu,
    /// A 100,000-row UPDATE.
    Bulk,
    /// Memory per idle connection.
    Memory,
    /// The backlog after an outage.
    Backlog,
    /// The server's CPU at 100 changes a second, 1,000 sockets in 200 rooms.
    ServiceCpu,
    /// How cost grows with connections, 100 to 10,000.
    GrowthConnections,
    /// How cost grows with rooms.
    GrowthRooms,
    /// How cost grows with rules.
    GrowthRules,
    /// How cost grows with rows per transaction.
    GrowthRows,
    /// How cost grows with the size of the change log.
    GrowthLog,
}

impl Figure {
    /// All, in the order of the table.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// What it is, in words.
    pub fn about(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// Which peers it is measured on, in this order. (c) goes first where others are compared with it.
    pub fn peers(self) -> &'static [Peer] {
        use Peer::{Floor, NodeApp, NodeListen, Nothing, Rowcast};
        match self {
            Self::Latency | Self::Fanout | Self::Memory | Self::ServiceCpu => &[NodeListen, NodeApp, Floor, Rowcast],
            // (b) has the server of (a).
            Self::Capacity => &[NodeListen, Floor, Rowcast],
            Self::Writers | Self::UpdateCpu | Self::Bulk => &[Nothing, NodeListen, Floor, Rowcast],
            _ => &[Rowcast],
        }
    }

    /// How often it is measured if each figure is measured `runs` times. A growth has its many points instead.
    pub fn runs(self, runs: u32) -> u32 {
        match self {
            Self::GrowthConnections | Self::GrowthRooms | Self::GrowthRules | Self::GrowthRows | Self::GrowthLog => 1,
            _ => runs,
        }
    }

    /// About how many seconds one run takes on one peer.
    pub fn seconds(self, peer: Peer) -> f64 {
        let is_node = matches!(peer, Peer::NodeListen | Peer::NodeApp);
        match self {
            Self::Latency => 8.0,
            Self::Fanout if is_node => 28.0,
            Self::Fanout => 14.0,
            Self::Capacity if is_node => 22.0,
            Self::Capacity => 17.0,
            Self::Writers if peer == Peer::Rowcast => 16.0,
            Self::Writers => 7.0,
            Self::UpdateCpu => 3.0,
            Self::Bulk if peer == Peer::Rowcast => 15.0,
            Self::Bulk => 5.0,
            Self::Memory => 5.0,
            Self::Backlog => 15.0,
            Self::ServiceCpu => 9.0,
            Self::GrowthConnections => 40.0,
            Self::GrowthRooms => 35.0,
            Self::GrowthRules => 30.0,
            Self::GrowthRows => 40.0,
            Self::GrowthLog => 45.0,
        }
    }

    /// Measures it once on one peer.
    pub fn measure(self, bench: &Bench, peer: Peer, results: &mut Results) -> Result<()> {
        match self {
            Self::Latency => latency::measure(bench, peer, results),
            Self::Fanout => fanout::measure(bench, peer, results),
            Self::Capacity => capacity::measure(bench, peer, results),
            Self::Writers => writers::measure(bench, peer, results),
            Self::UpdateCpu => update_cpu::measure(bench, peer, results),
            Self::Bulk => bulk::measure(bench, peer, results),
            Self::Memory => memory::measure(bench, peer, results),
            Self::Backlog => backlog::measure(bench, results),
            Self::ServiceCpu => service_cpu::measure(bench, peer, results),
            Self::GrowthConnections => connections::measure(bench, results),
            Self::GrowthRooms => rooms::measure(bench, results),
            Self::GrowthRules => rules::measure(bench, results),
            Self::GrowthRows => rows::measure(bench, results),
            Self::GrowthLog => log_size::measure(bench, results),
        }
    }
}
