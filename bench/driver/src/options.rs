//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::figures::Figure;

/// Measures rowcast against what a team would otherwise write by hand.
///
/// Everything runs on this machine, on a throw-away Postgres. A whole run writes docs/benchmarks.md and the plots in
/// docs/bench; a part prints its table and leaves them alone.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// Only these figures, by name; separated by commas, or given more than once. --list shows them
    #[arg(long, value_name = "FIGURE", value_delimiter = ',')]
    pub only: Vec<Figure>,

    /// Only these servers: a, b, c, d or rowcast. What is compared with (c) needs c, too
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    pub peers: Vec<crate::peer::Peer>,

    /// How often each figure is measured; the servers take turns. The table has the medians
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,

    /// Repeat a measurement that other programs disturbed, up to N times; then it counts all the same
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub calm: u32,

    /// The core for the server under test
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    pub server_core: usize,

    /// The core for the load generator and Postgres
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    pub load_core: usize,

    /// The rowcast to measure; without it, scripts/bench builds the checkout's
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    pub rowcast: Option<PathBuf>,

    /// An empty directory for logs and the Postgres cluster; scripts/bench makes one
    #[arg(long, value_name = "DIRECTORY", required_unless_present = "list")]
    pub work: Option<PathBuf>,

    /// Keep that directory, with Postgres running in it, and print where it is
    #[arg(long)]
    pub keep: bool,

    /// List the figures and how long each takes
    #[arg(long)]
    pub list: bool,
}

impl Options {
    /// Whether everything is measured, so that the documentation may be written anew.
    pub fn is_whole(&self) -> bool {
        self.only.is_empty() && self.peers.is_empty() && self.runs >= 3
    }
}
