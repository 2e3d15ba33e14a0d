//! Who is connected and may not be what they were.

use super::*;

fn user(id: &str) -> Concern {
    Concern::User(id.to_owned())
}

/// Joins are for whom the room is open to.
async fn join(client: &Client, room: &str) -> bool {
    client.emit_with_ack("join", json!({ "room": room })).await["success"] == true
}

#[tokio::test]
async fn who_may_not_be_in_a_room_any_more_leaves_it_and_is_told_and_nobody_else_is() {
    let server = Server::default().await;
    server.gateway.set_position(position(1));
    server.people.say("b1", Ok(&["s1"]));
    let (mut member, mut owner) = (server.connect("b1").await, server.connect("s1").await);
    assert!(join(&member, "seller:s1").await && join(&owner, "seller:s1").await && join(&member, "product:p1").await);

    server.people.say("b1", Ok(&[]));
    server.gateway.doubt(&user("b1"));
    let moved = member.event_named("rowcast:rooms").await;
    assert_eq!(moved, json!({ "joined": [], "left": ["seller:s1"], "position": position(1) }));
    assert!(!join(&member, "seller:s1").await, "and doesn't come back");

    server.gateway.deliver(&event(1, vec![audience(&["seller:s1"], "own")]));
    server.gateway.deliver(&event(2, vec![audience(&["product:p1"], "public")]));
    let heard = member.events_until(|_, event| event["metadata"]["id"] == "2").await;
    assert_eq!(ids(&heard), [2]);
    assert_eq!(ids(&owner.events_until(|_, event| event["metadata"]["id"] == "1").await), [1]);
    assert_eq!(server.metrics.sockets.get(), 2);
}

#[tokio::test]
async fn who_is_not_signed_in_any_more_is_told_why_and_disconnected() {
    let server = Server::default().await;
    let (mut gone, stays) = (server.connect("b1").await, server.connect("b2").await);
    server.people.say("b1", Err(Refused::Denied("your session has ended".to_owned())));
    server.gateway.doubt(&Concern::Everybody);
    let told = gone.event_named("rowcast:closing").await;
    assert_eq!(told, json!({ "reason": "signed_out", "message": "your session has ended" }));
    gone.disconnected().await;
    assert_eq!(server.cut("signed_out"), 1);
    stays.emit_with_ack("ping", Value::Null).await;
    drop(stays);
    server.wait_until_empty().await;
}

#[tokio::test]
async fn a_sign_in_ends_with_its_time_unless_it_is_renewed_by_the_same_user() {
    let server = Server::default().await;
    let short = |user: &str| json!({ "userId": user, "seconds": 0.4 });
    let mut expires = server.connect_with(short("b1")).await;
    let renews = server.connect_with(short("b2")).await;

    let ack = renews.emit_with_ack("auth:renew", short("b3")).await;
    assert_eq!((&ack["success"], ack["error"].as_str().is_some()), (&json!(false), true), "{ack}");
    let ack = renews.emit_with_ack("auth:renew", json!({ "userId": "b2", "seconds": 3600 })).await;
    assert_eq!(ack["success"], true, "{ack}");
    assert!(ack["until"].as_str().is_some_and(|until| until.ends_with('Z')), "{ack}");

    assert_eq!(expires.event_named("rowcast:closing").await["reason"], "expired");
    expires.disconnected().await;
    assert_eq!(renews.emit_with_ack("ping", Value::Null).await["success"], true);
    assert_eq!(server.cut("expired"), 1);
}

#[tokio::test]
async fn a_change_that_comes_while_somebody_signs_in_is_not_missed() {
    let server = Server::default().await;
    server.people.say("b1", Ok(&["s1"]));
    let answers = server.people.answers.lock().await;
    let connecting = tokio::spawn({
        let url = server.url.clone();
        async move { Client::connect(&url, json!({ "userId": "b1" })).await.expect("the client connects") }
    });
    // It has read what the user was, and not answered yet.
    server.wait_until("the look-up has begun", || server.people.asked.load(Ordering::SeqCst) == 1).await;
    server.people.say("b1", Err(Refused::Denied("no more".to_owned())));
    server.gateway.doubt(&user("b1"));
    drop(answers);
    let mut client = connecting.await.expect("no panic");
    assert_eq!(client.event_named("rowcast:closing").await["reason"], "signed_out");
}

#[tokio::test]
async fn somebody_in_doubt_who_cannot_be_confirmed_is_asked_about_again() {
    let server = Server::default().await;
    let mut client = server.connect("b1").await;
    let asked = server.people.asked.load(Ordering::SeqCst);
    server.people.say("b1", Err(Refused::Unavailable("the database is away".to_owned())));
    server.gateway.doubt(&user("b1"));
    server.wait_until("it was tried twice", || server.people.asked.load(Ordering::SeqCst) >= asked + 2).await;
    assert!(client.is_connected());
    server.people.say("b1", Err(Refused::Denied("your session has ended".to_owned())));
    assert_eq!(client.event_named("rowcast:closing").await["reason"], "signed_out");
}

#[tokio::test]
async fn who_becomes_a_seller_is_in_the_sellers_own_rooms_from_then_on() {
    let server = Server::default().await;
    server.gateway.set_position(position(1));
    let mut client = server.connect("b1").await;
    assert!(!join(&client, "seller:s9").await);
    server.people.say("b1", Ok(&["s9"]));
    server.gateway.doubt(&user("b1"));
    assert_eq!(client.event_named("rowcast:rooms").await["joined"], json!(["seller:s9"]));
    server.gateway.deliver(&event(1, vec![audience(&["seller:s9"], "own")]));
    assert_eq!(ids(&client.events_until(|_, event| event["metadata"]["id"] == "1").await), [1]);
}

#[tokio::test]
async fn joins_that_race_with_a_revocation_never_leave_the_client_in_the_room() {
    let server = Server::default().await;
    server.gateway.set_position(position(1));
    let mut clients = Vec::new();
    for round in 0..50 {
        let name = format!("b{round}");
        server.people.say(&name, Ok(&["s1"]));
        let client = server.connect(&name).await;
        server.people.say(&name, Ok(&[]));
        server.gateway.doubt(&user(&name));
        while join(&client, "seller:s1").await {
            client.emit_with_ack("leave", json!({ "room": "seller:s1" })).await;
        }
        let shared = &server.gateway.shared;
        let present = shared.rooms.first_matches([&[room("seller:s1")][..]]);
        assert!(present[0].is_empty(), "round {round}");
        clients.push(client);
    }
}

#[tokio::test]
async fn a_tokens_end_waits_for_no_answer_about_others() {
    let server = Server::default().await;
    let mut others = Vec::new();
    for number in 0..20 {
        others.push(server.connect(&format!("b{number}")).await);
    }
    let mut ends = server.connect_with(json!({ "userId": "c1", "seconds": 0.3 })).await;
    let _silence = server.people.answers.lock().await;
    server.gateway.doubt(&Concern::Everybody);
    assert_eq!(ends.event_named("rowcast:closing").await["reason"], "expired");
    assert!(others.iter().all(Client::is_connected));
}

#[tokio::test]
async fn who_can_not_be_confirmed_past_their_time_is_cut_off_and_the_others_are_not() {
    let server = Server::default().await;
    let mut past = server.connect("p1").await;
    let routine = server.connect("b2").await;
    // As a session's that was looked up with this end, which has come while nobody answers.
    let client =
        server.gateway.shared.rooms.everyone().into_iter().find(|it| it.session.user_id.as_deref() == Some("p1"));
    let client = client.expect("connected");
    let soon = SignedIn {
        until: Some(Utc::now() + chrono::TimeDelta::milliseconds(100)),
        ..(*client.session.signed_in()).clone()
    };
    server.people.say("p1", Err(Refused::Unavailable("the database is away".to_owned())));
    server.people.say("b2", Err(Refused::Unavailable("the database is away".to_owned())));
    server.gateway.shared.renew(&client, soon, server.gateway.shared.standing.doubts()).expect("the same user");
    past.disconnected().await;
    assert_eq!(server.cut("unconfirmed"), 1);
    assert!(routine.is_connected());
}
