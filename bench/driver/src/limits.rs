//! What this process needs of the system: cores, and open files for 10,000 sockets.

use anyhow::{Context, Result, bail};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};

use crate::options::Options;

/// Sockets of the largest growth, and some more files.
const OPEN_FILES: u64 = 12_000;
/// Clients and, in the server's process, twice as many for a moment.
const WANTED_FILES: u64 = 65_536;

/// Raises the limit of open files and pins this process to its core; both go on to every child.
pub fn prepare(options: &Options) -> Result<()> {
    raise_open_files()?;
    if options.server_core == options.load_core {
        eprintln!("server and load share core {}: the figures say little", options.server_core);
    }
    let mut cores = CpuSet::new();
    cores.set(options.load_core);
    sched_setaffinity(None, &cores).with_context(|| {
        format!("cannot pin this process to core {}; choose another with --load-core", options.load_core)
    })
}

fn raise_open_files() -> Result<()> {
    let present = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: Some(WANTED_FILES), maximum: Some(WANTED_FILES.max(present.maximum.unwrap_or(0))) };
    // Above the hard limit only root may go; up to it everybody.
    let within = Rlimit { current: present.maximum, maximum: present.maximum };
    if setrlimit(Resource::Nofile, raised).is_err() {
        setrlimit(Resource::Nofile, within).context("cannot raise the limit of open files")?;
    }
    match getrlimit(Resource::Nofile).current {
        Some(files) if files < OPEN_FILES => bail!(
            "10,000 sockets need {OPEN_FILES} open files, the hard limit is {files}; raise it (ulimit -Hn {OPEN_FILES}, as root) and try again"
        ),
        _ => Ok(()),
    }
}
