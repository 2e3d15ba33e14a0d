//! The one way of a change to a client: capture's pages through the catalog's rules to the gateway's rooms.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use serde_json::{json, value::RawValue};
use sqlx::PgPool;

use crate::{
    capture::{Sink, SinkError},
    catalog::{Catalog, Engine, Evaluated, Failure, Inactive},
    change::{Change, Op, Page, Row, Tables},
    failpoint::{self, Failpoint},
    gateway::{Gateway, Policy},
    identity::Identity,
    inbox::Inbox,
    metrics::Metrics,
    pool,
    position::Position,
    room::Room,
};

/// How long a page may take, its lookups included.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// So many events go to the sockets' buffers without a pause.
const EVENTS_AT_A_STRETCH: usize = 32;

/// Rules that fail are bound anew no more often than this.
const REBIND_INTERVAL: Duration = Duration::from_secs(2);

const DEAD_LETTER: &str = "
insert into rowcast.dead_letter (change_id, rule, error, change) values ($1, $2, $3, $4)
on conflict (change_id, rule) do update set error = excluded.error, at = now()";

/// Takes pages from capture, and hands events to the gateway.
pub struct Pipeline {
    engine: Engine,
    gateway: Gateway,
    metrics: Arc<Metrics>,
    inbox: Inbox,
    /// For dead letters.
    pool: PgPool,
    /// What the page at hand has delivered already, if its notifications could not be written and it comes again.
    delivered: HashSet<String>,
    /// When the rules were last bound to the tables.
    bound_at: Instant,
    /// The rules that were inactive then.
    inactive: Option<Vec<Inactive>>,
}

impl Sink for Pipeline {
    async fn page(&mut self, page: Page) -> Result<(), SinkError> {
        let mut evaluated = self.evaluate(&page).await?;
        if !evaluated.failures.is_empty() && self.bound_at.elapsed() > REBIND_INTERVAL {
            // The table of a lookup may have gone: bound anew, the rules do without it.
            self.bind(&page.tables).await;
            evaluated = self.evaluate(&page).await?;
        }
        for failure in &evaluated.failures {
            self.bury(&page, failure).await?;
        }
        for (number, event) in evaluated.events.iter().filter(|event| !self.delivered.contains(&event.id)).enumerate() {
            if number % EVENTS_AT_A_STRETCH == 0 {
                // The sockets' writers get a turn, so that a client that reads isn't taken for one that doesn't.
                tokio::task::yield_now().await;
            }
            self.gateway.deliver(event);
            let latency = (Utc::now() - event.at).to_std().unwrap_or_default();
            self.metrics.commit_to_emit_seconds.observe(latency.as_secs_f64());
        }
        failpoint::hit(Failpoint::Delivered).map_err(|hit| {
            self.remember_delivered(&evaluated);
            SinkError(hit.to_string())
        })?;
        self.notify(&page, &evaluated).await?;
        if let Some(truncated) = page.changes.iter().find(|change| change.op == Op::Truncate) {
            tracing::info!(table = %truncated.table, "a table was truncated; clients are told to load anew");
            self.gateway.resync("a table was truncated");
        }
        Ok(())
    }

    fn swept(&mut self, position: Position) {
        self.gateway.set_position(position);
    }

    async fn tables(&mut self, tables: &Arc<Tables>) {
        self.bind(tables).await;
    }

    fn standing_by(&mut self, standing_by: bool) {
        self.gateway.stand_by(standing_by);
    }

    fn resync(&mut self, reason: &str) {
        self.gateway.resync(reason);
    }
}

impl Pipeline {
    /// No rule is live until capture has told of the tables.
    pub fn new(engine: Engine, gateway: Gateway, metrics: Arc<Metrics>, pool: PgPool) -> Self {
        let inbox = Inbox::new(pool.clone());
        let delivered = HashSet::new();
        Self { engine, gateway, metrics, inbox, pool, delivered, bound_at: Instant::now(), inactive: None }
    }

    /// Writes the page's notifications. They come after the events, which need not wait for them, and before the cursor
    /// moves on: so none is forgotten, and what comes again is known by its id.
    async fn notify(&mut self, page: &Page, evaluated: &Evaluated) -> Result<(), SinkError> {
        if evaluated.inbox.is_empty() {
            self.forget_delivered(evaluated);
            return Ok(());
        }
        let refused = pool::in_time(self.inbox.write(&evaluated.inbox)).await.map_err(|error| {
            self.remember_delivered(evaluated);
            SinkError(format!("notifications can't be written: {error}"))
        })?;
        self.forget_delivered(evaluated);
        for event in &evaluated.inbox {
            self.metrics.notifications.with_label_values(&[&event.kind]).inc();
        }
        for refused in refused {
            let (change_id, rule) = (refused.event.change_id, refused.event.rule.clone());
            self.bury(page, &Failure { change_id, rule, error: refused.reason }).await?;
        }
        Ok(())
    }

    /// The page will come again, and its events are not for sending twice.
    fn remember_delivered(&mut self, evaluated: &Evaluated) {
        self.delivered.extend(evaluated.events.iter().map(|event| event.id.clone()));
    }

    /// The page is done with, and what it delivered won't come again. The page that failed may have been another one, so the
    /// rest stays known.
    fn forget_delivered(&mut self, evaluated: &Evaluated) {
        if !self.delivered.is_empty() {
            for event in &evaluated.events {
                self.delivered.remove(&event.id);
            }
        }
    }

    async fn evaluate(&mut self, page: &Page) -> Result<Evaluated, SinkError> {
        tokio::time::timeout(PAGE_TIMEOUT, self.engine.evaluate(page))
            .await
            .map_err(|_| SinkError(format!("its lookups took longer than {PAGE_TIMEOUT:?}")))?
            .map_err(|error| SinkError(error.to_string()))
    }

    async fn bind(&mut self, tables: &Tables) {
        let inactive = self.engine.bind(tables).await;
        self.bound_at = Instant::now();
        if self.inactive.as_ref() == Some(&inactive) {
            return;
        }
        self.metrics.rules_inactive.set(inactive.len() as i64);
        for rule in &inactive {
            tracing::warn!(rule = %rule.rule, event = %rule.event, table = %rule.table, reason = %rule.reason, "inactive rule");
        }
        let tables = tables.iter().count();
        tracing::info!(tables, inactive = inactive.len(), "rules are bound to the watched tables");
        self.inactive = Some(inactive);
    }

    /// Keeps a change that a rule failed on, with the reason; the other rules and changes go on.
    async fn bury(&self, page: &Page, failure: &Failure) -> Result<(), SinkError> {
        let Some(change) = page.changes.iter().find(|change| change.id == failure.change_id) else { return Ok(()) };
        // The error may hold values of the row: they belong in the table, not in a log.
        tracing::warn!(change = change.id, table = %change.table, rule = %failure.rule, "a rule failed on a change; see rowcast.dead_letter");
        self.metrics.dead_letters.inc();
        for letter in [letter(change), json!({ "id": change.id, "table": change.table.to_string() })] {
            let written = sqlx::query(DEAD_LETTER)
                .bind(change.id)
                .bind(&*failure.rule)
                .bind(&failure.error)
                .bind(sqlx::types::Json(letter))
                .execute(&self.pool);
            match pool::in_time(written).await {
                Ok(_) => return Ok(()),
                // Such as text that jsonb can't hold; then its id has to do.
                Err(error) if error.as_database_error().is_some() => {
                    tracing::error!(change = change.id, rule = %failure.rule, %error, "a dead letter was refused");
                }
                Err(error) => return Err(SinkError(format!("rowcast.dead_letter can't be written: {error}"))),
            }
        }
        Ok(())
    }
}

/// A change as the dead letter keeps it.
fn letter(change: &Change) -> serde_json::Value {
    let side = |row: &Option<Row>| -> serde_json::Value {
        let parse = |value: &RawValue| serde_json::from_str(value.get()).unwrap_or_default();
        row.as_ref().map_or(serde_json::Value::Null, |row| {
            row.columns().map(|(name, value)| (name.to_owned(), parse(value))).collect::<serde_json::Map<_, _>>().into()
        })
    };
    json!({
        "id": change.id, "xid": change.xid.to_string(), "at": change.at, "table": change.table.to_string(),
        "op": change.op.as_sql(), "old": side(&change.old), "new": side(&change.new), "actor": change.actor,
    })
}

/// The catalog decides who may be in which room.
impl Policy for Catalog {
    fn may_join(&self, identity: &Identity, room: &Room) -> bool {
        Catalog::may_join(self, identity, room)
    }

    fn own_rooms(&self, identity: &Identity) -> Vec<Room> {
        Catalog::own_rooms(self, identity)
    }

    fn rooms_for_message(
        &self,
        name: &str,
        identity: &Identity,
        payload: &serde_json::Value,
    ) -> Result<Vec<Room>, String> {
        self.room_for_message(identity, name, payload).map_err(|error| error.to_string())
    }

    fn waiting_rooms(&self) -> Vec<String> {
        self.waiting_lists().iter().map(|list| list.rooms.clone()).collect()
    }
}
