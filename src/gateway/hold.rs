//! What holds live events back while a client is brought up to date.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use serde_json::value::RawValue;

use crate::{
    position::{Position, Seen},
    room::Room,
};

/// How long the envelopes of the live events that wait for one client may be in all, in bytes; beyond, it has to load anew.
///
/// A statement of some 25,000 rows fits. All who wait for an event share it, so that to each of them it is a pointer.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// One client's live events, held back while it is brought up to date.
///
/// Invariant: a room that is joined with a position is entered after the hold began, and the hold ends only when no
/// replay and no event waits; so nothing live overtakes what was missed, and nothing falls between the two.
#[derive(Debug, Default)]
pub(super) struct Hold {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: bool,
    /// Where the client stood when it began: it has been sent all before, and nothing after.
    began_at: Option<Position>,
    /// What is to be replayed next. One replay serves all that was asked for while another ran.
    missed: Option<Missed>,
    queue: VecDeque<Arc<Held>>,
    bytes: usize,
    /// Ids that were replayed: held events among them are repeats.
    replayed: HashSet<String>,
    /// Why the client has to load anew, whatever it is told before.
    reload: Option<String>,
}

/// Rooms that a client enters, and the position that it says it has heard up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missed {
    pub rooms: Vec<Room>,
    pub since: Position,
}

impl Missed {
    /// Both, from what had been seen at both positions on.
    fn merge(&mut self, other: Self) {
        let same_history = (self.since.system, self.since.database) == (other.since.system, other.since.database);
        // Positions of two databases have no order: what is before every history is known to nobody.
        self.since.seen = if same_history { self.since.seen.both(&other.since.seen) } else { Seen::below(0) };
        let known: HashSet<&Room> = self.rooms.iter().collect();
        let fresh: Vec<Room> = other.rooms.into_iter().filter(|room| !known.contains(room)).collect();
        self.rooms.extend(fresh);
    }
}

/// A live event, encoded for one audience.
#[derive(Debug)]
pub(super) struct Held {
    pub id: String,
    pub kind: Arc<str>,
    pub envelope: Box<RawValue>,
}

/// What is next for a client that is brought up to date.
#[derive(Debug)]
pub(super) enum Next {
    Replay(Missed),
    /// Tell it to load anew, for this reason.
    Reload(String),
    Event(Arc<Held>),
    /// The hold has ended.
    Done,
}

impl Hold {
    /// From now on live events wait until this is replayed. True if nobody is at it yet: then the caller has to see
    /// [`Hold::next`] through to its end. `position`: that the gateway names at present.
    pub fn begin(&self, missed: Missed, position: impl FnOnce() -> Option<Position>) -> bool {
        let mut state = self.state();
        if !state.held {
            state.began_at = position();
        }
        match &mut state.missed {
            Some(waiting) => waiting.merge(missed),
            none => *none = Some(missed),
        }
        !std::mem::replace(&mut state.held, true)
    }

    /// From now on live events wait until the client is told to load anew. True as for [`Hold::begin`].
    pub fn begin_anew(&self, reason: &str) -> bool {
        let mut state = self.state();
        state.reload(reason);
        !std::mem::replace(&mut state.held, true)
    }

    /// The client has left these rooms: what it missed there needn't be told. Of what a client is in there is a limit, and so
    /// of what waits for it here.
    pub fn forget(&self, left: &[Room]) {
        let mut state = self.state();
        if let Some(missed) = &mut state.missed {
            let left: HashSet<&Room> = left.iter().collect();
            missed.rooms.retain(|room| !left.contains(room));
        }
        state.missed.take_if(|missed| missed.rooms.is_empty());
    }

    /// Where the client stood when live events began to wait: none that waits lies before.
    pub fn began_at(&self) -> Option<Position> {
        self.state().began_at
    }

    /// Takes a live event if it has to wait; false if it is to be sent at once.
    pub fn keep(&self, held: impl FnOnce() -> Arc<Held>) -> bool {
        let mut state = self.state();
        if !state.held {
            return false;
        }
        if state.reload.is_some() {
            return true;
        }
        let held = held();
        state.bytes += held.envelope.get().len();
        if state.bytes > MAX_BYTES {
            state.reload("too much happened while you were brought up to date");
        } else {
            state.queue.push_back(held);
        }
        true
    }

    /// Has a client that is brought up to date load anew instead; false if none of it is held back.
    pub fn reload(&self, reason: &str) -> bool {
        let mut state = self.state();
        if state.held {
            state.reload(reason);
        }
        state.held
    }

    /// Notes that an event was replayed.
    pub fn replayed(&self, id: &str) {
        self.state().replayed.insert(id.to_owned());
    }

    /// To be asked until it says that it is done.
    pub fn next(&self) -> Next {
        let mut state = self.state();
        if let Some(missed) = state.missed.take() {
            return Next::Replay(missed);
        }
        if let Some(reason) = state.reload.take() {
            // In another past than the one that was replayed the same ids may be of other events.
            state.replayed = HashSet::new();
            return Next::Reload(reason);
        }
        while let Some(held) = state.queue.pop_front() {
            state.bytes -= held.envelope.get().len();
            if !state.replayed.contains(&held.id) {
                return Next::Event(held);
            }
        }
        *state = State::default();
        Next::Done
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

impl State {
    fn reload(&mut self, reason: &str) {
        self.reload = Some(reason.to_owned());
        self.began_at = None; // perhaps of a past that is no more
        self.queue = VecDeque::new();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> Arc<Held> {
        sized(id, 1)
    }

    fn sized(id: &str, bytes: usize) -> Arc<Held> {
        let envelope = RawValue::from_string("1".repeat(bytes)).expect("a number");
        Arc::new(Held { id: id.into(), kind: "a:b".into(), envelope })
    }

    fn missed(room: &str, xmin: u64) -> Missed {
        Missed {
            rooms: vec![Room::new(room).unwrap()],
            since: Position { system: 1, database: 2, seen: Seen::below(xmin) },
        }
    }

    fn rest(hold: &Hold) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            match hold.next() {
                Next::Replay(missed) => told.push(format!("replay {}", missed.since.seen.xmin)),
                Next::Reload(reason) => told.push(reason),
                Next::Event(held) => told.push(held.id.clone()),
                Next::Done => return told,
            }
        }
    }

    #[test]
    fn live_events_wait_for_the_replay_and_repeats_of_it_are_left_out() {
        let hold = Hold::default();
        assert!(!hold.keep(|| event("before")));
        assert!(hold.begin(missed("a", 7), || None));
        assert!(hold.keep(|| event("1")) && hold.keep(|| event("2")));
        hold.replayed("1");
        assert_eq!(rest(&hold), ["replay 7", "2"]);
        assert!(!hold.keep(|| event("after")));
    }

    #[test]
    fn events_that_come_while_the_queue_is_sent_wait_behind_it() {
        let hold = Hold::default();
        hold.begin(missed("a", 7), || None);
        assert!(matches!(hold.next(), Next::Replay(_)));
        hold.keep(|| event("1"));
        assert!(matches!(hold.next(), Next::Event(held) if held.id == "1"));
        assert!(hold.keep(|| event("2")));
        assert_eq!(rest(&hold), ["2"]);
    }

    #[test]
    fn what_is_asked_for_during_a_replay_is_one_replay_from_the_earliest_position() {
        let hold = Hold::default();
        assert!(hold.begin(missed("a", 9), || None));
        assert!(matches!(hold.next(), Next::Replay(first) if first == missed("a", 9)));
        for (room, xmin) in [("b", 8), ("c", 7), ("b", 9)] {
            assert!(!hold.begin(missed(room, xmin), || None), "somebody is at it");
        }
        hold.keep(|| event("1"));
        let Next::Replay(both) = hold.next() else { panic!("a replay waits") };
        assert_eq!((both.since.seen.xmin, both.rooms.len()), (7, 2));
        assert_eq!(rest(&hold), ["1"]);
    }

    #[test]
    fn positions_of_two_databases_are_before_every_history() {
        let mut both = missed("a", 9);
        both.merge(Missed { since: Position { system: 5, database: 2, seen: Seen::below(100) }, ..missed("b", 1) });
        assert_eq!(both.since.seen, Seen::below(0));
    }

    #[test]
    fn where_the_client_stood_when_it_began_stays_until_it_loads_anew() {
        let (hold, at) = (Hold::default(), |xmin| move || Some(missed("a", xmin).since));
        hold.begin(missed("a", 5), at(7));
        hold.begin(missed("b", 5), at(9));
        assert_eq!(hold.began_at(), at(7)(), "what waits may lie before 9");
        hold.reload("another database has taken over");
        assert_eq!(hold.began_at(), None);
        rest(&hold);
        hold.begin(missed("a", 5), at(11));
        assert_eq!(hold.began_at(), at(11)());
    }

    #[test]
    fn rooms_that_were_left_are_not_replayed_and_without_any_nothing_is() {
        let hold = Hold::default();
        hold.begin(missed("a", 9), || None);
        hold.begin(missed("b", 8), || None);
        hold.forget(&missed("a", 0).rooms);
        assert!(matches!(hold.next(), Next::Replay(left) if left == missed("b", 8)));
        hold.begin(missed("c", 7), || None);
        hold.keep(|| event("1"));
        hold.forget(&missed("c", 0).rooms);
        assert_eq!(rest(&hold), ["1"]);
    }

    #[test]
    fn a_client_for_whom_too_much_waits_is_told_to_load_anew_and_hears_what_comes_then() {
        let hold = Hold::default();
        hold.begin(missed("a", 7), || None);
        assert!(matches!(hold.next(), Next::Replay(_)));
        for id in ["1", "2"] {
            assert!(hold.keep(|| sized(id, MAX_BYTES / 2)));
        }
        assert!(hold.keep(|| event("3")));
        assert!(matches!(hold.next(), Next::Reload(reason) if reason.starts_with("too much")));
        assert!(hold.keep(|| event("later")));
        assert_eq!(rest(&hold), ["later"]);
    }

    #[test]
    fn what_was_replayed_before_a_word_to_load_anew_is_no_repeat_after_it() {
        let hold = Hold::default();
        hold.begin(missed("a", 7), || None);
        hold.replayed("1");
        hold.reload("another database has taken over");
        assert!(matches!((hold.next(), hold.next()), (Next::Replay(_), Next::Reload(_))));
        hold.keep(|| event("1"));
        assert_eq!(rest(&hold), ["1"]);
    }

    #[test]
    fn a_word_to_load_anew_takes_the_place_of_what_waited() {
        let hold = Hold::default();
        assert!(!hold.reload("nobody is held"));
        hold.begin(missed("a", 7), || None);
        hold.keep(|| event("1"));
        assert!(hold.reload("a table was truncated"));
        assert_eq!(rest(&hold), ["replay 7", "a table was truncated"]);
    }
}
