//! rowcast: committed Postgres row changes, pushed as typed events over Socket.IO.
//!
//! The way of a change, one direction and one path:
//!
//! ```text
//! trigger -> rowcast.change -> doorbell      migrations/
//!     |
//! capture: LISTEN -> sweep -> Change         capture, change
//!     |
//! catalog: rules -> Event + audiences        catalog, event
//!     |
//! gateway: rooms -> sockets                  gateway, room, identity
//! ```
#![forbid(unsafe_code)]

pub mod catalog;
pub mod readiness;
pub mod metrics;
pub mod capture;
pub mod change;
pub mod event;
pub mod gateway;
pub mod identity;
pub mod position;
pub mod room;
