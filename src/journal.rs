//! The journal: what the service remembers for a while of changes, events and clients, so that it can be told why somebody
//! heard something, or didn't. It is in memory, and bounded; it decides nothing.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    change::{Change, Op, TableName},
    event::Event,
    position::Position,
    room::Room,
};

/// `[journal]`: how much is remembered.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// How many changes, with their events; 0 for none.
    pub changes: usize,
    /// How many rooms of events and deliveries to sockets in all: an event for a hundred rooms that reached a thousand sockets
    /// is 1,100. A delivery takes 8 bytes; a room some 50, whether or not
    /// somebody is in it.
    pub deliveries: usize,
    /// How many things that happened to clients; 0 for none.
    pub happenings: usize,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { changes: 20_000, deliveries: 1_000_000, happenings: 20_000 }
    }
}

/// A connection's number, which is never given twice while the service runs.
pub type Socket = u64;

/// A change that was swept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SweptChange {
    pub id: i64,
    pub xid: String,
    pub table: String,
    pub op: String,
    /// When the row was written, by the database's clock.
    pub written_at: DateTime<Utc>,
    /// When the service had it in hand.
    pub swept_at: DateTime<Utc>,
    pub events: Vec<SentEvent>,
    /// Rules that failed on it; the reasons are in the dead letter.
    pub failed_rules: Vec<String>,
}

/// An event, and whom it reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentEvent {
    pub id: String,
    pub kind: String,
    pub rule: String,
    pub at: DateTime<Utc>,
    /// The rooms of each audience, the most privileged first.
    pub audiences: Vec<Vec<String>>,
    /// Into whose buffers it was put.
    pub reached: Vec<Socket>,
    /// Who had no room left in the buffer, and so was cut.
    pub over_buffer: Vec<Socket>,
}

/// Something that happened to a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    pub at: DateTime<Utc>,
    pub socket: Socket,
    /// `None` for a visitor.
    pub user_id: Option<String>,
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum What {
    /// It is in these rooms from then on; and with the position that it came back with.
    Connected {
        rooms: Vec<String>,
        since: Option<String>,
    },
    Joined {
        rooms: Vec<String>,
        since: Option<String>,
    },
    Left {
        rooms: Vec<String>,
    },
    /// It asked to be in a room that it may not be in.
    Refused {
        room: String,
    },
    /// It has been told all that it missed.
    Resumed {
        rooms: Vec<String>,
        replayed: usize,
    },
    /// It was told to load anew.
    Resync {
        reason: String,
    },
    /// The connection has ended; why, if the server ended it.
    Gone {
        reason: Option<String>,
    },
}

impl What {
    pub fn connected(rooms: &[Room], since: Option<Position>) -> Self {
        Self::Connected { rooms: names(rooms), since: since.map(|since| since.to_string()) }
    }

    pub fn joined(rooms: &[Room], since: Option<Position>) -> Self {
        Self::Joined { rooms: names(rooms), since: since.map(|since| since.to_string()) }
    }

    pub fn left(rooms: &[Room]) -> Self {
        Self::Left { rooms: names(rooms) }
    }

    pub fn resync(reason: &str) -> Self {
        Self::Resync { reason: reason.to_owned() }
    }

    pub fn resumed(rooms: &[Room], replayed: usize) -> Self {
        Self::Resumed { rooms: names(rooms), replayed }
    }
}

fn names(rooms: &[Room]) -> Vec<String> {
    rooms.iter().map(Room::to_string).collect()
}

/// A change as it is kept: cheap to make, since every change is.
#[derive(Debug)]
struct Kept {
    id: i64,
    xid: u64,
    table: TableName,
    op: Op,
    written_at: DateTime<Utc>,
    swept_at: DateTime<Utc>,
    events: Vec<KeptEvent>,
    failed_rules: Vec<Arc<str>>,
}

#[derive(Debug)]
struct KeptEvent {
    id: String,
    kind: Arc<str>,
    rule: Arc<str>,
    at: DateTime<Utc>,
    audiences: Vec<Vec<Room>>,
    reached: Vec<Socket>,
    over_buffer: Vec<Socket>,
}

impl Kept {
    fn told(&self) -> SweptChange {
        SweptChange {
            id: self.id,
            xid: self.xid.to_string(),
            table: self.table.to_string(),
            op: self.op.as_sql().to_owned(),
            written_at: self.written_at,
            swept_at: self.swept_at,
            events: self.events.iter().map(KeptEvent::told).collect(),
            failed_rules: self.failed_rules.iter().map(|rule| rule.to_string()).collect(),
        }
    }
}

impl KeptEvent {
    /// Its part of [`JournalConfig::deliveries`].
    fn weight(&self) -> usize {
        self.reached.len() + self.audiences.iter().map(Vec::len).sum::<usize>()
    }

    fn told(&self) -> SentEvent {
        SentEvent {
            id: self.id.clone(),
            kind: self.kind.to_string(),
            rule: self.rule.to_string(),
            at: self.at,
            audiences: self.audiences.iter().map(|rooms| names(rooms)).collect(),
            reached: self.reached.clone(),
            over_buffer: self.over_buffer.clone(),
        }
    }
}

/// What is remembered.
#[derive(Debug)]
pub struct Journal {
    limits: JournalConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    changes: VecDeque<Kept>,
    /// Where in `changes` each is, counted from the first that ever was.
    places: HashMap<i64, usize>,
    /// How many of them have been forgotten.
    forgotten: usize,
    /// The weight of all their events.
    deliveries: usize,
    happenings: VecDeque<Happening>,
    /// What was forgotten is older than this.
    happenings_since: Option<DateTime<Utc>>,
}

/// What is asked of the journal; what is left out doesn't matter.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub change: Option<i64>,
    /// An event's `metadata.id`.
    pub event: Option<String>,
    pub user: Option<String>,
    /// Of what happened to clients only what is not older.
    pub since: Option<DateTime<Utc>>,
}

/// What the journal knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The oldest and the newest change that it remembers.
    pub changes_from: Option<i64>,
    pub changes_to: Option<i64>,
    /// Of clients it knows everything since then.
    pub happenings_since: Option<DateTime<Utc>>,
    pub changes: Vec<SweptChange>,
    /// What happened to the user's connections, or to those that the events reached.
    pub happenings: Vec<Happening>,
    /// Each of the user's connections that was open when an event was sent: the rooms that it was in then.
    pub present: Vec<Present>,
}

/// A connection at the time of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Present {
    pub event: String,
    pub socket: Socket,
    pub rooms: BTreeSet<String>,
}

/// So much is answered at the most.
const MOST_ANSWERED: usize = 500;

impl Journal {
    pub fn new(limits: JournalConfig) -> Self {
        Self { limits, state: Mutex::new(State { happenings_since: Some(Utc::now()), ..State::default() }) }
    }

    /// Remembers that a change was swept, before its events are sent.
    pub fn swept(&self, change: &Change) {
        if self.limits.changes == 0 || change.op == Op::Truncate {
            return;
        }
        let mut state = self.state();
        state.keep(change.id, change.xid, &change.table, change.op, change.at);
        state.forget_changes(&self.limits);
    }

    /// Remembers that a rule failed on a change.
    pub fn failed(&self, change_id: i64, rule: &Arc<str>) {
        if let Some(change) = self.state().change(change_id) {
            change.failed_rules.push(rule.clone());
        }
    }

    /// Remembers whom an event reached.
    pub fn sent(&self, event: &Event, reached: Vec<Socket>, over_buffer: Vec<Socket>) {
        if self.limits.changes == 0 {
            return;
        }
        let mut state = self.state();
        // A dead letter that is tried again may be of a change that was forgotten.
        let change = state.keep(event.change_id, event.xid, &event.table, event.op, event.at);
        let kept = KeptEvent {
            id: event.id.clone(),
            kind: event.kind.clone(),
            rule: event.rule.clone(),
            at: Utc::now(),
            audiences: event.audiences.iter().map(|audience| audience.rooms.clone()).collect(),
            reached,
            over_buffer,
        };
        let weight = kept.weight();
        change.events.push(kept);
        state.deliveries += weight;
        state.forget_changes(&self.limits);
    }

    pub fn happened(&self, socket: Socket, user_id: Option<&str>, what: What) {
        if self.limits.happenings == 0 {
            return;
        }
        let happening = Happening { at: Utc::now(), socket, user_id: user_id.map(str::to_owned), what };
        let mut state = self.state();
        state.happenings.push_back(happening);
        if state.happenings.len() > self.limits.happenings
            && let Some(forgotten) = state.happenings.pop_front()
        {
            state.happenings_since = Some(forgotten.at);
        }
    }

    pub fn answer(&self, question: &Question) -> Answer {
        let state = self.state();
        let wanted = |change: &&Kept| match (&question.change, &question.event) {
            (Some(id), _) => change.id == *id,
            (None, Some(event)) => change.events.iter().any(|sent| sent.id == *event),
            (None, None) => false,
        };
        let mut changes: Vec<SweptChange> =
            state.changes.iter().filter(wanted).take(MOST_ANSWERED).map(Kept::told).collect();
        if let Some(event) = &question.event {
            changes.iter_mut().for_each(|change| change.events.retain(|sent| sent.id == *event));
        }
        let reached: BTreeSet<Socket> =
            changes.iter().flat_map(|change| &change.events).flat_map(|event| &event.reached).copied().collect();
        let concerns = |happening: &&Happening| {
            let whose = match &question.user {
                Some(user) => happening.user_id.as_ref() == Some(user),
                None => reached.contains(&happening.socket) && matches!(happening.what, What::Connected { .. }),
            };
            whose && question.since.is_none_or(|since| happening.at >= since)
        };
        let mut happenings: Vec<Happening> =
            state.happenings.iter().rev().filter(concerns).take(MOST_ANSWERED).cloned().collect();
        happenings.reverse();
        let present = match &question.user {
            Some(user) => {
                changes.iter().flat_map(|change| &change.events).flat_map(|event| state.present(user, event)).collect()
            }
            None => Vec::new(),
        };
        Answer {
            changes_from: state.changes.front().map(|change| change.id),
            changes_to: state.changes.back().map(|change| change.id),
            happenings_since: state.happenings_since,
            changes,
            happenings,
            present,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

impl State {
    fn change(&mut self, id: i64) -> Option<&mut Kept> {
        let place = self.places.get(&id)?.checked_sub(self.forgotten)?;
        self.changes.get_mut(place)
    }

    /// A page that comes again is told of once.
    fn keep(&mut self, id: i64, xid: u64, table: &TableName, op: Op, written_at: DateTime<Utc>) -> &mut Kept {
        let place = self.places.get(&id).and_then(|place| place.checked_sub(self.forgotten));
        let place = place.filter(|place| self.changes.get(*place).is_some_and(|known| known.xid == xid));
        let place = place.unwrap_or_else(|| {
            self.places.insert(id, self.forgotten + self.changes.len());
            let (table, swept_at) = (table.clone(), Utc::now());
            let (events, failed_rules) = (Vec::new(), Vec::new());
            self.changes.push_back(Kept { id, xid, table, op, written_at, swept_at, events, failed_rules });
            self.changes.len() - 1
        });
        &mut self.changes[place]
    }

    fn forget_changes(&mut self, limits: &JournalConfig) {
        while self.changes.len() > limits.changes || self.deliveries > limits.deliveries {
            let Some(forgotten) = self.changes.pop_front() else { return };
            // A restored log hands out ids anew; then the id is another change's by now.
            if self.places.get(&forgotten.id) == Some(&self.forgotten) {
                self.places.remove(&forgotten.id);
            }
            self.forgotten += 1;
            self.deliveries -= forgotten.events.iter().map(KeptEvent::weight).sum::<usize>();
        }
    }

    /// The user's connections when the event was sent, and the rooms that they were in, as far as is remembered.
    fn present(&self, user: &str, event: &SentEvent) -> Vec<Present> {
        let mut open: HashMap<Socket, BTreeSet<String>> = HashMap::new();
        let before = self.happenings.iter().take_while(|happening| happening.at <= event.at);
        for happening in before.filter(|happening| happening.user_id.as_deref() == Some(user)) {
            let rooms = open.entry(happening.socket).or_default();
            match &happening.what {
                What::Connected { rooms: entered, .. } | What::Joined { rooms: entered, .. } => {
                    rooms.extend(entered.iter().cloned());
                }
                What::Left { rooms: left } => rooms.retain(|room| !left.contains(room)),
                What::Gone { .. } => {
                    open.remove(&happening.socket);
                }
                What::Refused { .. } | What::Resumed { .. } | What::Resync { .. } => {}
            }
        }
        let present = open.into_iter().map(|(socket, rooms)| Present { event: event.id.clone(), socket, rooms });
        present.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Audience, position::Seen};

    fn change(id: i64) -> Change {
        Change {
            id,
            xid: 9,
            at: Utc::now(),
            table: TableName::new("public", "products"),
            op: Op::Insert,
            old: None,
            new: None,
            actor: None,
        }
    }

    fn event(change: &Change) -> Event {
        Event {
            kind: "product:created".into(),
            id: Event::id(change, "product:created"),
            change_id: change.id,
            rule: "product:created".into(),
            at: change.at,
            actor: None,
            table: change.table.clone(),
            op: change.op,
            xid: change.xid,
            position: Position { system: 1, database: 2, seen: Seen::below(3) },
            subject: Arc::from([]),
            audiences: vec![Audience { rooms: vec![Room::new("product:1").unwrap()], data: Vec::new() }],
        }
    }

    fn about_user(journal: &Journal, event: &Event, user: &str) -> Answer {
        journal.answer(&Question { event: Some(event.id.clone()), user: Some(user.into()), ..Question::default() })
    }

    #[test]
    fn who_was_in_which_rooms_when_an_event_was_sent_is_told_afterwards() {
        let journal = Journal::new(JournalConfig::default());
        let room = |name: &str| Room::new(name).unwrap();
        journal.happened(1, Some("u1"), What::connected(&[room("user:u1")], None));
        journal.happened(1, Some("u1"), What::joined(&[room("product:1"), room("product:2")], None));
        journal.happened(1, Some("u1"), What::left(&[room("product:2")]));
        journal.happened(2, Some("u2"), What::connected(&[], None));
        journal.happened(2, Some("u2"), What::Gone { reason: Some("slow".into()) });
        let change = change(1);
        journal.swept(&change);
        journal.sent(&event(&change), vec![1], vec![]);
        journal.happened(1, Some("u1"), What::left(&[room("product:1")]));

        let answer = about_user(&journal, &event(&change), "u1");
        assert_eq!(answer.changes[0].events[0].reached, [1]);
        let rooms = ["product:1", "user:u1"].map(str::to_owned).into();
        assert_eq!(answer.present, [Present { event: event(&change).id, socket: 1, rooms }]);
        assert_eq!(answer.happenings.len(), 4);
        assert_eq!(about_user(&journal, &event(&change), "u2").present, []);
    }

    #[test]
    fn it_forgets_the_oldest_first_and_says_how_far_back_it_knows() {
        let journal = Journal::new(JournalConfig { changes: 3, deliveries: 7, happenings: 2 });
        for id in 1..=5 {
            journal.swept(&change(id));
            journal.sent(&event(&change(id)), vec![7, 8], vec![]);
        }
        let answer = journal.answer(&Question { change: Some(5), ..Question::default() });
        assert_eq!(
            (answer.changes_from, answer.changes_to),
            (Some(4), Some(5)),
            "two deliveries and a room each, of seven"
        );
        assert_eq!(answer.changes[0].events.len(), 1);
        assert!(journal.answer(&Question { change: Some(1), ..Question::default() }).changes.is_empty());
        let before = journal.answer(&Question::default()).happenings_since;
        for _ in 0..3 {
            journal.happened(1, Some("u"), What::Gone { reason: None });
        }
        let answer = journal.answer(&Question { user: Some("u".into()), ..Question::default() });
        assert!(answer.happenings.len() == 2 && answer.happenings_since > before);
    }

    #[test]
    fn rooms_where_nobody_is_count_too() {
        let journal = Journal::new(JournalConfig { deliveries: 1_000, ..JournalConfig::default() });
        let rooms: Vec<Room> = (0..400).map(|holder| Room::new(&format!("user:{holder}")).unwrap()).collect();
        for id in 1..=5 {
            let audiences = vec![Audience { rooms: rooms.clone(), data: Vec::new() }];
            journal.sent(&Event { audiences, ..event(&change(id)) }, vec![], vec![]);
        }
        let answer = journal.answer(&Question { change: Some(5), ..Question::default() });
        assert_eq!((answer.changes_from, answer.changes_to), (Some(4), Some(5)));
    }

    #[test]
    fn a_page_that_comes_again_is_told_of_once() {
        let journal = Journal::new(JournalConfig::default());
        journal.swept(&change(1));
        journal.swept(&change(1));
        assert_eq!(journal.answer(&Question { change: Some(1), ..Question::default() }).changes.len(), 1);
    }
}
