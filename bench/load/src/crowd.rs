//! Many sockets on a thread of their own, each in its rooms, and everything that they hear.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{StreamExt, stream};
use tokio::{runtime, sync::watch};

use crate::{
    ledger::{Ledger, MarkFinder},
    socket::Socket,
};

/// How many sockets connect at the same time.
const CONNECTING: usize = 64;

/// How long a connection may take, with its rooms.
const PATIENCE: Duration = Duration::from_secs(30);

/// One marked message, as one socket heard it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Which socket, from 0.
    pub socket: u32,
    /// Which change.
    pub number: u32,
    /// When, in the ledger's microseconds.
    pub at: u64,
}

/// Whom to connect.
#[derive(Debug, Clone)]
pub struct Members {
    /// The server, as in `127.0.0.1:4000`.
    pub address: String,
    /// For each socket the messages that join its rooms.
    pub joins: Vec<Vec<String>>,
}

/// Connected sockets. Dropped, all of them are.
#[derive(Debug)]
pub struct Crowd {
    heard: Arc<Heard>,
    sockets: usize,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Heard {
    /// What arrivals are measured by, and where they go; none while nobody measures.
    record: Mutex<Option<Record>>,
    marked: AtomicU64,
    unmarked: AtomicU64,
    ends: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Record {
    ledger: Arc<Ledger>,
    arrivals: Vec<Arrival>,
}

impl Crowd {
    /// Connects all of them, and returns when each is in its rooms.
    pub fn connect(members: Members) -> Result<Self> {
        let heard = Arc::new(Heard {
            record: Mutex::new(None),
            marked: AtomicU64::new(0),
            unmarked: AtomicU64::new(0),
            ends: Mutex::new(Vec::new()),
        });
        let (stop, stopped) = watch::channel(false);
        let (ready, when_ready) = mpsc::channel();
        let sockets = members.joins.len();
        let thread = std::thread::Builder::new().name("sockets".to_owned()).spawn({
            let heard = heard.clone();
            move || listen(members, heard, ready, stopped)
        })?;
        let crowd = Self { heard, sockets, stop, thread: Some(thread) };
        when_ready.recv().map_err(|_| anyhow!("the thread of the sockets ended early"))??;
        Ok(crowd)
    }

    /// How many sockets there are.
    pub fn len(&self) -> usize {
        self.sockets
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sockets == 0
    }

    /// Begins to note arrivals, about as many as `expected`.
    pub fn record(&self, ledger: &Arc<Ledger>, expected: usize) {
        let arrivals = Vec::with_capacity(expected + expected / 8);
        self.heard.marked.store(0, Relaxed);
        self.heard.unmarked.store(0, Relaxed);
        *self.heard.record.lock().unwrap() = Some(Record { ledger: ledger.clone(), arrivals });
    }

    /// Ends the record, and hands it over.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.heard.record.lock().unwrap().take().map(|record| record.arrivals).unwrap_or_default()
    }

    /// Waits until so many marked messages have come, but not longer than `stall` after the last one.
    pub fn settle(&self, expected: u64, stall: Duration) {
        let (mut count, mut since) = (self.marked(), Instant::now());
        while count < expected && since.elapsed() < stall {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.marked();
            if now > count {
                (count, since) = (now, Instant::now());
            }
        }
    }

    /// Marked messages since the record began.
    pub fn marked(&self) -> u64 {
        self.heard.marked.load(Relaxed)
    }

    /// Other messages since then.
    pub fn unmarked(&self) -> u64 {
        self.heard.unmarked.load(Relaxed)
    }

    /// Fails if a connection has ended.
    pub fn require_all(&self) -> Result<()> {
        let ends = self.heard.ends.lock().unwrap();
        match ends.first() {
            None => Ok(()),
            Some(first) => {
                bail!("expected {} sockets to stay connected, {} did not; the first: {first}", self.sockets, ends.len())
            }
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn listen(members: Members, heard: Arc<Heard>, ready: mpsc::Sender<Result<()>>, mut stopped: watch::Receiver<bool>) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            ready.send(Err(error.into())).ok();
            return;
        }
    };
    runtime.block_on(async {
        match connect_all(members).await {
            Ok(sockets) => {
                for (index, socket) in sockets {
                    tokio::spawn(hear(index, socket, heard.clone()));
                }
                ready.send(Ok(())).ok();
            }
            Err(error) => {
                ready.send(Err(error)).ok();
                return;
            }
        }
        stopped.wait_for(|stopped| *stopped).await.ok();
    });
}

async fn connect_all(members: Members) -> Result<Vec<(u32, Socket)>> {
    let address = &members.address;
    stream::iter(members.joins.into_iter().enumerate())
        .map(|(index, joins)| async move {
            let socket = tokio::time::timeout(PATIENCE, enter(address, &joins))
                .await
                .unwrap_or_else(|_| bail!("it took longer than {PATIENCE:?}"))
                .with_context(|| format!("socket {index} could not be connected"))?;
            Ok((index as u32, socket))
        })
        .buffer_unordered(CONNECTING)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect()
}

async fn enter(address: &str, joins: &[String]) -> Result<Socket> {
    let mut socket = Socket::connect(address).await?;
    for join in joins {
        socket.join(join).await?;
    }
    Ok(socket)
}

async fn hear(index: u32, mut socket: Socket, heard: Arc<Heard>) {
    let finder = MarkFinder::default();
    loop {
        match socket.next().await {
            Ok(message) => heard.note(index, finder.find(message.as_bytes())),
            Err(error) => {
                heard.ends.lock().unwrap().push(format!("socket {index}: {error:#}"));
                return;
            }
        }
    }
}

impl Heard {
    fn note(&self, socket: u32, number: Option<u32>) {
        let Some(number) = number else {
            self.unmarked.fetch_add(1, Relaxed);
            return;
        };
        self.marked.fetch_add(1, Relaxed);
        if let Some(record) = &mut *self.record.lock().unwrap() {
            let at = record.ledger.now();
            record.arrivals.push(Arrival { socket, number, at });
        }
    }
}
