//! The command line: one file per command.

/// Prints a line to standard output; whoever closed it wants no more.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($argument)*).ok();
    }};
}

mod announce;
mod asyncapi;
mod catalog;
mod check;
mod confirm;
mod database;
mod dead_letter;
mod gateway_role;
mod migrate;
mod names;
mod serve;
mod trace;
mod types;
mod uninstall;
mod watch;
mod which;

use clap::{Parser, Subcommand};

use self::database::NO_DATABASE;
use crate::error::Error;

/// Committed Postgres row changes, pushed as typed events over Socket.IO.
///
/// First `rowcast migrate`, as the owner of the application's tables; then `rowcast serve`.
#[derive(Debug, Parser)]
#[command(version, after_help = crate::error::EXIT_CODES, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    database: database::Named,

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
    Check(check::Check),
    Types(types::Types),
    #[command(name = "asyncapi")]
    AsyncApi(asyncapi::AsyncApi),
    Announce(announce::Announce),
    Catalog(catalog::CatalogCommand),
    #[command(name = "dead-letter")]
    DeadLetter(dead_letter::DeadLetter),
    Trace(trace::Trace),
}

/// Runs the command to its end.
pub fn run(cli: Cli) -> Result<(), Error> {
    let url = || cli.database.require();
    match cli.command {
        // Much of it works without a database.
        Command::Catalog(catalog) => block_on(catalog.run(cli.database.url()?)),
        Command::Migrate(migrate) => block_on(migrate.run(url()?)),
        Command::Uninstall(uninstall) => block_on(uninstall.run(url()?)),
        Command::Watch(watch) => block_on(watch.run(url()?)),
        Command::Announce(announce) => block_on(announce.run(url()?)),
        Command::Unwatch(unwatch) => block_on(unwatch.run(url()?)),
        Command::Trace(trace) => block_on(trace.run(cli.database.url()?)),
        Command::DeadLetter(dead_letter) => block_on(dead_letter.run(url()?)),
        Command::Check(check) => block_on(check.run(url()?)),
        Command::Types(types) => block_on(types.run(url()?)),
        Command::AsyncApi(asyncapi) => block_on(asyncapi.run(url()?)),
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
