//! Restarts under load: nothing lost for a client that hands back its position, and a repeat has the id that it had.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

use crate::support::{
    client::{Client, PATIENCE},
    database::{Database, connect},
    eventually,
    server::Server,
    service::{Process, Service, url},
};

const PRODUCTS: u32 = 12;

/// What one frontend has heard, through as many connections as it took.
#[derive(Default)]
struct Heard {
    /// The change before which nothing counts. A replay may reach back further than a client ever heard.
    before: i64,
    /// The data of `product:stock_changed` by id, and how often each came.
    events: HashMap<String, (Value, u32)>,
    /// Events in the order of their first arrival: product, old and new stock.
    in_order: Vec<(String, i64, i64)>,
    /// Those on which every room was joined.
    connections: u32,
}

/// A frontend as they should be: it connects, joins each product with the last position it knows, and starts over when the
/// connection ends.
struct Frontend {
    heard: Arc<std::sync::Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Frontend {
    fn start(address: watch::Receiver<SocketAddr>, before: i64) -> Self {
        let heard = Arc::new(std::sync::Mutex::new(Heard { before, ..Heard::default() }));
        let task = tokio::spawn(listen(address, Arc::clone(&heard)));
        Self { heard, task }
    }

    fn count(&self) -> usize {
        self.heard.lock().unwrap().events.len()
    }
}

async fn listen(address: watch::Receiver<SocketAddr>, heard: Arc<std::sync::Mutex<Heard>>) {
    let mut position: Option<String> = None;
    loop {
        let server = *address.borrow();
        let Ok(mut client) = Client::connect(&url(server), json!({ "since": position })).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let since = position.clone();
        let mut joined = 0;
        for product in 1..=PRODUCTS {
            let room = format!("product:product-{product}");
            // A connection that ends here gives no answer; the loop below notices.
            let ask = client.emit_with_ack("join", json!({ "room": room, "since": since }));
            match tokio::time::timeout(Duration::from_secs(2), ask).await {
                Ok(ack) => {
                    assert_eq!(ack["success"], true, "{ack}");
                    if position.is_none() {
                        position = ack["position"].as_str().map(str::to_owned);
                    }
                    joined += 1;
                }
                Err(_) => break,
            }
        }
        if joined < PRODUCTS {
            continue;
        }
        heard.lock().unwrap().connections += 1;
        // Until every room has said that it is complete, a new connection must begin where this one did.
        let mut catching_up = if heard.lock().unwrap().connections == 1 { 0 } else { PRODUCTS };
        let began_at = position.clone();
        loop {
            let Some((name, event)) = client.next_event(Duration::from_millis(500)).await else {
                if client.is_connected() {
                    continue;
                }
                break;
            };
            match name.as_str() {
                "rowcast:resync" => panic!("told to load anew: {event}"),
                "rowcast:resumed" => catching_up = catching_up.saturating_sub(1),
                _ => {
                    position = event["metadata"]["position"].as_str().map(str::to_owned);
                    note(&mut heard.lock().unwrap(), &name, &event);
                }
            }
            if catching_up > 0 {
                position = began_at.clone();
            }
        }
    }
}

fn note(heard: &mut Heard, name: &str, event: &Value) {
    if name != "product:stock_changed" {
        return;
    }
    let id = event["metadata"]["id"].as_str().unwrap().to_owned();
    let change: i64 = id.split('-').next().unwrap().parse().unwrap();
    if change <= heard.before {
        return;
    }
    let data = event["data"].clone();
    if let Some((known, times)) = heard.events.get_mut(&id) {
        assert_eq!(*known, data, "{id} came again as something else");
        *times += 1;
        return;
    }
    heard.in_order.push((
        event["productId"].as_str().unwrap().to_owned(),
        data["oldStock"].as_i64().unwrap(),
        data["newStock"].as_i64().unwrap(),
    ));
    heard.events.insert(id, (data, 1));
}

/// Writers that go on through every failure of the database.
struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    fn start(database_url: &str, count: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..count)
            .map(|seed| {
                let (stop, database_url) = (Arc::clone(&stop), database_url.to_owned());
                tokio::spawn(async move {
                    let mut rng = fastrand::Rng::with_seed(seed);
                    while !stop.load(Ordering::Relaxed) {
                        let Ok((client, connection)) =
                            tokio_postgres::connect(&database_url, tokio_postgres::NoTls).await
                        else {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                            continue;
                        };
                        tokio::spawn(connection);
                        while !stop.load(Ordering::Relaxed) {
                            let product = format!("product-{}", rng.u32(1..=PRODUCTS));
                            let sql = "update products set stock = stock + 1 where id = $1";
                            if client.execute(sql, &[&product]).await.is_err() {
                                break;
                            }
                            tokio::time::sleep(Duration::from_millis(rng.u64(0..20))).await;
                        }
                    }
                })
            })
            .collect();
        Self { stop, tasks }
    }

    async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

/// Waits until the frontend has heard all that the log holds since `before`, and looks at the order.
async fn assert_nothing_is_lost(database_url: &str, before: i64, frontend: Frontend) {
    let client = connect(database_url).await;
    let logged: i64 =
        client.query_one("select count(*) from rowcast.change where id > $1", &[&before]).await.unwrap().get(0);
    assert!(logged > 200, "only {logged} changes: the test tests nothing");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while (frontend.count() as i64) < logged {
        assert!(!frontend.task.is_finished(), "the frontend failed");
        assert!(tokio::time::Instant::now() < deadline, "lost: {}", missing(&client, before, &frontend).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    frontend.task.abort();
    let heard = frontend.heard.lock().unwrap();
    assert_eq!(heard.events.len() as i64, logged);
    let mut stock = HashMap::new();
    for (product, old, new) in &heard.in_order {
        let last = stock.insert(product, *new).unwrap_or(100);
        assert_eq!(*old, last, "{product} is out of order");
    }
    let repeats: u32 = heard.events.values().map(|(_, times)| times - 1).sum();
    println!("{logged} changes over {} connections, {repeats} repeats, all with known ids", heard.connections);
}

/// The logged changes that the frontend has not heard.
async fn missing(client: &tokio_postgres::Client, before: i64, frontend: &Frontend) -> String {
    let sql = "select id, xid::text, at::text from rowcast.change where id > $1 order by id";
    let rows = client.query(sql, &[&before]).await.unwrap();
    let heard = frontend.heard.lock().unwrap();
    let known = |id: i64, xid: &str| heard.events.keys().any(|event| event.starts_with(&format!("{id}-{xid}-")));
    rows.iter()
        .map(|row| (row.get::<_, i64>(0), row.get::<_, String>(1), row.get::<_, String>(2)))
        .filter(|(id, xid, _)| !known(*id, xid))
        .map(|(id, xid, at)| format!("change {id} of transaction {xid} at {at}; "))
        .collect()
}

async fn newest_change(database: &Database) -> i64 {
    database.count("select coalesce(max(id), 0) from rowcast.change").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_is_killed_and_started_anew_under_load_loses_nothing() {
    let database = Database::marketplace().await;
    database.run("update products set stock = 100, status = 'active'").await;
    let before = newest_change(&database).await;
    let mut process = Process::start(&database.url).await.ready().await;
    let (address, seen) = watch::channel(process.address);
    let frontend = Frontend::start(seen, before);
    eventually("the frontend is connected", async || frontend.heard.lock().unwrap().connections == 1).await;
    let writers = Writers::start(&database.url, 4);
    for kill in [true, false, true] {
        let goal = frontend.count() + 100;
        eventually("events arrive", async || frontend.count() >= goal).await;
        match kill {
            true => process.kill().await,
            false => assert!(process.terminate().await, "SIGTERM ends it well"),
        }
        process = Process::start(&database.url).await.ready().await;
        address.send_replace(process.address);
    }
    let goal = frontend.count() + 100;
    eventually("events arrive again", async || frontend.count() >= goal).await;
    writers.finish().await;
    assert_nothing_is_lost(&database.url, before, frontend).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_postgres_that_is_restarted_under_load_loses_nothing() {
    let server = Server::start(&[]).await;
    let database = Database::marketplace_on(&server.url).await;
    database.run("update products set stock = 100, status = 'active'").await;
    let before = newest_change(&database).await;
    let service = Service::start(&database).await;
    let (_address, seen) = watch::channel(service.address);
    let frontend = Frontend::start(seen, before);
    eventually("the frontend is connected", async || frontend.heard.lock().unwrap().connections == 1).await;
    let writers = Writers::start(&database.url, 4);
    for _ in 0..2 {
        let goal = frontend.count() + 100;
        eventually("events arrive", async || frontend.count() >= goal).await;
        server.restart().await;
    }
    let goal = frontend.count() + 100;
    eventually("events arrive again", async || frontend.count() >= goal).await;
    tokio::time::timeout(PATIENCE, writers.finish()).await.expect("writers end");
    assert_eq!(service.metric("rowcast_capture_losses_total").await, 0.0);
    assert_nothing_is_lost(&database.url, before, frontend).await;
    service.stop().await;
}
