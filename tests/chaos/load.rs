//! The application: writers on several connections, whatever becomes of the database.
//!
//! Every row carries a version that grows by one with each change, so that loss and order can be told from any event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, task::JoinHandle};
use tokio_postgres::Client;

use crate::cluster::{APPLICATION, GATEWAY, connect, url_for};

/// Rows that are changed again and again; the row 0 is the probe's.
pub const COUNTERS: i64 = 40;
/// Rows that are changed by one large transaction now and then.
pub const BULK: i64 = 5_200;

pub const DATABASE: &str = "shop";

const WRITERS: u64 = 6;
/// How long one transaction may take, a lock that it waits for included.
const PATIENCE: Duration = Duration::from_secs(8);

/// `item_gone` is not watched: it tells a page that loads anew which items will never come back.
pub fn schema() -> String {
    format!(
        "create table counter (id bigint primary key, version bigint not null);
         create table item (id bigint primary key, version bigint not null, note text);
         create table item_gone (id bigint primary key, version bigint not null);
         create table bulk (id bigint primary key, version bigint not null);
         create sequence item_id;
         insert into counter select n, 1 from generate_series(0, {COUNTERS}) n;
         insert into bulk select n, 1 from generate_series(1, {BULK}) n;
         create role {APPLICATION} login;
         create role {GATEWAY} login;
         grant all on all tables in schema public to {APPLICATION};
         grant all on all sequences in schema public to {APPLICATION};"
    )
}

/// One rule for each table, and one that writes notifications, so that the way through the inbox is gone, too.
pub const RULES: &str = r#"
[[rule]]
event = "counter:changed"
table = "counter"
on = ["insert", "update", "delete"]
to = [{ rooms = ["chaos:all", "user:watcher"] }]
data = { table = "'counter'", id = "row.id", before = "old.version", after = "new.version" }

[[rule]]
event = "item:changed"
table = "item"
on = ["insert", "update", "delete"]
to = [{ rooms = ["chaos:all", "user:watcher"] }]
data = { table = "'item'", id = "row.id", before = "old.version", after = "new.version" }

[[rule]]
event = "bulk:changed"
table = "bulk"
on = ["update"]
to = [{ rooms = ["chaos:all", "user:watcher"] }]
data = { table = "'bulk'", id = "row.id", before = "old.version", after = "new.version" }

[[rule]]
inbox = "tenth"
table = "counter"
on = ["update"]
when = "new.version % 10 == 0"

[[rule.to]]
rooms = ["user:nobody"]

[rule.to.data]
title = "'version'"
subject = "{'id': row.id, 'version': new.version}"
"#;

pub const ROOMS: &str = r#"
[[room]]
room = "chaos:{id}"
join = "true"

[[room]]
room = "user:{id}"
join = "id == auth.user_id"
own = "auth.user_id"
"#;

/// The writers.
pub struct Load {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(url: &watch::Receiver<String>, seed: u64) -> Self {
        let (stop, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let tasks = (0..WRITERS)
            .map(|number| {
                let writer = Writer {
                    url: url.clone(),
                    stop: Arc::clone(&stop),
                    committed: Arc::clone(&committed),
                    rng: fastrand::Rng::with_seed(seed ^ (number + 1)),
                };
                tokio::spawn(writer.run())
            })
            .collect();
        Self { stop, committed, tasks }
    }

    pub async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("a writer does not panic");
        }
        self.committed.load(Ordering::Relaxed)
    }
}

struct Writer {
    url: watch::Receiver<String>,
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    rng: fastrand::Rng,
}

impl Writer {
    async fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            let url = url_for(&self.url.borrow_and_update(), APPLICATION, DATABASE);
            let Ok(mut client) = connect(&url).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            while !self.stop.load(Ordering::Relaxed) {
                let written = tokio::time::timeout(PATIENCE, self.transaction(&mut client)).await;
                match written {
                    Ok(Ok(changes)) => drop(self.committed.fetch_add(changes, Ordering::Relaxed)),
                    // Whether or not it was committed: what Postgres has in the end is what counts.
                    Ok(Err(_)) if !client.is_closed() => {}
                    _ => break,
                }
                // The pace of the load.
                tokio::time::sleep(Duration::from_millis(self.rng.u64(2..40))).await;
            }
        }
    }

    /// How many rows were changed by a transaction that was committed.
    async fn transaction(&mut self, client: &mut Client) -> Result<u64, tokio_postgres::Error> {
        let bump = "update counter set version = version + 1 where id = $1";
        if self.rng.f32() < 0.5 {
            return client.execute(bump, &[&self.counter()]).await;
        }
        let transaction = client.transaction().await?;
        let mut changes = 0;
        for _ in 0..self.rng.usize(1..=4) {
            changes += match self.rng.u32(0..10) {
                0..=5 => transaction.execute(bump, &[&self.counter()]).await?,
                6..=7 => {
                    let sql = "insert into item values (nextval('item_id'), 1, md5(random()::text))";
                    transaction.execute(sql, &[]).await?
                }
                8 => {
                    let sql = "update item set version = version + 1 where id =
                               (select id from item order by random() limit 1)";
                    transaction.execute(sql, &[]).await?
                }
                _ => {
                    let sql =
                        "with gone as (delete from item where id = (select id from item order by random() limit 1)
                                             returning id, version + 1)
                               insert into item_gone select * from gone";
                    transaction.execute(sql, &[]).await?
                }
            };
        }
        if self.rng.f32() < 0.2 {
            transaction
                .batch_execute("savepoint s; update counter set version = version + 1 where id = 1; rollback to s")
                .await?;
        }
        if self.rng.f32() < 0.04 {
            // A transaction that lingers is part of the load.
            tokio::time::sleep(Duration::from_millis(self.rng.u64(50..700))).await;
        }
        if self.rng.f32() < 0.1 {
            transaction.rollback().await?;
            return Ok(0);
        }
        transaction.commit().await?;
        Ok(changes)
    }

    fn counter(&mut self) -> i64 {
        self.rng.i64(1..=COUNTERS)
    }
}
