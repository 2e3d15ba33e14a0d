//! `rowcast migrate`

use clap::Args;

use super::{gateway_role, progress, which::Which};
use crate::{
    config::DatabaseUrl,
    error::Error,
    migrate::{MIGRATIONS, Migrator, PUBLISHED, Watched},
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
    /// Make the role that runs the service, if it is missing, and let it run the catalog's queries and nothing else of the
    /// application's. To be repeated when the catalog, or a table that it names, has changed
    #[arg(long, value_name = "ROLE", conflicts_with = "down")]
    gateway_role: Option<String>,
    #[command(flatten)]
    which: Which,
    /// Go on where a publication is FOR ALL TABLES. Its subscribers get the change log too, and those that lack its tables
    /// stop: run this on them first
    #[arg(long, conflicts_with = "down")]
    published: bool,
    /// Undo the newest migration; undoing the first takes everything away, the change log included
    #[arg(long)]
    down: bool,
}

impl Migrate {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        if self.gateway_role.is_none() && self.which.is_given() {
            return Err(Error::Usage(
                "--config and --catalog say which queries to grant; they go with --gateway-role".into(),
            ));
        }
        // What is wrong with the catalog is found before anything is done.
        let gateway = match &self.gateway_role {
            Some(role) => Some((role.as_str(), self.which.clone().load()?)),
            None => None,
        };
        let mut migrator = Migrator::connect(&url, progress).await?;
        if self.down {
            return self.down(&mut migrator).await;
        }
        if let Some((_, (config, catalog))) = &gateway {
            gateway_role::check(migrator.connection(), config, catalog).await?;
        }
        self.up(&mut migrator).await?;
        match gateway {
            Some((role, (config, catalog))) => {
                gateway_role::establish(migrator.connection(), role, &config, &catalog, self.dry_run).await
            }
            None => Ok(()),
        }
    }

    async fn up(&self, migrator: &mut Migrator) -> Result<(), Error> {
        let pending = migrator.pending().await?;
        if self.dry_run {
            match (pending.is_empty(), &self.gateway_role) {
                (true, None) => progress("nothing to do: the database is up to date"),
                (true, Some(_)) => progress("the migrations are up to date"),
                (false, _) => {}
            }
            if self.published {
                say!("{PUBLISHED}");
            }
            pending.iter().for_each(|migration| say!("{}", migration.up));
            return Ok(());
        }
        if self.published {
            migrator.allow_published().await?;
        }
        for migration in &pending {
            migrator.up(migration).await?;
            say!("applied  {:04} {}", migration.version, migration.name);
        }
        if pending.is_empty() {
            say!("up to date at {:04}", MIGRATIONS[MIGRATIONS.len() - 1].version);
        }
        let identity = migrator.identity().await?;
        let marketplace = migrator.marketplace().await?;
        let none = marketplace.iter().all(|(_, watched)| matches!(watched, Watched::Missing));
        for (table, watched) in marketplace.iter().filter(|_| !none) {
            match watched {
                Watched::Yes => say!("watched  {table}"),
                Watched::No => say!("not watched  {table}; to watch it: rowcast watch {table}"),
                Watched::Missing => say!("missing  {table}; once it is there: rowcast watch {table}"),
            }
        }
        // Of these, one that isn't watched is nothing that rowcast needs to know of.
        for (table, _) in identity.iter().filter(|(_, watched)| *watched == Watched::Yes) {
            say!("watched  {table}");
        }
        if none {
            say!("none of the marketplace's tables is here; to watch yours: rowcast watch TABLE");
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
