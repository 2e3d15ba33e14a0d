//! The log is bounded by size: above its limit the oldest that was swept goes, however young it is; what was not swept never
//! does, and no writer waits for any of it. By age: retention.rs.

use std::{sync::Arc, time::Duration};

use rowcast::{byte_size::ByteSize, config::Config};
use tokio::sync::watch;

use crate::support::{
    database::{Database, connect},
    eventually,
    server::Server,
    service::{Service, get},
};

/// Nothing may stay that may go.
const ABOVE_THE_LIMIT: &str = "select emptied, in_the_way from rowcast.rotate('1 day', 0)";

const LOG_BYTES: &str = "select sum(pg_total_relation_size(inhrelid))::bigint from pg_inherits
                         where inhparent = 'rowcast.change'::regclass";

/// As a service does that has swept all there is.
const SWEPT: &str = "update rowcast.cursor set snapshot = pg_current_snapshot()";

async fn rotate(database: &Database) -> (i32, Option<String>) {
    let row = database.row(ABOVE_THE_LIMIT, &[]).await;
    (row.get(0), row.get(1))
}

async fn logged(database: &Database, stock: i32) -> i64 {
    database.count(&format!("select count(*) from rowcast.change where new ->> 'stock' = '{stock}'")).await
}

async fn write(database: &Database, stock: i32) {
    database.run(&format!("update products set stock = {stock} where id = 'product-1'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_fits_a_page_is_not_compressed_at_the_writers_cost() {
    let database = Database::marketplace().await;
    // Both images are of 2 KB and of 6 KB.
    for (stock, words, uncompressed) in [(801, 300, 1), (802, 1100, 0)] {
        database
            .run(&format!("update products set description = repeat('wide ', {words}) where id = 'product-1'"))
            .await;
        write(&database, stock).await;
        let found = format!(
            "select count(*) from rowcast.change where new ->> 'stock' = '{stock}' and old ->> 'stock' <> '{stock}'
             and pg_column_compression(old) is null and pg_column_compression(new) is null"
        );
        assert_eq!(database.count(&found).await, uncompressed, "{words} words");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_limit_what_was_swept_goes_however_young_and_what_was_not_swept_stays() {
    let database = Database::marketplace().await;
    write(&database, 801).await;
    assert_eq!(rotate(&database).await, (0, None), "the writers move on");
    write(&database, 802).await;
    for _ in 0..3 {
        let (emptied, in_the_way) = rotate(&database).await;
        assert_eq!((emptied, in_the_way.as_deref()), (0, Some("not all of rowcast.change_0 has been swept")));
    }
    assert_eq!((logged(&database, 801).await, logged(&database, 802).await), (1, 1));

    let last_swept = database.count("select max(xid::text::bigint) from rowcast.change").await;
    database.run(SWEPT).await;
    write(&database, 803).await;
    assert_eq!(rotate(&database).await, (2, None));
    // The writers have moved on from the slot of the third, which was not swept.
    let (emptied, in_the_way) = rotate(&database).await;
    assert_eq!((emptied, in_the_way.as_deref()), (0, Some("not all of rowcast.change_2 has been swept")));
    assert_eq!((logged(&database, 801).await, logged(&database, 802).await), (0, 0));
    assert_eq!(logged(&database, 803).await, 1);
    let horizon = database.count("select pg_snapshot_xmax(horizon)::text::bigint from rowcast.cursor").await;
    let oldest = database.count("select min(xid::text::bigint) from rowcast.change").await;
    assert!(
        last_swept < horizon && horizon <= oldest,
        "{last_swept} has gone, {oldest} stays, {horizon} is the horizon"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_limit_a_transaction_that_is_open_keeps_nothing_but_its_own_changes() {
    // On a server of its own, where no other test has a transaction open.
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let open = database.connect().await;
    open.batch_execute("begin; update products set stock = 811 where id = 'product-2'").await.unwrap();
    write(&database, 812).await;
    database.run(SWEPT).await;
    rotate(&database).await;
    let (emptied, in_the_way) = rotate(&database).await;
    assert_eq!(emptied, 0);
    assert!(in_the_way.as_deref().is_some_and(|reason| reason.contains("a transaction is open that wrote to")));

    // It is committed, and the cursor doesn't know: nobody has been told of it.
    open.batch_execute("commit").await.unwrap();
    let (emptied, in_the_way) = rotate(&database).await;
    assert_eq!(emptied, 0);
    assert!(in_the_way.as_deref().is_some_and(|reason| reason.contains("has been swept")), "{in_the_way:?}");
    assert_eq!((logged(&database, 811).await, logged(&database, 812).await), (1, 1));

    // Another one is open that has written elsewhere: by age it keeps the log as it is, by size it doesn't.
    let elsewhere = database.connect().await;
    elsewhere.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    write(&database, 813).await;
    database.run(SWEPT).await;
    let by_age: i32 = database.row("select emptied from rowcast.rotate('0 seconds', null)", &[]).await.get(0);
    assert_eq!((by_age, logged(&database, 811).await), (1, 0), "all of it is older than the open one");
    let by_age: i32 = database.row("select emptied from rowcast.rotate('0 seconds', null)", &[]).await.get(0);
    assert_eq!((by_age, logged(&database, 813).await), (0, 1));
    assert_eq!((rotate(&database).await, logged(&database, 813).await), ((1, None), 0));
    elsewhere.batch_execute("rollback").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rolled_back_gives_its_room_back_though_nothing_was_swept() {
    let database = Database::marketplace().await;
    database.run("begin; update products set stock = 1; update products set stock = 2; rollback").await;
    let (table, slot) =
        ("select pg_relation_size('rowcast.change_0')", "select pg_sequence_last_value('rowcast.slot')::bigint");
    assert!(database.count(table).await > 0);
    // By size, since no row tells its age.
    assert_eq!(rotate(&database).await, (0, None), "the writers move on");
    assert_eq!(database.count(slot).await, 1);
    let open = database.connect().await;
    open.batch_execute("begin; insert into rowcast.change_0 select 1, pg_current_xact_id(), 0, 'I', now(), 'a', 'b'")
        .await
        .unwrap();
    assert_eq!(rotate(&database).await.0, 0, "somebody writes there still");
    open.batch_execute("rollback").await.unwrap();
    assert_eq!(rotate(&database).await, (1, None));
    assert_eq!(database.count(table).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_the_limit_stays_and_a_third_of_it_has_writers_move_on() {
    let database = Database::marketplace().await;
    let fill = "insert into rowcast.change (id, xid, slot, op, at, schema, \"table\", new)
                select nextval('rowcast.change_id'), pg_current_xact_id(), pg_sequence_last_value('rowcast.slot'), 'I',
                       clock_timestamp(), 'public', 'nothing', json_build_object('filling', repeat('x', 1000))
                from generate_series(1, 100)";
    let limit = 4 << 20;
    let (mut emptied, mut written) = (0, 0);
    let mut before = database.count(LOG_BYTES).await;
    while emptied < 6 {
        database.run(fill).await;
        database.run(SWEPT).await;
        written += database.count(LOG_BYTES).await - before;
        let row = database.row(&format!("select emptied, bytes from rowcast.rotate('1 day', {limit})"), &[]).await;
        let (gone, bytes): (i32, i64) = (row.get(0), row.get(1));
        emptied += gone;
        assert_eq!(bytes, database.count(LOG_BYTES).await);
        assert!(bytes <= limit, "{bytes} bytes after {written}");
        assert!(bytes >= limit / 2 || emptied == 0, "{bytes} bytes are left after {written}");
        before = bytes;
        assert!(written < 20 * limit, "{written} bytes were written, and {emptied} slots emptied");
    }
    let slots = "select count(distinct slot) from rowcast.change";
    assert!(database.count(slots).await >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_go_on_for_as_long_as_a_rotation_lasts() {
    let database = Database::marketplace().await;
    write(&database, 820).await;
    rotate(&database).await;
    write(&database, 821).await;
    database.run(SWEPT).await;
    let mut rotating = database.connect().await;
    let rotation = rotating.transaction().await.unwrap();
    let emptied: i32 = rotation.query_one(ABOVE_THE_LIMIT, &[]).await.unwrap().get(0);
    assert_eq!(emptied, 1);
    // It has not ended, and holds its locks.
    let locks = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted and relation = 'rowcast.change_0'::regclass
                 and database = (select oid from pg_database where datname = current_database())";
    assert_eq!(database.count(locks).await, 1);
    database.run("set statement_timeout = '2s'").await;
    for stock in 0..50 {
        write(&database, stock).await;
    }
    rotation.commit().await.unwrap();
    assert_eq!(database.count("select count(*) from rowcast.change_1").await, 1);
    assert_eq!(database.count("select count(*) from rowcast.change_2").await, 50);
    assert_eq!(database.count("select coalesce(pg_sequence_last_value('rowcast.loss'), 0)").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_writer_is_held_up_through_many_rotations_and_each_change_is_swept_once() {
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let service = Service::start(&database).await;
    let (stop, stopped) = watch::channel(false);
    let url: Arc<str> = database.url.as_str().into();
    let writers: Vec<_> = (1..=3)
        .map(|number| {
            let (url, stopped) = (Arc::clone(&url), stopped.clone());
            tokio::spawn(async move {
                let client = connect(&url).await;
                client.batch_execute("set statement_timeout = '1s'").await.unwrap();
                let mut written = 0;
                // No faster than a build for tests sweeps them on a busy machine: what is not swept is not emptied.
                let mut pace = tokio::time::interval(Duration::from_millis(10));
                while !*stopped.borrow() {
                    pace.tick().await;
                    let sql = "update products set stock = coalesce(stock, 0) + 1 where id = $1";
                    written += client.execute(sql, &[&format!("product-{number}")]).await.expect("no writer waits");
                }
                written
            })
        })
        .collect();
    // Each time the cursor has to be saved first.
    for _ in 0..15 {
        eventually("a slot of the log is emptied", async || rotate(&database).await.0 > 0).await;
    }
    stop.send_replace(true);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    eventually("each change is swept, and once", async || {
        service.metric("rowcast_changes_swept_total*").await == written as f64
    })
    .await;
    assert_eq!(service.metric("rowcast_capture_losses_total").await, 0.0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_keeps_the_log_within_its_limit_and_says_so_when_it_cannot() {
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let mut config = Config::default();
    let limit = ByteSize::mebibytes(2);
    config.capture.retention_bytes = limit;
    let service = Service::start_with(&database, config).await;
    let fill = "update products set description = repeat(md5(random()::text), 20)";
    let mut written = 0;
    while written < 8 * limit.get() {
        let before = database.count(LOG_BYTES).await;
        database.run(fill).await;
        written += (database.count(LOG_BYTES).await - before).max(0);
    }
    eventually("the log is within its limit", async || database.count(LOG_BYTES).await <= limit.get()).await;
    assert_eq!(service.metric("rowcast_log_over_limit").await, 0.0);

    // Its own changes are not swept before it has ended, so nothing that is newer can go.
    let open = database.connect().await;
    open.batch_execute("begin; update products set stock = 831 where id = 'product-1'").await.unwrap();
    eventually("the log is above its limit, and the service says so", async || {
        database.run(&format!("{fill} where id <> 'product-1'")).await;
        service.metric("rowcast_log_over_limit").await == 1.0
    })
    .await;
    open.batch_execute("commit").await.unwrap();
    eventually("the log is within its limit again", async || database.count(LOG_BYTES).await <= limit.get()).await;
    eventually("the service says no more", async || service.metric("rowcast_log_over_limit").await == 0.0).await;
    let changes = database.count("select last_value from rowcast.change_id").await as f64;
    eventually("each change is swept, and once", async || {
        service.metric("rowcast_changes_swept_total*").await == changes
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_go_on_though_the_log_cannot_be_emptied_and_that_is_said() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut client = service.connect("seller-1").await;
    client.emit_with_ack("ping", serde_json::Value::Null).await;
    database.run("alter function rowcast.rotate(interval, bigint) rename to rotate_no_more").await;
    eventually("it is said", async || service.metric("rowcast_log_over_limit").await == 1.0).await;
    write(&database, 840).await;
    client.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == 840).await;
    assert_eq!(get(service.address, "/readyz").await.unwrap().0, 200);
    database.run("alter function rowcast.rotate_no_more(interval, bigint) rename to rotate").await;
    eventually("it is over", async || service.metric("rowcast_log_over_limit").await == 0.0).await;
    service.stop().await;
}
