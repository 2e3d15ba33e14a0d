//! The application's own migrations go on working while the service runs; rules that lose a column sleep until it is back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{client::Client, command::rowcast, database::Database, eventually, service::Service};

/// The marketplace, the service, and a visitor who looks at product-1.
async fn stage() -> (Database, Service, Client) {
    let database = Database::marketplace().await;
    database.run("update products set status = 'active', stock = 100 where id = 'product-1'").await;
    let service = Service::start(&database).await;
    let visitor = service.visit().await;
    let joined = visitor.emit_with_ack("join:product", json!({ "productId": "product-1" })).await;
    assert_eq!(joined["success"], true, "{joined}");
    (database, service, visitor)
}

async fn inactive(service: &Service, condition: impl Fn(f64) -> bool) {
    eventually("rowcast_rules_inactive follows the columns", async || {
        condition(service.metric("rowcast_rules_inactive").await)
    })
    .await;
}

/// The next event of this kind, caused by this statement.
async fn heard(database: &Database, visitor: &mut Client, sql: &str, kind: &str) -> serde_json::Value {
    database.run(sql).await;
    visitor.event_named(kind).await
}

const PRICE: &str = "product:price_changed";
const STOCK: &str = "product:stock_changed";

#[tokio::test(flavor = "multi_thread")]
async fn rules_sleep_while_their_column_is_dropped_and_wake_when_it_is_back() {
    let (database, service, mut visitor) = stage().await;
    database.run("alter table products drop column stock").await;
    inactive(&service, |rules| rules > 0.0).await;
    let price = heard(&database, &mut visitor, "update products set price = 25 where id = 'product-1'", PRICE).await;
    assert_eq!(price["data"]["newPrice"], "25.00", "the rules that need no stock go on");

    database.run("alter table products add column stock integer default 40").await;
    inactive(&service, |rules| rules == 0.0).await;
    let stock = heard(&database, &mut visitor, "update products set stock = 41 where id = 'product-1'", STOCK).await;
    assert_eq!(
        stock["data"],
        json!({ "productId": "product-1", "sellerId": "seller-1", "oldStock": 40, "newStock": 41 })
    );
    assert_eq!(service.metric("rowcast_capture_losses_total").await, 0.0);
    assert_eq!(service.metric("rowcast_dead_letters_total").await, 0.0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_sleep_while_their_column_is_renamed_and_wake_when_it_is_named_back() {
    let (database, service, mut visitor) = stage().await;
    database.run("alter table products rename column price to amount").await;
    inactive(&service, |rules| rules > 0.0).await;
    heard(&database, &mut visitor, "update products set stock = 90, amount = 3 where id = 'product-1'", STOCK).await;
    database.run("alter table products rename column amount to price").await;
    inactive(&service, |rules| rules == 0.0).await;
    let price = heard(&database, &mut visitor, "update products set price = 4 where id = 'product-1'", PRICE).await;
    assert_eq!((&price["data"]["oldPrice"], &price["data"]["newPrice"]), (&json!("3.00"), &json!("4.00")));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_may_be_added_and_change_their_type_and_be_swapped_in_one_transaction() {
    let (database, service, mut visitor) = stage().await;
    heard(&database, &mut visitor, "update products set stock = 99 where id = 'product-1'", STOCK).await;
    for (ddl, sql, kind, key, expected) in [
        ("add column extra jsonb default '{}'", "stock = 98", STOCK, "newStock", json!(98)),
        ("alter column stock type bigint", "stock = 97", STOCK, "newStock", json!(97)),
        ("alter column price type numeric(12, 3)", "price = 7.5", PRICE, "newPrice", json!("7.500")),
        ("alter column price type double precision", "price = 8.5", PRICE, "newPrice", json!(8.5)),
        ("alter column price type text using price::text", "price = '9.5'", PRICE, "newPrice", json!("9.5")),
        ("drop column price, add column price numeric(8, 2)", "price = 10.5", PRICE, "newPrice", json!("10.50")),
        ("alter column stock set not null, drop column extra", "stock = 96", STOCK, "newStock", json!(96)),
    ] {
        database.run(&format!("update products set stock = 0 where stock is null; alter table products {ddl}")).await;
        // The type of a column is looked up once a second, so the first values may still come in the former one's form.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let sql = format!("update products set {sql} where id = 'product-1'");
            let found = heard(&database, &mut visitor, &sql, kind).await["data"][key].clone();
            if found == expected {
                break;
            }
            assert!(Instant::now() < deadline, "{ddl}: expected {expected}, found {found}");
            heard(&database, &mut visitor, "update products set price = '1' where id = 'product-1'", PRICE).await;
        }
    }
    // A change before and one after, in the transaction that alters the table between them.
    database
        .run(
            "begin;
             update products set price = 11 where id = 'product-1';
             alter table products add column later int default 5;
             update products set price = 12 where id = 'product-1';
             commit",
        )
        .await;
    assert_eq!(visitor.event_named(PRICE).await["data"]["newPrice"], "11.00");
    assert_eq!(visitor.event_named(PRICE).await["data"]["newPrice"], "12.00");
    assert_eq!(service.metric("rowcast_dead_letters_total").await, 0.0);
    assert_eq!(service.metric("rowcast_capture_losses_total").await, 0.0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_dropped_and_made_anew_is_heard_once_it_is_watched() {
    let (database, service, mut visitor) = stage().await;
    database.run("create table copy as table products; drop table products").await;
    inactive(&service, |rules| rules > 0.0).await;
    database.run("alter table copy rename to products; update products set stock = 3 where id = 'product-1'").await;
    assert_eq!(database.count("select count(*) from rowcast.watched where \"table\" = 'products'").await, 0);

    rowcast(&database.url, &["watch", "products"]).await.succeeded();
    inactive(&service, |rules| rules == 0.0).await;
    let stock = heard(&database, &mut visitor, "update products set stock = 4 where id = 'product-1'", STOCK).await;
    assert_eq!((&stock["data"]["oldStock"], &stock["data"]["newStock"]), (&json!(3), &json!(4)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_may_be_renamed_and_take_its_triggers_along() {
    let (database, service, mut visitor) = stage().await;
    database.run("alter table products rename to goods").await;
    inactive(&service, |rules| rules > 0.0).await;
    database.run("update goods set stock = 5 where id = 'product-1'").await;
    database.run("alter table goods rename to products").await;
    inactive(&service, |rules| rules == 0.0).await;
    let stock = heard(&database, &mut visitor, "update products set stock = 6 where id = 'product-1'", STOCK).await;
    assert_eq!(stock["data"]["oldStock"], 5);
    service.stop().await;
}
