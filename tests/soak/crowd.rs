//! Sockets that come and go, and the writers whose changes they hear. Each socket knows what it should have heard, since each
//! row's version grows by one with each change.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::{
    database::connect,
    frontend::{Frontend, Heard},
};

/// Rows that are changed, each with a room of its own.
pub const ROWS: u64 = 500;
const WRITERS: u64 = 4;
/// One socket in so many hears of every row.
const HEARS_ALL: u64 = 200;
/// How long a socket stays, and how long it is away, in milliseconds.
const STAYS: std::ops::Range<u64> = 40_000..160_000;
const AWAY: std::ops::Range<u64> = 500..5_000;
/// So long after a change was committed a socket must have heard of it: longer than the service tries to bring one up to
/// date before it tells it to load anew.
const HEARS_WITHIN: Duration = Duration::from_secs(90);

/// How far the writers are: of each row the version that is about to be written, and the one that is committed.
struct Row {
    begun: AtomicI64,
    committed: AtomicI64,
}

/// What all sockets came to.
#[derive(Default)]
pub struct Counts {
    pub connected: AtomicU64,
    /// With a position, from which they were brought up to date.
    pub resumed: AtomicU64,
    pub heard: AtomicU64,
    /// The longest, in milliseconds, that one of these waited until it was up to date; since it was asked last.
    pub slowest_resume: AtomicU64,
    pub written: AtomicU64,
}

struct Shared {
    url: String,
    rows: Vec<Row>,
    counts: Counts,
    stop: AtomicBool,
    /// What must not be: what was lost, refused, or told without need.
    wrongs: Mutex<Vec<String>>,
}

impl Shared {
    fn wrong(&self, what: String) {
        self.wrongs.lock().expect("no panic under the lock").push(what);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

pub struct Crowd {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
    sockets: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// So many sockets at `url`, which come within the first seconds, and so many changes a second.
    pub fn start(url: &str, database_url: &str, sockets: u64, rate: u64, seed: u64) -> Self {
        let rows = (0..ROWS).map(|_| Row { begun: AtomicI64::new(0), committed: AtomicI64::new(0) }).collect();
        let shared = Arc::new(Shared {
            url: url.to_owned(),
            rows,
            counts: Counts::default(),
            stop: AtomicBool::new(false),
            wrongs: Mutex::default(),
        });
        let writers = (0..WRITERS)
            .map(|number| {
                let rng = fastrand::Rng::with_seed(seed ^ (number + 1));
                tokio::spawn(write(Arc::clone(&shared), database_url.to_owned(), number, rate, rng))
            })
            .collect();
        let sockets = (0..sockets)
            .map(|number| {
                let rng = fastrand::Rng::with_seed(seed ^ (1 << 32) ^ number);
                tokio::spawn(visit(Arc::clone(&shared), number, rng))
            })
            .collect();
        Self { shared, writers, sockets }
    }

    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// What went wrong so far.
    pub fn wrongs(&self) -> Vec<String> {
        self.shared.wrongs.lock().expect("no panic under the lock").clone()
    }

    /// Ends the writers and then the sockets, each of which hears all that there is first.
    pub async fn finish(self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::SeqCst);
        for task in self.writers.into_iter().chain(self.sockets) {
            task.await.expect("no writer and no socket panics");
        }
        std::mem::take(&mut self.shared.wrongs.lock().expect("no panic under the lock"))
    }
}

/// Changes a row of its own at a time, at an even pace.
async fn write(shared: Arc<Shared>, database_url: String, number: u64, rate: u64, mut rng: fastrand::Rng) {
    let client = connect(&database_url).await;
    let sql = "update reading set version = version + 1 where id = $1 returning version";
    let update = client.prepare(sql).await.expect("prepared");
    let mut pace = tokio::time::interval(Duration::from_secs_f64(WRITERS as f64 / rate as f64));
    while !shared.stopped() {
        pace.tick().await;
        // Nobody else writes it, so that it is known before it is committed which version it will be.
        let id = rng.u64(0..ROWS / WRITERS) * WRITERS + number;
        let row = &shared.rows[id as usize];
        row.begun.fetch_add(1, Ordering::SeqCst);
        let answer = client.query_one(&update, &[&(id as i64)]).await;
        let version: i64 = answer.expect("no writer is ever held up, or fails").get(0);
        row.committed.store(version, Ordering::SeqCst);
        shared.counts.written.fetch_add(1, Ordering::Relaxed);
    }
}

/// One socket after the other, as one person has them: every other person comes back with the position that they had.
async fn visit(shared: Arc<Shared>, number: u64, mut rng: fastrand::Rng) {
    let (rooms, rows): (_, Vec<i64>) = match number % HEARS_ALL {
        0 => ("readings:all".to_owned(), (0..ROWS as i64).collect()),
        _ => (format!("reading:{}", number % ROWS), vec![(number % ROWS) as i64]),
    };
    let new = || Visitor {
        frontend: Frontend::new(None, [rooms.clone()]),
        rows: rows.clone(),
        last: HashMap::new(),
        behind_since: None,
        shared: Arc::clone(&shared),
    };
    let comes_back = (number / ROWS).is_multiple_of(2);
    let mut visitor = new();
    // They come one after the other, not all at once.
    tokio::time::sleep(Duration::from_millis(rng.u64(0..8_000))).await;
    while !shared.stopped() {
        if !comes_back {
            visitor = new();
        }
        if let Err(wrong) = visitor.stay(Duration::from_millis(rng.u64(STAYS))).await {
            shared.wrong(format!("socket {number}: {wrong}"));
            visitor = new();
        }
        visitor.leave();
        if !shared.stopped() {
            tokio::time::sleep(Duration::from_millis(rng.u64(AWAY))).await;
        }
    }
}

struct Visitor {
    frontend: Frontend,
    rows: Vec<i64>,
    /// The version of each row that it knows of.
    last: HashMap<i64, i64>,
    /// When it connected, until it is up to date.
    behind_since: Option<Instant>,
    shared: Arc<Shared>,
}

impl Visitor {
    /// Connects, listens for so long, and then until it has heard all that was committed by then.
    async fn stay(&mut self, time: Duration) -> Result<(), String> {
        let comes_back = self.frontend.position().is_some();
        self.behind_since = comes_back.then(Instant::now);
        self.frontend.enter(&self.shared.url).await.map_err(|error| format!("not let in: {error}"))?;
        self.shared.counts.connected.fetch_add(1, Ordering::Relaxed);
        self.shared.counts.resumed.fetch_add(u64::from(comes_back), Ordering::Relaxed);
        if !comes_back {
            // Whatever came before the acknowledgement had been begun before this.
            let begun = |id: &i64| (*id, self.shared.rows[*id as usize].begun.load(Ordering::SeqCst));
            self.last = self.rows.iter().map(begun).collect();
        }
        let leaves_at = Instant::now() + time;
        while Instant::now() < leaves_at && !self.shared.stopped() {
            self.hear().await?;
        }
        let committed = |id: &i64| (*id, self.shared.rows[*id as usize].committed.load(Ordering::SeqCst));
        let known: Vec<_> = self.rows.iter().map(committed).collect();
        let deadline = Instant::now() + HEARS_WITHIN;
        while let Some((id, version)) = known.iter().find(|(id, version)| self.last[id] < *version) {
            if Instant::now() > deadline {
                let behind = self.behind_since.map(|since| since.elapsed());
                let last = self.last[id];
                return Err(format!(
                    "lost: row {id} is at {version}, and {last} is what it heard; behind since {behind:?}"
                ));
            }
            self.hear().await?;
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.frontend.leave();
        // What comes again is told by its version.
        self.frontend.forget();
    }

    async fn hear(&mut self) -> Result<(), String> {
        match self.frontend.next(Duration::from_millis(500)).await? {
            Heard::Event(event) | Heard::Repeat(event) => self.note(&event["data"]),
            Heard::Resync(reason) => Err(format!("told to load anew without need: {reason}")),
            Heard::Ended => Err("its connection ended".to_owned()),
            Heard::Silence => Ok(()),
            Heard::Resumed => {
                if let Some(since) = self.behind_since.take() {
                    let waited = since.elapsed().as_millis() as u64;
                    self.shared.counts.slowest_resume.fetch_max(waited, Ordering::Relaxed);
                }
                Ok(())
            }
        }
    }

    fn note(&mut self, data: &Value) -> Result<(), String> {
        let number = |key: &str| data[key].as_i64().ok_or_else(|| format!("an event that no rule makes: {data}"));
        let (id, before, after) = (number("id")?, number("before")?, number("after")?);
        let last = self.last.get_mut(&id).ok_or_else(|| format!("an event of another room: {data}"))?;
        if before > *last {
            return Err(format!("lost: of row {id} it heard {last}, and then {before} -> {after}"));
        }
        *last = after.max(*last);
        self.shared.counts.heard.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
