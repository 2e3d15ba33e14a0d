//! What a returning client missed: the history of the change log through the catalog's rules as they are now.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use sqlx::PgPool;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    capture::{CaptureError, History},
    catalog::{Catalog, Engine, Unavailable},
    change::{Op, Tables},
    database_url::Target,
    event::Event,
    failpoint::{self, Failpoint},
    gateway::Replay,
    position::Position,
};

/// How many clients are brought up to date at once; each costs a connection to the database. Others wait their turn.
const AT_ONCE: usize = 4;

/// Beyond so many changes a client loads faster than it is told.
const MOST_CHANGES: usize = 200_000;
/// The first pause after a failure of the database; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(2);

/// Replays the log for the gateway.
pub struct Replays {
    database: Target,
    catalog: Arc<Catalog>,
    pool: PgPool,
    turns: Semaphore,
    /// Those that rest; as many as there ever were at once.
    idle: Mutex<Vec<Replayer>>,
}

/// A connection and an engine of its own, so that no replay holds up the live events.
struct Replayer {
    history: History,
    engine: Engine,
    bound_to: Option<Arc<Tables>>,
}

impl Replays {
    pub fn new(database: Target, catalog: Arc<Catalog>, pool: PgPool) -> Self {
        Self { database, catalog, pool, turns: Semaphore::new(AT_ONCE), idle: Mutex::default() }
    }

    fn replayer(&self) -> Replayer {
        let idle = self.idle.lock().expect("no panic under the lock").pop();
        idle.unwrap_or_else(|| Replayer {
            history: History::new(self.database.clone()),
            engine: Engine::of_the_past(self.catalog.clone(), self.pool.clone()),
            bound_to: None,
        })
    }
}

impl Replay for Replays {
    fn replay(&self, since: Position, events: mpsc::Sender<Vec<Event>>) -> BoxFuture<'_, Result<Position, String>> {
        async move {
            let _turn = self.turns.acquire().await.expect("never closed");
            let mut replayer = self.replayer();
            let mut pause = RETRY_FIRST;
            let outcome = loop {
                match replayer.replay(since, &events).await {
                    Ok(outcome) => break outcome,
                    // Begun again, what came already comes twice; its ids are known. The gateway gives up in the end.
                    Err(error) => tracing::warn!(error, "what a client missed could not be read; trying again"),
                }
                replayer.history.give_up_connection();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_LAST);
            };
            self.idle.lock().expect("no panic under the lock").push(replayer);
            outcome
        }
        .boxed()
    }
}

impl Replayer {
    /// The inner error is the client's, the outer ours.
    async fn replay(
        &mut self,
        since: Position,
        events: &mpsc::Sender<Vec<Event>>,
    ) -> Result<Result<Position, String>, String> {
        let ours = |error: CaptureError| error.to_string();
        let mut history = match self.history.since(since).await.map_err(ours)? {
            Ok(history) => history,
            Err(unknown) => return Ok(Err(unknown.to_string())),
        };
        if self.bound_to.as_ref() != Some(history.tables()) {
            self.engine.bind(history.tables()).await;
            self.bound_to = Some(Arc::clone(history.tables()));
        }
        let (mut changes, mut bound_anew) = (0, false);
        while let Some(page) = history.next().await.map_err(ours)? {
            if page.changes.iter().any(|change| change.op == Op::Truncate) {
                return Ok(Err("a table was truncated".to_owned()));
            }
            changes += page.changes.len();
            failpoint::hit(Failpoint::Replaying).map_err(|hit| hit.to_string())?;
            if changes > MOST_CHANGES {
                return Ok(Err("more happened since than is told one by one".to_owned()));
            }
            let unavailable = |error: Unavailable| error.to_string();
            let mut evaluated = self.engine.evaluate(&page).await.map_err(unavailable)?;
            if !evaluated.failures.is_empty() && !bound_anew {
                // The table of a lookup may have gone. What fails all the same is in the dead letter since it was swept.
                self.engine.bind(history.tables()).await;
                bound_anew = true;
                evaluated = self.engine.evaluate(&page).await.map_err(unavailable)?;
            }
            if !evaluated.events.is_empty() && events.send(evaluated.events).await.is_err() {
                return Ok(Err("the client has gone".to_owned()));
            }
            // The live events go before.
            tokio::task::yield_now().await;
        }
        Ok(history.finish().await.map_err(ours)?.map_err(|unknown| unknown.to_string()))
    }
}
