//! Capture never fails the application's statement, whatever is broken; the loss is loud, and capture goes on once the
//! fault is mended.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use rowcast::migrate::MIGRATIONS;
use serde_json::json;
use tokio_postgres::Client as Session;

use crate::support::{
    client::Client,
    database::Database,
    eventually, roles,
    server::{self, Server},
    service::{Service, get},
};

/// Writes as the application does, in a session whose plans are cached and in a new one; panics if a statement fails.
async fn sell(database: &Database, session: &Session) {
    for session in [session, &database.connect().await] {
        let sold = session.execute("update products set stock = stock - 1 where id = 'product-1'", &[]).await;
        assert_eq!(sold.expect("the application's statement succeeds"), 1);
        session
            .execute("insert into products (seller_id, name, price) values ('seller-1', 'x', 1)", &[])
            .await
            .unwrap();
        let many =
            "insert into products (seller_id, name, price) select 'seller-1', 'x', n from generate_series(1, 60) n";
        session.execute(many, &[]).await.expect("a large statement succeeds");
        let deleted = session.execute("delete from products where name = 'x'", &[]).await;
        assert_eq!(deleted.expect("a delete succeeds too"), 61);
    }
}

async fn viewer(service: &Service) -> Client {
    let viewer = service.visit().await;
    let joined = viewer.emit_with_ack("join:product", json!({ "productId": "product-1" })).await;
    assert_eq!(joined["success"], true, "{joined}");
    viewer
}

/// Sets the stock, and waits until the viewer hears of it.
async fn is_heard(session: &Session, viewer: &mut Client, stock: i32) {
    session.execute("update products set stock = $1 where id = 'product-1'", &[&stock]).await.expect("update");
    viewer.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == stock).await;
}

/// Breaks something, sells, looks for the alarm, mends it, and sees capture go on; by row, and by statement.
async fn survives(fault: &str, alarm: &str, mend: &str) {
    for by_statement in [false, true] {
        let database = Database::marketplace().await;
        database.run(&format!("select rowcast.watch('products', by_statement => {by_statement})")).await;
        let service = Service::start(&database).await;
        survives_with(database, service, fault, alarm, mend).await;
    }
}

/// The same where neither the owner nor the service is superuser.
async fn survives_among_roles(fault: &str, alarm: &str, mend: &str) {
    for by_statement in [false, true] {
        let mut database = roles::marketplace().await;
        database.run(&format!("select rowcast.watch('products', by_statement => {by_statement})")).await;
        let service = roles::service(&mut database).await;
        survives_with(database, service, fault, alarm, mend).await;
    }
}

async fn survives_with(database: Database, service: Service, fault: &str, alarm: &str, mend: &str) {
    let mut viewer = viewer(&service).await;
    let session = database.connect().await;
    is_heard(&session, &mut viewer, 500).await;

    database.run(fault).await;
    sell(&database, &session).await;
    let stock: i32 = database.row("select stock from products where id = 'product-1'", &[]).await.get(0);
    assert_eq!(stock, 498);
    eventually(&format!("/readyz answers 503 and {alarm:?}"), async || {
        let (status, reason) = get(service.admin, "/readyz").await.unwrap();
        status == 503 && reason.contains(alarm)
    })
    .await;

    database.run(mend).await;
    // Where the log itself was lost there is a word of that, too.
    while viewer.event_named("rowcast:resync").await["reason"] != "changes were lost" {}
    assert!(service.metric("rowcast_capture_losses_total").await >= 1.0);
    is_heard(&session, &mut viewer, 600).await;
    service.stop().await;
}

const LOST: &str = "capture lost changes";
const PARTITION: &str = "a partition of rowcast.change is gone or detached";

/// The statements of the first migration that make the log.
fn make_the_log() -> &'static str {
    let up = MIGRATIONS[0].up;
    let from = up.find("create table rowcast.change (").expect("the log");
    let to = up.find("-- CACHE 1").expect("the sequences come next");
    &up[from..to]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_log_is_renamed() {
    let fault = "alter table rowcast.change rename to elsewhere";
    let mend = "alter table rowcast.elsewhere rename to change";
    survives(fault, "rowcast.change", mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_log_is_dropped() {
    survives("drop table rowcast.change", "rowcast.change", make_the_log()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_a_column_of_the_log_is_dropped() {
    let fault = "alter table rowcast.change drop column actor";
    survives(fault, "actor", "alter table rowcast.change add column actor text").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_a_partition_of_the_log_is_dropped() {
    let mend =
        "truncate rowcast.change_rest; create table rowcast.change_0 partition of rowcast.change for values in (0)";
    survives("drop table rowcast.change_0", PARTITION, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_a_partition_of_the_log_is_detached() {
    let fault = "alter table rowcast.change detach partition rowcast.change_0";
    let mend =
        "truncate rowcast.change_rest; alter table rowcast.change attach partition rowcast.change_0 for values in (0)";
    survives(fault, PARTITION, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_a_partition_of_the_log_is_gone_is_heard_all_the_same() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut viewer = viewer(&service).await;
    let session = database.connect().await;
    is_heard(&session, &mut viewer, 500).await;
    database.run("drop table rowcast.change_0").await;
    is_heard(&session, &mut viewer, 501).await;
    assert_eq!(database.count("select count(*) from only rowcast.change_rest").await, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_no_partition_of_the_log_is_for_its_rows() {
    let fault = "drop table rowcast.change_0, rowcast.change_rest";
    let mend = "create table rowcast.change_0 partition of rowcast.change for values in (0);
                create table rowcast.change_rest partition of rowcast.change default";
    survives(fault, PARTITION, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_a_column_of_the_log_has_another_type() {
    let fault = "alter table rowcast.change alter column actor type integer using null";
    let mend = "alter table rowcast.change alter column actor type text";
    survives(fault, "capture is down", mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_log_has_a_column_that_must_be_filled() {
    let fault = "alter table rowcast.change add column tenant text not null default ''; alter table rowcast.change alter tenant drop default";
    survives(fault, LOST, "alter table rowcast.change drop column tenant").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_log_has_a_constraint_of_its_own() {
    let fault = "alter table rowcast.change add constraint few check (id < 0) not valid";
    survives(fault, LOST, "alter table rowcast.change drop constraint few").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_log_has_a_unique_index() {
    let fault = "create unique index once on rowcast.change (slot, \"table\")";
    survives(fault, LOST, "drop index rowcast.once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_log_has_a_trigger() {
    let fault = "create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end';
                 create trigger refuse before insert on rowcast.change for each row execute function refuse()";
    survives(fault, LOST, "drop function refuse() cascade").await;
}

const SELL: &str = "update products set stock = stock - 1 where id = 'product-1'";
const DROP_A_COLUMN: &str = "alter table rowcast.change drop column actor";

/// A session that has captured before, so has its plans, and another one that alters the log.
struct Alteration {
    database: Database,
    session: Session,
    other: Session,
}

impl Alteration {
    async fn new() -> Self {
        let database = Database::marketplace().await;
        let (session, other) = (database.connect().await, database.connect().await);
        session.execute(SELL, &[]).await.unwrap();
        Self { database, session, other }
    }

    async fn alter(&self, sql: &str) {
        self.other.batch_execute(sql).await.expect(sql);
    }

    /// Waits until the session waits for a lock of this kind.
    async fn session_waits(&self, lock: &str) {
        let sql = format!(
            "select count(*) from pg_stat_activity
             where datname = current_database() and query like 'update products%' and wait_event = '{lock}'"
        );
        eventually("the update waits", async || self.database.count(&sql).await == 1).await;
    }

    /// The application's update, as much of it as comes after the transaction's begin.
    async fn update(&self, sql: &str) {
        self.session.batch_execute(sql).await.expect("the application's statement succeeds");
        self.session.batch_execute("commit").await.expect("and so does its transaction");
    }

    /// That update and two more are counted as lost; what comes once the log is mended is captured.
    async fn ends_well(self) {
        for _ in 0..2 {
            self.session.execute(SELL, &[]).await.expect("later ones succeed too");
        }
        assert_eq!(self.database.count("select pg_sequence_last_value('rowcast.loss')").await, 3);
        self.database.run("alter table rowcast.change add column actor text").await;
        self.session.execute(SELL, &[]).await.unwrap();
        assert_eq!(self.database.count("select count(*) from rowcast.change").await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_log_is_altered_while_capture_waits_for_it() {
    let alteration = Alteration::new().await;
    alteration.alter(&format!("begin; {DROP_A_COLUMN}")).await;
    alteration.session.batch_execute("begin").await.unwrap();
    let altered = async {
        alteration.session_waits("relation").await;
        alteration.alter("commit").await;
    };
    tokio::join!(alteration.update(SELL), altered);
    alteration.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_log_is_altered_while_a_statement_runs() {
    let alteration = Alteration::new().await;
    alteration.alter("select pg_advisory_lock(7)").await;
    alteration.session.batch_execute("begin").await.unwrap();
    let sell_slowly = format!("{SELL} and pg_advisory_xact_lock(7) is not null");
    let altered = async {
        alteration.session_waits("advisory").await;
        alteration.alter(DROP_A_COLUMN).await;
        alteration.alter("select pg_advisory_unlock(7)").await;
    };
    tokio::join!(alteration.update(&sell_slowly), altered);
    alteration.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_log_is_altered_after_the_snapshot_of_a_transaction() {
    let alteration = Alteration::new().await;
    let snapshot = "begin isolation level repeatable read; select count(*) from products";
    alteration.session.batch_execute(snapshot).await.unwrap();
    alteration.alter(DROP_A_COLUMN).await;
    alteration.update(SELL).await;
    alteration.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_refuse_a_row_of_the_log_is_named_and_what_could_not_is_let_be() {
    let database = Database::marketplace().await;
    database
        .run(
            "create function nothing() returns trigger language plpgsql as 'begin return null; end';
             create trigger of_deletes after delete on rowcast.change for each row execute function nothing();
             create trigger switched_off before insert on rowcast.change for each row execute function nothing();
             alter table rowcast.change disable trigger switched_off;
             create rule of_deletes as on delete to rowcast.change do also select 1;
             create index by_time on rowcast.change (at);
             alter table rowcast.change add column note text;
             drop table rowcast.change_rest",
        )
        .await;
    database.run(SELL).await;
    assert_eq!(database.count("select count(*) from rowcast.change").await, 1);
    database
        .run(
            "create trigger of_inserts before insert on rowcast.change for each row execute function nothing();
             create rule of_inserts as on insert to rowcast.change do also select 1;
             create unique index alone on rowcast.change (slot, id);
             create index by_expression on rowcast.change ((1 / id));
             create index by_actor on rowcast.change (actor);
             alter table rowcast.change add constraint few check (id < 100);
             alter table rowcast.change add column filled text default 'x';
             drop table rowcast.change_2",
        )
        .await;
    database.run(SELL).await;
    assert_eq!(database.count("select count(*) from rowcast.change").await, 1);
    let error = database.client.batch_execute("select rowcast.look_at_log('rowcast.change')").await.unwrap_err();
    let message = error.as_db_error().expect("an error of Postgres").message();
    let (table, obstacles) = message.split_once(" could refuse a row: ").expect("the obstacles");
    let mut obstacles: Vec<_> = obstacles.split(", ").collect();
    obstacles.sort_unstable();
    let named = [
        "a slot without partition",
        "column filled",
        "constraint few",
        "index rowcast.alone",
        "index rowcast.by_actor",
        "index rowcast.by_expression",
        "rule of_inserts",
        "trigger of_inserts",
    ];
    assert_eq!((table, obstacles), ("rowcast.change", named.to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_fails_and_each_is_captured_or_counted_while_the_log_is_altered_again_and_again() {
    let database = Database::marketplace().await;
    database
        .run("create function refuse() returns trigger language plpgsql as 'begin raise exception ''no''; end'")
        .await;
    let done = AtomicBool::new(false);
    let writer = async |number: i32| {
        let session = database.connect().await;
        let mut written = 0;
        while !done.load(Ordering::Relaxed) {
            let sell = format!("update products set stock = stock - 1 where id = 'product-{number}'");
            session.batch_execute(&sell).await.expect("the application's statement succeeds");
            written += 1;
        }
        written
    };
    let faults = async {
        let other = database.connect().await;
        for _ in 0..25 {
            for alter in [
                "alter table rowcast.change drop column actor",
                "alter table rowcast.change add column actor text",
                "create trigger refuse before insert on rowcast.change for each row execute function refuse()",
                "drop trigger refuse on rowcast.change",
                "create unique index once on rowcast.change (slot)",
                "drop index rowcast.once",
            ] {
                // A unique index may be refused for what the log holds.
                let altered = other.batch_execute(alter).await;
                assert!(altered.is_ok() || alter.contains("once"), "{alter}: {altered:?}");
                tokio::task::yield_now().await;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let (a, b, c, ()) = tokio::join!(writer(1), writer(2), writer(3), faults);
    let captured = database.count("select count(*) from rowcast.change").await;
    let lost = database.count("select coalesce(pg_sequence_last_value('rowcast.loss'), 0)").await;
    assert_eq!(captured + lost, a + b + c);
    assert!(captured > 0 && lost > 0, "{captured} captured, {lost} lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_the_log_takes_changes_is_asked_once_for_a_table_in_a_session_and_not_for_each_change() {
    let database = Database::marketplace().await;
    let session = database.connect().await;
    session.batch_execute("set track_functions = 'pl'").await.unwrap();
    for _ in 0..20 {
        session.execute("update products set stock = stock - 1 where id like 'product-%'", &[]).await.unwrap();
    }
    let asked = async || {
        session.batch_execute("select pg_stat_force_next_flush()").await.ok();
        let sql = "select calls from pg_stat_user_functions where funcname = 'takes_changes'";
        session.query_opt(sql, &[]).await.unwrap().map_or(0, |row| row.get::<_, i64>(0))
    };
    eventually("the calls are counted", async || asked().await > 0).await;
    assert!(database.count("select count(*) from rowcast.change").await >= 100);
    assert_eq!(asked().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_sequence_of_ids_is_dropped() {
    let mend = "create sequence rowcast.change_id as bigint cache 1 start 100000";
    survives("drop sequence rowcast.change_id", LOST, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_sequence_of_ids_is_exhausted() {
    let fault = "alter sequence rowcast.change_id maxvalue 1000; select setval('rowcast.change_id', 1000)";
    survives(fault, LOST, "alter sequence rowcast.change_id no maxvalue").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_slot_is_gone() {
    let mend =
        "create sequence rowcast.slot as smallint minvalue 0 maxvalue 2 start 0; select setval('rowcast.slot', 0)";
    survives("drop sequence rowcast.slot", LOST, mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_even_the_losses_cannot_be_counted() {
    let fault = "drop sequence rowcast.loss; drop sequence rowcast.change_id";
    let mend = "create sequence rowcast.loss; create sequence rowcast.change_id as bigint cache 1 start 100000";
    survives(fault, "rowcast.loss is gone", mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_owner_may_not_write_the_log() {
    let fault = format!("revoke all on rowcast.change from {}", roles::OWNER);
    let mend = format!("grant all on rowcast.change to {}", roles::OWNER);
    survives_among_roles(&fault, LOST, &mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_owner_may_not_insert_into_the_log() {
    let fault = format!("revoke insert on rowcast.change from {}", roles::OWNER);
    let mend = format!("grant insert on rowcast.change to {}", roles::OWNER);
    survives_among_roles(&fault, LOST, &mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_owner_may_not_use_the_schema() {
    let fault = format!("revoke usage on schema rowcast from {}", roles::OWNER);
    let mend = format!("grant usage on schema rowcast to {}", roles::OWNER);
    survives_among_roles(&fault, "no USAGE on the schema", &mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_goes_on_when_the_owner_may_use_no_sequence() {
    let fault = format!("revoke all on all sequences in schema rowcast from {}", roles::OWNER);
    let mend = format!("grant all on all sequences in schema rowcast to {}", roles::OWNER);
    survives_among_roles(&fault, "no USAGE on the sequence", &mend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_role_without_any_grant_is_captured() {
    let database = Database::marketplace().await;
    let role = "rowcast_test_application";
    roles::create(&database, role).await;
    database.run(&format!("grant select, update on products to {role}; set role {role}")).await;
    database.run("update products set stock = 77 where id = 'product-1'; reset role").await;
    let logged = database.count("select count(*) from rowcast.change where new ->> 'stock' = '77'").await;
    assert_eq!(logged, 1);
    let direct = database.client.batch_execute(&format!("set role {role}; select from rowcast.change")).await;
    assert!(direct.is_err(), "the log is nobody's business but its owner's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_too_large_for_the_log_is_written_and_counted_as_lost() {
    let database = Database::marketplace().await;
    database.run("create table files (id int primary key, body text); select rowcast.watch('files')").await;
    let began = Instant::now();
    database.run("insert into files values (1, repeat('x', 270 * 1024 * 1024)), (2, 'small')").await;
    assert_eq!(database.count("select count(*) from files").await, 2);
    assert_eq!(database.count(r#"select count(*) from rowcast.change where "table" = 'files'"#).await, 1);
    assert_eq!(database.count("select last_value from rowcast.loss where is_called").await, 1);
    eprintln!("270 MB written in {:?}", began.elapsed());
}

/// A queue that is full fails the COMMIT of everybody who rings. Versions from 17 on let it be small.
#[tokio::test(flavor = "multi_thread")]
async fn the_application_commits_and_is_heard_while_the_notify_queue_is_full() {
    let Some(major) = server::installed_version(17) else {
        eprintln!("skipped: the queue can be made small from Postgres 17 on, and none is installed");
        return;
    };
    let server = Server::start_version(Some(major), &["max_notify_queue_pages=64"]).await;
    let database = Database::marketplace_on(&server.url).await;
    let service = Service::start(&database).await;
    let mut viewer = viewer(&service).await;
    let session = database.connect().await;
    is_heard(&session, &mut viewer, 500).await;
    // Somebody listens and never takes what comes.
    let deaf = database.connect().await;
    deaf.batch_execute("listen elsewhere").await.unwrap();
    deaf.batch_execute("begin").await.unwrap();
    let payload = "x".repeat(7900);
    let full = loop {
        let notified = session.execute("select pg_notify('elsewhere', $1)", &[&payload]).await;
        if let Err(error) = notified {
            break error;
        }
    };
    assert!(full.as_db_error().expect("of Postgres").message().contains("NOTIFY queue"), "{full:?}");
    let rings = service.metric("rowcast_doorbell_rings_total").await;

    sell(&database, &session).await;
    is_heard(&session, &mut viewer, 600).await;
    assert_eq!(service.metric("rowcast_doorbell_rings_total").await, rings, "nobody rang");
    assert_eq!(service.metric("rowcast_capture_losses_total").await, 0.0);
    service.stop().await;

    let service = Service::start(&database).await;
    let mut viewer = self::viewer(&service).await;
    is_heard(&session, &mut viewer, 700).await;
    service.stop().await;
}

/// The branch of the function for a queue that fills, on every version.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_rings_while_the_notify_queue_fills_and_changes_are_heard_all_the_same() {
    let database = Database::marketplace().await;
    let body: String = database.row("select pg_get_functiondef('rowcast.capture'::regproc)", &[]).await.get(0);
    assert!(body.contains("pg_notification_queue_usage() < 0.5"), "{body}");
    database.run(&body.replace("pg_notification_queue_usage() < 0.5", "pg_notification_queue_usage() < 0")).await;
    let service = Service::start(&database).await;
    let mut viewer = viewer(&service).await;
    for stock in 500..503 {
        is_heard(&database.client, &mut viewer, stock).await;
    }
    assert_eq!(service.metric("rowcast_doorbell_rings_total").await, 0.0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_loss_in_an_open_transaction_is_told_again_when_it_commits_whatever_became_of_the_session_meanwhile() {
    // On a server of its own, where no other test's transaction is waited for.
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let service = Service::start(&database).await;
    let mut viewer = viewer(&service).await;
    let open = database.connect().await;
    // As a statement does whose change can't be logged.
    open.batch_execute("begin; select pg_current_xact_id(), nextval('rowcast.loss')").await.unwrap();
    viewer.event_named("rowcast:resync").await;
    let saves = service.metric("rowcast_cursor_saves_total").await;
    eventually("the cursor is saved", async || service.metric("rowcast_cursor_saves_total").await > saves).await;

    let session = "select coalesce(max(pid), 0)::bigint from pg_stat_activity where application_name = 'rowcast sweep'";
    let former = database.count(session).await;
    database
        .run("select pg_terminate_backend(pid) from pg_stat_activity where application_name in ('rowcast sweep', 'rowcast doorbell')")
        .await;
    eventually("there is another session", async || {
        ![0, former].contains(&database.count(session).await)
            && get(service.address, "/readyz").await.is_ok_and(|(status, _)| status == 503)
    })
    .await;
    eventually("it captures", async || get(service.address, "/readyz").await.is_ok_and(|(status, _)| status == 200))
        .await;
    viewer.events_so_far().await;
    open.batch_execute("commit").await.unwrap();
    viewer.event_named("rowcast:resync").await;
    service.stop().await;
}
