//! Installing beside an application at work: what waits for a lock says who is in the way, and holds nobody up for long.

use std::time::{Duration, Instant};

use crate::support::{
    command::{rowcast, rowcast_command},
    database::Database,
    eventually,
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
    assert_eq!(database.count("select count(*) from pg_trigger where tgname like 'rowcast%'").await, 0);
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
