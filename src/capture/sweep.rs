//! The sweep: everything that became visible in the change log since the last one, each change exactly once.
//!
//! Let S be the snapshot of the last sweep. What became visible since is exactly the rows whose transaction is in S's
//! in-progress list or at least S's xmax, and which the present snapshot T sees. One statement has one snapshot, so
//! reading the rows and T in one statement leaves no gap and no overlap. Nobody waits for long transactions.
//!
//! A sweep is read in pages: the first fixes T, the others ask for what T sees behind the last id. So the memory that a
//! sweep needs does not grow with it, here or in Postgres.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt;
use tokio_postgres::{
    RowStream,
    types::{ToSql, Type},
};

use super::{
    CaptureError, Connection,
    cursor::Progress,
    decode::{self, Key, Layouts},
    statement::{Parameters, Statement},
};
use crate::{
    change::{Change, Tables},
    snapshot::Snapshot,
};

/// Rows of one page, hence of one statement.
const PAGE_ROWS: i64 = 5_000;
/// A batch is handed on when it holds this many changes,
const BATCH_CHANGES: usize = 1_000;
/// or this many bytes of rows.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Postgres ends a statement itself when it takes so much longer than we wait for it.
const STATEMENT_GRACE: Duration = Duration::from_secs(5);

/// Sorting by `id + 0` keeps the planner from walking the whole log in the order of the index on id.
fn first_page_sql() -> String {
    format!(
        "(select pg_current_snapshot()::text, {nulls}) union all
         (select null, {columns} from rowcast.change
          where xid >= $1::text::xid8 or xid = any ($2::text[]::xid8[]) order by id + 0 limit $3)",
        nulls = "null::bigint, null, null, null::timestamptz, null, null, null::json, null::json, null::text",
        columns = decode::COLUMNS
    )
}

fn next_page_sql() -> String {
    format!(
        "select null, {columns} from rowcast.change
         where (xid >= $1::text::xid8 or xid = any ($2::text[]::xid8[]))
           and pg_visible_in_snapshot(xid, (select $5::text::pg_snapshot)) and id > $4 order by id limit $3",
        columns = decode::COLUMNS
    )
}

/// What is being waited for, as an error says it.
const SWEEPING: &str = "sweeping the change log";

const PARAMETERS: [Type; 5] = [Type::TEXT, Type::TEXT_ARRAY, Type::INT8, Type::INT8, Type::TEXT];

/// Reads the change log over a connection of its own.
pub struct Sweeper {
    connection: Connection,
    first_page: Statement,
    next_page: Statement,
    /// How long Postgres may take for the next row.
    patience: Duration,
}

impl Sweeper {
    /// `pooled`: a pooler stands between, so nothing is prepared, and nothing set for the session.
    pub async fn new(connection: Connection, pooled: bool, patience: Duration) -> Result<Self, CaptureError> {
        if !pooled {
            let limit = (patience + STATEMENT_GRACE).as_secs();
            // One plan for all sweeps, by index whatever the statistics say: they lag behind a log that grows and shrinks.
            // No parallel workers: a sweep is over before they have started. And memory for a page, so that a long backlog
            // is not sorted on disk.
            connection
                .batch_execute(&format!(
                    "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set jit = off; set max_parallel_workers_per_gather = 0;
                     set work_mem = '64MB'; set default_transaction_isolation = 'read committed';
                     set default_transaction_read_only = off; set statement_timeout = '{limit}s'; set lock_timeout = '10s'"
                ))
                .await?;
        }
        let first_page = Statement::new(&connection, pooled, first_page_sql(), &PARAMETERS[..3]).await?;
        let next_page = Statement::new(&connection, pooled, next_page_sql(), &PARAMETERS).await?;
        Ok(Self { connection, first_page, next_page, patience })
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Opens the next page: of a new sweep, or of the one that `progress` is in the middle of.
    pub async fn page(&self, progress: &Progress) -> Result<SweepPage, CaptureError> {
        let since = &progress.swept;
        let xmax = since.xmax.to_string();
        let in_progress: Vec<String> = since.in_progress.iter().map(u64::to_string).collect();
        let mut parameters: Parameters<'_> = vec![&xmax, &in_progress, &PAGE_ROWS];
        let (last_id, target) = match &progress.target {
            Some((target, last_id)) => (*last_id, Some(target.clone())),
            None => (0, None),
        };
        let target_text = target.as_ref().map(Snapshot::to_string);
        let statement = match &target_text {
            None => &self.first_page,
            Some(text) => {
                parameters.extend([&last_id as &(dyn ToSql + Sync), text]);
                &self.next_page
            }
        };
        let asked = statement.stream(&self.connection, parameters);
        let (patience, opened_at) = (self.patience, Instant::now());
        let rows = tokio::time::timeout(patience, asked).await.map_err(|_| CaptureError::Timeout(SWEEPING))??;
        let mut rows = Box::pin(rows);
        let target = match target {
            Some(target) => target,
            None => {
                let row = next_row(&mut rows, patience)
                    .await?
                    .ok_or_else(|| CaptureError::Log("a sweep without a snapshot".into()))?;
                row.try_get::<_, &str>(0)?.parse().map_err(|error| CaptureError::Log(format!("{error}")))?
            }
        };
        Ok(SweepPage { target, rows, patience, opened_at, ended: false, seen: 0 })
    }
}

/// What is handed on at once.
#[derive(Debug)]
pub struct Batch {
    pub changes: Vec<Change>,
    /// The rows of the log that they came from, and those that gave none, in the order of their ids.
    pub rows: Vec<Key>,
}

/// A page that is being read. Postgres sends no faster than batches are taken.
pub struct SweepPage {
    /// The snapshot that this sweep works towards.
    pub target: Snapshot,
    rows: Pin<Box<RowStream>>,
    patience: Duration,
    opened_at: Instant,
    /// A stream that has ended must not be asked again.
    ended: bool,
    seen: usize,
}

impl SweepPage {
    /// The next rows of the log, at most about [`BATCH_BYTES`] of them; none at the end of the page. A row that is to be
    /// skipped gives no change.
    pub async fn batch(&mut self, tables: &Tables, skip: impl Fn(Key) -> bool) -> Result<Batch, CaptureError> {
        let (mut changes, mut rows, mut bytes, mut layouts) = (Vec::new(), Vec::new(), 0, Layouts::default());
        while !self.ended && rows.len().max(changes.len()) < BATCH_CHANGES && bytes < BATCH_BYTES {
            let Some(row) = next_row(&mut self.rows, self.patience).await? else {
                self.ended = true;
                break;
            };
            let key = decode::key(&row, 1)?;
            rows.push(key);
            if !skip(key) {
                bytes += decode::changes(&row, 1, tables, &mut layouts, &mut changes)?;
            }
        }
        self.seen += rows.len();
        Ok(Batch { changes, rows })
    }

    /// Whether so much time was taken over its changes that Postgres may soon end the statement. The rest is another page.
    pub fn is_old(&self) -> bool {
        self.opened_at.elapsed() > self.patience / 2
    }

    /// Whether the page ended since the sweep did.
    pub fn is_last(&self) -> bool {
        self.seen < PAGE_ROWS as usize
    }
}

async fn next_row(
    rows: &mut Pin<Box<RowStream>>,
    patience: Duration,
) -> Result<Option<tokio_postgres::Row>, CaptureError> {
    let row = tokio::time::timeout(patience, rows.try_next()).await;
    Ok(row.map_err(|_| CaptureError::Timeout(SWEEPING))??)
}
