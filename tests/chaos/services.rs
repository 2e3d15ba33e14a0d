//! The service as it runs in production: two processes of the real binary, each begun anew when it ends.

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    sync::watch,
    task::JoinHandle,
};

use crate::support::service::get;

/// The pause of the supervisor before it starts a process anew.
const RESTART: Duration = Duration::from_millis(100);

/// The host name that the services know Postgres by, where they can have a file of hosts of their own.
pub const HOST: &str = "postgres.chaos.test";

struct State {
    pid: Option<u32>,
    /// Where it says why it is not ready.
    admin: Option<SocketAddr>,
    /// For the next start alone.
    failpoints: Option<String>,
    /// How often failpoints were hit.
    hits: u32,
    /// How often a process ended.
    ends: u32,
}

/// One of the two.
pub struct Service {
    state: Arc<Mutex<State>>,
    address: watch::Receiver<Option<SocketAddr>>,
    may_run: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// How its processes are started.
pub struct Program {
    pub name: String,
    pub database_url: String,
    pub directory: PathBuf,
    /// A file of hosts of its own.
    pub hosts: Option<PathBuf>,
}

impl Program {
    fn command(&self, failpoints: Option<String>) -> Command {
        let binary = env!("CARGO_BIN_EXE_rowcast");
        let mut command = match &self.hosts {
            None => Command::new(binary),
            Some(hosts) => {
                let mut command = Command::new("unshare");
                command.args([
                    "--map-root-user",
                    "--mount",
                    "sh",
                    "-c",
                    "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
                ]);
                command.arg(hosts).arg(binary);
                command
            }
        };
        command
            .args([
                "serve",
                "--auth",
                "insecure",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--config",
            ])
            .arg(self.directory.join("rowcast.toml"))
            .env("DATABASE_URL", &self.database_url)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(failpoints) = failpoints {
            command.env("ROWCAST_FAILPOINTS", failpoints);
        }
        command
    }
}

impl Service {
    pub fn start(program: Program) -> Self {
        let state = Arc::new(Mutex::new(State { pid: None, admin: None, failpoints: None, hits: 0, ends: 0 }));
        let (listening, address) = watch::channel(None);
        let (may_run, permission) = watch::channel(true);
        let task = tokio::spawn(supervise(program, Arc::clone(&state), listening, permission));
        Self { state, address, may_run, task }
    }

    pub fn address(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.address.clone()
    }

    /// Sends a signal such as KILL; false if no process runs.
    pub async fn signal(&self, signal: &str) -> bool {
        let Some(pid) = self.lock().pid else { return false };
        let sent = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().await;
        sent.is_ok_and(|status| status.success())
    }

    /// Whether a process that has ended is begun anew.
    pub fn may_run(&self, may_run: bool) {
        self.may_run.send_replace(may_run);
    }

    /// The next process is started with these failpoints.
    pub fn arm(&self, failpoints: &str) {
        self.lock().failpoints = Some(failpoints.to_owned());
    }

    pub fn hits(&self) -> u32 {
        self.lock().hits
    }

    pub fn ends(&self) -> u32 {
        self.lock().ends
    }

    /// What /readyz says; `None` if nobody answers.
    pub async fn readiness(&self) -> Option<(u16, String)> {
        let admin = self.lock().admin?;
        tokio::time::timeout(Duration::from_secs(1), get(admin, "/readyz")).await.ok()?.ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn supervise(
    program: Program,
    state: Arc<Mutex<State>>,
    listening: watch::Sender<Option<SocketAddr>>,
    mut permission: watch::Receiver<bool>,
) {
    let lock = || state.lock().expect("no panic under the lock");
    let mut log = File::create(log_file(&program.directory, &program.name)).expect("a log file");
    loop {
        if permission.wait_for(|may_run| *may_run).await.is_err() {
            return;
        }
        let failpoints = lock().failpoints.take();
        writeln!(log, "---- start, failpoints {failpoints:?}").ok();
        let mut child = program.command(failpoints).spawn().expect("the binary starts");
        lock().pid = child.id();
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            writeln!(log, "{line}").ok();
            if let Some((_, address)) = line.split_once("admin on http://") {
                lock().admin = address.trim().parse().ok();
            }
            if let Some((_, address)) = line.split_once("listening on http://") {
                listening.send_replace(address.trim().parse().ok());
            }
            if line.contains("a failpoint is hit") {
                lock().hits += 1;
            }
        }
        let status = child.wait().await;
        writeln!(log, "---- ended: {status:?}").ok();
        {
            let mut state = lock();
            (state.pid, state.admin, state.ends) = (None, None, state.ends + 1);
        }
        listening.send_replace(None);
        tokio::time::sleep(RESTART).await;
    }
}

pub fn log_file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.log"))
}

/// Says in the file of hosts where Postgres is. Written in place, since the file itself is mounted.
pub fn write_hosts(file: &Path, address: &str) -> std::io::Result<()> {
    std::fs::write(file, format!("127.0.0.1 localhost\n{address} {HOST}\n"))
}

/// Whether a process may have a file of hosts of its own here.
pub async fn can_have_hosts(file: &Path) -> bool {
    let script = format!("mount --bind \"$0\" /etc/hosts && getent hosts {HOST}");
    let tried = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &script])
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    tried.is_ok_and(|status| status.success())
}
