//! What a returning client missed.

use serde::Serialize;
use socketioxide::extract::SocketRef;

use crate::{position::Position, room::Room};

/// The event that tells a client to load anew what it shows.
pub(super) const RESYNC: &str = "rowcast:resync";

#[derive(Serialize)]
pub(super) struct Resync<'a> {
    pub reason: &'a str,
    /// Which rooms are concerned; all of the client's if there are none here.
    #[serde(skip_serializing_if = "<[Room]>::is_empty")]
    pub rooms: &'a [Room],
}

/// Brings a client up to date that has seen everything up to `since` in `rooms`, which it has joined already.
///
/// What happened before a client joined isn't kept for it here, so it is told to load anew: never silent, never partial.
pub(super) async fn resume(socket: &SocketRef, rooms: &[Room], since: &str) {
    let reason = match since.parse::<Position>() {
        Ok(_) => "what happened since that position is not known any more: load anew".to_owned(),
        Err(error) => format!("since: {error}"),
    };
    // A client whose buffer is full is cut by the next event.
    socket.emit(RESYNC, &Resync { reason: &reason, rooms }).ok();
}
