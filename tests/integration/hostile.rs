//! Frames that no client sends, on live sockets of the real service: it goes on, keeps its size, and others hear all that
//! is theirs.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame, FrameHeader,
        coding::{Control, Data, OpCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::cli::Files;
use crate::support::{
    client::{Client, PATIENCE},
    database::Database,
    eventually,
    mutate::{generator, mutated, noise},
    raw::Raw,
    service::{Process, metric, url},
};

/// Frames in all, and those of them before memory is measured first.
const FRAMES: usize = 100_000;
const WARM_UP: usize = 20_000;
const REQUESTS: usize = 1_000;
const SOCKETS: usize = 24;
/// Messages that are written before an answer is awaited.
const AT_ONCE: usize = 24;
/// How often something happens that the bystander hears of.
const BETWEEN_CHANGES: Duration = Duration::from_millis(5);
/// What the process may have grown by since the warm-up. Twenty thousand frames more than fill whatever is kept for each
/// socket; what grew with the frames would be more.
const GROWTH: u64 = 32 * 1024 * 1024;

const LIMITS: &str = "[limits]\nmessages_per_minute = 4000000000\nbreaches = 4000000000\nconnections_per_user = 1000000\n\
    connections_per_address = 1000000\nsign_in_failures_per_minute = 4000000000\n";

/// Well-formed packets, and those that are nearly so.
fn samples() -> Vec<Vec<u8>> {
    let deep = |depth: usize| format!("42[\"join\",{}{}]", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("42[\"join\",{}1{}]", "{\"room\":".repeat(depth), "}".repeat(depth));
    let mut samples: Vec<String> = [
        "0",
        "1",
        "2",
        "2probe",
        "3",
        "3probe",
        "4",
        "5",
        "6",
        "7",
        "b4AAAA",
        "40",
        "40{}",
        r#"40{"userId":"seller-1"}"#,
        r#"40{"userId":"buyer-1","since":"AWsD_WIPstk7AABGLQAAAAAAAgz0"}"#,
        "40/admin,",
        r#"40/admin,{"userId":"x"}"#,
        "41",
        "41/admin,",
        r#"42["ping"]"#,
        r#"420["ping"]"#,
        r#"421["join:product",{"productId":"product-1"}]"#,
        r#"422["join",{"room":"seller:seller-1"}]"#,
        r#"423["leave:product",{"productId":"product-1"}]"#,
        r#"424["chat:typing",{"room":"product:product-1","typing":true}]"#,
        r#"425["notification:list",{"limit":50}]"#,
        r#"426["join:product",{"productId":"product-1","since":"AWsD_WIPstk7AABGLQAAAAAAAgz0"}]"#,
        r#"427["auth:renew",{}]"#,
        r#"4218446744073709551615["ping"]"#,
        r#"42-1["ping"]"#,
        r#"42/admin,7["ping"]"#,
        r#"42["disconnect"]"#,
        r#"42["connect",{}]"#,
        r#"42["rowcast:closing",{}]"#,
        "42[]",
        "42[1]",
        "42[null,null]",
        "42{}",
        "42[\"ping\"",
        "430[]",
        "431[{}]",
        r#"44{"message":"x"}"#,
        r#"451-["join",{"_placeholder":true,"num":0}]"#,
        r#"4599999999999-["join",{"_placeholder":true,"num":0}]"#,
        r#"450-["join"]"#,
        r#"452-3["join",{"_placeholder":true,"num":7},{"_placeholder":true,"num":-1}]"#,
        "461-0[{\"_placeholder\":true,\"num\":0}]",
        "45-[]",
        "451-/admin,[\"a\"]",
        "42[\"\u{0}\"]",
        "42[\"join\",{\"room\":\"\\ud800\"}]",
        "42[\"join\",{\"room\":\"product:\\u0000\"}]",
    ]
    .map(str::to_owned)
    .into();
    samples.extend([deep(50), deep(126), deep(10_000), objects(100), objects(5_000)]);
    samples.push(format!("42[\"join\",{{\"room\":\"product:{}\"}}]", "é".repeat(200)));
    samples.push(format!("42[\"{}\"]", "x".repeat(70_000)));
    samples.push(format!("451-[\"join\",{}]", "{\"_placeholder\":true,\"num\":0},".repeat(500)));
    samples.into_iter().map(String::into_bytes).collect()
}

/// Messages as clients send them: the array of a name and its arguments.
fn messages(samples: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let array = |sample: &Vec<u8>| {
        let start = sample.iter().position(|byte| *byte == b'[')?;
        sample.starts_with(b"42").then(|| sample[start..].to_vec())
    };
    samples.iter().filter_map(array).collect()
}

/// A message that comes to the handlers, since it is JSON, whatever is in it; now and then one that is none, which ends the
/// connection.
fn message(rng: &mut Rng, messages: &[Vec<u8>]) -> Message {
    const NAMES: [&str; 16] = [
        "ping",
        "join",
        "leave",
        "join:product",
        "leave:product",
        "join:storefront",
        "join:seller",
        "leave:seller",
        "join:",
        "join:nothing",
        "chat:typing",
        "notification:list",
        "notification:read",
        "notification:delete",
        "auth:renew",
        "é",
    ];
    const ROOMS: [&str; 8] =
        ["product:product-1", "product:", "seller:seller-1", "user:buyer-1", "sellers", "nothing:1", "", ":"];
    let id = if rng.bool() { rng.u32(..).to_string() } else { String::new() };
    if rng.u8(..250) == 0 {
        let array = mutated(rng, messages, 100_000);
        return Message::text(format!("42{id}{}", String::from_utf8_lossy(&array)));
    }
    let name = NAMES[rng.usize(..NAMES.len())];
    let mut payload = value(rng, 4);
    if rng.bool() {
        let room = if rng.bool() { json!(ROOMS[rng.usize(..ROOMS.len())]) } else { value(rng, 2) };
        let key = ["room", "productId", "sellerId", "id"][rng.usize(..4)];
        payload = json!({ key: room, "since": value(rng, 1), "typing": value(rng, 0), "limit": value(rng, 0) });
    }
    match rng.u8(..60) {
        0 => Message::text(format!("42{id}[\"{name}\",{}1{}]", "[".repeat(100), "]".repeat(100))),
        1 => Message::text(format!("42{id}[\"{name}\",\"{}\"]", "x".repeat(rng.usize(1..70_000)))),
        2 => Message::text(format!("42{id}{}", json!([name, payload, value(rng, 2), value(rng, 2)]))),
        _ => Message::text(format!("42{id}{}", json!([name, payload]))),
    }
}

/// Some JSON.
fn value(rng: &mut Rng, depth: u32) -> Value {
    const TEXTS: [&str; 10] = [
        "product-1",
        "",
        "AWsD_WIPstk7AABGLQAAAAAAAgz0",
        "AQAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "\0",
        "\u{202e}é😀",
        "a:b:c",
        "__proto__",
        "2026-01-31T12:00:00.123456Z@id",
        "' or 1=1 --",
    ];
    match rng.u8(..if depth == 0 { 7 } else { 10 }) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i64(..)),
        3 => json!(rng.u64(..)),
        4 => json!(rng.f64() * 1e300),
        5 => json!("x".repeat(rng.usize(..400))),
        6 => json!(TEXTS[rng.usize(..TEXTS.len())]),
        7 => (0..rng.usize(..5)).map(|_| value(rng, depth - 1)).collect(),
        _ => {
            const KEYS: [&str; 8] = ["room", "productId", "sellerId", "since", "typing", "before", "all", ""];
            let entries =
                (0..rng.usize(..5)).map(|_| (KEYS[rng.usize(..KEYS.len())].to_owned(), value(rng, depth - 1)));
            Value::Object(entries.collect())
        }
    }
}

/// A frame of any kind; most end the connection.
fn frame(rng: &mut Rng, samples: &[Vec<u8>]) -> Message {
    let payload = match rng.u8(..10) {
        0 => noise(rng, 300),
        1 => samples[rng.usize(..samples.len())].clone(),
        _ => mutated(rng, samples, 300_000),
    };
    let raw = |opcode, payload: Vec<u8>, rng: &mut Rng| {
        Message::Frame(Frame::from_payload(header(opcode, rng), payload.into()))
    };
    match rng.u8(..20) {
        0 => Message::Ping(noise(rng, 100).into()),
        1 => Message::Pong(noise(rng, 100).into()),
        2 => Message::Close(None),
        // A text that is none, half a message, a continuation of nothing, reserved bits and operations.
        3..=5 => raw(OpCode::Data(Data::Text), payload, rng),
        6 => raw(OpCode::Data(Data::Continue), payload, rng),
        7 => raw(OpCode::Data(Data::Reserved(rng.u8(3..8))), payload, rng),
        8 => raw(OpCode::Control(Control::Close), noise(rng, 130), rng),
        9..=11 => Message::Binary(payload.into()),
        _ => Message::text(String::from_utf8_lossy(&payload).into_owned()),
    }
}

fn header(opcode: OpCode, rng: &mut Rng) -> FrameHeader {
    let seldom = |rng: &mut Rng| rng.u8(..4) == 0;
    FrameHeader {
        is_final: !seldom(rng),
        rsv1: seldom(rng),
        rsv2: rng.u8(..10) == 0,
        rsv3: rng.u8(..10) == 0,
        opcode,
        mask: None,
    }
}

/// What an attack is made of.
struct Arms {
    samples: Vec<Vec<u8>>,
    messages: Vec<Vec<u8>>,
    sent: AtomicUsize,
}

/// Writes frames on one connection after the other until so many have been sent by all.
async fn attack(address: SocketAddr, mut rng: Rng, arms: Arc<Arms>, until: usize) {
    const AUTHS: [&str; 5] =
        ["", "{}", r#"{"userId":"seller-1"}"#, r#"{"userId":"buyer-1"}"#, r#"{"userId":"admin-1"}"#];
    while arms.sent.load(Ordering::SeqCst) < until {
        let Ok(mut socket) = Raw::open(address).await else { continue };
        // Some don't even connect, and most of these go on with what ends the connection.
        let rude = rng.u8(..3) == 0;
        if !rude || rng.bool() {
            socket.send(Message::text(format!("40{}", AUTHS[rng.usize(..AUTHS.len())]))).await.ok();
            // Connected, or told why not.
            if socket.packet_of(&["40", "44"]).await.is_none() {
                continue;
            }
        }
        for _ in 0..rng.usize(1..20) {
            let frames = match rude {
                true => shock(&mut socket, &mut rng, &arms).await,
                false => pester(&mut socket, &mut rng, &arms).await,
            };
            arms.sent.fetch_add(frames, Ordering::SeqCst);
            if !socket.is_open() || arms.sent.load(Ordering::SeqCst) >= until {
                break;
            }
        }
    }
}

/// One frame of any kind.
async fn shock(socket: &mut Raw, rng: &mut Rng, arms: &Arms) -> usize {
    usize::from(socket.send(frame(rng, &arms.samples)).await.is_ok())
}

/// Many messages, and a last one whose answer proves that all were read: without it none of them counts.
async fn pester(socket: &mut Raw, rng: &mut Rng, arms: &Arms) -> usize {
    for _ in 0..AT_ONCE {
        if socket.send(message(rng, &arms.messages)).await.is_err() {
            return 0;
        }
    }
    let id = rng.u32(..);
    if socket.send(Message::text(format!("42{id}[\"ping\"]"))).await.is_err() {
        return 0;
    }
    match socket.packet_of(&[&format!("43{id}[")]).await {
        Some(_) => AT_ONCE + 1,
        None => 0,
    }
}

async fn storm(address: SocketAddr, rng: &mut Rng, arms: &Arc<Arms>, until: usize) {
    let attackers = (0..SOCKETS).map(|_| attack(address, rng.fork(), arms.clone(), until));
    let attackers: Vec<_> = attackers.map(tokio::spawn).collect();
    for attacker in attackers {
        attacker.await.expect("an attacker that does not panic");
    }
}

/// One HTTP request as a client of the polling transport might send it, or nearly so.
async fn request(address: SocketAddr, rng: &mut Rng, samples: &[Vec<u8>]) {
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let sid = ["", "&sid=AAAAAAAAAAAAAAHs", "&sid=x", "&sid=%00", "&sid="][rng.usize(..5)];
    let transport = ["polling", "websocket", "", "x", "polling&transport=websocket"][rng.usize(..5)];
    let version = ["4", "3", "", "99999999999999999999"][rng.usize(..4)];
    let method = ["GET", "POST", "POST", "OPTIONS", "PUT"][rng.usize(..5)];
    let mut body = mutated(rng, samples, 2_000);
    for _ in 0..rng.usize(..4) {
        body.push(0x1e);
        body.extend(mutated(rng, samples, 2_000));
    }
    let mut head = format!(
        "{method} /socket.io/?EIO={version}&transport={transport}{sid} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Length: {}\r\nCookie: connect.sid={}; {}\r\nAuthorization: Bearer {}\r\n\r\n",
        body.len(),
        String::from_utf8_lossy(&noise(rng, 40)).replace(['\r', '\n'], ""),
        ["connect.sid=s%3Aabc.def", "a=b", "=", ";;", "connect.sid"][rng.usize(..5)],
        ["a.b.c", "", "..", "eyJhbGciOiJub25lIn0.e30."][rng.usize(..4)],
    )
    .into_bytes();
    if rng.u8(..10) == 0 {
        head = mutated(rng, &[head], 4_000);
    }
    stream.write_all(&head).await.ok();
    stream.write_all(&body).await.ok();
    stream.shutdown().await.ok();
    // Whatever it answers, it does so, or ends the connection.
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("an answer or an end").ok();
}

/// What it has once all attackers are gone.
async fn memory_at_rest(service: &Process) -> u64 {
    eventually("the attackers' sockets are gone", async || metric(service.admin, "rowcast_sockets").await <= 1.0).await;
    service.memory()
}

/// Changes the price of the product that the bystander looks at again and again, and once more when it is told to stop;
/// gives the last price.
async fn changes(database: &Database, stop: CancellationToken) -> u32 {
    let writer = database.connect().await;
    for price in 1.. {
        let stopping = stop.is_cancelled();
        let sql = format!("update products set price = {price} where id = 'product-2'");
        writer.batch_execute(&sql).await.expect("an update");
        if stopping {
            return price;
        }
        tokio::time::sleep(BETWEEN_CHANGES).await;
    }
    unreachable!("it counts for ever")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_hostile_frames_do_no_harm() {
    let mut rng = generator("hostile");
    let database = Database::marketplace().await;
    // What is over a limit is turned away before it is looked at; here all of it is to be.
    let files = Files::new(&[("rowcast.toml", LIMITS)]);
    let config = format!("{}/rowcast.toml", files.path());
    let service = Process::start_with(&database.url, &["--config", &config]).await.ready().await;
    let mut bystander =
        Client::connect(&url(service.address), json!({ "userId": "buyer-3" })).await.expect("connected");
    let joined = bystander.emit_with_ack("join:product", json!({ "productId": "product-2" })).await;
    assert_eq!(joined["success"], true, "{joined}");

    let stop = CancellationToken::new();
    let attack = async {
        let started = Instant::now();
        let samples = samples();
        let arms = Arc::new(Arms { messages: messages(&samples), samples, sent: AtomicUsize::new(0) });
        storm(service.address, &mut rng, &arms, WARM_UP).await;
        for _ in 0..REQUESTS / 2 {
            request(service.address, &mut rng, &arms.samples).await;
        }
        let before = memory_at_rest(&service).await;
        storm(service.address, &mut rng, &arms, FRAMES).await;
        for _ in 0..REQUESTS / 2 {
            request(service.address, &mut rng, &arms.samples).await;
        }
        let after = memory_at_rest(&service).await;
        let (frames, understood) =
            (arms.sent.load(Ordering::SeqCst), metric(service.admin, "rowcast_client_messages_total*").await);
        println!(
            "{frames} frames in {:?}, of which {understood} were messages; {} kB, then {} kB",
            started.elapsed(),
            before / 1024,
            after / 1024
        );
        // Else all of them would have been turned away at the door.
        assert!(understood > frames as f64 / 2.0, "only {understood} messages of {frames} frames came to the gateway");
        stop.cancel();
        (before, after)
    };
    let hear = async {
        let mut heard = Vec::new();
        loop {
            let event = bystander.event_named("product:price_changed").await;
            let price: f64 = event["data"]["newPrice"].as_str().expect("a price").parse().expect("a number");
            heard.push(price as u32);
            if stop.is_cancelled() {
                return heard;
            }
        }
    };
    let (last, (before, after), mut heard) = tokio::join!(changes(&database, stop.clone()), attack, hear);

    assert_eq!(service.panics(), [] as [String; 0], "the service panicked");
    while heard.last() != Some(&last) {
        let event = bystander.event_named("product:price_changed").await;
        heard.push(event["data"]["newPrice"].as_str().expect("a price").parse::<f64>().expect("a number") as u32);
    }
    assert_eq!(heard, (1..=last).collect::<Vec<_>>(), "the bystander hears every change once, in order");
    assert!(bystander.is_connected());
    assert!(after < before + GROWTH, "it grew from {before} to {after} bytes");
    // Whoever comes now is served.
    let newcomer = Client::connect(&url(service.address), json!({ "userId": "seller-1" })).await.expect("connected");
    assert_eq!(newcomer.emit_with_ack("ping", json!(null)).await["success"], true);
}
