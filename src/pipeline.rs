//! The one way of a change to a client: capture's pages through the catalog's rules to the gateway's rooms.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use sqlx::PgPool;

use crate::{
    auth::Concerns,
    capture::{Sink, SinkError},
    catalog::{Catalog, Engine, Evaluated, Failure, Inactive},
    change::{Op, Page, TableName, Tables},
    dead_letter::{Again, DeadLetters, Grave},
    failpoint::{self, Failpoint},
    gateway::{Gateway, Policy},
    identity::{Concern, Identity},
    inbox::Inbox,
    journal::Journal,
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

/// Takes pages from capture, and hands events to the gateway.
pub struct Pipeline {
    engine: Engine,
    gateway: Gateway,
    metrics: Arc<Metrics>,
    journal: Arc<Journal>,
    /// Whose sign-in a change concerns.
    concerns: Concerns,
    inbox: Inbox,
    letters: DeadLetters,
    /// What the page at hand has delivered already, if its notifications could not be written and it comes again.
    delivered: HashSet<String>,
    /// When the rules were last bound to the tables.
    bound_at: Instant,
    /// The rules that were inactive then, and what sign-ins lacked.
    told: Option<(Vec<Inactive>, Vec<String>)>,
}

impl Sink for Pipeline {
    async fn page(&mut self, page: Page) -> Result<(), SinkError> {
        page.changes.iter().for_each(|change| self.journal.swept(change));
        // Before the events are made, so that who may hear them no longer is asked about meanwhile.
        for concern in page.changes.iter().flat_map(|change| self.concerns.of(change)) {
            self.gateway.doubt(&concern);
        }
        let mut evaluated = self.evaluate(&page).await?;
        if !evaluated.failures.is_empty() && self.bound_at.elapsed() > REBIND_INTERVAL {
            // The table of a lookup may have gone: bound anew, the rules do without it.
            self.bind(&page.tables).await;
            evaluated = self.evaluate(&page).await?;
        }
        self.bury(&page, &evaluated, &evaluated.failures).await?;
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
        let refused = self.notify(&page, &evaluated).await?;
        self.settle_again(&evaluated, &refused).await?;
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
        // Among what was lost may be the end of a sign-in.
        self.gateway.doubt(&Concern::Everybody);
        // What was told and is gone may be told anew, under the same ids, as something else.
        self.delivered.clear();
        self.gateway.forget_position();
        self.gateway.resync(reason);
    }
}

impl Pipeline {
    /// No rule is live until capture has told of the tables.
    pub fn new(
        engine: Engine,
        gateway: Gateway,
        metrics: Arc<Metrics>,
        journal: Arc<Journal>,
        concerns: Concerns,
        pool: PgPool,
    ) -> Self {
        let (inbox, letters) = (Inbox::new(pool.clone()), DeadLetters::new(pool));
        let (delivered, bound_at) = (HashSet::new(), Instant::now());
        Self { engine, gateway, metrics, journal, concerns, inbox, letters, delivered, bound_at, told: None }
    }

    /// Writes the page's notifications. They come after the events, which need not wait for them, and before the cursor
    /// moves on: so none is forgotten, and what comes again is known by its id. Gives back, buried, what the database will
    /// never take.
    async fn notify(&mut self, page: &Page, evaluated: &Evaluated) -> Result<Vec<Failure>, SinkError> {
        if evaluated.inbox.is_empty() {
            self.forget_delivered(evaluated);
            return Ok(Vec::new());
        }
        let refused = pool::in_time(self.inbox.write(&evaluated.inbox)).await.map_err(|error| {
            self.remember_delivered(evaluated);
            SinkError(format!("notifications can't be written: {error}"))
        })?;
        self.forget_delivered(evaluated);
        for event in &evaluated.inbox {
            self.metrics.notifications.with_label_values(&[&event.kind]).inc();
        }
        let refused = refused.into_iter().map(|refused| Failure {
            change_id: refused.event.change_id,
            rule: refused.event.rule.clone(),
            error: refused.reason,
        });
        let refused: Vec<Failure> = refused.collect();
        self.bury(page, evaluated, &refused).await?;
        Ok(refused)
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
        let told = (inactive, unseen(&self.concerns, tables));
        if self.told.as_ref() == Some(&told) {
            return;
        }
        let (inactive, unseen) = &*self.told.insert(told);
        self.metrics.rules_inactive.set(inactive.len() as i64);
        for rule in inactive {
            tracing::warn!(rule = %rule.rule, event = %rule.event, table = %rule.table, reason = %rule.reason, "inactive rule");
        }
        for warning in unseen {
            tracing::warn!("{warning}");
        }
        let tables = tables.iter().count();
        tracing::info!(tables, inactive = inactive.len(), "rules are bound to the watched tables");
    }

    /// Keeps changes that rules failed on, with the reasons; the other rules and changes go on.
    async fn bury(&self, page: &Page, evaluated: &Evaluated, failures: &[Failure]) -> Result<(), SinkError> {
        if failures.is_empty() {
            return Ok(());
        }
        let mut graves = Vec::with_capacity(failures.len());
        for Failure { change_id, rule, error } in failures {
            let swept = page.changes.iter().find(|change| change.id == *change_id);
            let again = evaluated.again.iter().filter_map(|again| again.change.as_ref().ok());
            let Some(change) = swept.or_else(|| again.into_iter().find(|change| change.id == *change_id)) else {
                continue;
            };
            // The error may hold values of the row: they belong in the table, not in a log.
            tracing::warn!(change = change_id, table = %change.table, %rule, "a rule failed on a change; see rowcast dead-letter list");
            self.journal.failed(*change_id, rule);
            graves.push(Grave { change, rule, error });
        }
        self.metrics.dead_letters.inc_by(graves.len() as u64);
        let unwritten = |error| SinkError(format!("rowcast.dead_letter can't be written: {error}"));
        self.letters.bury(&graves).await.map_err(unwritten)
    }

    /// Dead letters that were tried again and did no harm this time are gone; the others have been buried anew.
    async fn settle_again(&self, evaluated: &Evaluated, refused: &[Failure]) -> Result<(), SinkError> {
        let failed = |again: &&Again| {
            let mut failures = evaluated.failures.iter().chain(refused);
            failures.any(|it| it.change_id == again.change_id && it.rule == again.rule)
        };
        let told: Vec<i64> = evaluated.again.iter().filter(|it| !failed(it)).map(|it| it.letter).collect();
        let unreadable = evaluated.again.iter().filter_map(|again| Some((again.letter, again.change.as_ref().err()?)));
        let unwritten = |error| SinkError(format!("rowcast.dead_letter can't be written: {error}"));
        for (letter, reason) in unreadable {
            self.letters.refuse(letter, reason).await.map_err(unwritten)?;
        }
        if told.is_empty() {
            return Ok(());
        }
        self.letters.told(&told).await.map_err(unwritten)
    }
}

/// What is not captured, though sign-ins rest on it, with the command that mends it.
fn unseen(concerns: &Concerns, tables: &Tables) -> Vec<String> {
    let warning = |(table, needed): (&TableName, Vec<&str>)| {
        let Some(watched) = tables.get(table) else {
            return Some(format!(
                "{table} is not watched, though sign-ins rest on it: what changes there takes effect for who is connected only when their sign-in is confirmed by routine ([gateway] confirm_interval). To mend that: {}",
                concerns.remedy(table, &[])
            ));
        };
        let lacks = |column: &&str| !watched.columns.contains_key(*column);
        let missing: Vec<&str> = needed.into_iter().filter(lacks).collect();
        let captured: Vec<&str> = watched.columns.keys().map(|column| &**column).collect();
        (!missing.is_empty()).then(|| {
            format!(
                "{table} is watched without {}, though sign-ins rest on it: a change there may have everybody's sign-in confirmed, or go unnoticed until it is by routine. To mend that: {}",
                missing.join(", "),
                concerns.remedy(table, &captured)
            )
        })
    };
    concerns.needs().filter_map(warning).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::{AuthConfig, Mode},
        change::{Column, Table},
    };

    #[test]
    fn a_table_that_sign_ins_rest_on_and_does_not_show_whom_a_change_is_about_is_named_with_the_command_that_mends_it()
    {
        let mut config = AuthConfig::default();
        config.session.table = "app_sessions".to_owned().try_into().expect("a name");
        config.identity.changes = [("accounts".to_owned().try_into().expect("a name"), "id".to_owned())].into();
        let concerns = Concerns::new(&config, &[Mode::Session]);
        let unseen = |watched: &[(&str, &[&str])]| {
            let table = |columns: &[&str]| Table {
                captured: true,
                columns: columns.iter().map(|column| ((*column).into(), Column::default())).collect(),
                ..Table::default()
            };
            let tables = watched.iter().map(|(name, columns)| (TableName::new("public", name), table(columns)));
            unseen(&concerns, &tables.collect())
        };
        let sessions: (&str, &[&str]) = ("app_sessions", &["expire", "sess", "sid"]);
        assert_eq!(unseen(&[sessions, ("accounts", &["id", "role"])]), Vec::<String>::new());
        let nothing = unseen(&[]);
        assert!(nothing[0].ends_with("rowcast watch app_sessions --only sid expire --digest sess"), "{nothing:?}");
        assert!(nothing[1].contains("rowcast watch accounts --only id COLUMN …"), "{nothing:?}");
        let in_part = unseen(&[("app_sessions", &["expire", "sid"]), ("accounts", &["role"])]);
        assert!(in_part[0].contains("without sess") && in_part[0].ends_with(" --digest sess"), "{in_part:?}");
        assert!(in_part[1].contains("without id") && in_part[1].ends_with("accounts --only id role"), "{in_part:?}");
    }
}
