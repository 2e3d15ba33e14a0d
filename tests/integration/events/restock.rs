//! `stock:restocked` for those who looked while the product was out, wherever they are when it is there again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::light::{heard_so_far, named};
use crate::support::{
    client::Client,
    database::Database,
    eventually,
    service::{Service, url},
};

const PRODUCT: &str = "product-2";

async fn looks(client: &Client, product: &str) {
    let ack = client.emit_with_ack("join:product", json!({ "productId": product })).await;
    assert_eq!(ack["success"], true, "{ack}");
}

async fn leaves(client: &Client, product: &str) {
    let ack = client.emit_with_ack("leave:product", json!({ "productId": product })).await;
    assert_eq!(ack["success"], true, "{ack}");
}

/// Who is written down as waiting for a product, and has not been told.
async fn waiting_for(database: &Database, product: &str) -> BTreeSet<String> {
    let sql = "select user_id from rowcast.waiting where id = $1 and told_at is null";
    let rows = database.client.query(sql, &[&product]).await.expect("rowcast.waiting");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Those who came or left until now have been looked at: so has somebody who came later, to a product that is out.
async fn all_who_came_are_noted(database: &Database, service: &Service) {
    let helper = service.connect("helper-1").await;
    looks(&helper, "product-13").await;
    eventually("who came last is noted", async || !waiting_for(database, "product-13").await.is_empty()).await;
    database.run("delete from rowcast.waiting where id = 'product-13'").await;
    leaves(&helper, "product-13").await;
    eventually("who left last is noted", async || !waiting_for(database, "product-13").await.is_empty()).await;
    database.run("delete from rowcast.waiting where id = 'product-13'").await;
}

async fn restocked(database: &Database, user: &str, client: &mut Client) -> usize {
    let heard = heard_so_far(database, user, client).await;
    named(&heard, "stock:restocked").iter().filter(|data| data["productId"] == PRODUCT).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looked_while_it_was_out_is_told_once_that_it_is_there_again() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let set_stock =
        async |stock: i32| database.run(&format!("update products set stock = {stock} where id = '{PRODUCT}'")).await;

    // Before it is out: buyer-1 comes and goes, buyer-2 and a visitor come and stay.
    let mut early = service.connect("buyer-1").await;
    looks(&early, PRODUCT).await;
    leaves(&early, PRODUCT).await;
    let mut stayed = service.connect("buyer-2").await;
    looks(&stayed, PRODUCT).await;
    let mut visitor = service.visit().await;
    looks(&visitor, PRODUCT).await;
    all_who_came_are_noted(&database, &service).await;

    set_stock(0).await;
    visitor.event_named("stock:out").await;
    // While it is out: buyer-2 goes, buyer-3 comes and goes, buyer-4 comes and disconnects, buyer-5 comes, disconnects
    // and will be away, seller-2 comes and stays, and a second visitor comes and goes.
    leaves(&stayed, PRODUCT).await;
    let mut looked = service.connect("buyer-3").await;
    looks(&looked, PRODUCT).await;
    leaves(&looked, PRODUCT).await;
    let disconnects = service.connect("buyer-4").await;
    looks(&disconnects, PRODUCT).await;
    drop(disconnects);
    let mut away = service.connect("buyer-5").await;
    looks(&away, PRODUCT).await;
    heard_so_far(&database, "buyer-5", &mut away).await;
    let since = away.emit_with_ack("ping", Value::Null).await["position"].clone();
    drop(away);
    let mut stays = service.connect("seller-2").await;
    looks(&stays, PRODUCT).await;
    let mut passer_by = service.visit().await;
    looks(&passer_by, PRODUCT).await;
    leaves(&passer_by, PRODUCT).await;
    let mut elsewhere = service.connect("buyer-4").await;
    let expected = ["buyer-2", "buyer-3", "buyer-4", "buyer-5", "seller-2"].map(str::to_owned).into();
    eventually("all who looked are noted", async || waiting_for(&database, PRODUCT).await == expected).await;

    set_stock(20).await;
    let event = visitor.event_named("stock:restocked").await;
    assert_eq!(
        event["data"],
        json!({
            "productId": PRODUCT, "sellerId": "seller-1", "productName": "Serving bowl, celadon", "newStock": 20,
        })
    );
    for (user, client, times) in [
        ("buyer-1", &mut early, 0),
        ("buyer-2", &mut stayed, 1),
        ("buyer-3", &mut looked, 1),
        ("buyer-4", &mut elsewhere, 1),
        ("seller-2", &mut stays, 1),
    ] {
        assert_eq!(restocked(&database, user, client).await, times, "{user}");
    }
    assert_eq!(named(&passer_by.events_so_far().await, "stock:restocked").len(), 0, "nobody knows a passer-by");
    let auth = json!({ "userId": "buyer-5", "since": since });
    let mut back = Client::connect(&url(service.address), auth).await.expect("buyer-5 comes again");
    assert_eq!(restocked(&database, "buyer-5", &mut back).await, 1, "by resume");

    // Out and there again: of those who have left nobody looked.
    set_stock(0).await;
    visitor.event_named("stock:out").await;
    set_stock(5).await;
    visitor.event_named("stock:restocked").await;
    for (user, client, times) in [
        ("buyer-1", &mut early, 0),
        ("buyer-2", &mut stayed, 0),
        ("buyer-3", &mut looked, 0),
        ("buyer-4", &mut elsewhere, 0),
        ("buyer-5", &mut back, 0),
        ("seller-2", &mut stays, 1),
    ] {
        assert_eq!(restocked(&database, user, client).await, times, "{user}, the second time");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_and_left_while_a_long_transaction_restocked_it_is_told_when_that_commits() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    database.run(&format!("update products set stock = 0 where id = '{PRODUCT}'")).await;
    let mut writer = database.connect().await;
    let transaction = writer.transaction().await.expect("begin");
    let restock = format!("update products set stock = 9 where id = '{PRODUCT}'");
    transaction.execute(&restock, &[]).await.expect("restocked, as far as the transaction goes");

    let mut looked = service.connect("buyer-3").await;
    looks(&looked, PRODUCT).await;
    leaves(&looked, PRODUCT).await;
    let expected = BTreeSet::from(["buyer-3".to_owned()]);
    eventually("who looked is noted", async || waiting_for(&database, PRODUCT).await == expected).await;
    let since = looked.emit_with_ack("ping", Value::Null).await["position"].clone();
    transaction.commit().await.expect("commit");
    assert_eq!(restocked(&database, "buyer-3", &mut looked).await, 1);

    drop(looked);
    let auth = json!({ "userId": "buyer-3", "since": since });
    let mut back = Client::connect(&url(service.address), auth).await.expect("buyer-3 comes again");
    assert_eq!(restocked(&database, "buyer-3", &mut back).await, 1, "by resume");
    service.stop().await;
}
