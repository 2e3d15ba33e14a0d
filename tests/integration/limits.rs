//! One client that takes too much, and the others that hear nothing of it: the whole service, with its defaults.

use std::{net::SocketAddr, time::Duration};

use rowcast::{config::Config, gateway::LimitsConfig};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    client::Client,
    command::rowcast,
    database::Database,
    eventually,
    service::{Process, Service, get, url},
};

/// The status and the text of an answer to a request that is sent as it is, but for what ends its head.
async fn request(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut tcp = TcpStream::connect(address).await.expect("the service accepts");
    let length = body.len();
    let head = format!("{head}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    tcp.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_much_is_told_and_then_disconnected_and_the_others_hear_their_events() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let (mut flood, mut other) = (service.connect("seller-1").await, service.connect("seller-2").await);
    let device = service.connect("seller-1").await;
    for _ in 0..100 {
        assert_eq!(flood.emit_with_ack("ping", Value::Null).await["success"], true);
    }
    let shared = device.emit_with_ack("ping", Value::Null).await;
    assert!(shared["error"].as_str().unwrap().starts_with("you have sent 100 messages within a minute"), "{shared}");
    assert_eq!(flood.emit_with_ack("ping", Value::Null).await["success"], false);
    assert_eq!(flood.emit_with_ack("ping", Value::Null).await["success"], false);
    flood.emit("ping", Value::Null).await;
    assert_eq!(flood.event_named("rowcast:closing").await["reason"], "too_many_messages");
    assert_eq!(flood.disconnected().await, "disconnected by the server");

    database.run("update products set stock = 3 where seller_id = 'seller-2'").await;
    other.event_named("product:stock_changed").await;
    assert!(device.is_connected());
    assert_eq!(service.metric(r#"rowcast_refused_total{limit="messages_per_minute"}"#).await, 4.0);
    assert_eq!(service.metric(r#"rowcast_sockets_cut_total{reason="too_many_messages"}"#).await, 1.0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_only_polls_is_served_like_any_other() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let (_, open) = request(service.address, &format!("GET {path} HTTP/1.1"), "").await;
    let open: Value = serde_json::from_str(&open[1..]).expect("an open packet");
    let path = format!("{path}&sid={}", open["sid"].as_str().expect("a session"));
    let (get, post) = (format!("GET {path} HTTP/1.1"), format!("POST {path} HTTP/1.1"));
    let say = async |packet: &str| assert_eq!(request(service.address, &post, packet).await, (200, "ok".to_owned()));
    let hear = async |wanted: &str| loop {
        let (status, packets) = request(service.address, &get, "").await;
        assert_eq!(status, 200, "{packets}");
        if packets.split('\u{1e}').any(|packet| packet == "2") {
            say("3").await;
        }
        if packets.contains(wanted) {
            return;
        }
    };
    say(&format!("40{}", json!({ "userId": "seller-1" }))).await;
    hear("40{").await;
    for number in 0..60 {
        say(&format!(r#"42{number}["ping"]"#)).await;
        hear(&format!(r#"43{number}[{{"success":true"#)).await;
    }
    assert_eq!(service.metric("rowcast_refused_total*").await, 0.0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_trusted_proxy_cannot_choose_its_address() {
    let database = Database::marketplace().await;
    let limits = LimitsConfig { connections_per_address: 2.try_into().unwrap(), ..LimitsConfig::default() };
    let service = Service::start_with(&database, Config { limits, ..Config::default() }).await;
    let first = service.connect("seller-1").await;
    let _second = service.connect("seller-2").await;
    let path = "/socket.io/?EIO=4&transport=polling";
    for number in 0..5 {
        let head =
            format!("GET {path} HTTP/1.1\r\nX-Forwarded-For: 192.0.2.{number}\r\nForwarded: for=192.0.2.{number}");
        let (status, why) = request(service.address, &head, "").await;
        assert_eq!(status, 429);
        assert!(why.contains("2 clients are connected from your address"), "{why}");
    }
    drop(first);
    eventually("the place is free", async || Client::connect(&url(service.address), json!({})).await.is_ok()).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_let_go_in_time_while_others_hear_their_events() {
    let database = Database::marketplace().await;
    let limits = LimitsConfig { handshake_timeout: Duration::from_millis(500), ..LimitsConfig::default() };
    let service = Service::start_with(&database, Config { limits, ..Config::default() }).await;
    let mut client = service.connect("seller-1").await;
    let mut slow = Vec::new();
    for beginning in ["", "GET /", "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX: "].repeat(20) {
        let mut tcp = TcpStream::connect(service.address).await.expect("accepted");
        tcp.write_all(beginning.as_bytes()).await.expect("sent");
        slow.push(tcp);
    }
    database.run("update products set stock = 3 where seller_id = 'seller-1'").await;
    client.event_named("product:stock_changed").await;
    for mut tcp in slow {
        let ended = tokio::time::timeout(Duration::from_secs(10), tcp.read_to_end(&mut Vec::new())).await;
        ended.expect("it is let go").ok();
    }
    assert_eq!(service.metric(r#"rowcast_refused_total{limit="handshake_timeout"}"#).await, 60.0);
    assert!(client.is_connected());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_reasons_are_told_on_the_admin_address_alone() {
    let database = Database::marketplace().await;
    let first = Process::start(&database.url).await.ready().await;
    let second = Process::start(&database.url).await;
    assert_eq!(get(first.address, "/metrics").await.expect("an answer").0, 404);
    let (status, metrics) = get(first.admin, "/metrics").await.expect("an answer");
    assert!(status == 200 && metrics.contains("rowcast_ready 1"), "{metrics}");
    eventually("the second stands by", async || get(second.admin, "/readyz").await.unwrap().1.contains("process"))
        .await;
    let to_clients = get(second.address, "/readyz").await.expect("an answer");
    assert_eq!(to_clients, (503, r#"{"ready":false,"reason":"standing by"}"#.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_want_one_admin_address_are_told_what_to_do() {
    let database = Database::marketplace().await;
    let process = Process::start(&database.url).await;
    let admin = process.admin.to_string();
    let serve = ["serve", "--auth", "insecure", "--listen", "127.0.0.1:0", "--admin-listen"];
    let taken = rowcast(&database.url, &[&serve[..], &[&admin]].concat()).await;
    assert_eq!(taken.code, 9, "{}", taken.stderr);
    for word in [&admin, "--admin-listen", "ROWCAST_ADMIN_LISTEN", "off"] {
        assert!(taken.stderr.contains(word), "{word} in {}", taken.stderr);
    }
    let wrong = rowcast(&database.url, &[&serve[..], &["localhost"]].concat()).await;
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}
