//! A short run of every fuzz target on mutations of good input. Longer ones, guided by coverage: `make fuzz`.

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rowcast::fuzzing::TARGETS;

use crate::support::mutate::{generator, mutated, noise};

const TIME: Duration = Duration::from_secs(3);
/// Whatever the input, it is dealt with in this time, in a debug build on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);

/// The seeds of a target: a file each.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("fuzz/seeds").join(target)];
    if target == "catalog" {
        folders.extend([root.join("catalog"), root.join("examples/helpdesk/catalog")]);
    }
    let files = |folder: &PathBuf| fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = folders.iter().flat_map(files).map(|entry| entry.expect("an entry").path());
    let seeds: Vec<Vec<u8>> = paths.filter(|path| path.is_file()).map(|path| fs::read(path).expect("a seed")).collect();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

fn survives(target: fn(&[u8]), name: &str, data: &[u8]) {
    let started = Instant::now();
    if catch_unwind(|| target(data)).is_err() {
        let text = String::from_utf8_lossy(data);
        panic!("{name} panics, see above, on {} bytes: {text:?}", data.len());
    }
    assert!(started.elapsed() < LONGEST, "{name} took {:?} on {:?}", started.elapsed(), String::from_utf8_lossy(data));
}

fn run(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(known, _)| *known == name).expect("a target");
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| survives(target, name, seed));
    let mut rng = generator(name);
    let (started, mut runs) = (Instant::now(), 0);
    while started.elapsed() < TIME {
        let data = if rng.u8(..20) == 0 { noise(&mut rng, 200) } else { mutated(&mut rng, &seeds, 70_000) };
        survives(target, name, &data);
        runs += 1;
    }
    println!("{name}: {runs} runs");
}

#[test]
fn whatever_a_client_says_is_read_without_a_panic() {
    run("client_message");
}

#[test]
fn whatever_a_client_shows_is_read_without_a_panic_and_lets_nobody_in() {
    run("sign_in");
}

#[test]
fn whatever_a_catalog_holds_is_loaded_or_refused_without_a_panic() {
    run("catalog");
}

#[test]
fn whatever_an_expression_says_is_evaluated_or_refused_without_a_panic() {
    run("expression");
}

#[test]
fn whatever_a_client_hands_back_as_its_position_is_read_without_a_panic() {
    run("position");
}

#[test]
fn every_target_has_seeds_and_a_fuzzer() {
    for (name, _) in TARGETS {
        seeds(name);
        let fuzzer = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(fuzzer.is_file(), "{} is missing", fuzzer.display());
    }
}
