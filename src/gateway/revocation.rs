//! Whether those who are connected still are who they were when they signed in: roles and stores change, sessions end,
//! tokens expire.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
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

/// The signed-in clients, and those of them whose sign-in is in doubt.
///
/// Invariant: a change that was committed after a sign-in was looked up is either swept after the client was added here,
/// and puts it in doubt, or was swept since the look-up began: then `doubts` has grown since, and the client is put in
/// doubt as it is added. So no change falls between the two.
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
    in_doubt: HashMap<u64, Doubt>,
    /// How often something was put in doubt.
    doubts: u64,
}

struct Entry {
    client: Client,
    concerns: Vec<Concern>,
    due: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
}

/// Since when, and whether there is a reason: what is only asked again from time to time may stay unconfirmed.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    since: Instant,
    is_grave: bool,
}

impl Doubt {
    fn now() -> Self {
        Self { since: Instant::now(), is_grave: true }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("clients", &self.clients.len()).field("in_doubt", &self.in_doubt.len()).finish()
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
        state.clients.insert(id, Entry { client, concerns, due, until: signed_in.until });
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
        state.in_doubt.remove(&id);
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

    /// It has been confirmed, or renewed: due again later.
    fn settle(&self, id: u64, signed_in: &SignedIn, interval: Duration) {
        let mut state = self.state();
        let due = due(id, signed_in, interval);
        let Some(entry) = state.clients.get_mut(&id) else { return };
        entry.until = signed_in.until;
        let before = std::mem::replace(&mut entry.due, due);
        state.due.remove(&(before, id));
        state.due.insert((due, id));
        drop(state);
        self.news.notify_one();
    }

    /// Whose sign-in is to be confirmed now. They leave the doubt with this, so what happens meanwhile puts them in it anew.
    fn take(&self) -> Vec<(Client, Doubt)> {
        let mut state = self.state();
        let now = Utc::now();
        while let Some(&(at, id)) = state.due.first().filter(|(at, _)| *at <= now) {
            state.due.remove(&(at, id));
            let ends = state.clients.get(&id).and_then(|entry| entry.until).is_some_and(|until| until <= now);
            state.doubt(id, ends);
        }
        let taken = std::mem::take(&mut state.in_doubt);
        taken.into_iter().filter_map(|(id, doubt)| Some((state.clients.get(&id)?.client.clone(), doubt))).collect()
    }

    /// Not confirmed, so it stays in doubt for as long as it was.
    fn give_back(&self, id: u64, doubt: Doubt) {
        let mut state = self.state();
        if state.clients.contains_key(&id) {
            let kept = state.in_doubt.entry(id).or_insert(doubt);
            kept.since = kept.since.min(doubt.since);
            kept.is_grave |= doubt.is_grave;
        }
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
        state.clients.len() + state.by_concern.len() + state.due.len() + state.in_doubt.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under the lock")
    }
}

impl State {
    fn doubt(&mut self, id: u64, is_grave: bool) {
        let doubt = self.in_doubt.entry(id).or_insert(Doubt { since: Instant::now(), is_grave });
        doubt.is_grave |= is_grave;
    }
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
    pub async fn keep_standing(&self, stop: CancellationToken) {
        let standing = &self.shared.standing;
        while !stop.is_cancelled() {
            let unsettled = futures_util::stream::iter(standing.take())
                .map(|(client, doubt)| confirm(&self.shared, client, doubt))
                .buffer_unordered(CONFIRMED_AT_ONCE)
                .fold(false, async |any, unsettled| any || unsettled);
            let unsettled = tokio::select! {
                () = stop.cancelled() => return,
                unsettled = unsettled => unsettled,
            };
            let rest = if unsettled { RETRY } else { standing.rest() };
            tokio::select! {
                () = stop.cancelled() => return,
                () = standing.news.notified() => {}
                () = tokio::time::sleep(rest) => {}
            }
        }
    }
}

/// True if nobody could tell, so that it has to be tried again.
async fn confirm(shared: &Arc<Shared>, client: Client, doubt: Doubt) -> bool {
    let session = &client.session;
    let before = session.signed_in();
    if matches!(before.grounds, Grounds::Token { .. }) && has_ended(&before) {
        dismiss_expired(shared, &client);
        return false;
    }
    let answer = tokio::select! {
        () = session.gone.cancelled() => return false,
        answer = shared.sign_in.confirm(&before) => answer,
    };
    match answer {
        Ok(now) => {
            settle(shared, &client, &before, now);
            false
        }
        Err(Refused::Denied(message)) => {
            shared.dismiss(&client, &Farewell { reason: SIGNED_OUT, message });
            false
        }
        Err(Refused::Unavailable(_)) if doubt.is_grave && doubt.since.elapsed() > BENEFIT_OF_DOUBT => {
            shared.cut(session, "unconfirmed");
            false
        }
        Err(Refused::Unavailable(_)) => {
            shared.standing.give_back(session.member.id(), doubt);
            true
        }
    }
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
        shared.standing.give_back(client.session.member.id(), Doubt::now());
        shared.standing.news.notify_one();
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
            self.standing.give_back(client.session.member.id(), Doubt::now());
            self.standing.news.notify_one();
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
        self.note_arrivals(session, &left);
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
