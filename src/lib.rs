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
//!
//! `auth` says who is connecting. `pipeline` holds capture, catalog and gateway together, `replay` tells the past again,
//! `inbox` keeps notifications, `dead_letter` the changes that a rule failed on, `journal` what is asked about afterwards;
//! what no event waits for is in `beside`. `byte_size` is a unit of the configuration. `database_url` and `tls` say how the database is reached, `grants` what may be
//! asked there. `contract` describes all this to frontends, and `cli` to people.
#![forbid(unsafe_code)]

pub mod auth;
pub mod beside;
pub mod byte_size;
pub mod capture;
pub mod catalog;
pub mod change;
pub mod cli;
pub mod config;
pub mod contract;
pub mod database_url;
pub mod dead_letter;
pub mod error;
pub mod event;
pub mod failpoint;
pub mod footing;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod grants;
pub mod http;
pub mod identity;
pub mod inbox;
pub mod journal;
pub mod metrics;
pub mod migrate;
pub mod pipeline;
pub mod pool;
pub mod position;
pub mod readiness;
pub mod replay;
pub mod room;
pub mod seldom;
pub mod serve;
pub mod shape;
pub mod snapshot;
pub mod tls;
pub mod wire;
pub mod written;
