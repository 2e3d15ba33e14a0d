//! Announcements: a row of the inbox for all users, all sellers or all buyers becomes a notification for each of them.
//!
//! Beside the way of a change, and a little at a time: the notifications of a hundred thousand users are a hundred thousand
//! changes, and nobody else's event shall wait for them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::{
    catalog::Catalog,
    gateway::Gateway,
    inbox::{Announcement, Inbox},
    pool,
};

/// How often it is looked whether there is one.
const INTERVAL: Duration = Duration::from_millis(500);
/// So many recipients are asked for, and told, until another announcement has its turn.
const TURN: usize = 5000;
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
    /// Until `stop`. An announcement that is broken off goes on where it was at the next start; who has it already gets
    /// no second one.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.watch() => {}
        }
    }

    /// They take turns, the oldest first: one that takes long, or can't be told, holds up no other.
    async fn watch(&self) {
        let inbox = Inbox::new(self.pool.clone());
        let mut complaints: HashMap<String, String> = HashMap::new();
        let mut last: Option<String> = None;
        loop {
            // The whole round has been had, or there is none.
            if last.is_none() {
                tokio::time::sleep(INTERVAL).await;
            }
            if self.gateway.is_standing_by() || self.gateway.position().is_none() {
                last = None;
                continue;
            }
            let next = match pool::in_time(inbox.untold(last.as_deref())).await {
                Ok(next) => next,
                Err(error) => {
                    complain(&mut complaints, "", Some(error.to_string()));
                    last = None;
                    continue;
                }
            };
            complain(&mut complaints, "", None);
            let Some(announcement) = next else {
                if last.take().is_none() {
                    complaints.clear();
                }
                continue;
            };
            let outcome = self.turn(&inbox, &announcement).await;
            complain(&mut complaints, &announcement.id, outcome.err());
            last = Some(announcement.id);
        }
    }

    /// Tells the next of its recipients.
    async fn turn(&self, inbox: &Inbox, announcement: &Announcement) -> Result<(), String> {
        let runnable = self.catalog.recipients_of_announcements(&self.pool).await?;
        let key = &announcement.audience;
        let page = runnable.page(&self.pool, key, "user_id", announcement.told_to.as_deref(), TURN).await;
        let user_ids = page.map_err(|error| error.to_string())?;
        for batch in user_ids.chunks(BATCH) {
            pool::in_time(inbox.tell(announcement, batch)).await.map_err(|error| error.to_string())?;
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(last) = user_ids.last().filter(|_| user_ids.len() == TURN) {
            return pool::in_time(inbox.told_to(announcement, last)).await.map_err(|error| error.to_string());
        }
        pool::in_time(inbox.told(announcement)).await.map_err(|error| error.to_string())?;
        tracing::info!(id = announcement.id, audience = announcement.audience, "announced");
        Ok(())
    }
}

/// Says once what is wrong with an announcement.
fn complain(complaints: &mut HashMap<String, String>, about: &str, reason: Option<String>) {
    let Some(reason) = reason else {
        complaints.remove(about);
        return;
    };
    if complaints.get(about) != Some(&reason) {
        tracing::warn!(id = about, reason, "an announcement could not be told; trying again");
        complaints.insert(about.to_owned(), reason);
    }
}
