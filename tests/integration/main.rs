//! Integration tests: real Postgres, the real service, real sockets. One binary; each test has its own database.

#[path = "../support/mod.rs"]
mod support;

mod events;
mod sweep;
