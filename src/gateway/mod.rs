//! Rooms and sockets: takes events, and puts them into the send buffers of the clients that may hear them.
//!
//! | file | role |
//! |---|---|
//! | `config` | the settings |
//! | `policy` | what the gateway asks of the catalog: which rooms, for whom |
//! | `sign_in` | who is connecting |
//! | `revocation` | whether they still are who they were |
//! | `rooms` | who is in which room |
//! | `session` | one client, from connect to disconnect |
//! | `messages` | what clients say, and what they are answered |
//! | `inbox` | what they ask of their inbox |
//! | `typing` | who is typing |
//! | `presence` | who is here, for the rules |
//! | `arrivals` | who came and went, for the waiting lists |
//! | `resume` | what a returning client missed |
//! | `hold` | live events that wait while it is told |
//! | `deliver` | events to sockets |
//! | `dismissal` | disconnecting a client with a word why |
//! | `connection` | the TCP connections below, and how one is cut |
//! | `admission` | which HTTP requests get to Socket.IO |
//! | `origin` | which web pages may connect |
//! | `limits` | how much one may take |
//! | `fuzzing` | a message's way, for fuzzers |

mod admission;
mod arrivals;
mod config;
mod connection;
mod deliver;
mod dismissal;
pub(crate) mod fuzzing;
mod hold;
mod inbox;
mod limits;
mod messages;
mod origin;
mod policy;
mod presence;
mod resume;
mod revocation;
mod rooms;
mod session;
mod sign_in;
#[cfg(test)]
mod tests;
mod turns;
mod typing;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use socketioxide::{ParserConfig, SocketIo, layer::SocketIoLayer};

pub use self::{
    admission::{Admission, ClientAddress},
    arrivals::Arrival,
    config::GatewayConfig,
    connection::{Connection, Connections, Listener, Peer},
    dismissal::CLOSING_REASONS,
    inbox::{Inbox, ListRequest, page_mark},
    limits::{Limits, LimitsConfig, TrustedProxies},
    origin::{Origin, Origins, loopback_host},
    policy::Policy,
    presence::{Moment, Seen},
    resume::Replay,
    sign_in::{Handshake, Refused, SignIn, kind},
};
use self::{
    arrivals::Arrivals,
    presence::{MomentIds, Online},
    revocation::Standing,
    rooms::Rooms,
    session::Client,
    turns::Turns,
    typing::Typing,
};
use crate::{event::EnvelopeStyle, journal::Journal, metrics::Metrics, position::Position, seldom::Seldom};

/// A message above the limit is answered with an error; one above this many times the limit ends the connection,
/// before it is in memory.
const TRANSPORT_LIMIT_FACTOR: usize = 4;

/// In bytes, for what one client sends, and kept for as long as it is connected. Most messages are shorter, and a longer one
/// is read in pieces.
const READ_BUFFER: usize = 1024;

/// A handle on the gateway; cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    shared: Arc<Shared>,
    io: SocketIo,
}

/// What the handlers of all sockets share. Knows nothing of `SocketIo`, which owns the handlers.
struct Shared {
    envelope: EnvelopeStyle,
    max_message_bytes: usize,
    max_rooms: usize,
    policy: Arc<dyn Policy>,
    sign_in: Arc<dyn SignIn>,
    replay: Arc<dyn Replay>,
    inbox: Arc<dyn Inbox>,
    metrics: Arc<Metrics>,
    journal: Arc<Journal>,
    rooms: Rooms<Client>,
    standing: Standing,
    confirm_interval: Duration,
    online: Online,
    arrivals: Arrivals,
    typing: Typing,
    moment_ids: MomentIds,
    connections: Arc<Connections>,
    limits: Arc<Limits>,
    /// Who is brought up to date now.
    turns: Turns,
    /// Of connections that were ended.
    log: Seldom,
    /// Every change below it has been delivered; `None` until the first sweep.
    position: Mutex<Option<Position>>,
    /// Another instance captures: whoever connected here would hear nothing.
    standing_by: AtomicBool,
}

/// What the gateway asks of others.
pub struct Neighbours {
    pub policy: Arc<dyn Policy>,
    pub sign_in: Arc<dyn SignIn>,
    pub replay: Arc<dyn Replay>,
    pub inbox: Arc<dyn Inbox>,
    pub metrics: Arc<Metrics>,
    pub journal: Arc<Journal>,
}

impl Gateway {
    /// The handle, and the layer that answers the path `/socket.io`.
    pub fn new(config: GatewayConfig, limits: LimitsConfig, among: Neighbours) -> (Self, SocketIoLayer) {
        let Neighbours { policy, sign_in, replay, inbox, metrics, journal } = among;
        let max_message_bytes = limits.max_message_bytes.get();
        let transport_limit = max_message_bytes.saturating_mul(TRANSPORT_LIMIT_FACTOR);
        let (layer, io) = SocketIo::builder()
            .max_buffer_size(config.buffer_per_socket.get())
            .max_payload(transport_limit as u64)
            .ws_read_buffer_size(READ_BUFFER)
            .ws_max_message_size(transport_limit)
            .ws_max_frame_size(transport_limit)
            .with_parser(ParserConfig::common().max_incoming_binary_buf_size(transport_limit))
            .ping_interval(config.ping_interval)
            .ping_timeout(config.ping_timeout)
            .upgrade_timeout(limits.handshake_timeout)
            .connect_timeout(limits.handshake_timeout)
            .build_layer();
        let shared = Arc::new(Shared {
            envelope: config.envelope,
            max_message_bytes,
            max_rooms: limits.max_rooms_per_socket.get(),
            arrivals: Arrivals::new(policy.waiting_rooms()),
            policy,
            sign_in,
            replay,
            inbox,
            limits: Limits::new(limits, metrics.clone()),
            metrics,
            journal,
            rooms: Rooms::default(),
            standing: Standing::default(),
            confirm_interval: config.confirm_interval,
            online: Online::default(),
            typing: Typing::default(),
            moment_ids: MomentIds::default(),
            connections: Arc::default(),
            turns: Turns::default(),
            log: Seldom::default(),
            position: Mutex::new(None),
            standing_by: AtomicBool::new(false),
        });
        session::register(&io, &shared);
        (Self { shared, io }, layer)
    }

    /// The connections that the HTTP server has to accept through, so that clients that don't read can be cut.
    pub fn connections(&self) -> Arc<Connections> {
        self.shared.connections.clone()
    }

    /// What a client may take of this server.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.shared.limits
    }

    /// What the positions rest on that were told so far is another now: until there is a new one, none is told.
    pub fn forget_position(&self) {
        *self.shared.position.lock().expect("no panic under the lock") = None;
    }

    /// From now on acknowledgements name this position: every change below it has been delivered.
    pub fn set_position(&self, position: Position) {
        *self.shared.position.lock().expect("no panic under the lock") = Some(position);
    }

    /// While this instance does not capture, clients are turned away, so that they come to the one that does.
    pub fn stand_by(&self, standing_by: bool) {
        let changed = self.shared.standing_by.swap(standing_by, Ordering::SeqCst) != standing_by;
        if changed && standing_by {
            // Also those that poll: what happens meanwhile they would never hear of.
            for client in self.shared.rooms.everyone() {
                self.shared.cut(&client.session, "standby");
            }
            self.shared.connections.cut_all();
        }
    }

    /// Where a client stands that hears the next event first; `None` until the first sweep.
    pub fn position(&self) -> Option<Position> {
        self.shared.position()
    }

    /// Whether clients are turned away.
    pub fn is_standing_by(&self) -> bool {
        self.shared.standing_by.load(Ordering::SeqCst)
    }

    /// Closes every socket, to be called once nothing new is accepted. What is still open after `timeout` is cut.
    ///
    /// Clients see their transport close, and so reconnect by themselves, to this service's successor.
    pub async fn drain(&self, timeout: Duration) {
        if tokio::time::timeout(timeout, self.io.close()).await.is_ok() {
            return;
        }
        let cut = self.shared.connections.cut_all();
        self.shared.metrics.sockets_cut.with_label_values(&["drain"]).inc_by(cut as u64);
        tracing::warn!(cut, ?timeout, "not every client had closed within the drain's time; the rest were cut");
    }
}

impl Shared {
    fn position(&self) -> Option<Position> {
        *self.position.lock().expect("no panic under the lock")
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("rooms", &self.shared.rooms.size()).finish_non_exhaustive()
    }
}
