//! The throw-away Postgres, with a database for each kind of capture.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_setaffinity},
};

use crate::{peer::Peer, proc, sql};

/// fsync stays on. A checkpoint or an autovacuum in the middle of a run would hit one server and not another, so the
/// former are far apart and the latter is off: the tables are vacuumed between the runs.
const SETTINGS: [&str; 6] = [
    "max_connections=200",
    "shared_buffers=512MB",
    "max_wal_size=8GB",
    "checkpoint_timeout=1h",
    "autovacuum=off",
    "max_locks_per_transaction=256",
];

const DATASET: &str = include_str!("../sql/dataset.sql");
const TEMPLATE: &str = "bench_template";

/// A running Postgres. scripts/bench removes it.
#[derive(Debug)]
pub struct Cluster {
    root: PathBuf,
    rowcast: PathBuf,
    url: String,
    postmaster: u32,
}

impl Cluster {
    /// Starts it in `directory`. What this process is pinned to, it is pinned to.
    pub fn start(root: &Path, directory: &Path, rowcast: &Path) -> Result<Self> {
        let mut command = Command::new(root.join("scripts/postgres"));
        command.arg("start").arg(directory);
        for setting in SETTINGS {
            command.args(["--set", setting]);
        }
        let output = command.stderr(Stdio::inherit()).output().context("cannot run scripts/postgres")?;
        if !output.status.success() {
            bail!("Postgres did not start; its message is above");
        }
        let url = String::from_utf8(output.stdout)?.trim().to_owned();
        let pid_file = fs::read_to_string(directory.join("data/postmaster.pid")).context("Postgres has no pid file")?;
        let postmaster = pid_file.lines().next().and_then(|line| line.parse().ok()).context("expected a pid")?;
        let cluster = Self { root: root.to_owned(), rowcast: rowcast.to_owned(), url, postmaster };
        cluster.make_template()?;
        Ok(cluster)
    }

    /// The URL of a peer's database.
    pub fn url(&self, peer: Peer) -> String {
        self.url_of(peer.database())
    }

    /// Its version.
    pub fn version(&self) -> Result<String> {
        sql::value(&self.url, "show server_version")
    }

    /// The process that all of Postgres' others are children of.
    pub fn postmaster(&self) -> u32 {
        self.postmaster
    }

    /// Lets the server and all its processes run on these cores.
    pub fn pin(&self, cores: &CpuSet) -> Result<()> {
        let pid = |pid: u32| Pid::from_raw(pid as i32);
        sched_setaffinity(pid(self.postmaster), cores).context("cannot pin Postgres")?;
        for child in proc::children(self.postmaster)? {
            // One that has ended meanwhile needs no core.
            sched_setaffinity(pid(child), cores).ok();
        }
        Ok(())
    }

    fn url_of(&self, database: &str) -> String {
        let server = self.url.rsplit_once('/').map_or(self.url.as_str(), |(server, _)| server);
        format!("{server}/{database}")
    }

    fn make_template(&self) -> Result<()> {
        sql::execute(&self.url, &format!("create database {TEMPLATE}"))?;
        let template = self.url_of(TEMPLATE);
        for file in ["examples/marketplace/schema.sql", "examples/marketplace/seed.sql"] {
            sql::execute(&template, &self.read(file)?)?;
        }
        sql::execute(&template, DATASET)?;
        sql::execute(&template, "vacuum analyze")
    }

    /// Makes a peer's database anew, so that no figure feels what another one left.
    pub fn renew(&self, peer: Peer) -> Result<()> {
        let database = peer.database();
        sql::execute(&self.url, &format!("drop database if exists {database} with (force)"))?;
        sql::execute(&self.url, &format!("create database {database} template {TEMPLATE}"))?;
        match peer {
            Peer::NodeApp | Peer::Nothing => Ok(()),
            Peer::NodeListen | Peer::Floor => {
                sql::execute(&self.url(peer), &self.read("bench/peers/node-listen/trigger.sql")?)
            }
            Peer::Rowcast => self.migrate(),
        }
    }

    fn migrate(&self) -> Result<()> {
        let migrated = Command::new(&self.rowcast)
            .arg("migrate")
            .env("DATABASE_URL", self.url(Peer::Rowcast))
            .output()
            .with_context(|| format!("cannot run {}", self.rowcast.display()))?;
        if !migrated.status.success() {
            bail!("rowcast migrate failed: {}", String::from_utf8_lossy(&migrated.stderr));
        }
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.root.join(file)).with_context(|| format!("cannot read {file}"))
    }
}
