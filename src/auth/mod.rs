//! Who is connecting: every way in which a client can sign in.
//!
//! | file | role |
//! |---|---|
//! | `config` | `[auth]` in the configuration file |
//! | `secrets` | secrets, from the environment and from files |
//! | `modes` | which ways are open, and which of them a client takes |
//! | `presented` | what a client shows: a token, a cookie |
//! | `jwt` | tokens: verified, and no longer than they hold |
//! | `claims` | what a token says of its user |
//! | `keys` | keys, each for one algorithm |
//! | `jwks` | sets of keys |
//! | `fetch` | a set of keys that a server publishes, kept up to date |
//! | `cookies` | cookies, and the signature of express-session |
//! | `session` | the application's own sessions |
//! | `people` | who a user is: roles, stores, memberships |
//! | `table` | a table's name, as the configuration writes it |
//! | `lookup` | the SQL that sign-in runs |
//! | `concerns` | whose sign-in a row change concerns |
//! | `insecure` | the client's word, in development |
//! | `fuzzing` | what a client shows, for fuzzers |

mod claims;
mod concerns;
mod config;
mod cookies;
mod fetch;
pub(crate) mod fuzzing;
mod insecure;
mod jwks;
mod jwt;
mod keys;
mod lookup;
mod modes;
mod people;
mod presented;
mod secrets;
mod session;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    concerns::Concerns,
    config::{Algorithm, AuthConfig, ClaimNames, IdentityConfig, JwtConfig, KeysUrl, Mode, SessionConfig},
    lookup::NamedQuery,
    modes::{Modes, queries},
    table::TableRef,
};
