//! One client, from connect to disconnect.

use std::{
    convert::Infallible,
    future::ready,
    net::IpAddr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use axum::extract::ConnectInfo;
use socketioxide::{
    SocketIo,
    adapter::Adapter,
    extract::{AckSender, Extension, SocketRef},
    handler::{ConnectHandler, FromConnectParts, Value},
    socket::{DisconnectReason, Sid, Socket},
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    ClientAddress, Handshake, Peer, Shared,
    hold::{Hold, Missed},
    limits::Allowance,
    messages::{self, Incoming, Left},
    resume::{self, RESYNC, Resync},
    rooms::Member,
    sign_in::kind,
};
use crate::{
    identity::SignedIn,
    journal::What,
    position::{Position, PositionError},
    room::Room,
};

/// How many questions of one client may wait for the database at once.
const QUESTIONS_AT_ONCE: usize = 8;

/// What is known of one client. Handlers, which belong to the socket, hold it: so it can't hold the socket.
pub(super) struct Session {
    pub sid: Sid,
    pub member: Member,
    /// `None` for a visitor. The same for as long as the client is connected, whatever else becomes of its sign-in.
    pub user_id: Option<String>,
    signed_in: RwLock<Arc<SignedIn>>,
    /// How often something had been put in doubt when that was looked up.
    doubts: u64,
    /// Where it connected from.
    pub address: IpAddr,
    own_rooms: Vec<Room>,
    since: Option<Result<Position, PositionError>>,
    /// What waits while the client is brought up to date.
    pub hold: Hold,
    /// Cancelled when the client is gone: nobody needs to be brought up to date any more.
    pub gone: CancellationToken,
    /// Questions that wait for their answers; a client with more is refused.
    pub questions: Semaphore,
    /// What it may say.
    pub allowance: Allowance,
    /// The disconnect handler has run.
    ended: AtomicBool,
}

/// A session with the socket to reach it by.
#[derive(Clone)]
pub(super) struct Client {
    pub session: Arc<Session>,
    pub socket: SocketRef,
}

impl Session {
    /// Who this is now.
    pub fn signed_in(&self) -> Arc<SignedIn> {
        self.signed_in.read().expect("no panic under the lock").clone()
    }

    /// Held by whoever joins rooms by the sign-in, or replaces it: see `Shared::change_over`.
    pub fn sign_in_lock(&self) -> &RwLock<Arc<SignedIn>> {
        &self.signed_in
    }
}

pub(super) fn register(io: &SocketIo, shared: &Arc<Shared>) {
    // Whatever a handler does before its future is spawned happens in the order in which the client sent its
    // messages; so everything but a replay is done there, and the futures are empty.
    let on_connect = {
        let shared = shared.clone();
        move |socket: SocketRef, Extension(session): Extension<Arc<Session>>| {
            let client = Client { session, socket };
            let missed = open(&shared, &client);
            catch_up(shared.clone(), client, missed)
        }
    };
    let admit = {
        let shared = shared.clone();
        async move |socket: SocketRef, presented: Presented| admit(&shared, &socket, presented).await
    };
    io.ns("/", on_connect.with(admit));
}

/// Signs the client in. Handlers are registered here, before it learns that it is connected: so no message is lost.
async fn admit(shared: &Arc<Shared>, socket: &SocketRef, presented: Presented) -> Result<(), String> {
    let handshake = presented.handshake?;
    let since = since(&handshake.auth, "auth.since")?.map(|position| position.parse());
    let doubts = shared.standing.doubts();
    let attempt = shared.limits.sign_in(&handshake, shared.sign_in.sign_in(&handshake));
    let signed_in = attempt.await.map_err(|refused| refused.to_string())?;
    let allowance = shared.limits.connect(signed_in.identity.user_id.as_deref())?;
    let session = Arc::new(Session {
        sid: socket.id,
        member: shared.rooms.new_member(),
        own_rooms: shared.policy.own_rooms(&signed_in.identity),
        user_id: signed_in.identity.user_id.clone(),
        signed_in: RwLock::new(Arc::new(signed_in)),
        doubts,
        address: handshake.address,
        since,
        hold: Hold::default(),
        gone: CancellationToken::new(),
        questions: Semaphore::new(QUESTIONS_AT_ONCE),
        allowance,
        ended: AtomicBool::new(false),
    });
    if let Some(peer) = presented.peer {
        peer.carry(socket.id);
    }
    socket.extensions.insert(session.clone());
    socket.on_disconnect({
        let (shared, session) = (shared.clone(), session.clone());
        move |reason: DisconnectReason| {
            end(&shared, &session);
            // A connection is for one sign-in.
            if reason == DisconnectReason::ClientNSDisconnect {
                shared.connections.end(session.sid);
            }
            ready(())
        }
    });
    socket.on_fallback({
        let shared = shared.clone();
        move |socket: SocketRef, incoming: Incoming, ack: AckSender| {
            let client = Client { session: session.clone(), socket };
            // The client may know that it is connected before the connect handler runs.
            let missed = open(&shared, &client);
            let left = match shared.hear(&client, ack) {
                Some(ack) => messages::handle(&shared, &client.session, incoming, ack),
                None => Left::Nothing,
            };
            let shared = shared.clone();
            async move {
                match left {
                    Left::Nothing => catch_up(shared, client, missed).await,
                    Left::Missed => catch_up(shared, client, true).await,
                    // Two tasks in one: neither waits for the other.
                    Left::Renewal(renewal) => {
                        let answer = renewal.answer(&shared, &client);
                        tokio::join!(catch_up(shared.clone(), client.clone(), missed), answer);
                    }
                    Left::Asked(asked) => {
                        let answer = asked.answer(&shared, &client.session);
                        tokio::join!(catch_up(shared.clone(), client.clone(), missed), answer);
                    }
                }
            }
        }
    });
    Ok(())
}

async fn catch_up(shared: Arc<Shared>, client: Client, missed: bool) {
    if missed {
        resume::catch_up(&shared, &client).await;
    }
}

/// The client hears its own rooms from here on, or from when it has heard what it missed in them: then it is true, and
/// the caller has to bring it up to date. Does nothing the second time.
fn open(shared: &Shared, client: &Client) -> bool {
    let session = &client.session;
    let mut begun = false;
    let opened = shared.rooms.open(&session.member, client.clone(), session.own_rooms.iter().cloned(), || {
        // Before anybody can close it, and so be told that the user has left.
        shared.came_online(client);
        let since = session.since.as_ref().and_then(|since| since.clone().ok());
        shared.note(session, What::connected(&session.own_rooms, since));
        let (id, signed_in) = (session.member.id(), session.signed_in());
        shared.standing.add(id, client.clone(), &signed_in, session.doubts, shared.confirm_interval);
        if let (Some(Ok(since)), false) = (&session.since, session.own_rooms.is_empty()) {
            begun =
                session.hold.begin(Missed { rooms: session.own_rooms.clone(), since: *since }, || shared.position());
        }
    });
    if opened {
        shared.metrics.sockets.inc();
        // Whoever was being signed in when this instance began to stand by was not among those who were cut then.
        if shared.standing_by.load(Ordering::SeqCst) {
            shared.cut(session, "standby");
            return false;
        }
        if let Some(Err(error)) = &session.since {
            let reason = format!("auth.since: {error}");
            shared.note(session, What::resync(&reason));
            shared.send(
                client,
                RESYNC,
                &Resync { reason: &reason, rooms: &session.own_rooms, position: shared.position() },
            );
        }
    }
    begun
}

fn end(shared: &Shared, session: &Session) {
    shared.close(session, None);
    session.ended.store(true, Ordering::SeqCst);
    shared.connections.forget(session.sid);
}

impl Shared {
    /// Into the journal.
    pub(super) fn note(&self, session: &Session, what: What) {
        self.journal.happened(session.member.id(), session.user_id.as_deref(), what);
    }

    /// Nothing is sent to the client any more. False if that was so before.
    pub(super) fn close(&self, session: &Session, reason: Option<&str>) -> bool {
        session.gone.cancel();
        let Some(rooms) = self.rooms.close(&session.member) else { return false };
        self.note(session, What::Gone { reason: reason.map(str::to_owned) });
        self.metrics.sockets.dec();
        self.standing.remove(session.member.id());
        self.note_arrivals(session, &rooms);
        self.stopped_typing(session, &rooms);
        if let Some(user_id) = &session.user_id {
            self.online.left(user_id);
        }
        true
    }

    /// Ends a client's connection without a word, so that it reconnects by itself.
    pub(super) fn cut(&self, session: &Session, reason: &'static str) {
        if !self.close(session, Some(reason)) {
            return;
        }
        self.metrics.sockets_cut.with_label_values(&[reason]).inc();
        self.tell_of_end(session, reason);
        self.connections.cut(session.sid);
        // The disconnect handler may have run in between, and it forgets what was cut before it.
        if session.ended.load(Ordering::SeqCst) {
            self.connections.forget(session.sid);
        }
    }

    /// Into the log: of each reason seldom, since clients can bring it about again and again.
    pub(super) fn tell_of_end(&self, session: &Session, reason: &'static str) {
        tracing::debug!(socket = %session.sid, reason, "ended a connection");
        if let Some(times) = self.log.is_time(reason, Instant::now()) {
            tracing::info!(socket = %session.sid, reason, times, "ended a connection; told at most once a minute");
        }
    }
}

/// The `since` of an object that a client sent.
pub(super) fn since<'a>(payload: &'a serde_json::Value, name: &str) -> Result<Option<&'a str>, String> {
    match payload.get("since") {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(position)) => Ok(Some(position)),
        Some(other) => Err(format!("{name}: expected the position of an event, a string, found {}", kind(other))),
    }
}

/// What a client shows when it connects, and the connection that carries it.
struct Presented {
    handshake: Result<Handshake, String>,
    /// `None` while it polls: each poll may come over another connection.
    peer: Option<Peer>,
}

impl<A: Adapter> FromConnectParts<A> for Presented {
    type Error = Infallible;

    fn from_connect_parts(socket: &Arc<Socket<A>>, auth: &Option<Value>) -> Result<Self, Infallible> {
        let auth = match auth {
            Some(Value::Str(text, _)) if !text.is_empty() => {
                serde_json::from_str(text).map_err(|_| "auth: expected JSON".to_owned())
            }
            Some(Value::Bytes(_)) => Err("auth: expected JSON, found bytes".to_owned()),
            _ => Ok(serde_json::Value::Null),
        };
        let parts = socket.req_parts();
        let by_websocket =
            parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "transport=websocket"));
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().filter(|_| by_websocket);
        let unknown = IpAddr::from([0, 0, 0, 0]);
        let address = parts.extensions.get::<ClientAddress>().map_or(unknown, |ClientAddress(address)| *address);
        Ok(Self {
            handshake: auth.map(|auth| Handshake { auth, headers: parts.headers.clone(), address }),
            peer: peer.map(|ConnectInfo(peer)| peer.clone()),
        })
    }
}
