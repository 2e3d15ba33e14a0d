//! The oracle: random tables, transactions and interleavings, while the client comes and goes. Postgres says what is so in
//! the end, and the client, which knows nothing but the events, must say the same.
//!
//! A case that fails is made as small as it can be, and printed with a seed that plays it again:
//!
//!     ROWCAST_ORACLE_SEED=17 scripts/test rust --test integration oracle -- --nocapture
//!
//! `ROWCAST_ORACLE_CASES` says how many cases there are.

mod case;
mod model;
mod play;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::{case::cases, play::play};

const CASES: u64 = 32;
/// So many at once: each waits for Postgres most of the time.
const PLAYERS: u64 = 4;

fn from_environment(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}: expected a number, found {value:?}")))
}

/// Plays the case that the seed stands for; if it fails, so do smaller ones, of which the smallest is told.
fn try_seed(seed: u64, runtime: &tokio::runtime::Handle, told: &AtomicU64) -> Result<(), String> {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_time: 90_000,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&cases(), |case| {
        let played = runtime.block_on(play(&case)).map_err(TestCaseError::fail)?;
        told.fetch_add(played, Ordering::Relaxed);
        Ok(())
    });
    outcome.map_err(|error| match error {
        TestError::Fail(reason, case) => {
            format!("{reason}\n{case:?}\nplay it again with ROWCAST_ORACLE_SEED={seed}")
        }
        TestError::Abort(reason) => format!("{reason}; ROWCAST_ORACLE_SEED={seed}"),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_is_written_and_whenever_the_client_is_away_it_ends_with_the_state_that_postgres_has() {
    let given = from_environment("ROWCAST_ORACLE_SEED");
    let cases = from_environment("ROWCAST_ORACLE_CASES").unwrap_or(if given.is_some() { 1 } else { CASES });
    let first = given.unwrap_or_else(|| fastrand::u64(..1 << 40));
    println!("{cases} cases from ROWCAST_ORACLE_SEED={first} on");
    let began = Instant::now();
    let (next, told) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let players: Vec<tokio::task::JoinHandle<Result<(), String>>> = (0..PLAYERS)
        .map(|_| {
            let (runtime, next, told) = (tokio::runtime::Handle::current(), Arc::clone(&next), Arc::clone(&told));
            tokio::task::spawn_blocking(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= cases {
                        return Ok(());
                    }
                    try_seed(first + number, &runtime, &told)?;
                }
            })
        })
        .collect();
    let mut failures = Vec::new();
    for player in players {
        if let Err(failure) = player.await.expect("a player does not panic") {
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    println!("{cases} cases, {} events, {:?}", told.load(Ordering::Relaxed), began.elapsed());
}
