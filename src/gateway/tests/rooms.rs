//! Who hears what: joins, audiences, order, and messages that are none.

use super::*;

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
        let now = || shared.position().map_or(0, |position| position.seen.xmin as usize);
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
async fn several_rooms_are_joined_and_left_with_one_message_and_those_that_are_closed_are_named() {
    let server = Server::default().await;
    server.gateway.set_position(position(7));
    let mut client = server.connect("b1").await;
    let rooms = json!({ "rooms": ["product:1", "seller:s1", "product:2", "nosuch:1", "product:1", ""], "since": null });
    assert_eq!(
        client.emit_with_ack("join", rooms).await,
        json!({
            "success": true, "room": "product:1", "rooms": ["product:1", "product:2"], "refused": ["", "seller:s1", "nosuch:1"],
            "position": position(7).to_string(),
        })
    );
    let one = client.emit_with_ack("join", json!({ "rooms": ["product:3"] })).await;
    assert_eq!(
        one,
        json!({ "success": true, "room": "product:3", "rooms": ["product:3"], "position": position(7).to_string() })
    );
    let none = client.emit_with_ack("join", json!({ "rooms": ["seller:s1", "nosuch:1"] })).await;
    assert_eq!(none, json!({ "success": false, "error": "there is no room \"seller:s1\" that you may join" }));

    client.emit_with_ack("leave", json!({ "rooms": ["product:2", "product:3", "product:4"] })).await;
    for (id, product) in [(1, "product:2"), (2, "product:3"), (3, "seller:s1"), (4, "product:1")] {
        server.gateway.deliver(&event(id, vec![audience(&[product], "all")]));
    }
    assert_eq!(id(&client.event_named("product:updated").await), 4);
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
    let wrong: [(&str, &str); 14] = [
        (r#"["join"]"#, "expected an object with the key room"),
        (r#"["join",{"room":7}]"#, "room: expected a string, found a number"),
        (r#"["join",{"room":""}]"#, "room: expected a name of 1 to 256 bytes"),
        (r#"["join",{"room":"product:1\u0000"}]"#, "room: expected a name of 1 to 256 bytes"),
        (r#"["join",{"rooms":"product:1"}]"#, "rooms: expected an array of strings, found a string"),
        (r#"["join",{"rooms":["product:1",2]}]"#, "rooms: expected strings, found a number"),
        (r#"["join",{"rooms":[]}]"#, "rooms: expected 1 to 2 rooms, found 0"),
        (r#"["leave",{"rooms":["product:1","product:2","product:3"]}]"#, "rooms: expected 1 to 2 rooms, found 3"),
        (r#"["join",{"room":"product:1","rooms":["product:1"]}]"#, "found both"),
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
