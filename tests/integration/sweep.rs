//! Nothing lost, nothing twice, in the order of each row's changes.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::support::{database::Database, eventually, service::Service};

/// As the doorbell probe does: out-of-order commits, rollbacks, transactions that linger.
async fn write(database: &Database, seed: u64, until: Instant) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut client = database.connect().await;
    while Instant::now() < until {
        let transaction = client.transaction().await.unwrap();
        let mut products: Vec<u32> = (0..rng.usize(1..=4)).map(|_| rng.u32(1..=12)).collect();
        products.sort_unstable();
        products.dedup();
        for product in products {
            let id = format!("product-{product}");
            transaction.execute("update products set stock = stock + 1 where id = $1", &[&id]).await.unwrap();
        }
        if rng.f32() < 0.03 {
            // A transaction that lingers is what this test is about, not a wait for something.
            tokio::time::sleep(Duration::from_millis(rng.u64(50..500))).await;
        }
        match rng.f32() < 0.1 {
            true => transaction.rollback().await.unwrap(),
            false => transaction.commit().await.unwrap(),
        }
        if rng.f32() < 0.3 {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..50))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twelve_concurrent_writers_lose_nothing_repeat_nothing_and_keep_each_rows_order() {
    let database = Database::marketplace().await;
    database.run("update products set stock = 100, status = 'active'").await;
    let service = Service::start(&database).await;
    let mut seller = service.visit().await;
    for product in 1..=12 {
        let ack = seller
            .emit_with_ack("join:product", serde_json::json!({ "productId": format!("product-{product}") }))
            .await;
        assert_eq!(ack["success"], true, "{ack}");
    }
    let before = database.count("select coalesce(max(id), 0) from rowcast.change").await;

    let until = Instant::now() + Duration::from_secs(6);
    let writers = (0..12).map(|seed| write(&database, seed, until));
    futures_util::future::join_all(writers).await;

    let logged = database.count(&format!("select count(*) from rowcast.change where id > {before}")).await as usize;
    assert!(logged > 500, "only {logged} changes: the test tests nothing");
    let (mut ids, mut stock) = (HashSet::new(), HashMap::<String, i64>::new());
    while ids.len() < logged {
        let (name, event) = seller
            .next_event(Duration::from_secs(10))
            .await
            .unwrap_or_else(|| panic!("lost {} of {logged}", logged - ids.len()));
        if name != "product:stock_changed" {
            continue;
        }
        let id = event["metadata"]["id"].as_str().unwrap().to_owned();
        assert!(ids.insert(id.clone()), "{id} came twice");
        let product = event["productId"].as_str().unwrap().to_owned();
        let (old, new) = (event["data"]["oldStock"].as_i64().unwrap(), event["data"]["newStock"].as_i64().unwrap());
        let last = stock.insert(product.clone(), new).unwrap_or(100);
        assert_eq!(old, last, "{product} is out of order");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_heard_at_once_while_another_transaction_is_open() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut visitor = service.visit().await;
    visitor.emit_with_ack("join:product", serde_json::json!({ "productId": "product-1" })).await;
    let mut open = database.connect().await;
    let transaction = open.transaction().await.unwrap();
    transaction.execute("update products set stock = stock + 1 where id = 'product-2'", &[]).await.unwrap();

    let began = Instant::now();
    for _ in 0..20 {
        database.run("update products set stock = stock + 1 where id = 'product-1'").await;
        visitor.events_until(|name, _| name == "product:stock_changed").await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "20 changes took {:?}", began.elapsed());

    transaction.commit().await.unwrap();
    eventually("the change of the long transaction is swept", async || {
        service.metric("rowcast_changes_swept_total{op=\"UPDATE\",table=\"products\"}").await == 21.0
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_of_the_application_makes_of_the_row_is_logged_after_what_fired_it() {
    let database = Database::marketplace().await;
    // Postgres fires row triggers in the order of their names.
    database
        .run(
            "create function touch() returns trigger language plpgsql as
               $$ begin update products set sku = 'touched' where id = new.id; return null; end $$;
             create trigger a_touch after update on products for each row when (pg_trigger_depth() < 1)
               execute function touch();
             update products set stock = 777 where id = 'product-1'",
        )
        .await;
    let order =
        "select string_agg(concat_ws('/', old ->> 'stock' <> '777', new ->> 'sku' = 'touched'), ' ' order by id)
                 from rowcast.change";
    let order: String = database.row(order, &[]).await.get(0);
    assert_eq!(order, "t/f f/t", "whether the stock changed, and whether the row is touched");
}
