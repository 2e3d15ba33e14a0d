//! "Why did she not get it?": what `rowcast trace` tells of changes, events and users.

use serde_json::{Value, json};

use crate::support::{
    command::{Ran, rowcast},
    database::Database,
    service::Service,
};

struct Stage {
    database: Database,
    service: Service,
}

impl Stage {
    async fn set() -> Self {
        let database = Database::marketplace().await;
        let service = Service::start(&database).await;
        Self { database, service }
    }

    async fn trace(&self, arguments: &[&str]) -> Ran {
        let admin = format!("http://{}", self.service.admin);
        rowcast(&self.database.url, &[&["trace", "--admin", &admin], arguments].concat()).await
    }
}

fn event_id(event: &Value) -> String {
    event["metadata"]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_traced_to_who_it_reached_and_why_others_were_not() {
    let stage = Stage::set().await;
    let mut viewer = stage.service.connect("buyer-1").await;
    viewer.emit_with_ack("join:product", json!({ "productId": "product-1" })).await;
    let elsewhere = stage.service.connect("seller-2").await;
    elsewhere.emit_with_ack("join:product", json!({ "productId": "product-2" })).await;
    stage.database.run("update products set stock = 17 where id = 'product-1'").await;
    let event = event_id(&viewer.event_named("product:stock_changed").await);

    let told = stage.trace(&["--event", &event, "--user", "buyer-1"]).await.succeeded().stdout;
    for expected in [
        "update of products",
        "event    product:stock_changed",
        "product:product-1",
        "user buyer-1: reached on #",
        "fires   product:stock_changed",
        "joined product:product-1",
    ] {
        assert!(told.contains(expected), "expected {expected:?} in\n{told}");
    }
    let told = stage.trace(&["--event", &event, "--user", "seller-2"]).await.succeeded().stdout;
    assert!(told.contains("was connected (#"), "{told}");
    assert!(
        told.contains(
            "but in none of these rooms: it was in product:product-2, seller:seller-2, sellers, user:seller-2"
        ),
        "{told}"
    );
    let told = stage.trace(&["--event", &event, "--user", "buyer-3"]).await.succeeded().stdout;
    assert!(told.contains("user buyer-3: had no connection then"), "{told}");
    assert!(told.contains("knows of no connection of user buyer-3"), "{told}");

    let change = event.split('-').next().expect("the change's id");
    let told = stage.trace(&["--change", change]).await.succeeded().stdout;
    assert!(told.contains("silent  stock:out"), "why the others don't: {told}");
    let json = stage.trace(&["--change", change, "--json"]).await.succeeded().stdout;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["changes"][0]["table"], "products");
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_connections_are_told_with_what_they_missed_and_got_later() {
    let stage = Stage::set().await;
    let client = stage.service.connect("buyer-1").await;
    let joined = client.emit_with_ack("join:product", json!({ "productId": "product-1" })).await;
    client.emit_with_ack("join", json!({ "room": "user:buyer-2" })).await;
    drop(client);
    stage.database.run("update products set stock = 17 where id = 'product-1'").await;
    let mut back = stage.service.connect("buyer-1").await;
    back.emit_with_ack("join", json!({ "room": "product:product-1", "since": joined["position"] })).await;
    back.event_named("rowcast:resumed").await;
    let told = stage.trace(&["--user", "buyer-1", "--since", "10m"]).await.succeeded().stdout;
    for expected in [
        "connected, in ",
        "was refused user:buyer-2",
        "ended",
        "coming back with a position",
        "resumed product:product-1: ",
    ] {
        assert!(told.contains(expected), "expected {expected:?} in\n{told}");
    }
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_does_not_know_is_said_and_where_it_was_asked() {
    let stage = Stage::set().await;
    let told = stage.trace(&["--change", "999999"]).await.succeeded().stdout;
    assert!(told.contains("The service knows nothing of change 999999"), "{told}");
    let nowhere = rowcast(&stage.database.url, &["trace", "--change", "1", "--admin", "http://127.0.0.1:1"]).await;
    assert_eq!(nowhere.code, 5, "{}", nowhere.stderr);
    assert!(nowhere.stderr.contains("cannot ask the service at http://127.0.0.1:1"), "{}", nowhere.stderr);
    let nothing = rowcast(&stage.database.url, &["trace"]).await;
    assert_eq!(nothing.code, 2, "{}", nothing.stderr);
    stage.service.stop().await;
}
