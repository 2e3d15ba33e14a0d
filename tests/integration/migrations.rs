//! What `rowcast migrate`, `uninstall` and `watch` put into the application's database, and take out again.

use crate::support::{
    command::{Ran, dump, psql, rowcast},
    database::Database,
};

/// Every object of the schema rowcast, as text.
async fn objects(database: &Database) -> Vec<String> {
    let rows = database.client.query(
        "select pg_describe_object(classid, objid, 0) from pg_depend
         where refclassid = 'pg_namespace'::regclass and refobjid = to_regnamespace('rowcast')
         union all select format('trigger %s on %s', tgname, tgrelid::regclass) from pg_trigger where not tgisinternal
         order by 1",
        &[],
    );
    rows.await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The statements of a dump, without comments and blank lines.
fn statements(dump: &str) -> Vec<String> {
    let lines: Vec<&str> = dump.lines().filter(|line| !line.starts_with("--") && !line.trim().is_empty()).collect();
    lines.join("\n").split_inclusive(";\n").map(|statement| statement.trim().to_owned()).collect()
}

fn migration_file(name: &str) -> String {
    format!("{}/migrations/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_applications_schema_gains_triggers_alone_and_uninstall_takes_them_away() {
    let database = Database::unmigrated().await;
    let Some(before) = dump(&database.url).await else { return };

    rowcast(&database.url, &["migrate"]).await.succeeded();
    let migrated = dump(&database.url).await.expect("as before");
    let (mut expected, found) = (statements(&before), statements(&migrated));
    let added: Vec<&String> = found.iter().filter(|statement| !expected.contains(statement)).collect();
    for statement in &added {
        let ours = statement.starts_with("CREATE TRIGGER rowcast_capture AFTER INSERT OR DELETE OR UPDATE ON public.")
            || statement.starts_with("CREATE TRIGGER rowcast_truncate AFTER TRUNCATE ON public.");
        assert!(ours && statement.contains(" EXECUTE FUNCTION rowcast.capture("), "{statement}");
    }
    assert_eq!(added.len(), 14, "two on each of seven tables");
    expected.extend(added.into_iter().cloned());
    let sorted = |mut statements: Vec<String>| {
        statements.sort();
        statements
    };
    assert_eq!(sorted(expected), sorted(found), "nothing was changed or taken away");

    rowcast(&database.url, &["uninstall", "--yes"]).await.succeeded();
    assert_eq!(dump(&database.url).await.expect("as before"), before, "byte by byte");
    assert!(objects(&database).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_names_no_table_of_the_marketplace_where_there_is_none() {
    let database = Database::empty().await;
    let said = rowcast(&database.url, &["migrate"]).await.succeeded().stdout;
    assert_eq!(
        said.lines().last(),
        Some("none of the marketplace's tables is here; to watch yours: rowcast watch TABLE"),
        "{said}"
    );
    assert!(!said.contains("missing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_is_safe_to_repeat_and_says_how_the_tables_stand() {
    let database = Database::unmigrated().await;
    database.run("drop table wholesale_payments; drop table carts").await;
    let first = rowcast(&database.url, &["migrate"]).await.succeeded().stdout;
    assert!(first.contains("applied  0001 capture") && first.contains("applied  0002 watch_marketplace"), "{first}");
    assert!(first.contains("watched  products"), "{first}");
    assert!(first.contains("missing  carts; once it is there: rowcast watch carts"), "{first}");
    let installed = objects(&database).await;

    let second = rowcast(&database.url, &["migrate"]).await.succeeded().stdout;
    assert!(second.contains("up to date at 0005") && !second.contains("applied"), "{second}");
    assert_eq!(objects(&database).await, installed);

    database.run("create table carts (id int primary key, items jsonb)").await;
    let watched = rowcast(&database.url, &["watch", "carts"]).await.succeeded().stdout;
    assert_eq!(watched, "watched  carts\n");
    database.run("insert into carts values (1, '[]')").await;
    assert_eq!(database.count(r#"select count(*) from rowcast.change where "table" = 'carts'"#).await, 1);

    rowcast(&database.url, &["unwatch", "carts"]).await.succeeded();
    let third = rowcast(&database.url, &["migrate"]).await.succeeded().stdout;
    assert!(third.contains("not watched  carts"), "what was unwatched by hand stays so: {third}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_changes_nothing_and_its_output_runs_through_psql() {
    let database = Database::unmigrated().await;
    let before = objects(&database).await;
    let dry = rowcast(&database.url, &["migrate", "--dry-run"]).await.succeeded();
    assert_eq!(objects(&database).await, before);
    assert_eq!(database.count("select count(*) from pg_namespace where nspname = 'rowcast'").await, 0);

    let Some(ran) = psql(&database.url, &["-q"], &dry.stdout).await else { return };
    ran.succeeded();
    let migrate = rowcast(&database.url, &["migrate"]).await.succeeded().stdout;
    assert!(migrate.contains("up to date"), "{migrate}");
    let nothing = rowcast(&database.url, &["migrate", "--dry-run"]).await.succeeded();
    assert!(nothing.stdout.is_empty() && nothing.stderr.contains("up to date"), "{nothing:?}");

    let down = rowcast(&database.url, &["migrate", "--down", "--dry-run"]).await.succeeded().stdout;
    let installed = objects(&database).await;
    assert!(down.contains("delete from rowcast.migration where version = 5"), "{down}");
    assert_eq!(objects(&database).await, installed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_run_with_psql_alone_and_migrate_then_finds_nothing_to_do() {
    let (by_psql, by_rowcast) = (Database::unmigrated().await, Database::unmigrated().await);
    for file in [
        "0001_capture.up.sql",
        "0002_watch_marketplace.up.sql",
        "0003_inbox_and_schedules.up.sql",
        "0005_timeline.up.sql",
    ] {
        let Some(ran) = psql(&by_psql.url, &["-q", "-f", &migration_file(file)], "").await else { return };
        ran.succeeded();
    }
    let migrate = rowcast(&by_psql.url, &["migrate"]).await.succeeded().stdout;
    assert!(migrate.contains("up to date"), "{migrate}");
    rowcast(&by_rowcast.url, &["migrate"]).await.succeeded();
    assert_eq!(objects(&by_psql).await, objects(&by_rowcast).await);

    for file in [
        "0005_timeline.down.sql",
        "0003_inbox_and_schedules.down.sql",
        "0002_watch_marketplace.down.sql",
        "0001_capture.down.sql",
    ] {
        psql(&by_psql.url, &["-q", "-f", &migration_file(file)], "").await.expect("as before").succeeded();
    }
    assert!(objects(&by_psql).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn down_undoes_one_migration_at_a_time_until_nothing_is_left() {
    let database = Database::marketplace().await;
    database.run("select rowcast.watch('order_items')").await;
    let triggers = "select count(*) from pg_trigger t join pg_class c on c.oid = t.tgrelid
                    where t.tgname like 'rowcast%' and c.relnamespace = 'public'::regnamespace";

    let first = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(first.contains("undone   0005"), "{first}");
    let next = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(next.contains("undone   0003"), "{next}");
    let next = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(next.contains("undone   0002"), "{next}");
    assert_eq!(database.count(triggers).await, 2, "what was watched by hand stays");
    let second = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(second.contains("undone   0001"), "{second}");
    assert!(objects(&database).await.is_empty());
    let third = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(third.contains("nothing to undo"), "{third}");

    rowcast(&database.url, &["migrate"]).await.succeeded();
    assert_eq!(database.count(triggers).await, 14);
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_asks_and_without_a_terminal_takes_that_for_a_no() {
    let database = Database::marketplace().await;
    let Ran { code, stdout, stderr } = rowcast(&database.url, &["uninstall"]).await;
    assert_eq!(code, 11, "{stderr}");
    assert!(
        stderr.contains("--yes") && stdout.contains("the triggers of") && stdout.contains("products"),
        "{stdout}{stderr}"
    );
    assert_eq!(database.count("select count(*) from rowcast.watched where schema = 'public'").await, 7);

    rowcast(&database.url, &["uninstall", "--yes"]).await.succeeded();
    let again = rowcast(&database.url, &["uninstall"]).await.succeeded().stdout;
    assert!(again.contains("nothing to take out"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstall_after_the_application_renamed_and_dropped_tables_leaves_nothing() {
    let database = Database::marketplace().await;
    database.run(r#"alter table products rename to "Pro ducts"; drop table carts; create schema shop; alter table orders set schema shop"#).await;
    rowcast(&database.url, &["uninstall", "--yes"]).await.succeeded();
    assert!(objects(&database).await.is_empty());
    database.run(r#"update "Pro ducts" set stock = 1; update shop.orders set status = 'shipped'"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn excluded_columns_are_nowhere_in_the_log_and_alone_log_nothing() {
    let database = Database::marketplace().await;
    database.run("create table secrets (id int primary key, name text, token text, blob bytea)").await;
    let watch = ["watch", "secrets", "--exclude", "token,blob", "no_such_column"];
    assert_eq!(rowcast(&database.url, &watch).await.succeeded().stdout, "watched  secrets\n");
    database
        .run(
            "insert into secrets values (1, 'a', 'hunter2', '\\xdeadbeef');
             update secrets set token = 'hunter2 again', blob = '\\xdeadbeef01';
             update secrets set name = 'b', token = 'hunter2';
             delete from secrets",
        )
        .await;
    let log = database.client.query("select op::text, old::text, new::text from rowcast.change order by id", &[]).await;
    let log: Vec<(String, Option<String>, Option<String>)> =
        log.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let (a, b) = (Some(r#"{"id": 1, "name": "a"}"#.to_owned()), Some(r#"{"id": 1, "name": "b"}"#.to_owned()));
    let expected = [("I", None, a.clone()), ("U", a, b.clone()), ("D", b, None)];
    assert_eq!(log, expected.map(|(op, old, new)| (op.to_owned(), old, new)));

    assert_eq!(rowcast(&database.url, &watch).await.succeeded().stdout, "unchanged  secrets\n");
    // Named again without them, all columns are captured.
    rowcast(&database.url, &["watch", "secrets"]).await.succeeded();
    database.run("insert into secrets values (2, 'c', 'shown', null)").await;
    assert_eq!(database.count("select count(*) from rowcast.change where new ->> 'token' = 'shown'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tables_can_be_watched_and_a_name_is_taken_as_in_sql() {
    let database = Database::marketplace().await;
    database
        .run(r#"create view cheap as select * from products; create schema shop; create table shop."Odd ""Name" (id int)"#)
        .await;
    for (table, code, expected) in [
        ("cheap", 1, "cheap is not a table"),
        ("pg_catalog.pg_class", 1, "cannot be watched"),
        ("rowcast.cursor", 1, "cannot be watched"),
        ("rowcast.change", 1, "cannot be watched"),
        ("information_schema.sql_features", 1, "cannot be watched"),
        ("no_such_table", 3, "there is no table no_such_table"),
        ("Odd \"Name", 3, "Odd \"Name"),
        ("a.b.c.d", 3, "a.b.c.d"),
        ("products; drop table products", 3, "products; drop table products"),
    ] {
        for command in ["watch", "unwatch"] {
            let ran = rowcast(&database.url, &[command, table]).await;
            if command == "unwatch" && code == 1 {
                assert_eq!(ran.succeeded().stdout, format!("unchanged  {table}\n"));
                continue;
            }
            assert_eq!(ran.code, code, "{command} {table}: {}", ran.stderr);
            assert!(ran.stderr.contains(expected), "{command} {table}: {}", ran.stderr);
            assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        }
    }
    let odd = r#"shop."Odd ""Name""#;
    assert_eq!(rowcast(&database.url, &["watch", odd]).await.succeeded().stdout, format!("watched  {odd}\n"));
    assert_eq!(rowcast(&database.url, &["unwatch", odd]).await.succeeded().stdout, format!("unwatched  {odd}\n"));
    assert_eq!(rowcast(&database.url, &["unwatch", odd]).await.succeeded().stdout, format!("unchanged  {odd}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_migrations_at_once_wait_for_each_other() {
    let database = Database::unmigrated().await;
    let migrate = || rowcast(&database.url, &["migrate"]);
    let (first, second) = tokio::join!(migrate(), migrate());
    let (first, second) = (first.succeeded().stdout, second.succeeded().stdout);
    let (applied, idle) = if first.contains("applied") { (first, second) } else { (second, first) };
    assert!(applied.contains("applied  0001") && applied.contains("applied  0002"), "{applied}");
    assert!(idle.contains("up to date at 0005"), "{idle}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_function_passes_plpgsql_check() {
    let database = Database::marketplace().await;
    if let Err(error) = database.client.batch_execute("create extension plpgsql_check").await {
        eprintln!("skipped: {}", error.as_db_error().map_or("no answer", |db| db.message()));
        return;
    }
    let functions = database.client.query(
        "select p.oid::regprocedure::text, check_line
         from pg_proc p join pg_language l on l.oid = p.prolang
         cross join lateral plpgsql_check_function(
           p.oid, case when p.prorettype = 'trigger'::regtype then 'products'::regclass else 0 end::regclass,
           security_warnings => true) as check_line
         where p.pronamespace = 'rowcast'::regnamespace and l.lanname = 'plpgsql'",
        &[],
    );
    let complaints: Vec<(String, String)> =
        functions.await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let checked = "select count(*) from pg_proc where pronamespace = 'rowcast'::regnamespace";
    assert!(database.count(checked).await >= 5);
    assert!(complaints.is_empty(), "{complaints:#?}");
}
