//! Who is here, who is typing, and what they ask of their inbox.

use super::*;

/// The cells of a moment's row, before and after.
fn cells(moment: &Moment) -> (Op, Value, Value) {
    let json = |row: &Option<crate::change::Row>| -> Value {
        row.as_ref().map_or(Value::Null, |row| serde_json::from_str(&row.to_json()).expect("JSON"))
    };
    (moment.op, json(&moment.old), json(&moment.new))
}

/// What the gateway hands on next; nothing wakes a test when a connection has ended.
async fn moments(mut look: impl FnMut() -> Vec<Moment>) -> Vec<(Op, Value, Value)> {
    let found = async {
        loop {
            let moments = look();
            if !moments.is_empty() {
                return moments.iter().map(cells).collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("something happens")
}

#[tokio::test]
async fn the_others_in_a_room_hear_who_is_typing_and_when_it_ends() {
    let server = Server::default().await;
    server.gateway.set_position(position(1));
    let mut ada = server.connect("b1").await;
    let mut ada_at_home = server.connect("b1").await;
    let mut bob = server.connect("b2").await;
    let mut stranger = server.connect("b3").await;
    for client in [&ada, &ada_at_home, &bob] {
        client.emit_with_ack("join", json!({ "room": "product:p1" })).await;
    }

    let ack = ada.emit_with_ack("chat:typing", json!({ "room": "product:p1" })).await;
    assert_eq!(ack["success"], true);
    ada.emit_with_ack("chat:typing", json!({ "room": "product:p1" })).await;
    let heard = bob.event_named("chat:typing").await;
    assert_eq!(heard["data"], json!({ "room": "product:p1", "userId": "b1", "typing": true }));
    assert_eq!(heard["userId"], "b1");

    ada.emit_with_ack("chat:typing", json!({ "room": "product:p1", "typing": false })).await;
    assert_eq!(bob.event_named("chat:typing").await["data"]["typing"], false, "said twice, it is told once");
    assert_eq!(bob.events_so_far().await, []);
    for other in [&mut ada, &mut ada_at_home, &mut stranger] {
        assert_eq!(other.events_so_far().await, []);
    }
}

#[tokio::test]
async fn who_leaves_or_falls_silent_has_stopped_typing() {
    let server = Server::default().await;
    server.gateway.set_position(position(1));
    let mut bob = server.connect("b2").await;
    for end in ["leave", "disconnect", "silence"] {
        let room = json!({ "room": format!("product:{end}") });
        bob.emit_with_ack("join", room.clone()).await;
        let ada = server.connect("b1").await;
        ada.emit_with_ack("join", room.clone()).await;
        ada.emit_with_ack("chat:typing", room.clone()).await;
        assert_eq!(bob.event_named("chat:typing").await["data"]["typing"], true);
        match end {
            "leave" => {
                ada.emit_with_ack("leave", room).await;
            }
            "disconnect" => {}
            _ => {
                server.gateway.end_typing();
                assert_eq!(bob.events_so_far().await, [], "not yet");
                server.gateway.end_typing_by(std::time::Instant::now() + Duration::from_secs(6));
            }
        }
        drop(ada);
        assert_eq!(bob.event_named("chat:typing").await["data"]["typing"], false, "{end}");
        server.wait_until("bob is alone", || server.gateway.shared.rooms.size().0 == 1).await;
    }
}

#[tokio::test]
async fn who_begins_and_stops_again_and_again_is_told_of_once() {
    let server = Server::default().await;
    server.gateway.set_position(position(1));
    let (ada, mut bob) = (server.connect("b1").await, server.connect("b2").await);
    for client in [&ada, &bob] {
        client.emit_with_ack("join", json!({ "room": "product:p1" })).await;
    }
    for number in 0..20 {
        ada.emit_with_ack("chat:typing", json!({ "room": "product:p1", "typing": number % 2 == 0 })).await;
    }
    let told: Vec<Value> =
        bob.events_so_far().await.into_iter().map(|(_, event)| event["data"]["typing"].clone()).collect();
    assert_eq!(told, [true, false]);
}

#[tokio::test]
async fn only_who_is_signed_in_and_in_the_room_may_be_typing() {
    let server = Server::default().await;
    let ada = server.connect("b1").await;
    let visitor = Client::connect(&server.url, Value::Null).await.expect("a visitor may connect");
    visitor.emit_with_ack("join", json!({ "room": "product:p1" })).await;
    for (client, payload, expected) in [
        (&ada, json!({ "room": "product:p1" }), "join the room \"product:p1\" first"),
        (&ada, json!({ "room": "product:p1", "typing": "yes" }), "typing: expected true or false, found a string"),
        (&ada, json!({}), "expected an object with the key room, as in { room: \"product:1\" }"),
        (&visitor, json!({ "room": "product:p1" }), "sign in first"),
        (
            &ada,
            json!({ "room": "buyers" }),
            "expected the room of a thing or a person, such as \"product:1\": this one is for everybody",
        ),
    ] {
        let ack = client.emit_with_ack("chat:typing", payload).await;
        assert_eq!(ack, json!({ "success": false, "error": expected }));
    }
}

#[tokio::test]
async fn a_rooms_people_and_visits_are_counted_and_its_end_is_told() {
    let server = Server::default().await;
    let mut seen = Seen::default();
    let row = |people: u64, visits: u64| json!({ "room": "product:p1", "kind": "product", "id": "p1", "people": people, "visits": visits });
    let (ada, ada_at_home) = (server.connect("b1").await, server.connect("b1").await);
    let visitor = Client::connect(&server.url, Value::Null).await.expect("a visitor may connect");
    for client in [&ada, &ada_at_home, &visitor] {
        client.emit_with_ack("join", json!({ "room": "product:p1" })).await;
    }
    let mut look = || server.gateway.room_moments(&mut seen);
    assert_eq!(moments(&mut look).await, [(Op::Insert, Value::Null, row(2, 3))], "a user counts once");
    assert_eq!(look().len(), 0);

    visitor.emit_with_ack("leave", json!({ "room": "product:p1" })).await;
    assert_eq!(moments(&mut look).await, [(Op::Update, row(2, 3), row(1, 3))]);
    ada.emit_with_ack("leave", json!({ "room": "product:p1" })).await;
    assert_eq!(look().len(), 0, "she is there with another device");
    drop(ada_at_home);
    assert_eq!(moments(&mut look).await, [(Op::Delete, row(1, 3), Value::Null)]);

    // Somebody who came and left in between has been there.
    visitor.emit_with_ack("join", json!({ "room": "product:p1" })).await;
    visitor.emit_with_ack("leave", json!({ "room": "product:p1" })).await;
    assert_eq!(moments(&mut look).await, [(Op::Insert, Value::Null, row(0, 1))]);
    assert_eq!(server.gateway.shared.rooms.take_visited().len(), 0);
}

#[tokio::test]
async fn users_come_online_with_their_first_connection_and_go_with_their_last() {
    let server = Server::default().await;
    let row = |id: &str| json!({ "user_id": id });
    let ada = server.connect("b1").await;
    let look = || server.gateway.online_moments(Duration::ZERO);
    assert_eq!(moments(look).await, [(Op::Insert, Value::Null, row("b1"))]);
    let ada_at_home = server.connect("b1").await;
    drop(ada);
    ada_at_home.emit_with_ack("ping", Value::Null).await;
    assert_eq!(look().len(), 0);
    drop(ada_at_home);
    assert_eq!(moments(look).await, [(Op::Delete, row("b1"), Value::Null)]);
}

#[tokio::test]
async fn who_came_and_who_left_is_noted_for_the_rooms_that_somebody_may_wait_in() {
    let server = Server::default().await;
    let ada = server.connect("b1").await;
    let visitor = Client::connect(&server.url, Value::Null).await.expect("a visitor may connect");
    for client in [&ada, &visitor] {
        client.emit_with_ack("join", json!({ "room": "product:p1" })).await;
    }
    let who = |arrivals: &[Arrival]| -> Vec<(String, String, String)> {
        arrivals.iter().map(|a| (a.kind.clone(), a.id.clone(), a.user_id.clone())).collect()
    };
    let expected = [("product".to_owned(), "p1".to_owned(), "b1".to_owned())];
    let arrivals = server.gateway.take_arrivals();
    assert_eq!(who(&arrivals), expected);
    assert_eq!(server.gateway.take_arrivals(), []);
    server.gateway.give_back_arrivals(arrivals);
    assert_eq!(who(&server.gateway.take_arrivals()), expected);

    ada.emit_with_ack("leave", json!({ "room": "product:p1" })).await;
    assert_eq!(who(&server.gateway.take_arrivals()), expected, "she was there until now");
    ada.emit_with_ack("leave", json!({ "room": "product:p1" })).await;
    assert_eq!(server.gateway.take_arrivals(), [], "who was not there has not left");
}

#[tokio::test]
async fn questions_about_the_inbox_are_about_ones_own() {
    let server = Server::default().await;
    let ada = server.connect("b1").await;
    let answer = ada.emit_with_ack("notification:list", json!({ "limit": 3, "userId": "b2" })).await;
    assert_eq!(answer, json!({ "success": true, "of": "b1", "limit": 3 }));
    let answer = ada.emit_with_ack("notification:read", json!({ "notificationId": "1" })).await;
    assert_eq!(answer, json!({ "success": false, "error": "there is no such notification in your inbox" }));
    let answer = ada.emit_with_ack("notification:delete", json!({ "notificationId": 1 })).await;
    assert_eq!(answer["error"], "notificationId: expected the id of a notification, found a number");

    let visitor = Client::connect(&server.url, Value::Null).await.expect("a visitor may connect");
    let answer = visitor.emit_with_ack("notification:list", Value::Null).await;
    assert_eq!(answer, json!({ "success": false, "error": "sign in first: visitors have no inbox" }));
}
