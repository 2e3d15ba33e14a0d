//! PgBouncer in transaction mode, between a test and its server.

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{database::connect, eventually};

/// Ended and removed when dropped.
pub struct Pooler {
    directory: PathBuf,
    port: u16,
    child: Child,
}

impl Pooler {
    /// `None`, after saying so, where PgBouncer isn't installed.
    pub async fn start(server_url: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Some(program) = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"]
            .into_iter()
            .find(|path| fs::exists(path).unwrap_or(false))
        else {
            println!("skipped: PgBouncer is not installed");
            return None;
        };
        let config: tokio_postgres::Config = server_url.parse().expect("a URL");
        let (server_port, user) = (config.get_ports()[0], config.get_user().expect("a user"));
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("rowcast-test-pooler-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join("pgbouncer.ini");
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={server_port} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = any\npool_mode = transaction\nunix_socket_dir =\ndefault_pool_size = 8\n"
        );
        fs::write(&file, ini).expect("written");
        // It refuses to run as root.
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", program]);
                command
            }
            false => Command::new(program),
        };
        let child = command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let pooler = Self { directory, port, child: child.expect("PgBouncer starts") };
        let url = pooler.url(server_url);
        eventually("PgBouncer answers", async || tokio_postgres::connect(&url, tokio_postgres::NoTls).await.is_ok())
            .await;
        drop(connect(&url).await);
        Some(pooler)
    }

    /// The URL of a database of the server, through here.
    pub fn url(&self, database_url: &str) -> String {
        let config: tokio_postgres::Config = database_url.parse().expect("a URL");
        database_url.replace(&format!(":{}/", config.get_ports()[0]), &format!(":{}/", self.port))
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout.trim_ascii() == b"0"
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}
