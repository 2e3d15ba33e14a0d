//! What a client's message goes through before it touches anything.

use super::{
    Policy,
    inbox::{LARGEST_PAGE, Question},
    messages::{metric_label, parse, room},
    session::since,
};
use crate::{identity::Identity, position::Position, room::MAX_LENGTH};

/// Reads a message as the gateway does, `None` for one of bytes, and asks the policy about every room that it names.
///
/// # Panics
///
/// If something comes out of it that must not.
pub fn read_message(text: Option<String>, max_bytes: usize, policy: &dyn Policy, identity: &Identity) {
    let Ok((name, payload)) = parse(text, max_bytes) else { return };
    assert!(metric_label(&name).len() < 20, "labels are few and short");
    if let Some(Ok(Question::List(request))) = Question::parse(&name, &payload) {
        assert!((1..=LARGEST_PAGE).contains(&request.limit), "{request:?}");
    }
    if let Ok(Some(position)) = since(&payload, "since") {
        _ = position.parse::<Position>();
    }
    let counterpart = name.replacen("leave:", "join:", 1);
    let mut rooms = policy.rooms_for_message(&counterpart, identity, &payload).unwrap_or_default();
    rooms.extend(room(&payload));
    for room in rooms {
        assert!((1..=MAX_LENGTH).contains(&room.as_str().len()), "{room}");
        assert!(!room.as_str().contains(char::is_control), "{room}");
        policy.may_join(identity, &room);
    }
}
