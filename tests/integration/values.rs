//! Every value arrives as Postgres has it, whatever the tables and columns are called.

use std::path::Path;

use rowcast::{change::TableName, config::Config};
use serde_json::{Value, json};

use super::cli::Files;
use crate::support::{client::Client, database::Database, service::Service};

const ROOM: &str = r#"
[[room]]
room = "product:{id}"
join = "true"
message = { name = "product", key = "productId" }
"#;

/// A table that is watched, a rule that passes columns of it on, and a client that hears it.
struct Stage {
    database: Database,
    service: Service,
    client: Client,
    _rules: Files,
}

impl Stage {
    /// `columns` are the data: its key, and the column as an expression. The room is `product:all`.
    async fn set(ddl: &str, table: &str, watched: &str, columns: &[(&str, &str)]) -> Self {
        let database = Database::empty().await;
        database.run(ddl).await;
        database.migrate().await;
        database.client.execute("select rowcast.watch($1::text::regclass)", &[&watched]).await.expect("watch");
        let data: String = columns.iter().map(|(key, column)| format!("{key} = {column:?}\n")).collect();
        let rule = format!(
            "[[rule]]\nevent = \"odd:changed\"\ntable = {}\non = [\"insert\", \"update\", \"delete\"]\n\
             to = [{{ rooms = [\"product:all\"] }}]\n[rule.data]\nop = \"op\"\n{data}",
            json!(table)
        );
        let rules = Files::new(&[("rooms.toml", ROOM), ("rules.toml", &rule)]);
        let mut config = Config::default();
        config.catalog.dir = Some(Path::new(rules.path()).to_owned());
        let service = Service::start_with(&database, config).await;
        assert_eq!(service.metric("rowcast_rules_inactive").await, 0.0, "the rule is live");
        let client = service.visit().await;
        let joined = client.emit_with_ack("join:product", json!({ "productId": "all" })).await;
        assert_eq!(joined["success"], true, "{joined}");
        Self { database, service, client, _rules: rules }
    }

    /// The data of the next event.
    async fn data(&mut self) -> Value {
        self.client.event_named("odd:changed").await["data"].take()
    }

    /// What Postgres makes of the table's only row.
    async fn json_of(&self, expression: &str, table: &str) -> Value {
        let text: String = self.database.row(&format!("select ({expression})::text from {table} t"), &[]).await.get(0);
        serde_json::from_str(&text).expect("JSON")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_every_script_arrives_as_it_was_written() {
    let mut stage =
        Stage::set("create table notes (id int primary key, body text)", "notes", "notes", &[("body", "row.body")])
            .await;
    let texts = [
        "Grüße, œuvre, Łódź, ñandú, İstanbul, ß",
        "Ελληνικά, Русский, Українська, Հայերեն, ქართული",
        "中文，繁體字，日本語かなカナ，한국어，Tiếng Việt",
        "العربية ،עברית, فارسی — \u{202e}right to left\u{202c} \u{200f}",
        "हिन्दी বাংলা தமிழ் తెలుగు ไทย ລາວ မြန်မာ ខ្មែរ አማርኛ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ ⴰⵎⴰⵣⵉⵖ",
        "👩‍👩‍👧‍👦 🏳️‍🌈 🇺🇳 👍🏽 🫠 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𒀀𒁀 𓂀",
        "e\u{301} a\u{30a} Z\u{351}\u{36b}\u{343}a\u{32c}lgo \u{feff}bom \u{200b}zero \u{a0}nbsp",
        "\u{1}\u{2}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{1b}\u{1f}\u{7f}\u{80}\u{9f}\u{2028}\u{2029}",
        r#"quotes " ' ` and backslashes \ \\ \u0041 \n / </script><!-- {{}} %s $1 ${x} ; drop table notes; --"#,
        "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}",
        "",
        " ",
        "null",
    ];
    for (id, text) in texts.iter().enumerate() {
        let id = i32::try_from(id).unwrap();
        stage.database.client.execute("insert into notes values ($1, $2)", &[&id, text]).await.expect("insert");
        assert_eq!(stage.data().await["body"], *text);
    }
    stage.database.run("insert into notes values (99, null)").await;
    assert_eq!(stage.data().await["body"], Value::Null);
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_two_megabytes_arrives_whole() {
    let mut stage =
        Stage::set("create table notes (id int primary key, body text)", "notes", "notes", &[("body", "row.body")])
            .await;
    stage
        .database
        .run("insert into notes select 1, string_agg(md5(n::text) || 'ü\"\\', ' ') from generate_series(1, 60000) n")
        .await;
    let body: String = stage.database.row("select body from notes", &[]).await.get(0);
    assert!(body.len() > 2_000_000);
    let data = stage.data().await;
    assert!(data["body"] == body, "{} bytes arrived", data["body"].as_str().map_or(0, str::len));
    stage.database.run("update notes set body = body || 'end'").await;
    assert_eq!(stage.data().await["body"].as_str().map(str::len), Some(body.len() + 3));
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_times_keep_every_digit() {
    let columns = [
        "exact", "money", "nan", "negative", "small", "big", "double", "missing", "at", "local", "day", "clock",
        "span", "flag", "key", "bytes", "exacts", "moments", "words", "matrix", "nothing", "state", "price", "periods",
    ];
    let data: Vec<(&str, String)> = columns.iter().map(|name| (*name, format!("row.{name}"))).collect();
    let data: Vec<(&str, &str)> = data.iter().map(|(key, column)| (*key, column.as_str())).collect();
    let ddl = "
        create type mood as enum ('sad', 'very happy');
        create domain amount as numeric(12, 2) check (value >= 0);
        create table kinds (id int primary key, exact numeric, money numeric(10, 2), nan numeric, negative numeric,
          small smallint, big bigint, double double precision, missing numeric, at timestamptz, local timestamp, day date,
          clock time, span interval, flag boolean, key uuid, bytes bytea, exacts numeric[], moments timestamptz[],
          words text[], matrix int[][], nothing int[], state mood, price amount, periods tstzrange)";
    let mut stage = Stage::set(ddl, "kinds", "kinds", &data).await;
    stage
        .database
        .run(
            r#"set timezone = 'Asia/Kolkata';
               insert into kinds values (1,
                 123456789012345678901234567890.123456789012345678901234567890, 7.10, 'NaN', -0.000000000000000000000000000001,
                 -32768, 9007199254740993, 0.1, null, '2026-01-31 12:00:00.123456+05:30', '2026-01-31 12:00:00', '2026-02-28',
                 '23:59:59.5', '1 day 02:03:04', true, '00000000-0000-4000-8000-00000000000a', '\xdeadbeef',
                 '{1.50,NULL,NaN,12345678901234567890.5}', '{"2026-01-31 12:00:00+00"}', '{"a,b","{c}","\"",NULL}',
                 '{{1,2},{3,4}}', '{}', 'very happy', 19.90, '["2026-01-01 00:00+00","2026-01-02 00:00+00")')"#,
        )
        .await;
    let data = stage.data().await;
    for (key, expected) in [
        ("exact", json!("123456789012345678901234567890.123456789012345678901234567890")),
        ("money", json!("7.10")),
        ("nan", json!("NaN")),
        ("negative", json!("-0.000000000000000000000000000001")),
        ("small", json!(-32768)),
        ("big", json!(9_007_199_254_740_993_i64)),
        ("double", json!(0.1)),
        ("missing", Value::Null),
        ("at", json!("2026-01-31T06:30:00.123456Z")),
        ("local", json!("2026-01-31T12:00:00.000Z")),
        ("price", json!("19.90")),
        ("exacts", json!(["1.50", null, "NaN", "12345678901234567890.5"])),
        ("moments", json!(["2026-01-31T12:00:00.000Z"])),
    ] {
        assert_eq!(data[key], expected, "{key}");
    }
    for key in ["day", "clock", "span", "flag", "key", "bytes", "words", "matrix", "nothing", "state"] {
        assert_eq!(data[key], stage.json_of(&format!("to_jsonb({key})"), "kinds").await, "{key}");
    }
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jsonb_of_any_shape_arrives_as_it_is() {
    let ddl = "create table documents (id int primary key, body jsonb, raw json)";
    let mut stage = Stage::set(ddl, "documents", "documents", &[("body", "row.body"), ("raw", "row.raw")]).await;
    let mut shapes = vec![
        r#"{"": {"": [{}, [], "", null, true, false, 0]}, " ": 1, "a.b": 2, "\"": 3, "ключ": {"🙂": "ü"}}"#.to_owned(),
        "[]".to_owned(),
        "\"text\"".to_owned(),
        "null".to_owned(),
        "[9007199254740993, -1.5, 1e-7, 0.30000000000000004]".to_owned(),
        r#"{"__proto__": {"polluted": true}, "constructor": 1}"#.to_owned(),
        format!("{}1{}", "[".repeat(100), "]".repeat(100)),
        format!("[1{}]", "0".repeat(300)),
    ];
    shapes.push(format!("[{}0]", "{\"k\": 1}, ".repeat(20_000)));
    for (id, shape) in shapes.iter().enumerate() {
        let id = i32::try_from(id).unwrap();
        let sql = "insert into documents values ($1, $2::text::jsonb, $2::text::json)";
        stage.database.client.execute(sql, &[&id, shape]).await.expect("insert");
        let expected: Value = serde_json::from_str(shape).expect("JSON");
        let data = stage.data().await;
        assert!(data["body"] == expected && data["raw"] == expected, "{shape:.200}: {:.300}", data.to_string());
    }
    // Numbers that no double holds, and nesting beyond what a JSON parser follows: the log takes them, and so does whoever
    // only passes them on.
    let left = stage.client.emit_with_ack("leave:product", json!({ "productId": "all" })).await;
    assert_eq!(left["success"], true, "{left}");
    let huge = format!("1{}", "0".repeat(400));
    stage.database.run(&format!("insert into documents values (100, '[{huge}]', null)")).await;
    stage
        .database
        .run(&format!("insert into documents values (101, '{}{}', null)", "[".repeat(1000), "]".repeat(1000)))
        .await;
    stage.database.run("insert into documents values (102, '1', null)").await;
    eventually_all_swept(&stage, shapes.len() as f64 + 3.0).await;
    assert_eq!(stage.service.metric("rowcast_dead_letters_total").await, 0.0);
    stage.service.stop().await;
}

async fn eventually_all_swept(stage: &Stage, count: f64) {
    crate::support::eventually("all changes are swept", async || {
        stage.service.metric("rowcast_changes_swept_total*").await == count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_may_be_quoted_mixed_and_in_another_schema() {
    let ddl = r#"
        create schema "Löwen Shop";
        create table "Löwen Shop"."Odd ""Table" (
          "Id" int, "part two" int, "Select" numeric, "a.b" text, "quo""te" text, "back\slash" text, "日本" text, "rowcast" text,
          primary key ("Id", "part two"))"#;
    let columns = [
        ("id", "row.Id"),
        ("part", "row['part two']"),
        ("choice", "row.Select"),
        ("dotted", "row['a.b']"),
        ("quoted", r#"row['quo"te']"#),
        ("slashed", r"row['back\\slash']"),
        ("script", "row['日本']"),
    ];
    let mut stage = Stage::set(ddl, r#"Löwen Shop.Odd "Table"#, r#""Löwen Shop"."Odd ""Table""#, &columns).await;
    let table = r#""Löwen Shop"."Odd ""Table""#;
    stage
        .database
        .run(&format!("insert into {table} values (1, 2, 3.10, 'dot', 'quote', 'slash', 'にほん', 'x')"))
        .await;
    let mut expected = json!({ "op": "insert", "id": 1, "part": 2, "choice": "3.10", "dotted": "dot", "quoted": "quote",
        "slashed": "slash", "script": "にほん" });
    assert_eq!(stage.data().await, expected);

    // A part of the composite key changes: an update with the row before and after.
    stage.database.run(&format!(r#"update {table} set "part two" = 3, "a.b" = null"#)).await;
    expected["op"] = json!("update");
    expected["part"] = json!(3);
    expected["dotted"] = Value::Null;
    assert_eq!(stage.data().await, expected);
    let row =
        stage.database.row(r#"select old ->> 'part two', new ->> 'part two' from rowcast.change where op = 'U'"#, &[]);
    let (old, new): (String, String) = {
        let row = row.await;
        (row.get(0), row.get(1))
    };
    assert_eq!((old.as_str(), new.as_str()), ("2", "3"));

    stage.database.run(&format!("delete from {table}")).await;
    expected["op"] = json!("delete");
    assert_eq!(stage.data().await, expected);
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_partitions_are_the_partitioned_tables() {
    let ddl = "create schema parts;
               create table sales (id int, day date, primary key (id, day)) partition by range (day);
               create table parts.early partition of sales for values from ('2026-01-01') to ('2026-07-01')
                 partition by list (id);
               create table parts.early_rest partition of parts.early default";
    let mut stage = Stage::set(ddl, "sales", "sales", &[("id", "row.id"), ("day", "row.day")]).await;
    stage.database.run("insert into sales values (1, '2026-02-03')").await;
    assert_eq!(stage.data().await, json!({ "op": "insert", "id": 1, "day": "2026-02-03" }));
    // A partition that comes later is watched from its first row on; a row that moves leaves one and enters the other.
    stage
        .database
        .run("create table parts.late partition of sales for values from ('2026-07-01') to ('2027-01-01')")
        .await;
    stage.database.run("update sales set day = '2026-08-09'").await;
    assert_eq!(stage.data().await, json!({ "op": "delete", "id": 1, "day": "2026-02-03" }));
    assert_eq!(stage.data().await, json!({ "op": "insert", "id": 1, "day": "2026-08-09" }));
    stage.database.run("update parts.late set id = 2").await;
    assert_eq!(stage.data().await, json!({ "op": "update", "id": 2, "day": "2026-08-09" }));
    stage.database.run("truncate sales").await;
    stage.client.event_named("rowcast:resync").await;
    assert_eq!(stage.database.count(r#"select count(*) from rowcast.change where "table" <> 'sales'"#).await, 0);
    stage.database.run("select rowcast.unwatch('sales')").await;
    stage.database.run("insert into sales values (1, '2026-02-03')").await;
    assert_eq!(stage.database.count("select count(*) from rowcast.change where op = 'I'").await, 2);
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_tells_clients_to_load_anew() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut seller = service.connect("seller-1").await;
    database.run("truncate products").await;
    let resync = seller.event_named("rowcast:resync").await;
    assert!(resync["reason"].as_str().is_some_and(|reason| reason.contains("truncated")), "{resync}");
    service.stop().await;
}

/// From Postgres 18 on. Triggers see null in such a column, so its value can't be told, and that it is null isn't so.
#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_column_is_none_of_a_rows_columns_and_rules_that_name_it_are_inactive() {
    let database = Database::empty().await;
    if database.count("select current_setting('server_version_num')::bigint").await < 180_000 {
        return;
    }
    database
        .run(
            "create table sums (id int primary key, amount int, twice int generated always as (amount * 2) virtual,
                                stored int generated always as (amount * 3) stored)",
        )
        .await;
    database.migrate().await;
    for by_statement in ["false", "true"] {
        database.run(&format!("select rowcast.watch('sums', by_statement => {by_statement})")).await;
        let tables = rowcast::capture::read_tables(&database.client).await.unwrap();
        let table = tables.get(&TableName::new("public", "sums")).unwrap();
        let columns: Vec<&str> = table.columns.keys().map(|name| &**name).collect();
        assert_eq!(columns, ["amount", "id", "stored"]);
        assert!(table.virtual_columns.contains("twice"), "{table:?}");
    }
    let rule = |column: &str| {
        format!(
            "[[rule]]\nevent = \"sum:{column}\"\ntable = \"sums\"\non = [\"insert\"]\n\
             to = [{{ rooms = [\"product:all\"] }}]\n[rule.data]\nsum = \"row.{column}\"\n"
        )
    };
    let rules = [rule("twice"), rule("stored")].concat();
    let rules = Files::new(&[("rooms.toml", ROOM), ("rules.toml", &rules)]);
    let mut config = Config::default();
    config.catalog.dir = Some(Path::new(rules.path()).to_owned());
    let service = Service::start_with(&database, config).await;
    assert_eq!(service.metric("rowcast_rules_inactive").await, 1.0);
    let mut client = service.visit().await;
    client.emit_with_ack("join:product", json!({ "productId": "all" })).await;
    database.run("insert into sums (id, amount) select n, n from generate_series(1, 100) n").await;
    for n in 1..=100 {
        assert_eq!(client.event_named("sum:stored").await["data"]["sum"], 3 * n);
    }
}
