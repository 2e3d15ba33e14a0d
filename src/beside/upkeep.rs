//! Keeps the tables of the inbox, the schedules, the waiting lists and the dead letter within bounds. The change log keeps its own.

use std::time::Duration;

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{config::InboxConfig, pool};

const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// At the start others have more urgent things to do.
const FIRST: Duration = Duration::from_secs(60);
/// How long it is remembered what a schedule told whose rows never go.
const TOLD_LASTS: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Between two batches, so that the events of what is deleted don't crowd out others.
const PAUSE: Duration = Duration::from_millis(200);

/// One batch each; `$1` is an age in seconds. All of them find their rows by an index.
const NOTIFICATIONS: &str = "
delete from rowcast.notification where id in (
  select id from rowcast.notification where created_at < now() - make_interval(secs => $1) order by created_at limit 500)";
const NOTIFIED: &str = "
delete from rowcast.notified where id in (
  select id from rowcast.notified where at < now() - make_interval(secs => $1) order by at limit 5000)";
const TOLD: &str = "
delete from rowcast.told where (schedule, key) in (
  select schedule, key from rowcast.told where gone_at < now() - make_interval(secs => $1) order by gone_at limit 5000)";
/// Of schedules whose rows never go; `$2` are their names.
const TOLD_LONG_AGO: &str = "
delete from rowcast.told where (schedule, key) in (
  select schedule, key from rowcast.told
  where schedule = any ($2) and told_at < now() - make_interval(secs => $1) order by told_at limit 5000)";
const WAITING: &str = "
delete from rowcast.waiting where (list, id, user_id) in (
  select list, id, user_id from rowcast.waiting where at < now() - make_interval(secs => $1) order by at limit 5000)";

const DEAD_LETTERS: &str = "
delete from rowcast.dead_letter where id in (
  select id from rowcast.dead_letter where at < now() - make_interval(secs => $1) order by at limit 5000)";

/// What to delete, and after how long.
pub struct Upkeep {
    pub pool: PgPool,
    pub inbox: InboxConfig,
    /// Of the change log: for as long, and a margin, a change may be processed again.
    pub log_retention: Duration,
    pub dead_letter_retention: Duration,
    /// The schedules whose rows never go.
    pub lasting_schedules: Vec<String>,
}

impl Upkeep {
    /// Deletes what is too old, now and then, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = FIRST;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                done = self.once() => if let Err(error) = done {
                    tracing::warn!(%error, "old notifications could not be deleted; trying again later");
                }
            }
            pause = INTERVAL;
        }
    }

    /// Deletes everything that is too old.
    ///
    /// # Errors
    ///
    /// If the database can't be asked; what was deleted before stays deleted.
    pub async fn once(&self) -> Result<(), sqlx::Error> {
        // The log holds up to one and a half times its retention.
        let processed = self.log_retention * 2;
        let limits = [
            (NOTIFICATIONS, self.inbox.retention),
            (NOTIFIED, processed),
            (TOLD, processed),
            (WAITING, self.inbox.waiting),
            (DEAD_LETTERS, self.dead_letter_retention),
        ];
        for (statement, age) in limits {
            let batch = || pool::in_time(sqlx::query(statement).bind(age.as_secs_f64()).execute(&self.pool));
            while batch().await?.rows_affected() > 0 {
                tokio::time::sleep(PAUSE).await;
            }
        }
        let long_ago = || sqlx::query(TOLD_LONG_AGO).bind(TOLD_LASTS.as_secs_f64()).bind(&self.lasting_schedules);
        while pool::in_time(long_ago().execute(&self.pool)).await?.rows_affected() > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
