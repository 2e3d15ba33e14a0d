//! How each server is started.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::Server;
use crate::peer::Peer;

/// All clients come from one address, and the limits against that are not what is measured here.
const CONFIGURATION: &str = "\
[limits]
messages_per_minute = 1000000
connections = 30000
connections_per_address = 30000
handshake_timeout = \"60s\"
";

/// Where the programs are, and where they write.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The checkout.
    pub root: PathBuf,
    /// The rowcast to measure.
    pub rowcast: PathBuf,
    /// The floor.
    pub floor: PathBuf,
    /// For logs and configuration.
    pub work: PathBuf,
    /// The core that servers are pinned to.
    pub core: usize,
}

impl Programs {
    /// Starts a peer on this database and waits until it is ready. `catalog` replaces rowcast's own.
    pub fn start(&self, peer: Peer, database: &str, catalog: Option<&Path>) -> Result<Server> {
        let address = free_address()?;
        let mut admin = None;
        let mut command = Command::new("taskset");
        command.arg("--cpu-list").arg(self.core.to_string());
        match peer {
            Peer::Nothing => bail!("(c) has no server"),
            Peer::NodeListen => {
                command.arg("node").arg(self.root.join("bench/peers/node-listen/server.mjs"));
            }
            Peer::NodeApp => {
                command.arg("node").arg(self.root.join("bench/peers/node-app/server.mjs"));
            }
            Peer::Floor => {
                command.arg(&self.floor);
            }
            Peer::Rowcast => {
                let configuration = self.work.join("rowcast.toml");
                fs::write(&configuration, CONFIGURATION)?;
                let admin_address = free_address()?;
                command.arg(&self.rowcast).args(["serve", "--auth", "insecure"]);
                command.args(["--listen", &address, "--admin-listen", &admin_address]);
                command.arg("--config").arg(configuration);
                if let Some(directory) = catalog {
                    command.arg("--catalog").arg(directory);
                }
                admin = Some(admin_address);
            }
        }
        let log = self.work.join(format!("{}.log", peer.title().trim_matches(['(', ')'])));
        let log_file = File::options().create(true).append(true).open(&log)?;
        let child = command
            .env("DATABASE_URL", database)
            .env("LISTEN", &address)
            .env("NODE_ENV", "production")
            .stdin(Stdio::null())
            .stdout(log_file.try_clone()?)
            .stderr(log_file)
            .spawn()
            .context("cannot run taskset (Debian: util-linux), which pins the server to a core")?;
        let mut server = Server { child, address, admin, log };
        server.wait_until_ready()?;
        Ok(server)
    }
}

fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?.to_string())
}
