//! Tables that are captured by statement: what a client hears is the same, and what could put it in the wrong order is refused
//! or loud. That every value arrives, and over interruptions once, is the oracle's to show.

use serde_json::{Value, json};

use super::{cli::Files, shelf};
use crate::support::{
    client::Client,
    command::rowcast,
    database::{Database, LOST},
    eventually,
    service::{Process, Service, connect},
};

const LOGGED: &str = "select count(*) from rowcast.change";

/// A table `things`, captured by statement; its columns have names that mean something where it is captured.
async fn stage() -> Database {
    let database = Database::empty().await;
    database
        .run(
            "create table things (id int primary key, r text, few int, c1 json, piece text default 'p', tg_op text,
                                  place numeric, ids int[], secret text)",
        )
        .await;
    database.migrate().await;
    database.run("select rowcast.watch('things', array['secret'], by_statement => true)").await;
    database
}

/// What a statement wrote to the log, as text.
async fn logged(database: &Database, sql: &str) -> String {
    database.run("truncate rowcast.change").await;
    database.run(sql).await;
    let rows = "select coalesce(string_agg(concat_ws(' ', op, old, new), E'\\n' order by id), '') from rowcast.change";
    database.row(rows, &[]).await.get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rows_are_logged_one_by_one_and_many_share_a_row_of_the_log() {
    let database = stage().await;
    let one = logged(&database, "insert into things (id, r, secret) values (1, 'x', 's')").await;
    let rest = r#""few":null,"c1":null,"piece":"p","tg_op":null,"place":null,"ids":null"#;
    let spaceless = |text: &str| text.replace(": ", ":").replace(", ", ",").replace(" :", ":");
    assert!(one.starts_with("I ") && !one.contains("secret") && spaceless(&one).contains(r#""r":"x""#), "{one}");
    assert!(rest.split(',').all(|column| spaceless(&one).contains(column)), "{one}");

    database
        .run("insert into things select n, 'x', 1, '[1]', 'p', 't', 1.50, '{1}', 's' from generate_series(2, 80) n")
        .await;
    logged(&database, "update things set few = 2").await;
    assert_eq!(database.count("select count(*) from rowcast.change where op = 'U'").await, 80, "few are 80");
    database.run("insert into things (id) select n from generate_series(81, 600) n").await;
    let many = logged(&database, "update things set few = 3, secret = 'new'").await;
    assert_eq!(
        database.count("select count(*) from rowcast.change where op = 'u' and old is null").await,
        3,
        "600 rows"
    );
    assert!(!many.contains("secret"), "{many}");
    let before = "select string_agg(distinct k, ' ') from rowcast.change, json_object_keys(new -> 'old') k";
    assert_eq!(database.row(before, &[]).await.get::<_, String>(0), "few", "of the rows before, what differs");
    let ids = "select count(distinct i) from rowcast.change, json_array_elements_text(new -> 'ids') i";
    assert_eq!(database.count(ids).await, 600);
    assert_eq!(database.count(LOST).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_a_large_update_goes_with_what_it_was_before() {
    let database = stage().await;
    database.run("insert into things (id) select n from generate_series(1, 20000) n order by hashint4(n)").await;
    for work_mem in ["64kB", "64MB"] {
        database.run(&format!("set work_mem = '{work_mem}'")).await;
        logged(&database, "update things set id = 50000 - id").await;
        let pairs = "select count(*) from rowcast.change,
            rows from (json_array_elements_text(new -> 'old' -> 'id'), json_array_elements_text(new -> 'new' -> 'id')) as p (o, n)
            where o::int + n::int = 50000";
        assert_eq!(database.count(pairs).await, 20_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_no_captured_column_logs_nothing() {
    let database = stage().await;
    database.run("insert into things (id) select n from generate_series(1, 100) n").await;
    for nothing in [
        "update things set few = few where id = 1",
        "update things set few = few where id < 10",
        "update things set few = few, secret = 'other'",
        "update things set few = 1 where false",
        "delete from things where false",
        "insert into things select * from things where false",
        "insert into things (id) values (1) on conflict do nothing",
    ] {
        assert_eq!(logged(&database, nothing).await, "", "{nothing}");
    }
    logged(
        &database,
        "update things set few = 1 where id in (1, 2); update things set few = id % 2 where id in (1, 2)",
    )
    .await;
    assert_eq!(database.count(LOGGED).await, 3, "a row that stays as it is is not logged beside one that doesn't");
    assert_eq!(database.count(LOST).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_may_come_and_go_in_a_session_that_writes() {
    let database = stage().await;
    for columns in
        ["", "add column later int default 7", "drop column r", "alter column few type text", "drop column c1"]
    {
        if !columns.is_empty() {
            database.run(&format!("alter table things {columns}")).await;
        }
        let few = logged(&database, "insert into things (id) values (1); update things set piece = 'q'").await;
        let many = logged(
            &database,
            "insert into things (id) select n from generate_series(2, 99) n; update things set piece = 'z'; delete from things",
        )
        .await;
        for written in [few, many] {
            let beginning = &written[..written.len().min(2_000)];
            assert_eq!(written.contains("later"), !columns.is_empty(), "{columns}: {beginning}");
            assert_eq!(
                written.contains("\"r\""),
                columns.is_empty() || columns.starts_with("add"),
                "{columns}: {beginning}"
            );
        }
    }
    assert_eq!(database.count(LOST).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_large_values_share_a_row_of_the_log_with_few_others() {
    let database = stage().await;
    let large = "(select string_agg(md5((n * i)::text), '') from generate_series(1, 3200) i)"; // 100 KB that don't compress
    // A statement's first rows don't show what is among the others.
    let skewed = format!(
        "insert into things (id, r) select n, case when n > 100 then {large} end from generate_series(1, 140) n"
    );
    logged(&database, &skewed).await;
    let longest = "select max(octet_length(new::text))::bigint from rowcast.change";
    assert!(database.count(longest).await < 600_000, "{}", database.count(longest).await);
    logged(&database, "update things set r = 'small' where id > 100").await;
    assert!(database.count(longest).await < 600_000, "{}", database.count(longest).await);

    // One that is small where it is stored.
    logged(
        &database,
        "insert into things (id, r) values (200, repeat('z', 9000000)); update things set few = 1 where id = 200",
    )
    .await;
    assert_eq!(
        database.row("select string_agg(op::text, '' order by id) from rowcast.change", &[]).await.get::<_, String>(0),
        "IU"
    );
    assert_eq!(database.count(LOST).await, 0);
    database.run("create table files (id int, body text); select rowcast.watch('files', by_statement => true)").await;
    let one_too_large = "insert into files select n, repeat('z', case n when 1 then 280000000 else 1 end) from generate_series(1, 100) n";
    logged(&database, one_too_large).await;
    assert_eq!((database.count(LOGGED).await, database.count(LOST).await), (99, 1), "a row above 256 MB");
    assert_eq!(database.count("select count(*) from files").await, 100);
}

/// Rows that are stored small though they are large as JSON: all, none any more, or all but the first.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_compress_well_are_captured_in_pieces_of_bounded_size() {
    let database = stage().await;
    let longest = async |sql: &str| {
        database.run("truncate rowcast.change").await;
        database.run(sql).await;
        assert_eq!(database.count(LOST).await, 0);
        let length =
            "select max(greatest(octet_length(old::text), octet_length(new::text)))::bigint from rowcast.change";
        database.count(length).await
    };
    database
        .run("insert into things (id, r) select n, repeat('abcdefgh', 15000) from generate_series(1, 3000) n")
        .await;
    for statement in [
        "update things set few = 1",
        "update things set r = 'short' where id <= 100",
        "update things set few = 2",
        "update things set r = 'none any more'",
    ] {
        let longest = longest(statement).await;
        assert!(longest < 2_000_000, "{statement}: {longest}");
    }
    let changes = "select sum(coalesce(json_array_length(new -> 'ids'), 1)) from rowcast.change";
    assert_eq!(database.count(changes).await, 3_000);

    longest("update things set r = 's', secret = repeat('abcdefgh', 15000)").await;
    longest("update things set few = 3").await;
    assert_eq!(database.count("select count(*) from rowcast.change").await, 12, "what is excluded makes none smaller");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_statement_takes_no_transaction_id_unless_memory_should_not_hold_it() {
    let database = stage().await;
    database.run("insert into things (id) select n from generate_series(1, 1001) n").await;
    let ids = "select count(distinct xmin::text) from rowcast.change";
    logged(
        &database,
        "begin; update things set few = 1 where id < 900; update things set few = 2 where id <= 1000; commit",
    )
    .await;
    assert_eq!(database.count(ids).await, 1, "the log's rows belong to the transaction itself");
    logged(&database, "begin; update things set few = 3; update things set few = 4 where id < 1000; commit").await;
    assert_eq!(database.count(ids).await, 2);
    assert_eq!(database.count(LOST).await, 0);
}

/// What could refuse a row of the log later, or swallow it, is found before a large statement writes there.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_fail_the_commit_of_a_large_statement_is_found_before() {
    let database = stage().await;
    database
        .run(
            "create function refuse() returns trigger language plpgsql as $$ begin raise 'refused'; end $$;
             create function swallow() returns trigger language plpgsql as $$ begin return null; end $$",
        )
        .await;
    for (number, fault) in [
        "create constraint trigger late after insert on rowcast.change deferrable initially deferred
         for each row execute function refuse()",
        "create trigger late before insert on rowcast.change for each row execute function swallow()",
    ]
    .into_iter()
    .enumerate()
    {
        database.run(fault).await;
        let insert =
            "begin; insert into things (id) select n from generate_series(1, 99) n; delete from things; commit";
        logged(&database, insert).await;
        assert_eq!(database.count(LOGGED).await, 0);
        assert_eq!(database.count(LOST).await, 2 * (number as i64 + 1));
        database.run("drop trigger late on rowcast.change").await;
    }
    assert_ne!(logged(&database, "insert into things (id) select n from generate_series(1, 99) n").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_with_an_older_snapshot_names_the_columns_as_they_are() {
    let database = stage().await;
    database.run("insert into things (id, r, secret) select n, 'r', 'hunter2' from generate_series(1, 99) n").await;
    let old = database.connect().await;
    old.batch_execute("begin isolation level repeatable read; select 1").await.unwrap();
    database.run("alter table things drop column few, add column later text; truncate rowcast.change").await;
    old.batch_execute("update things set later = 'new'; commit").await.unwrap();
    let new: String = database.row("select (new -> 'new')::text from rowcast.change", &[]).await.get(0);
    let row: Value = serde_json::from_str(&new).unwrap();
    assert_eq!(
        (&row["r"][0], &row["later"][0], row["id"][98].as_i64()),
        (&json!("r"), &json!("new"), Some(99)),
        "{row}"
    );
    assert!(!new.contains("hunter2") && row.get("few").is_none(), "{new}");
}

async fn refused(database: &Database, table: &str) -> String {
    let watch = format!("select rowcast.watch('{table}', by_statement => true)");
    let error = database.client.batch_execute(&watch).await.expect_err("refused");
    error.as_db_error().expect("of Postgres").message().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_changes_could_come_in_the_wrong_order_or_not_at_all_is_refused() {
    let database = stage().await;
    database
        .run(
            "create function mine() returns trigger language plpgsql as 'begin return new; end';
             create table own (id int); create trigger audit after update on own for each row execute function mine();
             create table before (id int); create trigger stamp before update on before for each row execute function mine();
             create function stamp() returns trigger language plpgsql as
             'begin
                -- Every update tells when it was.
                if tg_op = ''UPDATE'' /* not ''INSERT'' */ then new.id := 1; end if; return new;
              end';
             create trigger stamp_2 before insert or update on before for each row execute function stamp();
             create function only_one() returns trigger language plpgsql as
             'begin update writes set id = 0 where id <> new.id; return new; end';
             create table writes (id int); create trigger only_one before insert on writes for each row execute function only_one();
             create function calls() returns trigger language plpgsql as
             'begin new.id := only_one_more(new.id); return new; end';
             create table called (id int); create trigger calls before update on called for each row execute function calls();
             create function hides() returns trigger language plpgsql as
             'declare said text; begin said := E''it\\''s''; update hidden set id = 0; return new; end';
             create table hidden (id int); create trigger hides before update on hidden for each row execute function hides();
             create table parted (id int) partition by list (id); create table part partition of parted for values in (1);
             create table tree (id int primary key, above int references tree on update cascade);
             create table kept (id int primary key, above int references kept on delete cascade);
             create table post (id int primary key, receiver int references kept on delete cascade,
                                sender int references kept on delete set null);
             create table early (id int);
             create trigger \"Early\" after update on early for each statement execute function mine();
             create table late (id int);
             create trigger late after update on late for each statement execute function mine()",
        )
        .await;
    for (table, trigger) in
        [("own", "audit"), ("early", "Early"), ("writes", "only_one"), ("called", "calls"), ("hidden", "hides")]
    {
        let own = refused(&database, table).await;
        let beginning = format!("public.{table} cannot be captured by statement: triggers of its own");
        assert!(own.starts_with(&beginning) && own.ends_with(&format!(": {trigger}")), "{own}");
    }
    assert!(
        refused(&database, "post").await.contains("one of its foreign keys deletes rows and another one changes them")
    );
    assert!(refused(&database, "parted").await.contains("it is partitioned"));
    assert!(refused(&database, "part").await.contains("it is a partition"));
    assert!(refused(&database, "tree").await.contains("a foreign key from the table to itself"));
    let digest =
        "select rowcast.watch('things', only_columns => '{id}', digest_columns => '{r}', by_statement => true)";
    let digest = database.client.batch_execute(digest).await.expect_err("refused");
    assert!(digest.as_db_error().unwrap().message().contains("only a digest"), "{digest:?}");
    database
        .run("select rowcast.watch(t::regclass, by_statement => true) from unnest(array['before', 'kept', 'late']) t")
        .await;

    let cli = rowcast(&database.url, &["watch", "own", "--by", "statement"]).await;
    assert_ne!(cli.code, 0, "{cli:?}");
    assert!(
        cli.stderr.contains("public.own cannot be captured by statement") && cli.stderr.contains("audit"),
        "{}",
        cli.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_table_is_captured_stays_until_somebody_says_otherwise() {
    let database = stage().await;
    let triggers = async || -> String {
        let names = "select coalesce(string_agg(tgname, ' ' order by tgname), '') from pg_trigger where tgrelid = 'things'::regclass";
        database.row(names, &[]).await.get(0)
    };
    let by_statement = "_rowcast_capture _rowcast_capture_delete _rowcast_capture_insert rowcast_truncate";
    assert_eq!(triggers().await, by_statement);
    let watch = async |arguments: &[&str]| {
        rowcast(&database.url, &[&["watch", "things"], arguments].concat()).await.succeeded().stdout
    };
    assert_eq!(watch(&["--exclude", "secret"]).await, "unchanged  things\n");
    assert_eq!(watch(&["--exclude", "r"]).await, "watched  things\n");
    assert_eq!(triggers().await, by_statement);
    assert_eq!(watch(&["--exclude", "r", "--by", "row"]).await, "watched  things\n");
    assert_eq!(triggers().await, "_rowcast_capture rowcast_truncate");
    assert_eq!(
        logged(&database, "insert into things (id) select n from generate_series(1, 99) n").await.lines().count(),
        99
    );
    assert_eq!(watch(&["--exclude", "r"]).await, "unchanged  things\n");
    assert_eq!(watch(&["--exclude", "r", "--by", "statement"]).await, "watched  things\n");
    assert_eq!(logged(&database, "update things set few = 1").await.lines().count(), 1);

    database.run("alter table things disable trigger _rowcast_capture_delete").await;
    assert_eq!(
        database.count("select count(*) from rowcast.watched where enabled and relation = 'things'::regclass").await,
        0,
        "a third of it is missing"
    );
    assert_eq!(watch(&["--exclude", "r"]).await, "watched  things\n");
    assert_eq!(logged(&database, "delete from things").await.lines().count(), 1);

    // What is left of it when one is dropped, or has another name.
    database.run("alter trigger _rowcast_capture_insert on things rename to other").await;
    assert_eq!(
        database.count("select count(*) from rowcast.watched where enabled and relation = 'things'::regclass").await,
        0
    );
    database.run("alter trigger other on things rename to _rowcast_capture_insert").await;
    database.run("drop trigger _rowcast_capture on things").await;
    assert_eq!(watch(&["--exclude", "r"]).await, "watched  things\n");
    assert_eq!(logged(&database, "insert into things (id) values (1)").await.lines().count(), 1, "once");
    assert_eq!(watch(&["--exclude", "r", "--by", "statement"]).await, "watched  things\n");
    database.run("drop trigger _rowcast_capture on things").await;
    assert!(rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout.contains("undone   0005"));
    assert_eq!(triggers().await, "rowcast_truncate");
    rowcast(&database.url, &["migrate"]).await.succeeded();
    watch(&["--exclude", "r", "--by", "statement"]).await;

    assert_eq!(
        logged(&database, "insert into things (id) select n from generate_series(2, 99) n").await.lines().count(),
        1
    );
    assert!(rowcast(&database.url, &["migrate", "--down"]).await.succeeded().stdout.contains("undone   0005"));
    assert_eq!(triggers().await, "_rowcast_capture rowcast_truncate", "the version before captures it by row");
    assert_eq!(database.count(LOGGED).await, 0, "and can't read what many rows share");
    let passed = "select count(*) from rowcast.cursor where horizon::text = snapshot::text";
    assert_eq!(database.count(passed).await, 1, "nobody can resume from before");
    assert!(logged(&database, "insert into things (id, r) values (1000, 'out')").await.starts_with("I "));
    rowcast(&database.url, &["migrate"]).await.succeeded();
    assert_eq!(rowcast(&database.url, &["unwatch", "things"]).await.succeeded().stdout, "unwatched  things\n");
}

/// The application adds a trigger that writes to the table again, after it was watched: the inner statement is captured first.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_within_a_row_trigger_of_the_same_table_is_loud() {
    let database = Database::marketplace().await;
    database.run("select rowcast.watch('products', by_statement => true)").await;
    let service = Service::start(&database).await;
    let mut viewer = service.visit().await;
    viewer.emit_with_ack("join:product", json!({ "productId": "product-1" })).await;
    database
        .run(
            "create function restock() returns trigger language plpgsql as
             'begin update products set stock = 100 where id = new.id and stock = 0; return null; end';
             create trigger restock after update on products for each row execute function restock()",
        )
        .await;
    database.run("update products set stock = 7 where id = 'product-1'").await;
    viewer.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == 7).await;
    assert_eq!(database.count(LOST).await, 0, "no statement within another");

    database.run("update products set stock = 0 where id = 'product-1'").await;
    assert_eq!(database.count("select stock::bigint from products where id = 'product-1'").await, 100);
    assert_eq!(viewer.event_named("rowcast:resync").await["reason"], "changes were lost");
    assert_eq!(database.count(LOST).await, 1);

    let by_row = rowcast(&database.url, &["watch", "products", "--by", "row"]).await.succeeded();
    assert_eq!(by_row.stdout, "watched  products\n");
    database.run("update products set stock = 0 where id = 'product-1'").await;
    viewer.events_until(|name, event| name == "product:stock_changed" && event["data"]["newStock"] == 100).await;
    assert_eq!(database.count(LOST).await, 1);
    service.stop().await;
}

/// Writes to the whole don't call the triggers of a part.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_becomes_a_partition_is_not_captured_any_more_and_that_is_said() {
    let database = stage().await;
    let captured = "select count(*) from rowcast.watched where enabled and relation = 'things'::regclass";
    assert_eq!(database.count(captured).await, 1);
    database.run("create table whole (like things) partition by range (id); alter table whole attach partition things default").await;
    assert_eq!(database.count(captured).await, 0);
    let told = rowcast(&database.url, &["watch", "things", "--exclude", "secret"]).await;
    assert!(told.code != 0 && told.stderr.contains("it is a partition"), "{told:?}");
    rowcast(&database.url, &["watch", "things", "--exclude", "secret", "--by", "row"]).await.succeeded();
    assert_eq!(database.count(captured).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_of_another_table_may_write_to_it() {
    let database = stage().await;
    database
        .run(
            "create table orders (id int);
             create function take() returns trigger language plpgsql as
             'begin update things set few = few - 1 where id <= new.id; return null; end';
             create trigger take after insert on orders for each row execute function take()",
        )
        .await;
    database.run("insert into things (id, few) select n, 10 from generate_series(1, 100) n").await;
    let written = logged(&database, "insert into orders values (1), (99)").await;
    assert_eq!(written.lines().map(|line| &line[..1]).collect::<String>(), "Uu");
    assert_eq!(database.count(LOST).await, 0);
}

const RULE: &str = r#"
[[room]]
room = "all"
join = "true"

[[rule]]
event = "thing:changed"
table = "things"
on = ["insert", "update", "delete"]
to = [{ rooms = ["all"] }]

[rule.data]
id = "row.id"
few = "op == 'insert' ? 0 : 100 / old.few"
op = "op"
"#;

async fn entered(process: &Process) -> Client {
    let client = connect(process.address, "anybody").await;
    let joined = client.emit_with_ack("join", json!({ "room": "all" })).await;
    assert_eq!(joined["success"], true, "{joined}");
    client
}

/// Each of the rows that share one of the log is a change of its own: in the dead letter, in a trace, and when it comes again.
#[tokio::test(flavor = "multi_thread")]
async fn each_row_of_a_large_statement_is_a_change_of_its_own() {
    let database = stage().await;
    let rules = Files::new(&[("rules.toml", RULE)]);
    let process = Process::start_with(&database.url, &["--catalog", rules.path()]).await.ready().await;
    let mut client = entered(&process).await;
    database.run("insert into things (id, few) select n, n % 2 from generate_series(1, 100) n").await;
    let mut events: Vec<Value> = Vec::new();
    for id in 1..=100 {
        events.push(client.event_named("thing:changed").await);
        assert_eq!(events[id - 1]["data"]["id"], id);
    }
    let id_of = |event: &Value| event["metadata"]["id"].as_str().expect("an id").to_owned();
    let ids: std::collections::HashSet<String> = events.iter().map(id_of).collect();
    assert_eq!(ids.len(), 100);

    // Every second one can't be divided by.
    database.run("update things set few = 5").await;
    for id in 1..=50 {
        assert_eq!(client.event_named("thing:changed").await["data"]["id"], 2 * id - 1);
    }
    eventually("each failure has its letter", async || {
        database.count("select count(distinct change_id) from rowcast.dead_letter").await == 50
    })
    .await;

    let forty_second = id_of(&events[41]);
    let change = forty_second.split('-').next().expect("the change's id");
    let rows = "select count(*) from rowcast.change where id = $1::text::bigint";
    let of_its_own: i64 = database.row(rows, &[&change]).await.get(0);
    assert_eq!(of_its_own, 0, "it shares a row of the log with others");
    let admin = format!("http://{}", process.admin);
    let trace = ["trace", "--admin", &admin, "--catalog", rules.path(), "--change", change];
    let told = rowcast(&database.url, &trace).await.succeeded().stdout;
    assert!(told.contains("insert of things") && told.contains("fires   thing:changed"), "{told}");
    assert!(process.terminate().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_says_what_no_statement_wrote_ends_the_session_with_the_reason() {
    let database = stage().await;
    let (config, _rules) = shelf::with_lookup("things", "select 'x' as key, 'y' as name where $1::text[] is null");
    let service = Service::start_with(&database, config).await;
    database
        .run(
            r#"insert into rowcast.change (id, xid, slot, op, at, schema, "table", new)
               values (nextval('rowcast.change_id'), pg_current_xact_id(), 0, 'u', now(), 'public', 'things', '{"ids": [99]}')"#,
        )
        .await;
    eventually("it says what it found", async || {
        let (status, reason) = crate::support::service::get(service.admin, "/readyz").await.unwrap();
        status == 503 && reason.contains("rows of a statement that end with the id Some(99)")
    })
    .await;
    service.stop().await;
}
