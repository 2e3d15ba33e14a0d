//! Behind a transaction pooler: LISTEN hears nothing and sessions belong to nobody, and capture goes on.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use rowcast::{
    capture::{Capture, Sink, SinkError},
    change::{Page, Tables},
    config::{CaptureConfig, DatabaseUrl},
    metrics::Metrics,
    position::Position,
    readiness::Readiness,
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_postgres::SimpleQueryMessage;
use tokio_util::sync::CancellationToken;

use crate::support::{
    command::rowcast,
    database::{Database, connect},
    eventually,
    pooler::Pooler,
    server::Server,
};

/// Keeps the ids of the changes.
struct Collect(Arc<Mutex<Vec<i64>>>);

impl Sink for Collect {
    async fn page(&mut self, page: Page) -> Result<(), SinkError> {
        self.0.lock().unwrap().extend(page.changes.iter().map(|change| change.id));
        Ok(())
    }

    fn swept(&mut self, _: Position) {}

    async fn tables(&mut self, _: &Arc<Tables>) {}

    fn standing_by(&mut self, _: bool) {}

    fn resync(&mut self, reason: &str) {
        panic!("nothing was lost, yet: {reason}");
    }
}

/// Keeps where clients were told that they stand.
struct Stand(Arc<Mutex<Option<Position>>>);

impl Sink for Stand {
    async fn page(&mut self, _: Page) -> Result<(), SinkError> {
        Ok(())
    }

    fn swept(&mut self, position: Position) {
        *self.0.lock().unwrap() = Some(position);
    }

    async fn tables(&mut self, _: &Arc<Tables>) {}

    fn standing_by(&mut self, _: bool) {}

    fn resync(&mut self, _: &str) {}
}

struct Capturing {
    changes: Arc<Mutex<Vec<i64>>>,
    readiness: watch::Receiver<Readiness>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn capture(url: &str) -> Capturing {
    let changes = Arc::new(Mutex::new(Vec::new()));
    capture_into(url, Collect(Arc::clone(&changes)), changes)
}

fn capture_into(url: &str, sink: impl Sink + Sync + 'static, changes: Arc<Mutex<Vec<i64>>>) -> Capturing {
    let (sender, readiness) = watch::channel(Readiness::not_ready("starting"));
    let (metrics, stop) = (Arc::new(Metrics::new()), CancellationToken::new());
    let capture = Capture {
        database: DatabaseUrl::parse(url).unwrap().for_capture().unwrap(),
        options: CaptureConfig::default().options(),
        sink,
        readiness: sender,
        metrics: Arc::clone(&metrics),
    };
    let task = tokio::spawn(capture.run(stop.clone()));
    Capturing { changes, readiness, metrics, stop, task }
}

impl Capturing {
    async fn wait_for(&mut self, what: &str, wanted: impl Fn(&Readiness) -> bool) {
        let wait = self.readiness.wait_for(|readiness| wanted(readiness));
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never: {what}")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_transaction_pooler_capture_sweeps_on_a_timer_and_still_only_one_at_a_time() {
    let database = Database::marketplace().await;
    let Some(pooler) = Pooler::start(&database.url).await else { return };
    let mut first = capture(&pooler.url(&database.url));
    first.wait_for("the first is ready", Readiness::is_ready).await;
    assert!(first.metrics.encode().contains(r#"rowcast_doorbell_state{state="deaf"} 1"#));
    let mut second = capture(&pooler.url(&database.url));
    second
        .wait_for(
            "the second stands by",
            |readiness| matches!(readiness, Readiness::NotReady(reason) if reason.starts_with("standing by")),
        )
        .await;

    for _ in 0..50 {
        database.run("update products set stock = coalesce(stock, 0) + 1").await;
    }
    let logged = database.count("select count(*) from rowcast.change").await;
    eventually("every change is swept", async || first.changes.lock().unwrap().len() as i64 >= logged).await;
    let mut ids = first.changes.lock().unwrap().clone();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len() as i64, logged);

    first.stop.cancel();
    first.task.await.unwrap();
    second.wait_for("the second takes over", Readiness::is_ready).await;
    database.run("update products set stock = 77 where id = 'product-1'").await;
    eventually("the second sweeps", async || !second.changes.lock().unwrap().is_empty()).await;
    assert_eq!(second.changes.lock().unwrap().len(), 1, "what the first swept isn't swept again");
    second.stop.cancel();
    second.task.await.unwrap();
}

/// Through a pooler nothing can be set for a session.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_a_pooler_too_the_cursor_is_on_the_disk_before_a_position_rests_on_it() {
    let server = Server::start(&["wal_writer_delay=10s", "synchronous_commit=off"]).await;
    let database = Database::marketplace_on(&server.url).await;
    let Some(pooler) = Pooler::start(&database.url).await else { return };
    let told = Arc::default();
    let mut capturing = capture_into(&pooler.url(&database.url), Stand(Arc::clone(&told)), Arc::default());
    capturing.wait_for("it is ready", Readiness::is_ready).await;
    let first = told.lock().unwrap().expect("a position").seen.snapshot().xmax;
    database.run("update products set stock = 50 where id = 'product-1'").await;
    eventually("positions move on", async || told.lock().unwrap().expect("a position").seen.snapshot().xmax > first)
        .await;
    capturing.task.abort();
    server.crash().await;
    let after = database.connect().await;
    let saved = "select pg_snapshot_xmax(snapshot)::text from rowcast.cursor";
    let saved: u64 = after.query_one(saved, &[]).await.unwrap().get::<_, String>(0).parse().unwrap();
    let told = told.lock().unwrap().expect("a position").seen.snapshot().xmax;
    assert!(told <= saved, "{told} was told to be over, and the cursor on the disk knows of {saved}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rowcast_asks_of_its_own_connections_does_not_stay_with_the_applications() {
    let database = Database::marketplace().await;
    let Some(pooler) = Pooler::start(&database.url).await else { return };
    let url = pooler.url(&database.url);
    // Through this pooler some of them end with an error; what matters is what they leave behind.
    let commands: [&[&str]; 4] =
        [&["check"], &["types"], &["announce", "--title", "hello"], &["catalog", "test", "--change", "1"]];
    for command in commands {
        rowcast(&url, command).await;
    }
    let settings = "select name, setting from pg_settings where source = 'session' order by name";
    // In transactions side by side: so each of the pooler's connections has its turn.
    let mut applications = Vec::new();
    for _ in 0..8 {
        let application = connect(&url).await;
        application.batch_execute("begin").await.unwrap();
        let kept = application.simple_query(settings).await.unwrap();
        let kept: Vec<String> = kept
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(format!("{}={}", row.get(0).unwrap(), row.get(1).unwrap())),
                _ => None,
            })
            .filter(|setting| OURS.iter().any(|name| setting.starts_with(name)))
            .collect();
        assert_eq!(kept, [] as [&str; 0]);
        application.batch_execute("update orders set status = status where false").await.unwrap();
        applications.push(application);
    }
}

/// Prepares on so many of the pooler's eight connections, under the names that clients of ours would use, what says no.
async fn say_no(url: &str, connections: usize) {
    let mut others = Vec::new();
    for number in 0..8 {
        let other = connect(url).await;
        other.batch_execute("begin").await.unwrap();
        let names = (0..4).flat_map(|number| [format!("s{number}"), format!("sqlx_s_{number}")]);
        for name in names.filter(|_| number < connections) {
            other.batch_execute(&format!("prepare {name} as select false")).await.unwrap();
        }
        others.push(other);
    }
    for other in &others {
        other.batch_execute("commit").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_compare_say_that_a_pooler_loses_what_they_prepare() {
    let database = Database::marketplace().await;
    let Some(pooler) = Pooler::start(&database.url).await else { return };
    let url = pooler.url(&database.url);
    say_no(&url, 4).await;
    // An application's transactions, so that now this connection is free and now that one.
    let mut traffic = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let application = connect(&url).await;
        traffic.spawn(async move {
            while application.batch_execute("begin; select pg_sleep(0.001); commit").await.is_ok() {}
        });
    }
    for round in 0..4 {
        for command in ["check", "types", "asyncapi"] {
            let ran = rowcast(&url, &[command]).await;
            assert_eq!(ran.code, 5, "{command}, round {round}: {}", ran.stderr);
            let said = ran.stderr.contains("a transaction pooler stands between that loses prepared statements");
            assert!(said, "{command}, round {round}: {}", ran.stderr);
            assert_eq!(ran.stdout, "");
        }
    }
    traffic.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_prepared_on_a_poolers_connections_does_not_answer_whether_the_database_is_migrated() {
    let database = Database::marketplace().await;
    let Some(pooler) = Pooler::start(&database.url).await else { return };
    let url = pooler.url(&database.url);
    say_no(&url, 8).await;
    let options = url.parse::<sqlx::postgres::PgConnectOptions>().unwrap().extra_float_digits(None);
    let pool = sqlx::PgPool::connect_with(options).await.unwrap();
    for _ in 0..20 {
        rowcast::migrate::require_current(&pool).await.expect("it is migrated");
    }
    pool.close().await;
}

/// Settings that a command of rowcast could have a reason to change.
const OURS: [&str; 5] =
    ["statement_timeout", "lock_timeout", "default_transaction_read_only", "synchronous_commit", "idle_"];
