//! The cursor: how far the log has been swept, in memory and in `rowcast.cursor`.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, Statement, types::Type};

use super::{CaptureError, snapshot::Snapshot};
use crate::{
    change::Change,
    failpoint::{self, Failpoint},
    position::Position,
};

/// The cursor is saved at most this often, and not flushed to disk by its own commit: what a crash forgets of it is
/// swept again, and those events carry the ids that they had.
const SAVE_INTERVAL: Duration = Duration::from_millis(200);

/// A cursor that moved over nothing but other tables' transactions is saved this often, so that the retention, which
/// goes by the saved one, isn't held up.
const IDLE_SAVE_INTERVAL: Duration = Duration::from_secs(60);

const LOAD: &str = "
select c.system_identifier, s.system_identifier::text, d.oid, c.snapshot::text, c.target::text, c.page_id, c.loss, c.generation, c.holder
from rowcast.cursor c, pg_control_system() s, pg_catalog.pg_database d where d.datname = current_database()";

const CLAIM: &str = "update rowcast.cursor set generation = generation + 1, holder = $1 returning generation";

const START_ANEW: &str = "select rowcast.start_anew()::text";

/// Whoever stands before a loss can't be told all that happened since.
const FORGET_THE_PAST: &str = "update rowcast.cursor set horizon = pg_snapshot_xmax(pg_current_snapshot())";

const SAVE: &str = "
update rowcast.cursor set snapshot = $1::text::pg_snapshot, target = $2::text::pg_snapshot, page_id = $3, loss = $4,
  saved_at = now() where generation = $5";

/// How many changes were lost, and what keeps the function from counting them where something does. Asked of the
/// catalogs of Postgres, since it must have an answer when something of the schema is gone.
const LOSSES: &str = "
select coalesce(pg_sequence_last_value(l.sequence), 0),
       case when p.proowner is null then 'the function rowcast.capture() is gone'
            when l.sequence is null then 'the sequence rowcast.loss is gone'
            when not has_schema_privilege(p.proowner, 'rowcast', 'USAGE')
              then format('%s, who owns rowcast.capture(), has no USAGE on the schema rowcast', p.proowner::regrole)
            when not has_sequence_privilege(p.proowner, l.sequence, 'USAGE, UPDATE')
              then format('%s, who owns rowcast.capture(), has no USAGE on the sequence rowcast.loss', p.proowner::regrole)
       end
from (select to_regclass('rowcast.loss') as sequence) l
left join pg_catalog.pg_proc p on p.oid = to_regprocedure('rowcast.capture()')";

/// What capture lost to spare the application's statements.
#[derive(Debug)]
pub struct Losses {
    /// How many changes, since the last time that this was asked.
    pub counted: i64,
    /// Why more may be lost uncounted.
    pub uncounted: Option<String>,
    /// Whether that began or ended since the last time.
    pub turned: bool,
}

/// How far the log has been swept.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Everything that this snapshot sees has been swept.
    pub swept: Snapshot,
    /// In the middle of a sweep: the snapshot that it works towards, and the last id of it that has been swept.
    pub target: Option<(Snapshot, i64)>,
}

/// The progress, and the right to save it.
///
/// Invariant: only the holder of the lease claims a generation, and only the latest generation can save; so a former
/// holder that comes back to life can't move the cursor of the present one.
#[derive(Debug)]
pub struct Cursor {
    pub progress: Progress,
    system: u64,
    database: u32,
    /// The value of `rowcast.loss` that clients were told about.
    loss: i64,
    /// Whether changes may be lost uncounted.
    uncounted: bool,
    generation: i64,
    saved_at: Instant,
    saved: bool,
    /// Changes that the sink has taken since the cursor was saved last, by id and transaction.
    taken: HashSet<(i64, u64)>,
    /// Changes that the sink took in the session before this one, and that this one will meet again.
    repeats: HashSet<(i64, u64)>,
    /// The sweep that the progress is in the middle of began in an earlier session.
    began_before: bool,
}

/// What claiming the cursor found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Go on from where the last holder was.
    Resumed,
    /// The same, though since this process last held the lease another one did.
    Interrupted,
    /// The log belongs to another cluster, such as the one that a dump came from: its snapshots mean nothing here.
    StartedAnew,
}

impl Cursor {
    /// Loads the cursor for `holder`, who holds the lease now, into `known`.
    ///
    /// Only what was saved counts: after a crash Postgres may hand out transaction ids anew that a snapshot in memory
    /// takes for ended, and never those below a snapshot that survived in the table. `known` is what this process knew
    /// when it last held the lease; if nobody else has since, what the sink took then is not handed to it again. It stays
    /// as it is until all of this has worked.
    pub async fn claim<'k>(
        client: &Client,
        known: &'k mut Option<Cursor>,
        holder: &str,
    ) -> Result<(&'k mut Cursor, Claimed), CaptureError> {
        let row = client.query_typed_opt(LOAD, &[]).await?.ok_or(CaptureError::NoCursor)?;
        let (stored, actual): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (page_id, loss): (Option<i64>, i64) = (row.try_get(5)?, row.try_get(6)?);
        let former_holder: Option<String> = row.try_get(8)?;
        let parse = |text: &str| text.parse().map_err(|error| CaptureError::Log(format!("{error}")));
        let generation: i64 = client.query_typed_one(CLAIM, &[(&holder, Type::TEXT)]).await?.try_get(0)?;
        let mut cursor = Cursor {
            progress: Progress {
                swept: parse(row.try_get(3)?)?,
                target: match (row.try_get::<_, Option<&str>>(4)?, page_id) {
                    (Some(target), Some(id)) => Some((parse(target)?, id)),
                    _ => None,
                },
            },
            system: actual.parse().map_err(|_| CaptureError::Log(format!("system identifier {actual:?}")))?,
            database: row.try_get(2)?,
            loss,
            uncounted: known.as_ref().is_some_and(|known| known.uncounted),
            generation,
            saved_at: Instant::now(),
            saved: true,
            taken: HashSet::new(),
            repeats: HashSet::new(),
            began_before: false,
        };
        failpoint::hit(Failpoint::Claimed)?;
        cursor.began_before = cursor.progress.target.is_some();
        let claimed = if stored != actual {
            let snapshot: String = client.query_typed_one(START_ANEW, &[]).await?.try_get(0)?;
            cursor.progress = Progress { swept: parse(&snapshot)?, target: None };
            cursor.began_before = false;
            Claimed::StartedAnew
        } else {
            match known.take() {
                Some(_) if former_holder.as_deref() != Some(holder) => Claimed::Interrupted,
                Some(known) => {
                    cursor.repeats = known.taken;
                    cursor.repeats.extend(known.repeats);
                    Claimed::Resumed
                }
                None => Claimed::Resumed,
            }
        };
        Ok((known.insert(cursor), claimed))
    }

    /// Where a client stands that has seen all that was swept before the present sweep.
    pub fn position(&self) -> Position {
        Position { system: self.system, database: self.database, xmin: self.progress.swept.xmin }
    }

    /// Whether the sink took this change before the session was interrupted.
    pub fn is_repeat(&self, change: &Change) -> bool {
        !self.repeats.is_empty() && self.repeats.contains(&(change.id, change.xid))
    }

    /// Notes that the sink has taken these, up to the change `last` of the sweep towards `target`.
    pub fn took(&mut self, changes: impl IntoIterator<Item = (i64, u64)>, target: &Snapshot, last: i64) {
        self.taken.extend(changes);
        self.progress.target = Some((target.clone(), last));
        self.saved = false;
    }

    /// Notes that everything which `target` sees has been swept.
    pub fn completed(&mut self, target: Snapshot) {
        let found_some = self.progress.target.take().is_some();
        // A snapshot that moved over other tables' transactions alone is worth no write; a restart sweeps it again.
        self.saved &= !found_some;
        self.progress.swept = target;
        // All that was taken before had been committed, so a sweep that began in this session has met it.
        if !std::mem::take(&mut self.began_before) {
            self.repeats.clear();
        }
    }

    /// What capture has lost since the last time that this was asked.
    pub async fn new_losses(&mut self, client: &Client) -> Result<Losses, CaptureError> {
        let row = client.query_typed_one(LOSSES, &[]).await?;
        let (total, uncounted): (i64, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        // A sequence that was made anew counts from the beginning.
        let counted = if total < self.loss { total } else { total - self.loss };
        if total != self.loss {
            self.loss = total;
            self.saved = false;
        }
        let turned = std::mem::replace(&mut self.uncounted, uncounted.is_some()) != uncounted.is_some();
        Ok(Losses { counted, uncounted, turned })
    }

    /// The present snapshot.
    pub async fn now(&self, client: &Client) -> Result<Snapshot, CaptureError> {
        let row = client.query_typed_one("select pg_current_snapshot()::text", &[]).await?;
        row.try_get::<_, &str>(0)?.parse().map_err(|error| CaptureError::Log(format!("{error}")))
    }

    /// From now on no position that a client has is good for a replay.
    pub async fn forget_the_past(&self, client: &Client) -> Result<(), CaptureError> {
        client.execute_typed(FORGET_THE_PAST, &[]).await?;
        Ok(())
    }

    /// Whether sweeps have found changes that the saved cursor doesn't know of.
    pub fn is_saved(&self) -> bool {
        self.saved
    }

    /// Saves if there is something to save and the last time is long enough ago; true if it did.
    pub async fn save_if_due(&mut self, save: &Save<'_>) -> Result<bool, CaptureError> {
        let interval = if self.saved { IDLE_SAVE_INTERVAL } else { SAVE_INTERVAL };
        if self.saved_at.elapsed() < interval {
            return Ok(false);
        }
        self.save(save).await.map(|()| true)
    }

    /// Saves now.
    pub async fn save(&mut self, save: &Save<'_>) -> Result<(), CaptureError> {
        let (target, page_id) = match &self.progress.target {
            Some((target, id)) => (Some(target.to_string()), Some(*id)),
            None => (None, None),
        };
        let swept = self.progress.swept.to_string();
        let saved = save.run(&swept, target.as_deref(), page_id, self.loss, self.generation).await?;
        if saved != 1 {
            return Err(CaptureError::LeaseLost);
        }
        self.saved = true;
        self.saved_at = Instant::now();
        self.taken.clear();
        Ok(())
    }
}

/// The statement that saves, on the connection that it was prepared on.
pub struct Save<'a> {
    client: &'a Client,
    statement: Option<Statement>,
}

impl<'a> Save<'a> {
    /// `pooled`: as for the sweeps, nothing is prepared then.
    pub async fn new(client: &'a Client, pooled: bool) -> Result<Self, CaptureError> {
        let statement = match pooled {
            true => None,
            false => {
                client.batch_execute("set synchronous_commit = off").await?;
                Some(client.prepare(SAVE).await?)
            }
        };
        Ok(Self { client, statement })
    }

    async fn run(
        &self,
        swept: &str,
        target: Option<&str>,
        page: Option<i64>,
        loss: i64,
        generation: i64,
    ) -> Result<u64, CaptureError> {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] = [&swept, &target, &page, &loss, &generation];
        Ok(match &self.statement {
            Some(statement) => self.client.execute(statement, &parameters).await?,
            None => {
                let types = [Type::TEXT, Type::TEXT, Type::INT8, Type::INT8, Type::INT8];
                let typed: Vec<_> = parameters.into_iter().zip(types).collect();
                self.client.execute_typed(SAVE, &typed).await?
            }
        })
    }
}
