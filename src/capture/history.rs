//! The history: what the change log still holds from a position on, for a client that comes back.

use std::{sync::Arc, time::Duration};

use super::{
    CaptureError, Connection,
    connection::in_time,
    cursor::Progress,
    sweep::{Batch, SweepPage, Sweeper},
    tables,
};
use crate::{
    change::{Page, Tables},
    database_url::Target,
    position::{Position, Seen},
    snapshot::Snapshot,
};

/// What a position is held against. None was ever given that lies ahead of the cursor as it was saved.
const STAND: &str = "
select (s.system_identifier + c.era)::text, d.oid, c.horizon::text, c.snapshot::text
from rowcast.cursor c, pg_control_system() s, pg_catalog.pg_database d where d.datname = current_database()";

/// How long Postgres may take for the next row. A replay holds up nobody else.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the history from a position on is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("the position is of another database, or of a past that this one no longer has")]
    OtherDatabase,
    #[error("the position is older than what the change log keeps")]
    TooOld,
    #[error("the position lies ahead of this database, which was restored from an earlier state")]
    Ahead,
}

/// Reads the change log on a connection of its own, made when it is first needed and again when it is gone.
pub struct History {
    database: Target,
    sweeper: Option<Sweeper>,
}

impl History {
    pub fn new(database: Target) -> Self {
        Self { database, sweeper: None }
    }

    /// The connection is of no use any more, whether or not it has ended: the next time there is another.
    pub fn give_up_connection(&mut self) {
        self.sweeper = None;
    }

    /// Every change that is visible now and was not at the position, in the order of ids: a superset of what was missed.
    /// The pages bear the position itself, since whoever is interrupted must begin there again.
    pub async fn since(&mut self, since: Position) -> Result<Result<Replay<'_>, Unknown>, CaptureError> {
        if self.sweeper.as_ref().is_none_or(|sweeper| sweeper.connection().is_closed()) {
            let connection = Connection::open(&self.database, "replay").await?;
            self.sweeper = Some(Sweeper::new(connection, true, PATIENCE).await?);
        }
        let sweeper = self.sweeper.as_ref().expect("made above");
        let on_disk = match in_time(CHECKING, check(sweeper, since)).await? {
            Ok(on_disk) => on_disk,
            Err(unknown) => return Ok(Err(unknown)),
        };
        let tables = in_time("reading the watched tables", tables::read(sweeper.connection())).await?;
        let tables = Arc::new(tables);
        let progress = Progress { swept: since.seen.snapshot(), target: None };
        Ok(Ok(Replay { sweeper, since, on_disk, progress, tables, page: None, ended: false }))
    }
}

/// What is being waited for, as an error says it.
const CHECKING: &str = "holding a position against the change log";

/// Holds a position against the database as it is now, and gives what the cursor on its disk has seen.
async fn check(sweeper: &Sweeper, since: Position) -> Result<Result<Seen, Unknown>, CaptureError> {
    let row = sweeper.connection().query_typed_one(STAND, &[]).await?;
    let system: &str = row.try_get(0)?;
    let system: u64 = system.parse().map_err(|_| CaptureError::Log(format!("system identifier {system:?}")))?;
    let snapshot = |column: usize| -> Result<Snapshot, CaptureError> {
        row.try_get::<_, &str>(column)?.parse().map_err(|error| CaptureError::Log(format!("{error}")))
    };
    let (database, horizon, on_disk) = (row.try_get::<_, u32>(1)?, snapshot(2)?, Seen::of(&snapshot(3)?));
    Ok(if (since.system, since.database) != (system, database) {
        Err(Unknown::OtherDatabase)
    } else if !since.seen.has_all_of(&horizon) {
        Err(Unknown::TooOld)
    } else if on_disk.is_before(&since.seen) {
        Err(Unknown::Ahead)
    } else {
        Ok(on_disk)
    })
}

/// A history that is being read.
pub struct Replay<'a> {
    sweeper: &'a Sweeper,
    since: Position,
    /// What the saved cursor had seen when this began.
    on_disk: Seen,
    progress: Progress,
    tables: Arc<Tables>,
    page: Option<SweepPage>,
    ended: bool,
}

impl Replay<'_> {
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// The next changes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Page>, CaptureError> {
        while !self.ended {
            let page = match &mut self.page {
                Some(page) => page,
                None => self.page.insert(self.sweeper.page(&self.progress).await?),
            };
            let Batch { changes, rows } = page.batch(&self.tables, |_| false).await?;
            if let Some((last, _)) = rows.last() {
                self.progress.target = Some((page.target.clone(), *last));
                return Ok(Some(Page { changes, position: self.since, tables: Arc::clone(&self.tables) }));
            }
            self.ended = page.is_last();
            self.progress.target.get_or_insert_with(|| (page.target.clone(), 0));
            self.page = None;
        }
        Ok(None)
    }

    /// Where a client stands that has heard it all: as for who heard it live, not beyond the saved cursor. An error if the
    /// log gave up some of it meanwhile.
    pub async fn finish(self) -> Result<Result<Position, Unknown>, CaptureError> {
        // This began after that cursor was saved, so it saw as much at least.
        let seen = if self.ended { self.on_disk } else { self.since.seen };
        let position = Position { seen, ..self.since };
        // Rows that nobody reads would keep the connection from answering.
        drop(self.page);
        Ok(in_time(CHECKING, check(self.sweeper, self.since)).await?.map(|_| position))
    }
}
