//! Who a connected client is: what sign-in finds out and room policies look at, what that rests on, and for how long.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The signed-in user, or a visitor (the default).
///
/// Room policies see it as `auth`: `auth.user_id`, `auth.roles`, `auth.stores`, `auth.admin`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// `None` for a visitor.
    pub user_id: Option<String>,
    /// `seller` or `buyer`, which decides the rooms that the server joins on connect, and a role of the application's own
    /// where the user has one (`agent`).
    pub roles: Vec<String>,
    /// The stores whose events the user may hear: one's own, and those one collaborates on.
    pub stores: Vec<String>,
    /// A platform administrator.
    pub admin: bool,
}

/// Who signed in, what that rests on, and until when it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignedIn {
    pub identity: Identity,
    pub grounds: Grounds,
    /// From then on it has to be confirmed anew, or ends; `None` if it holds until something changes.
    pub until: Option<DateTime<Utc>>,
}

/// What a sign-in rests on, kept while the client is connected to confirm it by. Holds no token and no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Grounds {
    /// A visitor shows nothing.
    #[default]
    Nothing,
    /// The client's word, in development.
    Word { user_id: String },
    /// A token that was verified; what it claims. It can't be verified anew: it was not kept.
    Token { claimed: Claimed },
    /// A session of the application, by its id.
    Session { id: String },
}

/// What a token says of its user. What it doesn't say (`None`), the database is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub user_id: String,
    pub roles: Option<Vec<String>>,
    pub stores: Option<Vec<String>>,
    pub admin: Option<bool>,
}

/// Whose sign-in has to be confirmed, since something has changed that it may rest on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Concern {
    User(String),
    /// By the session's id.
    Session(String),
    Everybody,
}
