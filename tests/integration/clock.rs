//! A clock that jumps: what is measured is measured by the clock that can't, and a date that is wrong loses nothing.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use super::cli::Files;
use crate::support::{
    database::Database,
    eventually,
    server::Server,
    service::{Process, connect, get},
};

/// Has a process see the time that a file says. Where Debian's package `faketime` puts it.
fn library() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/lib").ok()?.flatten().find_map(|entry| {
        let library = entry.path().join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    });
    if found.is_none() {
        eprintln!("skipped: faketime is not installed");
    }
    found
}

/// The clock that processes see which were told so, and which jumps.
struct Clock {
    file: PathBuf,
}

impl Clock {
    fn new() -> Self {
        let clock = Self { file: std::env::temp_dir().join(format!("rowcast-test-clock-{}", std::process::id())) };
        clock.jump("+0");
        clock
    }

    /// To so much later or earlier than it is, as in `+2d`. A rename, so that nobody reads half of it.
    fn jump(&self, by: &str) {
        let fresh = self.file.with_extension("fresh");
        std::fs::write(&fresh, format!("{by}\n")).expect("written");
        std::fs::rename(fresh, &self.file).expect("renamed");
    }

    fn environment<'a>(&'a self, library: &'a Path) -> [(&'static str, &'a str); 4] {
        [
            ("LD_PRELOAD", library.to_str().expect("text")),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().expect("text")),
            ("FAKETIME_NO_CACHE", "1"),
            // As on a machine whose clock is set: the other one goes on.
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        std::fs::remove_file(&self.file).ok();
    }
}

/// How far the clock of the service is ahead of ours, as its answers tell.
async fn ahead(client: &mut crate::support::client::Client) -> i64 {
    let answer = client.emit_with_ack("ping", Value::Null).await;
    let theirs: chrono::DateTime<chrono::Utc> =
        answer["time"].as_str().expect("a time").parse().unwrap_or_else(|_| panic!("a time: {answer}"));
    (theirs - chrono::Utc::now()).num_hours()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_whose_clock_jumps_by_days_goes_on_as_if_nothing_had_happened() {
    let Some(library) = library() else { return };
    let clock = Clock::new();
    let database = Database::marketplace().await;
    let files = Files::new(&[("rowcast.toml", "[gateway]\nconfirm_interval = \"1s\"\n")]);
    let config = format!("{}/rowcast.toml", files.path());
    let environment = clock.environment(&library);
    let process = Process::start_in(&database.url, &["--config", &config], &environment).await.ready().await;
    let mut client = connect(process.address, "seller-1").await;
    let mut buyer = connect(process.address, "buyer-1").await;
    assert_eq!(ahead(&mut client).await, 0);
    let mut stock = 100;
    for (by, hours) in [("+2d", 47..=48), ("-3d", -72..=-71), ("+0", 0..=0)] {
        clock.jump(by);
        let seen = ahead(&mut client).await;
        assert!(hours.contains(&seen), "the process sees the clock {seen} hours ahead: the test tests nothing");
        // Longer than what the service waits for at most between two sweeps, two saves of the cursor, two looks at its state.
        let until = Instant::now() + Duration::from_millis(2500);
        while Instant::now() < until {
            stock += 1;
            let said = Instant::now();
            database.run(&format!("update products set stock = {stock} where id = 'product-1'")).await;
            let events = client
                .events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == stock)
                .await;
            assert!(events.iter().all(|(name, _)| !name.starts_with("rowcast:")), "{events:?}");
            assert!(said.elapsed() < Duration::from_secs(2), "{by}: it took {:?}", said.elapsed());
        }
        assert_eq!(get(process.address, "/readyz").await.unwrap().0, 200, "{by}");
        let saves = "select count(*) from rowcast.cursor where saved_at > now() - interval '5 s'";
        eventually("the cursor is saved", async || database.count(saves).await == 1).await;
    }
    assert!(client.is_connected() && buyer.is_connected());
    // Their sign-ins are still confirmed from time to time: nobody tells the service that this user has become a seller.
    let promote = "update users set role = 'seller', user_type = 'seller' where id = 'buyer-1'";
    database.run(&format!("set session_replication_role = replica; {promote}")).await;
    assert_eq!(buyer.event_named("rowcast:rooms").await["left"], serde_json::json!(["buyers"]));
    assert!(process.terminate().await, "it stops in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_with_dates_from_a_clock_that_was_wrong_are_swept_once_and_go_by_size_if_not_by_age() {
    // On a server of its own, where no other test's transaction holds the cursor back.
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    let write = async |stock: i32| {
        database.run(&format!("update products set stock = {stock} where id = 'product-1'")).await;
    };
    let rotate = async |retention: &str, bytes: &str| -> i32 {
        let sql = format!("select emptied from rowcast.rotate('{retention}', {bytes})");
        database.row(&sql, &[]).await.get(0)
    };
    let logged = async || database.count("select count(*) from rowcast.change").await;

    // The clock was a year behind when it was written: it is past every retention, and nobody has swept it.
    write(901).await;
    database.run("update rowcast.change set at = at - interval '1 year'").await;
    for _ in 0..4 {
        assert_eq!((rotate("1 hour", "null").await, logged().await), (0, 1));
    }
    // The clock was a year ahead.
    write(902).await;
    database.run("update rowcast.change set at = at + interval '2 years' where new ->> 'stock' = '902'").await;
    let service = crate::support::service::Service::start(&database).await;
    eventually("both are swept", async || service.metric("rowcast_changes_swept_total*").await == 2.0).await;
    service.stop().await;
    database.run("update rowcast.cursor set snapshot = pg_current_snapshot()").await;
    let left = "select count(*) from rowcast.change where new ->> 'stock' = '902'";
    database
        .run("select setval('rowcast.slot', (select max((slot + 1) % 3) from rowcast.change where at > now()))")
        .await;
    rotate("1 hour", "null").await;
    assert_eq!((logged().await, database.count(left).await), (1, 1), "by age the other one alone goes");
    rotate("1 hour", "0").await;
    assert_eq!(logged().await, 0);
}
