//! The log's size: measured, and kept within the retention by `rowcast.rotate`.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, types::Type};

use super::CaptureError;
use crate::metrics::Metrics;

const OLDEST: &str =
    "select coalesce(extract(epoch from now() - (select at from rowcast.change order by id limit 1)), 0)::float8";

const ROTATE: &str = "select emptied, bytes, in_the_way from rowcast.rotate(make_interval(secs => $1), $2)";

/// A log that can't be kept within its limit is spoken of this often.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How much of what has been swept the change log keeps.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub age: Duration,
    /// Of the log with its indexes.
    pub bytes: i64,
}

/// What one call of `rowcast.rotate` came to.
#[derive(Debug)]
pub struct Rotated {
    /// How many of the log's slots were emptied.
    pub emptied: i32,
    /// What the log takes now.
    pub bytes: i64,
    /// Why a slot that is due could not be emptied.
    pub in_the_way: Option<String>,
}

/// Whether the log is within its limit, and since when that was said.
#[derive(Debug, Default)]
pub struct LimitAlarm {
    said_at: Option<Instant>,
}

impl LimitAlarm {
    /// Notes what came of it, after so long, and says so if the log is above its limit all the same.
    ///
    /// The service stays ready: what was not swept yet is kept, and nobody is served worse for it.
    pub fn note(&mut self, rotated: &Rotated, limit: i64, took: Duration, metrics: &Metrics) {
        metrics.log_bytes.set(rotated.bytes);
        if rotated.emptied > 0 {
            let (slots, bytes) = (rotated.emptied, rotated.bytes);
            metrics.log_slots_emptied.inc_by(u64::from(slots.unsigned_abs()));
            tracing::info!(
                slots,
                bytes,
                took_ms = took.as_millis() as u64,
                "the change log gave back what is past the retention"
            );
        }
        match rotated.in_the_way.as_ref().filter(|_| rotated.bytes > limit) {
            Some(reason) => {
                metrics.log_over_limit.set(1);
                if self.is_to_be_said() {
                    let bytes = rotated.bytes;
                    tracing::warn!(%reason, bytes, limit, "the change log is above retention_bytes, and grows on");
                }
            }
            None => {
                metrics.log_over_limit.set(0);
                if self.said_at.take().is_some() {
                    tracing::info!(bytes = rotated.bytes, limit, "the change log is within retention_bytes again");
                }
            }
        }
    }

    /// Notes that Postgres would not do it. Whether the log is above its limit is not known then.
    pub fn failed(&mut self, reason: &str, metrics: &Metrics) {
        metrics.log_over_limit.set(1);
        if self.is_to_be_said() {
            tracing::warn!(%reason, "the change log cannot be emptied, and grows on");
        }
    }

    fn is_to_be_said(&mut self) -> bool {
        let is_due = self.said_at.is_none_or(|said_at| said_at.elapsed() >= SAY_AGAIN);
        if is_due {
            self.said_at = Some(Instant::now());
        }
        is_due
    }
}

/// Seconds since the log's oldest change.
pub async fn oldest(client: &Client) -> Result<f64, CaptureError> {
    Ok(client.query_typed_one(OLDEST, &[]).await?.try_get(0)?)
}

/// Empties what is past the retention and swept.
pub async fn rotate(client: &Client, retention: Retention) -> Result<Rotated, CaptureError> {
    let seconds = retention.age.as_secs_f64();
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&seconds, Type::FLOAT8), (&retention.bytes, Type::INT8)];
    let row = client.query_typed_one(ROTATE, &parameters).await?;
    Ok(Rotated { emptied: row.try_get(0)?, bytes: row.try_get(1)?, in_the_way: row.try_get(2)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotated(bytes: i64, in_the_way: Option<&str>) -> Rotated {
        Rotated { emptied: 0, bytes, in_the_way: in_the_way.map(str::to_owned) }
    }

    #[test]
    fn a_log_above_its_limit_is_told_only_while_something_keeps_it_there() {
        let (metrics, mut alarm) = (Metrics::new(), LimitAlarm::default());
        let cases = [
            (rotated(5, None), 0),
            (rotated(11, Some("a lock")), 1),
            (rotated(9, Some("a lock")), 0),
            // The slot that was too large has only now been left, and goes next time.
            (rotated(11, None), 0),
        ];
        for (rotated, told) in cases {
            alarm.note(&rotated, 10, Duration::ZERO, &metrics);
            assert_eq!(metrics.log_over_limit.get(), told, "{rotated:?}");
            assert_eq!(alarm.said_at.is_some(), told == 1);
        }
    }
}
