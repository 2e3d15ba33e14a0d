//! Whether those who are connected still are who they were when they signed in: roles and stores change, sessions end,
//! tokens expire.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Gateway, Refused, Shared,
    dismissal::{EXPIRED, Farewell, SIGNED_OUT},
    session::{Client, Session},
};
use crate::{
    identity::{Concern, Grounds, Identity, SignedIn},
    journal::What,
    position::Position,
    room::Room,
};

/// The event that tells a client that it is in other rooms now than it knew.
const ROOMS: &str = "rowcast:rooms";

/// How many sign-ins are confirmed at once.
const CONFIRMED_AT_ONCE: usize = 4;
/// How long a client stays connected whose sign-in is in doubt and can't be confirmed.
const BENEFIT_OF_DOUBT: Duration = Duration::from_secs(10);
/// After this time it is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// Sign-ins end by the wall clock, which may be set: so it is looked at this often.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(1);
/// A clock that is behind the last look by more than this was set back.
const SET_BACK: TimeDelta = TimeDelta::seconds(10);

/// The signed-in clients, and those of them whose sign-in is in doubt.
///
/// Invariants:
/// - A change that was committed after a sign-in was looked up is either swept after the client was added here, and puts it
///   in doubt, or was swept since the look-up began: then `doubts` has grown since, and the client is put in doubt as it is
///   added. So no change falls between the two.
/// - Who is in doubt waits in `queue` or is being asked about, never both; what happens while somebody is asked about puts
///   them in doubt anew when the answer has come.
/// - As long as a client has an end, `due` has an entry for it no later than that.
#[derive(Debug, Default)]
pub(super) struct Standing {
    state: Mutex<State>,
    /// Somebody is in doubt, or a sign-in ends earlier than was known.
    news: Notify,
}

#[derive(Default)]
struct State {
    clients: HashMap<u64, Entry>,
    by_concern: HashMap<Concern, HashSet<u64>>,
    /// When each has to be confirmed, whatever happens until then.
    due: BTreeSet<(DateTime<Utc>, u64)>,
    /// Whom to ask about next.
    queue: VecDeque<u64>,
    /// For whom there is a reason to doubt, the longest in doubt first.
    grave: BTreeSet<(Instant, u64)>,
    /// How often something was put in doubt.
    doubts: u64,
    /// What the clock said when it was looked at last.
    looked_at: DateTime<Utc>,
}

struct Entry {
    client: Client,
    concerns: Vec<Concern>,
    due: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
    /// Its end is final: there is nobody to ask.
    is_token: bool,
    doubt: Option<Doubt>,
    asking: bool,
    /// Something happened while it was asked about.
    again: bool,
}

/// Since when, and whether there is a reason: who is only asked about from time to time may stay unconfirmed.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Instant,
    is_grave: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("clients", &self.clients.len()).field("queue", &self.queue.len()).finish()
    }
}

impl Standing {
    /// To be remembered before a sign-in is looked up, and handed over when the client is added.
    pub fn doubts(&self) -> u64 {
        self.state().doubts
    }

    /// Adds a signed-in client; in doubt at once if something was, since its sign-in was looked up.
    pub fn add(&self, id: u64, client: Client, signed_in: &SignedIn, doubts: u64, interval: Duration) {
        let concerns = concerns(signed_in);
        if concerns.is_empty() {
            return;
        }
        let mut state = self.state();
        let due = due(id, signed_in, interval);
        state.due.insert((due, id));
        for concern in &concerns {
            state.by_concern.entry(concern.clone()).or_default().insert(id);
        }
        let (until, is_token) = (signed_in.until, is_token(signed_in));
        let entry = Entry { client, concerns, due, until, is_token, doubt: None, asking: false, again: false };
        state.clients.insert(id, entry);
        if state.doubts != doubts {
            state.doubt(id, true);
        }
        drop(state);
        self.news.notify_one();
    }

    /// The client is gone.
    pub fn remove(&self, id: u64) {
        let mut state = self.state();
        let Some(entry) = state.clients.remove(&id) else { return };
        state.due.remove(&(entry.due, id));
        if let Some(doubt) = entry.doubt {
            state.grave.remove(&(doubt.since, id));
            // Few are in doubt at a time; of many the rest goes as it is taken.
            if state.queue.len() < 64 || state.clients.is_empty() {
                state.queue.retain(|waiting| *waiting != id);
            }
        }
        for concern in entry.concerns {
            if let Some(ids) = state.by_concern.get_mut(&concern) {
                ids.remove(&id);
                if ids.is_empty() {
                    state.by_concern.remove(&concern);
                }
            }
        }
    }

    fn doubt(&self, concern: &Concern) {
        let mut state = self.state();
        state.doubts += 1;
        let ids: Vec<u64> = match concern {
            Concern::Everybody => state.clients.keys().copied().collect(),
            _ => state.by_concern.get(concern).into_iter().flatten().copied().collect(),
        };
        if ids.is_empty() {
            return;
        }
        for id in ids {
            state.doubt(id, true);
        }
        drop(state);
        self.news.notify_one();
    }

    /// It is in doubt, for whatever it was renewed with.
    fn doubt_one(&self, id: u64) {
        self.state().doubt(id, true);
        self.news.notify_one();
    }

    /// It has another end now, and is due again later.
    fn settle(&self, id: u64, signed_in: &SignedIn, interval: Duration) {
        let mut state = self.state();
        let due = due(id, signed_in, interval);
        let Some(entry) = state.clients.get_mut(&id) else { return };
        entry.until = signed_in.until;
        entry.is_token = is_token(signed_in);
        let before = std::mem::replace(&mut entry.due, due);
        state.due.remove(&(before, id));
        state.due.insert((due, id));
        drop(state);
        self.news.notify_one();
    }

    /// Puts in doubt whose turn it is by the clock, and gives those whose time is over, whatever anybody says.
    fn look_at_clock(&self) -> Vec<Client> {
        let mut over = Vec::new();
        let mut state = self.state();
        let now = Utc::now();
        if now + SET_BACK < std::mem::replace(&mut state.looked_at, now) {
            // When they are due was reckoned by a clock that was ahead: they would not be asked about until it is so late again.
            let all: Vec<u64> = state.clients.keys().copied().collect();
            all.into_iter().for_each(|id| state.doubt(id, false));
        }
        while let Some(&(at, id)) = state.due.first().filter(|(at, _)| *at <= now) {
            state.due.remove(&(at, id));
            let Some(entry) = state.clients.get_mut(&id) else { continue };
            let ends = entry.until.is_some_and(|until| until <= now);
            if ends && entry.is_token {
                over.push(entry.client.clone());
                continue;
            }
            if let (false, Some(until)) = (ends, entry.until) {
                entry.due = until;
                state.due.insert((until, id));
            }
            state.doubt(id, ends);
        }
        over
    }

    /// Who has been in doubt for longer than they have the benefit of it.
    fn past_benefit(&self) -> Vec<Client> {
        let state = self.state();
        let past = state.grave.iter().take_while(|(since, _)| since.elapsed() > BENEFIT_OF_DOUBT);
        past.filter_map(|(_, id)| Some(state.clients.get(id)?.client.clone())).collect()
    }

    /// The next to ask about.
    fn next(&self) -> Option<Client> {
        let mut state = self.state();
        while let Some(id) = state.queue.pop_front() {
            if let Some(entry) = state.clients.get_mut(&id) {
                entry.asking = true;
                return Some(entry.client.clone());
            }
        }
        None
    }

    /// An answer has come, or (false) nobody could tell.
    fn answered(&self, id: u64, told: bool) {
        let mut state = self.state();
        let Some(entry) = state.clients.get_mut(&id) else { return };
        entry.asking = false;
        let again = std::mem::take(&mut entry.again);
        if !told {
            state.queue.push_back(id);
            return;
        }
        if let Some(doubt) = entry.doubt.take() {
            state.grave.remove(&(doubt.since, id));
        }
        if again {
            state.doubt(id, true);
        }
    }

    /// How many are in doubt for a reason, and since when the first of them.
    fn in_doubt(&self) -> (usize, Duration) {
        let state = self.state();
        (state.grave.len(), state.grave.first().map(|(since, _)| since.elapsed()).unwrap_or_default())
    }

    /// How long until somebody is due.
    fn rest(&self) -> Duration {
        let first = self.state().due.first().map(|(at, _)| *at);
        let rest = first.map_or(LOOK_AT_CLOCK, |at| (at - Utc::now()).to_std().unwrap_or_default());
        rest.min(LOOK_AT_CLOCK)
    }

    #[cfg(test)]
    pub fn size(&self) -> usize {
        let state = self.state();
        state.clients.len() + state.by_concern.len() + state.due.len() + state.queue.len() + state.grave.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

impl State {
    fn doubt(&mut self, id: u64, is_grave: bool) {
        let Some(entry) = self.clients.get_mut(&id) else { return };
        entry.again |= entry.asking && is_grave;
        let since = Instant::now();
        match &mut entry.doubt {
            Some(doubt) if doubt.is_grave || !is_grave => return,
            Some(doubt) => *doubt = Doubt { since, is_grave },
            none => {
                *none = Some(Doubt { since, is_grave });
                self.queue.push_back(id);
            }
        }
        if is_grave {
            self.grave.insert((since, id));
        }
    }
}

fn is_token(signed_in: &SignedIn) -> bool {
    matches!(signed_in.grounds, Grounds::Token { .. })
}

/// What a sign-in rests on. A visitor's rests on nothing.
fn concerns(signed_in: &SignedIn) -> Vec<Concern> {
    let user = signed_in.identity.user_id.clone().map(Concern::User);
    let session = match &signed_in.grounds {
        Grounds::Session { id } => Some(Concern::Session(id.clone())),
        Grounds::Nothing | Grounds::Word { .. } | Grounds::Token { .. } => None,
    };
    user.into_iter().chain(session).collect()
}

/// Not all at once: those who came together are due a little apart.
fn due(id: u64, signed_in: &SignedIn, interval: Duration) -> DateTime<Utc> {
    let apart = interval.mul_f64(0.75 + (id % 64) as f64 / 128.0);
    let apart = TimeDelta::from_std(apart).unwrap_or(TimeDelta::MAX);
    let routine = Utc::now().checked_add_signed(apart).unwrap_or(DateTime::<Utc>::MAX_UTC);
    signed_in.until.map_or(routine, |until| until.min(routine))
}

/// What a client is told when its rooms have changed.
#[derive(Serialize)]
struct Moved<'a> {
    joined: &'a [Room],
    left: &'a [Room],
    /// Live from here, in the rooms that it joined.
    position: Option<Position>,
}

impl Gateway {
    /// Something has changed that the sign-in of these clients may rest on.
    pub fn doubt(&self, concern: &Concern) {
        self.shared.standing.doubt(concern);
    }

    /// Confirms sign-ins that are in doubt, that end, and each from time to time, until `stop`.
    ///
    /// Nobody waits for an answer about somebody else: a few are asked about at a time, and what needs no answer (a token's
    /// end, a doubt that has lasted too long) is done whether the database answers or not.
    pub async fn keep_standing(&self, stop: CancellationToken) {
        let standing = &self.shared.standing;
        let mut asking = FuturesUnordered::new();
        let mut ask_again = tokio::time::Instant::now();
        while !stop.is_cancelled() {
            for client in standing.look_at_clock() {
                dismiss_expired(&self.shared, &client);
            }
            for client in standing.past_benefit() {
                self.shared.cut(&client.session, "unconfirmed");
            }
            while asking.len() < CONFIRMED_AT_ONCE && ask_again <= tokio::time::Instant::now() {
                let Some(client) = standing.next() else { break };
                asking.push(confirm(&self.shared, client));
            }
            let (in_doubt, longest) = standing.in_doubt();
            self.shared.metrics.sign_ins_in_doubt.set(in_doubt as i64);
            self.shared.metrics.sign_in_doubt_seconds.set(longest.as_secs() as i64);
            let wait_for_database = ask_again.saturating_duration_since(tokio::time::Instant::now());
            let rest =
                if wait_for_database.is_zero() { standing.rest() } else { standing.rest().min(wait_for_database) };
            tokio::select! {
                () = stop.cancelled() => return,
                Some((id, told)) = asking.next() => {
                    standing.answered(id, told);
                    if !told {
                        ask_again = tokio::time::Instant::now() + RETRY;
                    }
                }
                () = standing.news.notified() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}

/// Whom it was about, and false if nobody could tell, so that it has to be tried again.
async fn confirm(shared: &Arc<Shared>, client: Client) -> (u64, bool) {
    let session = &client.session;
    let id = session.member.id();
    let before = session.signed_in();
    let answer = tokio::select! {
        () = session.gone.cancelled() => return (id, true),
        answer = shared.sign_in.confirm(&before) => answer,
    };
    match answer {
        Ok(now) => settle(shared, &client, &before, now),
        Err(Refused::Denied(message)) => shared.dismiss(&client, &Farewell { reason: SIGNED_OUT, message }),
        Err(Refused::Unavailable(_)) => return (id, false),
    }
    (id, true)
}

fn settle(shared: &Arc<Shared>, client: &Client, before: &Arc<SignedIn>, now: SignedIn) {
    if now.identity.user_id != client.session.user_id {
        let message = "you are not signed in any more; sign in and connect again".to_owned();
        return shared.dismiss(client, &Farewell { reason: SIGNED_OUT, message });
    }
    if has_ended(&now) {
        return dismiss_expired(shared, client);
    }
    if !shared.change_over(client, Some(before), now) {
        // It was renewed meanwhile, so the renewed one is to be confirmed.
        shared.standing.doubt_one(client.session.member.id());
    }
}

fn has_ended(signed_in: &SignedIn) -> bool {
    signed_in.until.is_some_and(|until| until <= Utc::now())
}

fn dismiss_expired(shared: &Arc<Shared>, client: &Client) {
    let message = "your sign-in has expired; sign in and connect again, or renew it in time".to_owned();
    shared.dismiss(client, &Farewell { reason: EXPIRED, message });
}

impl Shared {
    /// Puts a fresh sign-in, which was looked up since there were so many `doubts`, in the place of the client's present one.
    ///
    /// # Errors
    ///
    /// A sentence for the client, if it is somebody else's.
    pub(super) fn renew(&self, client: &Client, fresh: SignedIn, doubts: u64) -> Result<(), String> {
        if fresh.identity.user_id != client.session.user_id {
            return Err("that is somebody else's: to be somebody else, disconnect and connect anew".to_owned());
        }
        self.change_over(client, None, fresh);
        if self.standing.doubts() != doubts {
            self.standing.doubt_one(client.session.member.id());
        }
        Ok(())
    }

    /// Replaces a client's sign-in, which must be `before` where that is given, and takes it out of rooms and into rooms
    /// accordingly. False if it was another one.
    ///
    /// Invariant: the lock of the sign-in is held from the first look at the rooms until the new one stands, and whoever
    /// joins holds it from asking whether it may until it is in: so nobody enters a room by a sign-in that has been replaced.
    fn change_over(&self, client: &Client, before: Option<&Arc<SignedIn>>, now: SignedIn) -> bool {
        let session = &client.session;
        let now = Arc::new(now);
        let (left, joined) = {
            let mut present = session.sign_in_lock().write().expect("no panic under the lock");
            if before.is_some_and(|before| !Arc::ptr_eq(before, &present)) {
                return false;
            }
            let moved = self.move_rooms(session, &present.identity, &now.identity);
            *present = now.clone();
            moved
        };
        self.standing.settle(session.member.id(), &now, self.confirm_interval);
        if left.is_empty() && joined.is_empty() {
            return true;
        }
        tracing::debug!(socket = %session.sid, left = left.len(), joined = joined.len(), "a client's rooms have changed");
        if !left.is_empty() {
            self.note(session, What::left(&left));
        }
        if !joined.is_empty() {
            self.note(session, What::joined(&joined, None));
        }
        self.stopped_typing(session, &left);
        self.send(client, ROOMS, &Moved { joined: &joined, left: &left, position: self.position() });
        true
    }

    /// The rooms that it left since it may not be in them any more, and those that it joined since they are its own now.
    fn move_rooms(&self, session: &Session, before: &Identity, now: &Identity) -> (Vec<Room>, Vec<Room>) {
        if before == now {
            return (Vec::new(), Vec::new());
        }
        let present = self.rooms.of(&session.member);
        let left: Vec<Room> = present.iter().filter(|room| !self.policy.may_join(now, room)).cloned().collect();
        if !left.is_empty() {
            self.rooms.leave(&session.member, &left);
            session.hold.forget(&left);
            // What waits for the client was made for the rooms that it was in.
            session.hold.reload("what you may hear has changed");
        }
        let own_before = self.policy.own_rooms(before);
        let mut joined = self.policy.own_rooms(now);
        joined.retain(|room| !own_before.contains(room) && !present.contains(room));
        if self.rooms.join(&session.member, &joined, usize::MAX, || ()).is_err() {
            joined.clear(); // it is gone
        }
        (left, joined)
    }
}
