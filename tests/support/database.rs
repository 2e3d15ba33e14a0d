//! A database for one test: cloned from a template that holds the sample marketplace, migrated.

use std::{
    collections::hash_map::DefaultHasher,
    env,
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU32, Ordering},
};

use rowcast::{
    config::DatabaseUrl,
    migrate::{MIGRATIONS, Migrator},
};
use tokio_postgres::{Client, NoTls, Row, types::ToSql};

pub const SCHEMA: &str = include_str!("../../examples/marketplace/schema.sql");
pub const SEED: &str = include_str!("../../examples/marketplace/seed.sql");
/// How many changes capture had to let go.
pub const LOST: &str = "select case when is_called then last_value else 0 end from rowcast.loss";

/// Dropped at the end of its test, on success and on failure.
pub struct Database {
    pub url: String,
    pub client: Client,
    name: String,
    server: String,
}

/// The URL of the server's superuser, which `make test` sets.
pub fn server_url() -> String {
    env::var("ROWCAST_TEST_DATABASE_URL").expect(
        "ROWCAST_TEST_DATABASE_URL is not set: run `make test`, or set it to the URL of a throw-away Postgres' superuser",
    )
}

/// Connects; the connection ends when the client is dropped.
pub async fn connect(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    tokio::spawn(connection);
    client
}

fn with_database(server: &str, name: &str) -> String {
    let (base, _) = server.rsplit_once('/').expect("postgres://user@host:port/database");
    format!("{base}/{name}")
}

fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("rowcast_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Database {
    /// The sample marketplace, watched.
    pub async fn marketplace() -> Self {
        let server = server_url();
        Self::marketplace_on(&server).await
    }

    /// The same on another server.
    pub async fn marketplace_on(server: &str) -> Self {
        let admin = connect(server).await;
        let template = template(&admin, server).await;
        Self::create(&admin, server, &format!("template {template}")).await
    }

    /// The sample marketplace as it was before rowcast came.
    pub async fn unmigrated() -> Self {
        let server = server_url();
        let database = Self::create(&connect(&server).await, &server, "").await;
        database.run(SCHEMA).await;
        database.run(SEED).await;
        database
    }

    /// A database with nothing in it.
    pub async fn empty() -> Self {
        Self::empty_on(&server_url()).await
    }

    /// The same on another server.
    pub async fn empty_on(server: &str) -> Self {
        Self::create(&connect(server).await, server, "").await
    }

    async fn create(admin: &Client, server: &str, options: &str) -> Self {
        let name = fresh_name();
        admin.batch_execute(&format!("create database {name} {options}")).await.expect("create database");
        let url = with_database(server, &name);
        Self { client: connect(&url).await, url, name, server: server.to_owned() }
    }

    pub fn database_url(&self) -> DatabaseUrl {
        DatabaseUrl::parse(&self.url).expect("a URL")
    }

    pub async fn migrate(&self) {
        migrate(&self.url).await;
    }

    /// Another connection.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await
    }

    /// Runs statements, each failure a panic that shows them.
    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub async fn row(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Row {
        self.client.query_one(sql, parameters).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// One number.
    pub async fn count(&self, sql: &str) -> i64 {
        self.row(sql, &[]).await.get(0)
    }
}

async fn migrate(url: &str) {
    let url = DatabaseUrl::parse(url).expect("a URL");
    let mut migrator = Migrator::connect(&url, |_| {}).await.expect("connect to migrate");
    for migration in migrator.pending().await.expect("pending") {
        migrator.up(migration).await.expect(migration.name);
    }
}

/// Makes the template once for each server and version of what is in it; processes that need it at once wait here.
async fn template(admin: &Client, server: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (SCHEMA, SEED).hash(&mut hasher);
    MIGRATIONS.iter().for_each(|migration| migration.up.hash(&mut hasher));
    let name = format!("rowcast_template_{:x}", hasher.finish());

    const LOCK: i64 = 1_919_907_683;
    admin.execute("select pg_advisory_lock($1)", &[&LOCK]).await.expect("lock");
    let ready =
        admin.query_opt("select from pg_database where datname = $1 and datistemplate", &[&name]).await.expect("look");
    if ready.is_none() {
        admin.batch_execute(&format!("drop database if exists {name}")).await.expect("drop a half-made template");
        admin.batch_execute(&format!("create database {name}")).await.expect("create the template");
        let url = with_database(server, &name);
        {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connect to the template");
            let driver = tokio::spawn(connection);
            client.batch_execute(SCHEMA).await.expect("schema.sql");
            client.batch_execute(SEED).await.expect("seed.sql");
            drop(client);
            driver.await.expect("no panic").expect("the connection ends well");
        }
        migrate(&url).await;
        // A backend that is on its way out still counts as a user of the template.
        super::eventually("nobody is connected to the template", async || {
            let others = admin.query_one("select count(*) from pg_stat_activity where datname = $1", &[&name]).await;
            others.expect("count").get::<_, i64>(0) == 0
        })
        .await;
        admin.batch_execute(&format!("alter database {name} is_template true")).await.expect("mark as template");
    }
    admin.execute("select pg_advisory_unlock($1)", &[&LOCK]).await.expect("unlock");
    name
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A thread with a runtime of its own, since this may run while the test's one is panicking.
        let drop = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                if let Ok((admin, connection)) = tokio_postgres::connect(&server, NoTls).await {
                    tokio::spawn(connection);
                    admin.batch_execute(&format!("drop database if exists {name} with (force)")).await.ok();
                }
            });
        });
        drop.join().ok();
    }
}
