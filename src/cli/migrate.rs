//! `rowcast migrate`

use clap::Args;

use super::progress;
use crate::{
    config::DatabaseUrl,
    error::Error,
    migrate::{MIGRATIONS, Migrator, Watched},
};

/// Put the schema rowcast and the capture triggers into the database.
///
/// Run it as the owner of the application's tables, with CREATE on the database. It is safe to repeat, never waits for a
/// lock longer than two seconds at a time, and says who is in the way. The same files run with psql alone: see migrations/.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Print the SQL that would run, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Undo the newest migration; undoing the first takes everything away, the change log included
    #[arg(long)]
    down: bool,
}

impl Migrate {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        let mut migrator = Migrator::connect(&url, progress).await?;
        if self.down { self.down(&mut migrator).await } else { self.up(&mut migrator).await }
    }

    async fn up(&self, migrator: &mut Migrator) -> Result<(), Error> {
        let pending = migrator.pending().await?;
        if self.dry_run {
            if pending.is_empty() {
                progress("nothing to do: the database is up to date");
            }
            pending.iter().for_each(|migration| say!("{}", migration.up));
            return Ok(());
        }
        for migration in &pending {
            migrator.up(migration).await?;
            say!("applied  {:04} {}", migration.version, migration.name);
        }
        if pending.is_empty() {
            say!("up to date at {:04}", MIGRATIONS[MIGRATIONS.len() - 1].version);
        }
        let marketplace = migrator.marketplace().await?;
        if marketplace.iter().all(|(_, watched)| matches!(watched, Watched::Missing)) {
            say!("none of the marketplace's tables is here; to watch yours: rowcast watch TABLE");
            return Ok(());
        }
        for (table, watched) in marketplace {
            match watched {
                Watched::Yes => say!("watched  {table}"),
                Watched::No => say!("not watched  {table}; to watch it: rowcast watch {table}"),
                Watched::Missing => say!("missing  {table}; once it is there: rowcast watch {table}"),
            }
        }
        Ok(())
    }

    async fn down(&self, migrator: &mut Migrator) -> Result<(), Error> {
        let applied = migrator.applied().await?;
        let newest =
            applied.last().and_then(|version| MIGRATIONS.iter().find(|migration| migration.version == *version));
        let Some(migration) = newest else {
            // A version that this program doesn't know is refused here.
            migrator.pending().await?;
            say!("nothing to undo: this database was never migrated");
            return Ok(());
        };
        if self.dry_run {
            say!("{}", migration.down);
            return Ok(());
        }
        migrator.down(migration).await?;
        say!("undone   {:04} {}", migration.version, migration.name);
        Ok(())
    }
}
