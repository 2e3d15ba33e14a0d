//! `rowcast serve`

use std::net::SocketAddr;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::which::Which;
use crate::{
    catalog::Catalog,
    config::{Config, DatabaseUrl},
    error::Error,
    serve::{self, Auth},
};

/// Capture changes, and push them to Socket.IO clients.
///
/// The database must have been prepared by `rowcast migrate`. Only one instance captures at a time; another one stands by
/// and takes over. SIGTERM and Ctrl-C stop it in order. RUST_LOG sets what it logs (default: info).
#[derive(Debug, Args)]
pub struct Serve {
    /// Where clients connect; port 0 takes any free one [default: 127.0.0.1:4000]
    #[arg(long, env = "ROWCAST_LISTEN", hide_env_values = true, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    which: Which,
    /// How clients sign in
    #[arg(long, value_name = "MODE")]
    auth: Option<Auth>,
}

/// A service that is ready to run: everything that can be wrong without a database has been looked at.
pub struct Service {
    config: Config,
    catalog: Catalog,
    url: DatabaseUrl,
    auth: Auth,
}

impl Serve {
    pub fn prepare(self, url: DatabaseUrl) -> Result<Service, Error> {
        init_tracing()?;
        let auth = self.auth.ok_or_else(|| {
            Error::Configuration(
                "nothing says how clients sign in, and rowcast lets nobody in unasked. For development, on a loopback address: rowcast serve --auth insecure".into(),
            )
        })?;
        let (mut config, catalog) = self.which.load()?;
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        Ok(Service { config, catalog, url, auth })
    }
}

impl Service {
    pub async fn run(self) -> Result<(), Error> {
        let signals =
            |kind| signal(kind).map_err(|error| Error::Configuration(format!("signals can't be handled: {error}")));
        let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
        let listener = serve::bind(self.config.listen, self.auth).await?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        // Boxed, since it is large.
        Box::pin(serve::run(self.config, self.url, self.catalog, listener, shutdown)).await
    }
}

/// Logs to standard error. The Socket.IO crates log auth payloads at debug level, and sqlx a line of PGPASSFILE that it can't
/// read, so these are never let through.
fn init_tracing() -> Result<(), Error> {
    const QUIET: [&str; 4] =
        ["socketioxide=info", "engineioxide=info", "socketioxide_core=info", "sqlx_postgres::options::pgpass=off"];
    let given = std::env::var("RUST_LOG").unwrap_or_else(|_| "info,sqlx=warn".into());
    let mut filter = EnvFilter::try_new(&given).map_err(|error| {
        Error::Configuration(format!(
            "RUST_LOG={given:?} can't be read: {error}; expected such as info, or rowcast=debug"
        ))
    })?;
    for directive in QUIET {
        filter = filter.add_directive(directive.parse().expect("a directive"));
    }
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init().ok();
    Ok(())
}
