//! The machine and the versions, for the report.

use std::{fs, path::Path, process::Command};

/// What a reader needs to know to compare.
#[derive(Debug)]
pub struct Machine {
    /// Lines of `name`, `value`.
    pub facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// Looks at this machine; `root` is the checkout.
    pub fn look(root: &Path, postgres: &str, rowcast: &Path) -> Self {
        let commit = output(Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root));
        let facts = vec![
            ("processor", format!("{}, {} cores", cpu_model(), cores())),
            ("memory", memory()),
            ("kernel", output(Command::new("uname").args(["-s", "-r", "-m"]))),
            ("Postgres", postgres.to_owned()),
            ("Node.js", output(Command::new("node").arg("--version"))),
            ("socket.io", npm_version(root, "socket.io")),
            ("pg", npm_version(root, "pg")),
            ("socketioxide", locked_version(root, "socketioxide")),
            ("rustc", output(Command::new("rustc").arg("--version").current_dir(root))),
            ("rowcast", format!("{}, commit {commit}", output(Command::new(rowcast).arg("--version")))),
            ("date", chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string()),
        ];
        Self { facts }
    }
}

fn output(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn after_colon(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn cpu_model() -> String {
    after_colon("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned())
}

fn cores() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

fn memory() -> String {
    let kilobytes =
        after_colon("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    kilobytes.map_or_else(|| "unknown".to_owned(), |kilobytes| format!("{} GB", kilobytes.div_ceil(1024 * 1024)))
}

/// Of a package in the lock file of the Node peers.
fn npm_version(root: &Path, package: &str) -> String {
    let text = fs::read_to_string(root.join("bench/peers/package-lock.json")).unwrap_or_default();
    let after = text.split_once(&format!("\"node_modules/{package}\"")).map_or("", |(_, after)| after);
    after.split('"').nth(3).unwrap_or("unknown").to_owned()
}

/// Of a crate in rowcast's lock file.
fn locked_version(root: &Path, name: &str) -> String {
    let text = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let after = text.split_once(&format!("name = \"{name}\"\n")).map_or("", |(_, after)| after);
    after.split('"').nth(1).unwrap_or("unknown").to_owned()
}
