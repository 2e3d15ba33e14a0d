//! Who a user is: what the database says of roles, stores and memberships.

use std::collections::HashSet;

use serde::Deserialize;
use sqlx::PgPool;

use super::{
    IdentityConfig,
    lookup::{Found, Lookup, NamedQuery},
};
use crate::{error::Error, gateway::Refused, identity::Identity};

/// Looks up who users are.
#[derive(Debug)]
pub(super) struct People(Source);

#[derive(Debug)]
enum Source {
    /// The marketplace's tables, as far as they are there.
    Marketplace { users: Lookup, stores: Lookup },
    /// The configuration's SQL.
    Configured(Lookup),
}

/// A user, as the database knows them.
#[derive(Debug)]
pub(super) struct Person {
    pub identity: Identity,
    /// False if the database says that they may not sign in any more: deleted, or not active.
    pub active: bool,
}

const USERS: &str = "sign_in_user";
const STORES: &str = "sign_in_stores";
const CONFIGURED: &str = "sign_in_identity";

/// The SQL that identities rest on.
pub(super) fn queries(config: &IdentityConfig) -> Vec<NamedQuery> {
    if let Some(sql) = &config.sql {
        let sql = sql.trim().trim_end_matches(';').to_owned();
        return vec![NamedQuery { name: CONFIGURED, forms: vec![sql] }];
    }
    // The second form does where the table lacks some of the columns; it needs the right to read all that it has.
    let users = [
        "select id::text as key, role::text, user_type::text, is_platform_admin::text, seller_id::text
         from users where id::text = any($1)",
        "select id::text as key, to_jsonb(users) ->> 'role' as role, to_jsonb(users) ->> 'user_type' as user_type,
           to_jsonb(users) ->> 'is_platform_admin' as is_platform_admin, to_jsonb(users) ->> 'seller_id' as seller_id
         from users where id::text = any($1)",
    ];
    let stores = "select user_id::text as key, store_owner_id::text as store, status::text = 'active' as active
         from user_store_memberships where user_id::text = any($1) and store_owner_id is not null";
    vec![
        NamedQuery { name: USERS, forms: users.map(str::to_owned).into() },
        NamedQuery { name: STORES, forms: vec![stores.to_owned()] },
    ]
}

/// A row of the table of users.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    role: Option<String>,
    user_type: Option<String>,
    is_platform_admin: Option<String>,
    seller_id: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Membership {
    store: String,
    active: Option<bool>,
}

/// A row of the configuration's SQL.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    roles: Option<Vec<String>>,
    stores: Option<Vec<String>>,
    admin: Option<bool>,
    active: Option<bool>,
}

impl People {
    pub fn new(config: &IdentityConfig, pool: &PgPool) -> Self {
        let mut lookups =
            queries(config).into_iter().map(|query| Lookup::new(pool.clone(), query, "to_jsonb(found) - 'key'"));
        let first = lookups.next().expect("one at least");
        Self(match lookups.next() {
            Some(stores) => Source::Marketplace { users: first, stores },
            None => Source::Configured(first),
        })
    }

    /// # Errors
    ///
    /// If the configuration's SQL can't be run.
    pub async fn check(&self) -> Result<(), Error> {
        match &self.0 {
            // What is missing of the marketplace, an application simply doesn't have.
            Source::Marketplace { users, stores } => {
                let remedy = "who users are can't be looked up";
                users.check_rights(remedy).await?;
                stores.check_rights(remedy).await
            }
            Source::Configured(lookup) => lookup.check("[auth.identity] sql: the database refuses it").await,
        }
    }

    /// # Errors
    ///
    /// [`Refused::Unavailable`] if the database doesn't answer in time.
    pub async fn find(&self, user_id: &str) -> Result<Person, Refused> {
        match &self.0 {
            Source::Marketplace { users, stores } => {
                let (user, stores) = tokio::try_join!(users.find::<User>(user_id), stores.find::<Membership>(user_id))?;
                Ok(of_the_marketplace(user_id, user, stores))
            }
            Source::Configured(lookup) => match lookup.find::<Row>(user_id).await? {
                Found::Rows(rows) => Ok(configured(user_id, rows)),
                Found::NoKey => Ok(Person { identity: Identity::default(), active: false }),
                Found::NotThere(error) => {
                    lookup.complain(&error, "[auth.identity] sql can't be run, so nobody can sign in");
                    let error = "the database could not be asked who you are; try again in a moment";
                    Err(Refused::Unavailable(error.to_owned()))
                }
            },
        }
    }
}

fn of_the_marketplace(user_id: &str, users: Found<User>, memberships: Found<Membership>) -> Person {
    let nobody = Identity { user_id: Some(user_id.to_owned()), ..Identity::default() };
    let Found::Rows(users) = users else {
        // An application that keeps its users elsewhere.
        return Person { identity: nobody, active: true };
    };
    let active = !users.is_empty();
    let memberships = match memberships {
        Found::Rows(rows) => rows,
        Found::NoKey | Found::NotThere(_) => Vec::new(),
    };
    let user = allowed(users.into_iter().next().unwrap_or_default(), &memberships);
    let lasting = memberships.into_iter().filter(|membership| membership.active == Some(true));
    let mut stores: Vec<String> = lasting.map(|membership| membership.store).collect();
    stores.sort_unstable();
    let identity = identity(user_id.to_owned(), user, stores);
    Person { identity, active }
}

/// A membership that was revoked goes before the store that the user's own row still names.
fn allowed(user: User, memberships: &[Membership]) -> User {
    let revoked = |store: &String| {
        let mut of_the_store = memberships.iter().filter(|membership| membership.store == *store).peekable();
        of_the_store.peek().is_some() && of_the_store.all(|membership| membership.active != Some(true))
    };
    User { seller_id: user.seller_id.filter(|store| !revoked(store)), ..user }
}

fn identity(user_id: String, user: User, shared_stores: Vec<String>) -> Identity {
    let mut stores: Vec<String> = user.seller_id.into_iter().chain(shared_stores).collect();
    let is_seller = matches!(user.role.as_deref(), Some("seller" | "owner"))
        || user.user_type.as_deref() == Some("seller")
        || !stores.is_empty();
    if is_seller {
        stores.insert(0, user_id.clone());
        keep_first(&mut stores);
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

/// What all rows say together; who has none has no roles, but may be signed in all the same.
fn configured(user_id: &str, rows: Vec<Row>) -> Person {
    let mut identity = Identity { user_id: Some(user_id.to_owned()), ..Identity::default() };
    let mut active = true;
    for row in rows {
        identity.roles.extend(row.roles.unwrap_or_default());
        identity.stores.extend(row.stores.unwrap_or_default());
        identity.admin |= row.admin.unwrap_or_default();
        active &= row.active.unwrap_or(true);
    }
    keep_first(&mut identity.roles);
    keep_first(&mut identity.stores);
    Person { identity, active }
}

/// Each once, where it stands first.
fn keep_first(names: &mut Vec<String>) {
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
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
    fn a_membership_that_was_revoked_goes_before_the_store_that_the_users_row_names() {
        let person = |memberships: &[(&str, bool)]| {
            let member = User { seller_id: Some("s9".to_owned()), ..user("customer", "") };
            let row = |(store, active): &(&str, bool)| Membership { store: (*store).to_owned(), active: Some(*active) };
            let memberships = memberships.iter().map(row).collect();
            of_the_marketplace("u1", Found::Rows(vec![member]), Found::Rows(memberships)).identity
        };
        assert_eq!(person(&[]).stores, ["u1", "s9"], "there are stores without memberships");
        assert_eq!(person(&[("s9", true)]).stores, ["u1", "s9"]);
        assert_eq!(person(&[("s9", false), ("s9", true)]).stores, ["u1", "s9"], "invited anew");
        let revoked = person(&[("s9", false)]);
        assert_eq!((revoked.stores, revoked.roles), (vec![], vec!["buyer".to_owned(), "customer".to_owned()]));
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
    fn several_rows_of_a_user_are_taken_together_and_one_can_lock_them_out() {
        let rows = |json| serde_json::from_str::<Vec<Row>>(json).expect("rows");
        let person = configured(
            "u1",
            rows(r#"[{"roles": ["a", "b"]}, {"roles": ["b"], "stores": ["s"], "admin": null}, {"admin": true}]"#),
        );
        assert_eq!(person.identity.roles, ["a", "b"]);
        assert_eq!(person.identity.stores, ["s"]);
        assert!(person.identity.admin && person.active);
        assert!(!configured("u1", rows(r#"[{"active": true}, {"active": false}]"#)).active);
        let nobody = configured("u1", Vec::new());
        assert!(nobody.active && !nobody.identity.admin && nobody.identity.roles.is_empty());
    }
}
