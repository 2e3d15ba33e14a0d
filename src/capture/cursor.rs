//! The cursor: how far the log has been swept, in memory and in `rowcast.cursor`.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio_postgres::{
    Client,
    error::SqlState,
    types::{ToSql, Type},
};

use super::{CaptureError, connection::in_time, decode::Key, statement::Statement};
use crate::{
    failpoint::{self, Failpoint},
    position::{Position, Seen},
    snapshot::Snapshot,
};

/// The cursor is saved at most this often; each time waits for the server's disk.
pub const SAVE_INTERVAL: Duration = Duration::from_millis(500);

/// A cursor that moved over nothing but other tables' transactions is saved this often, so that the retention, which
/// goes by the saved one, isn't held up.
const IDLE_SAVE_INTERVAL: Duration = Duration::from_secs(60);

// What is written here waits for the disk of the server that is written to, whatever that has for replicas: positions rest on
// it. Each statement says so itself, since behind a pooler nothing can be set for the session.

const LOAD: &str = "
select c.system_identifier, s.system_identifier::text, d.oid, c.snapshot::text, c.target::text, c.page_id, c.loss, c.generation, c.holder, c.timeline
from rowcast.cursor c, pg_control_system() s, pg_catalog.pg_database d where d.datname = current_database()";

/// Of the server's write-ahead log. Some servers, which are not quite Postgres, won't tell.
const TIMELINE: &str = "select ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer";

/// On another timeline no position is good for a replay: it may be of what only the former server had.
const CLAIM: &str = "
update rowcast.cursor set generation = generation + 1, holder = $1, timeline = coalesce($2, timeline),
  era = case when $3 or timeline <> $2 then (random() * 2147483647)::integer else era end
from (select set_config('synchronous_commit', 'local', true)) as here
returning generation, era";

const BEGIN_ERA: &str = "
update rowcast.cursor set era = (random() * 2147483647)::integer
from (select set_config('synchronous_commit', 'local', true)) as here
returning era";

/// How many of these rows the log doesn't have.
const MISSING: &str = "
select count(*) from unnest($1::bigint[], $2::text[]) as t (id, xid)
where not exists (select from rowcast.change c where c.id = t.id and c.xid = t.xid::xid8)";

/// What the other one told its clients, ours have not heard; their positions are good.
const ANOTHER_WAS_AT_WORK: Owed = Owed::ComeBack("another instance was at work meanwhile");
const RESTORED: Owed = Owed::LoadAnew("the change log was restored from another database");
const FAILED_OVER: Owed =
    Owed::LoadAnew("the database has failed over to another server, which may lack what the former one told");
const WENT_BACK: Owed = Owed::LoadAnew("the database was restored from an earlier state");
const TOOK_BACK: Owed = Owed::LoadAnew("the database has lost changes that were told already");

const START_ANEW: &str = "select rowcast.start_anew($1 * interval '1 second')::text";

/// How long this waits for the log to be free, at first and in the end. Writers wait as long.
const LOG_PATIENCE_FIRST: Duration = Duration::from_millis(20);
const LOG_PATIENCE_LAST: Duration = Duration::from_millis(200);

/// Whoever stands before a loss can't be told all that happened since.
const FORGET_THE_PAST: &str = "
update rowcast.cursor set horizon = pg_current_snapshot()
from (select set_config('synchronous_commit', 'local', true)) as here";

const SAVE: &str = "
update rowcast.cursor set snapshot = $1::text::pg_snapshot, target = $2::text::pg_snapshot, page_id = $3, loss = $4,
  saved_at = now()
from (select set_config('synchronous_commit', 'local', true)) as here
where generation = $5";

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
            when (select count(*) from pg_catalog.pg_inherits i where i.inhparent = to_regclass('rowcast.change')) <> 4
              then 'a partition of rowcast.change is gone or detached, with what was in it and not swept'
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
    /// As positions have it: see [`Position::system`].
    system: u64,
    database: u32,
    /// The value of `rowcast.loss` that clients were told about.
    loss: i64,
    /// The same, as far as nobody has to be told again: this is saved, so that who comes after a session that ended
    /// tells it again.
    settled_loss: i64,
    /// Whether changes may be lost uncounted.
    uncounted: bool,
    generation: i64,
    saved_at: Instant,
    saved: bool,
    /// Positions have to get past what was forgotten.
    save_soon: bool,
    /// What had been swept when it was saved last.
    on_disk: Seen,
    /// Rows of the log that the sink has taken since the cursor was saved last.
    taken: HashSet<Key>,
    /// Rows that the sink took in the session before this one, and that this one will meet again.
    repeats: HashSet<Key>,
    /// The sweep that the progress is in the middle of began in an earlier session.
    began_before: bool,
}

/// What one process knows from session to session.
#[derive(Debug, Default)]
pub struct Memory {
    /// As it was when this process last held the lease.
    pub cursor: Option<Cursor>,
    /// To be told whatever becomes of the session that found out.
    pub owed: Option<Owed>,
    /// How long the log was waited for last, where it has to be emptied and somebody kept it.
    pub waited_for_log: Option<Duration>,
}

/// What clients that are connected have to be told before they hear anything else, with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// They have missed something. It will be replayed from their positions once they connect anew.
    ComeBack(&'static str),
    /// What they have heard may not be so.
    LoadAnew(&'static str),
}

/// The cursor as the table has it.
struct Stored {
    system_identifier: String,
    timeline: Option<i32>,
    holder: Option<String>,
    progress: Progress,
    loss: i64,
}

impl Cursor {
    /// Loads the cursor for `holder`, who holds the lease now, into its memory.
    ///
    /// Only what was saved counts: after a crash Postgres may hand out transaction ids anew that a snapshot in memory
    /// takes for ended, and never those below a snapshot that survived in the table. What the sink took when this process
    /// held the lease last is not handed to it again if nobody else has held it since. The memory stays as it is until all
    /// of this has worked, but for what clients are owed.
    pub async fn claim(client: &Client, memory: &mut Memory, holder: &str) -> Result<(), CaptureError> {
        let row = client.query_typed_opt(LOAD, &[]).await?.ok_or(CaptureError::NoCursor)?;
        let (actual, database): (String, u32) = (row.try_get(1)?, row.try_get(2)?);
        let stored = Stored::read(&row)?;
        let timeline: Option<i32> = match client.query_typed_one(TIMELINE, &[]).await {
            Ok(row) => row.try_get(0)?,
            Err(error) if error.as_db_error().is_some() => None,
            Err(error) => return Err(error.into()),
        };
        let failed_over = stored.timeline.is_some_and(|known| timeline.is_some_and(|present| present != known));
        let restored = stored.system_identifier != actual;
        let interrupted = memory.cursor.is_some() && stored.holder.as_deref() != Some(holder);
        let went_back =
            memory.cursor.as_ref().is_some_and(|known| Seen::of(&stored.progress.swept).is_before(&known.on_disk));
        let found = [
            (restored, RESTORED),
            (failed_over, FAILED_OVER),
            (went_back, WENT_BACK),
            (interrupted, ANOTHER_WAS_AT_WORK),
        ];
        // Before anything is written: the next one to look would not find it any more.
        if let Some((_, owed)) = found.into_iter().find(|(is_so, _)| *is_so) {
            memory.owed = Some(owed);
        }
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&holder, Type::TEXT), (&timeline, Type::INT4), (&went_back, Type::BOOL)];
        let claimed = client.query_typed_one(CLAIM, &parameters).await?;
        let (generation, mut era): (i64, i32) = (claimed.try_get(0)?, claimed.try_get(1)?);
        failpoint::hit(Failpoint::Claimed)?;
        if !restored {
            memory.waited_for_log = None;
        }

        let mut progress = stored.progress;
        let mut repeats = HashSet::new();
        if restored {
            let patience = memory.waited_for_log.map_or(LOG_PATIENCE_FIRST, |it| (it * 2).min(LOG_PATIENCE_LAST));
            let started = client.query_typed_one(START_ANEW, &[(&patience.as_secs_f64(), Type::FLOAT8)]).await;
            let started = match started {
                Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                    // Who is connected has been told at the first try; the last one, which works, finds it owed again.
                    if memory.waited_for_log.replace(patience).is_some() {
                        memory.owed = None;
                    }
                    return Err(CaptureError::LogInUse { waited: patience });
                }
                started => started?,
            };
            memory.waited_for_log = None;
            let snapshot: String = started.try_get(0)?;
            progress = Progress { swept: parse(&snapshot)?, target: None };
        } else if let (None, Some(known)) = (memory.owed, &memory.cursor) {
            repeats = known.taken.union(&known.repeats).copied().collect();
            if missing(client, &repeats).await? > 0 {
                memory.owed = Some(TOOK_BACK);
                era = client.query_typed_one(BEGIN_ERA, &[]).await?.try_get(0)?;
                // Their ids may have been handed out anew.
                repeats.clear();
            }
        }
        let system: u64 = actual.parse().map_err(|_| CaptureError::Log(format!("system identifier {actual:?}")))?;
        memory.cursor = Some(Cursor {
            system: system.wrapping_add(u64::from(era.unsigned_abs())),
            database,
            loss: stored.loss,
            settled_loss: stored.loss,
            uncounted: memory.cursor.as_ref().is_some_and(|known| known.uncounted),
            generation,
            saved_at: Instant::now(),
            saved: true,
            save_soon: false,
            on_disk: Seen::of(&progress.swept),
            taken: HashSet::new(),
            repeats,
            began_before: progress.target.is_some(),
            progress,
        });
        Ok(())
    }

    /// Where a client stands that has seen all that was swept before the cursor was saved last.
    ///
    /// Not before the present sweep: what a server has not yet on its disk it may forget in a crash, and then hand out the
    /// same transaction ids to others, which that client would never hear of.
    pub fn position(&self) -> Position {
        Position { system: self.system, database: self.database, seen: self.on_disk }
    }

    /// Whether the sink took this row's changes before the session was interrupted.
    pub fn is_repeat(&self, row: Key) -> bool {
        !self.repeats.is_empty() && self.repeats.contains(&row)
    }

    /// Notes that the sink has taken the changes of these, up to the row `last` of the sweep towards `target`.
    pub fn took(&mut self, rows: Vec<Key>, target: &Snapshot, last: i64) {
        self.taken.extend(rows);
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
        self.loss = total;
        let turned = std::mem::replace(&mut self.uncounted, uncounted.is_some()) != uncounted.is_some();
        Ok(Losses { counted, uncounted, turned })
    }

    /// Nobody has to be told again of what was lost so far.
    pub fn settle_losses(&mut self) {
        if self.settled_loss != self.loss {
            self.settled_loss = self.loss;
            self.saved = false;
        }
    }

    /// The present snapshot.
    pub async fn now(&self, client: &Client) -> Result<Snapshot, CaptureError> {
        let row = client.query_typed_one("select pg_current_snapshot()::text", &[]).await?;
        row.try_get::<_, &str>(0)?.parse().map_err(|error| CaptureError::Log(format!("{error}")))
    }

    /// From now on no position that a client has is good for a replay.
    pub async fn forget_the_past(&mut self, client: &Client) -> Result<(), CaptureError> {
        client.execute_typed(FORGET_THE_PAST, &[]).await?;
        (self.saved, self.save_soon) = (false, true);
        Ok(())
    }

    /// Whether sweeps have found changes that the saved cursor doesn't know of.
    pub fn is_saved(&self) -> bool {
        self.saved
    }

    /// The statement for [`Cursor::save`].
    pub async fn saving(client: &Client, pooled: bool) -> Result<Statement, CaptureError> {
        let types = [Type::TEXT, Type::TEXT, Type::INT8, Type::INT8, Type::INT8];
        Ok(Statement::new(client, pooled, SAVE, &types).await?)
    }

    /// Saves if there is something to save and the last time is long enough ago; true if it did.
    pub async fn save_if_due(&mut self, client: &Client, saving: &Statement) -> Result<bool, CaptureError> {
        let interval = if self.saved { IDLE_SAVE_INTERVAL } else { SAVE_INTERVAL };
        if self.saved_at.elapsed() < interval && !self.save_soon {
            return Ok(false);
        }
        self.save(client, saving).await.map(|()| true)
    }

    /// Saves now.
    pub async fn save(&mut self, client: &Client, saving: &Statement) -> Result<(), CaptureError> {
        let (target, page_id) = match &self.progress.target {
            Some((target, id)) => (Some(target.to_string()), Some(*id)),
            None => (None, None),
        };
        let swept = self.progress.swept.to_string();
        let saved = saving.execute(client, vec![&swept, &target, &page_id, &self.settled_loss, &self.generation]);
        if in_time("saving the cursor", saved).await? != 1 {
            return Err(CaptureError::LeaseLost);
        }
        (self.saved, self.save_soon) = (true, false);
        self.on_disk = Seen::of(&self.progress.swept);
        self.saved_at = Instant::now();
        self.taken.clear();
        Ok(())
    }
}

fn parse(text: &str) -> Result<Snapshot, CaptureError> {
    text.parse().map_err(|error| CaptureError::Log(format!("{error}")))
}

impl Stored {
    /// Reads a row of [`LOAD`].
    fn read(row: &tokio_postgres::Row) -> Result<Self, CaptureError> {
        let target = match (row.try_get::<_, Option<&str>>(4)?, row.try_get::<_, Option<i64>>(5)?) {
            (Some(target), Some(id)) => Some((parse(target)?, id)),
            _ => None,
        };
        Ok(Self {
            system_identifier: row.try_get(0)?,
            progress: Progress { swept: parse(row.try_get(3)?)?, target },
            loss: row.try_get(6)?,
            holder: row.try_get(8)?,
            timeline: row.try_get(9)?,
        })
    }
}

/// How many of these rows the log doesn't have, though they were in it.
async fn missing(client: &Client, rows: &HashSet<Key>) -> Result<i64, CaptureError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let (ids, xids): (Vec<i64>, Vec<String>) = rows.iter().map(|(id, xid)| (*id, xid.to_string())).unzip();
    let row = client.query_typed_one(MISSING, &[(&ids, Type::INT8_ARRAY), (&xids, Type::TEXT_ARRAY)]).await?;
    Ok(row.try_get(0)?)
}
