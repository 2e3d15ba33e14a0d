//! After a fault of the database, the network or another instance: nothing is missed without a word, and the service finds
//! back by itself. The chaos run does all of this at random; here is each by itself.

use std::time::Duration;

use rowcast::{
    catalog::{Catalog, Engine, Settings},
    change::Tables,
    config::Config,
    position::{Position, Seen},
};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use tokio::{net::TcpListener, sync::watch, time::Instant};

use crate::support::{
    client::Client,
    command::{pg_dump, psql},
    database::Database,
    eventually,
    proxy::Proxy,
    server::Server,
    service::{Service, get, url},
};

async fn seller(service: &Service, since: Option<&str>) -> Client {
    let client = Client::connect(&url(service.address), json!({ "userId": "seller-1", "since": since })).await;
    let client = client.expect("seller-1 connects");
    client.emit_with_ack("ping", Value::Null).await;
    client
}

/// Sets the stock, and gives the event's position once the client has heard of it.
async fn heard(database: &Database, client: &mut Client, stock: i64) -> String {
    database.run(&format!("update products set stock = {stock} where id = 'product-1'")).await;
    is_told(client, stock).await
}

async fn is_told(client: &mut Client, stock: i64) -> String {
    let is_it = |name: &str, event: &Value| name == "product:stock_changed" && event["data"]["newStock"] == stock;
    let events = client.events_until(is_it).await;
    events.last().expect("the awaited one").1["metadata"]["position"].as_str().expect("a position").to_owned()
}

async fn resync(client: &mut Client) -> String {
    client.event_named("rowcast:resync").await["reason"].as_str().expect("a reason").to_owned()
}

const TERMINATE: &str = "select pg_terminate_backend(pid) from pg_stat_activity
                         where datname = current_database() and application_name in ('rowcast sweep', 'rowcast doorbell')";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_network_that_falls_silent_for_good_is_told_and_given_up() {
    let mut database = Database::marketplace().await;
    let direct = database.url.clone();
    let config: tokio_postgres::Config = direct.parse().unwrap();
    let port = config.get_ports()[0];
    let (_target, target) = watch::channel(port);
    let proxy = Proxy::start(target).await;
    database.url = direct.replace(&format!(":{port}/"), &format!(":{}/", proxy.port));
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    heard(&database, &mut client, 50).await;

    let began = Instant::now();
    proxy.forsake();
    database.run("update products set stock = 51 where id = 'product-1'").await;
    eventually("/readyz says that there is no answer", async || {
        let (status, reason) = get(service.admin, "/readyz").await.unwrap();
        status == 503 && reason.contains("has not answered")
    })
    .await;
    eventually("it captures over another connection", async || get(service.address, "/readyz").await.unwrap().0 == 200)
        .await;
    is_told(&mut client, 51).await;
    println!("silent for {:?}", began.elapsed());
    service.stop().await;
}

/// Sweeps wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn rules_are_bound_before_long_though_the_database_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://nobody@{}/nothing", silent.local_addr().unwrap());
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(1)).connect_lazy(&url).unwrap();
    let mut engine = Engine::new(Catalog::built_in(&Settings::default()).unwrap().into(), pool);
    let began = Instant::now();
    engine.bind(&Tables::default()).await;
    assert!(began.elapsed() < Duration::from_secs(7), "it took {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_told_and_lost_in_a_crash_is_taken_back() {
    // Whoever commits without waiting for the disk may lose what it committed.
    let server = Server::start(&["wal_writer_delay=10s"]).await;
    let database = Database::marketplace_on(&server.url).await;
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    let since = heard(&database, &mut client, 50).await;

    // The cursor can't be saved meanwhile, since that would write all of it to the disk.
    let lock = database.connect().await;
    lock.batch_execute("begin; select from rowcast.cursor for update").await.unwrap();
    let hasty = database.connect().await;
    let update = "set synchronous_commit = off; update products set stock = 51 where id = 'product-1'";
    hasty.batch_execute(update).await.unwrap();
    let lost = is_told(&mut client, 51).await;
    server.crash().await;
    let after = database.connect().await;
    let row = after.query_one("select stock from products where id = 'product-1'", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 50, "the crash lost nothing: the test tests nothing");

    assert!(resync(&mut client).await.contains("lost changes that were told"), "the client believes what is not so");
    // Other transactions have the ids of those that were lost: who was away when it was told must not miss them.
    for position in [since, lost] {
        let mut client = seller(&service, Some(&position)).await;
        assert!(resync(&mut client).await.contains("a past that this one no longer has"));
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_position_names_transactions_that_a_crash_could_hand_out_anew() {
    let server = Server::start(&["wal_writer_delay=10s"]).await;
    let database = Database::marketplace_on(&server.url).await;
    let service = Service::start(&database).await;
    let client = seller(&service, None).await;
    // Transactions that nobody has to remember: they were rolled back, and never reached the disk.
    for _ in 0..50 {
        database.run("begin; update products set stock = 0; rollback").await;
    }
    let position = |answer: &Value| answer["position"].as_str().unwrap().to_owned();
    let acknowledged = position(&client.emit_with_ack("ping", Value::Null).await);
    let mut back = seller(&service, Some(&acknowledged)).await;
    let resumed = position(&back.event_named("rowcast:resumed").await);
    let saved = "select pg_snapshot_xmax(snapshot)::text::bigint from rowcast.cursor";
    let saved = database.count(saved).await as u64;
    for position in [&acknowledged, &resumed] {
        let told = position.parse::<Position>().unwrap().seen.snapshot().xmax;
        assert!(told <= saved, "{told} was told to be over, and the cursor on the disk knows of {saved}");
    }
    server.crash().await;
    let after = database.connect().await;
    let next: String = after.query_one("select pg_current_xact_id()::text", &[]).await.unwrap().get(0);
    let next: u64 = next.parse().unwrap();
    for position in [acknowledged, resumed] {
        let told = position.parse::<Position>().unwrap().seen.snapshot().xmax;
        assert!(told <= next, "{told} was told to be over, and {next} is handed out now");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_failover_clients_are_told_to_load_anew_and_older_positions_are_refused() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    let since = heard(&database, &mut client, 50).await;
    // As if the cursor had been claimed on another server last.
    database.run("update rowcast.cursor set timeline = timeline + 1").await;
    database.run(TERMINATE).await;
    assert!(resync(&mut client).await.contains("failed over"));
    // The former server had handed out more transaction ids than this one had got; now it hands out the same.
    let beyond =
        Position { seen: Seen::below(since.parse::<Position>().unwrap().seen.xmin + 20), ..since.parse().unwrap() }
            .to_string();
    for stock in 100..150 {
        heard(&database, &mut client, stock).await;
    }
    for position in [since, beyond] {
        let mut late = seller(&service, Some(&position)).await;
        assert!(resync(&mut late).await.contains("a past that this one no longer has"));
    }
    // New positions are good.
    let since = heard(&database, &mut client, 70).await;
    let mut back = seller(&service, Some(&since)).await;
    let events = back.events_until(|name, _| name == "rowcast:resumed").await;
    assert!(events.iter().all(|(name, _)| name != "rowcast:resync"), "{events:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_was_set_back_to_an_earlier_state_is_noticed() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    heard(&database, &mut client, 50).await;
    eventually("the cursor is saved again and again", async || {
        service.metric("rowcast_cursor_saves_total").await >= 1.0
    })
    .await;
    database.run("update rowcast.cursor set snapshot = '10:10:', target = null, page_id = null").await;
    database.run(TERMINATE).await;
    assert!(resync(&mut client).await.contains("earlier state"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_of_an_instance_that_missed_what_another_told_are_cut_and_resume() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    let since = heard(&database, &mut client, 50).await;
    // As another instance does that takes over, tells its clients of a change, and goes.
    database.run("update rowcast.cursor set generation = generation + 1, holder = 'another'").await;
    database.run(TERMINATE).await;
    client.disconnected().await;
    eventually("it captures again", async || {
        get(service.address, "/readyz").await.is_ok_and(|(status, _)| status == 200)
    })
    .await;
    let mut back = seller(&service, Some(&since)).await;
    let events = back.events_until(|name, _| name == "rowcast:resumed").await;
    assert!(events.iter().all(|(name, _)| name != "rowcast:resync"), "{events:?}");
    heard(&database, &mut back, 51).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_a_transaction_that_was_open_at_the_start_others_are_heard_at_once_and_it_when_it_commits() {
    let database = Database::marketplace().await;
    database.run("update products set seller_id = 'seller-1'").await;
    let mut open = database.connect().await;
    let pending = open.transaction().await.unwrap();
    pending.execute("update products set stock = 77 where id = 'product-2'", &[]).await.unwrap();
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    for stock in 50..55 {
        heard(&database, &mut client, stock).await;
    }
    pending.commit().await.unwrap();
    is_told(&mut client, 77).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_position_of_a_version_to_come_is_answered_with_the_reason_wherever_it_is_handed_in() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    let since = heard(&database, &mut client, 50).await;
    // The first six bits are of the version.
    let of_version_9 = format!("CQ{}", &since[2..]);
    assert_ne!(of_version_9, since);
    for (position, reason) in [(of_version_9.as_str(), "format 9"), ("AQAA", "not a position"), ("", "not a position")]
    {
        let mut back = seller(&service, Some(position)).await;
        assert!(resync(&mut back).await.contains(reason), "{position}");
        let join = json!({ "room": "product:product-1", "since": position });
        let ack = back.emit_with_ack("join", join).await;
        assert_eq!(ack["success"], true, "{position}: who loads anew is in the room all the same: {ack}");
        assert!(resync(&mut back).await.contains(reason), "{position}");
    }
    // Positions that nobody was given.
    let forged = |xmin| Position { seen: Seen::below(xmin), ..since.parse().unwrap() }.to_string();
    for (xmin, reason) in [(0, "older than"), (u64::MAX, "ahead of this database")] {
        let mut back = seller(&service, Some(&forged(xmin))).await;
        assert!(resync(&mut back).await.contains(reason), "{xmin}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dump_that_is_restored_on_another_server_is_captured_anew_and_positions_of_the_first_are_told_so() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut client = seller(&service, None).await;
    let since = heard(&database, &mut client, 50).await;
    service.stop().await;
    let Some(dump) = pg_dump(&database.url, &[]).await else { return };

    let server = Server::start(&[]).await;
    let restored = Database::empty_on(&server.url).await;
    let Some(ran) = psql(&restored.url, &["-q"], &dump).await else { return };
    ran.succeeded();
    assert!(restored.count("select count(*) from rowcast.change").await > 0, "the dump holds a log");
    let service = Service::start(&restored).await;
    assert_eq!(restored.count("select count(*) from rowcast.change").await, 0);
    let mut client = seller(&service, Some(&since)).await;
    assert!(resync(&mut client).await.contains("another database"));
    heard(&restored, &mut client, 60).await;
    service.stop().await;
}

/// To empty the log takes a lock that writers queue behind, while somebody reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_log_of_a_restored_database_is_read_writers_wait_for_moments_only_and_then_it_is_emptied() {
    let database = Database::marketplace().await;
    database.run("update products set stock = 1; update rowcast.cursor set system_identifier = '1'").await;
    let reader = database.connect().await;
    reader.batch_execute("begin; select count(*) from rowcast.change").await.unwrap();
    let service = Service::launch(&database, Config::default()).await;
    eventually("it says what is in the way", async || {
        get(service.admin, "/readyz").await.is_ok_and(|(_, reason)| reason.contains("the change log can't be emptied"))
    })
    .await;
    let tries = "select generation from rowcast.cursor";
    let (enough, mut longest) = (database.count(tries).await + 3, Duration::ZERO);
    while database.count(tries).await < enough {
        let began = Instant::now();
        database.run("update products set stock = stock + 1 where id = 'product-1'").await;
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_millis(700), "a writer waited {longest:?}");
    reader.batch_execute("commit").await.unwrap();
    eventually("it captures", async || get(service.admin, "/readyz").await.is_ok_and(|(status, _)| status == 200))
        .await;
    assert_eq!(database.count("select count(*) from rowcast.change").await, 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_past_the_retention_goes_however_short_the_sessions_are() {
    // On a server of its own, where no other test's transaction holds the cursor back.
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    database.run("update products set stock = 902 where id = 'product-1'").await;
    let service = Service::start(&database).await;
    eventually("the change is swept, and the cursor saved", async || {
        service.metric("rowcast_cursor_saves_total").await >= 1.0
    })
    .await;
    service.stop().await;
    database
        .run(
            "update rowcast.change set at = now() - interval '3 days';
              select setval('rowcast.slot', (pg_sequence_last_value('rowcast.slot') + 1) % 3)",
        )
        .await;
    let service = Service::start(&database).await;
    eventually("the old change is gone", async || database.count("select count(*) from rowcast.change").await == 0)
        .await;
    service.stop().await;
}

/// A process that a failpoint ends or disturbs goes on where it was. The chaos run does this under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn failpoints_are_there_in_a_build_for_tests() {
    let database = Database::marketplace().await;
    let mut command = crate::support::command::rowcast_command(&database.url);
    command.args(["serve", "--auth", "insecure", "--listen", "127.0.0.1:0"]).env("ROWCAST_FAILPOINTS", "claimed=abort");
    let mut child = command.stderr(std::process::Stdio::null()).kill_on_drop(true).spawn().expect("the binary starts");
    let status = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.expect("it aborts").unwrap();
    assert!(!status.success() && status.code().is_none(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_cannot_capture_yet_turns_clients_away_until_it_does() {
    let database = Database::marketplace().await;
    database.run("alter table rowcast.cursor rename to elsewhere").await;
    let service = Service::launch(&database, Config::default()).await;
    eventually("it says why it does not capture", async || {
        get(service.admin, "/readyz").await.is_ok_and(|(_, reason)| reason.contains("rowcast.cursor"))
    })
    .await;
    let refused = Client::connect(&url(service.address), json!({ "userId": "buyer-1" })).await.err();
    assert!(refused.is_some_and(|refused| refused.0.contains("503")), "what another one tells, it would not hear");
    database.run("alter table rowcast.elsewhere rename to cursor").await;
    eventually("it captures", async || get(service.admin, "/readyz").await.is_ok_and(|(status, _)| status == 200))
        .await;
    let mut buyer = service.connect("buyer-1").await;
    buyer.emit_with_ack("join:product", json!({ "productId": "product-1" })).await;
    database.run("update products set stock = 77 where id = 'product-1'").await;
    buyer.event_named("product:stock_changed").await;
    service.stop().await;
}
