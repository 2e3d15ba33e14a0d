//! Who a connected client is: what sign-in finds out and room policies look at.

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
