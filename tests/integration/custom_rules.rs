//! Rules of one's own: what `rowcast catalog init` writes works, `show` prints it, and `test` says what `serve` would do
//! with a change, and why not more.

use std::{fs, sync::Arc};

use rowcast::{
    capture::Look,
    catalog::{Catalog, Engine, Explainer, Hearing, Settings, Verdict},
    change::Page,
    position::{Position, Seen},
};
use serde_json::{Value, json};

use crate::{
    cli::Files,
    support::{
        command::{Ran, rowcast, rowcast_command, run},
        database::Database,
    },
};

const HELPDESK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/helpdesk/catalog");
const SCHEMA: &str = include_str!("../../examples/helpdesk/schema.sql");
const SEED: &str = include_str!("../../examples/helpdesk/seed.sql");

/// The help desk's database, with `tickets` and `comments` watched.
async fn helpdesk() -> Database {
    let database = Database::empty().await;
    database.run(SCHEMA).await;
    database.run(SEED).await;
    database.migrate().await;
    database.run("select rowcast.watch('tickets'), rowcast.watch('comments')").await;
    database
}

/// `rowcast catalog test` on a change in JSON; without a database where `url` is "".
async fn test(url: &str, catalog: &str, change: &Value) -> Ran {
    let mut command = rowcast_command(url);
    run(command.args(["catalog", "test", "--catalog", catalog]), &change.to_string()).await
}

async fn show_json(arguments: &[&str]) -> Value {
    let shown = rowcast("", &[&["catalog", "show", "--json"], arguments].concat()).await.succeeded();
    serde_json::from_str(&shown.stdout).expect("JSON")
}

fn directory() -> (Files, String) {
    let files = Files::new(&[]);
    let path = format!("{}/mine", files.path());
    (files, path)
}

#[track_caller]
fn assert_says(ran: &Ran, expected: &[&str]) {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for line in expected {
        assert!(ran.stdout.contains(line), "expected {line:?} in\n{}", ran.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn init_writes_a_catalog_without_faults_and_never_over_a_file() {
    let (_files, mine) = directory();
    let wrote = rowcast("", &["catalog", "init", &mine]).await.succeeded();
    assert!(wrote.stdout.contains("rooms.toml") && wrote.stdout.contains("rules.toml"), "{}", wrote.stdout);
    assert_eq!(show_json(&["--catalog", &mine]).await["rules"][0]["event"], "task:done");

    fs::remove_file(format!("{mine}/rooms.toml")).unwrap();
    fs::write(format!("{mine}/rules.toml"), "# mine").unwrap();
    let again = rowcast("", &["catalog", "init", &mine]).await;
    assert_eq!(again.code, 3, "{}", again.stdout);
    assert!(
        again.stderr.contains("rules.toml is there already") && again.stderr.contains("nothing was written"),
        "{}",
        again.stderr
    );
    assert_eq!(fs::read_to_string(format!("{mine}/rules.toml")).unwrap(), "# mine");
    assert!(!fs::exists(format!("{mine}/rooms.toml")).unwrap(), "all files or none");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_that_init_writes_works_on_the_table_that_it_names() {
    let database = Database::empty().await;
    database
        .run(
            "create table tasks (id int primary key, title text, done boolean, owner_id text);
             insert into tasks values (1, 'Water the plants', null, 'ann')",
        )
        .await;
    database.migrate().await;
    rowcast(&database.url, &["watch", "tasks"]).await.succeeded();
    let (_files, mine) = directory();
    rowcast("", &["catalog", "init", &mine]).await.succeeded();
    let checked = rowcast(&database.url, &["check", "--catalog", &mine, "--json"]).await.succeeded();
    let report: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    assert_eq!((&report["events"][0]["state"], &report["warnings"]), (&json!("live"), &json!([])), "{report}");
    for (update, expected) in [
        ("done = true", "fires   task:done"),
        ("done = null", "silent  task:done: when is false"),
        ("done = false", "silent  task:done: when is false"),
        ("done = true", "fires   task:done"),
        ("title = 'Water them'", "silent  task:done: done did not change"),
    ] {
        database.run(&format!("update tasks set {update}")).await;
        let id = database.count("select max(id) from rowcast.change").await.to_string();
        let ran = rowcast(&database.url, &["catalog", "test", "--catalog", &mine, "--change", &id]).await;
        assert_says(&ran, &[expected]);
        let told = ran.stdout.contains(r#""data":{"taskId":1,"title":"Water the plants"}"#);
        assert_eq!(told, expected.starts_with("fires"), "{}", ran.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_catalog_is_copied_whole() {
    let (_files, mine) = directory();
    rowcast("", &["catalog", "init", &mine, "--built-in"]).await.succeeded();
    let sorted = |mut outline: Value| {
        // A directory is read in the order of the names, the built-in catalog in an order of its own.
        for list in ["rules", "lookups", "schedules", "waiting", "rooms"] {
            outline[list].as_array_mut().unwrap().sort_by_key(Value::to_string);
        }
        outline
    };
    assert_eq!(sorted(show_json(&["--catalog", &mine]).await), sorted(show_json(&[]).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn init_writes_rules_from_the_columns_that_a_table_has() {
    let database = helpdesk().await;
    database
        .run(
            r#"create schema shop;
               create table shop."Odd Names" ("Order" int, "in" int, "a b" text, api_token text, primary key ("Order", "in"));
               create table logs (line text)"#,
        )
        .await;
    rowcast(&database.url, &["watch", r#"shop."Odd Names""#]).await.succeeded();
    rowcast(&database.url, &["watch", "logs"]).await.succeeded();
    let (_files, mine) = directory();
    let arguments = ["catalog", "init", &mine, "--table", r#"tickets,shop."Odd Names""#, "--table", "logs"];
    let wrote = rowcast(&database.url, &arguments).await.succeeded();
    assert!(wrote.stdout.contains(r#"rowcast watch 'shop."Odd Names"'"#), "{}", wrote.stdout);

    let change = json!({ "table": "tickets", "op": "update", "old": { "id": 1, "status": "open" }, "new": { "id": 1, "status": "solved" } });
    let ran = test(&database.url, &mine, &change).await;
    assert_says(
        &ran,
        &["fires   ticket:updated", "to tickets", r#""data":{"ticketId":1,"changes":{"status":"solved"}}"#],
    );
    let change = json!({ "table": "shop.Odd Names", "op": "insert", "new": { "Order": 1, "in": 2, "a b": "c", "api_token": "hunter2" } });
    let ran = test(&database.url, &mine, &change).await;
    assert_says(&ran, &["fires   Odd_Name:created", r#""data":{"Order":1,"in":2,"a b":"c"}"#]);
    assert!(!ran.stdout.contains("hunter2"), "what sounds secret is left out: {}", ran.stdout);
    let ran = test(&database.url, &mine, &json!({ "table": "logs", "op": "delete", "old": { "line": "x" } })).await;
    assert_says(&ran, &["fires   log:deleted", r#""data":{"line":"x"}"#]);

    let (_files, other) = directory();
    for (url, table, code, expected) in [
        (&*database.url, "nothing", 3, "there is no table nothing"),
        ("", "tickets", 3, "DATABASE_URL is not set"),
        ("postgres://nobody@127.0.0.1:1/none", "tickets", 5, "cannot reach the database"),
    ] {
        let ran = rowcast(url, &["catalog", "init", &other, "--table", table]).await;
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
    assert!(!fs::exists(&other).unwrap(), "nothing is written then");
}

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_the_catalog_or_the_events_that_are_asked_for() {
    let whole = rowcast("", &["catalog", "show", "--catalog", HELPDESK]).await.succeeded().stdout;
    for expected in
        ["ticket:solved", "user:{ticket.customer_id}  when !row.internal", "lookup ticket, returns one", "room agents"]
    {
        assert!(whole.contains(expected), "{expected:?} in {whole}");
    }
    let one = rowcast("", &["catalog", "show", "--catalog", HELPDESK, "comment:added"]).await.succeeded().stdout;
    assert!(
        one.contains("lookup ticket, returns one") && !one.contains("ticket:solved") && !one.contains("room agents"),
        "{one}"
    );
    let none = rowcast("", &["catalog", "show", "--catalog", HELPDESK, "ticket:lost"]).await;
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("ticket:lost") && none.stderr.contains("ticket:solved"), "{}", none.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn show_takes_the_names_and_patterns_that_check_takes() {
    let shown = rowcast("", &["catalog", "show", "stock:*", "inbox:order"]).await.succeeded().stdout;
    for expected in
        ["stock:low\n", "stock:out\n", "stock:restocked\n", "(rule inbox:order.placed)", "(rule inbox:order.changed)"]
    {
        assert!(shown.contains(expected), "{expected:?} in {shown}");
    }
    assert!(!shown.contains("product:created") && !shown.contains("inbox:payment"), "{shown}");
    let none = rowcast("", &["catalog", "show", "stocks:*"]).await;
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("Such as it: stock:"), "{}", none.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_reads_what_the_change_lacks_is_unknown_and_the_columns_are_listed_once() {
    let partial = json!({ "table": "products", "op": "insert", "new": { "id": "p" } });
    let ran = run(rowcast_command("").args(["catalog", "test"]), &partial.to_string()).await;
    assert_says(
        &ran,
        &["unknown product:created: it reads row.name, row.price, row.seller_id, row.stock, row.status\n"],
    );
    let lacking: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("The change lacks ")).collect();
    assert_eq!(
        lacking,
        [
            "The change lacks row.name, row.price, row.seller_id, row.status, row.stock, which rules read; a row of the database has every column."
        ]
    );
    let json =
        run(rowcast_command("").args(["catalog", "test", "--json"]), &partial.to_string()).await.succeeded().stdout;
    let rules = serde_json::from_str::<Value>(&json).expect("JSON")["rules"].clone();
    assert_eq!(rules[0]["outcome"], "unknown", "{rules}");
}

#[tokio::test(flavor = "multi_thread")]
async fn test_says_why_a_rule_does_not_fire() {
    let database = helpdesk().await;
    database
        .run("create table drafts (id int primary key, owner text, title text); select rowcast.watch('drafts')")
        .await;
    let files = Files::new(&[(
        "rules.toml",
        r#"
        room = [{ room = "user:{id}", join = "true" }, { room = "all", join = "true" }]

        [[lookup]]
        name = "holders"
        returns = "many"
        sql = "select ticket_id as key, author_id from comments where ticket_id::text = any ($1::text[])"

        [[lookup]]
        name = "broken"
        returns = "one"
        sql = "select id as key, name from no_such_table where id = any ($1::text[])"

        [[rule]]
        event = "draft:each"
        table = "drafts"
        on = ["insert", "update"]
        lookups = { holders = { use = "holders", key = "row.id" } }
        to = [{ each = "holders", rooms = ["user:{each.author_id}"] }]

        [[rule]]
        event = "draft:partly"
        table = "drafts"
        on = ["insert", "update"]
        lookups = { broken = { use = "broken", key = "row.id" } }
        to = [{ rooms = ["user:{broken.name}"] }, { rooms = ["all"], changes = ["title"] }]

        [[rule]]
        event = "draft:failing"
        table = "drafts"
        on = ["insert"]
        when = "row.owner < 10"
        to = [{ rooms = ["all"] }]

        [[rule]]
        event = "draft:gone"
        table = "drafts"
        on = ["insert"]
        when = "row.no_such_column"
        to = [{ rooms = ["all"] }]

        [[rule]]
        event = "draft:to_owner"
        table = "drafts"
        on = ["insert"]
        to = [{ rooms = ["user:{row.owner}"] }]
        "#,
    )]);
    let insert = json!({ "table": "drafts", "op": "insert", "new": { "id": 1, "owner": null, "title": "x" } });
    let ran = test(&database.url, files.path(), &insert).await;
    assert_says(
        &ran,
        &[
            r#"silent  draft:each
        not to user:{each.author_id}: the lookup "holders" found no row for "1""#,
            "fires   draft:partly",
            r#"not to user:{broken.name}: inactive: the audience user:{broken.name} hears nothing: the lookup "broken" can't be run"#,
            "failed  draft:failing: `row.owner < 10`",
            r#"silent  draft:gone: inactive: the table drafts has no column "no_such_column""#,
            "silent  draft:to_owner\n        not to user:{row.owner}: no room is named, since row.owner is null",
        ],
    );
    let update = json!({ "table": "drafts", "op": "update", "old": { "id": 1, "owner": null, "title": "x" }, "new": { "id": 1, "owner": "u", "title": "x" } });
    let ran = test(&database.url, files.path(), &update).await;
    assert_says(&ran, &["silent  draft:partly", "not to all: of the columns that it may see, none changed (title)"]);

    // Nobody looks the database's tables up here, and a rule that needs no lookup is told all the same.
    let ran = test("", files.path(), &insert).await;
    assert_says(
        &ran,
        &[
            "unknown draft:each\n        to user:{each.author_id}, depending on the lookup holders",
            "no lookup was run",
            "The change lacks row.no_such_column, which rules read; a row of the database has every column.",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_person_writes_is_taken_as_capture_would_give_it() {
    let database = helpdesk().await;
    let ticket =
        json!({ "id": 1, "customer_id": "carol", "agent_id": null, "title": "x", "status": "open", "fee": null });
    let mut solved = ticket.clone();
    solved["status"] = json!("solved");
    let mut change = json!({ "table": "tickets", "op": "UPDATE", "old": ticket, "new": solved, "actor": "ada", "at": "2026-01-31T13:00:00+01:00" });
    // As text, since a float would lose the digits before rowcast sees them.
    change["new"]["fee"] = json!("FEE");
    let change = change.to_string().replace("\"FEE\"", "12.50");
    for (url, fee) in [(&*database.url, r#""fee":"12.50""#), ("", r#""fee":12.50"#)] {
        let ran = run(rowcast_command(url).args(["catalog", "test", "--catalog", HELPDESK, "-"]), &change).await;
        assert_says(&ran, &["fires   ticket:solved", fee, r#""timestamp":"2026-01-31T12:00:00.000Z","userId":"ada""#]);
    }

    let none =
        test(&database.url, HELPDESK, &json!({ "table": "users", "op": "delete", "old": { "id": "dave" } })).await;
    assert_says(&none, &[r#"No rule is about users. The catalog has rules about "comments", "tickets"."#]);
    for (change, expected) in [
        (json!({ "table": "tickets", "op": "update", "new": {} }), "standard input: \"old\" is missing"),
        (
            json!({ "table": "tickets", "op": "insert", "new": 7 }),
            "\"new\": expected the row as an object of columns, found 7",
        ),
        (json!({ "table": "tickets", "operation": "insert" }), "unknown key \"operation\""),
    ] {
        let ran = test(&database.url, HELPDESK, &change).await;
        assert_eq!(ran.code, 3, "{}", ran.stdout);
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_log_and_a_dead_letter_can_be_tried() {
    let database = helpdesk().await;
    database.run("update tickets set status = 'solved', fee = 7.10 where id = 1").await;
    let id = database.count("select max(id) from rowcast.change").await;
    let of = async |id: i64, url: &str| {
        rowcast(url, &["catalog", "test", "--json", "--catalog", HELPDESK, "--change", &id.to_string()]).await
    };
    let told: Value = serde_json::from_str(&of(id, &database.url).await.succeeded().stdout).unwrap();
    let solved = told["rules"].as_array().unwrap().iter().find(|rule| rule["event"] == "ticket:solved").unwrap();
    assert_eq!(solved["outcome"], "fires");
    let heard = &solved["audiences"][0]["hears"][0];
    assert_eq!(heard["rooms"], json!(["agents", "user:carol"]));
    assert_eq!(heard["envelope"]["data"], json!({ "ticketId": 1, "title": "The printer is on fire", "fee": "7.10" }));
    let opened = told["rules"].as_array().unwrap().iter().find(|rule| rule["event"] == "ticket:opened").unwrap();
    assert_eq!((&opened["outcome"], &opened["reason"]["code"]), (&json!("silent"), &json!("operation")));

    let letter = json!({
        "id": id, "xid": "900", "at": "2026-01-31T12:00:00Z", "table": "comments", "op": "INSERT", "old": null, "actor": null,
        "new": { "id": 3, "ticket_id": 2, "author_id": "dave", "body": "Hello?", "internal": false, "written_at": null },
    });
    let ran = test(&database.url, HELPDESK, &letter).await;
    assert_says(&ran, &["fires   comment:added", "to user:dave", &format!(r#""id":"{id}-900-comment:added""#)]);

    let unmigrated = Database::empty().await;
    for (ran, code, expected) in [
        (of(id + 1, &database.url).await, 3, format!("the change log has no change {}", id + 1)),
        (of(id, "").await, 3, "DATABASE_URL is not set".to_owned()),
        (of(id, &unmigrated.url).await, 7, "never migrated".to_owned()),
    ] {
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert!(ran.stderr.contains(&expected), "{expected}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_for_a_change_that_is_only_tried() {
    let database = Database::marketplace().await;
    let waiting = "insert into rowcast.waiting (list, id, user_id, at)
                   values ('restock', 'product-1', 'buyer-1', now() - interval '1 h')";
    database.run(waiting).await;
    database.run("update products set stock = 0 where id = 'product-1'").await;
    database.run("update products set stock = 9 where id = 'product-1'").await;
    let id = database.count("select max(id) from rowcast.change").await.to_string();
    let ran = rowcast(&database.url, &["catalog", "test", "--change", &id]).await;
    assert_says(&ran, &["fires   stock:restocked", "to user:buyer-1"]);
    assert_eq!(database.count("select count(*) from rowcast.waiting where told_at is not null").await, 0);

    database
        .run(
            "create table asked (key text);
             create function ask(keys text[]) returns table (key text, who text) language sql volatile as
             $$ insert into asked select unnest(keys) returning key, 'somebody' $$",
        )
        .await;
    let files = Files::new(&[(
        "rules.toml",
        r#"
        room = [{ room = "user:{id}", join = "true" }, { room = "all", join = "true" }]

        [[lookup]]
        name = "ask"
        returns = "one"
        sql = "select key, who from ask($1::text[])"

        [[rule]]
        event = "product:asked"
        table = "products"
        on = ["update"]
        lookups = { answer = { use = "ask", key = "row.id" } }
        to = [{ rooms = ["all"] }, { rooms = ["user:{answer.who}"] }]
        "#,
    )]);
    let ran = rowcast(&database.url, &["catalog", "test", "--catalog", files.path(), "--change", &id]).await;
    assert_says(
        &ran,
        &[
            "fires   product:asked",
            "to all",
            "to user:{answer.who}, depending on the lookup answer, not run since it writes",
        ],
    );
    assert_eq!(database.count("select count(*) from asked").await, 0);
}

/// The rooms and data of every audience of every rule that somebody hears, by the event's id.
type Told = Vec<(String, Vec<String>, String)>;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_the_service_does() {
    let database = Database::marketplace().await;
    database
        .run(
            "update products set stock = 0 where id = 'product-1';
             update products set stock = 30, price = price + 1 where id = 'product-1';
             update products set name = 'Other', status = 'draft' where id = 'product-2';
             update trade_quotations set status = 'sent';
             update trade_quotations set total = total + 1;
             update orders set status = 'fulfilled', tracking_number = 'T1';
             update wholesale_invitations set status = 'accepted';
             update carts set items = '[]';
             delete from products where id = 'product-3'",
        )
        .await;
    let look = Look::at(&database.database_url().for_capture().unwrap()).await.unwrap();
    let tables = look.tables().await.unwrap();
    let (first, last) = look.ids().await.unwrap().expect("changes");
    let pool = sqlx_pool(&database).await;
    let catalog = Arc::new(Catalog::built_in(&Settings::new()).unwrap());
    let mut engine = Engine::new(catalog.clone(), pool.clone());
    engine.bind(&tables).await;
    let mut explainer = Explainer::bound(catalog, pool, &tables).await;

    let mut heard = 0;
    for id in first..=last {
        let Some(change) = look.change(id, &tables).await.unwrap() else { continue };
        let position = Position { system: 0, database: 0, seen: Seen::below(0) };
        let page = Page { changes: vec![change], position, tables: Arc::default() };
        let evaluated = engine.evaluate(&page).await.unwrap();
        let text = |data: &rowcast::event::Data| {
            data.iter().map(|(key, value)| format!("{key}={} ", value.get())).collect::<String>()
        };
        let rooms = |rooms: &[rowcast::room::Room]| rooms.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut served = Told::new();
        for event in evaluated.events.iter().chain(&evaluated.inbox) {
            served.extend(event.audiences.iter().map(|it| (event.id.clone(), rooms(&it.rooms), text(&it.data))));
        }
        let mut explained = Told::new();
        for rule in explainer.explain(&page).await.unwrap().rules {
            let failed = evaluated.failures.iter().find(|failure| failure.rule == rule.rule);
            match (rule.verdict, failed) {
                (Verdict::Failed(error), Some(failure)) => assert_eq!(error, failure.error),
                (Verdict::Matches(audiences), None) => {
                    for audience in audiences {
                        let Hearing::Hears(all) = audience.hearing else { continue };
                        explained.extend(all.iter().map(|it| (it.event.id.clone(), rooms(&it.rooms), text(&it.data))));
                    }
                }
                (Verdict::Silent(_), None) => {}
                (verdict, failed) => panic!("{}: {verdict:?}, {failed:?}", rule.rule),
            }
        }
        heard += served.len();
        served.sort();
        explained.sort();
        assert_eq!(explained, served, "change {id}");
    }
    assert!(heard > 20, "the changes are such that somebody hears of them: {heard}");
}

async fn sqlx_pool(database: &Database) -> sqlx::PgPool {
    sqlx::PgPool::connect_with(database.database_url().for_pool().unwrap()).await.expect("a pool")
}
