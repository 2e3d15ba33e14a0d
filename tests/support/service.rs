//! The service, in this process or as the real binary.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use rowcast::{
    auth::{Mode, Modes},
    config::{AdminListen, Config},
    error::Error,
    serve,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::oneshot,
    task::JoinHandle,
};

use super::{
    client::{Client, PATIENCE},
    database::Database,
    eventually,
};

/// So many warnings of a process are kept.
const WARNINGS: usize = 30;

/// A port that the system chooses.
const FREE_PORT: &str = "127.0.0.1:0";

/// The service in this process, on a free port.
pub struct Service {
    pub address: SocketAddr,
    /// Where metrics are, and the reason why it is not ready.
    pub admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), Error>>,
}

impl Service {
    /// Starts it with the default configuration, believing every client, and waits until it is ready.
    pub async fn start(database: &Database) -> Self {
        Self::start_with(database, Config::default()).await
    }

    /// The same with another one. Without `auth.modes` every client is believed.
    pub async fn start_with(database: &Database, config: Config) -> Self {
        let service = Self::launch(database, config).await;
        wait_until_ready(service.address).await;
        service
    }

    /// Starts it without waiting.
    pub async fn launch(database: &Database, mut config: Config) -> Self {
        config.drain_timeout = Duration::from_secs(2);
        if config.auth.modes.is_empty() {
            config.auth.modes = vec![Mode::Insecure];
        }
        let modes = Modes::load(&config.auth).expect("ways to sign in");
        let listener = serve::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &modes).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let admin = serve::bind_admin(AdminListen::At(FREE_PORT.parse().expect("an address"))).await;
        let admin_listener = admin.expect("a free port").expect("not off");
        let admin = admin_listener.local_addr().expect("an address");
        let catalog = serve::load_catalog(&config).expect("a catalog without faults");
        let (stop, stopped) = oneshot::channel::<()>();
        let url = database.database_url();
        let running = tokio::spawn(async move {
            Box::pin(serve::run(config, modes, url, catalog, listener, Some(admin_listener), async {
                stopped.await.ok();
            }))
            .await
        });
        Self { address, admin, stop: Some(stop), running }
    }

    pub async fn connect(&self, user: &str) -> Client {
        connect(self.address, user).await
    }

    /// A client that doesn't say who it is.
    pub async fn visit(&self) -> Client {
        Client::connect(&url(self.address), Value::Null).await.expect("a visitor connects")
    }

    pub async fn metric(&self, name: &str) -> f64 {
        metric(self.admin, name).await
    }

    /// Stops it as SIGTERM would.
    pub async fn stop(mut self) {
        self.stop.take().expect("once").send(()).ok();
        tokio::time::timeout(PATIENCE, self.running).await.expect("it stops").expect("no panic").expect("no error");
    }
}

pub fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

pub async fn connect(address: SocketAddr, user: &str) -> Client {
    Client::connect(&url(address), serde_json::json!({ "userId": user }))
        .await
        .unwrap_or_else(|error| panic!("{user}: {error}"))
}

/// `GET path`: the status and the body.
pub async fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok((status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}

pub async fn wait_until_ready(address: SocketAddr) {
    eventually("the service is ready", async || get(address, "/readyz").await.is_ok_and(|(status, _)| status == 200))
        .await;
}

/// A metric's value, asked of the admin address, named with its labels as `/metrics` prints it; 0 while it isn't there. With `name*`, the sum of all
/// that begin with it.
pub async fn metric(admin: SocketAddr, name: &str) -> f64 {
    let (_, text) = get(admin, "/metrics").await.expect("/metrics");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(found, _)| name.strip_suffix('*').map_or(*found == name, |prefix| found.starts_with(prefix)))
        .map(|(_, value)| value.parse::<f64>().expect("a number"))
        .sum()
}

/// The real binary, for what can only be done to a process. Killed when dropped.
pub struct Process {
    pub address: SocketAddr,
    /// Where metrics are, and the reason why it is not ready.
    pub admin: SocketAddr,
    child: Child,
    panics: Arc<Mutex<Vec<String>>>,
    #[allow(dead_code, reason = "each test binary uses a part of it")]
    warnings: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts `rowcast serve` on free ports, and waits for the lines that name them.
    pub async fn start(database_url: &str) -> Self {
        Self::start_with(database_url, &[]).await
    }

    /// The same with more options.
    pub async fn start_with(database_url: &str, options: &[&str]) -> Self {
        Self::start_in(database_url, options, &[]).await
    }

    /// The same with more in its environment.
    pub async fn start_in(database_url: &str, options: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rowcast"))
            .args(["serve", "--auth", "insecure", "--listen", FREE_PORT, "--admin-listen", FREE_PORT])
            .args(options)
            .env("DATABASE_URL", database_url)
            .envs(environment.iter().copied())
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut find = async |before: &str| -> SocketAddr {
            let find = async {
                while let Some(line) = lines.next_line().await.expect("text") {
                    if let Some((_, address)) = line.split_once(before) {
                        return address.trim().parse().expect("an address");
                    }
                }
                panic!("rowcast serve ended without listening");
            };
            tokio::time::timeout(PATIENCE, find).await.expect("it listens")
        };
        let admin = find("admin on http://").await;
        let address = find("listening on http://").await;
        let panics = Arc::<Mutex<Vec<String>>>::default();
        let warnings = Arc::<Mutex<VecDeque<String>>>::default();
        // Whoever doesn't read a pipe stops the one who writes.
        tokio::spawn({
            let (panics, warnings) = (panics.clone(), warnings.clone());
            async move {
                // Of a panic its line, and the message that follows.
                let mut following = 0;
                while let Ok(Some(line)) = lines.next_line().await {
                    if line.contains("WARN") || line.contains("ERROR") {
                        let mut warnings = warnings.lock().expect("no panic under the lock");
                        warnings.push_back(line.clone());
                        if warnings.len() > WARNINGS {
                            warnings.pop_front();
                        }
                    }
                    following = if line.contains("panicked at") { 2 } else { following };
                    if following > 0 {
                        following -= 1;
                        panics.lock().expect("no panic under the lock").push(line);
                    }
                }
            }
        });
        Self { address, admin, child, panics, warnings }
    }

    pub async fn ready(self) -> Self {
        wait_until_ready(self.address).await;
        self
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("running")
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        let pid = self.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kB") * 1024
    }

    /// What its log says of panics.
    pub fn panics(&self) -> Vec<String> {
        self.panics.lock().expect("no panic under the lock").clone()
    }

    /// The last lines of its log that are warnings or errors.
    #[allow(dead_code, reason = "each test binary uses a part of it")]
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().expect("no panic under the lock").iter().cloned().collect()
    }

    /// kill -9
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// SIGTERM; true if it ended with exit code 0.
    pub async fn terminate(mut self) -> bool {
        let pid = self.child.id().expect("running").to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("a status").success()
    }
}
