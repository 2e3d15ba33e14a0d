//! Announcements: a row of the inbox for all users, all sellers or all buyers becomes a notification for each of them.
//!
//! Beside the way of a change, and a little at a time: the notifications of a hundred thousand users are a hundred thousand
//! changes, and nobody else's event shall wait for them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::{Catalog, Runnable},
    gateway::Gateway,
    inbox::{Announcement, Inbox},
    pool,
};

/// How often it is looked whether there is one.
const INTERVAL: Duration = Duration::from_millis(500);
/// So many notifications are written at once, and then a pause: about 5,000 a second.
const BATCH: usize = 200;
const PAUSE: Duration = Duration::from_millis(30);

/// Everything that announcements need.
pub struct Announcements {
    pub catalog: Arc<Catalog>,
    pub pool: PgPool,
    pub gateway: Gateway,
}

impl Announcements {
    /// Until `stop`. An announcement that is broken off is begun again at the next start: who has it already gets no
    /// second one.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(&self) {
        let inbox = Inbox::new(self.pool.clone());
        let mut complaint = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            if self.gateway.is_standing_by() || self.gateway.position().is_none() {
                continue;
            }
            let reason = self.tell_next(&inbox).await.err();
            if reason != complaint {
                if let Some(reason) = &reason {
                    tracing::warn!(reason, "an announcement could not be told; trying again");
                }
                complaint = reason;
            }
        }
    }

    async fn tell_next(&self, inbox: &Inbox) -> Result<(), String> {
        let Some(announcement) = pool::in_time(inbox.untold()).await.map_err(|error| error.to_string())? else {
            return Ok(());
        };
        let runnable = self.catalog.recipients_of_announcements(&self.pool).await?;
        let user_ids = recipients(&runnable, &self.pool, &announcement).await?;
        for batch in user_ids.chunks(BATCH) {
            pool::in_time(inbox.tell(&announcement, batch)).await.map_err(|error| error.to_string())?;
            tokio::time::sleep(PAUSE).await;
        }
        pool::in_time(inbox.told(&announcement)).await.map_err(|error| error.to_string())?;
        tracing::info!(id = announcement.id, audience = announcement.audience, users = user_ids.len(), "announced");
        Ok(())
    }
}

async fn recipients(runnable: &Runnable, pool: &PgPool, to: &Announcement) -> Result<Vec<String>, String> {
    let rows = runnable.rows(pool, &[&to.audience]).await.map_err(|error| error.to_string())?;
    let user_id = |row: &crate::change::Row| -> Option<String> {
        let json = row.get("user_id")?.get();
        // An id may be a number.
        serde_json::from_str::<Option<String>>(json).unwrap_or_else(|_| Some(json.to_owned()))
    };
    let distinct: BTreeSet<String> = rows.iter().filter_map(|(_, row)| user_id(row)).collect();
    Ok(distinct.into_iter().collect())
}
