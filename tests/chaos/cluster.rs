//! A Postgres server, its streaming replica, and what may happen to them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, sync::watch};
use tokio_postgres::{Client, NoTls};

use crate::support::server::script;

/// The application's role, and the service's.
pub const APPLICATION: &str = "chaos_app";
pub const GATEWAY: &str = "chaos_gateway";

const SETTINGS: [&str; 9] = [
    // A process that dies loses nothing of what it has written; only a machine could.
    "fsync=off",
    "autovacuum=off",
    "max_connections=50",
    "wal_retrieve_retry_interval=200ms",
    "shared_buffers=32MB",
    "max_wal_size=512MB",
    "wal_keep_size=256MB",
    "tcp_user_timeout=10s",
    "log_min_messages=log",
];

/// How a server is stopped.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    Fast,
    /// As a crash.
    Immediate,
}

pub struct Cluster {
    directory: PathBuf,
    count: u32,
    primary: PathBuf,
    replica: Option<(PathBuf, String)>,
    /// The superuser's URL of the server that is written to.
    url: watch::Sender<String>,
}

impl Cluster {
    pub async fn start(directory: &Path) -> Self {
        let primary = directory.join("postgres-0");
        let arguments: Vec<&str> = SETTINGS.iter().flat_map(|setting| ["--set", setting]).collect();
        let url = run("start", &primary, &arguments).await.expect("Postgres starts");
        Self { directory: directory.to_owned(), count: 0, primary, replica: None, url: watch::channel(url).0 }
    }

    pub fn url(&self) -> watch::Receiver<String> {
        self.url.subscribe()
    }

    pub fn port(&self) -> u16 {
        port_of(&self.url.borrow())
    }

    /// The superuser's connection to the server that is written to.
    pub async fn admin(&self) -> Result<Client, String> {
        let url = self.url.borrow().clone();
        connect(&url).await
    }

    pub async fn restart(&self, mode: Mode) -> Result<(), String> {
        let mode = match mode {
            Mode::Fast => "fast",
            Mode::Immediate => "immediate",
        };
        run("restart", &self.primary, &["--mode", mode]).await.map(drop)
    }

    /// Sees to it that a replica follows, and that no commit is told before the replica has it.
    pub async fn make_replica(&mut self) -> Result<(), String> {
        if self.replica.is_none() {
            self.count += 1;
            let directory = self.directory.join(format!("postgres-{}", self.count));
            let of = self.primary.to_str().expect("text").to_owned();
            let url = run("replica", &directory, &["--of", &of]).await?;
            // It has the settings of its primary, and would wait for a replica of its own when it is promoted.
            alter(&connect(&url).await?, &["alter system set synchronous_standby_names = ''"]).await?;
            self.replica = Some((directory, url));
        }
        let admin = self.admin().await?;
        alter(&admin, &["alter system set synchronous_standby_names = '*'"]).await?;
        until(&admin, "select exists (select from pg_stat_replication where sync_state = 'sync')").await
    }

    /// From now on the replica gets nothing any more, and commits don't wait for it.
    pub async fn leave_replica_behind(&mut self) -> Result<(), String> {
        let admin = self.admin().await?;
        alter(&admin, &["alter system set synchronous_standby_names = ''"]).await?;
        let (_, url) = self.replica.as_ref().ok_or("there is no replica")?;
        alter(&connect(url).await?, &["alter system set primary_conninfo = 'host=127.0.0.1 port=1'"]).await?;
        until(&admin, "select not exists (select from pg_stat_replication)").await
    }

    /// The server is gone for good, and the replica takes its place.
    pub async fn fail_over(&mut self) -> Result<(), String> {
        let (replica, url) = self.replica.take().ok_or("there is no replica")?;
        run("stop", &self.primary, &["--mode", "immediate"]).await?;
        run("promote", &replica, &[]).await?;
        run("remove", &self.primary, &[]).await?;
        self.primary = replica;
        self.url.send_replace(url);
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let replica = self.replica.as_ref().map(|(directory, _)| directory);
        for directory in [Some(&self.primary), replica].into_iter().flatten() {
            std::process::Command::new(script()).arg("remove").arg(directory).status().ok();
        }
    }
}

pub fn port_of(url: &str) -> u16 {
    url.parse::<tokio_postgres::Config>().expect("a URL").get_ports()[0]
}

/// The same server for another user and database.
pub fn url_for(url: &str, user: &str, database: &str) -> String {
    format!("postgres://{user}@127.0.0.1:{}/{database}", port_of(url))
}

pub async fn connect(url: &str) -> Result<Client, String> {
    let connected = tokio::time::timeout(Duration::from_secs(3), tokio_postgres::connect(url, NoTls)).await;
    let (client, connection) =
        connected.map_err(|_| "no connection in time".to_owned())?.map_err(|error| format!("{error:?}"))?;
    tokio::spawn(connection);
    Ok(client)
}

/// Each statement by itself, as ALTER SYSTEM wants it; then the server reads its settings anew.
async fn alter(client: &Client, statements: &[&str]) -> Result<(), String> {
    for statement in statements.iter().chain(&["select pg_reload_conf()"]) {
        client.batch_execute(statement).await.map_err(|error| format!("{statement}: {error:?}"))?;
    }
    Ok(())
}

/// Waits until the question is answered with true.
pub async fn until(client: &Client, question: &str) -> Result<(), String> {
    let asking = async {
        loop {
            match client.query_one(question, &[]).await {
                Ok(row) if row.get(0) => return Ok(()),
                Ok(_) => tokio::time::sleep(Duration::from_millis(30)).await,
                Err(error) => return Err(format!("{question}: {error:?}")),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.map_err(|_| format!("never true: {question}"))?
}

async fn run(command: &str, directory: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(script()).arg(command).arg(directory).args(arguments).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("scripts/postgres {command}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
