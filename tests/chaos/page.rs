//! A page that somebody has open: it hears events, comes back with its position whenever its connection ends, and loads
//! anew from SQL when it is told to. It knows what it should have heard, since each row carries a version.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    cluster::{connect, url_for},
    load::DATABASE,
    support::{
        frontend::{Frontend, Heard},
        service::url,
    },
};

/// How long a page may take to connect and join, before it tries the other instance.
const CONNECT: Duration = Duration::from_secs(4);
/// What looks lost counts as lost unless the page is told to load anew within this time.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// A table's name and a row's id.
type Row = (String, i64);

/// A row as a page believes it to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    number: i64,
    /// Not deleted.
    is_there: bool,
}

/// What a page does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    Stays,
    /// Its connection is lost every few seconds.
    ComesAndGoes,
    /// It does not read for some seconds now and then.
    Freezes,
}

/// What a page has seen since it was last asked.
#[derive(Debug, Default)]
pub struct Seen {
    pub events: u64,
    pub repeats: u64,
    pub connections: u64,
    /// How often, by the reason.
    pub resyncs: BTreeMap<String, u64>,
    /// The longest time without an event.
    pub silence: Duration,
    /// Versions that it never heard, and never was told to load anew for.
    pub lost: Vec<String>,
    pub out_of_order: Vec<String>,
    /// What no server may ever send.
    pub wrong: Vec<String>,
}

#[derive(Default)]
struct Shared {
    seen: Seen,
    last_event: Option<Instant>,
    /// The rows as it believes them to be.
    rows: HashMap<Row, Version>,
    /// The versions that it loaded: older news is no news.
    loaded: HashMap<Row, i64>,
    /// What looks wrong, until it is told to load anew.
    suspects: Vec<(Instant, Suspect)>,
}

enum Suspect {
    Lost(String),
    OutOfOrder(String),
}

pub struct Page {
    pub name: String,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

/// Where a page finds the services, and the database to load from.
#[derive(Clone)]
pub struct Whereabouts {
    pub services: Vec<watch::Receiver<Option<SocketAddr>>>,
    pub database: watch::Receiver<String>,
    /// What pages go through, for whoever looks for the reason of a failure.
    pub log: Arc<Mutex<File>>,
}

impl Page {
    pub fn open(name: &str, user: Option<&str>, rooms: &[&str], habit: Habit, at: Whereabouts, seed: u64) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let frontend = Frontend::new(user, rooms.iter().map(|room| (*room).to_owned()));
        let rng = fastrand::Rng::with_seed(seed);
        let visitor = Visitor { name: name.to_owned(), at, habit, frontend, rng, shared: Arc::clone(&shared) };
        Self { name: name.to_owned(), shared, task: tokio::spawn(visitor.run()) }
    }

    /// The version of a row that it believes in.
    pub fn version(&self, table: &str, id: i64) -> i64 {
        self.lock().rows.get(&(table.to_owned(), id)).map_or(0, |version| version.number)
    }

    /// What it has seen since it was asked last. What has looked wrong for long enough is told as such.
    pub fn take(&self, at_the_end: bool) -> Seen {
        assert!(!self.task.is_finished(), "{}: the page failed", self.name);
        let mut shared = self.lock();
        let (suspects, now) = (std::mem::take(&mut shared.suspects), Instant::now());
        for (since, suspect) in suspects {
            match suspect {
                suspect if now - since < TOLD_WITHIN && !at_the_end => shared.suspects.push((since, suspect)),
                Suspect::Lost(what) => shared.seen.lost.push(what),
                Suspect::OutOfOrder(what) => shared.seen.out_of_order.push(what),
            }
        }
        if let Some(last) = shared.last_event.replace(now) {
            shared.seen.silence = shared.seen.silence.max(now - last);
        }
        std::mem::take(&mut shared.seen)
    }

    /// In what it differs from the rows that there are: their table, id, version, and whether they are there.
    pub fn differences(&self, actual: &HashMap<(String, i64), (i64, bool)>) -> Vec<String> {
        let shared = self.lock();
        let believed = |row: &Row| shared.rows.get(row).map(|version| (version.number, version.is_there));
        let mut differences: Vec<String> = actual
            .iter()
            .filter(|(row, version)| believed(row) != Some(**version))
            .map(|(row, version)| format!("{row:?} is {version:?}, the page has {:?}", believed(row)))
            .collect();
        let unknown = shared.rows.iter().filter(|(row, version)| version.is_there && !actual.contains_key(*row));
        differences.extend(unknown.map(|(row, version)| format!("{row:?} is not there, the page has {version:?}")));
        differences
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic under the lock")
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Visitor {
    name: String,
    at: Whereabouts,
    habit: Habit,
    frontend: Frontend,
    rng: fastrand::Rng,
    shared: Arc<Mutex<Shared>>,
}

impl Visitor {
    async fn run(mut self) {
        let mut loaded = false;
        loop {
            if !self.enter().await {
                continue;
            }
            if !loaded {
                self.load().await;
                loaded = true;
            }
            let leaves_at = match self.habit {
                Habit::ComesAndGoes => Some(Instant::now() + Duration::from_millis(self.rng.u64(500..8000))),
                Habit::Stays | Habit::Freezes => None,
            };
            while leaves_at.is_none_or(|at| Instant::now() < at) {
                if self.habit == Habit::Freezes && self.rng.f32() < 0.0002 {
                    self.frontend.freeze(Duration::from_millis(self.rng.u64(500..4000))).await;
                }
                match self.frontend.next(Duration::from_millis(250)).await {
                    Ok(Heard::Event(event)) => self.note(&event),
                    Ok(Heard::Repeat(_)) => self.lock().seen.repeats += 1,
                    Ok(Heard::Resync(reason)) => {
                        self.log(&format!("told to load anew: {reason}"));
                        *self.lock().seen.resyncs.entry(reason).or_default() += 1;
                        self.load().await;
                    }
                    Ok(Heard::Resumed) => self.log("resumed"),
                    Ok(Heard::Silence) => {}
                    Ok(Heard::Ended) => {
                        self.log("its connection ended");
                        break;
                    }
                    Err(wrong) => self.lock().seen.wrong.push(wrong),
                }
            }
            self.frontend.leave();
        }
    }

    /// Connects to whichever instance lets it in.
    async fn enter(&mut self) -> bool {
        for service in self.at.services.clone() {
            let Some(address) = *service.borrow() else { continue };
            let entered = tokio::time::timeout(CONNECT, self.frontend.enter(&url(address))).await;
            let error = match entered {
                Ok(Ok(())) => {
                    self.log(&format!("entered {address} from {:?}", self.frontend.position()));
                    self.lock().seen.connections += 1;
                    return true;
                }
                Ok(Err(error)) => error,
                Err(_) => "no answer".to_owned(),
            };
            self.log(&format!("not let into {address}: {error}"));
            self.frontend.leave();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        false
    }

    fn log(&self, what: &str) {
        let mut log = self.at.log.lock().expect("no panic under the lock");
        writeln!(log, "{} {}: {what}", chrono::Utc::now().format("%H:%M:%S%.3f"), self.name).ok();
    }

    /// Loads all rows, as a page does that asks the application's server; tries until it works.
    async fn load(&mut self) {
        let rows = loop {
            let url = url_for(&self.at.database.borrow_and_update(), "postgres", DATABASE);
            match tokio::time::timeout(CONNECT, rows(&url)).await {
                Ok(Ok(rows)) => break rows,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        self.frontend.forget();
        let mut shared = self.lock();
        shared.loaded = rows.iter().map(|(row, (number, _))| (row.clone(), *number)).collect();
        shared.rows = rows.into_iter().map(|(row, (number, is_there))| (row, Version { number, is_there })).collect();
        shared.suspects.clear();
    }

    fn note(&mut self, event: &Value) {
        let data = &event["data"];
        let (Some(table), Some(id)) = (data["table"].as_str(), data["id"].as_i64()) else {
            self.lock().seen.wrong.push(format!("an event that no rule makes: {event}"));
            return;
        };
        let before = data["before"].as_i64().unwrap_or(0);
        let after = data["after"].as_i64();
        let version = Version { number: after.unwrap_or(before + 1), is_there: after.is_some() };
        let mut shared = self.lock();
        let shared = &mut *shared;
        let now = Instant::now();
        if let Some(last) = shared.last_event.replace(now) {
            shared.seen.silence = shared.seen.silence.max(now - last);
        }
        shared.seen.events += 1;
        let row = (table.to_owned(), id);
        if shared.loaded.get(&row).is_some_and(|loaded| version.number <= *loaded) {
            return;
        }
        let last = shared.rows.get(&row).map_or(0, |version| version.number);
        let metadata = &event["metadata"]["id"];
        if before > last {
            let what = format!("{table} {id}: heard {last}, then {before} -> {} ({metadata})", version.number);
            shared.suspects.push((now, Suspect::Lost(what)));
        } else if before < last {
            let what = format!("{table} {id}: at {last}, then {before} -> {} ({metadata})", version.number);
            shared.suspects.push((now, Suspect::OutOfOrder(what)));
            return;
        }
        shared.rows.insert(row, version);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic under the lock")
    }
}

/// Every row that there is or was: its version, and whether it is there.
pub async fn rows(url: &str) -> Result<HashMap<Row, (i64, bool)>, String> {
    let client = connect(url).await?;
    let sql = "select 'counter', id, version, true from counter union all select 'bulk', id, version, true from bulk
               union all select 'item', id, version, true from item
               union all select 'item', id, version, false from item_gone";
    let rows = client.query(sql, &[]).await.map_err(|error| format!("{error:?}"))?;
    Ok(rows.iter().map(|row| ((row.get::<_, String>(0), row.get(1)), (row.get(2), row.get(3)))).collect())
}
