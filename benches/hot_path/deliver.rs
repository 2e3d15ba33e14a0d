//! An event into the buffers of a hundred sockets that read.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput};
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use rowcast::{
    event::Event,
    gateway::{
        Gateway, GatewayConfig, Handshake, Inbox, LimitsConfig, ListRequest, Neighbours, Policy, Refused, Replay,
        SignIn,
    },
    http::{self, Http},
    identity::{Identity, SignedIn},
    journal::{Journal, JournalConfig},
    metrics::Metrics,
    position::Position,
    readiness::Readiness,
    room::Room,
};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
};
use tokio_tungstenite::tungstenite::Message;

use crate::evaluate::stock_changed;

const SOCKETS: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(10);

pub fn bench(criterion: &mut Criterion) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let stage = Stage::set(&runtime, stock_changed());
    let mut group = criterion.benchmark_group("deliver");
    group.throughput(Throughput::Elements(SOCKETS));
    group.bench_function("into the buffers of 100 sockets", |bencher| {
        bencher.iter_custom(|times| runtime.block_on(stage.deliver(times)));
    });
    group.bench_function("until 100 sockets have read it, their reading included", |bencher| {
        bencher.iter_custom(|times| {
            let began = Instant::now();
            runtime.block_on(stage.deliver(times));
            began.elapsed()
        });
    });
    group.finish();
}

/// The gateway behind its HTTP server, and sockets that count what they read.
struct Stage {
    gateway: Gateway,
    event: Event,
    read: Arc<AtomicU64>,
}

impl Stage {
    fn set(runtime: &Runtime, event: Event) -> Self {
        runtime.block_on(async {
            let room = event.audiences[0].rooms[0].clone();
            let metrics = Arc::new(Metrics::new());
            let (gateway, address) = serve(room, metrics.clone()).await;
            let read = Arc::<AtomicU64>::default();
            let connected = async {
                for _ in 0..SOCKETS {
                    listen(&address, read.clone()).await;
                }
                // A client knows a moment before the server that it is connected.
                while (metrics.sockets.get() as u64) < SOCKETS {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(PATIENCE, connected).await.expect("all sockets connect in time");
            Self { gateway, event, read }
        })
    }

    /// The time that it took to put it into the buffers, so many times; each time all have read it before the next.
    async fn deliver(&self, times: u64) -> Duration {
        let mut delivering = Duration::ZERO;
        for _ in 0..times {
            let before = self.read.load(Ordering::Acquire);
            let began = Instant::now();
            self.gateway.deliver(&self.event);
            delivering += began.elapsed();
            while self.read.load(Ordering::Acquire) < before + SOCKETS {
                assert!(began.elapsed() < PATIENCE, "expected {SOCKETS} sockets to read an event, some did not");
                tokio::task::yield_now().await;
            }
        }
        delivering
    }
}

async fn serve(own_room: Room, metrics: Arc<Metrics>) -> (Gateway, String) {
    let limits = LimitsConfig { connections_per_address: NonZeroUsize::MAX, ..LimitsConfig::default() };
    let among = Neighbours {
        policy: Arc::new(Alone(own_room)),
        sign_in: Arc::new(Nobody),
        replay: Arc::new(Nobody),
        inbox: Arc::new(Nobody),
        metrics,
        journal: Arc::new(Journal::new(JournalConfig::default())),
    };
    let (gateway, socket_io) = Gateway::new(GatewayConfig::default(), limits, among);
    let (_, readiness) = watch::channel(Readiness::not_ready("not asked"));
    let allowed_origins = GatewayConfig::default().allowed_origins;
    let router = http::router(Http { gateway: gateway.clone(), socket_io, allowed_origins, readiness, demo: None });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address").to_string();
    let served = gateway.clone();
    tokio::spawn(async move { http::serve(listener, &served, router, std::future::pending()).await });
    (gateway, address)
}

/// Connects as a visitor, and counts the events that come.
async fn listen(address: &str, read: Arc<AtomicU64>) {
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("the server accepts");
    socket.send(Message::text("40")).await.expect("the server reads");
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            match message.to_text().unwrap_or_default() {
                "2" => socket.send(Message::text("3")).await.expect("the server reads"),
                event if event.starts_with("42") => _ = read.fetch_add(1, Ordering::Release),
                _ => {}
            }
        }
    });
}

/// Everybody is in this one room.
struct Alone(Room);

impl Policy for Alone {
    fn may_join(&self, _: &Identity, _: &Room) -> bool {
        false
    }

    fn own_rooms(&self, _: &Identity) -> Vec<Room> {
        vec![self.0.clone()]
    }

    fn rooms_for_message(&self, name: &str, _: &Identity, _: &Value) -> Result<Vec<Room>, String> {
        Err(format!("unknown message {name:?}"))
    }
}

/// Everybody is a visitor, with neither a past nor an inbox.
struct Nobody;

impl SignIn for Nobody {
    fn sign_in<'a>(&'a self, _: &'a Handshake) -> BoxFuture<'a, Result<SignedIn, Refused>> {
        async { Ok(SignedIn::default()) }.boxed()
    }

    fn confirm<'a>(&'a self, before: &'a SignedIn) -> BoxFuture<'a, Result<SignedIn, Refused>> {
        async { Ok(before.clone()) }.boxed()
    }
}

impl Replay for Nobody {
    fn replay(&self, _: Position, _: mpsc::Sender<Vec<Event>>) -> BoxFuture<'_, Result<Position, String>> {
        async { Err("there is no past".to_owned()) }.boxed()
    }
}

impl Inbox for Nobody {
    fn list<'a>(&'a self, _: &'a str, _: ListRequest) -> BoxFuture<'a, Result<Value, String>> {
        no_inbox()
    }

    fn read<'a>(&'a self, _: &'a str, _: Option<&'a str>) -> BoxFuture<'a, Result<Value, String>> {
        no_inbox()
    }

    fn delete<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        no_inbox()
    }
}

fn no_inbox<'a>() -> BoxFuture<'a, Result<Value, String>> {
    async { Err("there is no inbox".to_owned()) }.boxed()
}
