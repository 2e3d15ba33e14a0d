//! The listener between two naps: a sweep to its end, each batch into the sink and then the cursor, and the upkeep.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    Capture, CaptureError, CaptureOptions, Connection, Sink,
    connection::{describe, in_time},
    cursor::{Cursor, Losses},
    retention,
    statement::Statement,
    sweep::{Batch, Sweeper},
    tables,
};
use crate::{
    change::{Change, Page, Tables},
    failpoint::{self, Failpoint},
    metrics::Metrics,
};

const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The sink is told of the tables this often though they are the same: what its rules look up may have changed.
const TELL_TABLES_INTERVAL: Duration = Duration::from_secs(30);
const STATISTICS_INTERVAL: Duration = Duration::from_secs(10);
/// So long without an answer, and the service says that it is not ready; it waits on.
const SLOW: Duration = Duration::from_secs(4);
/// After a loss the service is not ready for this long, so that a probe sees it.
const LOSS_SHOWN: Duration = Duration::from_secs(10);

pub struct Listener<'a, S> {
    capture: &'a mut Capture<S>,
    sweeper: &'a Sweeper,
    cursor: &'a mut Cursor,
    saving: Statement,
    reading_tables: Statement,
    tables: Arc<Tables>,
    upkeep_at: Instant,
    statistics_at: Instant,
    log: retention::LimitAlarm,
    lost_at: Option<Instant>,
    tables_told_at: Instant,
    /// When all transactions below have ended, so have those whose changes were lost.
    loss_settles_at: Option<u64>,
}

impl<'a, S: Sink> Listener<'a, S> {
    pub async fn new(
        capture: &'a mut Capture<S>,
        sweeper: &'a Sweeper,
        cursor: &'a mut Cursor,
        tables: Arc<Tables>,
        pooled: bool,
    ) -> Result<Self, CaptureError> {
        let client = sweeper.connection();
        let saving = in_time("preparing to save the cursor", Cursor::saving(client, pooled)).await?;
        let reading_tables = in_time("preparing to read the tables", tables::reading(client, pooled)).await?;
        let now = Instant::now();
        Ok(Self {
            capture,
            sweeper,
            cursor,
            saving,
            reading_tables,
            tables,
            upkeep_at: now,
            statistics_at: now,
            log: retention::LimitAlarm::default(),
            lost_at: None,
            tables_told_at: now,
            loss_settles_at: None,
        })
    }

    pub fn options(&self) -> &CaptureOptions {
        &self.capture.options
    }

    pub fn metrics(&self) -> &Metrics {
        &self.capture.metrics
    }

    pub fn connection(&self) -> &Connection {
        self.sweeper.connection()
    }

    pub fn is_saved(&self) -> bool {
        self.cursor.is_saved()
    }

    /// One sweep, page by page, unless told to stop between two batches; tells how many rows of the log there were.
    ///
    /// Invariant: the cursor gets past a batch only after the sink has taken it, and to the sweep's snapshot only after
    /// its last page.
    pub async fn sweep(&mut self, stop: &CancellationToken) -> Result<usize, CaptureError> {
        let began = Instant::now();
        let mut found = 0;
        let mut shape_is_fresh = false;
        'pages: loop {
            let sweeper = self.sweeper;
            let mut page = self.capture.telling_if_slow(sweeper.page(&self.cursor.progress)).await?;
            loop {
                let reading = page.batch(&self.tables, |row| self.cursor.is_repeat(row));
                let Batch { changes, rows } = self.capture.telling_if_slow(reading).await?;
                let Some((last, _)) = rows.last().copied() else { break };
                if !shape_is_fresh && changes.iter().any(|change| !tables::fits(change, &self.tables)) {
                    // A table was altered: its columns' kinds must be known before its rows are read.
                    shape_is_fresh = true;
                    drop(page);
                    self.look_for_altered_tables().await?;
                    continue 'pages;
                }
                found += rows.len();
                failpoint::hit(Failpoint::Swept)?;
                self.hand_on(changes).await?;
                self.cursor.took(rows, &page.target, last);
                failpoint::hit(Failpoint::Taken)?;
                if stop.is_cancelled() {
                    return Ok(found);
                }
                if page.is_old() {
                    drop(page);
                    failpoint::hit(Failpoint::Paged)?;
                    self.upkeep().await?;
                    continue 'pages;
                }
            }
            if page.is_last() {
                self.cursor.completed(page.target);
                break;
            }
            failpoint::hit(Failpoint::Paged)?;
            self.upkeep().await?;
        }
        self.capture.sink.swept(self.cursor.position());
        self.capture.metrics.sweep_seconds.observe(began.elapsed().as_secs_f64());
        self.upkeep().await?;
        Ok(found)
    }

    async fn hand_on(&mut self, changes: Vec<Change>) -> Result<(), CaptureError> {
        for alike in changes.chunk_by(|a, b| a.op == b.op && a.table == b.table) {
            let (table, op) = (alike[0].table.to_string(), alike[0].op.as_sql());
            self.capture.metrics.changes_swept.with_label_values(&[&table, op]).inc_by(alike.len() as u64);
        }
        let position = self.cursor.position();
        let page = Page { changes, position, tables: Arc::clone(&self.tables) };
        Ok(self.capture.sink.page(page).await?)
    }

    /// Saves the cursor now, since nothing comes after.
    pub async fn finish(&mut self) -> Result<(), CaptureError> {
        self.cursor.save(self.sweeper.connection(), &self.saving).await
    }

    /// What is due now and then. Runs between sweeps, so that it shares their connection and never races them.
    async fn upkeep(&mut self) -> Result<(), CaptureError> {
        if self.cursor.save_if_due(self.sweeper.connection(), &self.saving).await? {
            self.capture.metrics.cursor_saves.inc();
            // There may be no sweep for long: who loads anew or joins meanwhile need not hear again what is behind this.
            self.capture.sink.swept(self.cursor.position());
            failpoint::hit(Failpoint::Saved)?;
        }
        let now = Instant::now();
        if now < self.upkeep_at {
            return Ok(());
        }
        self.upkeep_at = now + UPKEEP_INTERVAL;
        self.look_for_altered_tables().await?;
        self.look_for_losses().await?;
        if now >= self.statistics_at {
            self.statistics_at = now + STATISTICS_INTERVAL;
            let seconds = in_time("looking at the log", retention::oldest(self.sweeper.connection())).await?;
            self.capture.metrics.log_oldest_seconds.set(seconds as i64);
        }
        // Each time: what is written from one to the next may be above the log's limit.
        let (retention, began) = (self.capture.options.retention, Instant::now());
        failpoint::hit(Failpoint::Rotating)?;
        let rotated = in_time("emptying the log", retention::rotate(self.sweeper.connection(), retention)).await;
        failpoint::hit(Failpoint::Rotated)?;
        match rotated {
            Ok(rotated) => self.log.note(&rotated, retention.bytes, began.elapsed(), &self.capture.metrics),
            // Events go on though the log can't be emptied, for a disk that is full or a right that was taken.
            Err(CaptureError::Postgres(error)) if error.as_db_error().is_some() => {
                self.log.failed(&describe(&error), &self.capture.metrics);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn look_for_altered_tables(&mut self) -> Result<(), CaptureError> {
        let read = tables::read_by(&self.reading_tables, self.sweeper.connection());
        let tables = in_time("reading the watched tables", read).await?;
        let altered = tables != *self.tables;
        if altered {
            self.tables = Arc::new(tables);
        }
        if altered || self.tables_told_at.elapsed() > TELL_TABLES_INTERVAL {
            self.tables_told_at = Instant::now();
            self.capture.sink.tables(&self.tables).await;
        }
        Ok(())
    }

    async fn look_for_losses(&mut self) -> Result<(), CaptureError> {
        let losses = in_time("looking for losses", self.tell_of_losses()).await?;
        match (losses.uncounted, self.lost_at) {
            (Some(reason), _) => {
                self.capture.not_ready(format!("capture loses changes: {reason}"));
            }
            (None, Some(at)) if at.elapsed() < LOSS_SHOWN => {
                self.capture.not_ready("capture lost changes; clients were told to load anew".into());
            }
            _ => self.capture.ready(),
        }
        Ok(())
    }

    async fn tell_of_losses(&mut self) -> Result<Losses, CaptureError> {
        let connection = self.sweeper.connection();
        let losses = self.cursor.new_losses(connection).await?;
        // What is lost uncounted counts as one when that begins, and as one when it is mended.
        let lost = losses.counted + i64::from(losses.turned);
        if lost > 0 {
            self.lost_at = Some(Instant::now());
            self.capture.metrics.capture_losses.inc_by(lost.unsigned_abs());
            tracing::error!(lost, "capture lost changes to spare the application's statements; Postgres' log says why");
            self.cursor.forget_the_past(connection).await?;
            self.capture.sink.resync("changes were lost");
            // The statement counted them, and its transaction may be open still: who loads anew now may not see them.
            self.loss_settles_at = Some(self.cursor.now(connection).await?.xmax);
        } else if let Some(xmax) = self.loss_settles_at
            && self.cursor.now(connection).await?.xmin >= xmax
        {
            self.loss_settles_at = None;
            self.cursor.forget_the_past(connection).await?;
            self.capture.sink.resync("changes were lost");
        }
        if self.loss_settles_at.is_none() {
            self.cursor.settle_losses();
        }
        Ok(losses)
    }
}

impl<S: Sink> Capture<S> {
    /// Waits, and says so if it takes long: what is shown meanwhile may be old.
    async fn telling_if_slow<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        if let Ok(answer) = tokio::time::timeout(SLOW, &mut answer).await {
            return answer;
        }
        self.not_ready(format!("capture is down: Postgres has not answered for {} s", SLOW.as_secs()));
        answer.await
    }
}
