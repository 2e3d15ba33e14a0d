//! Clients that come back with a position.

use super::*;

#[tokio::test]
async fn a_client_whose_position_is_not_known_any_more_is_told_to_load_anew() {
    let server = Server::default().await;
    server.gateway.set_position(position(50));
    let now = position(50).to_string();
    let mut client = server.connect_with(json!({ "userId": "b1", "since": position(1).to_string() })).await;
    assert_eq!(
        client.event_named("rowcast:resync").await,
        json!({ "reason": "too old", "rooms": ["user:b1"], "position": now })
    );
    let ack = client.emit_with_ack("join", json!({ "room": "product:2", "since": "what?" })).await;
    assert_eq!(ack["success"], true, "{ack}");
    let resync = client.event_named("rowcast:resync").await;
    assert!(resync["reason"].as_str().is_some_and(|reason| reason.starts_with("since: not a position")), "{resync}");
    assert_eq!(resync["position"], now);
    let ack = client.emit_with_ack("join", json!({ "room": "product:1", "since": position(4).to_string() })).await;
    assert_eq!(ack["success"], true, "{ack}");
    assert_eq!(
        client.event_named("rowcast:resync").await,
        json!({ "reason": "too old", "rooms": ["product:1"], "position": now })
    );

    server.gateway.deliver(&event(60, vec![audience(&["product:1"], "all")]));
    assert_eq!(id(&client.event_named("product:updated").await), 60);
    // Nothing that was told before is good for a position.
    server.gateway.forget_position();
    server.gateway.resync("the database was restored");
    assert_eq!(
        client.event_named("rowcast:resync").await,
        json!({ "reason": "the database was restored", "position": null })
    );
    assert_eq!(client.emit_with_ack("ping", Value::Null).await["position"], Value::Null);
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
async fn nobody_keeps_others_from_being_caught_up_by_coming_many_times() {
    let server = Server::default().await;
    let mut many = Vec::new();
    for xmin in [7, 8] {
        many.push(server.connect_with(json!({ "userId": "b1", "since": position(xmin).to_string() })).await);
    }
    for xmin in [17, 18] {
        let visitor = server.connect_with(Value::Null).await;
        visitor.emit_with_ack("join", json!({ "room": "product:1", "since": position(xmin).to_string() })).await;
        many.push(visitor);
    }
    let mut another = server.connect_with(json!({ "userId": "b2", "since": position(9).to_string() })).await;
    server.wait_until("another's replay has begun", || server.begun.lock().unwrap().contains(&9)).await;
    assert_eq!(*server.begun.lock().unwrap(), [7, 17, 9], "of each one at a time");
    (0..5).for_each(|_| server.past.send(None).expect("a replay listens"));
    another.event_named("rowcast:resumed").await;
    for client in &mut many {
        client.event_named("rowcast:resumed").await;
    }
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
async fn a_large_statement_waits_for_a_client_that_is_caught_up() {
    let server = Server::default().await;
    let mut client = server.connect("b1").await;
    client.emit_with_ack("join", json!({ "room": "product:1", "since": position(7).to_string() })).await;
    let live = |id| event(id, vec![audience(&["product:1"], "all")]);
    (10..=8_000).for_each(|id| server.gateway.deliver(&live(id)));
    server.past.send(Some(vec![live(8)])).expect("a replay listens");
    server.past.send(None).expect("a replay listens");
    assert_eq!(id(&client.event_named("product:updated").await), 8);
    client.event_named("rowcast:resumed").await;
    let heard = client.events_until(|name, event| name == "product:updated" && id(event) == 8_000).await;
    assert!(heard.iter().all(|(name, _)| name == "product:updated"), "{:?}", heard.first());
    assert_eq!(ids(&heard), (10..=8_000).collect::<Vec<_>>());
    server.gateway.deliver(&live(8_001));
    assert_eq!(id(&client.event_named("product:updated").await), 8_001);
}
