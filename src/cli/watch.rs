//! `rowcast watch` and `rowcast unwatch`

use clap::{Args, ValueEnum};

use super::progress;
use crate::{config::DatabaseUrl, error::Error, migrate::Migrator};

/// Capture the changes of a table.
///
/// It takes a SHARE ROW EXCLUSIVE lock on the table for a moment: readers go on, writers wait. Behind a long transaction
/// it gives the lock up after two seconds, says who is in the way, and tries again.
#[derive(Debug, Args)]
pub struct Watch {
    /// The table as SQL names it: products, shop.products, '"Mixed Case"'
    table: String,
    /// Columns to leave out of the change log: secrets, large values. A name that the table lacks is ignored
    #[arg(long, value_name = "COL", num_args = 1.., value_delimiter = ',')]
    exclude: Vec<String>,
    /// The only columns that get into the change log; one that is added to the table later doesn't. A name that the table
    /// lacks is ignored
    #[arg(long, value_name = "COL", num_args = 1.., value_delimiter = ',', conflicts_with = "exclude")]
    only: Vec<String>,
    /// Beside these, columns of which only a digest gets there, to show that they changed: what a session holds
    #[arg(long, value_name = "COL", num_args = 1.., value_delimiter = ',', requires = "only")]
    digest: Vec<String>,
    /// How its changes are captured. By row suits most tables. By statement costs two fifths more for a statement of one row,
    /// less from ten rows on, and a third for each row of a large one; not for a table that is partitioned, or has row triggers
    /// of its own. Without this, a table that is watched stays as it is, another is captured by row
    #[arg(long, value_name = "HOW")]
    by: Option<By>,
}

/// What a capture trigger is called for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    Row,
    Statement,
}

impl Watch {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        let only = (!self.only.is_empty()).then_some(self.only.as_slice());
        let by_statement = self.by.map(|by| matches!(by, By::Statement));
        let mut migrator = Migrator::connect(&url, progress).await?;
        let done = migrator.watch(&self.table, &self.exclude, only, &self.digest, by_statement).await?;
        say!("{done}  {}", self.table);
        let heirs = migrator.heirs(&self.table).await?;
        if !heirs.is_empty() {
            progress(&format!(
                "the rows of tables that inherit from it are not captured with it; to watch them: rowcast watch {}",
                heirs.join("; rowcast watch ")
            ));
        }
        Ok(())
    }
}

/// Stop capturing the changes of a table.
///
/// It takes an ACCESS EXCLUSIVE lock on the table for a moment, and gives it up after two seconds as `watch` does.
#[derive(Debug, Args)]
pub struct Unwatch {
    /// The table as SQL names it: products, shop.products, '"Mixed Case"'
    table: String,
}

impl Unwatch {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        let done = Migrator::connect(&url, progress).await?.unwatch(&self.table).await?;
        say!("{done}  {}", self.table);
        Ok(())
    }
}
