//! What holds live events back while a client is brought up to date.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use serde_json::value::RawValue;

/// Live events that may wait for one client; beyond either limit it has to load anew.
const MAX_EVENTS: usize = 4096;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// One client's live events, held back while at least one replay to it is under way.
///
/// Invariant: a room that is joined with a position is entered after the hold began, and the hold ends only when its
/// queue is empty; so nothing live overtakes what was missed, and nothing falls between the two.
#[derive(Debug, Default)]
pub(super) struct Hold {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    replays: usize,
    queue: VecDeque<Held>,
    bytes: usize,
    /// Ids that were replayed: held events among them are repeats.
    replayed: HashSet<String>,
    overflowed: bool,
}

/// A live event, encoded for this client's audience.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub id: String,
    pub kind: Arc<str>,
    pub envelope: Arc<RawValue>,
}

/// What is next when a replay has ended.
pub(super) enum Next {
    /// Send this, and ask again.
    Event(Held),
    /// Too much happened meanwhile: the client has to load anew. Ask again.
    Overflowed,
    /// The hold has ended, or goes on for another replay.
    Done,
}

impl Hold {
    /// From now on live events wait.
    pub fn begin(&self) {
        self.state().replays += 1;
    }

    /// Undoes a [`Hold::begin`] whose room was not entered.
    pub fn cancel(&self) {
        let mut state = self.state();
        state.replays -= 1;
        debug_assert!(state.replays > 0 || state.queue.is_empty(), "only rooms that were entered are heard");
    }

    /// Takes a live event if it has to wait; false if it is to be sent at once.
    pub fn keep(&self, held: impl FnOnce() -> Held) -> bool {
        let mut state = self.state();
        if state.replays == 0 {
            return false;
        }
        let held = held();
        state.bytes += held.envelope.get().len();
        if state.overflowed || state.queue.len() == MAX_EVENTS || state.bytes > MAX_BYTES {
            state.overflowed = true;
            state.queue = VecDeque::new();
        } else {
            state.queue.push_back(held);
        }
        true
    }

    /// Notes that an event was replayed.
    pub fn replayed(&self, id: &str) {
        self.state().replayed.insert(id.to_owned());
    }

    /// To be asked at the end of a replay until it says that it is done.
    pub fn next(&self) -> Next {
        let mut state = self.state();
        if state.replays > 1 {
            state.replays -= 1;
            return Next::Done;
        }
        if std::mem::take(&mut state.overflowed) {
            state.bytes = 0;
            return Next::Overflowed;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> Held {
        Held { id: id.into(), kind: "a:b".into(), envelope: Arc::from(RawValue::from_string("1".into()).unwrap()) }
    }

    fn rest(hold: &Hold) -> Vec<String> {
        let mut ids = Vec::new();
        loop {
            match hold.next() {
                Next::Event(held) => ids.push(held.id),
                Next::Overflowed => ids.push("overflowed".into()),
                Next::Done => return ids,
            }
        }
    }

    #[test]
    fn live_events_wait_for_the_replay_and_repeats_of_it_are_left_out() {
        let hold = Hold::default();
        assert!(!hold.keep(|| event("before")));
        hold.begin();
        assert!(hold.keep(|| event("1")) && hold.keep(|| event("2")));
        hold.replayed("1");
        assert_eq!(rest(&hold), ["2"]);
        assert!(!hold.keep(|| event("after")));
    }

    #[test]
    fn events_that_come_while_the_queue_is_sent_wait_behind_it() {
        let hold = Hold::default();
        hold.begin();
        hold.keep(|| event("1"));
        assert!(matches!(hold.next(), Next::Event(held) if held.id == "1"));
        assert!(hold.keep(|| event("2")));
        assert_eq!(rest(&hold), ["2"]);
    }

    #[test]
    fn with_two_replays_under_way_the_hold_ends_with_the_second() {
        let hold = Hold::default();
        hold.begin();
        hold.begin();
        hold.keep(|| event("1"));
        assert_eq!(rest(&hold), [""; 0]);
        assert!(hold.keep(|| event("2")));
        assert_eq!(rest(&hold), ["1", "2"]);
    }

    #[test]
    fn a_client_for_whom_too_much_waits_is_told_to_load_anew_and_hears_what_comes_then() {
        let hold = Hold::default();
        hold.begin();
        for id in 0..=MAX_EVENTS {
            assert!(hold.keep(|| event(&id.to_string())));
        }
        assert!(matches!(hold.next(), Next::Overflowed));
        assert!(hold.keep(|| event("later")));
        assert_eq!(rest(&hold), ["later"]);
    }
}
