//! The migrations: embedded files that record themselves, so that psql can run them just as well.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};

use crate::{
    config::DatabaseUrl,
    error::{Error, sqlstate},
};

/// A numbered step of the schema `rowcast`.
pub struct Migration {
    pub version: i32,
    pub name: &'static str,
    pub up: &'static str,
    pub down: &'static str,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            up: include_str!(concat!("../migrations/000", $version, "_", $name, ".up.sql")),
            down: include_str!(concat!("../migrations/000", $version, "_", $name, ".down.sql")),
        }
    };
}

/// All of them, in order.
pub const MIGRATIONS: [Migration; 5] = [
    migration!(1, "capture"),
    migration!(2, "watch_marketplace"),
    migration!(3, "inbox_and_schedules"),
    migration!(4, "identity"),
    migration!(5, "by_statement"),
];

/// The tables that the migrations watch where they exist, besides those of [`IDENTITY`].
pub const MARKETPLACE: [&str; 7] = [
    "products",
    "wholesale_invitations",
    "trade_quotations",
    "orders",
    "carts",
    "wholesale_orders",
    "wholesale_payments",
];

/// The tables that say who may hear what: of these only some columns are captured. They are watched where they exist and
/// have the columns that show what they are.
pub const IDENTITY: [&str; 4] = ["users", "user_store_memberships", "sessions", "session"];

/// A table that is locked is tried again so often; each try waits two seconds at most.
const TRIES: u32 = 15;
const PAUSE: Duration = Duration::from_millis(500);
const SETTINGS: &str = "set lock_timeout = '2s'; set client_min_messages = warning";

/// What a migration goes by where a publication is FOR ALL TABLES.
pub const PUBLISHED: &str = "set rowcast.published = on;";

/// How a table was found after a migration.
#[derive(Debug, PartialEq, Eq)]
pub enum Watched {
    Yes,
    /// It is there, but was unwatched by hand.
    No,
    Missing,
}

/// A connection that changes the schema; only one at a time works on a database.
pub struct Migrator {
    connection: PgConnection,
    progress: fn(&str),
}

impl Migrator {
    /// Connects, and waits for another migrator to end. `progress` is told what takes long.
    pub async fn connect(url: &DatabaseUrl, progress: fn(&str)) -> Result<Self, Error> {
        let options = url.for_pool()?.application_name("rowcast migrate");
        let connect = PgConnection::connect_with(&options);
        let mut connection = tokio::time::timeout(Duration::from_secs(10), connect).await.map_err(|_| {
            Error::Unreachable(
                "the database did not answer within 10 s; does DATABASE_URL name the right host and port?".into(),
            )
        })??;
        sqlx::raw_sql(SETTINGS).execute(&mut connection).await?;
        // (1919907683, 3): migrations. The doorbell has 1, the lease 2.
        let mut tries = 0;
        while !sqlx::query_scalar::<_, bool>("select pg_try_advisory_lock(1919907683, 3)")
            .fetch_one(&mut connection)
            .await?
        {
            tries += 1;
            if tries == 1 {
                progress("another migration is running on this database; waiting for it");
            }
            if tries > 60 {
                return Err(Error::Blocked("another migration has been running on this database for a minute; see pg_locks, locktype advisory, objid 3".into()));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(Self { connection, progress })
    }

    /// The connection, for what is not a migration.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Lets a migration go on where everything that the database has is published to subscribers.
    pub async fn allow_published(&mut self) -> Result<(), Error> {
        sqlx::raw_sql(PUBLISHED).execute(&mut self.connection).await?;
        Ok(())
    }

    /// The versions that have been applied.
    pub async fn applied(&mut self) -> Result<Vec<i32>, Error> {
        let exists: bool = sqlx::query_scalar("select to_regclass('rowcast.migration') is not null")
            .fetch_one(&mut self.connection)
            .await?;
        if !exists {
            return Ok(Vec::new());
        }
        Ok(sqlx::query_scalar("select version from rowcast.migration order by version")
            .fetch_all(&mut self.connection)
            .await?)
    }

    /// The migrations that are still to be applied; an error if the database is newer than this program.
    pub async fn pending(&mut self) -> Result<Vec<&'static Migration>, Error> {
        let applied = self.applied().await?;
        refuse_newer(applied.last().copied())?;
        Ok(MIGRATIONS.iter().filter(|migration| !applied.contains(&migration.version)).collect())
    }

    pub async fn up(&mut self, migration: &Migration) -> Result<(), Error> {
        self.run(migration.up).await
    }

    pub async fn down(&mut self, migration: &Migration) -> Result<(), Error> {
        self.run(migration.down).await
    }

    /// How each of the marketplace's tables stands.
    pub async fn marketplace(&mut self) -> Result<Vec<(&'static str, Watched)>, Error> {
        self.tables(&MARKETPLACE).await
    }

    /// How each of the tables stands that say who may hear what.
    pub async fn identity(&mut self) -> Result<Vec<(&'static str, Watched)>, Error> {
        self.tables(&IDENTITY).await
    }

    async fn tables(&mut self, names: &[&'static str]) -> Result<Vec<(&'static str, Watched)>, Error> {
        let mut tables = Vec::new();
        for table in names.iter().copied() {
            let row = sqlx::query(
                "select to_regclass($1) is not null, exists (select from rowcast.watched w where w.relation = to_regclass($1))",
            )
            .bind(format!("public.{table}"))
            .fetch_one(&mut self.connection)
            .await?;
            let watched = match (row.try_get(0)?, row.try_get(1)?) {
                (false, _) => Watched::Missing,
                (true, true) => Watched::Yes,
                (true, false) => Watched::No,
            };
            tables.push((table, watched));
        }
        Ok(tables)
    }

    /// Watches a table, named as in SQL: `products`, `shop.products`, `"Mixed Case"`. With `only`, no column but these, and
    /// of the columns `digest` a digest. By statement or by row, or as it is.
    ///
    /// A table that has such a list keeps it where nothing else is said: watching it again must not let a password hash
    /// into the log.
    pub async fn watch(
        &mut self,
        table: &str,
        exclude: &[String],
        only: Option<&[String]>,
        digest: &[String],
        by_statement: Option<bool>,
    ) -> Result<String, Error> {
        self.require_migrated().await?;
        if let Some(missing) = self.pending().await?.first() {
            return Err(Error::NotMigrated(format!(
                "the database is older than this program, it lacks migration {}; run `rowcast migrate`",
                missing.version
            )));
        }
        self.require_table(table).await?;
        let kept: Option<(Option<Vec<String>>, Vec<String>)> = match (exclude, only, digest) {
            ([], None, []) => {
                let listed =
                    "select only_columns, digest_columns from rowcast.watched where relation = to_regclass($1)";
                sqlx::query_as(listed).bind(table).fetch_optional(&mut self.connection).await?
            }
            _ => None,
        };
        let (only, digest) = match &kept {
            Some((only, digest)) => (only.as_deref(), digest.as_slice()),
            None => (only, digest),
        };
        self.patiently(async |connection: &mut PgConnection| {
            sqlx::query_scalar("select rowcast.watch(to_regclass($1), $2, $3, $4, $5)")
                .bind(table)
                .bind(exclude)
                .bind(only)
                .bind(digest)
                .bind(by_statement)
                .fetch_one(connection)
                .await
        })
        .await
    }

    /// The tables that inherit from a table and are not watched themselves: their rows call none of its triggers.
    pub async fn heirs(&mut self, table: &str) -> Result<Vec<String>, Error> {
        let heirs = "with recursive heir (relation) as (
               select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent = to_regclass($1)
               union select i.inhrelid from pg_catalog.pg_inherits i join heir h on h.relation = i.inhparent)
             select h.relation::regclass::text from heir h join pg_catalog.pg_class c on c.oid = h.relation
             where not c.relispartition and not exists (select from rowcast.watched w where w.relation = h.relation) order by 1";
        Ok(sqlx::query_scalar(heirs).bind(table).fetch_all(&mut self.connection).await?)
    }

    /// Undoes [`Migrator::watch`].
    pub async fn unwatch(&mut self, table: &str) -> Result<String, Error> {
        self.require_migrated().await?;
        self.require_table(table).await?;
        self.patiently(async |connection: &mut PgConnection| {
            sqlx::query_scalar("select rowcast.unwatch(to_regclass($1))").bind(table).fetch_one(connection).await
        })
        .await
    }

    /// The watched tables, as SQL names them, and the bytes that the change log takes; `None` where nothing is installed.
    pub async fn installed(&mut self) -> Result<Option<(Vec<String>, i64)>, Error> {
        if self.applied().await?.is_empty() {
            return Ok(None);
        }
        let tables =
            sqlx::query_scalar("select relation::text from rowcast.watched where schema <> 'rowcast' order by 1")
                .fetch_all(&mut self.connection)
                .await?;
        let bytes = sqlx::query_scalar(
            "select coalesce(sum(pg_total_relation_size(inhrelid)), 0)::bigint from pg_inherits where inhparent = to_regclass('rowcast.change')",
        )
        .fetch_one(&mut self.connection)
        .await?;
        Ok(Some((tables, bytes)))
    }

    async fn require_migrated(&mut self) -> Result<(), Error> {
        match self.applied().await?.is_empty() {
            true => Err(never_migrated()),
            false => Ok(()),
        }
    }

    async fn require_table(&mut self, table: &str) -> Result<(), Error> {
        let exists =
            sqlx::query_scalar("select to_regclass($1) is not null").bind(table).fetch_one(&mut self.connection).await;
        if exists.map_err(|error| named(error, table))? {
            return Ok(());
        }
        Err(Error::Configuration(format!(
            "there is no table {table}. Write it as in SQL: products, shop.products, or with quotes '\"Mixed Case\"'"
        )))
    }

    /// What stands between `begin;` and `commit;` runs as a whole, the rest statement by statement, so that no lock is held
    /// longer than its statement needs.
    async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        for statement in steps(sql) {
            self.patiently(async |connection: &mut PgConnection| {
                sqlx::raw_sql(statement).execute(connection).await.map(drop)
            })
            .await?;
        }
        // The file may have set them otherwise.
        sqlx::raw_sql(SETTINGS).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Runs `step` until it gets its locks, saying who is in the way.
    async fn patiently<T>(
        &mut self,
        step: impl AsyncFn(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, Error> {
        for attempt in 1.. {
            let error = match step(&mut self.connection).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            sqlx::raw_sql("rollback").execute(&mut self.connection).await.ok();
            let code = error.as_database_error().and_then(|db| db.code().map(|code| code.into_owned()));
            if code.as_deref() == Some(sqlstate::INSUFFICIENT_PRIVILEGE) {
                return Err(Error::Denied(format!(
                    "{}. Run this as the owner of the application's tables, with CREATE on the database",
                    error.as_database_error().map(|db| db.message()).unwrap_or_default()
                )));
            }
            if !matches!(code.as_deref(), Some(sqlstate::LOCK_NOT_AVAILABLE | sqlstate::DEADLOCK_DETECTED)) {
                return Err(error.into());
            }
            let blockers = self.blockers().await?;
            if attempt == TRIES {
                return Err(Error::Blocked(format!(
                    "gave up waiting for a lock after {TRIES} tries; run it again later, it goes on where it stopped. In the way:\n{blockers}"
                )));
            }
            (self.progress)(&format!("waiting for a lock (try {attempt} of {TRIES}); in the way:\n{blockers}"));
            tokio::time::sleep(PAUSE).await;
        }
        unreachable!("the last try returns")
    }

    /// Who holds locks on the tables that are watched or are to be: pid, since when, and the query. Readers are in the way
    /// of those alone who take triggers off.
    async fn blockers(&mut self) -> Result<String, Error> {
        let rows: Vec<String> = sqlx::query_scalar(
            "select format('  pid %s, %s, in a transaction since %s, %s: %s', a.pid, l.relation::regclass,
                           to_char(a.xact_start, 'HH24:MI:SS'), a.state, left(regexp_replace(a.query, '\\s+', ' ', 'g'), 160))
             from pg_locks l join pg_stat_activity a using (pid) join pg_class c on c.oid = l.relation
             join pg_namespace n on n.oid = c.relnamespace
             where l.granted and a.pid <> pg_backend_pid() and c.relkind in ('r', 'p')
               and (l.mode <> 'AccessShareLock'
                    or exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = '_rowcast_capture')
                       and a.xact_start < now() - interval '1 second')
               and n.nspname not in ('pg_catalog', 'information_schema')
               and l.database = (select oid from pg_database where datname = current_database())
             order by a.xact_start limit 8",
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(if rows.is_empty() { "  nobody any more".into() } else { rows.join("\n") })
    }
}

/// A migration's statements, and its transactions, each as a whole. A line that ends in `;` ends a statement, but within `$$`.
fn steps(sql: &'static str) -> Vec<&'static str> {
    let (mut steps, mut began, mut at) = (Vec::new(), 0, 0);
    let (mut in_body, mut in_transaction) = (false, false);
    for line in sql.split_inclusive('\n') {
        at += line.len();
        let statement = line.trim_end();
        in_body ^= statement.matches("$$").count() % 2 == 1;
        in_transaction = (in_transaction || statement == "begin;") && statement != "commit;";
        if statement.ends_with(';') && !statement.starts_with("--") && !in_body && !in_transaction {
            steps.push(&sql[began..at]);
            began = at;
        }
    }
    if !sql[began..].trim().is_empty() {
        steps.push(&sql[began..]);
    }
    steps
}

/// What `rowcast serve` needs of a database, checked before it starts.
///
/// Asked in one message each, with nothing prepared: behind a transaction pooler the answer would be to a question that
/// somebody else prepared.
pub async fn require_current(pool: &sqlx::PgPool) -> Result<(), Error> {
    const EXISTS: &str = "select to_regnamespace('rowcast') is not null";
    const NEWEST: &str = "select max(version) from rowcast.migration";
    if !sqlx::raw_sql(EXISTS).fetch_one(pool).await?.try_get::<bool, _>(0)? {
        return Err(never_migrated());
    }
    let newest = sqlx::raw_sql(NEWEST).fetch_one(pool).await.and_then(|row| row.try_get::<Option<i32>, _>(0));
    let newest = newest.map_err(|error| match error.as_database_error().and_then(|db| db.code()).as_deref() {
        Some(sqlstate::INSUFFICIENT_PRIVILEGE) => Error::Denied(
            "this role may not read the schema rowcast; let its owner run: rowcast migrate --gateway-role ROLE".into(),
        ),
        Some(sqlstate::UNDEFINED_TABLE | sqlstate::INVALID_SCHEMA) => never_migrated(),
        _ => error.into(),
    })?;
    refuse_newer(newest)?;
    let current = MIGRATIONS[MIGRATIONS.len() - 1].version;
    match newest {
        Some(version) if version == current => Ok(()),
        found => Err(Error::NotMigrated(format!(
            "the database is at migration {}, this program needs {current}; run `rowcast migrate`",
            found.unwrap_or(0)
        ))),
    }
}

fn never_migrated() -> Error {
    Error::NotMigrated(
        "this database was never migrated: there is no schema rowcast. Run `rowcast migrate` first".into(),
    )
}

fn refuse_newer(newest: Option<i32>) -> Result<(), Error> {
    let known = MIGRATIONS[MIGRATIONS.len() - 1].version;
    match newest {
        Some(found) if found > known => Err(Error::Newer(format!(
            "the database is at migration {found}, this program knows up to {known}; use a newer rowcast"
        ))),
        _ => Ok(()),
    }
}

/// An error about a name that the user typed, such as `a.b.c.d`.
fn named(error: sqlx::Error, table: &str) -> Error {
    match error.as_database_error() {
        Some(db) => Error::Configuration(format!("{table}: {}", db.message())),
        None => error.into(),
    }
}
