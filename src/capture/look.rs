//! A look at a database without capturing anything: the watched tables, and single changes of the log.

use super::{CaptureError, Connection, decode, tables};
use crate::{
    change::{Change, Tables},
    database_url::Target,
};

/// Behind so many rows of the log no row is looked for that shares its own with a change.
const NEAR: i64 = 1_000;

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

    /// The change of this id; `None` if the log doesn't have it, or no longer. Its row in the log may be one that it shares
    /// with others: the first one behind it that has it among its own.
    pub async fn change(&self, id: i64, tables: &Tables) -> Result<Option<Change>, CaptureError> {
        let columns = decode::COLUMNS;
        let sql = format!(
            "select {columns} from (select * from rowcast.change where id >= $1 order by id limit $2) as near
             where id = $1 or (op in ('i', 'u', 'd') and (new->'ids')::jsonb @> to_jsonb($1)) order by id limit 1"
        );
        let rows = self.connection.query(&sql, &[&id, &NEAR]).await?;
        let mut changes = Vec::new();
        for row in &rows {
            decode::changes(row, 0, tables, &mut decode::Layouts::default(), &mut changes)?;
        }
        Ok(changes.into_iter().find(|change| change.id == id))
    }

    /// The oldest and the newest id that the log has.
    pub async fn ids(&self) -> Result<Option<(i64, i64)>, CaptureError> {
        let row = self.connection.query_one("select min(id), max(id) from rowcast.change", &[]).await?;
        Ok(Option::zip(row.try_get(0)?, row.try_get(1)?))
    }
}
