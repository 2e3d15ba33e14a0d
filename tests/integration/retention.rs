//! The log is bounded by age: what is past the retention and swept goes, and nothing else. By size: log_size.rs.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{
    client::Client,
    database::Database,
    eventually,
    server::Server,
    service::{Service, url},
};

/// Several times as long as it takes to save the cursor.
const HELD_BACK: Duration = Duration::from_secs(3);

async fn rotate(database: &Database) -> i32 {
    database.row("select emptied from rowcast.rotate('0 seconds', null)", &[]).await.get(0)
}

async fn logged(database: &Database) -> i64 {
    database.count("select count(*) from rowcast.change").await
}

/// Waits until everything that is logged now is below the cursor that is saved. A cursor that stands still is saved but
/// once a minute, so a change comes behind it; and another one only where a transaction of the server's own, such as an
/// analyze, held the cursor back, so that a test which counts bytes writes as many each time.
async fn swept_and_saved(database: &Database) {
    let last = database.count("select max(xid::text::bigint) from rowcast.change").await;
    let written_at = Cell::new(None::<Instant>);
    eventually("the cursor is saved beyond every change", async || {
        if written_at.get().is_none_or(|at| at.elapsed() > HELD_BACK) {
            database.run("update products set stock = coalesce(stock, 0) + 1 where id = 'product-14'").await;
            written_at.set(Some(Instant::now()));
        }
        let saved = "select pg_snapshot_xmin(snapshot)::text::bigint from rowcast.cursor";
        database.count(saved).await > last
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_not_swept_is_never_truncated() {
    let database = Database::marketplace().await;
    database.run("update products set stock = 900 where id = 'product-1'").await;
    for _ in 0..6 {
        assert_eq!(rotate(&database).await, 0, "no service has swept anything");
    }
    assert_eq!(logged(&database).await, 1);
    // The writers moved on to the next slot, and no further: there is no slot beyond that is empty and behind them.
    let service = Service::start(&database).await;
    eventually("it is swept", async || service.metric("rowcast_changes_swept_total*").await == 1.0).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_progress_is_never_truncated() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let open = database.connect().await;
    open.batch_execute("begin; update products set stock = 901 where id = 'product-1'").await.unwrap();
    for round in 0..8 {
        database.run(&format!("update products set stock = {round} where id = 'product-2'")).await;
        rotate(&database).await;
    }
    open.batch_execute("commit").await.unwrap();
    let found = database.count("select count(*) from rowcast.change where new ->> 'stock' = '901'").await;
    assert_eq!(found, 1);
    eventually("all nine are swept", async || service.metric("rowcast_changes_swept_total*").await == 9.0).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_younger_than_the_retention_stays() {
    // On a server of its own, where no other test's transaction holds the cursor back.
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let service = Service::start(&database).await;
    database.run("update products set stock = 902 where id = 'product-1'").await;
    swept_and_saved(&database).await;
    // The writers move on, so that the row's slot is one that could be emptied.
    database.run("select setval('rowcast.slot', (pg_sequence_last_value('rowcast.slot') + 1) % 3)").await;
    for _ in 0..4 {
        let emptied: i32 = database.row("select emptied from rowcast.rotate('1 hour', null)", &[]).await.get(0);
        assert_eq!(emptied, 0);
    }
    assert_eq!(database.count("select count(*) from rowcast.change where new ->> 'stock' = '902'").await, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_does_not_grow_over_many_rotations() {
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let service = Service::start(&database).await;
    let size = "select sum(pg_total_relation_size(inhrelid))::bigint from pg_inherits where inhparent = 'rowcast.change'::regclass";
    let (mut emptied, mut largest, rounds) = (0, Vec::new(), 20);
    for round in 0..rounds {
        // Always four digits, so that every round writes as many bytes.
        database
            .run(&format!(
                "do $$ begin for n in 1..20 loop update products set stock = 1000 + {round} * 100 + n; end loop; end $$"
            ))
            .await;
        swept_and_saved(&database).await;
        emptied += rotate(&database).await;
        largest.push(database.count(size).await);
    }
    assert!(emptied >= rounds / 2, "{emptied} of {rounds} rotations emptied a slot");
    let (early, late) = (largest[..6].iter().max(), largest[6..].iter().max());
    assert!(late <= early, "it grew from {early:?} to {late:?} bytes: {largest:?}");
    let written = database.count("select last_value from rowcast.change_id").await as f64;
    eventually("each change is swept, and once", async || {
        service.metric("rowcast_changes_swept_total*").await == written
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_a_service_that_was_down_for_longer_than_the_retention_load_anew_and_nothing_is_lost() {
    // On a server of its own, where no other test's transaction holds the cursor back.
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let seller = |service: &Service, since: serde_json::Value| {
        let address = url(service.address);
        async move { Client::connect(&address, json!({ "userId": "seller-1", "since": since })).await.expect("connects") }
    };
    let service = Service::start(&database).await;
    let mut client = seller(&service, json!(null)).await;
    client.emit_with_ack("ping", json!(null)).await;
    database.run("update products set stock = 50 where id = 'product-1'").await;
    let since = client.event_named("product:stock_changed").await["metadata"]["position"].clone();
    service.stop().await;

    for stock in 51..=60 {
        database.run(&format!("update products set stock = {stock} where id = 'product-1'")).await;
    }
    database.run("update rowcast.change set at = at - interval '25 hours'").await;
    let service = Service::start(&database).await;
    eventually("what is past the retention is gone", async || logged(&database).await == 0).await;
    assert_eq!(service.metric("rowcast_changes_swept_total*").await, 10.0, "each was swept before it went, and once");
    let mut back = seller(&service, since).await;
    let resync = back.event_named("rowcast:resync").await;
    assert!(resync["reason"].as_str().unwrap().contains("older than what the change log keeps"), "{resync}");
    // From here on all is as ever.
    database.run("update products set stock = 61 where id = 'product-1'").await;
    back.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == 61).await;
    service.stop().await;
}
