//! One statement on 100,000 rows.

use std::{collections::HashSet, time::Instant};

use serde_json::json;

use super::{cli::Files, shelf};
use crate::support::{
    database::Database,
    eventually,
    service::{Process, Service, connect, metric},
};

const RULES: &str = r#"
[[room]]
room = "product:{id}"
join = "true"
message = { name = "product", key = "productId" }

[[rule]]
event = "item:changed"
table = "items"
on = ["update"]

[rule.data]
id = "row.id"
oldStock = "old.stock"
newStock = "new.stock"

[[rule.to]]
rooms = ["product:{row.shelf}"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_100_000_rows_rings_once_and_is_delivered_in_bounded_memory() {
    update_100_000_rows(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_100_000_rows_that_is_captured_by_statement_rings_once_too() {
    update_100_000_rows(true).await;
}

async fn update_100_000_rows(by_statement: bool) {
    const ROWS: i64 = 100_000;
    let database = Database::empty().await;
    database
        .run(
            "create table items (id int primary key, shelf text, stock int, note text);
             insert into items select n, case when n % 100 = 0 then 'watched' else 'other' end, n, repeat('note ', 40)
             from generate_series(1, 100000) n",
        )
        .await;
    database.migrate().await;
    database.run(&format!("select rowcast.watch('items', by_statement => {by_statement})")).await;
    let rules = Files::new(&[("rules.toml", RULES)]);
    let process = Process::start_with(&database.url, &["--catalog", rules.path()]).await.ready().await;
    let mut client = connect(process.address, "anybody").await;
    let joined = client.emit_with_ack("join:product", json!({ "productId": "watched" })).await;
    assert_eq!(joined["success"], true, "{joined}");
    let dozing = async || {
        eventually("the listener dozes", async || {
            metric(process.admin, r#"rowcast_doorbell_state{state="dozing"}"#).await == 1.0
        })
        .await;
    };
    // Once through, so that what any work takes is there already.
    dozing().await;
    database.run("update items set stock = stock where id = 1; update items set stock = 0 where id = 100").await;
    client.event_named("item:changed").await;
    dozing().await;
    let (rings, memory) = (metric(process.admin, "rowcast_doorbell_rings_total").await, process.memory());

    database.run("update items set stock = -id").await;
    let began = Instant::now();
    let mut peak = memory;
    let mut heard = HashSet::new();
    while heard.len() < usize::try_from(ROWS / 100).expect("few") {
        let event = client.event_named("item:changed").await;
        let id = event["data"]["id"].as_i64().expect("a number");
        assert_eq!(event["data"]["newStock"], -id);
        assert!(heard.insert(id), "{id} came twice");
        peak = peak.max(process.memory());
    }
    eventually("all of it is swept", async || {
        metric(process.admin, r#"rowcast_changes_swept_total{op="UPDATE",table="items"}"#).await == ROWS as f64 + 1.0
    })
    .await;
    eprintln!("{ROWS} changes swept in {:?}, memory grew by {} MB", began.elapsed(), (peak - memory) / 1_000_000);
    assert_eq!(metric(process.admin, r#"rowcast_events_total{type="item:changed"}"#).await, ROWS as f64 + 1.0);
    assert_eq!(metric(process.admin, "rowcast_doorbell_rings_total").await, rings + 1.0);
    assert!(peak - memory < 150_000_000, "it grew by {} bytes", peak - memory);
    assert!(client.is_connected(), "a client that keeps up is never cut off");
    assert!(process.terminate().await);
}

/// Postgres ends a statement that lasts too long; a page that takes its time in our hands is not one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_rows_that_take_long_to_look_up_do_not_end_the_session() {
    const LOOKUP: &str = "select w.key, 'x' as name from unnest($1::text[]) as w (key), lateral (select pg_sleep(2.2 * (w.key is not null)::int / 40.0)) as s";
    const ROWS: usize = 400;
    let database = Database::empty().await;
    database.run("create table files (id int primary key, body text)").await;
    database.migrate().await;
    database.run("select rowcast.watch('files')").await;
    let (config, _rules) = shelf::with_lookup("files", LOOKUP);
    let service = Service::start_with(&database, config).await;
    let mut client = service.visit().await;
    client.emit_with_ack("join", json!({ "room": "shelf" })).await;
    let session = "select pid::bigint from pg_stat_activity where application_name = 'rowcast sweep' and datname = current_database()";
    let former = database.count(session).await;
    database.run(&format!("insert into files select n, repeat('x', 200000) from generate_series(1, {ROWS}) n")).await;
    for id in 1..=ROWS {
        assert_eq!(client.event_named("thing:new").await["data"]["id"], id);
    }
    assert_eq!(database.count(session).await, former, "the session ended");
    service.stop().await;
}
