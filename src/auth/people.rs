//! Who a user is: what the application's tables say of roles, stores and memberships.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};

use crate::{gateway::Refused, identity::Identity};

/// How long a client waits for the database at most.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Looks up who users are.
#[derive(Debug, Clone)]
pub struct People {
    pool: PgPool,
}

impl People {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// # Errors
    ///
    /// [`Refused::Unavailable`] if the database doesn't answer in time.
    pub async fn identity(&self, user_id: &str) -> Result<Identity, Refused> {
        match tokio::time::timeout(DATABASE_TIMEOUT, look_up(&self.pool, user_id.to_owned())).await {
            Ok(Ok(identity)) => Ok(identity),
            Ok(Err(error)) => {
                tracing::warn!(%error, "sign-in could not look the user up");
                let error = "the database could not be asked who you are; try again in a moment";
                Err(Refused::Unavailable(error.to_owned()))
            }
            Err(_) => Err(Refused::Unavailable(format!(
                "the database did not answer within {} s who you are; try again in a moment",
                DATABASE_TIMEOUT.as_secs()
            ))),
        }
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
    use super::*;

    fn user(role: &str, user_type: &str) -> User {
        User { role: Some(role.to_owned()), user_type: Some(user_type.to_owned()), ..User::default() }
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
}
