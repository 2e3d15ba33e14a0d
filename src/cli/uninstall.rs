//! `rowcast uninstall`

use clap::Args;

use super::{confirm::confirm, progress};
use crate::{
    config::DatabaseUrl,
    error::Error,
    grants::{self, GatewayRole},
    migrate::{MIGRATIONS, Migrator},
};

/// Take everything out of the database again: the triggers, and the schema rowcast with the change log.
///
/// The application's tables are then as they were before `rowcast migrate`.
#[derive(Debug, Args)]
pub struct Uninstall {
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

impl Uninstall {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        let mut migrator = Migrator::connect(&url, progress).await?;
        let Some((tables, bytes)) = migrator.installed().await? else {
            say!("nothing to take out: there is no rowcast in this database");
            return Ok(());
        };
        say!("This takes out of the database:");
        say!("  the triggers of {}", if tables.is_empty() { "no table".into() } else { tables.join(", ") });
        say!("  the schema rowcast, with a change log of {:.1} MB", bytes as f64 / 1e6);
        if !self.yes {
            confirm("Go ahead")?;
        }
        // Table by table, so that no two are locked at once; the schema goes last.
        for table in &tables {
            migrator.unwatch(table).await?;
            say!("unwatched  {table}");
        }
        let roles = GatewayRole::all(migrator.connection()).await?;
        migrator.down(&MIGRATIONS[0]).await?;
        say!("dropped    schema rowcast");
        for role in roles {
            say!("left       the role {role}, which ran the service: drop role {};", grants::quoted(&role));
        }
        Ok(())
    }
}
