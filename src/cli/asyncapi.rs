//! `rowcast asyncapi`

use std::io::Write as _;

use clap::Args;

use super::which::Which;
use crate::{config::DatabaseUrl, contract::asyncapi, error::Error};

/// Print the events and messages as an AsyncAPI 3 document.
///
/// It says the same as `rowcast types`, as JSON.
#[derive(Debug, Args)]
pub struct AsyncApi {
    #[command(flatten)]
    which: Which,
}

impl AsyncApi {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        let contract = self.which.contract(&url).await?;
        // Whoever closed standard output wants no more.
        std::io::stdout().write_all(asyncapi::write(&contract).as_bytes()).ok();
        Ok(())
    }
}
