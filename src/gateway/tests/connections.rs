//! Connections from sign-in to their end, and what is told of them.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, Uri, header},
    middleware::from_fn_with_state,
};
use tower::ServiceExt;

use super::*;

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

/// The buffer that it was read into holds the address, a secret and a byte of no text.
fn request_in(buffer: &Bytes) -> Request {
    let at = |text: &[u8]| buffer.windows(text.len()).position(|part| part == text).expect("in the buffer");
    let (secret, strange) = (at(b"token=secret"), at(b"caf\xe9"));
    let mut cookie = HeaderValue::from_maybe_shared(buffer.slice(secret..secret + 12)).expect("a value");
    cookie.set_sensitive(true);
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_maybe_shared(buffer.slice(..secret - 1)).expect("an address");
    request.headers_mut().insert(header::COOKIE, cookie);
    request.headers_mut().append("x-name", HeaderValue::from_maybe_shared(buffer.slice(strange..)).expect("a value"));
    request.headers_mut().append("x-name", HeaderValue::from_static("second"));
    request
}

#[tokio::test]
async fn what_is_kept_of_a_request_is_the_same_and_holds_nothing_of_the_buffer_that_it_was_read_into() {
    let server = Server::default().await;
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = {
        let kept = kept.clone();
        async move |request: Request| *kept.lock().expect("no panic") = Some(request)
    };
    let admission = Admission::new(server.gateway.clone(), Origins::Any);
    let router = Router::new().fallback(keep).layer(from_fn_with_state(admission, Admission::check));
    let come: &[u8] = b"/socket.io/?EIO=4&transport=polling token=secret caf\xe9";
    let change_over: &[u8] = b"/socket.io/?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAA token=secret caf\xe9";
    for (text, upgrade) in [(come, None), (change_over, Some("websocket"))] {
        let buffer = Bytes::from(text.to_vec());
        let mut request = request_in(&buffer);
        if let Some(protocol) = upgrade {
            request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
        }
        let (uri, headers) = (request.uri().to_string(), request.headers().clone());
        router.clone().oneshot(request).await.expect("an answer");
        let kept = kept.lock().expect("no panic").take().expect("it got through");
        assert_eq!((kept.uri().to_string(), kept.headers()), (uri, &headers));
        assert!(kept.headers()[header::COOKIE].is_sensitive());
        drop(headers);
        assert!(buffer.is_unique(), "a part of the buffer is kept: {:?}", kept.uri());
    }
}
