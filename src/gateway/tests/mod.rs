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
mod limits;
mod origins;
mod people;
mod revocation;
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
struct Past(tokio::sync::Mutex<mpsc::UnboundedReceiver<Option<Vec<Event>>>>);

impl Replay for Past {
    fn replay(&self, since: Position, events: mpsc::Sender<Vec<Event>>) -> BoxFuture<'_, Result<Position, String>> {
        async move {
            if since.xmin < 5 {
                return Err("too old".to_owned());
            }
            let mut told = self.0.lock().await;
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
        let history = Arc::new(Past(told.into()));
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
        Self { gateway, people, past, metrics, readiness, url, admin, stop, task }
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
    Position { system: 1, database: 2, xmin }
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

#[tokio::test]
async fn a_join_is_acknowledged_with_the_room_and_the_position_and_events_follow() {
    let server = Server::default().await;
    server.gateway.set_position(position(7));
    let mut client = server.connect("b1").await;

    let ack = client.emit_with_ack("join:product", json!({ "productId": "p1" })).await;
    server.gateway.deliver(&event(8, vec![audience(&["product:p1"], "shoppers")]));

    assert_eq!(ack, json!({ "success": true, "room": "product:p1", "position": position(7).to_string() }));
    let heard = client.event_named("product:updated").await;
    assert_eq!(heard["data"], json!({ "sees": "shoppers" }));
    assert_eq!(heard["metadata"]["id"], "8");
    assert_eq!(server.metrics.deliveries.get(), 1);
}

#[tokio::test]
async fn own_rooms_are_joined_without_asking() {
    let server = Server::default().await;
    let mut client = server.connect("b1").await;
    let mut other = server.connect("b2").await;
    server.gateway.deliver(&event(1, vec![audience(&["user:b1"], "b1")]));
    assert_eq!(client.event_named("product:updated").await["data"]["sees"], "b1");
    assert_eq!(other.events_so_far().await, []);
}

#[tokio::test]
async fn a_socket_in_rooms_of_several_audiences_hears_the_first_once() {
    let server = Server::default().await;
    let mut seller = server.connect("s1").await;
    let mut shopper = server.connect("b1").await;
    for client in [&seller, &shopper] {
        assert_eq!(client.emit_with_ack("join", json!({ "room": "product:p1" })).await["success"], true);
    }
    assert_eq!(seller.emit_with_ack("join:seller", Value::Null).await["room"], "seller:s1");

    let audiences = vec![audience(&["seller:s1", "user:s1"], "seller"), audience(&["product:p1"], "shoppers")];
    server.gateway.deliver(&event(1, audiences));

    let seen =
        |events: Vec<(String, Value)>| events.into_iter().map(|(_, e)| e["data"]["sees"].clone()).collect::<Vec<_>>();
    assert_eq!(seen(seller.events_so_far().await), ["seller"]);
    assert_eq!(seen(shopper.events_so_far().await), ["shoppers"]);
}

#[tokio::test]
async fn events_arrive_in_the_order_in_which_they_were_delivered() {
    let server = Server::default().await;
    let mut client = server.connect("b1").await;
    for id in 1..=500 {
        server.gateway.deliver(&event(id, vec![audience(&["user:b1"], "b1")]));
    }
    let events = client.events_until(|_, event| id(event) == 500).await;
    assert_eq!(ids(&events), (1..=500).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_later_than_the_acknowledged_position_is_heard() {
    const ROUNDS: usize = 3000;
    let server = Server::default().await;
    let _client = server.connect("b1").await;
    let shared = &server.gateway.shared;
    let member = &shared.rooms.everyone()[0].session.member;
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let (heard, stays) = std::thread::scope(|scope| {
        // What delivery does, but for the sending: whether event n found the member in the room.
        let delivery = scope.spawn(|| {
            let mut heard = vec![false];
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                let event = event(heard.len() as u64, vec![audience(&["product:p1"], "shoppers")]);
                heard.push(!shared.hearers(&event)[0].is_empty());
            }
            heard
        });
        // What a join does: enter, then say from which position on it is live.
        let now = || shared.position().map_or(0, |position| position.xmin as usize);
        let stays: Vec<_> = (0..ROUNDS)
            .map(|_| {
                shared.rooms.join(member, &[room("product:p1")], 10, || ()).expect("it may join");
                let told = now();
                let leaving = std::iter::repeat_with(now).find(|now| *now > told + 2).expect("delivery goes on");
                shared.rooms.leave(member, &[room("product:p1")]);
                told + 1..leaving
            })
            .collect();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        (delivery.join().expect("no panic"), stays)
    });
    for stay in stays {
        let missed: Vec<_> = stay.clone().filter(|id| !heard[*id]).collect();
        assert!(missed.is_empty(), "live from {}, but missed {missed:?}", stay.start - 1);
    }
}

#[tokio::test]
async fn a_room_that_was_left_is_not_heard() {
    let server = Server::default().await;
    let mut client = server.connect("b1").await;
    client.emit_with_ack("join:product", json!({ "productId": "p1" })).await;
    let ack = client.emit_with_ack("leave:product", json!({ "productId": "p1" })).await;
    server.gateway.deliver(&event(1, vec![audience(&["product:p1"], "shoppers")]));
    assert_eq!(ack["room"], "product:p1");
    assert_eq!(client.events_so_far().await, []);
}

#[tokio::test]
async fn a_closed_room_and_one_that_does_not_exist_are_denied_in_the_same_words() {
    let server = Server::default().await;
    let mut client = server.connect("b1").await;
    let closed = client.emit_with_ack("join", json!({ "room": "seller:s1" })).await;
    let missing = client.emit_with_ack("join", json!({ "room": "nosuch:s1" })).await;
    assert_eq!(closed, json!({ "success": false, "error": "there is no room \"seller:s1\" that you may join" }));
    assert_eq!(
        missing["error"].as_str().map(|error| error.replace("nosuch", "seller")).as_deref(),
        closed["error"].as_str()
    );

    server.gateway.deliver(&event(1, vec![audience(&["seller:s1", "nosuch:s1"], "seller")]));
    assert_eq!(client.events_so_far().await, []);
}

#[tokio::test]
async fn malformed_messages_are_answered_with_what_is_wrong_and_harm_nobody() {
    let server = Server::with_limits(LimitsConfig { max_rooms_per_socket: size(2), ..LimitsConfig::default() }).await;
    let mut bystander = server.connect("b2").await;
    let client = server.connect("b1").await;
    let too_large = json!(["join", { "room": "x".repeat(70_000) }]).to_string();
    let wrong: [(&str, &str); 9] = [
        (r#"["join"]"#, "expected an object with the key room"),
        (r#"["join",{"room":7}]"#, "room: expected a string, found a number"),
        (r#"["join",{"room":""}]"#, "room: expected a name of 1 to 256 bytes"),
        (r#"["join",{"room":"product:1\u0000"}]"#, "room: expected a name of 1 to 256 bytes"),
        (r#"["join",{"room":"product:1","since":1}]"#, "since: expected the position of an event"),
        (r#"["join:product",{"productId":{}}]"#, "productId: expected a string"),
        (r#"["join:nothing",{}]"#, "unknown message"),
        (r#"["drop everything",null]"#, "unknown message"),
        (&too_large, "bytes, 65536 are allowed"),
    ];
    for (message, expected) in wrong {
        let ack = client.raw_with_ack(message).await;
        assert_eq!(ack["success"], false, "{message:.100}");
        assert!(ack["error"].as_str().is_some_and(|error| error.contains(expected)), "{message:.100}: {ack}");
    }

    assert_eq!(client.emit_with_ack("join", json!({ "room": "product:1" })).await["success"], true);
    let ack = client.emit_with_ack("join", json!({ "room": "product:2" })).await;
    assert!(ack["error"].as_str().is_some_and(|error| error.starts_with("a connection can be in 2 rooms")), "{ack}");

    client.emit("join", json!("no acknowledgement is asked for")).await;
    client.emit("nonsense", Value::Null).await;
    server.gateway.deliver(&event(1, vec![audience(&["user:b1", "user:b2"], "both")]));
    assert_eq!(bystander.events_so_far().await.len(), 1);
    assert!(client.is_connected());
}

#[tokio::test]
async fn what_no_socket_io_client_sends_ends_its_own_connection_alone() {
    let server = Server::default().await;
    let mut bystander = server.connect("b2").await;
    let far_too_large = format!("42{}", json!(["join", { "room": "x".repeat(1_000_000) }]));
    let too_deep = format!("42[\"join\",{}", "[".repeat(50_000));
    for packet in [&far_too_large, &too_deep, r#"42["join",{"room":]"#, "42[7]", "42{}", "4", "9", ""] {
        let mut client = server.connect("b1").await;
        client.send_raw(packet).await;
        client.disconnected().await;
    }
    server.gateway.deliver(&event(1, vec![audience(&["user:b1", "user:b2"], "both")]));
    assert_eq!(bystander.events_so_far().await.len(), 1);
    assert_eq!(server.gateway.shared.rooms.size().0, 1);
}

#[tokio::test]
async fn a_client_that_sign_in_refuses_is_told_why() {
    let server = Server::default().await;
    let refused = Client::connect(&server.url, json!({ "userId": "nobody" })).await.err().expect("refused");
    assert_eq!(refused.0, "there is no such user");
    let refused = Client::connect(&server.url, json!({ "since": 5 })).await.err().expect("refused");
    assert_eq!(refused.0, "auth.since: expected the position of an event, a string, found a number");
    server.wait_until_empty().await;
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_while_another_hears_all() {
    for upgraded in [false, true] {
        let server = Server::start(GatewayConfig {
            buffer_per_socket: std::num::NonZeroUsize::new(64).expect("not zero"),
            ..GatewayConfig::default()
        })
        .await;
        let auth = json!({ "userId": "b1" });
        let mut frozen = match upgraded {
            true => Client::connect_upgraded(&server.url, auth).await.expect("the client connects"),
            false => Client::connect(&server.url, auth).await.expect("the client connects"),
        };
        let mut other = server.connect("b2").await;
        frozen.stop_reading();

        // The kernel's buffers take some megabytes before the server's own fills.
        let padding = "x".repeat(100_000);
        let mut last = 0;
        while server.cut("slow") == 0 {
            last += 1;
            assert!(last < 2000, "the frozen client was never cut (upgraded: {upgraded})");
            server.gateway.deliver(&event(last, vec![audience(&["user:b1", "user:b2"], &padding)]));
            other.events_until(|_, event| id(event) == last).await;
        }

        // Its TCP connection is gone at once, though it reads nothing: no trace is left but the other.
        server.wait_until("the cut socket is gone", || server.gateway.connections().size() == (1, 0)).await;
        assert_eq!(server.metrics.sockets.get(), 1, "upgraded: {upgraded}");
        server.gateway.deliver(&event(last + 1, vec![audience(&["user:b1", "user:b2"], "both")]));
        assert_eq!(ids(&other.events_so_far().await), [last + 1]);
        frozen.read_again();
        let reason = frozen.disconnected().await;
        assert!(reason.starts_with("lost"), "a JavaScript client reconnects after that alone: {reason}");
    }
}

#[tokio::test]
async fn a_polling_client_that_was_cut_is_told_that_its_session_is_unknown() {
    let server = Server::start(GatewayConfig {
        buffer_per_socket: std::num::NonZeroUsize::new(8).expect("not zero"),
        // The session ends with the first ping that isn't answered; the question below has to come before.
        ping_interval: Duration::from_secs(2),
        ping_timeout: Duration::from_secs(2),
        ..GatewayConfig::default()
    })
    .await;
    let open = client::poll(&server.url, "EIO=4&transport=polling").await.expect("an open packet");
    let open: Value = serde_json::from_str(&open[1..]).expect("JSON");
    let sid = open["sid"].as_str().expect("a sid");
    let query = format!("EIO=4&transport=polling&sid={sid}");
    let connect = r#"40{"userId":"b1"}"#;
    let head = format!("POST /socket.io/?{query} HTTP/1.1\r\nContent-Length: {}\r\n", connect.len());
    server.request(&head, connect).await;
    server.wait_until("it is connected", || server.metrics.sockets.get() == 1).await;
    let mut last = 0;
    while server.cut("slow") == 0 {
        last += 1;
        server.gateway.deliver(&event(last, vec![audience(&["user:b1"], "b1")]));
        assert!(last < 100, "never cut");
    }
    let answer = client::poll(&server.url, &query).await.expect("an answer");
    assert!(answer.contains("Session ID unknown"), "instead of a stale rest: {answer}");
    server.wait_until_empty().await;
}

#[tokio::test]
async fn sockets_that_went_leave_no_trace() {
    let server = Server::default().await;
    let mut clients = Vec::new();
    for id in 0..20 {
        let auth = json!({ "userId": format!("b{id}") });
        let client = match id % 2 {
            0 => Client::connect(&server.url, auth).await,
            _ => Client::connect_upgraded(&server.url, auth).await,
        };
        clients.push(client.expect("the client connects"));
    }
    for (id, client) in clients.into_iter().enumerate() {
        client.emit("join", json!({ "room": format!("product:{id}") })).await;
        if id % 3 == 0 {
            client.emit_with_ack("ping", Value::Null).await;
            client.send_raw("41").await;
        }
        drop(client);
    }
    server.wait_until_empty().await;
}

#[tokio::test]
async fn a_client_whose_position_is_not_known_any_more_is_told_to_load_anew() {
    let server = Server::default().await;
    let mut client = server.connect_with(json!({ "userId": "b1", "since": position(1).to_string() })).await;
    assert_eq!(client.event_named("rowcast:resync").await, json!({ "reason": "too old", "rooms": ["user:b1"] }));
    let ack = client.emit_with_ack("join", json!({ "room": "product:2", "since": "what?" })).await;
    assert_eq!(ack["success"], true, "{ack}");
    let resync = client.event_named("rowcast:resync").await;
    assert!(resync["reason"].as_str().is_some_and(|reason| reason.starts_with("since: not a position")), "{resync}");
    let ack = client.emit_with_ack("join", json!({ "room": "product:1", "since": position(4).to_string() })).await;
    assert_eq!(ack["success"], true, "{ack}");
    assert_eq!(client.event_named("rowcast:resync").await, json!({ "reason": "too old", "rooms": ["product:1"] }));

    server.gateway.deliver(&event(60, vec![audience(&["product:1"], "all")]));
    assert_eq!(id(&client.event_named("product:updated").await), 60);
    server.gateway.resync("the database was restored");
    assert_eq!(client.event_named("rowcast:resync").await, json!({ "reason": "the database was restored" }));
}

#[tokio::test]
async fn what_was_missed_comes_before_anything_live_once_and_only_for_the_rooms_asked_for() {
    let server = Server::default().await;
    let mut client = server.connect("s1").await;
    client.emit_with_ack("join", json!({ "room": "product:1" })).await;
    let ack = client.emit_with_ack("join", json!({ "room": "product:2", "since": position(7).to_string() })).await;
    assert_eq!(ack["success"], true, "{ack}");

    let both = |id, product: &str| event(id, vec![audience(&["user:s1"], "own"), audience(&[product], "all")]);
    server.gateway.deliver(&both(9, "product:2"));
    server.gateway.deliver(&both(10, "product:1"));
    let elsewhere = event(8, vec![audience(&["product:3"], "all")]);
    server.past.send(Some(vec![both(7, "product:2"), elsewhere, both(9, "product:2")])).expect("a replay listens");
    server.past.send(None).expect("a replay listens");

    let heard = client.events_until(|name, event| name == "product:updated" && id(event) == 10).await;
    let told: Vec<(&str, Value)> = heard
        .iter()
        .map(|(name, event)| match name.as_str() {
            "rowcast:resumed" => ("resumed", event["replayed"].clone()),
            _ => (event["data"]["sees"].as_str().expect("a text"), event["metadata"]["id"].clone()),
        })
        .collect();
    assert_eq!(told, [("own", json!("7")), ("own", json!("9")), ("resumed", json!(2)), ("own", json!("10"))]);
    server.gateway.deliver(&both(11, "product:2"));
    assert_eq!(id(&client.event_named("product:updated").await), 11);
}

#[tokio::test]
async fn rooms_that_are_joined_while_another_is_caught_up_are_caught_up_together() {
    let server = Server::default().await;
    let mut client = server.connect("b1").await;
    for (product, xmin) in [("product:1", 7), ("product:2", 9), ("product:3", 8)] {
        client.emit_with_ack("join", json!({ "room": product, "since": position(xmin).to_string() })).await;
    }
    let live = |id, product: &str| event(id, vec![audience(&[product], "all")]);
    server.gateway.deliver(&live(30, "product:1"));
    let past = || vec![live(8, "product:1"), live(9, "product:2"), live(10, "product:3")];
    for _ in 0..2 {
        server.past.send(Some(past())).expect("a replay listens");
        server.past.send(None).expect("a replay listens");
    }
    let heard = client.events_until(|name, event| name == "product:updated" && id(event) == 30).await;
    let updates: Vec<u64> =
        heard.iter().filter(|(name, _)| name == "product:updated").map(|(_, event)| id(event)).collect();
    assert_eq!(updates, [8, 9, 10, 30]);
    let resumed: Vec<_> =
        heard.iter().filter(|(name, _)| name == "rowcast:resumed").map(|(_, event)| event["rooms"].clone()).collect();
    assert_eq!(resumed, [json!(["product:1"]), json!(["product:2", "product:3"])]);
}

#[tokio::test]
async fn a_join_that_is_refused_holds_nothing_back() {
    let server = Server::with_limits(LimitsConfig { max_rooms_per_socket: size(2), ..LimitsConfig::default() }).await;
    let mut client = server.connect("b1").await;
    client.emit_with_ack("join", json!({ "room": "product:1" })).await;
    let ack = client.emit_with_ack("join", json!({ "room": "product:2", "since": position(7).to_string() })).await;
    assert_eq!(ack["success"], false, "{ack}");
    server.gateway.deliver(&event(1, vec![audience(&["product:1"], "all")]));
    assert_eq!(ids(&client.events_so_far().await), [1]);
}

#[tokio::test]
async fn an_instance_that_stands_by_turns_clients_away_until_it_serves() {
    let server = Server::default().await;
    let mut client = server.connect("b1").await;
    server.gateway.stand_by(true);
    client.disconnected().await;
    server.wait_until_empty().await;
    assert!(Client::connect(&server.url, json!({})).await.err().expect("turned away").0.contains("503"));
    server.gateway.stand_by(false);
    server.connect("b1").await;
}

#[tokio::test]
async fn a_client_that_is_being_signed_in_when_the_instance_begins_to_stand_by_is_not_kept() {
    let server = Server::default().await;
    let answers = server.people.answers.lock().await;
    let url = server.url.clone();
    let connecting = tokio::spawn(async move { Client::connect(&url, json!({ "userId": "b1" })).await });
    server.wait_until("it is being signed in", || server.people.asked.load(Ordering::SeqCst) == 1).await;
    server.gateway.stand_by(true);
    drop(answers);
    // It may learn that it is connected before it is cut.
    if let Ok(mut client) = connecting.await.expect("no panic") {
        client.disconnected().await;
    }
    server.wait_until_empty().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_caught_up_leaves_no_trace() {
    let server = Server::default().await;
    let client = server.connect_with(json!({ "userId": "b1", "since": position(7).to_string() })).await;
    server.past.send(Some(vec![event(7, vec![audience(&["user:b1"], "own")])])).expect("a replay listens");
    drop(client);
    server.wait_until_empty().await;
    let mut next = server.connect_with(json!({ "userId": "b1", "since": position(7).to_string() })).await;
    server.past.send(None).expect("a replay listens");
    assert_eq!(next.event_named("rowcast:resumed").await["replayed"], 0);
}

#[tokio::test]
async fn a_ping_is_answered_with_the_position_and_the_time() {
    let server = Server::default().await;
    let client = server.connect("b1").await;
    let before = client.emit_with_ack("ping", Value::Null).await;
    server.gateway.set_position(position(3));
    let after = client.emit_with_ack("ping", Value::Null).await;
    assert_eq!((&before["success"], &before["position"]), (&json!(true), &Value::Null));
    assert_eq!(after["position"], position(3).to_string());
    chrono::DateTime::parse_from_rfc3339(after["time"].as_str().expect("a time")).expect("ISO 8601");
}

#[tokio::test]
async fn a_drain_closes_transports_and_cuts_who_does_not_close() {
    let server = Server::default().await;
    let mut client = server.connect("b1").await;
    let frozen = server.connect("b2").await;
    frozen.stop_reading();
    let padding = "x".repeat(100_000);
    for id in 1..=200 {
        server.gateway.deliver(&event(id, vec![audience(&["user:b2"], &padding)]));
    }
    server.stop.cancel();
    server.gateway.drain(Duration::from_millis(300)).await;
    assert_eq!(client.disconnected().await, "transport closed by the server");
    assert_eq!(server.cut("drain"), 1);
    tokio::time::timeout(PATIENCE, server.task).await.expect("the server ends").expect("no panic");
}

#[tokio::test]
async fn clients_learn_whether_the_service_is_ready_and_its_operator_also_why_and_the_metrics() {
    let server = Server::default().await;
    assert!(server.get("/healthz", "").await.starts_with("HTTP/1.1 200"));
    server.readiness.send_replace(Readiness::not_ready("standing by: the lease is held by process 7 at 10.0.0.7"));
    let waiting = server.get("/readyz", "").await;
    assert!(waiting.starts_with("HTTP/1.1 503") && waiting.ends_with(r#"{"ready":false,"reason":"standing by"}"#));
    let waiting = server.ask_admin("/readyz", "").await;
    assert!(waiting.starts_with("HTTP/1.1 503") && waiting.contains("process 7 at 10.0.0.7"), "{waiting}");
    server.readiness.send_replace(Readiness::Ready);
    for ready in [server.get("/readyz", "").await, server.ask_admin("/readyz", "").await] {
        assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with(r#"{"ready":true}"#), "{ready}");
    }
    let client = server.connect("b1").await;
    client.emit_with_ack("join", json!({ "room": "seller:s1" })).await;
    assert!(server.get("/metrics", "").await.starts_with("HTTP/1.1 404"));
    let metrics = server.ask_admin("/metrics", "").await;
    assert!(metrics.contains("rowcast_sockets 1"), "{metrics}");
    assert!(metrics.contains(r#"rowcast_client_messages_total{message="join",result="refused"} 1"#), "{metrics}");
    assert!(server.get("/", "").await.contains("/socket.io"));
}

#[tokio::test]
async fn metrics_name_no_user_no_room_and_no_address() {
    let limits = LimitsConfig { messages_per_minute: NonZeroU32::MIN, ..LimitsConfig::default() };
    let server = Server::with_limits(limits).await;
    let mut client = server.connect("somebody-4711").await;
    for _ in 0..4 {
        client.emit("join", json!({ "room": "product:4711" })).await;
    }
    client.disconnected().await;
    server.get("/socket.io/?EIO=4&transport=polling", "Origin: https://4711.example\r\n").await;
    let metrics = server.ask_admin("/metrics", "").await;
    assert!(metrics.contains(r#"rowcast_refused_total{limit="messages_per_minute"} 3"#), "{metrics}");
    assert!(!metrics.contains("4711") && !metrics.contains("127.0.0.1"), "{metrics}");
}
