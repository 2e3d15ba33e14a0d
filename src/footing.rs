//! What the service stands on in the database, looked at once at start: a connection that others can read, a role that may
//! do more than it has to. Both work; both are told.

use sqlx::PgPool;

use crate::{config::DatabaseUrl, grants, pool};

/// Warns of what could be safer, with what to do about it.
pub async fn warn(url: &DatabaseUrl, pool: &PgPool) {
    if let Some(weakness) = url.exposed() {
        tracing::warn!("{weakness}");
    }
    match pool::in_time(grants::excess(pool)).await {
        Ok(None) => {}
        Ok(Some(excess)) => tracing::warn!(
            "{excess}; the service needs no such right. As the owner, run `rowcast migrate --gateway-role rowcast_gateway`, and serve as that role"
        ),
        // Whoever can't be asked now will not be served either.
        Err(error) => tracing::warn!(%error, "what this role may do could not be looked up"),
    }
}
