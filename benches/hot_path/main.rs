//! What each change goes through in the service: its rules are evaluated, its events encoded, and put into the buffers of
//! the sockets that hear them.
//!
//! `cargo bench --bench hot_path` compares with the last run; `… -- --save-baseline NAME` keeps one to compare with later, by
//! `--baseline NAME`.

mod deliver;
mod evaluate;

use criterion::{criterion_group, criterion_main};

criterion_group!(hot_path, evaluate::bench, evaluate::bench_encode, deliver::bench);
criterion_main!(hot_path);
