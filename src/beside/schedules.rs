//! Runs the catalog's schedules: what their SQL returns is compared with what was told before, and the difference goes to
//! the change log, from where it takes the way of every change.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use sqlx::PgPool;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{Catalog, QueryError, Runnable, Schedule},
    gateway::Gateway,
    metrics::Metrics,
    pool,
};

const TELL: &str = "select rowcast.tell($1, $2, $3, $4)";

/// Everything that the schedules need.
pub struct Schedules {
    pub catalog: Arc<Catalog>,
    pub pool: PgPool,
    pub gateway: Gateway,
    pub metrics: Arc<Metrics>,
}

impl Schedules {
    /// Runs them until `stop`, each on its own: a slow one holds up no other, and none runs beside itself. An instance
    /// that stands by runs none.
    pub async fn run(self, stop: CancellationToken) {
        let all = join_all(self.catalog.schedules().iter().map(|schedule| self.repeat(schedule)));
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = all => stop.cancelled().await,
        }
    }

    async fn repeat(&self, schedule: &Schedule) {
        let mut ticks =
            tokio::time::interval_at(Instant::now() + schedule.every.min(Duration::from_secs(1)), schedule.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut prepared, mut complaint) = (None, None);
        loop {
            ticks.tick().await;
            let outcome = self.once(schedule, &mut prepared).await;
            let reason = outcome.err();
            if reason != complaint {
                match &reason {
                    Some(reason) => tracing::warn!(schedule = schedule.name, reason, "a schedule could not be run"),
                    None => tracing::info!(schedule = schedule.name, "a schedule runs again"),
                }
                complaint = reason;
            }
        }
    }

    async fn once(&self, schedule: &Schedule, prepared: &mut Option<Runnable>) -> Result<(), String> {
        let ids = match &schedule.rooms {
            Some(kind) => self.gateway.ids_of_rooms(kind),
            None => Vec::new(),
        };
        let nobody_asks = schedule.rooms.is_some() && ids.is_empty();
        // Without a position nothing was swept yet, so this instance doesn't hold the lease.
        if nobody_asks || self.gateway.is_standing_by() || self.gateway.position().is_none() {
            return Ok(());
        }
        let runnable = match prepared.take() {
            Some(runnable) => runnable,
            None => schedule.prepare(&self.pool).await?,
        };
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let asked = Instant::now();
        let found = runnable.rows(&self.pool, &ids).await.map_err(|error: QueryError| error.to_string())?;
        // Prepared anew after a failure: its tables may have been altered.
        *prepared = Some(runnable);

        let (keys, rows): (Vec<String>, Vec<String>) = found.into_iter().map(|(key, row)| (key, row.to_json())).unzip();
        let tell = sqlx::query_scalar::<_, i32>(TELL)
            .bind(&schedule.name)
            .bind(keys)
            .bind(rows)
            .bind(schedule.is_complete().then(|| asked.elapsed().as_secs_f64()))
            .fetch_one(&self.pool);
        let told = pool::in_time(tell).await.map_err(|error| format!("what it found could not be noted: {error}"))?;
        self.metrics.scheduled_changes.with_label_values(&[&schedule.name]).inc_by(told.unsigned_abs().into());
        Ok(())
    }
}
