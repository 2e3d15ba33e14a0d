//! Ten million changes at full speed through a log of a quarter of a gibibyte: its table and its indexes stay as they are, and
//! so do the catalogs of Postgres, whatever was truncated.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    Configuration, from_environment,
    plot::{self, Line, Panel},
    plot_file, readings,
    sample::{Log, Watcher},
    support::{
        database::{Database, connect},
        server::Server,
        service::{Process, metric},
    },
    trend::{Flat, Verdict, highest, mean},
};

const CHANGES: u64 = 10_000_000;
/// The limit of the log.
const LIMIT_MIB: u64 = 256;
const WRITERS: u64 = 4;
/// Rows that each writer has for itself, all changed by one statement.
const BATCH: u64 = 1_000;
/// Writers wait for the service when it is this many changes behind: what is not swept stays in the log, and the retention
/// would not be steady.
const MOST_BEHIND: u64 = 200_000;
/// Seconds.
const SAMPLE_EVERY: f64 = 2.0;
const PRINT_EVERY: usize = 5;
/// How often it is asked how far the service is, and whether a writer may go on.
const LOOK: Duration = Duration::from_millis(50);
const WAIT: Duration = Duration::from_millis(10);
const SWEPT: &str = "rowcast_changes_swept_total*";

/// Above its limit the log may hold what is written between two looks at it, which are a second apart, and while the first
/// of them goes on; and what is not swept.
const LOOK_SECONDS: f64 = 2.0;

/// After so few emptied slots the log may still be filling for the first time.
const FEWEST_TO_JUDGE: f64 = 6.0;

struct Seen {
    seconds: f64,
    written: u64,
    swept: u64,
    log: Log,
    memory: f64,
    cpu: f64,
}

/// How far it has come.
#[derive(Default)]
struct Progress {
    /// Changes that some writer will write.
    claimed: AtomicU64,
    written: AtomicU64,
    swept: AtomicU64,
    /// How often a writer has waited for the service.
    waits: AtomicU64,
}

impl Progress {
    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn behind(&self) -> u64 {
        self.written().saturating_sub(self.swept.load(Ordering::Relaxed))
    }
}

/// Updates rows of its own, a batch in each statement, until all writers together have made `goal` changes.
async fn write(progress: Arc<Progress>, database_url: String, number: u64, goal: u64) {
    let client = connect(&database_url).await;
    let (from, to) = (number * BATCH, (number + 1) * BATCH);
    let sql = format!("update reading set version = version + 1 where id >= {from} and id < {to}");
    let update = client.prepare(&sql).await.expect("prepared");
    while progress.claimed.fetch_add(BATCH, Ordering::Relaxed) < goal {
        while progress.behind() > MOST_BEHIND {
            progress.waits.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(WAIT).await;
        }
        let count = client.execute(&update, &[]).await.expect("no writer is ever held up, or fails");
        progress.written.fetch_add(count, Ordering::Relaxed);
    }
}

/// Looks now and then, until the writers have ended and all is swept.
async fn watch(progress: &Progress, goal: u64, process: &Process, database: &Database) -> Vec<Seen> {
    let mut watcher = Watcher::new(process.pid());
    let mut seen: Vec<Seen> = Vec::new();
    let began = Instant::now();
    loop {
        let swept = metric(process.admin, SWEPT).await as u64;
        progress.swept.store(swept, Ordering::Relaxed);
        let is_over = swept >= goal;
        let is_due = seen.last().is_none_or(|last| began.elapsed().as_secs_f64() - last.seconds >= SAMPLE_EVERY);
        if is_due || is_over {
            let taken = watcher.look();
            seen.push(Seen {
                log: Log::look(&database.client).await,
                seconds: began.elapsed().as_secs_f64(),
                written: progress.written(),
                swept,
                memory: taken.memory,
                cpu: taken.cpu,
            });
            if (seen.len() - 1).is_multiple_of(PRINT_EVERY) || is_over {
                print(seen.last().expect("just now"), seen.len() == 1);
            }
        }
        if is_over {
            return seen;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long; make log-life runs it"]
async fn ten_million_changes_through_a_small_log_leave_it_as_small_as_it_was() {
    let goal = from_environment("ROWCAST_CHANGES", CHANGES).next_multiple_of(BATCH);
    let server = Server::start(&["autovacuum=on", "fsync=on", "max_wal_size=4GB"]).await;
    let database = readings(&server, WRITERS * BATCH).await;
    let configuration = Configuration::write(&format!("retention_bytes = \"{LIMIT_MIB} MiB\""));
    let file = configuration.file();
    let process = Process::start_with(&database.url, &["--config", file.to_str().expect("text")]).await.ready().await;
    let version: String = database.row("show server_version", &[]).await.get(0);
    println!("{goal} changes by {WRITERS} writers, a log of {LIMIT_MIB} MiB, Postgres {version}");

    let progress = Arc::new(Progress::default());
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(write(Arc::clone(&progress), database.url.clone(), number, goal));
    }
    let writing = async {
        while let Some(ended) = writers.join_next().await {
            ended.expect("a writer does not fail");
        }
    };
    let seen = tokio::select! {
        (seen, ()) = async { tokio::join!(watch(&progress, goal, &process, &database), writing) } => seen,
        // The pace of ten writers on one slow disk: whatever is slower has failed.
        () = tokio::time::sleep(Duration::from_secs(60 + goal / 1_000)) => panic!("it does not come to an end"),
    };

    let (written, seconds) = (progress.written(), seen.last().expect("the end").seconds);
    let rate = written as f64 / seconds;
    let emptied = metric(process.admin, "rowcast_log_slots_emptied_total").await;
    let vacuums = seen.last().expect("the end").log.vacuums;
    println!("\n{written} changes in {seconds:.0} s, {rate:.0} a second; the service took {:.0} % of a core", {
        mean(&line(&seen, |seen| seen.cpu))
    });
    println!("a slot of the log was emptied {emptied} times, and the log was vacuumed {vacuums} times");
    println!("writers waited for the service {} times {} ms", progress.waits.load(Ordering::Relaxed), WAIT.as_millis());
    picture(&seen, written);
    let (swept, losses) =
        (metric(process.admin, SWEPT).await as u64, metric(process.admin, "rowcast_capture_losses_total").await);
    let all = Verdict {
        is_flat: losses == 0.0 && swept == written,
        words: format!("{swept} of {written} changes were swept, {losses} lost"),
    };
    let mut verdicts = vec![all, bound(&seen, rate)];
    match emptied < FEWEST_TO_JUDGE {
        true => {
            println!("too few changes to judge what grows: the log has to be emptied {FEWEST_TO_JUDGE} times for that")
        }
        false => verdicts.extend(flat(&seen)),
    }
    verdicts.iter().for_each(|verdict| println!("{}", verdict.words));
    assert!(process.terminate().await, "it stops in time");
    assert!(verdicts.iter().all(|verdict| verdict.is_flat), "it grew, or something was lost; see above");
}

fn print(seen: &Seen, with_names: bool) {
    if with_names {
        println!(
            "{:>8} {:>12} {:>12} {:>11} {:>11} {:>9} {:>12} {:>16} {:>11} {:>11}",
            "seconds",
            "written",
            "not swept",
            "table MiB",
            "index MiB",
            "dead",
            "pg_class MiB",
            "pg_attribute MiB",
            "cursor MiB",
            "memory MiB"
        );
    }
    println!(
        "{:>8.0} {:>12} {:>12} {:>11.1} {:>11.1} {:>9} {:>12.2} {:>16.2} {:>11.2} {:>11.1}",
        seen.seconds,
        seen.written,
        seen.written.saturating_sub(seen.swept),
        seen.log.table,
        seen.log.index,
        seen.log.dead,
        seen.log.pg_class,
        seen.log.pg_attribute,
        seen.log.cursor,
        seen.memory
    );
}

fn line(seen: &[Seen], of: impl Fn(&Seen) -> f64) -> Vec<(f64, f64)> {
    seen.iter().map(|seen| (seen.written as f64 / 1e6, of(seen))).collect()
}

/// The log stays within its limit, but for what is written between two looks at it and what is not swept.
fn bound(seen: &[Seen], rate: f64) -> Verdict {
    // While the log still fills for the first time, all that was written is in it.
    let filling = seen.iter().find(|seen| seen.log.total() > LIMIT_MIB as f64 / 4.0).or(seen.last());
    let each = filling.map_or(0.0, |seen| seen.log.total() / seen.written as f64);
    let most_behind = seen.iter().map(|seen| seen.written.saturating_sub(seen.swept)).max().unwrap_or(0);
    let bound = LIMIT_MIB as f64 + each * (rate * LOOK_SECONDS + most_behind as f64);
    let top = highest(&line(seen, |seen| seen.log.total()));
    Verdict {
        is_flat: top <= bound,
        words: format!(
            "the log took at most {top:.0} MiB; the bound is {bound:.0}: its limit of {LIMIT_MIB}, what {LOOK_SECONDS} s write, and {most_behind} changes that were not swept, at {:.0} bytes each",
            each * 1024.0 * 1024.0
        ),
    }
}

fn flat(seen: &[Seen]) -> Vec<Verdict> {
    let judge = |name: &str, share: f64, amount: f64, of: fn(&Seen) -> f64| {
        Flat { share, amount }.judge(name, "MiB", &line(seen, of))
    };
    vec![
        judge("the log's table", 0.10, 1.0, |seen| seen.log.table),
        judge("its indexes", 0.10, 1.0, |seen| seen.log.index),
        judge("pg_class", 0.0, 0.25, |seen| seen.log.pg_class),
        judge("pg_attribute", 0.0, 0.25, |seen| seen.log.pg_attribute),
        judge("rowcast.cursor", 0.0, 0.25, |seen| seen.log.cursor),
        judge("the service's memory", 0.10, 2.0, |seen| seen.memory),
    ]
}

fn picture(seen: &[Seen], written: u64) {
    let named = |name: &str, of: fn(&Seen) -> f64| Line { name: name.to_owned(), points: line(seen, of) };
    let panel = |title: &str, lines: Vec<Line>, limit| Panel { title: title.to_owned(), lines, limit };
    let panels = [
        panel(
            "The change log, MiB",
            vec![named("table and indexes", |seen| seen.log.total()), named("indexes", |seen| seen.log.index)],
            Some((LIMIT_MIB as f64, "retention_bytes".to_owned())),
        ),
        panel("Dead rows in the log", vec![named("dead rows", |seen| seen.log.dead as f64)], None),
        panel(
            "Catalogs of Postgres and the cursor, MiB",
            vec![
                named("pg_class", |seen| seen.log.pg_class),
                named("pg_attribute", |seen| seen.log.pg_attribute),
                named("rowcast.cursor", |seen| seen.log.cursor),
            ],
            None,
        ),
        panel("The service's memory, MiB", vec![named("resident", |seen| seen.memory)], None),
    ];
    let file = plot_file("docs/log-life.svg");
    let title = format!("{written} changes through a log of {LIMIT_MIB} MiB");
    plot::draw(&file, &title, "million changes", &panels).expect("a picture");
    println!("drawn: {}", file.display());
}
