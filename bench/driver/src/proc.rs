//! What /proc says of a process.

use std::fs;

use anyhow::{Context, Result, bail};

/// Seconds of CPU, user and system, that all threads of the process have used.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    times(pid).map(|[user, system, ..]| user + system)
}

/// The same with its children that have ended and were waited for, and theirs.
pub fn cpu_seconds_with_ended_children(pid: u32) -> Result<f64> {
    times(pid).map(|times| times.iter().sum())
}

/// Seconds: user, system, and both of the children that have ended.
fn times(pid: u32) -> Result<[f64; 4]> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // The second field is a name in brackets, which may hold anything; utime is the 14th.
    let after_name = text.rsplit_once(')').context("/proc/PID/stat has no name")?.1;
    let mut ticks = after_name.split_whitespace().skip(11).map(str::parse::<f64>);
    let mut next = || match ticks.next() {
        Some(Ok(ticks)) => Ok(ticks / rustix::param::clock_ticks_per_second() as f64),
        _ => bail!("expected four times in /proc/{pid}/stat, found {text}"),
    };
    Ok([next()?, next()?, next()?, next()?])
}

/// The same for a process of one thread, to the nanosecond where the kernel keeps count of it.
pub fn cpu_seconds_of_one_thread(pid: u32) -> Result<f64> {
    let counted = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok();
    let nanoseconds = counted.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    match nanoseconds {
        Some(nanoseconds) if nanoseconds > 0 => Ok(nanoseconds as f64 / 1e9),
        _ => cpu_seconds(pid),
    }
}

/// Kilobytes of memory that the process has now.
pub fn resident_kilobytes(pid: u32) -> Result<f64> {
    status(pid, "VmRSS:")
}

/// The most that it ever had.
pub fn peak_kilobytes(pid: u32) -> Result<f64> {
    status(pid, "VmHWM:")
}

/// The processes that it has started.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let file = format!("/proc/{pid}/task/{pid}/children");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    text.split_whitespace().map(|child| child.parse().context("expected a pid")).collect()
}

fn status(pid: u32, name: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("/proc/{pid}/status has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_some_cpu_and_memory() {
        let pid = std::process::id();
        let before = cpu_seconds_of_one_thread(pid).unwrap();
        assert!(before >= 0.0 && cpu_seconds(pid).unwrap() >= 0.0);
        assert!(resident_kilobytes(pid).unwrap() > 100.0);
        assert!(peak_kilobytes(pid).unwrap() >= 100.0);
    }
}
