//! `chat:typing`: who is typing in a room, for the others in it. Ends by itself.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use chrono::Utc;
use serde_json::{Value, value::to_raw_value};

use super::{Gateway, Shared, session::Session, sign_in::kind};
use crate::{
    change::{OWN_SCHEMA, Op, TableName},
    event::{Audience, Event},
    room::Room,
};

/// The event, and the message that asks for it.
pub(super) const TYPING: &str = "chat:typing";

/// Who doesn't say it again within this time has stopped typing.
const LASTS: Duration = Duration::from_secs(5);
/// Who stops and begins again within this time is not told of anew.
const QUIET: Duration = Duration::from_secs(1);
/// Rooms that one user may be typing in at once.
const MOST_ROOMS: usize = 8;

/// Who is typing where, and until when. Bounded by the users who are connected, and [`MOST_ROOMS`].
#[derive(Debug, Default)]
pub(super) struct Typing(Mutex<HashMap<String, HashMap<Room, State>>>);

#[derive(Debug, Clone, Copy)]
enum State {
    TypesUntil(Instant),
    /// Just stopped.
    QuietUntil(Instant),
}

impl Typing {
    /// True if the others don't know yet.
    fn begin(&self, user_id: &str, room: &Room) -> Result<bool, String> {
        let mut users = self.0.lock().expect("no panic under the lock");
        let rooms = users.entry(user_id.to_owned()).or_default();
        if rooms.len() >= MOST_ROOMS && !rooms.contains_key(room) {
            return Err(format!("nobody types in more than {MOST_ROOMS} rooms at once"));
        }
        if let Some(State::QuietUntil(until)) = rooms.get(room)
            && *until > Instant::now()
        {
            return Ok(false);
        }
        let before = rooms.insert(room.clone(), State::TypesUntil(Instant::now() + LASTS));
        Ok(!matches!(before, Some(State::TypesUntil(_))))
    }

    /// True if the others knew.
    fn end(&self, user_id: &str, room: &Room) -> bool {
        let mut users = self.0.lock().expect("no panic under the lock");
        let Some(state) = users.get_mut(user_id).and_then(|rooms| rooms.get_mut(room)) else { return false };
        let was_typing = matches!(state, State::TypesUntil(_));
        if was_typing {
            *state = State::QuietUntil(Instant::now() + QUIET);
        }
        was_typing
    }

    /// Takes out those whose time is over.
    fn expired(&self, now: Instant) -> Vec<(String, Room)> {
        let mut expired = Vec::new();
        self.0.lock().expect("no panic under the lock").retain(|user_id, rooms| {
            rooms.retain(|room, state| match *state {
                State::TypesUntil(until) if until <= now => {
                    expired.push((user_id.clone(), room.clone()));
                    false
                }
                State::QuietUntil(until) => until > now,
                State::TypesUntil(_) => true,
            });
            !rooms.is_empty()
        });
        expired
    }
}

impl Gateway {
    /// Tells of those who have stopped typing without saying so.
    pub fn end_typing(&self) {
        self.end_typing_by(Instant::now());
    }

    pub(super) fn end_typing_by(&self, now: Instant) {
        for (user_id, room) in self.shared.typing.expired(now) {
            self.shared.tell_typing(&user_id, &room, false);
        }
    }
}

impl Shared {
    /// `chat:typing {room, typing?}`
    ///
    /// # Errors
    ///
    /// A sentence for the client.
    pub(super) fn typing(&self, session: &Session, room: &Room, payload: &Value) -> Result<(), String> {
        let Some(user_id) = &session.user_id else { return Err("sign in first".to_owned()) };
        let types = match payload.get("typing") {
            None | Some(Value::Null) => true,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => return Err(format!("typing: expected true or false, found {}", kind(other))),
        };
        if !room.as_str().contains(':') {
            return Err(
                "expected the room of a thing or a person, such as \"product:1\": this one is for everybody".into()
            );
        }
        if !self.rooms.is_in(&session.member, room) {
            return Err(format!("join the room {:?} first", room.as_str()));
        }
        let news = if types { self.typing.begin(user_id, room)? } else { self.typing.end(user_id, room) };
        if news {
            self.tell_typing(user_id, room, types);
        }
        Ok(())
    }

    /// The user's connection has left these rooms.
    pub(super) fn stopped_typing(&self, session: &Session, rooms: &[Room]) {
        let Some(user_id) = &session.user_id else { return };
        for room in rooms.iter().filter(|room| self.typing.end(user_id, room)) {
            self.tell_typing(user_id, room, false);
        }
    }

    fn tell_typing(&self, user_id: &str, room: &Room, typing: bool) {
        let Some(position) = self.position() else { return };
        let text = |text: &str| to_raw_value(text).expect("a string encodes");
        let flag = to_raw_value(&typing).expect("a flag encodes");
        let data =
            vec![("room".into(), text(room.as_str())), ("userId".into(), text(user_id)), ("typing".into(), flag)];
        let (change_id, xid) = self.moment_ids.next();
        let event = Event {
            kind: TYPING.into(),
            id: format!("{change_id}-{xid}-{TYPING}"),
            change_id,
            rule: TYPING.into(),
            at: Utc::now(),
            actor: Some(user_id.to_owned()),
            table: TableName::new(OWN_SCHEMA, "typing"),
            op: if typing { Op::Insert } else { Op::Delete },
            xid,
            position,
            subject: [].into(),
            audiences: vec![Audience { rooms: vec![room.clone()], data }],
        };
        self.deliver_to(&event, |client| client.session.user_id.as_deref() != Some(user_id));
    }
}
