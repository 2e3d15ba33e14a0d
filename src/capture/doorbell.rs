//! The doorbell: a NOTIFY that writers send only while the listener dozes, and the lock that tells them whether it does.
//!
//! A writer that can share the lock K doesn't ring, and keeps it until its transaction has ended and is visible. The
//! listener dozes only while it holds K exclusively and after a sweep that it made holding it.
//!
//! Invariant: when the listener waits for the doorbell, every change that is visible and has not been swept belongs to
//! a transaction that rang. (Who shared K had ended before the listener got it, and was seen by the sweep that followed;
//! who came later could not share it, and rang.)

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_postgres::{error::SqlState, types::Type};

use super::{CaptureError, Connection, connection::in_time};

/// The channel of the NOTIFY; its payload is constant and carries nothing that matters.
const CHANNEL: &str = "rowcast";
/// Makes the server notice within seconds that this client is gone.
const LET_GO: [&str; 6] = [
    "set client_connection_check_interval = '1s'",
    "set tcp_keepalives_idle = 5",
    "set tcp_keepalives_interval = 2",
    "set tcp_keepalives_count = 3",
    "set tcp_user_timeout = '10s'",
    "set idle_session_timeout = 0",
];
/// A connection that only listens is asked this often whether it is there.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// A NOTIFY takes about a millisecond; behind a transaction pooler it never comes.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

const WAITS: &str = "
select exists (select from pg_catalog.pg_locks
               where locktype = 'advisory' and classid = 1919907683 and objid = 1 and pid = $1 and not granted)";

/// How the listener learns of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hearing {
    /// By the doorbell.
    Doorbell,
    /// By sweeping on a timer, since nobody may ring: with prepared transactions enabled a transaction that rang
    /// could not be prepared.
    Timer,
    /// By sweeping on a timer, since the NOTIFY queue of the server is full, so nobody can ring.
    QueueFull,
    /// By sweeping on a timer, since LISTEN hears nothing: a transaction pooler stands between.
    Deaf,
}

/// The connection that listens and that holds K.
pub struct Doorbell {
    connection: Connection,
    notifications: watch::Receiver<u64>,
    hearing: Hearing,
    /// How many notifications [`Doorbell::rung`] has told of.
    heard: u64,
    rings: VecDeque<Instant>,
    /// The server's process of this connection.
    pid: i32,
    checked_at: Instant,
}

impl Doorbell {
    /// Listens, and finds out whether that is of use: `ringer` rings, as a writer would, since a pooler may well pass on
    /// what a connection tells itself.
    pub async fn new(connection: Connection, ringer: &Connection) -> Result<Self, CaptureError> {
        let mut notifications = connection.notifications();
        let pid = connection.query_typed_one("select pg_backend_pid()", &[]).await?.try_get(0)?;
        connection.batch_execute(&format!("listen {CHANNEL}")).await?;
        notifications.mark_unchanged();
        let sent = ringer.batch_execute(&format!("notify {CHANNEL}, 'probe'")).await;
        let hearing = if sent.as_ref().is_err_and(|error| error.code() == Some(&SqlState::PROGRAM_LIMIT_EXCEEDED)) {
            settle(&connection).await?;
            Hearing::QueueFull
        } else {
            sent?;
            match tokio::time::timeout(PROBE_TIMEOUT, notifications.changed()).await {
                Err(_) => Hearing::Deaf,
                Ok(Err(_)) => return Err(connection.ended()),
                Ok(Ok(())) => {
                    settle(&connection).await?;
                    let sql = "select current_setting('max_prepared_transactions')";
                    let prepared = connection.query_typed_one(sql, &[]).await?;
                    if prepared.try_get::<_, &str>(0)? == "0" { Hearing::Doorbell } else { Hearing::Timer }
                }
            }
        };
        let heard = *notifications.borrow_and_update();
        let rings = VecDeque::new();
        Ok(Self { connection, notifications, hearing, heard, rings, pid, checked_at: Instant::now() })
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub fn hearing(&self) -> &Hearing {
        &self.hearing
    }

    /// Takes K; waits for the writers that share it, however long their transactions last. New writers see the waiter
    /// and ring, so a lock that is long in coming costs latency nowhere.
    pub async fn lock(&self) -> Result<(), CaptureError> {
        self.connection.batch_execute("select pg_advisory_lock(1919907683, 1)").await?;
        Ok(())
    }

    /// Releases K: from now on writers don't ring.
    pub async fn unlock(&self) -> Result<(), CaptureError> {
        let sql = "select pg_advisory_unlock(1919907683, 1)";
        in_time("letting the doorbell's lock go", self.connection.batch_execute(sql)).await
    }

    /// An error if the connection is gone though nobody has said so: whoever only listens would never notice, nor that the
    /// lease went with it.
    pub async fn check(&mut self) -> Result<(), CaptureError> {
        if self.checked_at.elapsed() < CHECK_INTERVAL {
            return Ok(());
        }
        self.checked_at = Instant::now();
        in_time("asking whether the doorbell is there", self.connection.batch_execute("select")).await
    }

    /// Whether the server knows that the lock is waited for. The connection itself can't be asked meanwhile: `other` is.
    pub async fn waits(&self, other: &Connection) -> Result<bool, CaptureError> {
        let asked = async { other.query_typed_one(WAITS, &[(&self.pid, Type::INT4)]).await };
        Ok(in_time("asking whether the doorbell's lock is waited for", asked).await?.try_get(0)?)
    }

    /// Waits until there were rings since it last returned, and tells how many. A ring that came while a sweep ran is
    /// not forgotten, and cancelling it loses none. An error when the connection ended.
    pub async fn rung(&mut self) -> Result<u64, CaptureError> {
        loop {
            let total = *self.notifications.borrow_and_update();
            let rings = total - self.heard;
            if rings > 0 {
                self.heard = total;
                return Ok(rings);
            }
            if self.notifications.changed().await.is_err() {
                return Err(self.connection.ended());
            }
        }
    }

    /// Whether there were more than `limit` rings in the last `window`, with `rings` more now.
    pub fn rings_exceed(&mut self, rings: u64, limit: usize, window: Duration) -> bool {
        let now = Instant::now();
        let fresh = usize::try_from(rings).unwrap_or(usize::MAX).min(limit + 1);
        self.rings.extend(std::iter::repeat_n(now, fresh));
        while self.rings.front().is_some_and(|ring| now - *ring > window) {
            self.rings.pop_front();
        }
        self.rings.len() > limit
    }
}

/// The session is ours alone, no pooler's: it may be set up for holding the lease. Should we vanish, the server has to
/// notice, also while it waits for a lock. What a version or platform refuses of it, it does without.
async fn settle(connection: &Connection) -> Result<(), CaptureError> {
    connection.batch_execute("set statement_timeout = 0; set lock_timeout = 0").await?;
    for setting in LET_GO {
        connection.batch_execute(setting).await.ok();
    }
    Ok(())
}
