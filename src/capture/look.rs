//! A look at a database without capturing anything: the watched tables, and single changes of the log.

use super::{CaptureError, Connection, decode, tables};
use crate::{
    change::{Change, Tables},
    database_url::Target,
};

/// A connection that reads and leaves everything as it is.
pub struct Look {
    connection: Connection,
}

impl Look {
    pub async fn at(database: &Target) -> Result<Self, CaptureError> {
        Ok(Self { connection: Connection::open(database, "look").await? })
    }

    /// The watched tables as they are now.
    pub async fn tables(&self) -> Result<Tables, CaptureError> {
        tables::read(&self.connection).await
    }

    /// The change of this id; `None` if the log doesn't have it, or no longer.
    pub async fn change(&self, id: i64, tables: &Tables) -> Result<Option<Change>, CaptureError> {
        let columns = decode::COLUMNS;
        let sql = format!("select {columns} from rowcast.change where id = $1");
        let rows = self.connection.query(&sql, &[&id]).await?;
        rows.first()
            .map(|row| decode::change(row, 0, tables, &mut decode::Layouts::default()).map(|(change, _)| change))
            .transpose()
    }

    /// The oldest and the newest id that the log has.
    pub async fn ids(&self) -> Result<Option<(i64, i64)>, CaptureError> {
        let row = self.connection.query_one("select min(id), max(id) from rowcast.change", &[]).await?;
        Ok(Option::zip(row.try_get(0)?, row.try_get(1)?))
    }
}
