//! Integration tests: real Postgres, the real service, real sockets. One binary; each test has its own database.

#[path = "../support/mod.rs"]
mod support;

mod alterations;
mod bulk;
mod by_statement;
mod capture_safety;
mod cli;
mod clock;
mod contract;
mod custom_rules;
mod dead_letters;
mod events;
mod exhaustion;
mod fuzz;
mod gateway_role;
mod hostile;
mod joins;
mod limits;
mod locks;
mod log_size;
mod matrix;
mod migrations;
mod oracle;
mod pooler;
mod recovery;
mod restart;
mod resume;
mod retention;
mod revocation;
mod shelf;
mod sign_in;
mod sweep;
mod tls;
mod trace;
mod transactions;
mod values;
