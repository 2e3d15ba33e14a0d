//! The contract: what `rowcast check` finds out about a database, and what `rowcast types` and `rowcast asyncapi` say.

use serde_json::Value;

use super::cli::Files;
use crate::support::{
    command::{Ran, rowcast},
    database::Database,
    roles,
};

/// A marketplace of the four tables that every version has, and nothing else.
async fn four_tables() -> Database {
    let database = Database::unmigrated().await;
    database
        .run(
            "do $$ declare other regclass; begin
               for other in select oid::regclass from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
                 and relname not in ('products', 'wholesale_invitations', 'trade_quotations', 'orders')
               loop execute format('drop table %s cascade', other); end loop;
             end $$",
        )
        .await;
    database.migrate().await;
    database
}

async fn report(database: &Database) -> Value {
    report_with(database, &[]).await
}

async fn report_with(database: &Database, arguments: &[&str]) -> Value {
    let ran = rowcast(&database.url, &[&["check", "--json"], arguments].concat()).await.succeeded();
    serde_json::from_str(&ran.stdout).expect("JSON")
}

fn event<'r>(report: &'r Value, name: &str) -> &'r Value {
    let events = report["events"].as_array().expect("events");
    events.iter().find(|event| event["event"] == name).unwrap_or_else(|| panic!("no {name}"))
}

/// The SQL that check offers for an inactive event, and the reason.
fn remedy(report: &Value, name: &str) -> (String, String) {
    let event = event(report, name);
    assert_eq!(event["state"], "inactive", "{event}");
    let rule = &event["rules"][0];
    (rule["sql"].as_str().unwrap_or_default().to_owned(), rule["reasons"][0].as_str().unwrap_or_default().to_owned())
}

fn warnings(report: &Value, about: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = report["warnings"].as_array().expect("warnings");
    let these = all.iter().filter(|warning| warning["about"] == about);
    these.map(|warning| (text(&warning["text"]), text(&warning["sql"]))).collect()
}

fn assert_says(ran: &Ran, code: i32, expected: &str) {
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(expected), "expected {expected:?} in {}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_live_on_the_whole_marketplace() {
    let database = Database::marketplace().await;
    let report = report(&database).await;
    for event in report["events"].as_array().expect("events") {
        assert_eq!(event["state"], "live", "{event}");
    }
    let stock = &event(&report, "product:stock_changed")["rules"][0];
    assert_eq!(stock["table"], "products");
    assert_eq!(stock["columns"], serde_json::json!(["id", "seller_id", "status", "stock"]));
    assert_eq!(stock["lookups"], serde_json::json!(["cart_holders"]));
    assert_eq!(report["lookups"]["cart_holders"], serde_json::json!(["carts"]), "none of Postgres' own tables");
    rowcast(&database.url, &["check", "--require", "all"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_for_people_is_a_table_with_a_summary() {
    let database = four_tables().await;
    let ran = rowcast(&database.url, &["check"]).await.succeeded();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines[0].starts_with("event ") && lines[0].contains(" state ") && lines[0].ends_with("needs"),
        "{}",
        lines[0]
    );
    // Each event has its row, live or not, with what it needs.
    let row = |event: &str| {
        let at = lines.iter().position(|line| line.starts_with(&format!("{event} ")));
        &lines[at.unwrap_or_else(|| panic!("no {event} in {}", ran.stdout))..]
    };
    let report = report(&database).await;
    for event in report["events"].as_array().expect("events") {
        row(event["event"].as_str().expect("a name"));
    }
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(row("product:low_stock")[0]), "product:low_stock live products (id, name, seller_id, stock)");
    assert_eq!(words(row("cart:updated")[0]), "cart:updated inactive carts (buyer_id, id, items, seller_id)");
    assert_eq!(row("cart:updated")[1], "    the database has no table carts");
    // Lookups and schedules with the tables that they read.
    assert_eq!(words(row("presence:changed")[1]), "lookup partners (trade_quotations)");
    assert_eq!(words(row("product:deleted")[1]), "lookup cart_holders", "nobody knows, since it can't be run");
    assert_eq!(
        words(row("analytics:metrics_updated")[0]),
        "analytics:metrics_updated live schedule store_metrics (orders, products)"
    );
    let summary = lines.last().expect("a summary");
    assert!(summary.contains(" events: ") && summary.contains(" inactive"), "{summary}");
    assert!(!ran.stdout.contains('\x1b'), "no colours into a pipe");
    let statements =
        |line: &&&str| line.trim_start().starts_with("select ") || line.trim_start().starts_with("create ");
    let long = lines.iter().filter(|line| line.chars().count() > 100).find(|line| !statements(line));
    assert_eq!(long, None);
    // A row for each rule, where that is asked for.
    let long = rowcast(&database.url, &["check", "--long"]).await.succeeded().stdout;
    let placed: Vec<&str> =
        long.lines().skip_while(|line| !line.starts_with("wholesale:order_placed ")).take(12).collect();
    assert!(placed[0].contains(" live "), "{placed:?}");
    let states = placed.iter().filter(|line| line.starts_with("wholesale:order_placed ")).count();
    assert_eq!(states, 2, "{placed:?}");
    let place =
        |line: &&str| line.starts_with("    wholesale:order_placed.wholesale_orders in catalog/wholesale.toml:");
    assert!(placed.iter().any(place), "{placed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_help_is_told_once_with_the_events_that_it_is_for() {
    let database = Database::marketplace().await;
    database.run("select rowcast.unwatch('public.carts'), rowcast.unwatch('public.wholesale_invitations')").await;
    let page = rowcast(&database.url, &["check"]).await.succeeded().stdout;
    let help = page.split("what would help\n").nth(1).expect("there is help").split("\n\n").next().expect("its lines");
    assert_eq!(
        help.lines().collect::<Vec<_>>(),
        [
            "  select rowcast.watch('public.carts');",
            "  -- for cart:updated",
            "  select rowcast.watch('public.wholesale_invitations');",
            "  -- for inbox:wholesale, wholesale:invitation_accepted, wholesale:invitation_rejected,",
            "     wholesale:invitation_sent",
        ]
    );
}

/// Each event with its state, and beneath it the reasons.
fn outcome(report: &Value) -> String {
    let mut text = String::new();
    for event in report["events"].as_array().expect("events") {
        text += &format!("{}: {}\n", event["event"].as_str().unwrap(), event["state"].as_str().unwrap());
        for rule in event["rules"].as_array().expect("rules") {
            for reason in rule["reasons"].as_array().into_iter().flatten() {
                text += &format!("    {}: {}\n", rule["rule"].as_str().unwrap(), reason.as_str().unwrap());
            }
        }
    }
    text
}

/// Compares with a file beside this one; `ROWCAST_UPDATE_SNAPSHOT=1` takes it anew.
fn assert_snapshot(name: &str, found: &str) {
    let path = format!("{}/tests/integration/snapshots/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("ROWCAST_UPDATE_SNAPSHOT").is_some() {
        std::fs::write(&path, found).expect("written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{path} says\n{expected}\nfound\n{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_live_or_not_as_it_always_was() {
    let whole = report(&Database::marketplace().await).await;
    assert_snapshot("check-marketplace.txt", &outcome(&whole));
    let four = report(&four_tables().await).await;
    assert_snapshot("check-four-tables.txt", &outcome(&four));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_other_rule_or_audience_has_nothing_to_work_on_is_partly_live() {
    let database = four_tables().await;
    let report = report(&database).await;
    // Its orders in the table orders are told, those of wholesale_orders are not there.
    let placed = event(&report, "wholesale:order_placed");
    assert_eq!(placed["state"], "partly");
    assert_eq!(placed["rules"][1]["reasons"][0], "the database has no table wholesale_orders");
    // Those who have it in their carts can't be looked up; the others hear of it.
    let stock = event(&report, "product:stock_changed");
    assert_eq!(stock["state"], "partly");
    assert!(stock["rules"][0]["reasons"][0].as_str().expect("a reason").contains("carts"), "{stock}");
    rowcast(&database.url, &["check", "--require", "product:*", "--require", "wholesale:order_placed"])
        .await
        .succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_and_inactive_is_named_and_ends_with_1() {
    let database = four_tables().await;
    let ran = rowcast(&database.url, &["check", "--require", "product:*,cart:updated"]).await;
    assert_says(&ran, 1, "required, but inactive on this database: cart:updated;");
    assert!(ran.stdout.contains("cart:updated"), "the report is there all the same");
    assert_says(&rowcast(&database.url, &["check", "--require", "all"]).await, 1, "cart:updated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_requirement_does_not_pass() {
    let database = Database::marketplace().await;
    for misspelt in ["product:stock_chnaged", "products:*", "product:created,nothing:*", ""] {
        let ran = rowcast(&database.url, &["check", "--require", misspelt]).await;
        assert_says(
            &ran,
            2,
            if misspelt.is_empty() { "--require has an empty name" } else { "which the catalog does not have" },
        );
    }
    let ran = rowcast(&database.url, &["check", "--require", "product:updatd"]).await;
    assert_says(&ran, 2, "Such as it: product:updated");
    assert!(!ran.stderr.contains("quotation:"), "not all of them: {}", ran.stderr);
    assert_says(&rowcast(&database.url, &["check", "--require", "order:updated,,stock:low"]).await, 2, "an empty name");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_partly_live_does_not_pass_a_strict_requirement() {
    let database = four_tables().await;
    let ran = rowcast(&database.url, &["check", "--strict", "--require", "product:*,cart:updated"]).await;
    assert_says(&ran, 1, "inactive on this database: cart:updated; and live only in part on this database: product:");
    rowcast(&database.url, &["check", "--strict", "--require", "stock:low"]).await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_that_reach_nobody_are_told() {
    let database = Database::marketplace().await;
    assert_eq!(warnings(&report(&database).await, "announcements"), []);
    database.run("drop table users cascade").await;
    let found = warnings(&report(&database).await, "announcements");
    assert!(found.len() == 1 && found[0].0.contains("can't be run: relation \"users\" does not exist"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_for_a_table_that_is_not_watched_makes_it_live() {
    let database = Database::marketplace().await;
    database.run("select rowcast.unwatch('public.products')").await;
    let (sql, reason) = remedy(&report(&database).await, "product:created");
    assert_eq!(reason, "the table products is there, but not watched");
    assert_eq!(sql, "select rowcast.watch('public.products');");
    database.run(&sql).await;
    assert_eq!(event(&report(&database).await, "product:created")["state"], "live");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_for_disabled_triggers_makes_the_events_live_and_keeps_what_is_left_out() {
    let database = Database::marketplace().await;
    database.run("select rowcast.watch('public.products', array['sku'])").await;
    database.run("alter table products disable trigger _rowcast_capture").await;
    let (sql, reason) = remedy(&report(&database).await, "product:created");
    assert_eq!(reason, "the triggers of products are missing or disabled");
    database.run(&sql).await;
    assert_eq!(event(&report(&database).await, "product:created")["state"], "live");
    assert_eq!(database.count("select count(*) from rowcast.watched where excluded = array['sku']").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_for_a_column_that_is_left_out_captures_it_and_no_other() {
    let database = Database::marketplace().await;
    database.run("select rowcast.watch('public.products', array['stock', 'sku'])").await;
    let (sql, reason) = remedy(&report(&database).await, "stock:low");
    assert_eq!(reason, "products leaves column stock out of capture");
    assert_eq!(sql, "select rowcast.watch('public.products', array['sku']);");
    database.run(&sql).await;
    assert_eq!(event(&report(&database).await, "stock:low")["state"], "live");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_table_lacks_is_named() {
    let database = Database::marketplace().await;
    database.run("alter table products drop column stock").await;
    let (sql, reason) = remedy(&report(&database).await, "stock:low");
    assert_eq!((reason.as_str(), sql.as_str()), ("the table products has no column stock", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_the_role_may_not_run_is_told_with_the_command_that_lets_it() {
    let database = Database::marketplace().await;
    let role = "rowcast_test_checker";
    roles::create(&database, role).await;
    database.run(&format!("select rowcast.grant_gateway('{role}'); grant select on carts to {role}")).await;
    let url = roles::url_of(&database.url, role);
    let seen = async || {
        let ran = rowcast(&url, &["check", "--json"]).await.succeeded();
        serde_json::from_str::<Value>(&ran.stdout).expect("JSON")
    };
    let (sql, reason) = remedy(&seen().await, "analytics:product_viewed");
    assert!(reason.contains("permission denied for table products"), "{reason}");
    assert!(reason.contains("run `rowcast migrate --gateway-role"), "{reason}");
    assert_eq!(sql, "");
    // Where a lookup decides nothing, the event does without.
    assert_eq!(event(&seen().await, "wholesale:invitation_accepted")["state"], "partly");
    // Granted for another role, it is not for this one.
    let another = "rowcast_test_checker_other";
    roles::create(&database, another).await;
    database.run(&format!("revoke all on rowcast.cursor from {role}")).await;
    rowcast(&database.url, &["migrate", "--gateway-role", another]).await.succeeded();
    database.run(&format!("grant update, select on rowcast.cursor to {role}")).await;
    assert_eq!(event(&seen().await, "analytics:product_viewed")["state"], "inactive");
    rowcast(&database.url, &["migrate", "--gateway-role", role]).await.succeeded();
    let report = seen().await;
    for name in ["analytics:product_viewed", "wholesale:invitation_accepted"] {
        assert_eq!(event(&report, name)["state"], "live", "{name}");
    }
    let told = warnings(&report, "plans");
    assert!(told.len() == 1 && told[0].0.contains("run this as the owner"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_scans_is_told_with_the_index_that_ends_it() {
    let database = Database::marketplace().await;
    assert_eq!(warnings(&report(&database).await, "lookup \"user_by_email\""), []);
    database.run("alter table users drop constraint users_email_key").await;
    let found = warnings(&report(&database).await, "lookup \"user_by_email\"");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "reads all of users each time: an index is missing");
    assert_eq!(found[0].1, "create index concurrently on users (email);");
    database.run(&found[0].1).await;
    assert_eq!(warnings(&report(&database).await, "lookup \"user_by_email\""), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_indexes_that_are_proposed_end_what_they_are_proposed_for() {
    let database = Database::marketplace().await;
    for (about, table, index) in [
        ("lookup \"cart_holders\"", "carts", "create index concurrently on carts using gin (items jsonb_path_ops);"),
        (
            "schedule \"quotation_expired\"",
            "trade_quotations",
            "create index concurrently on trade_quotations (valid_until);",
        ),
    ] {
        let expected = (format!("reads all of {table} each time: an index is missing"), index.to_owned());
        assert_eq!(warnings(&report(&database).await, about), [expected]);
        database.run(index).await;
        assert_eq!(warnings(&report(&database).await, about), []);
    }
    // What looks into text can't be helped so.
    database.run("drop index carts_items_idx; alter table carts alter column items drop default, alter column items type text").await;
    let carts = warnings(&report(&database).await, "lookup \"cart_holders\"");
    let expected = "reads all of carts each time, and no index on a column would spare it";
    assert_eq!(carts, [(expected.to_owned(), String::new())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_the_role_may_not_work_out_is_not_told_as_nothing_nor_as_less() {
    let database = Database::marketplace().await;
    let role = "rowcast_test_summer";
    roles::create(&database, role).await;
    let grants = "grant select (id, seller_id) on wholesale_orders to ROLE;
        grant select (wholesale_order_id, status, amount_cents, paid_at) on wholesale_payments to ROLE;
        grant select (seller_id, total, amount_paid, payment_status, status, deposit_amount_cents, created_at) on orders
          to ROLE";
    database.run(&format!("select rowcast.grant_gateway('{role}'); {}", grants.replace("ROLE", role))).await;
    let url = roles::url_of(&database.url, role);
    let seen = async || {
        let ran = rowcast(&url, &["check", "--json"]).await.succeeded();
        serde_json::from_str::<Value>(&ran.stdout).expect("JSON")
    };
    let (sql, reason) = remedy(&seen().await, "analytics:revenue_updated");
    assert!(
        reason.contains("the lookup \"revenue_of_day\" can't be run: permission denied for table orders"),
        "{reason}"
    );
    assert!(sql.is_empty() && reason.contains("rowcast migrate --gateway-role ROLE"), "{sql}; {reason}");
    database.run(&format!("grant select (balance_paid_at) on orders to {role}")).await;
    assert_eq!(event(&seen().await, "analytics:revenue_updated")["state"], "live");

    // Without a right to the payments it doesn't do with the form that leaves them out: that is for who has no such table.
    database.run(&format!("revoke select (amount_cents) on wholesale_payments from {role}")).await;
    let (_, reason) = remedy(&seen().await, "analytics:revenue_updated");
    assert!(reason.contains("permission denied for table wholesale_payments"), "{reason}");
    database.run("drop table wholesale_payments").await;
    let found = event(&seen().await, "analytics:revenue_updated").clone();
    assert_eq!((&found["state"], &found["rules"][0]["state"]), (&"partly".into(), &"live".into()), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_that_postgres_refuses_or_that_do_not_help_are_not_offered() {
    let database = Database::empty().await;
    database
        .run(
            "create type mood as enum ('sad', 'ok');
             create table notes (id int, mood mood, at timestamptz, day date, code uuid, email text, \"Owner\" text);
             create index on notes (day)",
        )
        .await;
    database.migrate().await;
    database.run("select rowcast.watch('notes')").await;
    for (condition, expected, sql) in [
        ("id::text = any ($1::text[])", "an index is missing", "create index concurrently on notes ((id::text));"),
        ("code::text = any ($1::text[])", "an index is missing", "create index concurrently on notes ((code::text));"),
        (
            "lower(email) = any ($1::text[])",
            "an index is missing",
            "create index concurrently on notes (lower(email));",
        ),
        (
            "mood::text = any ($1::text[])",
            "it compares mood::text, and Postgres takes no index on that, for mood reads as settings say. Compare the column \
             itself: mood = any ($1::text[]::mood[])",
            "",
        ),
        (
            "at::text = any ($1::text[])",
            "Compare the column itself: at = any ($1::text[]::timestamp with time zone[])",
            "",
        ),
        ("day::text = any ($1::text[])", "Compare the column itself: day = any ($1::text[]::date[])", ""),
        ("date_trunc('day', day)::text = any ($1::text[])", "no index on a column would spare it", ""),
        ("date_trunc('day', day) = any ($1::text[]::timestamptz[])", "no index on a column would spare it", ""),
        ("coalesce(\"Owner\", email) = any ($1::text[])", "no index on a column would spare it", ""),
        ("upper(btrim(\"Owner\")) = any ($1::text[])", "no index on a column would spare it", ""),
    ] {
        let files = rules(&format!(
            "[[lookup]]\nname = \"found\"\nreturns = \"one\"\nsql = '''select id::text as key, email from notes where {condition}'''\n\
             [[rule]]\nevent = \"a:b\"\ntable = \"notes\"\non = [\"insert\"]\n\
             lookups = {{ found = {{ use = \"found\", key = \"row.email\" }} }}\n\
             [[rule.to]]\nrooms = [\"user:{{found.email}}\"]\n"
        ));
        let arguments = ["--catalog", files.path()];
        let found = warnings(&report_with(&database, &arguments).await, "lookup \"found\"");
        assert!(found.len() == 1 && found[0].0.contains(expected), "{condition}: {found:?}");
        assert_eq!(found[0].1, sql, "{condition}");
        if !sql.is_empty() {
            database.run(sql).await;
            assert_eq!(warnings(&report_with(&database, &arguments).await, "lookup \"found\""), [], "{condition}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_told_as_what_it_is() {
    let database = Database::marketplace().await;
    database
        .run(
            "create view cheap as select * from products where price < 10;
             create materialized view dear as select * from products where price > 1000",
        )
        .await;
    for (name, kind) in [("cheap", "a view"), ("dear", "a materialized view")] {
        let files = rules(&format!(
            "[[rule]]\nevent = \"a:b\"\ntable = \"{name}\"\non = [\"insert\"]\n[[rule.to]]\nrooms = [\"user:{{row.id}}\"]\n"
        ));
        let report = report_with(&database, &["--catalog", files.path()]).await;
        let reason =
            format!("{name} is {kind}, and only tables can be watched: let the rule name a table that it reads");
        assert_eq!(remedy(&report, "a:b"), (String::new(), reason));
        let types = types(&database, &["--catalog", files.path()]).await;
        assert!(types.contains(&format!(" *   {name} is {kind}")) && !types.contains("'a:b':"), "{types}");
    }
}

const ROOMS: &str = "
[[room]]
room = \"user:{id}\"
join = \"id == auth.user_id\"

[[room]]
room = \"vault:{id}\"

[[room]]
room = \"attic\"
join = \"false\"
";

fn rules(rules: &str) -> Files {
    Files::new(&[("rules.toml", &format!("{ROOMS}{rules}"))])
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_that_nobody_may_join_are_told_with_the_events_that_nobody_hears() {
    let database = Database::marketplace().await;
    let files = rules(
        "[[rule]]\nevent = \"a:b\"\ntable = \"products\"\non = [\"insert\"]\n[[rule.to]]\nrooms = [\"vault:{row.id}\"]\n",
    );
    let report = report_with(&database, &["--catalog", files.path()]).await;
    assert!(warnings(&report, "room \"vault:{id}\"")[0].0.ends_with("Nobody hears there: a:b"), "{report}");
    assert!(warnings(&report, "room \"attic\"")[0].0.starts_with("nobody may join it"), "{report}");
    assert_eq!(warnings(&report, "room \"user:{id}\""), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nullable_column_is_told_where_it_is_compared_without_a_null_test() {
    let database = Database::marketplace().await;
    for (when, expected) in [
        ("new.stock < 10", Some("new.stock may be null, and < fails on null")),
        ("10 >= old.stock", Some("old.stock may be null, and >= fails on null")),
        ("new.stock + 1 == 5", Some("new.stock may be null, and + fails on null")),
        ("new.category.startsWith('a')", Some("new.category may be null, and startsWith() fails on null")),
        ("new.stock != null || new.stock < 10", Some("new.stock may be null")),
        ("new.price < 10", Some("new.price is a numeric, which expressions get as text")),
        ("new.price < old.price", Some("new.price is a numeric")),
        ("minus(new.price, old.price) > 0", Some("minus(new.price, old.price) is a numeric")),
        ("new.price + 1 == 5", Some("new.price is a numeric, which expressions get as text, and + reckons")),
        ("new.price * 2 == 5", Some("new.price is a numeric, which expressions get as text, and * reckons")),
        ("-new.price == 5", Some("new.price is a numeric, which expressions get as text, and - reckons")),
        ("new.price - old.price == 5", Some("new.price is a numeric")),
        ("'€ ' + new.price == '€ 5'", None),
        ("minus(new.price, 1) == '5'", None),
        ("double(new.price) * 2.0 > 1.0", None),
        // What has to be true or false.
        (
            "new.promotion_active",
            Some("new.promotion_active may be null, and a condition fails on null: write new.promotion_active == true"),
        ),
        ("!new.promotion_active", Some("new.promotion_active may be null, and ! fails on null")),
        ("new.promotion_active && new.name == 'a'", Some("new.promotion_active may be null, and && fails on null")),
        ("new.name == 'a' && new.promotion_active", Some("new.promotion_active may be null, and && fails on null")),
        ("new.name == 'a' || new.promotion_active", Some("new.promotion_active may be null, and || fails on null")),
        ("(new.promotion_active ? 1 : 2) == 1", Some("new.promotion_active may be null, and ?: fails on null")),
        ("bool(new.promotion_active)", Some("new.promotion_active may be null, and bool() fails on null")),
        ("new.promotion_active == true", None),
        ("new.promotion_active != null && new.promotion_active", None),
        ("new.promotion_active == null || !new.promotion_active", None),
        ("becomes(old.promotion_active, new.promotion_active, true)", None),
        // Both sides fail, so neither helps the other.
        ("new.stock < 10 && new.stock <= 5", Some("new.stock may be null, and < fails on null")),
        // Functions, lists, and what functions give.
        ("string(new.category) == 'a'", Some("new.category may be null, and string() fails on null")),
        ("'a' in new.images", Some("new.images may be null, and in fails on null")),
        ("new.images[0] == 'a'", Some("new.images may be null, and […] fails on null")),
        ("first(new.stock, old.stock) > 1", Some("first(new.stock, old.stock) may be null, and > fails on null")),
        ("field(new.variants, 'n') > 1", Some("field(new.variants, 'n') may be null, and > fails on null")),
        ("parse(new.description) > 1", Some("parse(new.description) may be null, and > fails on null")),
        (
            "(new.name == 'a' ? new.stock : 1) > 1",
            Some("((new.name == 'a') ? new.stock : 1) may be null, and > fails on null"),
        ),
        ("new.images != null && new.images[0] == 'a'", None),
        ("first(new.stock, 0) > 1", None),
        ("first(new.stock, old.stock) != null && first(new.stock, old.stock) > 1", None),
        ("field(new.variants, 'n') != null && field(new.variants, 'n') > 1", None),
        ("day(new.promotion_end_date) == '2026-01-31'", None),
        ("new.stock != null && new.stock < 10", None),
        ("new.stock < 10 && new.stock != null", None),
        ("new.stock == null || new.stock < 10", None),
        ("new.stock == null ? false : new.stock < 10", None),
        ("!(new.stock == null) && new.stock < 10", None),
        ("below(new.stock, 10)", None),
        ("new.name.startsWith('a')", None),
        ("new.status == 'active'", None),
    ] {
        let files = rules(&format!(
            "[[rule]]\nevent = \"a:b\"\ntable = \"products\"\non = [\"update\"]\nwhen = \"{when}\"\n[[rule.to]]\nrooms = [\"user:{{row.seller_id}}\"]\n"
        ));
        let report = report_with(&database, &["--catalog", files.path()]).await;
        let found = warnings(&report, "rule \"a:b\"");
        match expected {
            Some(expected) => assert!(found.len() == 1 && found[0].0.starts_with(expected), "{when}: {found:?}"),
            None => assert_eq!(found, [], "{when}"),
        }
    }
    // The rule's own condition counts for its data.
    let files = rules(
        "[[rule]]\nevent = \"a:b\"\ntable = \"products\"\non = [\"insert\"]\nwhen = \"row.stock != null\"\ndata = { half = \"row.stock / 2\" }\n[[rule.to]]\nrooms = [\"user:{row.seller_id}\"]\n",
    );
    let report = report_with(&database, &["--catalog", files.path()]).await;
    assert_eq!(warnings(&report, "rule \"a:b\""), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_visitors_can_tell_from_an_events_arrival_is_told_with_file_and_line() {
    let database = Database::marketplace().await;
    let rule = |more: &str| {
        format!(
            "[[room]]\nroom = \"shop:{{id}}\"\njoin = \"true\"\n[[rule]]\nevent = \"a:b\"\ntable = \"products\"\n\
             on = [\"update\"]\nchanged = [\"price\"]\n{more}data = {{ price = \"row.price\" }}\n[[rule.to]]\n\
             rooms = [\"shop:{{row.id}}\"]\n"
        )
    };
    let hidden = rules(&rule("when = \"row.requires_deposit == 1 && row.sku != null\"\n"));
    let report = report_with(&database, &["--catalog", hidden.path()]).await;
    let warning = report["warnings"].as_array().unwrap().iter().find(|it| it["about"] == "rule \"a:b\"").unwrap();
    assert_eq!(
        warning["text"],
        "that it arrives tells visitors in shop:{id} of the columns requires_deposit, sku, which its conditions read and \
         no data there show: show them, take them out of the conditions, or list them in `reveals`"
    );
    let line = 1 + std::fs::read_to_string(format!("{}/rules.toml", hidden.path()))
        .unwrap()
        .lines()
        .position(|line| line == "[[rule]]")
        .unwrap();
    assert_eq!(warning["place"], format!("{}/rules.toml:{line}", hidden.path()));
    let people = rowcast(&database.url, &["check", "--catalog", hidden.path()]).await.succeeded();
    let words = people.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("tells visitors in shop:{id} of the columns requires_deposit, sku,"), "{}", people.stdout);

    let said = rules(&rule(
        "reveals = [\"sku\", \"requires_deposit\"]\nwhen = \"row.requires_deposit == 1 && row.sku != null\"\n",
    ));
    let report = report_with(&database, &["--catalog", said.path()]).await;
    assert_eq!(warnings(&report, "rule \"a:b\""), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_visitors_see_whole_is_told() {
    let database = Database::marketplace().await;
    let found = async |audience: &str| {
        let files = rules(&format!(
            "[[room]]\nroom = \"shop:{{id}}\"\njoin = \"true\"\n[[rule]]\nevent = \"a:b\"\ntable = \"products\"\n\
             on = [\"insert\", \"update\"]\n[[rule.to]]\nrooms = [\"shop:{{row.id}}\"]\n{audience}\n"
        ));
        warnings(&report_with(&database, &["--catalog", files.path()]).await, "rule \"a:b\"")
    };
    for whole in ["changes = [\"variants\", \"name\"]", "changes = [\"name\"]\ndata = { variants = \"row.variants\" }"]
    {
        let found = found(whole).await;
        assert!(
            found.len() == 1 && found[0].0.starts_with("visitors see all that is in variants"),
            "{whole}: {found:?}"
        );
    }
    assert_eq!(found("changes = [\"variants\", \"name\"]\nkeys = { variants = [\"size\"] }").await, []);
    assert_eq!(found("changes = [\"name\"]").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_catalog_tells_visitors_nothing_that_it_does_not_show() {
    let report = report(&Database::marketplace().await).await;
    let of_rules =
        report["warnings"].as_array().unwrap().iter().filter(|it| it["text"].as_str().unwrap().contains("visitors"));
    assert_eq!(of_rules.collect::<Vec<_>>(), [] as [&Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_rules_get_no_warning() {
    for database in [Database::marketplace().await, four_tables().await] {
        let report = report(&database).await;
        let rules: Vec<&Value> = report["warnings"].as_array().expect("warnings").iter().collect();
        let rules: Vec<_> = rules.iter().filter(|it| it["about"].as_str().unwrap().starts_with("rule ")).collect();
        assert!(rules.is_empty(), "{rules:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_warning_names_file_and_line() {
    let database = Database::marketplace().await;
    let files = rules(
        "[[rule]]\nevent = \"a:b\"\ntable = \"products\"\non = [\"insert\"]\nwhen = \"row.stock > 1\"\n[[rule.to]]\nrooms = [\"user:{row.id}\"]\n",
    );
    let report = report_with(&database, &["--catalog", files.path()]).await;
    let warning = report["warnings"].as_array().unwrap().iter().find(|it| it["about"] == "rule \"a:b\"").unwrap();
    assert_eq!(warning["place"], format!("{}/rules.toml:12", files.path()));
}

/// The lines of a type, without the comments.
async fn types(database: &Database, arguments: &[&str]) -> String {
    rowcast(&database.url, &[&["types"], arguments].concat()).await.succeeded().stdout
}

/// The text of `export type NAME … ` up to the empty line.
#[track_caller]
fn type_of<'t>(types: &'t str, name: &str) -> &'t str {
    let start = types.find(&format!("export type {name} =")).unwrap_or_else(|| panic!("no {name} in {types}"));
    types[start..].split("\n\n").next().expect("a type")
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_those_of_the_columns() {
    let database = Database::marketplace().await;
    let types = types(&database, &[]).await;
    assert_eq!(
        type_of(&types, "ProductStockChangedData"),
        "export type ProductStockChangedData = {\n  productId: string\n  sellerId: string\n  oldStock: number | null\n  newStock: number | null\n}"
    );
    assert!(type_of(&types, "ProductPriceChangedData").contains("newPrice: Decimal\n"));
    assert!(type_of(&types, "WholesaleOrderStatus").contains("\n  | 'pending'\n  | 'deposit_paid'\n"));
    assert!(type_of(&types, "WholesaleOrderUpdatedData").contains("status: WholesaleOrderStatus\n"));
    let orders = type_of(&types, "OrderUpdatedData");
    for action in ["created", "fulfillment", "refund"] {
        assert!(orders.contains(&format!("action: '{action}'\n")), "{orders}");
    }
    let changes = type_of(&types, "ProductUpdatedData");
    assert!(changes.contains("changes: Partial<{"), "{changes}");
    for column in
        ["images: string[] | null", "price: Decimal", "promotionEndDate: Timestamp | null", "stock: number | null"]
    {
        assert!(changes.contains(&format!("    {column}\n")), "{column} in {changes}");
    }
    // A condition that shows that a column isn't null counts.
    assert!(type_of(&types, "StockRestockedData").contains("newStock: number\n"));
    assert!(types.contains("  'product:stock_changed': (event: ProductStockChanged) => void\n"));
    assert!(types.contains("'join:product': (...args: Call<{ productId: string | number;"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lookup_would_find_that_cannot_be_run_is_null_in_types() {
    let database = four_tables().await;
    let types = types(&database, &[]).await;
    assert!(type_of(&types, "QuotationAcceptedData").contains("  buyerId: string | null\n"), "{types}");
    assert!(type_of(&types, "WholesaleInvitationAcceptedData").contains("  buyerId: null\n"), "{types}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_and_the_file_show_the_same_use_of_the_types() {
    const USE: &str = "const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io(url)";
    let help = rowcast("", &["types", "--help"]).await.succeeded().stdout;
    assert!(help.split_whitespace().collect::<Vec<_>>().join(" ").contains(USE), "{help}");
    assert!(types(&Database::marketplace().await, &[]).await.contains(USE));
    // It compiles: a frontend of the tests has it so.
    assert!(include_str!("../js/contract/right.ts").contains(USE.trim_end_matches("(url)")));
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_carts_are_typed_as_they_are_sent() {
    let database = Database::marketplace().await;
    let types = types(&database, &[]).await;
    let revenue = type_of(&types, "AnalyticsRevenueUpdatedData");
    assert!(revenue.contains("  newRevenue: Decimal\n  totalRevenue: Decimal\n"), "{revenue}");
    let cart = type_of(&types, "CartUpdatedData");
    assert!(cart.contains("productId: string | number; quantity: number | Decimal; variant?: Json"), "{cart}");
    let sale = type_of(&types, "AnalyticsSaleCompletedData");
    assert!(sale.contains("  productId: string | number | null\n"), "{sale}");
    database.run("alter table products add column seen timestamptz[], add column span tstzrange").await;
    let types = self::types(&database, &[]).await;
    let changes = type_of(&types, "ProductUpdatedData");
    assert!(changes.contains("    seen: Timestamp[] | null\n    sellerId"), "{changes}");
    assert!(changes.contains("    span: string | null\n"), "{changes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_types_have_one_name_nor_the_name_of_one_that_the_file_uses() {
    let database = Database::marketplace().await;
    let rule = |event: &str, name: &str, key: &str| {
        format!(
            "[[rule]]\nevent = \"{event}\"\nname = \"{name}\"\ntable = \"products\"\non = [\"insert\"]\n\
             data = {{ id = \"row.id\", name = \"row.name\" }}\nsubject = [\"{key}\"]\n\
             [[rule.to]]\nrooms = [\"user:{{row.id}}\"]\n"
        )
    };
    let events = ["pick", "array", "record", "partial", "decimal", "envelope", "a:b_data1", "a:b_data2"];
    let mut text: String = events.iter().map(|event| rule(event, event, "id")).collect();
    // Two subjects make two types of data.
    text += &rule("a:b", "one", "id");
    text += &rule("a:b", "other", "name");
    let files = rules(&text);
    let types = types(&database, &["--catalog", files.path()]).await;
    let declared = types.lines().filter_map(|line| {
        let rest = line.strip_prefix("export type ").or_else(|| line.strip_prefix("export interface "))?;
        rest.split(|c: char| !c.is_alphanumeric()).next()
    });
    let mut names = std::collections::BTreeSet::new();
    for name in declared {
        assert!(names.insert(name), "{name} twice in {types}");
    }
    for used in ["Pick", "Array", "Record", "Partial"] {
        assert!(!names.contains(used) && names.contains(format!("{used}2").as_str()), "{used} in {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_that_the_catalog_states_go_before_those_of_the_columns() {
    let database = Database::marketplace().await;
    let files = rules(
        "[[rule]]\nevent = \"a:b\"\ntable = \"products\"\non = [\"insert\"]\ndata = { id = \"row.id\", bag = \"row.variants\" }\n\
         types = { bag = \"{ size: string, stock?: integer }[] | null\" }\n[[rule.to]]\nrooms = [\"user:{row.seller_id}\"]\n",
    );
    let types = types(&database, &["--catalog", files.path()]).await;
    assert_eq!(
        type_of(&types, "ABData"),
        "export type ABData = {\n  id: string\n  bag: Array<{ size: string; stock?: number }> | null\n}"
    );
    let text = rowcast(&database.url, &["asyncapi", "--catalog", files.path()]).await.succeeded().stdout;
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let bag = &document["components"]["schemas"]["AB"]["properties"]["data"]["properties"]["bag"]["anyOf"][0];
    assert_eq!(bag["items"]["required"], serde_json::json!(["size"]), "{document}");
    assert_eq!(bag["items"]["properties"]["stock"]["type"], "integer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alone_names_an_audiences_rooms_is_never_null_in_its_data() {
    let database = Database::marketplace().await;
    let seen = async |rooms: &str| {
        let files = rules(&format!(
            "[[rule]]\nevent = \"a:b\"\ntable = \"products\"\non = [\"insert\"]\ndata = {{ category = \"row.category\" }}\n[[rule.to]]\nrooms = {rooms}\n"
        ));
        type_of(&types(&database, &["--catalog", files.path()]).await, "ABData").contains("null")
    };
    assert!(!seen("[\"user:{row.category}\"]").await);
    assert!(!seen("[\"user:{row.category}\", \"vault:{row.category}\"]").await);
    assert!(seen("[\"user:{row.category}\", \"vault:{row.id}\"]").await, "it may have come by the other room");
}

#[tokio::test(flavor = "multi_thread")]
async fn types_follow_the_database_when_it_changes() {
    let database = Database::marketplace().await;
    database
        .run("alter table products alter column stock set not null, alter column price type integer using price::integer")
        .await;
    database.run("create type visibility as enum ('shown', 'it''s hidden')").await;
    database.run("alter table products add column seen visibility not null default 'shown'").await;
    let types = types(&database, &[]).await;
    assert!(type_of(&types, "ProductStockChangedData").contains("newStock: number\n"));
    assert!(type_of(&types, "ProductPriceChangedData").contains("newPrice: number\n"));
    assert!(type_of(&types, "ProductUpdatedData").contains("    seen: Visibility\n"));
    assert_eq!(type_of(&types, "Visibility"), r"export type Visibility = 'shown' | 'it\'s hidden'");
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_the_same_each_time_and_whoever_is_inactive_is_named() {
    let database = four_tables().await;
    let first = types(&database, &[]).await;
    assert_eq!(first, types(&database, &[]).await);
    assert!(
        first.contains(" *   the database has no table carts:\n *     cart:updated")
            && !first.contains("'cart:updated'"),
        "{first}"
    );
    // A table that is there has types, even before it is watched.
    database.run("select rowcast.unwatch('public.products')").await;
    let unwatched = types(&database, &[]).await;
    let reason = " *   the table products is there, but not watched:\n *     analytics:inventory_alert";
    assert!(unwatched.contains(reason) && unwatched.contains("'product:created'"), "{unwatched}");
    assert_eq!(type_of(&first, "ProductCreatedData"), type_of(&unwatched, "ProductCreatedData"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flat_envelope_has_flat_types() {
    let database = Database::marketplace().await;
    let files = Files::new(&[("rowcast.toml", "[gateway]\nenvelope = \"flat\"\n")]);
    let types = types(&database, &["--config", &format!("{}/rowcast.toml", files.path())]).await;
    assert!(types.contains("} & Data\n") && !types.contains("  data: Data\n"), "{types}");
    assert!(
        types.contains("export type ProductCreated = Envelope<'product:created', ProductCreatedData>\n"),
        "{types}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_asyncapi_document_has_every_event_and_message() {
    let database = Database::marketplace().await;
    let text = rowcast(&database.url, &["asyncapi"]).await.succeeded().stdout;
    assert_eq!(text, rowcast(&database.url, &["asyncapi"]).await.succeeded().stdout);
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["asyncapi"], "3.0.0");
    let messages = document["components"]["messages"].as_object().expect("messages");
    for name in ["product:stock_changed", "chat:typing", "rowcast:resync", "join:product", "ping"] {
        assert!(messages.values().any(|message| message["name"] == name), "{name}");
    }
    let stock = &document["components"]["schemas"]["ProductStockChanged"];
    assert_eq!(stock["properties"]["data"]["properties"]["newStock"]["anyOf"][0]["type"], "integer", "{stock}");
    assert_eq!(document["operations"]["receiveJoinProductMessage"]["action"], "receive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_rowcast_is_explained_by_each_command() {
    let database = Database::unmigrated().await;
    for command in ["check", "types", "asyncapi"] {
        assert_says(&rowcast(&database.url, &[command]).await, 7, "never migrated");
    }
}
