//! The load of the benchmark, the same for every server under test: sockets that speak raw Engine.IO over WebSocket and
//! note the arrival of every message, and writers that change rows at a given rate or as fast as they can.
//!
//! - [`ledger`]: when each change was written
//! - [`writer`]: writes changes, at a rate or saturating
//! - [`socket`], [`crowd`]: many sockets, and what they heard
//! - [`verdict`]: what was heard against what was written: every latency, and whether anything is missing

pub mod crowd;
pub mod ledger;
pub mod socket;
pub mod verdict;
pub mod writer;
