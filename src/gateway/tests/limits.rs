//! How much one may take, over the wire.

use super::*;

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

fn messages(number: u32) -> LimitsConfig {
    LimitsConfig { messages_per_minute: count(number), ..LimitsConfig::default() }
}

impl Server {
    /// TCP connections, clients, addresses and connections of users.
    fn taken(&self) -> [usize; 4] {
        let [tcp, clients, addresses, _, connected] = self.gateway.limits().size();
        [tcp, clients, addresses, connected]
    }

    pub(super) async fn wait_until_nothing_is_taken(&self) {
        self.wait_until("every place is free", || self.taken() == [0; 4]).await;
        assert_eq!(self.metrics.connections.get(), 0);
    }
}

#[tokio::test]
async fn the_third_message_too_many_disconnects_with_a_reason_and_disturbs_nobody_else() {
    let server = Server::with_limits(messages(5)).await;
    let (mut flood, mut other) = (server.connect("b1").await, server.connect("b2").await);
    for _ in 0..5 {
        assert_eq!(flood.emit_with_ack("ping", Value::Null).await["success"], true);
    }
    for _ in 0..2 {
        let refused = flood.emit_with_ack("join", json!({ "room": "product:1" })).await;
        let error = refused["error"].as_str().expect("a sentence");
        assert_eq!(refused["success"], false);
        assert!(refused["retryAfter"].as_u64().is_some_and(|seconds| (1..=60).contains(&seconds)), "{refused}");
        assert!(
            error.starts_with("you have sent 5 messages within a minute") && error.contains("try again in "),
            "{error}"
        );
    }
    assert_eq!(server.gateway.shared.rooms.size().0, 2, "nothing was done");
    flood.emit("ping", Value::Null).await;
    let closing = flood.event_named("rowcast:closing").await;
    assert_eq!(closing["reason"], "too_many_messages");
    assert!(closing["message"].as_str().expect("a sentence").contains("try again in "), "{closing}");
    assert_eq!(flood.disconnected().await, "disconnected by the server");

    assert_eq!((server.refused("messages_per_minute"), server.cut("too_many_messages")), (3, 1));
    assert_eq!(other.events_so_far().await, []);
    let mut back = server.connect("b1").await;
    assert_eq!(back.emit_with_ack("ping", Value::Null).await["success"], false, "the minute is not over");
    server.gateway.deliver(&event(1, vec![audience(&["user:b1"], "b1")]));
    back.event_named("product:updated").await;
}

#[tokio::test]
async fn the_devices_of_a_user_share_its_messages_and_visitors_do_not() {
    let server = Server::with_limits(messages(4)).await;
    let (first, second) = (server.connect("b1").await, server.connect("b1").await);
    for _ in 0..2 {
        assert_eq!(first.emit_with_ack("ping", Value::Null).await["success"], true);
        assert_eq!(second.emit_with_ack("ping", Value::Null).await["success"], true);
    }
    for client in [&first, &second] {
        assert_eq!(client.emit_with_ack("ping", Value::Null).await["success"], false);
    }
    let visitors = [server.connect_with(json!({})).await, server.connect_with(json!({})).await];
    for visitor in &visitors {
        for _ in 0..4 {
            assert_eq!(visitor.emit_with_ack("ping", Value::Null).await["success"], true);
        }
        assert_eq!(visitor.emit_with_ack("ping", Value::Null).await["success"], false);
    }
}

#[tokio::test]
async fn every_message_counts_whatever_its_form() {
    let server = Server::with_limits(messages(6)).await;
    let client = server.connect("b1").await;
    client.raw_with_ack(r#"["join",[]]"#).await;
    client.raw_with_ack(r#"["nothing that is known"]"#).await;
    client.emit("ping", Value::Null).await;
    client.emit_with_ack("chat:typing", Value::Null).await;
    client.emit_with_ack("notification:list", Value::Null).await;
    client.raw_with_ack(&format!("[{:?}]", "x".repeat(70_000))).await;
    assert_eq!(client.emit_with_ack("ping", Value::Null).await["success"], false);
    assert_eq!(server.refused("messages_per_minute"), 1);

    let client = server.connect("b2").await;
    for _ in 0..6 {
        client.send_raw(r#"451-["x",{"_placeholder":true,"num":0}]"#).await;
        client.send_binary(b"abc").await;
    }
    assert_eq!(client.emit_with_ack("ping", Value::Null).await["success"], false);
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_one_that_leaves_makes_room() {
    let limits = LimitsConfig { connections_per_user: size(2), ..LimitsConfig::default() };
    let server = Server::with_limits(limits).await;
    let (first, _second) = (server.connect("b1").await, server.connect("b1").await);
    let refused = Client::connect(&server.url, json!({ "userId": "b1" })).await.err().expect("refused");
    assert!(refused.0.starts_with("you are connected 2 times, which is the most"), "{refused}");
    server.connect("b2").await;
    assert_eq!(server.refused("connections_per_user"), 1);
    drop(first);
    server.wait_until("the place is free", || server.taken()[3] == 1).await;
    server.connect("b1").await;
}

#[tokio::test]
async fn an_address_has_so_many_clients_by_whatever_transport() {
    let limits = LimitsConfig {
        connections_per_address: size(2),
        handshake_timeout: Duration::from_millis(400),
        ..LimitsConfig::default()
    };
    let server = Server::with_limits(limits).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let websocket = server.connect("b1").await;
    let _upgraded = Client::connect_upgraded(&server.url, json!({ "userId": "b2" })).await.expect("a place");
    let refused = server.get(path, "").await;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("2 clients are connected from your address"));
    let refused = Client::connect(&server.url, json!({})).await.err().expect("refused");
    assert!(refused.0.contains("429"), "{refused}");
    // Who said whom it speaks for was not asked.
    assert!(server.get(path, "X-Forwarded-For: 192.0.2.1\r\n").await.starts_with("HTTP/1.1 429"));
    assert_eq!(server.refused("connections_per_address"), 3);
    drop(websocket);
    server.wait_until("a place is free", || server.taken()[1] == 1).await;
    assert!(server.get(path, "").await.starts_with("HTTP/1.1 200"));
    server.wait_until("who never signs in loses it", || server.taken()[1] == 1).await;
    server.connect("b3").await;
}

#[tokio::test]
async fn an_address_has_so_many_tcp_connections_and_all_together_have_theirs() {
    for (limits, status) in [
        (LimitsConfig { connections_per_address: size(1), ..LimitsConfig::default() }, "429 Too Many Requests"),
        (LimitsConfig { connections: size(1), ..LimitsConfig::default() }, "503 Service Unavailable"),
    ] {
        let server = Server::with_limits(limits).await;
        let host = server.url.trim_start_matches("http://");
        let _silent = [TcpStream::connect(host).await.unwrap(), TcpStream::connect(host).await.unwrap()];
        server.wait_until("they are accepted", || server.taken()[0] == 2).await;
        let mut answer = String::new();
        let mut third = TcpStream::connect(host).await.expect("the kernel accepts");
        third.read_to_string(&mut answer).await.expect("an answer");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains("which is the most"),
            "{answer}"
        );
        drop(_silent);
        server.wait_until("they are gone", || server.taken()[0] == 0).await;
        assert!(server.get("/healthz", "").await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_count_by_themselves() {
    let limits = LimitsConfig {
        connections_per_address: size(1),
        trusted_proxies: vec!["127.0.0.0/8".to_owned()].try_into().expect("a network"),
        ..LimitsConfig::default()
    };
    let server = Server::with_limits(limits).await;
    let open = async |forwarded: &str| {
        let headers = format!("X-Forwarded-For: {forwarded}\r\n");
        let answer = server.get("/socket.io/?EIO=4&transport=polling", &headers).await;
        answer.split(' ').nth(1).expect("a status").to_owned()
    };
    assert_eq!([open("192.0.2.1").await, open("192.0.2.2").await, open("2001:db8::1").await], ["200"; 3]);
    assert_eq!([open("192.0.2.1").await, open("9.9.9.9, 192.0.2.2").await, open("2001:db8::2").await], ["429"; 3]);
}

#[tokio::test]
async fn who_fails_to_sign_in_again_and_again_is_not_asked_about_any_more() {
    let limits = LimitsConfig { sign_in_failures_per_minute: count(3), ..LimitsConfig::default() };
    let server = Server::with_limits(limits).await;
    let fail = async || Client::connect(&server.url, json!({ "userId": "nobody" })).await.err().expect("refused").0;
    for _ in 0..3 {
        server.connect("b1").await;
        assert_eq!(fail().await, "there is no such user");
    }
    let error = fail().await;
    assert!(error.starts_with("3 sign-ins from your address have failed within a minute"), "{error}");
    let error = Client::connect(&server.url, json!({ "userId": "b1" })).await.err().expect("refused").0;
    assert!(error.contains("try again in "), "{error}");
    assert_eq!(server.refused("sign_in_failures_per_minute"), 2);
    // Who presents nothing guesses nothing.
    Client::connect(&server.url, Value::Null).await.expect("a visitor");
}

#[tokio::test]
async fn renewals_that_fail_count_against_who_sends_them_and_not_against_their_address() {
    let limits = LimitsConfig { sign_in_failures_per_minute: count(3), ..LimitsConfig::default() };
    let server = Server::with_limits(limits).await;
    let renew = async |client: &Client| {
        let ack = client.emit_with_ack("auth:renew", json!({ "userId": "nobody" })).await;
        ack["error"].as_str().expect("refused").to_owned()
    };
    let (bad, good) = (server.connect("b1").await, server.connect("b2").await);
    for _ in 0..5 {
        assert_eq!(renew(&bad).await, "there is no such user");
    }
    let error = renew(&bad).await;
    assert!(error.starts_with("5 renewals of your sign-in have failed within a minute"), "{error}");
    assert_eq!(good.emit_with_ack("auth:renew", json!({ "userId": "b2" })).await["success"], true);
    server.connect("b1").await;
    assert_eq!(server.refused("sign_in_failures_per_minute"), 1);
    // A visitor could come again and again to guess.
    let visitor = Client::connect(&server.url, Value::Null).await.expect("a visitor");
    for _ in 0..3 {
        assert_eq!(renew(&visitor).await, "there is no such user");
    }
    assert!(renew(&visitor).await.starts_with("3 sign-ins from your address have failed"));
    assert!(Client::connect(&server.url, json!({ "userId": "b1" })).await.is_err());
}

#[tokio::test]
async fn a_thousand_refused_sign_ins_and_as_many_that_vanish_leave_nothing_taken() {
    let limits = LimitsConfig {
        sign_in_failures_per_minute: NonZeroU32::MAX,
        connections_per_address: size(10_000),
        connections_per_user: size(10_000),
        handshake_timeout: Duration::from_secs(2),
        ..LimitsConfig::default()
    };
    let server = Server::with_limits(limits).await;
    let ws = format!("{}/socket.io/?EIO=4&transport=websocket", server.url.replacen("http", "ws", 1));
    for _ in 0..100 {
        let refused = (0..10).map(|_| Client::connect(&server.url, json!({ "userId": "nobody" })));
        let vanishing = (0..10).map(async |number| {
            let (mut socket, _) = tokio_tungstenite::connect_async(&ws).await.expect("a WebSocket");
            if number % 2 == 0 {
                futures_util::SinkExt::send(&mut socket, r#"40{"userId":"b1"}"#.into()).await.expect("sent");
            }
        });
        let (refused, _) =
            tokio::join!(futures_util::future::join_all(refused), futures_util::future::join_all(vanishing));
        assert!(refused.into_iter().all(|refused| refused.is_err()));
    }
    server.wait_until_nothing_is_taken().await;
    server.wait_until_empty().await;
    assert_eq!(server.gateway.limits().size(), [0; 5]);
}

#[tokio::test]
async fn a_client_that_polls_and_changes_over_works_within_the_limits() {
    let server = Server::with_limits(LimitsConfig::default()).await;
    for _ in 0..20 {
        let client = Client::connect_upgraded(&server.url, json!({ "userId": "b1" })).await.expect("connected");
        assert_eq!(client.emit_with_ack("join", json!({ "room": "product:1" })).await["success"], true);
    }
    server.wait_until_nothing_is_taken().await;
}
