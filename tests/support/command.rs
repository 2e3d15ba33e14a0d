//! Commands as an operator runs them: rowcast, psql, pg_dump.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use tokio::{io::AsyncWriteExt, process::Command};

use super::{client::PATIENCE, server};

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }
}

/// `rowcast …` on a database.
pub async fn rowcast(url: &str, arguments: &[&str]) -> Ran {
    run(rowcast_command(url).args(arguments), "").await
}

/// The binary, with nothing of the tests' own environment that it reads.
pub fn rowcast_command(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rowcast"));
    command.env("DATABASE_URL", url).env("ROWCAST_ADMIN_LISTEN", "127.0.0.1:0").env_remove("ROWCAST_LISTEN");
    command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
    command
}

/// Runs a command to its end, with `input` for it to read.
pub async fn run(command: &mut Command, input: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    let output = tokio::time::timeout(3 * PATIENCE, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} does not end")).expect("an output");
    Ran {
        code: output.status.code().expect("ended by itself"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// psql, which every DBA has; `None` (with the reason printed) where this machine hasn't.
pub async fn psql(url: &str, arguments: &[&str], input: &str) -> Option<Ran> {
    let psql = tool("psql")?;
    Some(run(Command::new(psql).args(["--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-d", url]).args(arguments), input).await)
}

/// pg_dump of a database; `None` (with the reason printed) where this machine has none that reads this server.
pub async fn pg_dump(url: &str, arguments: &[&str]) -> Option<String> {
    let pg_dump = tool("pg_dump")?;
    let dump = run(Command::new(pg_dump).args(arguments).args(["-d", url]), "").await;
    if dump.stderr.contains("server version mismatch") {
        eprintln!("skipped: the pg_dump of this machine is older than the server");
        return None;
    }
    Some(dump.succeeded().stdout)
}

/// The definition of the schema `public`, without what changes from one dump to the next; `None` as in [`pg_dump`].
pub async fn dump_of_definitions(url: &str) -> Option<String> {
    let dump = pg_dump(url, &["--schema-only", "--schema", "public"]).await?;
    // Newer ones fence the dump with a random key.
    let lines = dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    Some(lines.map(|line| format!("{line}\n")).collect())
}

/// A program of Postgres: beside the server's binaries, else on the PATH.
fn tool(name: &str) -> Option<PathBuf> {
    static SERVER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let beside = SERVER.get_or_init(|| {
        let output = std::process::Command::new(server::script()).arg("bin").stderr(Stdio::null()).output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    });
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let directories = beside.iter().cloned().chain(std::env::split_paths(&on_path));
    let found = directories.map(|directory: PathBuf| directory.join(name)).find(|path: &PathBuf| Path::exists(path));
    if found.is_none() {
        eprintln!("skipped: there is no {name} on this machine");
    }
    found
}
