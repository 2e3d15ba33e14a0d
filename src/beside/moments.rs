//! What happens in the gateway rather than in the database, through the catalog's rules: who came online, how many people
//! look at a product. It is in no log, so it can't be resumed: the next moment tells how things stand.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use sqlx::PgPool;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{Catalog, Engine, Evaluated},
    change::{Change, Page, Tables},
    gateway::{Gateway, Moment, Seen},
};

/// How often it is looked at who came online, and who has stopped typing.
const TICK: Duration = Duration::from_millis(250);
/// The pause after a failure of the database.
const RETRY: Duration = Duration::from_secs(1);
/// The lookups' tables may have been altered.
const REBIND_INTERVAL: Duration = Duration::from_secs(60);

/// Looks at the gateway from time to time, and hands on what is new.
pub struct Moments {
    pub engine: Engine,
    pub gateway: Gateway,
    /// `[gateway]`'s `presence_grace` and `presence_interval`.
    pub grace: Duration,
    pub interval: Duration,
}

impl Moments {
    pub fn new(catalog: Arc<Catalog>, pool: PgPool, gateway: Gateway, grace: Duration, interval: Duration) -> Self {
        Self { engine: Engine::new(catalog, pool), gateway, grace, interval }
    }

    /// Until `stop`. Owned by the service; nobody waits for it.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Seen::default();
        let (mut bind_at, mut rooms_at) = (Instant::now(), Instant::now());
        let mut pending: Vec<Change> = Vec::new();
        loop {
            ticks.tick().await;
            self.gateway.end_typing();
            // While what was seen can't be told nothing more is looked at: that bounds it.
            if pending.is_empty() {
                let mut moments = self.gateway.online_moments(self.grace);
                if Instant::now() >= rooms_at {
                    rooms_at = Instant::now() + self.interval;
                    moments.extend(self.gateway.room_moments(&mut seen));
                }
                pending = moments.into_iter().map(|moment| self.change(moment)).collect();
            }
            let Some(position) = self.gateway.position().filter(|_| !pending.is_empty()) else { continue };
            if Instant::now() >= bind_at {
                bind_at = Instant::now() + REBIND_INTERVAL;
                self.engine.bind(&Tables::default()).await;
            }
            let page = Page { changes: std::mem::take(&mut pending), position, tables: Arc::default() };
            match self.engine.evaluate(&page).await {
                Ok(evaluated) => {
                    self.hand_on(&evaluated);
                    if !evaluated.failures.is_empty() {
                        bind_at = Instant::now();
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "what the gateway saw can't be told now; trying again");
                    pending = page.changes;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn change(&self, Moment { table, op, old, new }: Moment) -> Change {
        let (id, xid) = self.gateway.next_moment_id();
        Change { id, xid, at: Utc::now(), table, op, old, new, actor: None }
    }

    fn hand_on(&self, evaluated: &Evaluated) {
        for failure in &evaluated.failures {
            tracing::warn!(rule = %failure.rule, error = failure.error, "a rule failed on what the gateway saw");
        }
        evaluated.events.iter().for_each(|event| self.gateway.deliver(event));
    }
}
