//! The options that name the catalog, the same for every command that has one.

use std::path::PathBuf;

use clap::Args;

use crate::{
    catalog::Catalog,
    config::{Config, DatabaseUrl},
    contract::{Contract, Database},
    error::Error,
    serve,
};

/// Which configuration, and with it which catalog.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The configuration; rowcast.example.toml shows every key
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A directory of rules instead of the built-in ones, or of those that the configuration names
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
}

impl Which {
    /// Whether any of them is there.
    pub fn is_given(&self) -> bool {
        self.config.is_some() || self.catalog.is_some()
    }

    pub fn load(self) -> Result<(Config, Catalog), Error> {
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(dir) = self.catalog {
            config.catalog.dir = Some(dir);
        }
        let catalog = serve::load_catalog(&config)?;
        Ok((config, catalog))
    }

    pub async fn contract(self, url: &DatabaseUrl) -> Result<Contract, Error> {
        let (config, catalog) = self.load()?;
        let catalog = catalog.into();
        let database = Database::read(&catalog, &config, url).await?;
        Ok(Contract::new(&catalog, &database, config.gateway.envelope))
    }
}
