//! What the integration tests share: a database of one's own, the service on it, and a Socket.IO client.

pub mod client;
pub mod command;
pub mod database;
pub mod frontend;
pub mod mutate;
pub mod pooler;
pub mod proxy;
pub mod raw;
pub mod roles;
pub mod server;
pub mod service;

use std::time::Duration;

/// Waits until `condition` holds, asking again and again; panics with `what` when it never does.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + client::PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
