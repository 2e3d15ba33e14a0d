//! Capture: from the change log to [`Change`]s, each exactly once, in the order of each row's changes.
//!
//! ```text
//! run            connect, take the lease, claim the cursor; begin again when a connection ends
//!  └ watch       sweep while there is something; doze by the doorbell when there is nothing
//!     └ progress one sweep: batches into the sink, then the cursor; upkeep in between
//!        ├ sweep, decode, piece, snapshot  what became visible since the cursor
//!        ├ cursor                          how far that is, here and in the database
//!        ├ tables, retention               the shape of the watched tables, the log's size
//!        └ statement                       what is asked again and again
//! ```
//!
//! Invariant: the cursor moves past a change only after the [`Sink`] has taken it.

mod connection;
mod cursor;
mod decode;
mod doorbell;
mod history;
mod lease;
mod look;
mod piece;
mod progress;
mod retention;
mod statement;
mod sweep;
mod tables;
mod watch;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

use self::{
    connection::in_time,
    cursor::{Cursor, Memory, Owed},
    doorbell::{Doorbell, Hearing},
    progress::Listener,
    sweep::Sweeper,
};
pub use self::{
    connection::{Connection, describe},
    history::{History, Replay, Unknown},
    look::Look,
    retention::Retention,
    tables::read as read_tables,
};
use crate::{
    change::{Page, Tables},
    database_url::Target,
    failpoint,
    metrics::Metrics,
    position::Position,
    readiness::Readiness,
};

/// What capture hands its changes to.
pub trait Sink: Send {
    /// Takes a page of changes: it is done with them when it returns. After an error the same page comes again.
    fn page(&mut self, page: Page) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// A sweep is complete, or the cursor was saved: whoever has heard everything up to now stands here.
    fn swept(&mut self, position: Position);

    /// The watched tables are now these.
    fn tables(&mut self, tables: &Arc<Tables>) -> impl Future<Output = ()> + Send;

    /// Another instance captures now, or (false) this one does.
    fn standing_by(&mut self, standing_by: bool);

    /// Changes were lost, or can't be told apart any more: whoever listens must load anew.
    fn resync(&mut self, reason: &str);
}

/// The sink could not take a page now; it may later.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SinkError(pub String);

/// What can end a capture session. All of it is answered by connecting anew.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("cannot connect to Postgres: {}", describe(.0))]
    Connect(tokio_postgres::Error),
    #[error("{}", describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    #[error("the connection to Postgres ended: {0}")]
    Ended(String),
    #[error("Postgres did not answer in time while {0}")]
    Timeout(&'static str),
    #[error("{0}; was rowcast.change altered?")]
    Log(String),
    #[error(
        "the change log can't be emptied, as it has to be after a restore: a transaction is open that reads it or wrote to it"
    )]
    LogInUse { waited: Duration },
    #[error("rowcast.cursor has no row; run `rowcast migrate --down` and `rowcast migrate`")]
    NoCursor,
    #[error("another instance took the lease")]
    LeaseLost,
    #[error("a page could not be processed: {0}")]
    Sink(#[from] SinkError),
    #[error("{0}")]
    Failpoint(#[from] failpoint::Hit),
}

/// How capture behaves.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// How much of what has been swept the change log keeps.
    pub retention: Retention,
    /// Rings per second above which the listener stops dozing and sweeps on a timer.
    pub busy_rings_per_second: u32,
    /// The pause between two sweeps while it is busy.
    pub busy_interval: Duration,
    /// The pause between two sweeps where there is no doorbell.
    pub timer_interval: Duration,
    /// A sweep is made at least this often, whatever the doorbell does.
    pub fallback_interval: Duration,
}

/// The first pause after a failed session; it doubles up to the last, with a jitter of half of it.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(2);
/// A session that lasted this long was a good one: the next failure starts from the first pause again.
const GOOD_SESSION: Duration = Duration::from_secs(1);
/// How long a sweep may wait for Postgres. After a session that ended so the next one waits twice as long, up to the last:
/// it may be that there is much to sort.
const PATIENCE_FIRST: Duration = Duration::from_secs(10);
const PATIENCE_LAST: Duration = Duration::from_secs(160);

/// Everything that a session needs, and that outlives it.
pub struct Capture<S> {
    pub database: Target,
    pub options: CaptureOptions,
    pub sink: S,
    pub readiness: Sender<Readiness>,
    pub metrics: Arc<Metrics>,
}

impl<S: Sink> Capture<S> {
    /// Captures until `stop`, through every failure of the database; then saves the cursor and gives up the lease.
    ///
    /// Owned by the service, which awaits it; it spawns nothing but the drivers of its connections, which end with it.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let mut patience = PATIENCE_FIRST;
        let holder = format!("process {} {:x}", std::process::id(), rand_unit().to_bits());
        let mut backoff = BACKOFF_FIRST;
        loop {
            let began = tokio::time::Instant::now();
            let error = tokio::select! {
                biased;
                // A session ends by itself soon after `stop`; what hangs on Postgres is cut off.
                () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(5)).await } => return,
                ended = self.session(&mut memory, &holder, patience, &stop) => match ended {
                    Ok(()) => return,
                    Err(error) => error,
                },
            };
            self.metrics.standby.set(0);
            self.not_ready(format!("capture is down: {error}"));
            patience = match error {
                CaptureError::Timeout(_) => (patience * 2).min(PATIENCE_LAST),
                _ => PATIENCE_FIRST,
            };
            if let CaptureError::LogInUse { waited } = error {
                // Writers waited as long.
                backoff = waited * 10;
            } else if began.elapsed() > GOOD_SESSION {
                backoff = BACKOFF_FIRST;
            }
            let jitter = backoff.mul_f64(rand_unit() / 2.0);
            tracing::warn!(%error, retry_in_ms = (backoff + jitter).as_millis() as u64, "capture is down");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(backoff + jitter) => {}
            }
            backoff = (backoff * 2).min(BACKOFF_LAST);
        }
    }

    /// Connects, waits for the lease, and watches until something ends it.
    async fn session(
        &mut self,
        memory: &mut Memory,
        holder: &str,
        patience: Duration,
        stop: &CancellationToken,
    ) -> Result<(), CaptureError> {
        let connection = Connection::open(&self.database, "sweep").await?;
        let doorbell = Connection::open(&self.database, "doorbell").await?;
        let bell = in_time("trying the doorbell", Doorbell::new(doorbell, &connection)).await?;
        let pooled = *bell.hearing() == Hearing::Deaf;
        match bell.hearing() {
            Hearing::Doorbell => {}
            Hearing::Timer => tracing::warn!(
                interval_ms = self.options.timer_interval.as_millis() as u64,
                "max_prepared_transactions is above 0, so writers don't ring; sweeping on a timer"
            ),
            Hearing::QueueFull => tracing::warn!(
                interval_ms = self.options.timer_interval.as_millis() as u64,
                "the NOTIFY queue of the server is full (some session listens and stays in a transaction), so writers can't ring; sweeping on a timer until rowcast connects anew"
            ),
            Hearing::Deaf => tracing::warn!(
                interval_ms = self.options.timer_interval.as_millis() as u64,
                "LISTEN hears nothing: is there a transaction pooler between? Sweeping on a timer; give rowcast a direct connection for less delay"
            ),
        }
        while let Err(holder) = in_time("asking for the lease", lease::take(bell.connection(), pooled)).await? {
            self.metrics.standby.set(1);
            self.sink.standing_by(true);
            if self.not_ready(format!("standing by: the lease is held by {holder}")) {
                tracing::info!(%holder, "standing by");
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(lease::RETRY) => {}
            }
        }
        self.metrics.standby.set(0);

        let tables = Arc::new(in_time("reading the watched tables", tables::read(&connection)).await?);
        let claim = Cursor::claim(&connection, memory, holder);
        let claimed = in_time("claiming the cursor", claim).await;
        match memory.owed.take() {
            None => {}
            Some(Owed::ComeBack(reason)) => {
                tracing::warn!(reason, "clients are cut off, and resume");
                self.sink.standing_by(true);
                // Nobody is left to be told; but sign-ins that are being made rest on what was known before.
                self.sink.resync(reason);
            }
            Some(Owed::LoadAnew(reason)) => {
                tracing::warn!(reason, "clients are told to load anew");
                self.sink.resync(reason);
            }
        }
        claimed?;
        let cursor = memory.cursor.as_mut().expect("claimed");
        self.sink.tables(&tables).await;
        self.sink.swept(cursor.position());
        self.sink.standing_by(false);
        let sweeper = in_time("preparing to sweep", Sweeper::new(connection, pooled, patience)).await?;
        tracing::info!("capturing");
        let listener = Listener::new(self, &sweeper, cursor, tables, pooled).await?;
        watch::watch(bell, listener, stop).await
    }

    /// Says that the service is not ready; true if that is news.
    fn not_ready(&self, reason: String) -> bool {
        self.metrics.ready.set(0);
        self.readiness.send_if_modified(|now| {
            let reason = Readiness::NotReady(reason);
            let news = *now != reason;
            *now = reason;
            news
        })
    }

    fn ready(&self) {
        self.metrics.ready.set(1);
        self.readiness.send_if_modified(|now| !std::mem::replace(now, Readiness::Ready).is_ready());
    }
}

/// A number in 0..1 for the jitter, from the hasher that the standard library seeds at random.
fn rand_unit() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::Instant::now()) as f64 / u64::MAX as f64
}
