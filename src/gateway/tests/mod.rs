//! The gateway behind its HTTP server on a port of its own, met by clients over the wire.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use chrono::Utc;
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::{Value, json, value::RawValue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    change::{Op, TableName},
    event::{Audience, Event},
    http::{self, Admin, Http},
    identity::{Claimed, Concern, Grounds, Identity, SignedIn},
    readiness::Readiness,
    room::Room,
};

#[path = "../../../tests/support/client.rs"]
mod client;
mod connections;
mod limits;
mod origins;
mod people;
mod resume;
mod revocation;
mod rooms;
mod slow;

use client::{Client, PATIENCE};

/// Products are open to all, a seller's room to who works for the seller.
struct Marketplace;

impl Policy for Marketplace {
    fn may_join(&self, identity: &Identity, room: &Room) -> bool {
        match room.as_str().split_once(':') {
            Some(("product", _)) => true,
            Some(("user", id)) => identity.user_id.as_deref() == Some(id),
            Some(("seller", id)) => identity.stores.iter().any(|store| store == id),
            _ => false,
        }
    }

    fn own_rooms(&self, identity: &Identity) -> Vec<Room> {
        let stores = identity.stores.iter().filter(|store| Some(*store) != identity.user_id.as_ref());
        let stores = stores.map(|store| room(&format!("seller:{store}")));
        identity.user_id.iter().map(|id| room(&format!("user:{id}"))).chain(stores).collect()
    }

    fn rooms_for_message(&self, name: &str, identity: &Identity, payload: &Value) -> Result<Vec<Room>, String> {
        match name {
            "join:product" => match payload["productId"].as_str() {
                Some(id) => Ok(vec![room(&format!("product:{id}"))]),
                None => Err("productId: expected a string".to_owned()),
            },
            "join:seller" => Ok(identity.stores.iter().map(|store| room(&format!("seller:{store}"))).collect()),
            _ => Err(format!("unknown message {name:?}")),
        }
    }

    fn waiting_rooms(&self) -> Vec<String> {
        vec!["product".to_owned()]
    }
}

/// Nobody has any notification.
struct Empty;

impl Inbox for Empty {
    fn list<'a>(&'a self, user_id: &'a str, request: ListRequest) -> BoxFuture<'a, Result<Value, String>> {
        async move { Ok(json!({ "success": true, "of": user_id, "limit": request.limit })) }.boxed()
    }

    fn read<'a>(&'a self, _: &'a str, _: Option<&'a str>) -> BoxFuture<'a, Result<Value, String>> {
        async { Err("there is no such notification in your inbox".to_owned()) }.boxed()
    }

    fn delete<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        async { Err("there is no such notification in your inbox".to_owned()) }.boxed()
    }
}

/// Believes everything, but what the test has said of a user; a user whose id starts with "s" is a seller.
#[derive(Default)]
struct Trusting {
    said: Mutex<std::collections::HashMap<String, Result<Vec<String>, Refused>>>,
    /// How often somebody was asked about.
    asked: AtomicU64,
    /// No answer is given while the test holds this.
    answers: tokio::sync::Mutex<()>,
}

impl Trusting {
    /// From now on the user has these stores, or is not signed in.
    fn say(&self, user_id: &str, stores: Result<&[&str], Refused>) {
        let stores = stores.map(|stores| stores.iter().map(|store| (*store).to_owned()).collect());
        self.said.lock().expect("no panic under the lock").insert(user_id.to_owned(), stores);
    }

    async fn look_up(&self, user_id: &str) -> Result<Identity, Refused> {
        let said = self.said.lock().expect("no panic under the lock").get(user_id).cloned();
        self.asked.fetch_add(1, Ordering::SeqCst);
        drop(self.answers.lock().await);
        let own = || user_id.starts_with('s').then(|| user_id.to_owned()).into_iter().collect();
        let stores = said.unwrap_or_else(|| Ok(own()))?;
        Ok(Identity { user_id: Some(user_id.to_owned()), stores, ..Identity::default() })
    }
}

impl SignIn for Trusting {
    fn sign_in<'a>(&'a self, handshake: &'a Handshake) -> BoxFuture<'a, Result<SignedIn, Refused>> {
        async {
            let seconds = handshake.auth["seconds"].as_f64();
            let until = seconds.map(|seconds| Utc::now() + chrono::TimeDelta::milliseconds((seconds * 1000.0) as i64));
            let identity = match handshake.auth["userId"].as_str() {
                Some("nobody") => return Err(Refused::Denied("there is no such user".to_owned())),
                Some(id) => self.look_up(id).await?,
                None => Identity::default(),
            };
            let grounds = match until {
                Some(_) => Grounds::Token {
                    claimed: Claimed {
                        user_id: identity.user_id.clone().unwrap_or_default(),
                        roles: None,
                        stores: None,
                        admin: None,
                    },
                },
                None => Grounds::Nothing,
            };
            Ok(SignedIn { identity, grounds, until })
        }
        .boxed()
    }

    fn confirm<'a>(&'a self, before: &'a SignedIn) -> BoxFuture<'a, Result<SignedIn, Refused>> {
        async {
            let user_id = before.identity.user_id.as_deref().expect("only who is signed in is asked about");
            Ok(SignedIn { identity: self.look_up(user_id).await?, ..before.clone() })
        }
        .boxed()
    }
}

/// A history that the test tells as it goes: batches, and `None` where it ends. What was before position 5 is not known.
struct Past {
    told: tokio::sync::Mutex<mpsc::UnboundedReceiver<Option<Vec<Event>>>>,
    /// Where each began.
    begun: Arc<std::sync::Mutex<Vec<u64>>>,
}

impl Replay for Past {
    fn replay(&self, since: Position, events: mpsc::Sender<Vec<Event>>) -> BoxFuture<'_, Result<Position, String>> {
        async move {
            if since.seen.xmin < 5 {
                return Err("too old".to_owned());
            }
            self.begun.lock().unwrap().push(since.seen.xmin);
            let mut told = self.told.lock().await;
            while let Some(Some(batch)) = told.recv().await {
                events.send(batch).await.ok();
            }
            Ok(position(50))
        }
        .boxed()
    }
}

struct Server {
    gateway: Gateway,
    people: Arc<Trusting>,
    past: mpsc::UnboundedSender<Option<Vec<Event>>>,
    /// Where each replay began.
    begun: Arc<std::sync::Mutex<Vec<u64>>>,
    metrics: Arc<Metrics>,
    readiness: watch::Sender<Readiness>,
    url: String,
    admin: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(config: GatewayConfig) -> Self {
        // Most tests say more than anybody would, and are about something else.
        let limits = LimitsConfig { messages_per_minute: NonZeroU32::MAX, ..LimitsConfig::default() };
        Self::limited(config, limits).await
    }

    async fn limited(config: GatewayConfig, limits: LimitsConfig) -> Self {
        let metrics = Arc::new(Metrics::new());
        let allowed_origins = config.allowed_origins.clone();
        let (past, told) = mpsc::unbounded_channel();
        let begun = Arc::default();
        let history = Arc::new(Past { told: told.into(), begun: Arc::clone(&begun) });
        let people = Arc::new(Trusting::default());
        let journal = Arc::new(Journal::new(crate::journal::JournalConfig::default()));
        let among = Neighbours {
            policy: Arc::new(Marketplace),
            sign_in: people.clone(),
            replay: history,
            inbox: Arc::new(Empty),
            metrics: metrics.clone(),
            journal: journal.clone(),
        };
        let (gateway, socket_io) = Gateway::new(config, limits, among);
        let (readiness, readiness_receiver) = watch::channel(Readiness::not_ready("starting"));
        let router = http::router(Http {
            gateway: gateway.clone(),
            socket_io,
            allowed_origins,
            readiness: readiness_receiver.clone(),
            demo: None,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (gateway, stop) = (gateway.clone(), stop.clone());
            async move { http::serve(listener, &gateway, router, stop.cancelled_owned()).await }
        });
        tokio::spawn({
            let (gateway, stop) = (gateway.clone(), stop.clone());
            async move { gateway.keep_standing(stop).await }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let admin = format!("http://{}", listener.local_addr().expect("a bound address"));
        let what = Admin { metrics: metrics.clone(), readiness: readiness_receiver, journal };
        tokio::spawn(http::serve_admin(listener, what, stop.clone().cancelled_owned()));
        Self { gateway, people, past, begun, metrics, readiness, url, admin, stop, task }
    }

    async fn with_limits(limits: LimitsConfig) -> Self {
        Self::limited(GatewayConfig::default(), limits).await
    }

    async fn default() -> Self {
        Self::start(GatewayConfig::default()).await
    }

    async fn connect(&self, user: &str) -> Client {
        self.connect_with(json!({ "userId": user })).await
    }

    async fn connect_with(&self, auth: Value) -> Client {
        let before = self.gateway.shared.rooms.size().0;
        let client = Client::connect(&self.url, auth).await.expect("the client connects");
        // A client knows a moment before the server that it is connected.
        self.wait_until("the socket is in the registry", || self.gateway.shared.rooms.size().0 > before).await;
        client
    }

    async fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let poll = async {
            while !condition() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("did not come true: {what}"));
    }

    async fn wait_until_empty(&self) {
        let shared = &self.gateway.shared;
        self.wait_until("no trace is left", || {
            shared.rooms.size() == (0, 0)
                && shared.connections.size() == (0, 0)
                && shared.standing.size() == 0
                && self.metrics.sockets.get() == 0
        })
        .await;
    }

    fn refused(&self, limit: &str) -> u64 {
        self.metrics.refused.with_label_values(&[limit]).get()
    }

    fn cut(&self, reason: &str) -> u64 {
        self.metrics.sockets_cut.with_label_values(&[reason]).get()
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.request(&format!("GET {path} HTTP/1.1\r\n{headers}"), "").await
    }

    /// The same of the admin address.
    async fn ask_admin(&self, path: &str, headers: &str) -> String {
        Self::request_to(&self.admin, &format!("GET {path} HTTP/1.1\r\n{headers}"), "").await
    }

    async fn request(&self, head: &str, body: &str) -> String {
        Self::request_to(&self.url, head, body).await
    }

    /// With the `Host` of the address, unless the head has one.
    async fn request_to(url: &str, head: &str, body: &str) -> String {
        let host = url.trim_start_matches("http://");
        let mut tcp = TcpStream::connect(host).await.expect("the server accepts");
        let host_header = if head.contains("Host: ") { String::new() } else { format!("Host: {host}\r\n") };
        let request = format!("{head}{host_header}Connection: close\r\n\r\n{body}");
        tcp.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut response = String::new();
        tcp.read_to_string(&mut response).await.expect("the response is text");
        response
    }
}

fn size(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not zero")
}

fn room(name: &str) -> Room {
    Room::new(name).expect("a valid name")
}

fn position(xmin: u64) -> Position {
    Position { system: 1, database: 2, seen: crate::position::Seen::below(xmin) }
}

fn audience(rooms: &[&str], sees: &str) -> Audience {
    let data = vec![("sees".into(), RawValue::from_string(json!(sees).to_string()).expect("JSON"))];
    Audience { rooms: rooms.iter().map(|name| room(name)).collect(), data }
}

fn event(id: u64, audiences: Vec<Audience>) -> Event {
    Event {
        kind: "product:updated".into(),
        id: id.to_string(),
        change_id: 1,
        rule: "product:updated".into(),
        at: chrono::Utc::now(),
        actor: None,
        table: TableName::new("public", "products"),
        op: Op::Update,
        xid: id,
        position: position(id),
        subject: Arc::new([]),
        audiences,
    }
}

fn id(event: &Value) -> u64 {
    event["metadata"]["id"].as_str().expect("an id").parse().expect("a number")
}

fn ids(events: &[(String, Value)]) -> Vec<u64> {
    events.iter().map(|(_, event)| id(event)).collect()
}
