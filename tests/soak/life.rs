//! An hour of a service's life: two hundred changes a second, two thousand sockets that come and go. Nobody misses anything,
//! and nothing grows.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use crate::{
    Configuration,
    crowd::{Crowd, ROWS},
    from_environment,
    plot::{self, Line, Panel},
    plot_file, readings,
    sample::{Log, Taken, Watcher},
    support::{
        server::Server,
        service::{Process, metric, url},
    },
    trend::{Flat, mean},
};

const SECONDS: u64 = 3600;
const SOCKETS: u64 = 2_000;
/// Changes a second.
const RATE: u64 = 200;
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const PRINT_EVERY: usize = 12;
/// In a shorter run what fills at the beginning is taken for what grows.
const SHORTEST_TO_JUDGE: u64 = 480;

struct Seen {
    seconds: f64,
    taken: Taken,
    sockets: f64,
    log: f64,
    heard: u64,
    /// Seconds.
    slowest_resume: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "an hour long; make soak runs it"]
async fn for_an_hour_no_socket_misses_a_change_and_nothing_grows() {
    let seconds = from_environment("ROWCAST_SOAK_SECONDS", SECONDS);
    let seed = from_environment("ROWCAST_SOAK_SEED", fastrand::u64(..1 << 32));
    let server = Server::start(&["autovacuum=on", "fsync=on"]).await;
    let database = readings(&server, ROWS).await;
    let configuration = Configuration::write("retention = \"60s\"\nretention_bytes = \"64 MiB\"");
    let file = configuration.file();
    let process = Process::start_with(&database.url, &["--config", file.to_str().expect("text")]).await.ready().await;
    println!("{seconds} s, {RATE} changes a second, {SOCKETS} sockets that come and go, ROWCAST_SOAK_SEED={seed}");

    let crowd = Crowd::start(&url(process.address), &database.url, SOCKETS, RATE, seed);
    let mut watcher = Watcher::new(process.pid());
    let mut seen: Vec<Seen> = Vec::new();
    let (began, mut pace) = (Instant::now(), tokio::time::interval(SAMPLE_EVERY));
    pace.tick().await;
    while began.elapsed() < Duration::from_secs(seconds) && crowd.wrongs().is_empty() {
        pace.tick().await;
        seen.push(Seen {
            seconds: began.elapsed().as_secs_f64(),
            taken: watcher.look(),
            sockets: metric(process.admin, "rowcast_sockets").await,
            log: Log::look(&database.client).await.total(),
            heard: crowd.counts().heard.load(Ordering::Relaxed),
            slowest_resume: crowd.counts().slowest_resume.swap(0, Ordering::Relaxed) as f64 / 1000.0,
        });
        if (seen.len() - 1).is_multiple_of(PRINT_EVERY) {
            print(&seen);
        }
    }
    print(&seen);
    let counts = crowd.counts();
    let count = |of: &std::sync::atomic::AtomicU64| of.load(Ordering::Relaxed);
    println!(
        "\n{} changes; {} connections, {} of them with a position; {} events heard",
        count(&counts.written),
        count(&counts.connected),
        count(&counts.resumed),
        count(&counts.heard)
    );
    let mut wrongs = crowd.finish().await;
    println!("{} changes were missed, or sockets refused", wrongs.len());
    let losses = metric(process.admin, "rowcast_capture_losses_total").await;
    if losses > 0.0 {
        wrongs.push(format!("capture lost {losses} changes"));
    }
    picture(&seen);
    let grows = judge(&seen);
    match seen.last().is_none_or(|last| last.seconds < SHORTEST_TO_JUDGE as f64) {
        true => println!("too short to judge what grows: that takes {SHORTEST_TO_JUDGE} s"),
        false => wrongs.extend(grows),
    }
    if !wrongs.is_empty() {
        println!("the service's last warnings:\n{}", process.warnings().join("\n"));
    }
    assert!(process.terminate().await, "it stops in time");
    assert!(wrongs.is_empty(), "{}", wrongs[..wrongs.len().min(20)].join("\n"));
}

fn print(seen: &[Seen]) {
    let Some(last) = seen.last() else { return };
    if seen.len() == 1 {
        println!(
            "{:>8} {:>8} {:>12} {:>12} {:>8} {:>9} {:>12} {:>17}",
            "seconds", "sockets", "memory MiB", "descriptors", "CPU %", "log MiB", "heard", "slowest resume s"
        );
    }
    println!(
        "{:>8.0} {:>8.0} {:>12.1} {:>12.0} {:>8.1} {:>9.1} {:>12} {:>17.2}",
        last.seconds,
        last.sockets,
        last.taken.memory,
        last.taken.descriptors,
        last.taken.cpu,
        last.log,
        last.heard,
        last.slowest_resume
    );
}

fn line(seen: &[Seen], of: impl Fn(&Seen) -> f64) -> Vec<(f64, f64)> {
    seen.iter().map(|seen| (seen.seconds / 60.0, of(seen))).collect()
}

/// What grows, in words.
fn judge(seen: &[Seen]) -> Vec<String> {
    let flat = |share, amount| Flat { share, amount };
    let verdicts = [
        flat(0.05, 2.0).judge("memory", "MiB", &line(seen, |seen| seen.taken.memory)),
        // A socket has one; what is over are listeners, connections to Postgres, and sockets that come and go just now.
        flat(0.0, 20.0).judge(
            "descriptors beside sockets",
            "",
            &line(seen, |seen| seen.taken.descriptors - seen.sockets),
        ),
        flat(0.15, 0.5).judge("the log", "MiB", &line(seen, |seen| seen.log)),
        flat(0.15, 3.0).judge("CPU", "% of a core", &line(seen, |seen| seen.taken.cpu)),
    ];
    println!("{:.0} sockets on average", mean(&line(seen, |seen| seen.sockets)));
    verdicts.iter().for_each(|verdict| println!("{}", verdict.words));
    verdicts
        .into_iter()
        .filter(|verdict| !verdict.is_flat)
        .map(|verdict| format!("it grows: {}", verdict.words))
        .collect()
}

fn picture(seen: &[Seen]) {
    let named = |name: &str, of: fn(&Seen) -> f64| Line { name: name.to_owned(), points: line(seen, of) };
    let panel = |title: &str, lines: Vec<Line>| Panel { title: title.to_owned(), lines, limit: None };
    let panels = [
        panel("The service's memory, MiB", vec![named("resident", |seen| seen.taken.memory)]),
        panel(
            "File descriptors",
            vec![named("descriptors", |seen| seen.taken.descriptors), named("sockets", |seen| seen.sockets)],
        ),
        panel("The change log, MiB", vec![named("table and indexes", |seen| seen.log)]),
        panel("The service's CPU, % of a core", vec![named("CPU", |seen| seen.taken.cpu)]),
        panel(
            "Until a socket that came back was up to date, s",
            vec![named("the slowest of each five seconds", |seen| seen.slowest_resume)],
        ),
    ];
    let file = plot_file("docs/soak.svg");
    let title = format!("{RATE} changes a second, {SOCKETS} sockets that come and go");
    plot::draw(&file, &title, "minutes", &panels).expect("a picture");
    println!("drawn: {}", file.display());
}
