//! The log's size: measured, and kept within the retention by `rowcast.rotate`.

use std::time::Duration;

use tokio_postgres::{Client, types::Type};

use super::CaptureError;

const STATISTICS: &str = "
select coalesce((select sum(pg_total_relation_size(i.inhrelid)) from pg_catalog.pg_inherits i
                 where i.inhparent = 'rowcast.change'::regclass), 0)::bigint,
       coalesce(extract(epoch from now() - (select at from rowcast.change order by id limit 1)), 0)::float8";

/// What the log holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogStatistics {
    pub bytes: i64,
    /// Seconds since its oldest change.
    pub oldest_seconds: f64,
}

pub async fn statistics(client: &Client) -> Result<LogStatistics, CaptureError> {
    let row = client.query_typed_one(STATISTICS, &[]).await?;
    Ok(LogStatistics { bytes: row.try_get(0)?, oldest_seconds: row.try_get(1)? })
}

/// Empties what is past the retention and swept; tells how many of the log's slots that was.
pub async fn rotate(client: &Client, retention: Duration) -> Result<i32, CaptureError> {
    let seconds = retention.as_secs_f64();
    let row =
        client.query_typed_one("select rowcast.rotate(make_interval(secs => $1))", &[(&seconds, Type::FLOAT8)]).await?;
    Ok(row.try_get(0)?)
}
