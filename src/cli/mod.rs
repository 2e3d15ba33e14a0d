//! The command line: one file per command.

/// Prints a line to standard output; whoever closed it wants no more.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($argument)*).ok();
    }};
}

mod confirm;
mod migrate;
mod serve;
mod uninstall;
mod watch;

use clap::{Parser, Subcommand};

use crate::{config::DatabaseUrl, error::Error};

/// Committed Postgres row changes, pushed as typed events over Socket.IO.
///
/// First `rowcast migrate`, as the owner of the application's tables; then `rowcast serve`.
#[derive(Debug, Parser)]
#[command(version, after_help = crate::error::EXIT_CODES, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// The database, as postgres://user:password@host:5432/database. A Prisma URL does.
    #[arg(long, env = "DATABASE_URL", global = true, hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Migrate(migrate::Migrate),
    Uninstall(uninstall::Uninstall),
    Watch(watch::Watch),
    Unwatch(watch::Unwatch),
    Serve(serve::Serve),
}

/// Runs the command to its end.
pub fn run(cli: Cli) -> Result<(), Error> {
    let url = || {
        let url = cli.database_url.as_deref().ok_or_else(|| {
            Error::Configuration("DATABASE_URL is not set; expected postgres://user:password@host:5432/database".into())
        })?;
        DatabaseUrl::parse(url)
    };
    match cli.command {
        Command::Migrate(migrate) => block_on(migrate.run(url()?)),
        Command::Uninstall(uninstall) => block_on(uninstall.run(url()?)),
        Command::Watch(watch) => block_on(watch.run(url()?)),
        Command::Unwatch(unwatch) => block_on(unwatch.run(url()?)),
        // What can be found wrong without a runtime is found before there is one.
        Command::Serve(serve) => {
            let service = serve.prepare(url()?)?;
            block_on(service.run())
        }
    }
}

fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Configuration(format!("the runtime can't start: {error}")))?
        .block_on(future)
}

/// Progress of a command, on standard error.
fn progress(line: &str) {
    eprintln!("rowcast: {line}");
}
