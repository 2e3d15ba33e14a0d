//! What clients say, and what they are answered.

use std::{collections::HashSet, convert::Infallible, sync::Arc};

use axum::http::HeaderMap;
use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use socketioxide::{
    SendError, SocketError,
    adapter::Adapter,
    extract::AckSender,
    handler::{FromMessageParts, Value as Packet},
    socket::Socket,
};

use super::{
    Handshake, Shared,
    hold::Missed,
    inbox::Question,
    session::{Client, Session, since},
    sign_in::kind,
    typing::TYPING,
};
use crate::{
    journal::What,
    position::Position,
    room::{MAX_LENGTH, Room},
};

/// So many rooms that a message named in vain are noted.
const REFUSED_NOTED: usize = 10;
/// The message that renews a sign-in.
const RENEW: &str = "auth:renew";

/// A message as it came: the JSON array of its name and arguments.
pub(super) struct Incoming(Option<String>);

impl<A: Adapter> FromMessageParts<A> for Incoming {
    type Error = Infallible;

    fn from_message_parts(_: &Arc<Socket<A>>, packet: &mut Packet, _: &Option<i64>) -> Result<Self, Infallible> {
        Ok(Self(match packet {
            Packet::Str(text, _) => Some(text.to_string()),
            Packet::Bytes(_) => None,
        }))
    }
}

/// The acknowledgement of what was done.
#[derive(Debug, Default, Serialize)]
struct Done {
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<Room>,
    /// All of them, where a message means several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rooms: Vec<Room>,
    /// Of those that were named, the ones that the client may not join.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
    /// Live from here.
    position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// The client asked for what it missed, and somebody has to tell it.
    #[serde(skip)]
    missed: bool,
}

impl Done {
    /// Has `rooms` also where one was entered of several that were named.
    fn of_several(mut self) -> Self {
        if self.rooms.is_empty() {
            self.rooms.extend(self.room.clone());
        }
        self
    }
}

#[derive(Debug, Serialize)]
struct Refused {
    success: bool,
    error: String,
}

/// What is left to be done after a message was handled.
pub(super) enum Left {
    Nothing,
    /// The client has to be brought up to date.
    Missed,
    Asked(Asked),
    Renewal(Renewal),
}

/// A question that the database has to answer.
pub(super) struct Asked {
    question: Question,
    ack: AckSender,
}

impl Asked {
    /// Answers it. Refused at once if too many of the client's questions wait.
    pub async fn answer(self, shared: &Shared, session: &Session) {
        let answer = match (&session.user_id, session.questions.try_acquire()) {
            (None, _) => Err("sign in first: visitors have no inbox".to_owned()),
            (Some(_), Err(_)) => Err("wait for the answers to your earlier questions".to_owned()),
            (Some(user_id), Ok(_turn)) => tokio::select! {
                () = session.gone.cancelled() => return,
                answer = self.question.ask(&*shared.inbox, user_id) => answer,
            },
        };
        acknowledge(shared, session, "notification", self.ack, answer);
    }
}

/// A fresh token, or a wish to have the sign-in confirmed.
pub(super) struct Renewal {
    auth: Value,
    ack: AckSender,
}

/// The acknowledgement of a renewal.
#[derive(Debug, Serialize)]
struct Renewed {
    success: bool,
    /// From then on it has to be renewed again; `null` if it holds until something changes.
    until: Option<String>,
}

impl Renewal {
    /// Signs in anew, as the same user. What was, stays if that fails.
    pub async fn answer(self, shared: &Shared, client: &Client) {
        let session = &client.session;
        let renewed = match session.questions.try_acquire() {
            Err(_) => Err("wait for the answers to your earlier questions".to_owned()),
            Ok(_turn) => tokio::select! {
                () = session.gone.cancelled() => return,
                renewed = renew(shared, client, self.auth) => renewed,
            },
        };
        acknowledge(shared, session, "auth", self.ack, renewed);
    }
}

async fn renew(shared: &Shared, client: &Client, auth: Value) -> Result<Renewed, String> {
    let doubts = shared.standing.doubts();
    let before = client.session.signed_in();
    let fresh = match auth {
        Value::Null => shared.sign_in.confirm(&before).await,
        auth => {
            let handshake = Handshake { auth, headers: HeaderMap::new(), address: client.session.address };
            shared.limits.renew(&client.session.allowance, &handshake, shared.sign_in.sign_in(&handshake)).await
        }
    };
    let fresh = fresh.map_err(|refused| refused.to_string())?;
    let until = fresh.until.map(|until| until.to_rfc3339_opts(SecondsFormat::Millis, true));
    shared.renew(client, fresh, doubts)?;
    Ok(Renewed { success: true, until })
}

/// Does what the message asks for, and acknowledges it, unless the database has to be asked first.
pub(super) fn handle(shared: &Shared, session: &Session, Incoming(text): Incoming, ack: AckSender) -> Left {
    let (kind, outcome) = match parse(text, shared.max_message_bytes) {
        Ok((name, auth)) if name == RENEW => return Left::Renewal(Renewal { auth, ack }),
        Ok((name, payload)) => match Question::parse(&name, &payload) {
            Some(Ok(question)) => return Left::Asked(Asked { question, ack }),
            Some(Err(error)) => (metric_label(&name), Err(error)),
            None => (metric_label(&name), act(shared, session, &name, &payload)),
        },
        Err(error) => ("other", Err(error)),
    };
    let missed = outcome.as_ref().is_ok_and(|done| done.missed);
    acknowledge(shared, session, kind, ack, outcome);
    if missed { Left::Missed } else { Left::Nothing }
}

fn acknowledge<T: Serialize>(
    shared: &Shared,
    session: &Session,
    kind: &str,
    ack: AckSender,
    outcome: Result<T, String>,
) {
    let result = if outcome.is_ok() { "ok" } else { "refused" };
    shared.metrics.client_messages.with_label_values(&[kind, result]).inc();
    let sent = match outcome {
        Ok(done) => ack.send(&done),
        Err(error) => ack.send(&Refused { success: false, error }),
    };
    if let Err(SendError::Socket(SocketError::InternalChannelFull)) = sent {
        shared.cut(session, "slow");
    }
}

/// Few and known, whatever clients send.
pub(super) fn metric_label(name: &str) -> &'static str {
    match name.split(':').next() {
        Some("join") => "join",
        Some("leave") => "leave",
        Some("ping") => "ping",
        Some("notification") => "notification",
        Some("chat") => "chat",
        Some("auth") => "auth",
        _ => "other",
    }
}

pub(super) fn parse(text: Option<String>, max_bytes: usize) -> Result<(String, Value), String> {
    let text = text.ok_or("expected a message as JSON, found bytes")?;
    if text.len() > max_bytes {
        return Err(format!("the message has {} bytes, {max_bytes} are allowed", text.len()));
    }
    let parts: Vec<Value> = serde_json::from_str(&text).map_err(|error| format!("the message is not JSON: {error}"))?;
    let mut parts = parts.into_iter();
    let Some(Value::String(name)) = parts.next() else { return Err("expected the message's name first".to_owned()) };
    Ok((name, parts.next().unwrap_or(Value::Null)))
}

fn act(shared: &Shared, session: &Session, name: &str, payload: &Value) -> Result<Done, String> {
    match name {
        "ping" => Ok(Done {
            success: true,
            position: shared.position(),
            time: Some(Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)),
            ..Done::default()
        }),
        "join" if payload.get("rooms").is_some() => {
            let (rooms, unnamable) = rooms(payload, shared.max_rooms)?;
            join(shared, session, rooms, unnamable, payload).map(Done::of_several)
        }
        "leave" if payload.get("rooms").is_some() => {
            let (rooms, _) = rooms(payload, shared.max_rooms)?;
            leave(shared, session, rooms).map(Done::of_several)
        }
        "join" => join(shared, session, vec![room(payload)?], Vec::new(), payload),
        "leave" => leave(shared, session, vec![room(payload)?]),
        TYPING => {
            let room = room(payload)?;
            shared.typing(session, &room, payload)?;
            Ok(Done { success: true, room: Some(room), position: shared.position(), ..Done::default() })
        }
        _ if name.starts_with("join:") => {
            let rooms = shared.policy.rooms_for_message(name, &session.signed_in().identity, payload)?;
            join(shared, session, rooms, Vec::new(), payload)
        }
        _ => match name.strip_prefix("leave:") {
            Some(what) => {
                let counterpart = format!("join:{what}");
                let identity = &session.signed_in().identity;
                leave(shared, session, shared.policy.rooms_for_message(&counterpart, identity, payload)?)
            }
            None => {
                Err("unknown message: expected ping, join, leave, one of the join: and leave: messages, chat:typing, auth:renew, or notification:list, notification:read or notification:delete".to_owned())
            }
        },
    }
}

/// The `room` of a payload.
pub(super) fn room(payload: &Value) -> Result<Room, String> {
    let name = match payload.get("room") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(format!("room: expected a string, found {}", kind(other))),
        None => return Err("expected an object with the key room, as in { room: \"product:1\" }".to_owned()),
    };
    Room::new(name)
        .ok_or_else(|| format!("room: expected a name of 1 to {MAX_LENGTH} bytes, without control characters"))
}

/// The `rooms` of a payload, each once: not more than a connection may be in, since each is looked at. And what can be no room's
/// name, so that it spoils nothing for the others.
fn rooms(payload: &Value, max: usize) -> Result<(Vec<Room>, Vec<String>), String> {
    let names = match payload.get("rooms") {
        _ if payload.get("room").is_some() => {
            return Err("expected the key room or the key rooms, found both".to_owned());
        }
        Some(Value::Array(names)) => names,
        other => return Err(format!("rooms: expected an array of strings, found {}", other.map_or("none", kind))),
    };
    if !(1..=max).contains(&names.len()) {
        return Err(format!("rooms: expected 1 to {max} rooms, found {}", names.len()));
    }
    let (mut rooms, mut unnamable, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for name in names {
        let Value::String(name) = name else { return Err(format!("rooms: expected strings, found {}", kind(name))) };
        if !seen.insert(name) {
            continue;
        }
        match Room::new(name) {
            Some(room) => rooms.push(room),
            None => unnamable.push(name.clone()),
        }
    }
    Ok((rooms, unnamable))
}

/// Joins those of the rooms that the client may join, and tells of the others, `refused` among them.
fn join(
    shared: &Shared,
    session: &Session,
    rooms: Vec<Room>,
    mut refused: Vec<String>,
    payload: &Value,
) -> Result<Done, String> {
    let since = since(payload, "since")?.map(str::parse::<Position>);
    // One answer for a room that is closed to the client and for one that doesn't exist: it tells nothing.
    // Held until the rooms are entered: see `Shared::change_over`.
    let signed_in = session.sign_in_lock().read().expect("no panic under the lock");
    let (rooms, closed): (Vec<Room>, Vec<Room>) =
        rooms.into_iter().partition(|room| shared.policy.may_join(&signed_in.identity, room));
    // Who names many would push what others did out of the journal; and what can be no room's name may be of any length.
    for room in closed.iter().take(REFUSED_NOTED) {
        shared.note(session, What::Refused { room: room.to_string() });
    }
    refused.extend(closed.iter().map(Room::to_string));
    if rooms.is_empty() {
        return Err(match refused.first() {
            Some(room) => format!("there is no room {room:?} that you may join"),
            None => "there is no room of that kind that you may join".to_owned(),
        });
    }
    let mut missed = false;
    let begin = || {
        shared.note(session, What::joined(&rooms, since.as_ref().and_then(|since| since.as_ref().ok()).copied()));
        missed = match &since {
            None => false,
            Some(Ok(since)) => session.hold.begin(Missed { rooms: rooms.clone(), since: *since }, || shared.position()),
            // As with `auth.since`: whoever comes with a position that can't be read loads anew, and hears what is new.
            Some(Err(error)) => session.hold.begin_anew(&format!("since: {error}")),
        };
    };
    shared.rooms.join(&session.member, &rooms, shared.max_rooms, begin).map_err(|error| error.to_string())?;
    drop(signed_in);
    shared.note_arrivals(session, &rooms);
    Ok(Done { missed, refused, ..done(shared, rooms) })
}

fn leave(shared: &Shared, session: &Session, rooms: Vec<Room>) -> Result<Done, String> {
    let left = shared.rooms.leave(&session.member, &rooms);
    if !left.is_empty() {
        session.hold.forget(&left);
        shared.note(session, What::left(&left));
        shared.note_arrivals(session, &left);
        shared.stopped_typing(session, &left);
    }
    Ok(done(shared, rooms))
}

/// The position is read here, after the rooms were entered: `Shared::deliver` relies on that order.
fn done(shared: &Shared, rooms: Vec<Room>) -> Done {
    let (room, rooms) = match <[Room; 1]>::try_from(rooms) {
        Ok([room]) => (Some(room), Vec::new()),
        Err(rooms) => (rooms.first().cloned(), rooms),
    };
    Done { success: true, room, rooms, position: shared.position(), ..Done::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<(String, Value), String> {
        parse(Some(text.to_owned()), 100)
    }

    #[test]
    fn a_message_is_its_name_and_its_first_argument() {
        assert_eq!(parse_text(r#"["ping"]"#), Ok(("ping".to_owned(), Value::Null)));
        assert_eq!(
            parse_text(r#"["join",{"room":"a"},2]"#),
            Ok(("join".to_owned(), serde_json::json!({ "room": "a" })))
        );
    }

    #[test]
    fn a_message_that_cannot_be_read_is_answered_with_what_is_wrong() {
        assert_eq!(parse(None, 100), Err("expected a message as JSON, found bytes".to_owned()));
        assert_eq!(parse_text(&"x".repeat(101)), Err("the message has 101 bytes, 100 are allowed".to_owned()));
        assert!(parse_text(r#"["join",{]"#).expect_err("broken").starts_with("the message is not JSON"));
    }

    #[test]
    fn what_clients_invent_does_not_become_a_label() {
        assert_eq!(metric_label("join:anything:at all"), "join");
        assert_eq!(metric_label("anything at all"), "other");
    }
}
