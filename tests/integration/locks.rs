//! Installing beside an application at work: what waits for a lock says who is in the way, and holds nobody up for long. And
//! what our own connections are opened with, so that they cost the application little.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use rowcast::{
    config::{Config, LookupConfig},
    pool,
};

use crate::{
    cli::Files,
    support::{
        command::{rowcast, rowcast_command},
        database::Database,
        eventually,
        service::Service,
    },
};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Runs `rowcast …` until it says who is in the way; gives that line's neighbourhood, and what is left to wait for.
async fn blocked(url: &str, arguments: &[&str]) -> (String, tokio::process::Child) {
    let mut child = rowcast_command(url)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.expect("text") {
        said += &line;
        said.push('\n');
        if line.trim_start().starts_with("pid ") {
            break;
        }
    }
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (said, child)
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_behind_a_long_transaction_names_it_and_holds_writers_up_for_two_seconds_at_most() {
    let database = Database::marketplace().await;
    let long = database.connect().await;
    let pid: i32 = long.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    long.batch_execute("begin; update order_items set quantity = 7 where id = 'order-item-1'").await.unwrap();

    let ((said, mut watch), ()) = tokio::join!(blocked(&database.url, &["watch", "order_items"]), async {
        // Meanwhile the application goes on writing.
        let application = database.connect().await;
        eventually("the watch waits for its lock", async || {
            database
                .count("select count(*) from pg_locks where not granted and relation = 'order_items'::regclass")
                .await
                > 0
        })
        .await;
        let began = Instant::now();
        application.execute("update order_items set quantity = 8 where id = 'order-item-2'", &[]).await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(2800), "a writer waited {:?}", began.elapsed());
    });
    for expected in [format!("pid {pid}, order_items"), "update order_items set quantity = 7".to_owned()] {
        assert!(said.contains(&expected), "expected {expected:?} in {said}");
    }
    long.batch_execute("commit").await.unwrap();
    assert!(watch.wait().await.unwrap().success());
    let watched = "select count(*) from rowcast.watched where relation = 'order_items'::regclass";
    assert_eq!(database.count(watched).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_behind_a_long_read_names_it_and_succeeds_when_it_ends() {
    let database = Database::marketplace().await;
    let reader = database.connect().await;
    let pid: i32 = reader.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
    reader.batch_execute("begin; select count(*) from products").await.unwrap();
    let (said, mut uninstall) = blocked(&database.url, &["uninstall", "--yes"]).await;
    assert!(said.contains(&format!("pid {pid}, products")), "{said}");

    reader.batch_execute("commit").await.unwrap();
    assert!(uninstall.wait().await.unwrap().success());
    assert_eq!(database.count("select count(*) from pg_trigger where tgname like '%rowcast%'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_a_migration_holds_no_table_while_it_waits_for_another() {
    let database = Database::marketplace().await;
    for table in ["order_items", "carts"] {
        database.run(&format!("select rowcast.watch('{table}', by_statement => true)")).await;
    }
    let held = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
                where l.granted and l.mode = 'AccessExclusiveLock' and n.nspname = 'public'
                  and l.database = (select oid from pg_database where datname = current_database())";
    let waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock'
                 and database = (select oid from pg_database where datname = current_database())";
    // Of the tables that each has to do with, one comes last.
    for undone in ["by_statement", "identity", "inbox_and_schedules", "watch_marketplace", "capture"] {
        if undone == "capture" {
            for table in ["order_items", "products", "orders"] {
                database.run(&format!("select rowcast.watch('{table}')")).await;
            }
        }
        let last = match undone {
            "by_statement" => Some("select relation::text from rowcast.watched where by_statement offset 1"),
            "identity" => Some("select relation::text from rowcast.watched where only_columns is not null offset 1"),
            "inbox_and_schedules" => None,
            _ => Some("select relation::text from rowcast.watched offset 2"),
        };
        let reader = database.connect().await;
        if let Some(last) = last {
            let table: String = database.row(&format!("{last} limit 1"), &[]).await.get(0);
            reader.batch_execute(&format!("begin; select count(*) from {table}")).await.unwrap();
        }
        let mut down = rowcast_command(&database.url)
            .args(["migrate", "--down"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the binary starts");
        if last.is_some() {
            eventually("it waits for a table", async || database.count(waits).await > 0).await;
            assert_eq!(database.count(held).await, 0, "{undone}");
        }
        drop(reader);
        assert!(down.wait().await.unwrap().success(), "{undone}");
    }
    assert_eq!(database.count("select count(*) from pg_namespace where nspname = 'rowcast'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_does_not_wait_for_readers_nor_make_them_wait() {
    let database = Database::marketplace().await;
    let reader = database.connect().await;
    reader.batch_execute("begin; select count(*) from order_items").await.unwrap();
    rowcast(&database.url, &["watch", "order_items"]).await.succeeded();
    reader.batch_execute("select count(*) from order_items; commit").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_a_table_that_is_watched_already_takes_no_lock() {
    let database = Database::marketplace().await;
    let writer = database.connect().await;
    writer.batch_execute("begin; update products set stock = 1").await.unwrap();
    let began = Instant::now();
    rowcast(&database.url, &["migrate"]).await.succeeded();
    rowcast(&database.url, &["watch", "products"]).await.succeeded();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    writer.batch_execute("commit").await.unwrap();
}

/// A rule whose lookup reads one table after another.
const READS_TWO_TABLES: &str = r#"
room = [{ room = "user:{id}", join = "true", own = "auth.user_id" }]

[[lookup]]
name = "buyer"
returns = "one"
sql = "select u.id as key, u.username from users u, products p where p.id = 'product-1' and u.id = any ($1::text[])"

[[rule]]
event = "cart:touched"
table = "carts"
on = ["update"]
lookups = { buyer = { use = "buyer", key = "row.buyer_id" } }
to = [{ rooms = ["user:{row.buyer_id}"] }]
data = { name = "buyer.username" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_and_a_migration_that_wait_for_each_other_end_well_for_both() {
    let rules = Files::new(&[("rules.toml", READS_TWO_TABLES)]);
    let mut config = Config::default();
    config.catalog.dir = Some(rules.path().into());
    let database = Database::marketplace().await;
    let service = Service::start_with(&database, config).await;
    let mut buyer = service.connect("buyer-1").await;

    let migration = database.connect().await;
    migration.batch_execute("begin; lock table products in access exclusive mode").await.unwrap();
    database.run("update carts set updated_at = now() where buyer_id = 'buyer-1'").await;
    // The lookup has read-locked users by now. Once it has waited for a second it is the migration that Postgres ends.
    let waiting = "select max(query_start)::text, coalesce(max(clock_timestamp() - query_start) > '1.05 s', false)
                   from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                     and application_name like 'rowcast%' and query like 'select found.key%'";
    let began = Mutex::new(None::<String>);
    eventually("the lookup has given way and asks again, or has waited for too long", async || {
        let row = database.row(waiting, &[]).await;
        let Some(now) = row.get::<_, Option<String>>(0) else { return false };
        let first = began.lock().unwrap().get_or_insert_with(|| now.clone()).clone();
        first != now || row.get(1)
    })
    .await;
    let altered = migration.batch_execute("alter table users add column nickname text; commit").await;
    altered.expect("the migration notices nothing");

    let event = buyer.event_named("cart:touched").await;
    assert!(event["data"]["name"].is_string(), "{event}");
    assert_eq!(database.count("select count(*) from rowcast.dead_letter").await, 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_up_is_not_compiled() {
    let database = Database::empty().await;
    let pool = pool::open(&LookupConfig::default(), &database.database_url(), "test").await.expect("a pool");
    let jit: String = sqlx::query_scalar("show jit").fetch_one(&pool).await.expect("a setting");
    assert_eq!(jit, "off");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_rotated_without_compiling_anything_in_whosever_session() {
    let database = Database::marketplace().await;
    let sql = "select coalesce('jit=off' = any (proconfig), false) from pg_proc where oid = 'rowcast.rotate'::regproc";
    assert!(database.row(sql, &[]).await.get::<_, bool>(0));
}
