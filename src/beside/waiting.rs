//! Writes down who waits for something: who came to a room, or left it, while the SQL of one of the catalog's waiting lists
//! names it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{Catalog, QueryError, Runnable, WaitingList},
    error::{is_cancelled, is_unavailable},
    gateway::{Arrival, Gateway},
    pool,
};

/// Soon after somebody came: what they wait for may come as soon.
const TICK: Duration = Duration::from_millis(100);

/// Who waits already stays as they are; who was told and is here again waits again.
const WAIT: &str = "
insert into rowcast.waiting as w (list, id, user_id, at)
select $1, a.id, a.user_id, clock_timestamp() - make_interval(secs => a.age)
from unnest($2::text[], $3::text[], $4::float8[]) as a (id, user_id, age)
on conflict (list, id, user_id) do update set at = excluded.at, told_at = null
where w.told_at is not null and w.told_at < excluded.at";

/// Everything that the waiting lists need.
pub struct WaitingLists {
    pub catalog: Arc<Catalog>,
    pub pool: PgPool,
    pub gateway: Gateway,
}

impl WaitingLists {
    /// Until `stop`; then what was noted last is written.
    pub async fn run(self, stop: CancellationToken) {
        let mut prepared: Vec<Option<Runnable>> = self.catalog.waiting_lists().iter().map(|_| None).collect();
        if prepared.is_empty() {
            return stop.cancelled().await;
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complaint = None;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                _ = ticks.tick() => {}
            }
            let reason = self.write_down(&mut prepared).await.err();
            if reason != complaint {
                if let Some(reason) = &reason {
                    tracing::warn!(reason, "who waits could not be written down; trying again");
                }
                complaint = reason;
            }
        }
    }

    /// What could not be written since the database didn't answer, or not in time, is given back, for the next time; what it refuses is not,
    /// for it would be refused for ever.
    async fn write_down(&self, prepared: &mut [Option<Runnable>]) -> Result<(), String> {
        let arrivals = self.gateway.take_arrivals();
        if arrivals.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(());
        let mut unwritten = false;
        for (list, prepared) in self.catalog.waiting_lists().iter().zip(prepared) {
            let here: Vec<&Arrival> = arrivals.iter().filter(|arrival| arrival.kind == list.rooms).collect();
            if here.is_empty() {
                continue;
            }
            if let Err(problem) = self.write_list(list, prepared, &here).await {
                unwritten |= !matches!(problem, QueryError::Refused(_));
                outcome = Err(format!("{}: {problem}", list.name));
            }
        }
        if unwritten {
            self.gateway.give_back_arrivals(arrivals);
        }
        outcome
    }

    async fn write_list(
        &self,
        list: &WaitingList,
        prepared: &mut Option<Runnable>,
        here: &[&Arrival],
    ) -> Result<(), QueryError> {
        let runnable = match prepared.take() {
            Some(runnable) => runnable,
            None => list.prepare(&self.pool).await.map_err(QueryError::Refused)?,
        };
        let ids: HashSet<&str> = here.iter().map(|arrival| arrival.id.as_str()).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let named = runnable.rows(&self.pool, &ids).await?;
        *prepared = Some(runnable);
        let named: HashSet<&str> = named.iter().map(|(key, _)| key.as_str()).collect();
        let waiting: Vec<&&Arrival> = here.iter().filter(|arrival| named.contains(arrival.id.as_str())).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let wait = sqlx::query(WAIT)
            .bind(&list.name)
            .bind(waiting.iter().map(|arrival| arrival.id.as_str()).collect::<Vec<_>>())
            .bind(waiting.iter().map(|arrival| arrival.user_id.as_str()).collect::<Vec<_>>())
            .bind(waiting.iter().map(|arrival| arrival.at.elapsed().as_secs_f64()).collect::<Vec<_>>())
            .execute(&self.pool);
        match pool::in_time(wait).await {
            Ok(_) => Ok(()),
            Err(error) if is_unavailable(&error) || is_cancelled(&error) => {
                Err(QueryError::Unavailable(error.to_string()))
            }
            Err(error) => Err(QueryError::Refused(error.to_string())),
        }
    }
}
