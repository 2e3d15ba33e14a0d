//! A server under test: one process on a core of its own.

mod http;
mod launch;

use std::{
    path::PathBuf,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

pub use launch::Programs;

use crate::proc;

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Longer than rowcast's presence_interval of 2 s, after which it tells how often the products were looked at.
const QUIET: Duration = Duration::from_millis(2500);
const QUIET_TIMEOUT: Duration = Duration::from_secs(60);
/// In cores.
const QUIET_SHARE: f64 = 0.02;
/// The same where it stays as it is, and by which part of it, and ticks of the clock, three such shares may differ.
const REST_SHARE: f64 = 0.15;
const REST_SPREAD: f64 = 0.2;
const TICKS: f64 = 0.01;

/// Whether the last three shares are small and alike.
fn is_at_rest(shares: &[f64]) -> bool {
    let Some(last) = shares.last_chunk::<3>() else { return false };
    let (least, greatest) = (last.iter().copied().fold(f64::MAX, f64::min), last.iter().copied().fold(0.0, f64::max));
    greatest < REST_SHARE && greatest - least < REST_SPREAD * greatest + TICKS
}

/// A running server. Dropped, it is stopped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where clients connect, as in `127.0.0.1:4000`.
    pub address: String,
    admin: Option<String>,
    log: PathBuf,
}

impl Server {
    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status} before it was ready; the end of its log: {}", self.end_of_log());
            }
            match http::get(&self.address, "/readyz") {
                Ok((200, _)) => return Ok(()),
                answer if Instant::now() > deadline => bail!(
                    "expected the server to be ready within {READY_TIMEOUT:?}, it answered {answer:?}; the end of its log: {}",
                    self.end_of_log()
                ),
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn end_of_log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Seconds of CPU that it has used.
    pub fn cpu_seconds(&self) -> Result<f64> {
        proc::cpu_seconds(self.child.id())
    }

    /// Waits until it has done what it does some seconds later: until it hardly used a processor for [`QUIET`], or as little
    /// as in the two times before, which is what it takes at rest on a slow machine.
    pub fn wait_until_quiet(&self) -> Result<()> {
        let deadline = Instant::now() + QUIET_TIMEOUT;
        let mut shares = Vec::new();
        loop {
            let before = self.cpu_seconds()?;
            std::thread::sleep(QUIET);
            let share = (self.cpu_seconds()? - before) / QUIET.as_secs_f64();
            shares.push(share);
            if share < QUIET_SHARE || is_at_rest(&shares) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("expected the server to fall quiet within {QUIET_TIMEOUT:?}, found it using {share} cores");
            }
        }
    }

    /// Kilobytes of memory that it has now.
    pub fn resident_kilobytes(&self) -> Result<f64> {
        proc::resident_kilobytes(self.child.id())
    }

    /// The most that it ever had.
    pub fn peak_kilobytes(&self) -> Result<f64> {
        proc::peak_kilobytes(self.child.id())
    }

    /// The sum of a counter of rowcast over its labels.
    pub fn counter(&self, name: &str) -> Result<f64> {
        let admin = self.admin.as_ref().context("only rowcast has metrics")?;
        let (_, text) = http::get(admin, "/metrics")?;
        let of_this_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        Ok(text.lines().filter(of_this_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// How many changes rowcast has processed.
    pub fn swept(&self) -> Result<f64> {
        self.counter("rowcast_changes_swept_total")
    }

    /// Waits until rowcast has processed so many changes in all.
    pub fn wait_until_swept(&self, changes: f64, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let swept = self.swept()?;
            if swept >= changes {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("expected {changes} changes to be processed within {timeout:?}, found {swept}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            kill_process(pid, Signal::TERM).ok();
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_rest_is_who_takes_little_and_no_less_than_before() {
        assert!(is_at_rest(&[0.9, 0.028, 0.032, 0.03]));
        assert!(!is_at_rest(&[0.06, 0.045, 0.035]), "it still falls");
        assert!(!is_at_rest(&[0.3, 0.3, 0.3]), "it is at work");
        assert!(!is_at_rest(&[0.03, 0.03]));
    }
}
