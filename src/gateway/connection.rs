//! The TCP connections that carry the sockets, so that a client that stopped reading can be cut off at once.
//!
//! A connection that ends at the transport makes a JavaScript client reconnect by itself; a disconnect on the level of
//! Socket.IO does not, and can't even be sent to a client that doesn't read.

use std::{
    collections::{HashMap, HashSet, hash_map},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use socketioxide::socket::Sid;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::limits::{Limits, TcpPlace, TurnedAway};

/// How long sent data may stay without the peer's acknowledgement before the kernel gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Which TCP connection carries which socket, and the sockets that were cut.
///
/// Bounded by what is alive: an entry of `carriers` goes with its TCP connection, one of `cut` with its socket.
#[derive(Debug, Default)]
pub struct Connections {
    last_id: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    carriers: HashMap<Sid, Carrier>,
    cut: HashSet<Sid>,
}

#[derive(Debug)]
struct Carrier {
    connection: u64,
    end: CancellationToken,
}

impl Connections {
    /// Ends the socket's TCP connection, and refuses what its client sends by polling from now on.
    pub fn cut(&self, sid: Sid) {
        let mut inner = self.lock();
        inner.cut.insert(sid);
        if let Some(carrier) = inner.carriers.get(&sid) {
            carrier.end.cancel();
        }
    }

    /// Ends the TCP connection that carries the socket, if there is one.
    pub fn end(&self, sid: Sid) {
        if let Some(carrier) = self.lock().carriers.get(&sid) {
            carrier.end.cancel();
        }
    }

    pub fn is_cut(&self, sid: Sid) -> bool {
        self.lock().cut.contains(&sid)
    }

    /// The socket is gone.
    pub fn forget(&self, sid: Sid) {
        self.lock().cut.remove(&sid);
    }

    /// Ends every connection that carries a socket, and says how many.
    pub fn cut_all(&self) -> usize {
        let inner = self.lock();
        inner.carriers.values().for_each(|carrier| carrier.end.cancel());
        inner.carriers.len()
    }

    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.carriers.len(), inner.cut.len())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic under the lock")
    }
}

/// Accepts connections that [`Connections`] can end, as many as [`Limits`] allow.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    connections: Arc<Connections>,
    limits: Arc<Limits>,
}

impl Listener {
    pub fn new(tcp: TcpListener, connections: Arc<Connections>, limits: Arc<Limits>) -> Self {
        Self { tcp, connections, limits }
    }

    /// The next connection that there is a place for.
    pub async fn accept(&mut self) -> Connection {
        loop {
            // Waits where the process has no file descriptors left, and goes on where a client has gone again.
            let (tcp, address) = axum::serve::Listener::accept(&mut self.tcp).await;
            match self.limits.accept(address.ip()) {
                Ok(place) => {
                    if let Err(error) = set_options(&tcp) {
                        tracing::debug!(%error, "could not set the options of an accepted connection");
                    }
                    return Connection::new(tcp, address, &self.connections, place);
                }
                Err(turned_away) => turn_away(&tcp, &turned_away),
            }
        }
    }
}

/// Says why, as far as that costs nothing: nobody waits for the client to ask or to listen.
fn turn_away(tcp: &TcpStream, TurnedAway { status, error }: &TurnedAway) {
    let length = error.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{error}"
    );
    tcp.try_write(answer.as_bytes()).ok();
}

fn set_options(tcp: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(())
}

/// One accepted connection. Ended from outside, reading and writing fail, whatever they wait for.
#[derive(Debug)]
pub struct Connection {
    tcp: TcpStream,
    peer: Peer,
    // One for each direction: they may be polled by different tasks, and each keeps the waker of its own.
    read_end: Pin<Box<WaitForCancellationFutureOwned>>,
    write_end: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: TcpPlace,
}

/// A connection as its requests see it (`ConnectInfo<Peer>`).
#[derive(Debug, Clone)]
pub struct Peer {
    id: u64,
    address: SocketAddr,
    /// The port that it came to.
    port: Option<u16>,
    end: CancellationToken,
    carries: Arc<OnceLock<Sid>>,
    /// Set under the lock of `connections` when the connection has ended, after which it carries nothing any more.
    closed: Arc<AtomicBool>,
    // Weak: requests keep their Peer for as long as the socket lives.
    connections: Weak<Connections>,
}

impl Peer {
    /// Of the other end: a client, or the last proxy before it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of this server that it connected to; `None` if the connection was gone already.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Notes that this connection carries the socket from now on: it is the WebSocket of it.
    pub fn carry(&self, sid: Sid) {
        let Some(connections) = self.connections.upgrade() else { return };
        let mut inner = connections.lock();
        // The first stays: a second WebSocket for one socket is refused.
        let hash_map::Entry::Vacant(vacant) = inner.carriers.entry(sid) else { return };
        if self.closed.load(Ordering::SeqCst) || self.carries.set(sid).is_err() {
            return;
        }
        vacant.insert(Carrier { connection: self.id, end: self.end.clone() });
        // It may have been cut while it changed over to this connection.
        if inner.cut.contains(&sid) {
            self.end.cancel();
        }
    }
}

impl Connection {
    fn new(tcp: TcpStream, address: SocketAddr, connections: &Arc<Connections>, place: TcpPlace) -> Self {
        let end = CancellationToken::new();
        let port = tcp.local_addr().ok().map(|own| own.port());
        Self {
            tcp,
            _place: place,
            read_end: Box::pin(end.clone().cancelled_owned()),
            write_end: Box::pin(end.clone().cancelled_owned()),
            peer: Peer {
                id: connections.last_id.fetch_add(1, Ordering::Relaxed) + 1,
                address,
                port,
                end,
                carries: Arc::default(),
                closed: Arc::default(),
                connections: Arc::downgrade(connections),
            },
        }
    }

    /// This connection as its requests see it.
    pub fn peer(&self) -> Peer {
        self.peer.clone()
    }

    fn check_write_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.write_end.as_mut().poll(cx).is_ready() { Err(ended()) } else { Ok(()) }
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the server ended this connection")
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.peer.end.is_cancelled() {
            // Reset: a client that doesn't read would never see the end that is queued behind unread data, and the
            // kernel would keep that data for it.
            SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).ok();
        }
        let Some(connections) = self.peer.connections.upgrade() else { return };
        let mut inner = connections.lock();
        self.peer.closed.store(true, Ordering::SeqCst);
        let Some(sid) = self.peer.carries.get() else { return };
        if inner.carriers.get(sid).is_some_and(|carrier| carrier.connection == self.peer.id) {
            inner.carriers.remove(sid);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read_end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(ended()));
        }
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_write_end(cx)?;
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_write_end(cx)?;
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_write_end(cx)?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_write_end(cx)?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
