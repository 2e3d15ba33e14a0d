//! What every figure needs: Postgres, the servers, and the cores they are on.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::{
    cluster::Cluster,
    peer::Peer,
    server::{Programs, Server},
    sql,
};

/// How long a server may take to catch up with what a figure wrote.
const CATCH_UP: Duration = Duration::from_secs(120);
/// It has caught up when it used less CPU than this from one look to the next, and processed no change.
const IDLE_SECONDS: f64 = 0.03;
const LOOK_AGAIN: Duration = Duration::from_millis(400);

/// The bench.
#[derive(Debug)]
pub struct Bench {
    /// The Postgres that all share.
    pub cluster: Cluster,
    /// The servers.
    pub programs: Programs,
    /// The core of this process and of Postgres.
    pub load_core: usize,
}

impl Bench {
    /// The URL of a peer's database.
    pub fn url(&self, peer: Peer) -> String {
        self.cluster.url(peer)
    }

    /// Starts a peer.
    pub fn start(&self, peer: Peer) -> Result<Server> {
        self.programs.start(peer, &self.url(peer), None)
    }

    /// Starts a peer, or nothing where it has no server.
    pub fn start_if_any(&self, peer: Peer) -> Result<Option<Server>> {
        if peer == Peer::Nothing { Ok(None) } else { self.start(peer).map(Some) }
    }

    /// Measures while rowcast captures the products by statement instead of by row.
    pub fn by_statement<T>(&self, measure: impl FnOnce() -> Result<T>) -> Result<T> {
        let watch = |by_statement: bool| {
            let watch = format!("select rowcast.watch('products', by_statement => {by_statement})");
            sql::execute(&self.url(Peer::Rowcast), &watch)
        };
        watch(true)?;
        let measured = measure();
        watch(false)?;
        measured
    }

    /// Starts rowcast with another catalog.
    pub fn start_with_catalog(&self, catalog: &Path) -> Result<Server> {
        self.programs.start(Peer::Rowcast, &self.url(Peer::Rowcast), Some(catalog))
    }

    /// Waits until a server has worked off what was written so far.
    pub fn catch_up(&self, peer: Peer, server: Option<&Server>) -> Result<()> {
        let Some(server) = server else { return Ok(()) };
        let started = Instant::now();
        let mut before = Work::look(peer, server)?;
        loop {
            std::thread::sleep(LOOK_AGAIN);
            let now = Work::look(peer, server)?;
            if now.cpu_seconds - before.cpu_seconds < IDLE_SECONDS && now.swept == before.swept {
                return Ok(());
            }
            if started.elapsed() > CATCH_UP {
                bail!("expected the server to catch up within {CATCH_UP:?}, it is still at work");
            }
            before = now;
        }
    }

    /// Measures with Postgres and the writers on all cores, as they are where nobody but a database's own users is looked at;
    /// the server stays on its own.
    pub fn on_all_cores<T>(&self, measure: impl FnOnce() -> Result<T>) -> Result<T> {
        let all =
            0..std::fs::read_to_string("/proc/cpuinfo")?.lines().filter(|line| line.starts_with("processor")).count();
        self.pin_load(all)?;
        let measured = measure();
        self.pin_load([self.load_core])?;
        measured
    }

    fn pin_load(&self, cores: impl IntoIterator<Item = usize>) -> Result<()> {
        let mut set = CpuSet::new();
        cores.into_iter().for_each(|core| set.set(core));
        sched_setaffinity(None, &set).context("cannot pin this process")?;
        self.cluster.pin(&set)
    }

    /// Leaves a peer's database as tidy as before a run.
    pub fn tidy(&self, peer: Peer) -> Result<()> {
        sql::execute(&self.url(peer), "vacuum products")?;
        sql::execute(&self.url(peer), "checkpoint")
    }
}

/// What a server has done so far.
struct Work {
    cpu_seconds: f64,
    swept: f64,
}

impl Work {
    fn look(peer: Peer, server: &Server) -> Result<Self> {
        let swept = if peer == Peer::Rowcast { server.swept()? } else { 0.0 };
        Ok(Self { cpu_seconds: server.cpu_seconds()?, swept })
    }
}
