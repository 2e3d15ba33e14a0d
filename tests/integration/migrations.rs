//! What `rowcast migrate`, `uninstall` and `watch` put into the application's database, and take out again.

use rowcast::migrate::MIGRATIONS;

use crate::support::{
    command::{Ran, dump_of_definitions, psql, rowcast},
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
    let Some(before) = dump_of_definitions(&database.url).await else { return };

    rowcast(&database.url, &["migrate"]).await.succeeded();
    rowcast(&database.url, &["watch", "products", "--by", "statement"]).await.succeeded();
    let migrated = dump_of_definitions(&database.url).await.expect("as before");
    let (mut expected, found) = (statements(&before), statements(&migrated));
    let added: Vec<&String> = found.iter().filter(|statement| !expected.contains(statement)).collect();
    for statement in &added {
        let by_row = statement.contains(" EXECUTE FUNCTION rowcast.capture(")
            && (statement.starts_with("CREATE TRIGGER _rowcast_capture AFTER INSERT OR DELETE OR UPDATE ON public.")
                || statement.starts_with("CREATE TRIGGER rowcast_truncate AFTER TRUNCATE ON public."));
        let by_statement = statement.starts_with("CREATE TRIGGER _rowcast_capture")
            && statement.contains(" ON public.products ")
            && statement.contains(" EXECUTE FUNCTION rowcast.capture_statement(");
        assert!(by_row || by_statement, "{statement}");
    }
    assert_eq!(added.len(), 22, "two on each of ten tables, and two more on the one that is captured by statement");
    expected.extend(added.into_iter().cloned());
    let sorted = |mut statements: Vec<String>| {
        statements.sort();
        statements
    };
    assert_eq!(sorted(expected), sorted(found), "nothing was changed or taken away");

    rowcast(&database.url, &["uninstall", "--yes"]).await.succeeded();
    assert_eq!(dump_of_definitions(&database.url).await.expect("as before"), before, "byte by byte");
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
        "0004_identity.up.sql",
        "0005_by_statement.up.sql",
    ] {
        let Some(ran) = psql(&by_psql.url, &["-q", "-f", &migration_file(file)], "").await else { return };
        ran.succeeded();
    }
    let migrate = rowcast(&by_psql.url, &["migrate"]).await.succeeded().stdout;
    assert!(migrate.contains("up to date"), "{migrate}");
    rowcast(&by_rowcast.url, &["migrate"]).await.succeeded();
    assert_eq!(objects(&by_psql).await, objects(&by_rowcast).await);

    for file in [
        "0005_by_statement.down.sql",
        "0004_identity.down.sql",
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
                    where t.tgname like '%rowcast%' and c.relnamespace = 'public'::regnamespace";

    let newest = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(newest.contains("undone   0005"), "{newest}");
    let identity = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(identity.contains("undone   0004"), "{identity}");
    let first = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(first.contains("undone   0003"), "{first}");
    let next = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(next.contains("undone   0002"), "{next}");
    assert_eq!(database.count(triggers).await, 2, "what was watched by hand stays");
    let second = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(second.contains("undone   0001"), "{second}");
    assert!(objects(&database).await.is_empty());
    let third = rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout;
    assert!(third.contains("nothing to undo"), "{third}");

    rowcast(&database.url, &["migrate"]).await.succeeded();
    assert_eq!(database.count(triggers).await, 20);
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
    assert_eq!(database.count("select count(*) from rowcast.watched where schema = 'public'").await, 10);

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
    let log = database
        .client
        .query("select op::text, old::jsonb::text, new::jsonb::text from rowcast.change order by id", &[])
        .await;
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
async fn of_a_table_with_a_list_only_these_columns_are_ever_in_the_log() {
    let database = Database::marketplace().await;
    database
        .run(r#"create table accounts (id int primary key, "Role" text, password text, last_login timestamptz)"#)
        .await;
    let watch = ["watch", "accounts", "--only", "id,Role", "no_such_column"];
    assert_eq!(rowcast(&database.url, &watch).await.succeeded().stdout, "watched  accounts\n");
    assert_eq!(rowcast(&database.url, &watch).await.succeeded().stdout, "unchanged  accounts\n");
    database
        .run(
            r#"insert into accounts values (1, 'a', 'hunter2', null);
             update accounts set password = 'hunter2 again', last_login = now();
             update accounts set "Role" = 'b', password = 'hunter2';
             alter table accounts add column reset_token text default 'hunter2';
             update accounts set reset_token = 'hunter2 too';
             insert into accounts values (2, 'c', 'hunter2', now(), 'hunter2');
             delete from accounts where id = 1;
             truncate accounts"#,
        )
        .await;
    let log = database
        .client
        .query("select op::text, old::jsonb::text, new::jsonb::text from rowcast.change order by id", &[])
        .await;
    let log: Vec<(String, Option<String>, Option<String>)> =
        log.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let row = |id: i32, role: &str| Some(format!(r#"{{"id": {id}, "Role": "{role}"}}"#));
    let expected = [
        ("I", None, row(1, "a")),
        ("U", row(1, "a"), row(1, "b")),
        ("I", None, row(2, "c")),
        ("D", row(1, "b"), None),
        ("T", None, None),
    ];
    assert_eq!(log, expected.map(|(op, old, new)| (op.to_owned(), old, new)));
    let listed = "select count(*) from rowcast.watched where only_columns = array['Role', 'id', 'no_such_column']";
    assert_eq!(database.count(listed).await, 1);

    // Watched again, as an inactive rule advises, it keeps its list.
    database.run("alter table accounts disable trigger _rowcast_capture").await;
    rowcast(&database.url, &["watch", "accounts"]).await.succeeded();
    assert_eq!(database.count(listed).await, 1);
    rowcast(&database.url, &["unwatch", "accounts"]).await.succeeded();
    rowcast(&database.url, &["watch", "accounts"]).await.succeeded();
    assert_eq!(database.count("select count(*) from rowcast.watched where only_columns is not null").await, 3);
    let both = rowcast(&database.url, &["watch", "accounts", "--only", "id", "--exclude", "password"]).await;
    assert_eq!(both.code, 2, "{}", both.stderr);
    let nothing = database.client.batch_execute("select rowcast.watch('accounts', only_columns => '{}')").await;
    assert!(nothing.unwrap_err().to_string().contains("db error"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_column_that_is_digested_only_that_it_changed_is_in_the_log() {
    let database = Database::marketplace().await;
    database.run("create table kept (sid text primary key, sess text, more jsonb, expire timestamptz)").await;
    let watch = ["watch", "kept", "--only", "sid", "--digest", "sess", "more", "no_such_column"];
    assert_eq!(rowcast(&database.url, &watch).await.succeeded().stdout, "watched  kept\n");
    assert_eq!(rowcast(&database.url, &watch).await.succeeded().stdout, "unchanged  kept\n");
    // Watched again without a word of it, it keeps its lists.
    assert_eq!(rowcast(&database.url, &["watch", "kept"]).await.succeeded().stdout, "unchanged  kept\n");
    database
        .run(
            r#"insert into kept values ('a', 'hunter2', '{"cookie": 1, "user": "hunter2"}', now());
             update kept set expire = now() + interval '1 day', more = '{"cookie": 2, "user": "hunter2"}';
             update kept set sess = null;
             update kept set more = '["cookie", "hunter2"]';
             alter table kept drop column sess;
             update kept set more = null;
             delete from kept"#,
        )
        .await;
    let log = database.client.query("select op::text, coalesce(new, old) from rowcast.change order by id", &[]).await;
    let log: Vec<(String, serde_json::Value)> = log.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let ops: Vec<&str> = log.iter().map(|(op, _)| op.as_str()).collect();
    assert_eq!(ops, ["I", "U", "U", "U", "D"], "{log:?}");
    assert!(log[0].1["sess"] != log[1].1["sess"] && log[0].1["more"] == log[1].1["more"], "{log:?}");
    assert!(log[1].1["more"] != log[2].1["more"] && log[3].1.get("sess").is_none(), "{log:?}");
    assert_eq!(database.count("select count(*) from rowcast.change c where c::text like '%hunter2%'").await, 0);
    assert_eq!(database.count("select last_value from rowcast.loss where not is_called").await, 1, "nothing was lost");
    let alone = rowcast(&database.url, &["watch", "products", "--digest", "name"]).await;
    assert_eq!(alone.code, 2, "{}", alone.stderr);
    let alone =
        database.client.batch_execute("select rowcast.watch('products', digest_columns => array['name'])").await;
    assert!(alone.unwrap_err().as_db_error().is_some_and(|error| error.message().contains("digests of columns")));
}

/// Whoever may write a json column could have all clients load anew with each row, if one of these were a loss.
#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_keeps_in_json_but_cannot_take_apart_is_captured_like_all() {
    let database = Database::marketplace().await;
    let odd = [r"\u0000", r"\ud800", r"\\u0000", r#"\\\u0000\n\""#, r"1 \u00e9 \\"]
        .map(|text| format!(r#"{{"a": "{text}", "b": 1e99999}}"#));
    database
        .run(
            r#"create table most (id int primary key, secret text, content json, "\u0041" int default 1, "\" text default 'hunter2');
               create table few (id int primary key, secret text, content json);
               create table digested (id int primary key, content json);
               create table many (id int primary key, content json)"#,
        )
        .await;
    rowcast(&database.url, &["watch", "most", "--exclude", r"secret,\"]).await.succeeded();
    rowcast(&database.url, &["watch", "few", "--only", "id,content"]).await.succeeded();
    rowcast(&database.url, &["watch", "digested", "--only", "id", "--digest", "content"]).await.succeeded();
    rowcast(&database.url, &["watch", "many", "--by", "statement"]).await.succeeded();
    for (id, content) in (1..).zip(&odd) {
        let written = [
            "insert into most values ($1, 'hunter2', $2::text::json)",
            "insert into few values ($1, 'hunter2', $2::text::json)",
            "insert into digested values ($1, $2::text::json)",
            "update digested set content = (content::text || ' ')::json where id = $1 and $2::text <> ''",
        ];
        for sql in written {
            database.client.execute(sql, &[&id, content]).await.unwrap();
        }
    }
    database.run(r#"insert into many select n, '{"a": "\u0000"}' from generate_series(1, 100) n"#).await;
    assert_eq!(database.count("select last_value from rowcast.loss where not is_called").await, 1, "nothing was lost");
    assert_eq!(database.count("select count(*) from rowcast.change c where c::text like '%hunter2%'").await, 0);

    let logged = async |table: &str| -> Vec<String> {
        let log = r#"select new::text from rowcast.change where "table" = $1 and op in ('I', 'i') order by id"#;
        database.client.query(log, &[&table]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    let (most, few) = (logged("most").await, logged("few").await);
    for ((content, most), few) in odd.iter().zip(&most).zip(&few) {
        for row in [most, few] {
            assert!(row.contains(content), "{content} in {row}");
        }
        assert!(most.contains(r#""\\u0041" : 1"#) && !most.contains("secret") && !most.contains(r#""\\""#), "{most}");
    }
    assert_eq!((most.len(), few.len(), logged("many").await.len()), (5, 5, 1));
    assert!(logged("many").await[0].contains(r#"{"a": "\u0000"}"#));
    let digested = logged("digested").await;
    assert_eq!(digested.iter().collect::<std::collections::HashSet<_>>().len(), 5, "{digested:?}");
}

/// An array of names as Postgres prints it is parsed again from the trigger's arguments.
#[tokio::test(flavor = "multi_thread")]
async fn odd_names_of_columns_come_back_from_the_trigger_as_they_were() {
    let database = Database::marketplace().await;
    database.run("create table odd (id int)").await;
    let odd: Vec<String> = [r"\000", r"back\slash", "quo\"te", "com,ma", "{brace}", "a'b", "Ü", " "]
        .iter()
        .map(|&name| name.into())
        .collect();
    let mut sorted: Vec<String> = odd.clone();
    let row = database.row("select array_agg(e order by e) from unnest($1::text[]) e", &[&odd]).await;
    sorted.clone_from(&row.get(0));
    let none = Vec::new();
    for (excluded, only, digest) in
        [(&odd, None, &none), (&none, Some(&odd), &none), (&odd, Some(&odd), &none), (&odd, Some(&odd), &odd)]
    {
        let watch = "select rowcast.watch('odd', $1, $2, $3)";
        let watched: String = database.row(watch, &[excluded, &only, digest]).await.get(0);
        assert_eq!(watched, "watched");
        let listed =
            "select excluded, only_columns, digest_columns from rowcast.watched where relation = 'odd'::regclass";
        let row = database.row(listed, &[]).await;
        assert_eq!(row.get::<_, Vec<String>>(2), if digest.is_empty() { Vec::new() } else { sorted.clone() });
        let expected = if excluded.is_empty() { Vec::new() } else { sorted.clone() };
        assert_eq!(row.get::<_, Vec<String>>(0), expected);
        assert_eq!(row.get::<_, Option<Vec<String>>>(1), only.map(|_| sorted.clone()));
        database.run("insert into odd values (1); delete from odd").await;
    }
    assert_eq!(database.count("select last_value from rowcast.loss where not is_called").await, 1, "nothing was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_accounts_and_sessions_only_what_revokes_a_right_is_captured() {
    let database = Database::unmigrated().await;
    database
        .run(
            "alter table users add column password text;
             create table session (sid varchar primary key, sess json not null, expire timestamp(6) not null)",
        )
        .await;
    let said = rowcast(&database.url, &["migrate"]).await.succeeded().stdout;
    for table in ["users", "user_store_memberships", "sessions", "session"] {
        assert!(said.contains(&format!("watched  {table}\n")), "{said}");
    }
    database
        .run(
            "insert into users (id, email, password, role) values ('u9', 'u9@example.com', 'hunter2', 'customer');
             update users set password = 'hunter2 again', username = 'x' where id = 'u9';
             update users set role = 'seller' where id = 'u9';
             insert into session values ('s9', '{\"passport\": {\"user\": \"hunter2\"}}', '2030-01-01');
             update session set sess = '{\"cart\": \"hunter2\"}';
             update session set expire = '2031-01-01';
             update session set sess = '{\"cookie\": {\"maxAge\": 1}, \"cart\": \"hunter2\"}';
             insert into sessions values ('s9', '{\"passport\": {\"user\": \"hunter2\"}}', '2030-01-01')",
        )
        .await;
    let log = database.client.query(
        "select format('%s %s %s %s', \"table\", op, old::jsonb, new::jsonb) from rowcast.change order by id",
        &[],
    );
    let log: Vec<String> = log.await.unwrap().iter().map(|row| row.get(0)).collect();
    let digests =
        "select array_agg(encode(sha256(convert_to(e::jsonb::text, 'UTF8')), 'hex')) from unnest($1::text[]) e";
    let contents = vec![r#"{"passport": {"user": "hunter2"}}"#, r#"{"cart": "hunter2"}"#];
    let digests: Vec<String> = database.row(digests, &[&contents]).await.get(0);
    let user = |role: &str| {
        format!(r#"{{"id": "u9", "role": "{role}", "seller_id": null, "user_type": null, "is_platform_admin": 0}}"#)
    };
    let session = |content: usize, year: u32| {
        let digest = &digests[content];
        format!(r#"{{"sid": "s9", "sess": "{digest}", "expire": "{year}-01-01T00:00:00"}}"#)
    };
    let expected = [
        format!("users I  {}", user("customer")),
        format!("users U {} {}", user("customer"), user("seller")),
        format!("session I  {}", session(0, 2030)),
        format!("session U {} {}", session(0, 2030), session(1, 2030)),
        format!("session U {} {}", session(1, 2030), session(1, 2031)),
        format!("sessions I  {}", session(0, 2030)),
    ];
    assert_eq!(log, expected);
    assert_eq!(database.count("select count(*) from rowcast.change c where c::text like '%hunter2%'").await, 0);

    // The version before 0004 could not keep the rest out.
    for _ in 4..=MIGRATIONS.len() {
        rowcast(&database.url, &["migrate", "--down"]).await.succeeded();
    }
    database
        .run("update users set password = 'hunter2', role = 'x'; update products set stock = 3 where id = 'product-1'")
        .await;
    assert_eq!(
        database.count("select count(*) from rowcast.change where old is not null and \"table\" = 'users'").await,
        1
    );
    assert_eq!(database.count("select count(*) from rowcast.change where \"table\" = 'products'").await, 1);
    rowcast(&database.url, &["migrate"]).await.succeeded();
    database.run("update users set role = 'y' where id = 'u9'").await;
    assert_eq!(
        database.count("select count(*) from rowcast.change where old is not null and \"table\" = 'users'").await,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_accounts_that_was_watched_before_or_looks_otherwise_is_left_as_it_is() {
    let database = Database::unmigrated().await;
    rowcast(&database.url, &["migrate"]).await.succeeded();
    for _ in 4..=MIGRATIONS.len() {
        rowcast(&database.url, &["migrate", "--down"]).await.succeeded();
    }
    database
        .run("alter table sessions drop column sess; create view session as select 1 as sid, 2 as sess, 3 as expire")
        .await;
    let older = rowcast(&database.url, &["watch", "order_items"]).await;
    assert!(older.code == 7 && older.stderr.contains("it lacks migration 4"), "{}", older.stderr);
    database.run("select rowcast.watch('users', array['email'])").await;
    rowcast(&database.url, &["migrate"]).await.succeeded();
    let users = "select count(*) from rowcast.watched where relation = 'users'::regclass
                 and excluded = array['email'] and only_columns is null";
    assert_eq!(database.count(users).await, 1);
    let sessions = r#"select count(*) from rowcast.watched where "table" in ('session', 'sessions')"#;
    assert_eq!(database.count(sessions).await, 0);
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
async fn tables_that_inherit_from_a_watched_one_are_named_with_the_command_that_watches_them() {
    let database = Database::marketplace().await;
    database
        .run(
            "create table base (id int); create table heir () inherits (base); create table grandchild () inherits (heir);
             create table whole (id int) partition by list (id); create table part partition of whole default",
        )
        .await;
    let told = rowcast(&database.url, &["watch", "base"]).await.succeeded();
    assert!(told.stderr.contains("rowcast watch grandchild; rowcast watch heir"), "{}", told.stderr);
    database.run("insert into heir values (1); select rowcast.watch('heir'); insert into heir values (2)").await;
    assert_eq!(database.count(r#"select count(*) from rowcast.change where "table" = 'heir'"#).await, 1);
    let told = rowcast(&database.url, &["watch", "base"]).await.succeeded();
    assert!(told.stderr.ends_with("rowcast watch grandchild\n"), "{}", told.stderr);
    assert_eq!(rowcast(&database.url, &["watch", "whole"]).await.succeeded().stderr, "");
}

/// Its subscribers would stop: they lack the tables that rowcast writes to.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_published_as_a_whole_is_not_migrated_unasked() {
    let database = Database::empty().await;
    database.run(r#"create publication "every one" for all tables; create publication none"#).await;
    let refused = rowcast(&database.url, &["migrate"]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in [r#""every one""#, "--published", "Name the tables"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    assert_eq!(database.count("select count(*) from pg_namespace where nspname = 'rowcast'").await, 0);
    let printed = rowcast(&database.url, &["migrate", "--published", "--dry-run"]).await.succeeded();
    assert!(printed.stdout.starts_with("set rowcast.published = on;\n"), "{}", printed.stdout);
    rowcast(&database.url, &["migrate", "--published"]).await.succeeded();
    rowcast(&database.url, &["migrate"]).await.succeeded();
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
           security_warnings => true,
           oldtable => case when p.proname = 'capture_statement' then 'old_rows' end,
           newtable => case when p.proname = 'capture_statement' then 'new_rows' end) as check_line
         where p.pronamespace = 'rowcast'::regnamespace and l.lanname = 'plpgsql'",
        &[],
    );
    let complaints: Vec<(String, String)> =
        functions.await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect();
    let checked = "select count(*) from pg_proc where pronamespace = 'rowcast'::regnamespace";
    assert!(database.count(checked).await >= 5);
    assert!(complaints.is_empty(), "{complaints:#?}");
}
