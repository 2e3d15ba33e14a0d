//! The role that runs the service: it may run the catalog's queries, and nothing else of the application's.

use std::process::Stdio;

use rowcast::catalog::Catalog;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_postgres::Client as Session;

use super::cli::Files;
use crate::support::{
    command::{psql, rowcast, rowcast_command},
    database::{Database, connect},
    roles::{self, GATEWAY, OWNER, url_of},
    service,
};

async fn as_gateway(database: &Database) -> Session {
    connect(&url_of(&database.url, GATEWAY)).await
}

/// The SQLSTATE that a statement fails with, undone if it doesn't; `None` if it succeeds.
async fn refusal(session: &Session, statement: &str) -> Option<String> {
    session.batch_execute("begin").await.unwrap();
    let outcome = session.batch_execute(statement).await;
    session.batch_execute("rollback").await.unwrap();
    outcome.err().map(|error| error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned()))
}

const DENIED: Option<&str> = Some("42501");

/// Everything that can be read or written in the application's schemas: its name in SQL, and its kind.
async fn objects(database: &Database) -> Vec<(String, String)> {
    let found = database.client.query(
        "select format('%I.%I', n.nspname, c.relname), c.relkind::text
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'S') and n.nspname not like 'pg\\_%'
           and n.nspname not in ('information_schema', 'rowcast') order by 1",
        &[],
    );
    found.await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Statements that touch an object without needing to know its columns.
fn touches(object: &str, kind: &str) -> Vec<String> {
    match kind {
        "S" => vec![
            format!("select * from {object}"),
            format!("select nextval('{object}')"),
            format!("select setval('{object}', 7)"),
            format!("alter sequence {object} restart"),
        ],
        "m" => vec![format!("select * from {object}"), format!("refresh materialized view {object}")],
        "v" => vec![
            format!("select * from {object}"),
            format!("insert into {object} default values"),
            format!("update {object} set id = id"),
            format!("delete from {object}"),
            format!("drop view {object}"),
        ],
        _ => vec![
            format!("select * from {object}"),
            format!("select count(*) from {object}"),
            format!("insert into {object} default values"),
            format!("update {object} set ctid = ctid"),
            format!("delete from {object}"),
            format!("truncate {object}"),
            format!("lock table {object} in row exclusive mode"),
            format!("copy {object} to stdout"),
            format!("alter table {object} add column rowcast int"),
            format!("drop table {object}"),
            format!("create trigger t after insert on {object} for each row execute function rowcast.capture()"),
        ],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_can_t_read_or_write_anything_of_the_application() {
    let database = roles::marketplace().await;
    database
        .run(&format!(
            "set role {OWNER};
             create table numbered (id serial primary key, n int generated always as identity);
             create view cheap as select * from products;
             create materialized view counted as select count(*) from orders;
             create schema shop; create table shop.\"Odd \"\"Name\" (id int) partition by list (id);
             reset role"
        ))
        .await;
    let gateway = as_gateway(&database).await;
    let owner = connect(&url_of(&database.url, OWNER)).await;
    let objects = objects(&database).await;
    assert!(objects.len() > 18, "{objects:?}");
    for (object, kind) in &objects {
        for statement in touches(object, kind) {
            let refused = refusal(&gateway, &statement).await;
            // An UPDATE of a system column is refused before anybody asks who it is.
            let expected = if statement.contains("ctid") { refused.is_some() } else { refused.as_deref() == DENIED };
            assert!(expected, "{statement}: {refused:?}");
        }
        // The owner, who asks the same, is let.
        assert_eq!(refusal(&owner, &format!("select * from {object}")).await, None, "{object}");
    }
    let rights = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                  where n.nspname in ('public', 'shop') and c.relkind in ('r', 'p', 'v', 'm')
                    and (has_table_privilege($1, c.oid, 'select, insert, update, delete, truncate, references, trigger')
                         or has_any_column_privilege($1, c.oid, 'select, insert, update, references'))";
    assert_eq!(database.row(rights, &[&GATEWAY]).await.get::<_, i64>(0), 0);
    for statement in [
        "create table public.mine (id int)",
        "create function public.mine() returns int language sql as 'select 1'",
        "create schema mine",
        "create role mine",
        "alter role current_user superuser",
        "create extension pgcrypto",
        "copy (select 1) to program 'true'",
        "select pg_read_file('/etc/passwd')",
    ] {
        assert_eq!(refusal(&gateway, statement).await.as_deref(), DENIED, "{statement}");
    }
    for role in [OWNER, "postgres"] {
        assert_eq!(refusal(&gateway, &format!("set role {role}")).await.as_deref(), DENIED, "{role}");
    }
}

/// What it may do with each table of the schema rowcast, besides reading it.
fn allowed(table: &str) -> &'static [&'static str] {
    match table {
        "cursor" => &["update"],
        "dead_letter" | "notification" | "notified" | "told" | "waiting" => &["insert", "update", "delete"],
        _ => &[],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_schema_rowcast_the_gateway_can_do_what_the_service_does_and_no_more() {
    let database = roles::marketplace().await;
    let tables = database
        .client
        .query(
            "select c.relname::text, c.oid, c.relkind = 'S' from pg_class c
             where c.relnamespace = 'rowcast'::regnamespace and c.relkind in ('r', 'p', 'v', 'S') order by 1",
            &[],
        )
        .await
        .unwrap();
    assert!(tables.len() > 14);
    for row in &tables {
        let (table, oid, is_sequence): (String, u32, bool) = (row.get(0), row.get(1), row.get(2));
        let may = async |right: &str| {
            let function = if is_sequence { "has_sequence_privilege" } else { "has_table_privilege" };
            let asked = format!("select {function}($1::text, $2::oid, $3)");
            database.row(&asked, &[&GATEWAY, &oid, &right]).await.get::<_, bool>(0)
        };
        assert!(may("select").await, "{table}");
        let others: &[&str] = match is_sequence {
            true => &["usage", "update"],
            false => &["insert", "update", "delete", "truncate", "references", "trigger"],
        };
        for right in others {
            assert_eq!(may(right).await, allowed(&table).contains(right), "{right} on {table}");
        }
    }
    let functions = database
        .client
        .query(
            "select p.proname::text, has_function_privilege($1::text, p.oid, 'execute') from pg_proc p
             where p.pronamespace = 'rowcast'::regnamespace order by 1",
            &[&GATEWAY],
        )
        .await
        .unwrap();
    for row in &functions {
        let (function, may): (String, bool) = (row.get(0), row.get(1));
        let needed = ["rotate", "start_anew", "tell", "told_or_claimed", "waiting_for"].contains(&function.as_str())
            || ["lookup_", "query_", "schedule_", "waiting_"].iter().any(|prefix| function.starts_with(prefix));
        assert_eq!(may, needed, "{function}");
    }
    let gateway = as_gateway(&database).await;
    for statement in [
        "insert into rowcast.change select * from rowcast.change limit 1",
        "insert into rowcast.change_0 (id, xid, slot, op, at, schema, \"table\") values (1, '1', 0, 'I', now(), 'public', 'orders')",
        "delete from rowcast.change",
        "truncate rowcast.change",
        "insert into rowcast.migration (version, name) values (99, 'x')",
        "delete from rowcast.cursor",
        "alter table rowcast.change add column x int",
        "drop table rowcast.told",
        "create table rowcast.mine (id int)",
        "create or replace function rowcast.lookup_mine() returns int language sql as 'select 1'",
        "drop function rowcast.lookup_partners",
        "select rowcast.watch('public.order_items')",
        "select rowcast.unwatch('public.products')",
        "select rowcast.grant_gateway('public.products'::regclass::oid::regrole)",
        "select setval('rowcast.slot', 1)",
        "select nextval('rowcast.change_id')",
    ] {
        assert_eq!(refusal(&gateway, statement).await.as_deref(), DENIED, "{statement}");
    }
    for statement in
        ["update rowcast.cursor set saved_at = now()", "select * from rowcast.lookup_partners(array['buyer-1'])"]
    {
        assert_eq!(refusal(&gateway, statement).await, None, "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_runs_as_the_gateway_and_its_lookups_find_what_its_role_can_t_read() {
    let mut database = roles::marketplace().await;
    let service = roles::service(&mut database).await;
    let mut buyer = service.connect("buyer-3").await;
    // No buyer_id: who that is, users says, by the e-mail address.
    database.run("update trade_quotations set status = 'sent' where id = 'quotation-2'").await;
    let event = buyer.event_named("quotation:sent").await;
    assert_eq!(event["quotationId"], "quotation-2");
    // The holders of a cart are found by another.
    database.run("delete from products where id = 'product-11'").await;
    assert_eq!(buyer.event_named("product:deleted").await["productId"], "product-11");
    let used = "select count(*) from pg_stat_activity where usename = $1 and application_name like 'rowcast%'";
    assert!(database.row(used, &[&GATEWAY]).await.get::<_, i64>(0) >= 3);
    assert_eq!(service.metric("rowcast_rules_inactive").await, 0.0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_query_looks_at_the_application_s_tables_whatever_the_caller_puts_in_its_way() {
    let database = roles::marketplace().await;
    let gateway = as_gateway(&database).await;
    let find = "select count(*) from rowcast.lookup_user_by_email(array['buyer-3@example.com'])";
    let count = async || gateway.query_one(find, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count().await, 1);
    gateway
        .batch_execute("create temp table users (id text, email text); set search_path = pg_temp, public")
        .await
        .unwrap();
    assert_eq!(count().await, 1, "the temporary table is not asked");
}

/// The rules of a catalog around one lookup.
fn catalog(lookups: &str) -> Files {
    let rooms = "[[room]]\nroom = \"user:{id}\"\njoin = \"true\"\n";
    Files::new(&[("rules.toml", &format!("{rooms}{lookups}"))])
}

fn lookup(name: &str, sql: &str) -> String {
    format!("[[lookup]]\nname = {name:?}\nreturns = \"many\"\nsql = {sql:?}\n")
}

async fn migrate(database: &Database, more: &[&str]) -> String {
    let arguments = [&["migrate", "--gateway-role", GATEWAY], more].concat();
    rowcast(&url_of(&database.url, OWNER), &arguments).await.succeeded().stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_again_changes_what_has_changed_and_nothing_else() {
    let database = roles::marketplace().await;
    let functions = async || -> Vec<(String, u32)> {
        let rows = database.client.query(
            "select proname::text, oid from pg_proc where pronamespace = 'rowcast'::regnamespace and proname like 'lookup%' order by 1",
            &[],
        );
        rows.await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let before = functions().await;
    let again = migrate(&database, &[]).await;
    assert!(again.contains("unchanged  lookup partners") && !again.contains("granted    lookup"), "{again}");
    assert_eq!(functions().await, before);

    let files = catalog(
        &(lookup("one", "select id as key from users where id = any ($1)")
            + &lookup("two", "select id as key, email from users where id = any ($1)")),
    );
    let other = migrate(&database, &["--catalog", files.path()]).await;
    assert!(other.contains("granted    lookup one") && other.contains("dropped    lookup_partners"), "{other}");
    let made = functions().await;
    assert_eq!(made.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["lookup_one", "lookup_two"]);

    let files = catalog(
        &(lookup("one", "select id as key from users where id = any ($1)")
            + &lookup("two", "select id as key from users where id = any ($1)")),
    );
    let changed = migrate(&database, &["--catalog", files.path()]).await;
    assert!(changed.contains("unchanged  lookup one") && changed.contains("granted    lookup two"), "{changed}");
    assert_eq!(functions().await[0], made[0]);
    assert_ne!(functions().await[1], made[1]);

    // Who may no longer run it may again.
    database.run(&format!("revoke all on function rowcast.lookup_one from {GATEWAY}")).await;
    migrate(&database, &["--catalog", files.path()]).await;
    assert_eq!(refusal(&as_gateway(&database).await, "select * from rowcast.lookup_one('{}')").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_the_database_can_t_run_is_left_out_and_one_with_a_form_that_it_can_is_not() {
    let database = roles::unmigrated().await;
    roles::create(&database, GATEWAY).await;
    database.run("drop table carts").await;
    let said = migrate(&database, &[]).await;
    assert!(said.contains("left out   lookup cart_holders: relation \"carts\" does not exist"), "{said}");
    assert!(said.contains("granted    lookup partners"), "{said}");
    let forms = "[[lookup]]\nname = \"either\"\nreturns = \"many\"\nsql = [\"select id as key from nowhere where id = any ($1)\", \"select id as key from users where id = any ($1)\"]\n";
    let files = catalog(forms);
    let said = migrate(&database, &["--catalog", files.path()]).await;
    assert!(said.contains("granted    lookup either"), "{said}");
    let made: String = database.row("select prosrc from pg_proc where proname = 'lookup_either'", &[]).await.get(0);
    assert!(made.contains("from users") && !made.contains("nowhere"), "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_any_name_and_shape_is_granted() {
    let database = roles::marketplace().await;
    database
        .run("create type mood as enum ('glad'); create domain cents as numeric(9, 2); create domain tag as text")
        .await;
    let long = "l".repeat(90);
    let sql = "select k as key, 'glad'::mood as m, 1.50::cents as c, 'x'::tag as t, '{glad}'::mood[] as ms, row(1, 'a') as r,
               'USD'::char(3) as u, now() as \"keys\", null as \"odd \"\"name\" from unnest($1::text[]) as k -- the end";
    let mut lookups = String::new();
    for name in ["plain", "odd\"; drop table users; --", "$rowcast0$", long.as_str()] {
        lookups += &lookup(name, sql);
    }
    let files = catalog(&lookups);
    let said = migrate(&database, &["--catalog", files.path()]).await;
    assert_eq!(said.matches("granted    lookup").count(), 4, "{said}");
    let rows = |source: &str| format!("select row_to_json(f)::text from (select * from {source}) f");
    let gateway = as_gateway(&database).await;
    let granted: String = gateway.query_one(&rows("rowcast.lookup_plain(array['a'])"), &[]).await.unwrap().get(0);
    let direct =
        rows(&format!("({sql}\n) d")).replace("$1::text[]", "array['a']").replace("now()", "'2026-01-01'::timestamptz");
    let direct: String = database.row(&direct, &[]).await.get(0);
    let parse = |json: &str| {
        let mut row: Value = serde_json::from_str(json).unwrap();
        row.as_object_mut().unwrap().remove("keys").expect("a time");
        row
    };
    assert_eq!(parse(&granted), parse(&direct));
    database.run("select 1 from users").await;
}

/// A function that depended on a type or a table would make the application's own statements fail.
#[tokio::test(flavor = "multi_thread")]
async fn the_application_alters_and_drops_what_a_granted_query_reads() {
    let database = roles::marketplace().await;
    let files =
        catalog(&lookup("states", "select id as key, status, total_cents from wholesale_orders where id = any ($1)"));
    migrate(&database, &["--catalog", files.path()]).await;
    let gateway = as_gateway(&database).await;
    let state = async || {
        let found = gateway
            .query_one("select row_to_json(s)::text from rowcast.lookup_states(array['wholesale-1']) s", &[])
            .await;
        found.map(|row| row.get::<_, String>(0))
    };
    assert_eq!(state().await.unwrap(), r#"{"key":"wholesale-1","status":"pending","total_cents":124000}"#);
    database
        .run(&format!(
            "set role {OWNER}; alter table wholesale_orders alter status drop default, alter status type text;
             drop type wholesale_order_status; alter table wholesale_orders alter total_cents type bigint; reset role"
        ))
        .await;
    assert_eq!(state().await.unwrap(), r#"{"key":"wholesale-1","status":"pending","total_cents":124000}"#);
    database.run("alter table wholesale_orders drop column status").await;
    assert!(state().await.is_err());
}

/// The built-in catalog with one lookup written otherwise.
fn altered() -> Files {
    let files: Vec<(&str, String)> = Catalog::built_in_files()
        .map(|(name, text)| (name, text.replace("order by \"user\".email = wanted.key desc", "order by 1")))
        .collect();
    Files::new(&files.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>())
}

async fn check(url: &str, more: &[&str]) -> Value {
    let ran = rowcast(url, &[&["check", "--json"], more].concat()).await.succeeded();
    serde_json::from_str(&ran.stdout).expect("JSON")
}

fn reasons(report: &Value) -> String {
    let events = report["events"].as_array().unwrap().iter();
    events
        .flat_map(|event| event["rules"].as_array().unwrap())
        .map(|rule| rule["reasons"].to_string())
        .filter(|told| told != "null")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_and_the_owner_find_all_live_and_a_stale_function_is_told_with_the_remedy() {
    let database = roles::marketplace().await;
    let (gateway, owner) = (url_of(&database.url, GATEWAY), url_of(&database.url, OWNER));
    for url in [&gateway, &owner] {
        let report = check(url, &[]).await;
        let states: Vec<&Value> = report["events"].as_array().unwrap().iter().map(|event| &event["state"]).collect();
        assert!(states.iter().all(|state| *state == "live"), "{}", reasons(&report));
    }
    let files = altered();
    let stale = reasons(&check(&gateway, &["--catalog", files.path()]).await);
    assert!(stale.contains("permission denied for table users"), "{stale}");
    assert!(stale.contains("was made of other SQL: as the owner, run `rowcast migrate --gateway-role"), "{stale}");
    // The owner needs no function.
    assert_eq!(reasons(&check(&owner, &["--catalog", files.path()]).await), "");

    migrate(&database, &["--catalog", files.path()]).await;
    assert_eq!(reasons(&check(&gateway, &["--catalog", files.path()]).await), "");

    // A function that the application's own migration has left behind.
    database.run("alter table users rename column email to mail").await;
    let broken = reasons(&check(&gateway, &["--catalog", files.path()]).await);
    assert!(broken.contains("no longer fits the database"), "{broken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_could_write_is_refused_with_the_reason() {
    let database = roles::unmigrated().await;
    let member = "rowcast_test_member";
    let maker = "rowcast_test_maker";
    for role in [member, maker] {
        roles::create(&database, role).await;
    }
    database.run(&format!("grant {OWNER} to {member}; alter role {maker} createrole")).await;
    for (role, code, expected) in [
        ("postgres", 6, "is a superuser"),
        (OWNER, 6, "owns the application's tables"),
        (member, 6, "is a member of rowcast_test_owner"),
        (maker, 6, "has CREATEROLE"),
        ("", 2, "can't be a role's name"),
        ("pg_read_all_data", 2, "can't be a role's name"),
    ] {
        let ran = rowcast(&url_of(&database.url, OWNER), &["migrate", "--gateway-role", role]).await;
        assert_eq!(ran.code, code, "{role}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{role}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_role_is_made_by_who_may_and_its_statement_told_by_who_may_not() {
    let database = roles::unmigrated().await;
    let role = format!("rowcast \"test\" {}", fastrand::u32(..));
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    let owner = url_of(&database.url, OWNER);
    let ran = rowcast(&owner, &["migrate", "--gateway-role", &role]).await;
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    let statement = ran.stderr.lines().last().unwrap().trim();
    assert!(statement.starts_with("create role ") && statement.ends_with(';'), "{statement}");

    // A superuser may make roles, and owns this marketplace.
    let database = Database::unmigrated().await;
    let dry = rowcast(&database.url, &["migrate", "--gateway-role", &role, "--dry-run"]).await.succeeded().stdout;
    assert!(dry.contains(statement), "{dry}");
    let there = "select count(*) from pg_roles where rolname = $1";
    assert_eq!(database.row(there, &[&role]).await.get::<_, i64>(0), 0, "a dry run makes none");

    let made = rowcast(&database.url, &["migrate", "--gateway-role", &role]).await.succeeded().stdout;
    assert!(made.contains("made       the role") && made.contains("\\password"), "{made}");
    let bare = "select count(*) from pg_roles where rolname = $1 and rolcanlogin and not rolsuper and not rolcreatedb
                and not rolcreaterole and not rolreplication and not rolbypassrls";
    assert_eq!(database.row(bare, &[&role]).await.get::<_, i64>(0), 1);
    assert_eq!(
        refusal(&database.client, &format!("set role {quoted}; select * from rowcast.lookup_partners('{{}}')")).await,
        None
    );

    let gone = rowcast(&database.url, &["uninstall", "--yes"]).await.succeeded().stdout;
    let statement = gone.lines().find_map(|line| line.split_once("which ran the service: ")).expect(&gone).1;
    database.run(statement).await;
    assert_eq!(database.row(there, &[&role]).await.get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_prints_what_runs_through_psql() {
    let database = roles::unmigrated().await;
    roles::create(&database, GATEWAY).await;
    let owner = url_of(&database.url, OWNER);
    rowcast(&owner, &["migrate"]).await.succeeded();
    let dry = rowcast(&owner, &["migrate", "--gateway-role", GATEWAY, "--dry-run"]).await.succeeded().stdout;
    let Some(ran) = psql(&owner, &["-q"], &dry).await else { return };
    ran.succeeded();
    let said = migrate(&database, &[]).await;
    assert!(!said.contains("granted    lookup") && said.contains("unchanged  lookup partners"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_the_role_had_before_are_told_and_what_is_told_takes_them_away() {
    let database = roles::marketplace().await;
    let role = "rowcast_test_reporter";
    roles::create(&database, role).await;
    database
        .run(&format!(
            "grant select, update (stock) on products to {GATEWAY}; grant select on users to public;
             grant delete on orders to {role}; grant {role} to {GATEWAY};
             create sequence numbers; grant usage on sequence numbers to {GATEWAY};
             grant create on schema public to public"
        ))
        .await;
    let owner = url_of(&database.url, OWNER);
    let ran = rowcast(&owner, &["migrate", "--gateway-role", GATEWAY]).await.succeeded();
    let revokes: Vec<&str> = ran.stderr.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert_eq!(revokes.len(), 4, "{}", ran.stderr);
    assert!(ran.stderr.contains("revoke create on schema public from public"), "{}", ran.stderr);
    database.run(&revokes.join("\n")).await;
    database.run("revoke create on schema public from public").await;
    let ran = rowcast(&owner, &["migrate", "--gateway-role", GATEWAY]).await.succeeded();
    assert_eq!(ran.stderr, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_grants_no_query_that_reads_what_somebody_else_owns() {
    let database = roles::unmigrated().await;
    roles::create(&database, GATEWAY).await;
    for more in [&[] as &[&str], &["--dry-run"]] {
        let ran = rowcast(&database.url, &[&["migrate", "--gateway-role", GATEWAY], more].concat()).await;
        assert_eq!(ran.code, 6, "{}", ran.stderr);
        let expected = format!("public.orders (owned by {OWNER})");
        for expected in ["postgres is a superuser", &expected, "run `rowcast migrate --gateway-role` as the owner"] {
            assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        }
        let none = "select to_regnamespace('rowcast') is null";
        assert!(database.row(none, &[]).await.get::<_, bool>(0), "nothing was done");
    }
    // Nor what somebody else owns behind a view, or calls.
    let own = Database::unmigrated().await;
    roles::create(&own, OWNER).await;
    own.run(&format!(
        "create table hidden (id text); create view inner_one as select id from hidden; alter view inner_one owner to {OWNER}; grant select on hidden to {OWNER};
         create view outer_one as select id from inner_one;
         create function named() returns text language sql as 'select ''x''::text'; alter function named() owner to {OWNER}"
    ))
    .await;
    for (sql, expected) in [
        ("select id as key from outer_one where id = any($1)", "public.inner_one (owned by"),
        ("select named() as key from products where id = any($1)", "public.named() (owned by"),
    ] {
        let files = catalog(&lookup("theirs", sql));
        let path = files.path();
        let ran = rowcast(&own.url, &["migrate", "--gateway-role", GATEWAY, "--catalog", path]).await;
        assert_eq!(ran.code, 6, "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    let ran = rowcast(&own.url, &["migrate", "--gateway-role", GATEWAY]).await.succeeded();
    assert!(!ran.stderr.contains("WARNING"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_else_has_a_say_in_the_granted_queries_is_told() {
    let database = roles::marketplace().await;
    let (other, builder, worker) = ("rowcast_test_other", "rowcast_test_builder", "rowcast_test_worker");
    for role in [other, builder, worker] {
        roles::create(&database, role).await;
    }
    database
        .run(&format!(
            "alter table users owner to {other}; grant select on users to {OWNER};
             grant create on schema public to {builder}; grant {builder} to {worker}"
        ))
        .await;
    let owner = url_of(&database.url, OWNER);
    let said = rowcast(&owner, &["migrate", "--gateway-role", GATEWAY]).await.succeeded().stderr;
    assert!(said.contains(&format!("WARNING: the granted queries run with the rights of {OWNER}")), "{said}");
    assert!(said.contains(&format!("public.users (owned by {other})")) && !said.contains("public.orders"), "{said}");
    let creators = format!("may create objects in the schema public: {builder}, {worker}. ");
    assert!(said.contains(&creators), "{said}");
    database.run(&format!("revoke create on schema public from {builder}; alter table users owner to {OWNER}")).await;
    assert_eq!(rowcast(&owner, &["migrate", "--gateway-role", GATEWAY]).await.succeeded().stderr, "");
}

/// The first lines of a service's log, up to the one that says that it captures.
async fn first_words(url: &str) -> String {
    let mut child = rowcast_command(url)
        .args(["serve", "--auth", "insecure", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.expect("text") {
        said += &format!("{line}\n");
        if line.contains("capturing") {
            break;
        }
    }
    child.kill().await.expect("killed");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn serving_as_a_role_that_could_write_is_warned_of() {
    let database = roles::marketplace().await;
    for (url, expected) in [
        (database.url.clone(), "is a superuser"),
        (url_of(&database.url, OWNER), "may write to the application's tables"),
    ] {
        let said = first_words(&url).await;
        assert!(said.contains(expected) && said.contains("--gateway-role"), "{said}");
    }
    let said = first_words(&url_of(&database.url, GATEWAY)).await;
    assert!(!said.contains("--gateway-role") && !said.contains("the connection to Postgres"), "{said}");
}

/// The first look of a stranger at `/metrics` and the pages, and the list of processes, hold no secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_refused_on_the_command_line_and_taken_from_a_file() {
    let database = Database::marketplace().await;
    let with_password = url_of(&database.url, "postgres:hunter2");
    let ran = crate::support::command::run(
        rowcast_command("").env_remove("DATABASE_URL").args(["--database-url", &with_password, "migrate"]),
        "",
    )
    .await;
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("DATABASE_URL_FILE") && !ran.stderr.contains("hunter2"), "{}", ran.stderr);

    let files = Files::new(&[
        ("url", &format!("{with_password}\n")),
        ("broken", "postgres://u:hunter2@h:port/d\n"),
        ("empty", ""),
    ]);
    let from_file = async |name: &str, also: &str| {
        let mut command = rowcast_command(also);
        command.env("DATABASE_URL_FILE", format!("{}/{name}", files.path())).arg("migrate");
        if also.is_empty() {
            command.env_remove("DATABASE_URL");
        }
        crate::support::command::run(&mut command, "").await
    };
    let ran = from_file("url", "").await.succeeded();
    assert!(ran.stdout.contains("up to date"), "{}", ran.stdout);
    for (name, also, expected) in [
        ("broken", "", "DATABASE_URL_FILE"),
        ("empty", "", "must look like postgres://"),
        ("missing", "", "can't be read"),
        ("url", with_password.as_str(), "both DATABASE_URL and DATABASE_URL_FILE"),
    ] {
        let ran = from_file(name, also).await;
        assert_eq!(ran.code, 3, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected) && !ran.stderr.contains("hunter2"), "{name}: {}", ran.stderr);
    }
    let process = service::Process::start(&with_password).await.ready().await;
    for path in ["/metrics", "/readyz", "/healthz", "/"] {
        let (_, body) = service::get(process.address, path).await.unwrap();
        assert!(!body.contains("hunter2"), "{path}");
    }
    assert!(process.terminate().await);
}
