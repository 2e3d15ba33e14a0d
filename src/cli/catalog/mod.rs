//! `rowcast catalog`: writing rules of one's own, and trying them.

mod init;
mod show;
mod test;

use clap::{Args, Subcommand};

use crate::{config::DatabaseUrl, error::Error};

/// Begin a catalog of your own, read it, and try it on a change.
///
/// A catalog is a directory of TOML files that say which change becomes which event, for whom, with which data.
/// docs/custom-rules.md leads through an example, catalog/README.md has every key.
#[derive(Debug, Args)]
pub struct CatalogCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Show(show::Show),
    Test(test::Test),
}

impl CatalogCommand {
    /// `url` is `None` where no database is named: what needs none works without.
    pub async fn run(self, url: Option<DatabaseUrl>) -> Result<(), Error> {
        match self.command {
            Command::Init(init) => init.run(url).await,
            Command::Show(show) => show.run(),
            // Boxed, since it is large.
            Command::Test(test) => Box::pin(test.run(url)).await,
        }
    }
}
