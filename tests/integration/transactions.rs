//! What capture does inside the application's transactions: subtransactions, prepared ones, replicas.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    database::{Database, LOST},
    eventually, roles,
    server::Server,
    service::Service,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_under_a_savepoint_that_is_rolled_back_is_not_captured() {
    let database = Database::marketplace().await;
    database
        .run(
            "begin;
             update products set stock = 201 where id = 'product-1';
             savepoint before;
             update products set stock = 202 where id = 'product-1';
             rollback to savepoint before;
             update products set stock = 203 where id = 'product-1';
             release savepoint before;
             commit",
        )
        .await;
    let logged = database.client.query("select (new ->> 'stock')::int from rowcast.change order by id", &[]).await;
    let stocks: Vec<i32> = logged.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(stocks, [201, 203]);
    let fails = "update products set price = 'no number' where id = 'product-1'";
    database.client.batch_execute(fails).await.expect_err("a statement that fails by itself still fails");
}

/// Postgres calls capture for the inner statement before it does for the rows of the outer one that are still to come.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_trigger_of_its_table_changed_before_its_turn_is_loud_and_what_was_locked_is_not() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut viewer = service.visit().await;
    viewer.emit_with_ack("join:product", json!({ "productId": "product-2" })).await;
    database
        .run(
            "create function bundle() returns trigger language plpgsql set timezone = 'America/New_York' as
             'begin update products set stock = 0 where id = ''product-2''; return null; end';
             create trigger bundle after update on products for each row
             when (pg_trigger_depth() = 0 and new.id = 'product-1' and new.stock = 9) execute function bundle()",
        )
        .await;
    database
        .run(
            "update products set stock = 8 where id in ('product-1', 'product-2');
             begin; select from products where id = 'product-2' for update;
             update products set stock = 7 where id = 'product-2'; commit;
             insert into products select * from products where id = 'product-2' on conflict (id) do update set stock = 6;
             begin; update products set stock = 5 where id = 'product-2'; savepoint s;
             update products set stock = 4 where id = 'product-2'; rollback to s;
             update products set stock = 3 where id = 'product-2'; commit",
        )
        .await;
    viewer.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == 3).await;
    assert_eq!(database.count(LOST).await, 0, "what was locked before, or changed by a savepoint's statements");

    database.run("update products set stock = 9 where id in ('product-1', 'product-2')").await;
    assert_eq!(viewer.event_named("rowcast:resync").await["reason"], "changes were lost");
    assert_eq!(database.count(LOST).await, 1);
    let last = "select (new ->> 'stock')::bigint from rowcast.change where new ->> 'id' = 'product-2' order by id desc limit 1";
    assert_eq!(database.count(last).await, 0, "as in the table");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_trigger_deleted_or_changed_before_its_turn_is_counted_as_lost() {
    let database = Database::marketplace().await;
    database
        .run(
            "create table chosen (id int primary key, is_default boolean);
             create function only_one() returns trigger language plpgsql as
             'begin update chosen set is_default = false where id <> new.id and is_default; return new; end';
             create trigger only_one before insert on chosen for each row when (new.is_default) execute function only_one();
             create function supersede() returns trigger language plpgsql as
             'begin delete from chosen where id = new.id + 1; return null; end';
             create trigger supersede after update on chosen for each row when (new.id = 20) execute function supersede();
             select rowcast.watch('chosen')",
        )
        .await;
    database.run("insert into chosen values (1, true), (2, true)").await;
    assert_eq!(database.count(LOST).await, 1, "the insertion of the first, whose update is captured before it");
    database
        .run("insert into chosen values (20, false), (21, false); update chosen set is_default = false where id >= 20")
        .await;
    assert_eq!(database.count(LOST).await, 1, "the update of what was false changes nothing");
    database.run("insert into chosen values (21, false); update chosen set is_default = true where id >= 20").await;
    assert_eq!(database.count(LOST).await, 2);
}

/// Foreign keys' actions belong to their statement: what they do to a row is captured in its turn, though it is changed twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_foreign_keys_do_to_a_row_and_what_changes_no_captured_column_is_in_order() {
    let database = Database::marketplace().await;
    database
        .run(
            "create table people (id int primary key, boss int references people on update cascade on delete set null);
             create table tickets (id int primary key, touched timestamptz, secret text,
               author int references people on delete set null on update cascade,
               assignee int references people on delete cascade on update cascade,
               reader int references people on delete set null on update cascade);
             create function touch() returns trigger language plpgsql as
             'begin new.touched := clock_timestamp(); return new; end';
             create trigger touch before update on tickets for each row execute function touch();
             create function note() returns trigger language plpgsql as
             'begin update products set stock = stock + 1 where id = ''product-1'';
                    update tickets set secret = new.id where id <> new.id; return null; end';
             create trigger note after update on tickets for each row when (pg_trigger_depth() = 0) execute function note();
             select rowcast.watch('tickets', array['secret', 'touched']), rowcast.watch('people');
             insert into people values (5, null), (6, 5), (7, 5);
             insert into tickets values (1, null, null, 5, 6, 5), (2, null, null, 6, 5, 6), (3, null, null, 7, 7, 7)",
        )
        .await;
    // One transaction, so that something has been captured within a trigger when the keys act.
    database
        .run(
            "begin; update tickets set reader = 7; update people set id = id + 10; delete from people where id = 15; commit",
        )
        .await;
    assert_eq!(database.count(LOST).await, 0);
    // Each change begins with what the one before it of the same row came to.
    let out_of_order = "select count(*) from (
        select old::text as began, lag(new::text) over (partition by coalesce(new, old) ->> 'id' order by id) as came_to
        from rowcast.change where \"table\" = 'tickets') as c where began <> came_to";
    assert_eq!(database.count(out_of_order).await, 0);
    assert!(database.count("select count(*) from rowcast.change where \"table\" = 'products'").await >= 3);
}

/// Who owns the function isn't let look, and a row that a policy hides is no row that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn where_policies_bind_the_owner_too_no_change_is_taken_for_lost() {
    let database = roles::marketplace().await;
    database
        .run(
            "create function nothing() returns trigger language plpgsql as 'begin return null; end';
             create trigger later after update on products for each row execute function nothing();
             alter table products enable row level security;
             alter table products force row level security;
             create policy hidden on products using (current_user <> (select proowner::regrole::name from pg_proc
                                                                     where oid = 'rowcast.capture'::regproc));
             begin; select from products where id = 'product-1' for update;
             update products set stock = 7 where id = 'product-1'; commit",
        )
        .await;
    assert_eq!(database.count("select count(*) from rowcast.change where new ->> 'stock' = '7'").await, 1);
    assert_eq!(database.count(LOST).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_replays_a_replica_is_not_captured() {
    let database = Database::marketplace().await;
    database.run("set session_replication_role = replica; update products set stock = 5; truncate products").await;
    assert_eq!(database.count("select count(*) from rowcast.change").await, 0);
    assert_eq!(database.count("select count(*) from rowcast.loss where is_called").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_changes_nothing_logs_nothing() {
    let database = Database::marketplace().await;
    database.run("update products set stock = stock, price = price").await;
    assert_eq!(database.count("select count(*) from rowcast.change").await, 0);
}

/// On a server of its own, since transaction ids are counted across all databases.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_captured_statements_take_no_transaction_id_and_slow_nobody() {
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let next_id = "select pg_current_xact_id()::text::bigint";
    let burst = "do $$ begin
        for n in 1..10000 loop update products set stock = n where id = 'product-1'; end loop;
      end $$";
    // Ten thousand statements beside a writer of another row, who notices nothing.
    let neighbour = database.connect().await;
    let mean = async |count: u32| {
        let began = Instant::now();
        for _ in 0..count {
            neighbour.execute("update products set stock = stock + 1 where id = 'product-2'", &[]).await.unwrap();
        }
        began.elapsed() / count
    };
    let alone = mean(200).await;

    let before = database.count(next_id).await;
    database.run(&format!("begin; {burst}")).await;
    let beside = mean(200).await;
    database.run("commit").await;

    let after = database.count(next_id).await;
    assert_eq!(after - before, 1 + 200 + 1, "the transaction, the neighbour's two hundred, and the one that asks");
    assert_eq!(database.count(r#"select count(*) from rowcast.change where new ->> 'id' = 'product-1'"#).await, 10_000);
    let written = "select count(distinct xmin::text) from rowcast.change where new ->> 'id' = 'product-1'";
    assert_eq!(database.count(written).await, 1, "the log's rows belong to the transaction itself");
    assert!(beside < alone * 3 + Duration::from_millis(2), "{beside:?} beside it, {alone:?} alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_heard_once_it_is_committed() {
    let server = Server::start(&["max_prepared_transactions=10"]).await;
    let database = Database::marketplace_on(&server.url).await;
    let service = Service::start(&database).await;
    let mut viewer = service.visit().await;
    viewer.emit_with_ack("join:product", json!({ "productId": "product-1" })).await;

    database.run("begin; update products set stock = 301 where id = 'product-1'; prepare transaction 'sale'").await;
    database.run("update products set stock = 302 where id = 'product-2'").await;
    eventually("the change beside it is swept", async || service.metric("rowcast_changes_swept_total*").await == 1.0)
        .await;
    let early = viewer.events_so_far().await;
    assert!(early.is_empty(), "{early:?}");

    database.run("commit prepared 'sale'").await;
    let event = viewer.event_named("product:stock_changed").await;
    assert_eq!(event["data"]["newStock"], 301);
    assert_eq!(service.metric(r#"rowcast_doorbell_state{state="polling"}"#).await, 1.0);
    assert_eq!(service.metric("rowcast_doorbell_rings_total").await, 0.0);
    service.stop().await;
}
