//! Runs the benchmark; `make bench`, or scripts/bench.
//!
//! This process, which is the load generator, and Postgres are pinned to one core; the server under test to another. The
//! figures ([`figures`]) are measured one after the other, the servers ([`peer`]) taking turns, and the table
//! ([`report`]) has the medians.

mod audience;
mod bench;
mod cluster;
mod disturbance;
mod fan_out;
mod figures;
mod limits;
mod machine;
mod options;
mod peer;
mod plot;
mod proc;
mod progress;
mod report;
mod results;
mod server;
mod sql;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::{
    bench::Bench,
    cluster::Cluster,
    disturbance::{Account, TOLERATED_CORES},
    figures::Figure,
    machine::Machine,
    options::Options,
    peer::Peer,
    progress::Progress,
    results::Results,
    server::Programs,
};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for figure in Figure::all() {
            let seconds: f64 = figure.peers().iter().map(|peer| figure.seconds(*peer)).sum();
            println!("{:20} {:4.0} s a run   {}", figure.name(), seconds, figure.about());
        }
        return Ok(ExitCode::SUCCESS);
    }
    limits::prepare(options)?;
    let root = root()?;
    let (Some(rowcast), Some(work)) = (options.rowcast.clone(), options.work.clone()) else {
        bail!("expected --rowcast FILE and --work DIRECTORY; scripts/bench gives both");
    };
    let floor = std::env::current_exe()?.with_file_name("rowcast-bench-floor");
    eprintln!("starting a throw-away Postgres with 100,000 products");
    let cluster = Cluster::start(&root, &work.join("postgres"), &rowcast)?;
    let machine = Machine::look(&root, &cluster.version()?, &rowcast);
    let programs = Programs { root: root.clone(), rowcast, floor, work: work.clone(), core: options.server_core };
    let bench = Bench { cluster, programs, load_core: options.load_core };

    let (results, seconds) = measure(options, &bench);
    if options.keep {
        eprintln!("kept: logs and Postgres in {}, {}", work.display(), bench.url(Peer::Rowcast));
    }
    let report = report::Report { results: &results, machine: &machine, options, seconds };
    println!("{}", report.table());
    if options.is_whole() {
        report.write(&root.join("docs"))?;
        eprintln!("written: docs/benchmarks.md and docs/bench");
    }
    Ok(if results.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures what was asked for, and how many seconds that took.
fn measure(options: &Options, bench: &Bench) -> (Results, f64) {
    let steps = steps(options);
    let mut results = Results::default();
    let mut progress = Progress::begin(steps.len(), steps.iter().map(Step::seconds).sum());
    for step in &steps {
        progress.step(&step.label(), step.seconds());
        results = step.measure(options, bench, results);
    }
    (results, progress.seconds())
}

/// One figure, measured once on one peer.
struct Step {
    figure: Figure,
    peer: Peer,
    run: u32,
    runs: u32,
}

impl Step {
    fn label(&self) -> String {
        format!("{}, {}, run {} of {}", self.figure.name(), self.peer.title(), self.run, self.runs)
    }

    fn seconds(&self) -> f64 {
        self.figure.seconds(self.peer)
    }

    /// Adds what it measures to the results so far; anew while other programs disturb it, as often as is asked for.
    fn measure(&self, options: &Options, bench: &Bench, before: Results) -> Results {
        for attempt in 0.. {
            let mut results = before.clone();
            let began = std::time::Instant::now();
            let account = Account::take(&bench.cluster);
            let measured = if self.run == 1 { bench.cluster.renew(self.peer) } else { Ok(()) };
            let measured = measured.and_then(|()| self.figure.measure(bench, self.peer, &mut results));
            if let Err(error) = measured {
                let failure = format!("{}: {error:#}", self.label());
                eprintln!("          FAILED {failure}");
                results.failures.push(failure);
            }
            results.measurements += 1;
            eprintln!("          took {:.1} s", began.elapsed().as_secs_f64());
            let others = account.and_then(|account| account.others_since(&bench.cluster)).unwrap_or(0.0);
            if others < TOLERATED_CORES {
                return results;
            }
            eprintln!("          disturbed: other programs used {others:.2} cores meanwhile");
            if attempt >= options.calm {
                results.disturbed += 1;
                return results;
            }
        }
        before
    }
}

/// The steps in their order: of each figure run after run, and in each run all peers.
fn steps(options: &Options) -> Vec<Step> {
    let wanted = |figure: &Figure| options.only.is_empty() || options.only.contains(figure);
    let compared = |peer: &Peer| options.peers.is_empty() || options.peers.contains(peer);
    let mut steps = Vec::new();
    for figure in Figure::all().iter().copied().filter(wanted) {
        let runs = figure.runs(options.runs);
        for run in 1..=runs {
            for peer in figure.peers().iter().copied().filter(compared) {
                steps.push(Step { figure, peer, run, runs });
            }
        }
    }
    steps
}

/// The checkout that this was built in.
fn root() -> Result<PathBuf> {
    let driver = Path::new(env!("CARGO_MANIFEST_DIR"));
    driver.ancestors().nth(2).map(Path::to_owned).context("the benchmark is not in a checkout of rowcast")
}
