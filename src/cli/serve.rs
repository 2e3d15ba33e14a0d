//! `rowcast serve`

use std::net::SocketAddr;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::which::Which;
use crate::{
    auth::{Mode, Modes},
    catalog::Catalog,
    config::{AdminListen, Config, DatabaseUrl},
    error::Error,
    serve,
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
    /// Where metrics and the reason of not being ready are to be had; port 0 takes any free one, off is none [default:
    /// 127.0.0.1:4001]
    #[arg(long, env = "ROWCAST_ADMIN_LISTEN", hide_env_values = true, value_name = "ADDRESS")]
    admin_listen: Option<AdminListen>,
    #[command(flatten)]
    which: Which,
    /// How clients sign in; goes before `modes` of [auth] in the configuration, and may be given more than once
    #[arg(long, value_name = "MODE", value_delimiter = ',')]
    auth: Vec<Mode>,
}

/// A service that is ready to run: everything that can be wrong without a database has been looked at.
pub struct Service {
    config: Config,
    catalog: Catalog,
    url: DatabaseUrl,
    modes: Modes,
}

impl Serve {
    pub fn prepare(self, url: DatabaseUrl) -> Result<Service, Error> {
        init_tracing()?;
        let (mut config, catalog) = self.which.load()?;
        if let Some(listen) = self.listen {
            config.listen = listen;
        }
        if let Some(listen) = self.admin_listen {
            config.admin.listen = listen;
        }
        if !self.auth.is_empty() {
            config.auth.modes = self.auth;
        }
        let modes = Modes::load(&config.auth)?;
        config.gateway.allowed_origins.check_cookies(modes.by_cookie()).map_err(Error::Configuration)?;
        Ok(Service { config, catalog, url, modes })
    }
}

impl Service {
    pub async fn run(self) -> Result<(), Error> {
        let signals =
            |kind| signal(kind).map_err(|error| Error::Configuration(format!("signals can't be handled: {error}")));
        let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
        let listener = serve::bind(self.config.listen, &self.modes).await?;
        let admin = serve::bind_admin(self.config.admin.listen).await?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        // Boxed, since it is large.
        Box::pin(serve::run(self.config, self.modes, self.url, self.catalog, listener, admin, shutdown)).await
    }
}

/// Crates that say below info what must be in no log: the payloads of clients, and SQL.
const QUIET: [&str; 11] = [
    "socketioxide",
    "socketioxide_core",
    "socketioxide_parser_common",
    "engineioxide",
    "engineioxide_core",
    "tokio_tungstenite",
    "tungstenite",
    "sqlx",
    "sqlx_core",
    "sqlx_macros_core",
    "sqlx_postgres",
];

/// It repeats lines of PGPASSFILE that it can't read, at any level.
const SILENT: &str = "sqlx_postgres::options::pgpass";

/// Whether something may be logged at all. This is no directive, so none that is more specific goes before it.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let name = target.split("::").next().unwrap_or(target);
    !QUIET.contains(&name) || (*metadata.level() <= Level::INFO && target != SILENT)
}

/// Logs to standard error.
fn init_tracing() -> Result<(), Error> {
    let given = std::env::var("RUST_LOG").unwrap_or_else(|_| "info,sqlx=warn".into());
    let filter = EnvFilter::try_new(&given).map_err(|error| {
        Error::Configuration(format!(
            "RUST_LOG={given:?} can't be read: {error}; expected such as info, or rowcast=debug"
        ))
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(filter).with(filter_fn(may_be_logged)).with(lines).try_init().ok();
    Ok(())
}
