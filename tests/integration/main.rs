//! Integration tests: real Postgres, the real service, real sockets. One binary; each test has its own database.

#[path = "../support/mod.rs"]
mod support;

mod alterations;
mod bulk;
mod capture_safety;
mod cli;
mod contract;
mod custom_rules;
mod events;
mod locks;
mod migrations;
mod oracle;
mod pooler;
mod recovery;
mod restart;
mod resume;
mod retention;
mod sweep;
mod transactions;
mod values;
