//! Hostile input, made of good input: mutated by a generator whose seed is printed, so that a failure can be repeated.

use std::env;

use fastrand::Rng;

/// What is put in here and there: what parsers stumble over.
const SNIPPETS: [&str; 40] = [
    "\0",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[",
    "{\"a\":",
    ",",
    ":",
    ":{",
    "-",
    "0",
    "-1",
    "1e999",
    "9223372036854775807",
    "18446744073709551616",
    "99999999999999999999999999",
    "null",
    "true",
    "NaN",
    "é",
    "\u{202e}",
    "😀",
    "\r\n",
    "%00",
    "'",
    "''",
    "[]",
    "{}",
    "()",
    "((((((((",
    "__proto__",
    "[[rule]]\n",
    "row.",
    "|| ",
    "AQAAAAAAAAAAAAA",
];

/// The generator of a test, from ROWCAST_TEST_SEED where it is set; prints the seed.
pub fn generator(test: &str) -> Rng {
    let seed =
        env::var("ROWCAST_TEST_SEED").ok().map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("{test}: ROWCAST_TEST_SEED={seed}");
    Rng::with_seed(seed)
}

/// One to eight changes of one of the samples.
pub fn mutated(rng: &mut Rng, samples: &[Vec<u8>], longest: usize) -> Vec<u8> {
    let mut bytes = samples[rng.usize(..samples.len())].clone();
    for _ in 0..rng.usize(1..=8) {
        mutate(rng, &mut bytes, samples);
    }
    bytes.truncate(longest);
    bytes
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
    let at = rng.usize(..=bytes.len());
    let end = (at + rng.usize(..16)).min(bytes.len());
    match rng.u8(..9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
        1 if at < bytes.len() => bytes[at] = rng.u8(..),
        2 => _ = bytes.drain(at..end),
        3 => {
            let repeated = bytes[at..end].repeat(rng.usize(1..40));
            bytes.splice(at..at, repeated);
        }
        4 => {
            let other = &samples[rng.usize(..samples.len())];
            let from = rng.usize(..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        5 => bytes.truncate(at),
        6 => {
            let digits = rng.u64(..).to_string();
            bytes.splice(at..at, digits.into_bytes());
        }
        _ => {
            let snippet =
                SNIPPETS[rng.usize(..SNIPPETS.len())].repeat(if rng.u8(..8) == 0 { rng.usize(1..300) } else { 1 });
            bytes.splice(at..end, snippet.into_bytes());
        }
    }
}

/// Bytes of any kind.
pub fn noise(rng: &mut Rng, longest: usize) -> Vec<u8> {
    (0..rng.usize(..=longest)).map(|_| rng.u8(..)).collect()
}
