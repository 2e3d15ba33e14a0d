//! Ten million changes at full speed through a log of a quarter of a gibibyte: its table and its indexes stay as they are, and
//! so do the catalogs of Postgres, whatever was truncated.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Configuration, from_environment,
    plot::{self, Line, Panel},
    plot_file, readings,
    sample::{Log, Watcher},
    support::{
        database::connect,
        server::Server,
        service::{Process, metric},
    },
    trend::{Flat, Verdict, highest},
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
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
const PRINT_EVERY: u32 = 5;

/// Above its limit the log may hold what is written between two looks at it, which are a second apart, and while the first
/// of them goes on; and what is not swept.
const LOOK_SECONDS: f64 = 2.0;

struct Seen {
    seconds: f64,
    written: u64,
    swept: u64,
    log: Log,
    memory: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "many minutes long; make log-life runs it"]
async fn ten_million_changes_through_a_small_log_leave_it_as_small_as_it_was() {
    let goal = from_environment("ROWCAST_CHANGES", CHANGES);
    let server = Server::start(&["autovacuum=on", "fsync=on", "max_wal_size=4GB"]).await;
    let database = readings(&server, WRITERS * BATCH).await;
    let configuration = Configuration::write(&format!("retention_bytes = \"{LIMIT_MIB} MiB\""));
    let file = configuration.file();
    let process = Process::start_with(&database.url, &["--config", file.to_str().expect("text")]).await.ready().await;
    let version: String = database.row("show server_version", &[]).await.get(0);
    println!("{goal} changes by {WRITERS} writers, a log of {LIMIT_MIB} MiB, Postgres {version}");

    let (claimed, written, swept) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let waited = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let (claimed, written, swept, waited) = (claimed.clone(), written.clone(), swept.clone(), waited.clone());
            let url = database.url.clone();
            tokio::spawn(async move {
                let client = connect(&url).await;
                let sql = format!(
                    "update reading set version = version + 1 where id >= {} and id < {}",
                    number * BATCH,
                    (number + 1) * BATCH
                );
                let update = client.prepare(&sql).await.expect("prepared");
                while claimed.fetch_add(BATCH, Ordering::Relaxed) < goal {
                    while written.load(Ordering::Relaxed) > swept.load(Ordering::Relaxed) + MOST_BEHIND {
                        waited.fetch_add(1, Ordering::Relaxed);
                        // The pace at which the service is asked how far it is.
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    let count = client.execute(&update, &[]).await.expect("no writer is ever held up, or fails");
                    written.fetch_add(count, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let mut seen: Vec<Seen> = Vec::new();
    let mut watcher = Watcher::new(process.pid());
    let began = Instant::now();
    let mut next = began;
    let mut cpu = 0.0;
    loop {
        let all = metric(process.admin, "rowcast_changes_swept_total*").await as u64;
        swept.store(all, Ordering::Relaxed);
        let is_over = all >= goal && writers.iter().all(|writer| writer.is_finished());
        if Instant::now() >= next || is_over {
            next += SAMPLE_EVERY;
            let taken = watcher.look();
            cpu += taken.cpu;
            let seconds = began.elapsed().as_secs_f64();
            let log = Log::look(&database.client).await;
            seen.push(Seen {
                seconds,
                written: written.load(Ordering::Relaxed),
                swept: all,
                log,
                memory: taken.memory,
            });
            if (seen.len() as u32 - 1).is_multiple_of(PRINT_EVERY) || is_over {
                print(seen.last().expect("just now"));
            }
        }
        if is_over {
            break;
        }
        assert!(
            !writers.iter().any(|writer| writer.is_finished()) || claimed.load(Ordering::Relaxed) >= goal,
            "a writer failed"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for writer in writers {
        writer.await.expect("a writer does not fail");
    }
    let written = written.load(Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    let rate = written as f64 / seconds;
    let emptied = metric(process.admin, "rowcast_log_slots_emptied_total").await;
    println!(
        "\n{written} changes in {seconds:.0} s, {rate:.0} a second; a slot was emptied {emptied} times; the log was vacuumed {} times; the service took {:.0} % of a core",
        seen.last().expect("the end").log.vacuums,
        cpu / seen.len() as f64
    );
    println!("writers waited for the service {} times 10 ms in all", waited.load(Ordering::Relaxed));
    let losses = metric(process.admin, "rowcast_capture_losses_total").await;
    let twice = metric(process.admin, "rowcast_changes_swept_total*").await as u64;
    picture(&seen, written);
    let mut verdicts = judge(&seen, rate);
    verdicts.push(Verdict {
        is_flat: losses == 0.0 && twice == written,
        words: format!("{twice} of {written} changes were swept, {losses} lost"),
    });
    verdicts.iter().for_each(|verdict| println!("{}", verdict.words));
    assert!(process.terminate().await, "it stops in time");
    assert!(verdicts.iter().all(|verdict| verdict.is_flat), "it grew, or something was lost; see above");
}

fn print(seen: &Seen) {
    if seen.swept == 0 || seen.seconds < 1.0 {
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

/// The log within its limit, and nothing that grows.
fn judge(seen: &[Seen], rate: f64) -> Vec<Verdict> {
    let bytes_each = {
        // While the log still fills for the first time, all that was written is in it.
        let first = seen.iter().find(|seen| seen.log.total() > LIMIT_MIB as f64 / 4.0);
        first.map_or(0.0, |seen| seen.log.total() / seen.written as f64)
    };
    let most_behind = seen.iter().map(|seen| seen.written.saturating_sub(seen.swept)).max().unwrap_or(0) as f64;
    let bound = LIMIT_MIB as f64 + bytes_each * (rate * LOOK_SECONDS + most_behind);
    let top = highest(&line(seen, |seen| seen.log.total()));
    let mut verdicts = vec![Verdict {
        is_flat: top <= bound,
        words: format!(
            "the log: at most {top:.0} MiB, and the bound is {bound:.0}: its limit of {LIMIT_MIB}, what {LOOK_SECONDS} s write, and the most that was not swept ({most_behind:.0}), at {:.0} bytes each",
            bytes_each * 1024.0 * 1024.0
        ),
    }];
    let flat = |share, amount| Flat { share, amount };
    verdicts.push(flat(0.10, 1.0).judge("the log's table", "MiB", &line(seen, |seen| seen.log.table)));
    verdicts.push(flat(0.10, 1.0).judge("its indexes", "MiB", &line(seen, |seen| seen.log.index)));
    verdicts.push(flat(0.0, 0.25).judge("pg_class", "MiB", &line(seen, |seen| seen.log.pg_class)));
    verdicts.push(flat(0.0, 0.25).judge("pg_attribute", "MiB", &line(seen, |seen| seen.log.pg_attribute)));
    verdicts.push(flat(0.0, 0.25).judge("rowcast.cursor", "MiB", &line(seen, |seen| seen.log.cursor)));
    verdicts.push(flat(0.10, 2.0).judge("the service's memory", "MiB", &line(seen, |seen| seen.memory)));
    verdicts
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
