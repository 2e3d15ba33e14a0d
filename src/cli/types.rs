//! `rowcast types`

use std::io::Write as _;

use clap::Args;

use super::which::Which;
use crate::{config::DatabaseUrl, contract::typescript, error::Error};

/// Print the events and messages as TypeScript types.
///
/// The types come from the catalog and from the database's own columns: enums as unions, columns that may be null with
/// `| null`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  rowcast types > rowcast-events.ts\n\nIn a frontend:\n  const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io(url)"
)]
pub struct Types {
    #[command(flatten)]
    which: Which,
}

impl Types {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        let contract = self.which.contract(&url).await?;
        // Whoever closed standard output wants no more.
        std::io::stdout().write_all(typescript::write(&contract).as_bytes()).ok();
        Ok(())
    }
}
