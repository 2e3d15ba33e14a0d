//! Who is connecting.

use std::{fmt, time::Duration};

use axum::http::HeaderMap;
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use crate::{identity::Identity, room::MAX_LENGTH};

/// How long a client waits for the database at most.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a client presents when it connects.
pub struct Handshake {
    /// `io(url, { auth: … })`; `null` if the client gave none.
    pub auth: Value,
    pub headers: HeaderMap,
}

/// Finds out who is connecting.
pub trait SignIn: Send + Sync + 'static {
    /// # Errors
    ///
    /// A sentence for the client, which gets it as `connect_error`.
    fn sign_in<'a>(&'a self, handshake: &'a Handshake) -> BoxFuture<'a, Result<Identity, String>>;
}

impl fmt::Debug for Handshake {
    /// Without what it holds: that is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").finish_non_exhaustive()
    }
}

/// For development only: believes `auth.userId`, and looks up in the application's tables what that user is.
#[derive(Debug, Clone)]
pub struct Insecure {
    pool: PgPool,
}

impl Insecure {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl SignIn for Insecure {
    fn sign_in<'a>(&'a self, handshake: &'a Handshake) -> BoxFuture<'a, Result<Identity, String>> {
        async {
            let Some(user_id) = user_id(&handshake.auth)? else { return Ok(Identity::default()) };
            match tokio::time::timeout(DATABASE_TIMEOUT, look_up(&self.pool, user_id)).await {
                Ok(Ok(identity)) => Ok(identity),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "sign-in could not look the user up");
                    Err("the database could not be asked who you are; try again in a moment".to_owned())
                }
                Err(_) => Err(format!(
                    "the database did not answer within {} s who you are; try again in a moment",
                    DATABASE_TIMEOUT.as_secs()
                )),
            }
        }
        .boxed()
    }
}

/// `None` for a visitor.
fn user_id(auth: &Value) -> Result<Option<String>, String> {
    let given = match auth {
        Value::Null => return Ok(None),
        Value::Object(auth) => auth.get("userId").unwrap_or(&Value::Null),
        other => return Err(format!("auth: expected an object such as {{ userId: \"…\" }}, found {}", kind(other))),
    };
    match given {
        Value::Null => Ok(None),
        Value::String(id) if id.is_empty() => Ok(None),
        Value::String(id) if id.len() > MAX_LENGTH => {
            Err(format!("auth.userId: expected at most {MAX_LENGTH} bytes, found {}", id.len()))
        }
        Value::String(id) => Ok(Some(id.clone())),
        Value::Number(id) => Ok(Some(id.to_string())),
        other => Err(format!("auth.userId: expected a string, found {}", kind(other))),
    }
}

/// What a JSON value is, for a message to a client.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The user's row, as far as the application's table has these columns.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct User {
    role: Option<String>,
    user_type: Option<String>,
    is_platform_admin: Option<String>,
    seller_id: Option<String>,
}

async fn look_up(pool: &PgPool, user_id: String) -> Result<Identity, sqlx::Error> {
    let columns = columns(pool, "users").await?;
    if !columns.iter().any(|column| column == "id") {
        return Ok(Identity { user_id: Some(user_id), ..Identity::default() });
    }
    let user = user(pool, &columns, &user_id).await?;
    let shared_stores = shared_stores(pool, &user_id).await?;
    Ok(identity(user_id, user, shared_stores))
}

/// The columns of an application's table that may be read; none if there is no such table.
async fn columns(pool: &PgPool, table: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select attname::text from pg_attribute
         where attrelid = to_regclass($1) and attnum > 0 and not attisdropped
           and has_column_privilege(attrelid, attnum, 'select')",
    )
    .bind(table)
    .fetch_all(pool)
    .await
}

async fn user(pool: &PgPool, columns: &[String], user_id: &str) -> Result<User, sqlx::Error> {
    let pairs: Vec<String> = ["role", "user_type", "is_platform_admin", "seller_id"]
        .into_iter()
        .filter(|known| columns.iter().any(|column| column == known))
        .map(|column| format!("'{column}', {column}::text"))
        .collect();
    // Of the names written above alone, hence safe.
    let sql = format!("select json_build_object({}) from users where id::text = $1", pairs.join(", "));
    let row: Option<sqlx::types::Json<User>> =
        sqlx::query_scalar(AssertSqlSafe(sql)).bind(user_id).fetch_optional(pool).await?;
    Ok(row.map(|row| row.0).unwrap_or_default())
}

/// The stores that the user collaborates on.
async fn shared_stores(pool: &PgPool, user_id: &str) -> Result<Vec<String>, sqlx::Error> {
    let columns = columns(pool, "user_store_memberships").await?;
    if !["user_id", "store_owner_id", "status"].iter().all(|needed| columns.iter().any(|column| column == needed)) {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(
        "select store_owner_id::text from user_store_memberships
         where user_id::text = $1 and status::text = 'active' and store_owner_id is not null order by 1",
    )
    .bind(user_id)
    .fetch_all(pool)
    .await
}

fn identity(user_id: String, user: User, shared_stores: Vec<String>) -> Identity {
    let mut stores: Vec<String> = user.seller_id.into_iter().chain(shared_stores).collect();
    let is_seller = matches!(user.role.as_deref(), Some("seller" | "owner"))
        || user.user_type.as_deref() == Some("seller")
        || !stores.is_empty();
    if is_seller {
        stores.insert(0, user_id.clone());
        let mut seen = std::collections::HashSet::new();
        stores.retain(|store| seen.insert(store.clone()));
    }
    let mut roles = vec![if is_seller { "seller" } else { "buyer" }.to_owned()];
    // Which of these two somebody is, is settled above; any other role is the application's own and stands as it is.
    roles.extend(user.role.filter(|role| !matches!(role.as_str(), "" | "seller" | "buyer")));
    Identity {
        user_id: Some(user_id),
        roles,
        stores,
        admin: matches!(user.is_platform_admin.as_deref(), Some("1" | "t" | "true")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(role: &str, user_type: &str) -> User {
        User { role: Some(role.to_owned()), user_type: Some(user_type.to_owned()), ..User::default() }
    }

    #[test]
    fn a_user_id_may_be_a_string_or_a_number_and_its_absence_is_a_visitor() {
        for visitor in [json!(null), json!({}), json!({ "userId": null }), json!({ "userId": "" })] {
            assert_eq!(user_id(&visitor), Ok(None), "{visitor}");
        }
        assert_eq!(user_id(&json!({ "userId": "u1" })), Ok(Some("u1".to_owned())));
        assert_eq!(user_id(&json!({ "userId": 17 })), Ok(Some("17".to_owned())));
    }

    #[test]
    fn an_auth_of_another_shape_is_told_what_was_expected() {
        assert_eq!(
            user_id(&json!({ "userId": ["u1"] })),
            Err("auth.userId: expected a string, found an array".to_owned())
        );
        assert!(user_id(&json!("u1")).expect_err("a bare string").starts_with("auth: expected an object"));
    }

    #[test]
    fn sellers_hear_their_own_store_and_those_they_work_for_once_each() {
        let member = User { seller_id: Some("s9".to_owned()), ..user("customer", "buyer") };
        let identity = identity("u1".to_owned(), member, vec!["s9".to_owned(), "s8".to_owned()]);
        assert_eq!(identity.roles, ["seller", "customer"]);
        assert_eq!(identity.stores, ["u1", "s9", "s8"]);
    }

    #[test]
    fn everyone_else_is_a_buyer() {
        for user in [user("buyer", "buyer"), user("", ""), User::default()] {
            let identity = identity("u1".to_owned(), user, Vec::new());
            assert_eq!((identity.roles, identity.stores), (vec!["buyer".to_owned()], Vec::new()));
        }
    }

    #[test]
    fn a_role_of_the_applications_own_is_there_for_room_policies() {
        let roles = |user| identity("u1".to_owned(), user, Vec::new()).roles;
        assert_eq!(roles(user("agent", "")), ["buyer", "agent"]);
        assert_eq!(roles(user("customer", "buyer")), ["buyer", "customer"]);
        assert_eq!(roles(user("owner", "")), ["seller", "owner"]);
        assert_eq!(roles(user("buyer", "seller")), ["seller"], "a seller is no buyer, whatever else the row says");
    }

    #[test]
    fn what_a_client_presents_does_not_reach_a_log() {
        let handshake = Handshake { auth: json!({ "userId": "u1", "token": "secret" }), headers: HeaderMap::new() };
        assert_eq!(format!("{handshake:?}"), "Handshake { .. }");
    }
}
