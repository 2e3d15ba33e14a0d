//! The network between a service and Postgres: it can stop forwarding, in one direction or both, cut, delay, and move.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToPostgres,
    FromPostgres,
}

struct State {
    /// The port of the server behind it.
    target: watch::Receiver<u16>,
    to_postgres_flows: watch::Sender<bool>,
    from_postgres_flows: watch::Sender<bool>,
    /// Grows with each cut.
    cut: watch::Sender<u64>,
    /// Connections up to this number carry nothing any more.
    forsaken: watch::Sender<u64>,
    /// The number of the newest connection.
    newest: AtomicU64,
    delay_ms: AtomicU64,
}

impl State {
    fn flows(&self, way: Way) -> &watch::Sender<bool> {
        match way {
            Way::ToPostgres => &self.to_postgres_flows,
            Way::FromPostgres => &self.from_postgres_flows,
        }
    }
}

pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
    accepting: Mutex<JoinHandle<()>>,
}

impl Proxy {
    pub async fn start(target: watch::Receiver<u16>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            target,
            to_postgres_flows: watch::channel(true).0,
            from_postgres_flows: watch::channel(true).0,
            cut: watch::channel(0).0,
            forsaken: watch::channel(0).0,
            newest: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
        });
        let accepting = Mutex::new(tokio::spawn(accept(listener, Arc::clone(&state))));
        Self { port, state, accepting }
    }

    /// Bytes stop, on the connections that there are and on new ones; nobody is told.
    pub fn stop(&self, way: Way) {
        self.state.flows(way).send_replace(false);
    }

    /// Bytes flow again, also those that came meanwhile.
    pub fn go_on(&self) {
        for way in [Way::ToPostgres, Way::FromPostgres] {
            self.state.flows(way).send_replace(true);
        }
    }

    /// The connections that there are carry nothing any more, and do not end either: only the two ends can give them up.
    pub fn forsake(&self) {
        self.state.forsaken.send_replace(self.state.newest.load(Ordering::SeqCst));
    }

    /// Resets every connection.
    pub fn cut(&self) {
        self.state.cut.send_modify(|cut| *cut += 1);
    }

    pub fn delay(&self, delay: Duration) {
        self.state.delay_ms.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Is reached at another address from now on, and nowhere else.
    pub async fn move_to(&self, address: IpAddr) -> io::Result<()> {
        let listener = TcpListener::bind(SocketAddr::from((address, self.port))).await?;
        let accepting = tokio::spawn(accept(listener, Arc::clone(&self.state)));
        std::mem::replace(&mut *self.accepting.lock().expect("no panic under the lock"), accepting).abort();
        self.cut();
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.lock().expect("no panic under the lock").abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        tokio::spawn(carry(near, Arc::clone(&state)));
    }
}

/// One connection, to its end.
async fn carry(near: TcpStream, state: Arc<State>) {
    let number = state.newest.fetch_add(1, Ordering::SeqCst) + 1;
    let mut cut = state.cut.subscribe();
    cut.mark_unchanged();
    let port = *state.target.borrow();
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    near.set_nodelay(true).ok();
    far.set_nodelay(true).ok();
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let up = pump(number, near_in, far_out, &state, Way::ToPostgres);
    let down = pump(number, far_in, near_out, &state, Way::FromPostgres);
    tokio::select! {
        _ = async { tokio::join!(up, down) } => {}
        _ = cut.changed() => {}
    }
}

/// Carries bytes one way until there are no more.
async fn pump(
    number: u64,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
    way: Way,
) -> Option<(OwnedReadHalf, OwnedWriteHalf)> {
    // Reset if it is dropped in between.
    SockRef::from(to.as_ref()).set_linger(Some(Duration::ZERO)).ok();
    let mut flows = state.flows(way).subscribe();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if *state.forsaken.borrow() >= number {
            match read {
                // The near end has given up, or the far one.
                0 => return None,
                _ => continue,
            }
        }
        flows.wait_for(|flows| *flows).await.ok()?;
        let delay = state.delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if read == 0 {
            to.shutdown().await.ok();
            return Some((from, to));
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return Some((from, to));
        }
    }
}
