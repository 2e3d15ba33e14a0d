//! Whether other programs use this machine while something is measured.

use std::{fs, time::Instant};

use anyhow::{Context, Result};

use crate::{cluster::Cluster, proc};

/// A measurement counts as disturbed from so many cores on that others use meanwhile.
pub const TOLERATED_CORES: f64 = 0.15;

/// The CPU that the machine, and this benchmark with Postgres and every server that has ended, have used so far.
#[derive(Debug)]
pub struct Account {
    at: Instant,
    machine: f64,
    own: f64,
}

impl Account {
    /// Takes stock. No server may be running.
    pub fn take(cluster: &Cluster) -> Result<Self> {
        let own = proc::cpu_seconds_with_ended_children(std::process::id())?;
        let postgres = proc::cpu_seconds_with_ended_children(cluster.postmaster())?;
        let backends = proc::children(cluster.postmaster())?;
        // One that has ended since is in the account of the postmaster, or will be.
        let backends: f64 = backends.into_iter().filter_map(|backend| proc::cpu_seconds(backend).ok()).sum();
        Ok(Self { at: Instant::now(), machine: machine_cpu_seconds()?, own: own + postgres + backends })
    }

    /// How many cores other programs have used since, on average.
    pub fn others_since(&self, cluster: &Cluster) -> Result<f64> {
        let now = Self::take(cluster)?;
        let others = (now.machine - self.machine) - (now.own - self.own);
        Ok((others / (now.at - self.at).as_secs_f64()).max(0.0))
    }
}

/// User, nice and system, of all cores; not what interrupts take, which is nobody's.
fn machine_cpu_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat")?;
    let ticks = text.split_whitespace().skip(1).take(3).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>().context("/proc/stat does not begin with the sum of all cores")?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
