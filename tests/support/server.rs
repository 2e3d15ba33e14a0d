//! A Postgres server of a test's own, for what concerns the whole server: settings, restarts, transaction ids.

use std::{
    env,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use tokio::process::Command;

/// Stopped and removed when dropped.
pub struct Server {
    /// The URL of its superuser.
    pub url: String,
    directory: PathBuf,
}

impl Server {
    /// Starts one with such settings as `max_prepared_transactions=10`, which go before its own.
    pub async fn start(settings: &[&str]) -> Self {
        Self::start_version(None, settings).await
    }

    /// The same of a major version, or of the version that the other tests run on.
    pub async fn start_version(major: Option<u32>, settings: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("rowcast-test-server-{}-{number}", std::process::id()));
        let mut server = Self { url: String::new(), directory };
        let mut arguments = Vec::new();
        for setting in ["fsync=off", "autovacuum=off"].iter().chain(settings) {
            arguments.extend(["--set", setting]);
        }
        let major = major.map(|major| major.to_string());
        if let Some(major) = &major {
            arguments.extend(["--major", major]);
        }
        server.url = server.script("start", &arguments).await;
        server
    }

    pub async fn restart(&self) {
        self.script("restart", &[]).await;
    }

    /// As after a power cut: what it had not written is lost.
    pub async fn crash(&self) {
        self.script("restart", &["--mode", "immediate"]).await;
    }

    /// From now on this role must give its password.
    pub async fn require_password(&self, role: &str) {
        let file = self.directory.join("data/pg_hba.conf");
        let rules = std::fs::read_to_string(&file).expect("pg_hba.conf");
        std::fs::write(&file, format!("host all {role} 127.0.0.1/32 scram-sha-256\n{rules}")).expect("written");
        super::database::connect(&self.url).await.batch_execute("select pg_reload_conf()").await.expect("reloaded");
    }

    /// From now on it speaks TLS, with this certificate and key; with the CA of clients' certificates, it asks for one of the
    /// role that is named after it. False if it was built without TLS.
    pub async fn speak_tls(&self, certificate: &str, key: &str, clients: Option<(&str, &str)>) -> bool {
        let data = self.directory.join("data");
        let owner = std::fs::metadata(&data).expect("its data").uid();
        let write = |name: &str, text: &str| {
            let path = data.join(name);
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
            std::os::unix::fs::chown(&path, Some(owner), None).expect("the server's own");
        };
        write("server.crt", certificate);
        write("server.key", key);
        let client = super::database::connect(&self.url).await;
        if let Some((ca, role)) = clients {
            write("clients.crt", ca);
            let file = data.join("pg_hba.conf");
            let rules = std::fs::read_to_string(&file).expect("pg_hba.conf");
            let rule = format!("hostssl all {role} 127.0.0.1/32 cert\nhostnossl all {role} 127.0.0.1/32 reject\n");
            std::fs::write(&file, format!("{rule}{rules}")).expect("written");
            client.batch_execute("alter system set ssl_ca_file = 'clients.crt'").await.expect("set");
        }
        if let Err(error) = client.batch_execute("alter system set ssl = on").await {
            eprintln!("skipped: this Postgres was built without TLS: {error}");
            return false;
        }
        client.batch_execute("select pg_reload_conf()").await.expect("reloaded");
        super::eventually("it speaks TLS", async || {
            let fresh = super::database::connect(&self.url).await;
            fresh.query_one("show ssl", &[]).await.expect("a setting").get::<_, String>(0) == "on"
        })
        .await;
        true
    }

    async fn script(&self, command: &str, arguments: &[&str]) -> String {
        let run = Command::new(script())
            .arg(command)
            .arg(&self.directory)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output();
        let output = run.await.expect("scripts/postgres runs");
        assert!(output.status.success(), "scripts/postgres {command} failed; its message is above");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        std::process::Command::new(script()).arg("remove").arg(&self.directory).status().ok();
    }
}

/// scripts/postgres
pub fn script() -> PathBuf {
    env::var_os("ROWCAST_TEST_POSTGRES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres"), PathBuf::from)
}

/// A major version of at least `oldest` that needs no download: the one that is being tested, or one that is installed.
pub fn installed_version(oldest: u32) -> Option<u32> {
    if let Some(tested) = env::var("ROWCAST_POSTGRES_MAJOR").ok().and_then(|major| major.parse().ok()) {
        return Some(tested).filter(|tested| *tested >= oldest);
    }
    let home = env::var("HOME").unwrap_or_default();
    let caches = [
        "/var/cache/rowcast".to_owned(),
        env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{home}/.cache")) + "/rowcast",
    ];
    let is_there = |major: &u32| {
        Path::new(&format!("/usr/lib/postgresql/{major}/bin/postgres")).exists()
            || caches
                .iter()
                .any(|cache| Path::new(cache).join(format!("postgres-{major}/native/bin/postgres")).exists())
    };
    (oldest..=18).rev().find(is_there)
}
