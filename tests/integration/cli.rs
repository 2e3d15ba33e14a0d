//! The command line: what is wrong is said in one message, with an exit code of its own, and the service stops and hands
//! over in order.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::json;

use crate::support::{
    client::Client,
    command::{Ran, rowcast, rowcast_command, run},
    database::Database,
    eventually, roles,
    service::{Process, connect, get, url, wait_until_ready},
};

/// A directory with files, removed when dropped.
pub struct Files(PathBuf);

impl Files {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let directory = std::env::temp_dir().join(format!("rowcast-test-files-{:016x}", fastrand::u64(..)));
        fs::create_dir(&directory).expect("a new directory");
        for (name, text) in files {
            fs::write(directory.join(name), text).expect("a file");
        }
        Self(directory)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// One message on stderr, and nothing of the program's inside or of the password.
#[track_caller]
fn assert_refused(ran: &Ran, code: i32, expected: &str, case: &str) {
    let Ran { stderr, stdout, .. } = ran;
    assert_eq!(ran.code, code, "{case}: {stderr}");
    assert!(stderr.contains(expected), "{case}: expected {expected:?} in {stderr}");
    // A command waits for the sessions of the one before it to be gone, and says so.
    let is_message = |line: &&str| line.starts_with("rowcast: ") && !line.ends_with("waiting for it");
    let messages: Vec<&str> = stderr.lines().filter(is_message).collect();
    assert!(messages.len() == 1 || code == 2, "{case}: expected one message, found {stderr}");
    for leak in ["panicked", "stack backtrace", "hunter2"] {
        assert!(!stderr.contains(leak) && !stdout.contains(leak), "{case}: {leak} in {stderr}{stdout}");
    }
}

const SERVE: [&str; 5] = ["serve", "--auth", "insecure", "--listen", "127.0.0.1:0"];

fn with_database(url: &str, name: &str) -> String {
    let (base, _) = url.rsplit_once('/').expect("a database");
    format!("{base}/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_database_url_is_explained_by_each_command() {
    let database = Database::empty().await;
    let no_such_database = with_database(&database.url, "no_such_database");
    let nobody = roles::url_of(&database.url, "rowcast_no_such_role:hunter2");
    let refused = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        format!("postgres://u:hunter2@{free}/shop")
    };
    for (url, code, expected) in [
        ("postgres://u:hunter2@no-such-host.invalid/shop", 5, "cannot reach the database"),
        (&refused, 5, "cannot reach the database"),
        (&nobody, 5, "refused the login"),
        (&no_such_database, 5, "Check the database's name"),
        ("mysql://u:hunter2@localhost/shop", 3, "must look like postgres://"),
        ("hunter2", 3, "must look like postgres://"),
        ("postgres://u:hunter2@localhost:port/shop", 3, "DATABASE_URL can't be read"),
        ("", 3, "DATABASE_URL"),
    ] {
        for command in [&["migrate"] as &[&str], &["uninstall", "--yes"], &["watch", "products"], &SERVE] {
            let ran = rowcast(url, command).await;
            assert_refused(&ran, code, expected, &format!("{url} {command:?}"));
        }
    }
    let ran = run(rowcast_command("").env_remove("DATABASE_URL").args(SERVE), "").await;
    assert_refused(&ran, 3, "DATABASE_URL is not set", "no DATABASE_URL");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_explained_without_printing_it() {
    let server = crate::support::server::Server::start(&["password_encryption=scram-sha-256"]).await;
    let database = Database::marketplace_on(&server.url).await;
    database.run("create role rowcast_locked login password 'right'").await;
    server.require_password("rowcast_locked").await;
    let wrong = roles::url_of(&database.url, "rowcast_locked:hunter2");
    for command in [&["migrate"] as &[&str], &SERVE] {
        assert_refused(&rowcast(&wrong, command).await, 5, "refused the login", &format!("{command:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_privilege_is_told_what_it_needs() {
    let unmigrated = Database::unmigrated().await;
    let migrated = Database::marketplace().await;
    let role = "rowcast_test_stranger";
    roles::create(&unmigrated, role).await;
    let stranger = |database: &Database| roles::url_of(&database.url, role);
    let ran = rowcast(&stranger(&unmigrated), &["migrate"]).await;
    assert_refused(&ran, 6, "as the owner of the application's tables, with CREATE on the database", "migrate");
    for (command, expected) in [
        (&SERVE as &[&str], "rowcast migrate --gateway-role"),
        (&["migrate"], "permission denied"),
        (&["migrate", "--down"], "permission denied"),
        (&["watch", "order_items"], "permission denied"),
        (&["unwatch", "products"], "permission denied"),
        (&["uninstall", "--yes"], "permission denied"),
    ] {
        let ran = rowcast(&stranger(&migrated), command).await;
        assert_refused(&ran, 6, expected, &format!("{command:?}"));
    }
    // Who may use the schema but doesn't own the table.
    migrated
        .run(&format!(
            "grant usage on schema rowcast to {role}; grant select on all tables in schema rowcast to {role}"
        ))
        .await;
    let ran = rowcast(&stranger(&migrated), &["watch", "order_items"]).await;
    assert_refused(&ran, 6, "as the owner of the application's tables", "watch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_as_expected_is_explained() {
    let unmigrated = Database::unmigrated().await;
    for command in [&SERVE as &[&str], &["watch", "products"], &["unwatch", "products"]] {
        let ran = rowcast(&unmigrated.url, command).await;
        assert_refused(&ran, 7, "never migrated", &format!("{command:?}"));
    }
    unmigrated.run("create schema rowcast").await;
    assert_refused(&rowcast(&unmigrated.url, &SERVE).await, 7, "never migrated", "an empty schema");

    let older = Database::marketplace().await;
    rowcast(&older.url, &["migrate", "--down"]).await.succeeded();
    assert_refused(&rowcast(&older.url, &SERVE).await, 7, "the database is at migration 4", "older");

    let newer = Database::marketplace().await;
    newer.run("insert into rowcast.migration (version, name) values (999, 'from the future')").await;
    for command in [&SERVE as &[&str], &["migrate"], &["migrate", "--dry-run"], &["migrate", "--down"]] {
        let ran = rowcast(&newer.url, command).await;
        assert_refused(&ran, 8, "use a newer rowcast", &format!("{command:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_catalog_is_explained_with_all_its_faults() {
    const RIGHT: &str = "[[room]]\nroom = \"user:{id}\"\njoin = \"true\"\n\n[[rule]]\nevent = \"a:b\"\ntable = \"t\"\non = [\"insert\"]\n";
    let database = Database::empty().await;
    for (rule, expected) in [
        ("to = [{ rooms = [\"user:{row.u}\"] }]\nwehn = \"true\"\n", "unknown key \"wehn\""),
        ("to = [{ rooms = [\"user:{row.u}\"] }]\nwhen = \"new.a <\"\n", "bad CEL `new.a <`"),
        ("to = [{ rooms = [\"elsewhere:{row.u}\"] }]\n", "elsewhere:{row.u}"),
        ("to = [", "not TOML"),
    ] {
        let files = Files::new(&[("rules.toml", &format!("{RIGHT}{rule}"))]);
        let mut arguments = SERVE.to_vec();
        arguments.extend(["--catalog", files.path()]);
        let ran = rowcast(&database.url, &arguments).await;
        assert_refused(&ran, 4, expected, expected);
        assert!(ran.stderr.contains("rules.toml:"), "the file and the line: {}", ran.stderr);
    }
    let both = format!("{RIGHT}to = [{{ rooms = [\"elsewhere:{{row.u}}\"] }}]\nwehn = \"true\"\n");
    let files = Files::new(&[("rules.toml", &both)]);
    let ran = rowcast(&database.url, &[&SERVE as &[&str], &["--catalog", files.path()]].concat()).await;
    assert!(ran.stderr.contains("wehn") && ran.stderr.contains("elsewhere"), "all faults at once: {}", ran.stderr);

    let empty = Files::new(&[]);
    let ran = rowcast(&database.url, &[&SERVE as &[&str], &["--catalog", empty.path()]].concat()).await;
    assert_refused(&ran, 4, "expected the catalog's *.toml files", "an empty directory");
    let ran = rowcast(&database.url, &[&SERVE as &[&str], &["--catalog", "/no/such/directory"]].concat()).await;
    assert_refused(&ran, 4, "can't be read", "no directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_explained() {
    let database = Database::empty().await;
    let unknown = Files::new(&[("rowcast.toml", "[capture]\nretension = \"1h\"\n")]);
    let malformed = Files::new(&[("rowcast.toml", "[capture]\nretention = \"soon\"\n")]);
    let setting = Files::new(&[("rowcast.toml", "[catalog.settings]\nlow_stock_treshold = 5\n")]);
    let of = |files: &Files| format!("{}/rowcast.toml", files.path());
    for (arguments, code, expected) in [
        (vec!["serve", "--listen", "127.0.0.1:0"], 3, "--auth insecure"),
        (vec!["serve", "--auth", "insecure", "--listen", "0.0.0.0:0"], 3, "loopback"),
        (vec!["serve", "--auth", "insecure", "--listen", "[::]:0"], 3, "loopback"),
        (vec!["serve", "--auth", "secret"], 2, "possible values"),
        (vec!["serve", "--auth", "insecure", "--listen", "localhost"], 2, "--listen"),
        (vec!["serve", "--auth", "insecure", "--config", &of(&unknown)], 3, "unknown field `retension`"),
        (vec!["serve", "--auth", "insecure", "--config", &of(&malformed)], 3, "retention"),
        (vec!["serve", "--auth", "insecure", "--config", &of(&setting)], 4, "low_stock_treshold"),
        (vec!["serve", "--auth", "insecure", "--config", "/no/such.toml"], 3, "cannot read the configuration"),
        (vec!["server"], 2, "serve"),
        (vec![], 2, "Usage"),
    ] {
        let ran = rowcast(&database.url, &arguments).await;
        assert_refused(&ran, code, expected, &format!("{arguments:?}"));
    }
    let ran = run(rowcast_command(&database.url).args(["serve", "--auth", "insecure"]).env("RUST_LOG", "=="), "").await;
    assert_refused(&ran, 3, "RUST_LOG", "RUST_LOG");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let database = Database::marketplace().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = rowcast(&database.url, &["serve", "--auth", "insecure", "--listen", &address]).await;
    assert_refused(&ran, 9, &address, "a port in use");
    assert!(ran.stderr.contains("another program listens there"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_that_nobody_could_hear_is_not_written() {
    let database = Database::marketplace().await;
    let announce = async |more: &[&str]| rowcast(&database.url, &[&["announce"], more].concat()).await;
    assert_refused(&announce(&["--title", " "]).await, 2, "expected a line of text", "an empty title");
    let files = Files::new(&[("rooms.toml", "[[room]]\nroom = \"user:{id}\"\njoin = \"true\"\n")]);
    let ran = announce(&["--title", "Hello", "--catalog", files.path()]).await;
    assert_refused(&ran, 4, "it has no [announcements]", "a catalog without recipients");
    database.run("drop table users cascade").await;
    assert_refused(&announce(&["--title", "Hello"]).await, 1, "nobody knows who is to hear it", "no users");
    assert_eq!(database.count("select count(*) from rowcast.notification").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_names_every_exit_code() {
    let help = rowcast("", &["--help"]).await.succeeded().stdout;
    for code in 0..=11 {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "{code} in {help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_service_with_0_and_tells_its_clients() {
    let database = Database::marketplace().await;
    let process = Process::start(&database.url).await.ready().await;
    let mut client = crate::support::service::connect(process.address, "seller-1").await;
    database.run("update products set stock = 50 where id = 'product-1'").await;
    client.event_named("product:stock_changed").await;

    assert!(process.terminate().await, "the exit code is 0");
    client.disconnected().await;
    // Its last act was to save the cursor and to leave.
    let sessions =
        "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'rowcast%'";
    eventually("its sessions are gone", async || database.count(sessions).await == 0).await;
    let unswept =
        "select count(*) from rowcast.change l, rowcast.cursor c where not pg_visible_in_snapshot(l.xid, c.snapshot)";
    assert_eq!(database.count(unswept).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_stands_by_and_takes_over_when_the_first_is_killed() {
    let database = Database::marketplace().await;
    let first = Process::start(&database.url).await.ready().await;
    let second = Process::start(&database.url).await;
    eventually("the second stands by and names the holder", async || {
        let (status, reason) = get(second.admin, "/readyz").await.unwrap();
        status == 503 && reason.contains("standing by") && reason.contains("rowcast doorbell")
    })
    .await;
    let refused = Client::connect(&url(second.address), json!({ "userId": "seller-1" })).await;
    assert!(refused.err().expect("a client would hear nothing here").0.contains("503"));
    let mut client = connect(first.address, "seller-1").await;
    client.emit_with_ack("ping", serde_json::Value::Null).await;
    database.run("update products set stock = 50 where id = 'product-1'").await;
    let event = client.event_named("product:stock_changed").await;
    let since = event["metadata"]["position"].clone();

    let killed = tokio::time::Instant::now();
    first.kill().await;
    database.run("update products set stock = 51 where id = 'product-1'").await;
    wait_until_ready(second.address).await;
    assert!(killed.elapsed() < Duration::from_secs(5), "it took over after {:?}", killed.elapsed());
    let auth = json!({ "userId": "seller-1", "since": since });
    let mut client = Client::connect(&url(second.address), auth).await.expect("the second serves now");
    let heard =
        client.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == 51).await;
    assert!(heard.iter().all(|(name, _)| name != "rowcast:resync"), "{heard:?}");
    assert!(second.terminate().await);
}
