//! The marketplace as it is kept where nobody is superuser: one role owns it and migrates, another runs the service.

use super::{
    command::rowcast,
    database::{Database, SCHEMA, SEED},
    service::Service,
};

/// Owns the marketplace and the schema `rowcast`.
pub const OWNER: &str = "rowcast_test_owner";
/// Runs the service.
pub const GATEWAY: &str = "rowcast_test_gateway";

/// Makes a role unless it is there; it stays, as the server is thrown away.
pub async fn create(database: &Database, role: &str) {
    database
        .run(&format!(
            "do $$ begin create role {role} login; exception when duplicate_object or unique_violation then null; end $$"
        ))
        .await;
}

/// The marketplace, owned by [`OWNER`], as it was before rowcast came.
pub async fn unmigrated() -> Database {
    owned(Database::empty().await).await
}

/// Has a database's marketplace be made by its owner.
async fn owned(database: Database) -> Database {
    create(&database, OWNER).await;
    let name: String = database.row("select current_database()::text", &[]).await.get(0);
    // Before Postgres 15 everybody may create objects in `public`.
    database
        .run(&format!(
            "grant create on database {name} to {OWNER}; alter schema public owner to {OWNER};
             revoke create on schema public from public"
        ))
        .await;
    database.run(&format!("set role {OWNER}; {SCHEMA}; {SEED}; reset role")).await;
    database
}

/// The marketplace, migrated by its owner, who lets the gateway run the built-in catalog's queries.
pub async fn marketplace() -> Database {
    let database = unmigrated().await;
    create(&database, GATEWAY).await;
    let owner = url_of(&database.url, OWNER);
    rowcast(&owner, &["migrate", "--gateway-role", GATEWAY]).await.succeeded();
    database
}

/// Starts the service as the gateway's role.
pub async fn service(database: &mut Database) -> Service {
    let as_gateway = url_of(&database.url, GATEWAY);
    let own = std::mem::replace(&mut database.url, as_gateway);
    let service = Service::start(database).await;
    database.url = own;
    service
}

/// The same URL for another role.
pub fn url_of(url: &str, role: &str) -> String {
    let (_, rest) = url.split_once('@').expect("postgres://user@host:port/database");
    format!("postgres://{role}@{rest}")
}
