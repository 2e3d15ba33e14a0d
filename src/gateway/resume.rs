//! What a returning client missed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use socketioxide::{SendError, SocketError};
use tokio::sync::mpsc;

use super::{
    Shared,
    hold::Next,
    session::{Client, Session},
};
use crate::{event::Event, position::Position, room::Room};

/// The event that tells a client to load anew what it shows.
pub(super) const RESYNC: &str = "rowcast:resync";
/// The event that tells a client that it has heard all it missed.
const RESUMED: &str = "rowcast:resumed";

/// How long one client may be brought up to date.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take to read what its buffer is full of.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a full buffer is looked at again; there is nothing to wait on.
const READ_POLL: Duration = Duration::from_millis(5);

#[derive(Serialize)]
pub(super) struct Resync<'a> {
    pub reason: &'a str,
    /// Which rooms are concerned; all of the client's if there are none here.
    #[serde(skip_serializing_if = "<[Room]>::is_empty")]
    pub rooms: &'a [Room],
}

#[derive(Serialize)]
struct Resumed<'a> {
    rooms: &'a [Room],
    /// How many events came, repeats included.
    replayed: usize,
    position: Position,
}

/// Where the gateway gets events of the past from.
pub trait Replay: Send + Sync + 'static {
    /// Sends every event of a change at or after the position, in order, and returns the position that is reached then.
    /// Ends early when nobody receives any more.
    ///
    /// # Errors
    ///
    /// Why that can't be known any more, for the client.
    fn replay(&self, since: Position, events: mpsc::Sender<Vec<Event>>) -> BoxFuture<'_, Result<Position, String>>;
}

/// Rooms that a client has entered, with live events held back, and the position that it says it has heard up to.
pub(super) struct Missed {
    pub rooms: Vec<Room>,
    pub since: String,
}

/// The client can't be reached any more.
struct Gone;

/// Brings a client up to date: what it missed in order, then a word that this was all, then what was held back. Where that
/// isn't possible the word is to load anew: never silent, never partial.
pub(super) async fn resume(shared: &Arc<Shared>, client: &Client, missed: Missed) {
    // Held events would wait for ever for a replay that died, so its client starts over.
    let unfinished = Unfinished { shared, session: &client.session };
    let turn = client.session.resuming.lock().await;
    let replayed = tokio::time::timeout(REPLAY_TIMEOUT, replay(shared, client, &missed)).await;
    let reason = match replayed {
        Ok(Ok(Ok(resumed))) => match send(shared, client, RESUMED, &resumed).await {
            Ok(()) => None,
            Err(Gone) => return,
        },
        Ok(Ok(Err(reason))) => Some(reason),
        Ok(Err(Gone)) => return,
        Err(_) => Some(format!("what was missed could not be told within {} s", REPLAY_TIMEOUT.as_secs())),
    };
    if let Some(reason) = reason {
        let resync = Resync { reason: &reason, rooms: &missed.rooms };
        if send(shared, client, RESYNC, &resync).await.is_err() {
            return;
        }
    }
    loop {
        let sent = match client.session.hold.next() {
            Next::Event(held) => send(shared, client, &held.kind, &*held.envelope).await,
            Next::Overflowed => {
                let reason = "too much happened while you were brought up to date";
                send(shared, client, RESYNC, &Resync { reason, rooms: &[] }).await
            }
            Next::Done => break,
        };
        if sent.is_err() {
            return;
        }
    }
    drop(turn);
    std::mem::forget(unfinished);
}

async fn replay<'a>(shared: &Shared, client: &Client, missed: &'a Missed) -> Result<Result<Resumed<'a>, String>, Gone> {
    let since: Position = match missed.since.parse() {
        Ok(position) => position,
        Err(error) => return Ok(Err(format!("since: {error}"))),
    };
    let wanted: HashSet<&Room> = missed.rooms.iter().collect();
    // One batch is on its way while another is made: that bounds what a slow client costs.
    let (sender, mut events) = mpsc::channel::<Vec<Event>>(1);
    // The receiver ends with this future, so that the replay notices.
    let receive = async move {
        let mut replayed = 0;
        while let Some(batch) = events.recv().await {
            for event in batch {
                replayed += usize::from(tell(shared, client, &wanted, &event).await?);
            }
        }
        Ok(replayed)
    };
    let (position, replayed) = tokio::join!(shared.replay.replay(since, sender), receive);
    let replayed = replayed?;
    Ok(position.map(|position| Resumed { rooms: &missed.rooms, replayed, position }))
}

/// Sends an event of the past, if it concerns the rooms and the client may hear it now.
async fn tell(shared: &Shared, client: &Client, wanted: &HashSet<&Room>, event: &Event) -> Result<bool, Gone> {
    if !event.audiences.iter().flat_map(|audience| &audience.rooms).any(|room| wanted.contains(room)) {
        return Ok(false);
    }
    let groups = event.audiences.iter().map(|audience| &audience.rooms[..]);
    let Some(first) = shared.rooms.first_match(&client.session.member, groups) else { return Ok(false) };
    let envelope: Box<RawValue> = event.encode(&event.audiences[first].data, shared.envelope);
    send(shared, client, &event.kind, &*envelope).await?;
    client.session.hold.replayed(&event.id);
    Ok(true)
}

/// Sends, waiting for a client that is slow to read, but not for ever.
async fn send<T: Serialize + ?Sized>(shared: &Shared, client: &Client, name: &str, payload: &T) -> Result<(), Gone> {
    let deadline = tokio::time::Instant::now() + READ_TIMEOUT;
    loop {
        match client.socket.emit(name, payload) {
            Ok(()) => return Ok(()),
            Err(SendError::Socket(SocketError::InternalChannelFull)) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(READ_POLL).await;
            }
            Err(SendError::Socket(SocketError::InternalChannelFull)) => {
                shared.cut(&client.session, "slow");
                return Err(Gone);
            }
            Err(SendError::Socket(SocketError::Closed)) => return Err(Gone),
            Err(SendError::Serialize(error)) => {
                tracing::error!(name, %error, "an event could not be encoded");
                return Ok(());
            }
        }
    }
}

/// Cuts the client when dropped.
struct Unfinished<'a> {
    shared: &'a Shared,
    session: &'a Session,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.shared.cut(self.session, "resume");
    }
}
