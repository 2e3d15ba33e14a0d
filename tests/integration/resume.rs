//! A client that comes back gets what it missed, or is told in so many words that it can't.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use crate::{
    shelf,
    support::{
        client::Client,
        database::Database,
        eventually,
        server::Server,
        service::{Service, url},
    },
};

async fn seller(service: &Service, since: Option<&str>) -> Client {
    Client::connect(&url(service.address), json!({ "userId": "seller-1", "since": since }))
        .await
        .expect("seller-1 connects")
}

/// The position of an event that the seller has heard, after which it went away.
async fn heard_and_left(database: &Database, service: &Service) -> String {
    let mut client = seller(service, None).await;
    client.emit_with_ack("ping", Value::Null).await;
    database.run("update products set stock = 50 where id = 'product-1'").await;
    let event = client.event_named("product:stock_changed").await;
    event["metadata"]["position"].as_str().unwrap().to_owned()
}

async fn told_to_load_anew(service: &Service, since: &str) -> String {
    let mut client = seller(service, Some(since)).await;
    client.event_named("rowcast:resync").await["reason"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_it_was_away_comes_in_order_then_a_word_that_this_was_all_then_what_is_new() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let since = heard_and_left(&database, &service).await;
    for stock in 51..=60 {
        database.run(&format!("update products set stock = {stock} where id = 'product-1'")).await;
    }
    database.run("update products set stock = 5 where seller_id = 'seller-2'").await;
    let mut client = seller(&service, Some(&since)).await;
    let events = client.events_until(|name, _| name == "rowcast:resumed").await;
    let stocks: Vec<i64> = events
        .iter()
        .filter(|(name, _)| name == "product:stock_changed")
        .map(|(_, event)| event["data"]["newStock"].as_i64().unwrap())
        .filter(|stock| *stock > 50)
        .collect();
    assert_eq!(stocks, (51..=60).collect::<Vec<_>>());
    assert!(events.iter().all(|(_, event)| event["data"]["sellerId"] != "seller-2"), "another seller's events");
    database.run("update products set stock = 61 where id = 'product-1'").await;
    assert_eq!(client.event_named("product:stock_changed").await["data"]["newStock"], 61);
    service.stop().await;
}

/// What somebody hears of orders from a position on, until it is brought up to date.
async fn orders_since(service: &Service, user: &str, since: &str) -> Vec<Value> {
    let mut client =
        Client::connect(&url(service.address), json!({ "userId": user, "since": since })).await.expect("signed in");
    let events = client.events_until(|name, _| name == "rowcast:resumed").await;
    events.into_iter().filter(|(name, _)| name == "order:updated").map(|(_, event)| event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_has_nobody_hear_again_what_they_heard_meanwhile_and_is_told_when_it_commits() {
    let database = Database::marketplace().await;
    database.run("update products set seller_id = 'seller-1'").await;
    let service = Service::start(&database).await;
    let mut long = database.connect().await;
    let pending = long.transaction().await.unwrap();
    pending.execute("update products set stock = 777 where id = 'product-2'", &[]).await.unwrap();
    let mut client = seller(&service, None).await;
    client.emit_with_ack("ping", Value::Null).await;
    for stock in 100..150 {
        database.run(&format!("update products set stock = {stock} where id = 'product-1'")).await;
    }
    client.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == 149).await;
    // What comes after that has a position that knows of these.
    let saved = "select count(*) from rowcast.cursor
                 where pg_snapshot_xmax(snapshot)::text::bigint > (select max(xid::text::bigint) from rowcast.change)";
    eventually("the cursor is saved behind them", async || database.count(saved).await == 1).await;
    database.run("update products set stock = 150 where id = 'product-1'").await;
    let event = client.event_named("product:stock_changed").await;
    let since = event["metadata"]["position"].as_str().unwrap().to_owned();
    drop(client);
    database.run("update products set stock = 151 where id = 'product-1'").await;

    let stocks = |events: Vec<(String, Value)>| -> Vec<i64> {
        let changed = events.into_iter().filter(|(name, _)| name == "product:stock_changed");
        changed.map(|(_, event)| event["data"]["newStock"].as_i64().unwrap()).collect()
    };
    let mut back = seller(&service, Some(&since)).await;
    let told = stocks(back.events_until(|name, _| name == "rowcast:resumed").await);
    assert_eq!(told.last(), Some(&151));
    assert!(told.len() < 10, "told again while a transaction is open: {told:?}");
    drop(back);
    pending.commit().await.unwrap();
    let mut again = seller(&service, Some(&since)).await;
    let told = stocks(again.events_until(|name, _| name == "rowcast:resumed").await);
    assert!(told.contains(&777) && told.contains(&151), "{told:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_gives_up_behind_a_long_transaction_makes_no_position_too_old_that_has_seen_it() {
    // On a server of its own, where no other test has a transaction open.
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    database.run("update products set seller_id = 'seller-1'").await;
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    let early = client.emit_with_ack("ping", Value::Null).await["position"].as_str().unwrap().to_owned();
    database.run("update products set stock = 100 where id = 'product-1'").await;
    let mut long = database.connect().await;
    let pending = long.transaction().await.unwrap();
    pending.execute("update products set stock = 777 where id = 'product-2'", &[]).await.unwrap();
    database.run("update products set stock = 101 where id = 'product-1'").await;

    // The slots but the one that it wrote to are emptied, as above the limit, and what they held lies beyond it.
    let beyond = "select count(*) from rowcast.cursor, pg_stat_activity
                  where backend_xid is not null and pg_snapshot_xmax(horizon)::text::numeric > backend_xid::text::numeric";
    eventually("the log has given up changes of after it began", async || {
        database.run("update products set stock = stock + 1 where id = 'product-3'").await;
        database.run("select rowcast.rotate('1 day', 1)").await;
        database.count(beyond).await > 0
    })
    .await;
    database.run("update products set stock = 102 where id = 'product-1'").await;
    let heard =
        client.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == 102).await;
    let held = "select count(*) from rowcast.cursor where pg_snapshot_xmax(snapshot)::text::numeric > (
                  select max(xid::text::numeric) from rowcast.change) and exists (select from rowcast.change)";
    eventually("the cursor is saved behind it", async || database.count(held).await == 1).await;
    let since = client.emit_with_ack("ping", Value::Null).await["position"].as_str().unwrap().to_owned();
    drop((client, heard));
    assert!(told_to_load_anew(&service, &early).await.contains("older than what the change log keeps"));

    database.run("update products set stock = 103 where id = 'product-1'").await;
    let mut back = seller(&service, Some(&since)).await;
    let told = back.events_until(|name, _| name == "rowcast:resumed" || name == "rowcast:resync").await;
    assert_eq!(told.last().unwrap().0, "rowcast:resumed", "{told:?}");
    assert!(told.iter().any(|(_, event)| event["data"]["newStock"] == 103), "{told:?}");
    pending.commit().await.unwrap();
    back.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == 777).await;
    drop(back);
    let mut again = seller(&service, Some(&since)).await;
    let told = again.events_until(|name, _| name == "rowcast:resumed" || name == "rowcast:resync").await;
    assert!(told.iter().any(|(_, event)| event["data"]["newStock"] == 777), "{told:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_right_ended_while_it_was_away_does_not_hear_what_happened_while_it_had_it() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let since = heard_and_left(&database, &service).await;
    database.run("update orders set tracking_number = 'T-1' where seller_id = 'seller-1'").await;
    let heard = orders_since(&service, "helper-1", &since).await;
    assert!(!heard.is_empty(), "a collaborator hears the store's orders");
    database.run("update user_store_memberships set status = 'revoked' where user_id = 'helper-1'").await;
    assert_eq!(orders_since(&service, "helper-1", &since).await, Vec::<Value>::new());
    assert_eq!(orders_since(&service, "seller-1", &since).await.len(), heard.len());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_away_while_a_table_was_truncated_is_told_to_load_anew() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let since = heard_and_left(&database, &service).await;
    database.run("truncate carts").await;
    assert_eq!(told_to_load_anew(&service, &since).await, "a table was truncated");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_away_while_changes_were_lost_is_told_to_load_anew() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let since = heard_and_left(&database, &service).await;
    database.run("alter table rowcast.change rename to elsewhere").await;
    database.run("update products set stock = 1 where id = 'product-1'").await;
    database.run("alter table rowcast.elsewhere rename to change").await;
    eventually("the loss is noticed", async || service.metric("rowcast_capture_losses_total").await >= 1.0).await;
    assert!(told_to_load_anew(&service, &since).await.contains("older than what the change log keeps"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_too_old_or_of_another_database_or_forged_is_answered_with_the_reason() {
    let (database, other) = (Database::marketplace().await, Database::marketplace().await);
    let (service, elsewhere) = (Service::start(&database).await, Service::start(&other).await);
    let since = heard_and_left(&database, &service).await;
    assert!(told_to_load_anew(&elsewhere, &since).await.contains("another database"));
    assert!(told_to_load_anew(&service, "nonsense").await.contains("not a position"));
    let mut ahead: rowcast::position::Position = since.parse().unwrap();
    ahead.seen = rowcast::position::Seen::below(ahead.seen.xmin + 1_000_000_000);
    assert!(told_to_load_anew(&service, &ahead.to_string()).await.contains("ahead of this database"));
    database.run("update rowcast.cursor set horizon = format('%1$s:%1$s:', pg_snapshot_xmax(pg_current_snapshot())::text::numeric + 1)::pg_snapshot").await;
    assert!(told_to_load_anew(&service, &since).await.contains("older than what the change log keeps"));
    service.stop().await;
    elsewhere.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn our_connections_may_be_terminated_under_load_and_a_live_client_hears_everything_once() {
    let database = Database::marketplace().await;
    database.run("update products set stock = 0, seller_id = 'seller-1'").await;
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    client.emit_with_ack("ping", Value::Null).await;
    let writer = database.connect().await;
    let admin = database.connect().await;
    let rounds = 300;
    for round in 1..=rounds {
        writer.execute("update products set stock = $1 where id = 'product-1'", &[&round]).await.unwrap();
        if round % 60 == 0 {
            admin
                .execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity
                     where datname = current_database() and application_name in ('rowcast sweep', 'rowcast doorbell')",
                    &[],
                )
                .await
                .unwrap();
        }
    }
    let mut ids = HashSet::new();
    let mut last = 0;
    while last < i64::from(rounds) {
        let (name, event) = client.next_event(Duration::from_secs(20)).await.expect("the next event");
        assert_ne!(name, "rowcast:resync", "{event}");
        if name != "product:stock_changed" {
            continue;
        }
        let stock = event["data"]["newStock"].as_i64().unwrap();
        assert!(ids.insert(event["metadata"]["id"].to_string()), "stock {stock} came twice");
        if event["data"]["oldStock"] != 0 || last != 0 {
            assert_eq!(event["data"]["oldStock"], last, "out of order or lost");
        }
        last = stock;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_came_with_a_dump_is_emptied_and_capture_begins_at_the_present() {
    let database = Database::marketplace().await;
    database.run("update products set stock = 1").await;
    // As after a restore: the log's transactions are another cluster's.
    database
        .run("update rowcast.change set xid = '900000000'; update rowcast.cursor set system_identifier = '1'")
        .await;
    let service = Service::start(&database).await;
    assert_eq!(database.count("select count(*) from rowcast.change").await, 0);
    let mut client = seller(&service, None).await;
    client.emit_with_ack("ping", Value::Null).await;
    database.run("update products set stock = 50 where id = 'product-1'").await;
    assert_eq!(client.event_named("product:stock_changed").await["data"]["newStock"], 50);
    assert_eq!(service.metric("rowcast_changes_swept_total*").await, 1.0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_ends_while_it_waits_behind_a_long_transaction_does_not_keep_the_lease() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut open = database.connect().await;
    let transaction = open.transaction().await.unwrap();
    let waiting = "select count(*) from pg_locks where locktype = 'advisory' and classid = 1919907683 and objid = 1
                   and not granted";
    database.run("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'rowcast %'").await;
    // As a writer does while the listener is awake.
    eventually("the transaction shares the doorbell's lock", async || {
        let share = "select pg_try_advisory_xact_lock_shared(1919907683, 1)";
        transaction.query_one(share, &[]).await.unwrap().get(0)
    })
    .await;
    eventually("the new session waits for the lock", async || database.count(waiting).await == 1).await;
    database.run("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'rowcast sweep'").await;

    let heard = tokio::time::timeout(Duration::from_secs(15), async {
        loop {
            let mut client = match Client::connect(&url(service.address), json!({ "userId": "seller-1" })).await {
                Ok(client) => client,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            client.emit_with_ack("ping", Value::Null).await;
            database.run("update products set stock = coalesce(stock, 0) + 1 where id = 'product-1'").await;
            let next = client.next_event(Duration::from_secs(2)).await;
            if next.is_some_and(|(name, _)| name.starts_with("product:")) {
                break;
            }
        }
    });
    heard.await.expect("events go on while the transaction is open");
    transaction.rollback().await.unwrap();
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_lookup_took_too_long_for_is_not_left_out_of_what_was_missed() {
    const LOOKUP: &str =
        "select w.key, 'x' as name from unnest($1::text[]) as w (key), pace, lateral (select pg_sleep(seconds)) as s";
    let database = Database::empty().await;
    database.run("create table things (id text primary key); create table pace (seconds float8)").await;
    database.run("insert into pace values (0)").await;
    database.migrate().await;
    database.run("select rowcast.watch('things')").await;
    let (mut config, _rules) = shelf::with_lookup("things", LOOKUP);
    config.lookups.statement_timeout = Duration::from_millis(500);
    let service = Service::start_with(&database, config).await;
    let live = service.visit().await;
    let since = live.emit_with_ack("join", json!({ "room": "shelf" })).await["position"].clone();
    let mut live = live;
    database.run("insert into things values ('a')").await;
    assert_eq!(live.event_named("thing:new").await["data"], json!({ "id": "a", "name": "x" }));

    database.run("update pace set seconds = 60").await;
    let mut back = service.visit().await;
    back.emit_with_ack("join", json!({ "room": "shelf", "since": since })).await;
    let early = back.next_event(Duration::from_secs(2)).await;
    assert_eq!(early, None, "it is brought up to date without what the lookup is for");
    database.run("update pace set seconds = 0").await;
    let events = back.events_until(|name, _| name == "rowcast:resumed").await;
    assert!(events.iter().any(|(name, event)| name == "thing:new" && event["data"]["name"] == "x"), "{events:?}");
    service.stop().await;
}
