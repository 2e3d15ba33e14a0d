//! What a returning client missed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::RawValue;
use socketioxide::{SendError, SocketError};
use tokio::sync::mpsc;

use super::{
    Shared,
    hold::{Missed, Next},
    session::{Client, Session},
    turns::Whom,
};
use crate::{event::Event, journal::What, position::Position, room::Room};

/// The event that tells a client to load anew what it shows.
pub(super) const RESYNC: &str = "rowcast:resync";
/// The event that tells a client that it has heard all it missed.
const RESUMED: &str = "rowcast:resumed";

/// How long a client may wait for others of the same person: longer than one of them takes at most.
const TURN_TIMEOUT: Duration = Duration::from_secs(90);
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
    /// Where the client stands once it has loaded anew; the one that it had is good no more.
    pub position: Option<Position>,
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

/// The client can't be reached any more.
struct Gone;

/// Sees a client's hold through to its end: what it missed in order, then a word that this was all, then what was held
/// back. Where that isn't possible the word is to load anew: never silent, never partial.
///
/// Ends early when the client goes.
pub(super) async fn catch_up(shared: &Arc<Shared>, client: &Client) {
    // Held events would wait for ever for a task that died, so its client starts over.
    let unfinished = Unfinished { shared, session: &client.session };
    tokio::select! {
        biased;
        () = client.session.gone.cancelled() => {}
        _ = tell_all(shared, client) => {}
    }
    std::mem::forget(unfinished);
}

async fn tell_all(shared: &Shared, client: &Client) -> Result<(), Gone> {
    loop {
        match client.session.hold.next() {
            Next::Replay(missed) => resume(shared, client, missed).await?,
            Next::Reload(reason) => {
                shared.note(&client.session, What::resync(&reason));
                send(shared, client, RESYNC, &Resync { reason: &reason, rooms: &[], position: shared.position() })
                    .await?;
            }
            Next::Event(held) => send(shared, client, &held.kind, &*held.envelope).await?,
            Next::Done => return Ok(()),
        }
    }
}

async fn resume(shared: &Shared, client: &Client, missed: Missed) -> Result<(), Gone> {
    // Waited for by itself, so that a slow one before it takes nothing of this one's time.
    let turn = tokio::time::timeout(TURN_TIMEOUT, shared.turns.take(Whom::of(&client.session))).await;
    let told = match turn {
        Ok(_held) => tokio::time::timeout(REPLAY_TIMEOUT, replay(shared, client, &missed)).await,
        Err(late) => Err(late),
    };
    let reason = match told {
        Ok(Ok(Ok(resumed))) => {
            shared.note(&client.session, What::resumed(resumed.rooms, resumed.replayed));
            return send(shared, client, RESUMED, &resumed).await;
        }
        Ok(Ok(Err(reason))) => reason,
        Ok(Err(gone)) => return Err(gone),
        Err(_) => "what was missed could not be told in time".to_owned(),
    };
    shared.note(&client.session, What::resync(&reason));
    // Not the present one: before it are live events of other rooms that wait still.
    send(
        shared,
        client,
        RESYNC,
        &Resync { reason: &reason, rooms: &missed.rooms, position: client.session.hold.began_at() },
    )
    .await
}

async fn replay<'a>(shared: &Shared, client: &Client, missed: &'a Missed) -> Result<Result<Resumed<'a>, String>, Gone> {
    let wanted: HashSet<&Room> = missed.rooms.iter().collect();
    // One batch is on its way while another is made: that bounds what a slow client costs.
    let (sender, mut events) = mpsc::channel::<Vec<Event>>(1);
    // When the client is gone this is dropped, and its turn is another's.
    let mut past = shared.replay.replay(missed.since, sender);
    let (mut replayed, mut outcome) = (0, None);
    loop {
        tokio::select! {
            biased;
            ended = &mut past, if outcome.is_none() => outcome = Some(ended),
            batch = events.recv() => match (batch, outcome.take()) {
                (Some(batch), unchanged) => {
                    outcome = unchanged;
                    for event in batch {
                        replayed += usize::from(tell(shared, client, &wanted, &event).await?);
                    }
                }
                (None, Some(ended)) => {
                    return Ok(ended.map(|position| Resumed { rooms: &missed.rooms, replayed, position }));
                }
                (None, None) => outcome = Some((&mut past).await),
            },
        }
    }
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
