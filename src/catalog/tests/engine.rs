use super::*;

const ROOMS: &str = "[[room]]\nroom = \"user:{id}\"\njoin = \"id == auth.user_id\"\n";

fn with_rooms(rules: &str) -> Catalog {
    catalog(&format!("{ROOMS}{rules}")).unwrap_or_else(|faults| panic!("{faults}"))
}

const PASS: &str = r#"
[[rule]]
event = "row:changed"
table = "t"
on = ["insert", "update"]
subject = ["id"]
to = [{ rooms = ["user:{row.id}"], changes = "all" }]
data = { id = "row.id", amount = "new.amount", before = "old.amount", shape = "row['shape']", fixed = "'x'" }
"#;

#[tokio::test]
async fn columns_reach_the_data_as_they_are() {
    let amount = "\"123456789012345678901234567890.123456789\"";
    let shape = r#"{"b": [1e400, 18446744073709551616], "a": {"b": "é\u0000ж"},"a":null}"#;
    let row = format!("{{\"id\": 12345678901234567890123, \"amount\": {amount}, \"shape\": {shape}}}");
    let mut engine = engine(with_rooms(PASS), &tables(&[("t", &["id", "amount", "shape"])]));
    let evaluated = engine.evaluate(&page(vec![change("t", "", &row)])).await.unwrap();
    assert_eq!(evaluated.failures, []);
    let id = "12345678901234567890123";
    let changes = format!("{{\"amount\":{amount},\"id\":{id},\"shape\":{shape}}}");
    assert_eq!(
        audiences(&evaluated.events[0]),
        [(
            format!("user:{id}"),
            format!("id={id} amount={amount} before=null shape={shape} fixed=\"x\" changes={changes}")
        )]
    );
    assert_eq!(evaluated.events[0].id, "7-900-row:changed");
}

#[tokio::test]
async fn a_column_that_the_new_row_lacks_has_no_new_value() {
    let rules = r#"
[[rule]]
event = "row:changed"
table = "t"
on = ["update"]
to = [{ rooms = ["user:a"], changes = "all" }]
"#;
    let mut engine = engine(with_rooms(rules), &tables(&[("t", &["a"])]));
    let changes = [r#"{"a":2}"#, r#"{"a":1}"#].map(|new| change("t", r#"{"a":1,"b":2}"#, new)).into();
    let evaluated = engine.evaluate(&page(changes)).await.unwrap();
    let heard: Vec<_> = evaluated.events.iter().map(|event| audiences(event)[0].1.clone()).collect();
    assert_eq!(heard, [r#"changes={"a":2}"#]);
}

#[tokio::test]
async fn of_a_column_with_keys_an_audience_sees_these_alone_and_hears_only_of_them() {
    let rules = r#"
[[rule]]
event = "row:changed"
table = "t"
on = ["update"]
to = [{ rooms = ["user:a"], changes = "all", keys = { shape = ["a", "b"] } }]
"#;
    let big = "123456789012345678901234567890";
    for (old, new, expected) in [
        (
            "null".to_owned(),
            format!(r#"{{"b":{big},"c":1,"a":{{"c":2}}}}"#),
            Some(format!(r#"{{"a":{{"c":2}},"b":{big}}}"#)),
        ),
        ("[]".to_owned(), r#"[{"a":1,"c":2},[{"c":3}],"c",{"c":4}]"#.to_owned(), Some(r#"[{"a":1},{}]"#.to_owned())),
        (r#"[{"a":1}]"#.to_owned(), "null".to_owned(), Some("null".to_owned())),
        (r#"{"a":1}"#.to_owned(), r#""c""#.to_owned(), Some("null".to_owned())),
        (r#"{"a":1,"c":2}"#.to_owned(), r#"{"a":1,"c":3}"#.to_owned(), None),
        (r#"[{"c":2}]"#.to_owned(), r#"[{"c":3}]"#.to_owned(), None),
    ] {
        let mut engine = engine(with_rooms(rules), &tables(&[("t", &["shape"])]));
        let change = change("t", &format!(r#"{{"shape":{old}}}"#), &format!(r#"{{"shape":{new}}}"#));
        let evaluated = engine.evaluate(&page(vec![change])).await.unwrap();
        let heard = evaluated.events.first().map(|event| audiences(event)[0].1.clone());
        assert_eq!(heard, expected.map(|shape| format!(r#"changes={{"shape":{shape}}}"#)), "{old} {new}");
    }
}

#[tokio::test]
async fn a_rule_that_fails_on_one_change_leaves_the_others_alone() {
    let rules = r#"
[[rule]]
event = "compared"
table = "t"
on = ["insert"]
when = "new.n < 10"
to = [{ rooms = ["user:{row.id}"] }]

[[rule]]
event = "seen"
table = "t"
on = ["insert"]
to = [{ rooms = ["user:{row.id}"] }]
"#;
    let mut engine = engine(with_rooms(rules), &tables(&[("t", &["id", "n"])]));
    let changes = vec![change("t", "", r#"{"id":1,"n":null}"#), change("t", "", r#"{"id":2,"n":3}"#)];
    let evaluated = engine.evaluate(&page(changes)).await.unwrap();
    let heard: Vec<_> = evaluated.events.iter().map(|event| (&*event.kind, audiences(event)[0].0.clone())).collect();
    assert_eq!(
        heard,
        [("seen", "user:1".to_owned()), ("compared", "user:2".to_owned()), ("seen", "user:2".to_owned())]
    );
    let error = "`new.n < 10`: found no matching overload for '_<_' applied to '(null_type, int)'".to_owned();
    assert_eq!(evaluated.failures, [Failure { change_id: 7, rule: "compared".into(), error }]);
}

#[tokio::test]
async fn what_cel_can_not_do_is_a_failure_and_no_panic() {
    for (expression, row, expected) in [
        ("row.n", "{\"id\":1,\"n\":5}", "`row.n`: expected true or false, got 5"),
        ("row.n + 1", "{\"id\":1,\"n\":5}", "`row.n + 1`: expected true or false, got int"),
        ("row.n / 0 == 1", "{\"id\":1,\"n\":5}", "`row.n / 0 == 1`: Division by zero of Int(5)"),
        ("row.n + 1 > 0", "{\"id\":1,\"n\":9223372036854775807}", "`row.n + 1 > 0`: Overflow"),
        ("row.n.deep.er == 1", "{\"id\":1,\"n\":null}", "`row.n.deep.er == 1`: found no matching overload"),
        ("row.n.deep == 1", "{\"id\":1,\"n\":{\"shallow\":1}}", "`row.n.deep == 1`: there is no \"deep\""),
        ("row.n[3] == 1", "{\"id\":1,\"n\":[1]}", "`row.n[3] == 1`: Index out of bounds: Int(3)"),
        ("row.n == 1", "{\"id\":1}", "`row.n == 1`: there is no \"n\""),
        (
            "below(row.n, 10)",
            "{\"id\":1,\"n\":\"1e999999999\"}",
            "`below(row.n, 10)`: Error executing function 'below'",
        ),
        ("row.n.startsWith('a')", "{\"id\":1,\"n\":7}", "`row.n.startsWith('a')`: found no matching overload"),
    ] {
        let rule = format!(
            "[[rule]]\nevent = \"e\"\ntable = \"t\"\non = [\"insert\"]\nwhen = \"{expression}\"\nto = [{{ rooms = [\"user:{{row.id}}\"] }}]\n"
        );
        let mut engine = engine(with_rooms(&rule), &tables(&[("t", &["id", "n"])]));
        let evaluated = engine.evaluate(&page(vec![change("t", "", row)])).await.unwrap();
        let error = &evaluated.failures.first().unwrap_or_else(|| panic!("{expression} did not fail")).error;
        assert!(error.starts_with(expected), "{error}");
        assert!(evaluated.events.is_empty());
    }
}

#[tokio::test]
async fn a_rule_whose_columns_did_not_change_is_skipped() {
    let rules = r#"
[[rule]]
event = "priced"
table = "t"
on = ["update"]
changed = ["price", "currency"]
when = "new.price < 10"
to = [{ rooms = ["user:{row.id}"] }]
"#;
    let mut engine = engine(with_rooms(rules), &tables(&[("t", &["id", "price", "currency", "name"])]));
    let before = r#"{"id":1,"price":null,"currency":"EUR","name":"a"}"#;
    let renamed = r#"{"id":1,"price":null,"currency":"EUR","name":"b"}"#;
    let priced = r#"{"id":1,"price":5,"currency":"EUR","name":"a"}"#;
    let evaluated =
        engine.evaluate(&page(vec![change("t", before, renamed), change("t", before, priced)])).await.unwrap();
    assert_eq!(evaluated.failures, [], "the condition was never tested on the renamed row");
    assert_eq!(evaluated.events.len(), 1);
}

const LOOKUPS: &str = r#"
[[lookup]]
name = "one"
returns = "one"
cache = "1h"
sql = "select key, 1 as id from unnest($1::text[]) k(key)"

[[lookup]]
name = "many"
returns = "many"
cache = "1h"
sql = "select key, 1 as id from unnest($1::text[]) k(key)"
"#;

#[tokio::test]
async fn an_audience_for_each_row_of_a_lookup_shares_the_data_unless_they_differ() {
    let rules = r#"
[[rule]]
event = "e"
table = "t"
on = ["insert"]
lookups = { friend = { use = "one", key = "row.id" }, all = { use = "many", key = "row.id" } }
data = { id = "row.id", friend = "friend.id" }
[[rule.to]]
each = "all"
rooms = ["user:{each.id}"]
[[rule.to]]
each = "all"
when = "each.id != 'b'"
rooms = ["user:{each.id}"]
data = { you = "each.id" }
[[rule.to]]
rooms = ["user:{friend.id}"]
"#;
    let mut engine = engine(with_rooms(&format!("{LOOKUPS}{rules}")), &tables(&[("t", &["id"])]));
    engine.remember("many", "1", ["\"a\"", "\"b\"", "\"a\"", "null"].map(|id| row(&format!("{{\"id\":{id}}}"))).into());
    engine.remember("one", "1", vec![row("{\"id\":\"f\"}")]);
    let evaluated = engine.evaluate(&page(vec![change("t", "", "{\"id\":1}")])).await.unwrap();
    assert_eq!(evaluated.failures, []);
    let expected = [
        ("user:a user:b", "id=1 friend=\"f\""),
        ("user:a", "you=\"a\""),
        ("user:a", "you=\"a\""),
        ("user:f", "id=1 friend=\"f\""),
    ];
    assert_eq!(audiences(&evaluated.events[0]), expected.map(|(rooms, data)| (rooms.to_owned(), data.to_owned())));
}

#[tokio::test]
async fn an_event_that_nobody_hears_is_none() {
    let rules = "[[rule]]\nevent = \"e\"\ntable = \"t\"\non = [\"insert\"]\nto = [{ rooms = [\"user:{row.id}\"] }]\n";
    let mut engine = engine(with_rooms(rules), &tables(&[("t", &["id"])]));
    let changes = vec![change("t", "", "{\"id\":null}"), change("t", "", "{\"id\":\"\"}")];
    let evaluated = engine.evaluate(&page(changes)).await.unwrap();
    assert!(evaluated.events.is_empty() && evaluated.failures.is_empty());
}

#[tokio::test]
async fn the_actor_is_the_rules_or_the_changes_own() {
    let rules = "[[rule]]\nevent = \"e\"\ntable = \"t\"\non = [\"insert\"]\nactor = \"row.by\"\nto = [{ rooms = [\"user:{row.id}\"] }]\n";
    let mut engine = engine(with_rooms(rules), &tables(&[("t", &["id", "by"])]));
    let by =
        |by| Change { actor: Some("set_config".to_owned()), ..change("t", "", &format!("{{\"id\":1,\"by\":{by}}}")) };
    let evaluated = engine.evaluate(&page(vec![by("\"u1\""), by("null")])).await.unwrap();
    let actors: Vec<_> = evaluated.events.iter().map(|event| event.actor.as_deref()).collect();
    assert_eq!(actors, [Some("u1"), Some("set_config")]);
}

#[tokio::test]
async fn a_rule_is_inactive_with_a_reason_while_the_database_lacks_what_it_needs() {
    let rules = r#"
[[rule]]
event = "e"
table = "shop.t"
on = ["insert"]
changed = ["c"]
when = "has(row.optional) ? row.optional == 1 : row.a == 1"
lookups = { friend = { use = "one", key = "row.key" }, all = { use = "many", key = "row.key" } }
[[rule.to]]
rooms = ["user:{row.id}"]
[[rule.to]]
rooms = ["user:{friend.id}"]
[[rule.to]]
each = "all"
rooms = ["user:{each.user}"]
"#;
    let mut engine = engine(with_rooms(&format!("{LOOKUPS}{rules}")), &tables(&[("shop.t", &["a", "c", "id", "key"])]));
    let mut reasons = |tables: &Tables, one: fn() -> Prepared| -> Vec<String> {
        let prepared = |name: &str| {
            if name == "one" { one() } else { Prepared::Runnable(Runnable::with_columns(&["key", "user"])) }
        };
        engine.bind_prepared(tables, prepared).into_iter().map(|inactive| inactive.reason).collect()
    };
    let whole = tables(&[("shop.t", &["a", "c", "id", "key"])]);
    let fine = || Prepared::Runnable(Runnable::with_columns(&["key", "id"]));
    assert_eq!(reasons(&whole, fine), [] as [&str; 0]);
    assert_eq!(
        reasons(&tables(&[]), fine),
        ["the table shop.t is not watched: if the database has it, run `rowcast watch shop.t`"]
    );
    assert_eq!(
        reasons(&tables(&[("shop.t", &["a", "id"])]), fine),
        ["the table shop.t has no columns \"c\", \"key\", or leaves it out of capture"]
    );
    assert_eq!(
        reasons(&whole, || Prepared::Refused("relation \"x\" does not exist (SQLSTATE 42P01)".to_owned())),
        [
            "the audience user:{friend.id} hears nothing: the lookup \"one\" can't be run: relation \"x\" does not exist \
             (SQLSTATE 42P01)"
        ]
    );
    assert_eq!(
        reasons(&whole, || Prepared::Runnable(Runnable::with_columns(&["key"]))),
        ["the audience user:{friend.id} hears nothing: the lookup \"one\" returns no column \"id\""]
    );
}

#[tokio::test]
async fn a_table_whose_triggers_are_off_has_no_live_rules() {
    let rules = "[[rule]]\nevent = \"e\"\ntable = \"t\"\non = [\"insert\"]\nto = [{ rooms = [\"user:{row.id}\"] }]\n";
    let mut engine = engine(with_rooms(rules), &tables(&[("t", &["id"])]));
    let off = [(rule::parse_table("t").unwrap(), Table::default())].into_iter().collect();
    let inactive = engine.bind_prepared(&off, |_| Prepared::Unknown);
    assert_eq!(
        inactive[0].to_string(),
        "rule \"e\" on t: the triggers of t are missing or disabled: run `rowcast watch t` again"
    );
    let evaluated = engine.evaluate(&page(vec![change("t", "", "{\"id\":1}")])).await.unwrap();
    assert!(evaluated.events.is_empty());
}

#[tokio::test]
async fn truncating_a_table_reaches_rules_that_ask_for_it() {
    let rules = "[[room]]\nroom = \"all\"\n[[rule]]\nevent = \"emptied\"\ntable = \"t\"\non = [\"truncate\"]\nto = [{ rooms = [\"all\"] }]\ndata = { id = \"row.id\" }\n";
    let mut engine = engine(catalog(rules).unwrap(), &tables(&[("t", &["id"])]));
    let evaluated = engine.evaluate(&page(vec![change("t", "", "")])).await.unwrap();
    assert_eq!(audiences(&evaluated.events[0]), [("all".to_owned(), "id=null".to_owned())]);
}

/// An engine whose database can't be reached.
fn cut_off(catalog: Catalog, tables: &Tables) -> Engine {
    let pool = PgPoolOptions::new().acquire_timeout(std::time::Duration::from_millis(50));
    let pool = pool.connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
    let mut engine = Engine::new(Arc::new(catalog), pool);
    assert_eq!(engine.bind_prepared(tables, |_| Prepared::Unknown), []);
    engine
}

const FRIENDS: &str = r#"
[[lookup]]
name = "friends"
returns = "many"
cache = "1h"
stale_after = ["friendships"]
sql = "select key, 1 as id from unnest($1::text[]) k(key)"

[[rule]]
event = "e"
table = "t"
on = ["insert"]
lookups = { friends = { use = "friends", key = "row.id" } }
[[rule.to]]
each = "friends"
rooms = ["user:{each.id}"]
"#;

#[tokio::test]
async fn a_page_is_to_be_tried_again_when_the_database_answers_no_lookup() {
    let mut engine = cut_off(with_rooms(FRIENDS), &tables(&[("t", &["id"])]));
    let page = page(vec![change("t", "", "{\"id\":1}")]);
    let error = engine.evaluate(&page).await.unwrap_err().to_string();
    assert!(error.starts_with("the database did not answer the lookup \"friends\": "), "{error}");

    engine.remember("friends", "1", vec![row("{\"id\":\"f\"}")]);
    assert_eq!(engine.evaluate(&page).await.unwrap().events.len(), 1);
}

#[tokio::test]
async fn what_a_lookup_found_is_forgotten_when_its_table_changes() {
    let mut engine = cut_off(with_rooms(FRIENDS), &tables(&[("t", &["id"])]));
    engine.remember("friends", "1", vec![row("{\"id\":\"f\"}")]);
    let inserted = || change("t", "", "{\"id\":1}");
    let unrelated = page(vec![change("others", "", "{\"id\":1}"), inserted()]);
    assert!(engine.evaluate(&unrelated).await.is_ok(), "the database is not asked");

    let befriended = page(vec![change("friendships", "", "{\"id\":1}"), inserted()]);
    assert!(engine.evaluate(&befriended).await.is_err(), "the database is asked again");
}

#[tokio::test]
async fn a_lookup_that_the_database_refuses_is_spared_where_it_decides_nothing() {
    let rules = r#"
[[rule]]
event = "e"
table = "t"
on = ["insert"]
lookups = { friend = { use = "one", key = "row.key" } }
data = { friend = "first(row.friend, friend.id)" }
[[rule.to]]
rooms = ["user:{row.id}", "user:{friend.id}", "user:{first(row.friend, friend.id)}"]
[[rule.to]]
when = "friend.id != 'secret'"
rooms = ["user:{row.watcher}"]
[[rule.to]]
rooms = ["user:{friend.id}"]
"#;
    let tables = tables(&[("t", &["id", "key", "friend", "watcher"])]);
    let mut engine = engine(with_rooms(&format!("{LOOKUPS}{rules}")), &tables);
    let inactive = engine.bind_prepared(&tables, |name| match name {
        "one" => Prepared::Refused("no such table".to_owned()),
        _ => Prepared::Unknown,
    });
    let told: Vec<(Option<usize>, &str)> = inactive.iter().map(|idle| (idle.audience, idle.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (Some(1), "the audience user:{row.watcher} hears nothing: the lookup \"one\" can't be run: no such table"),
            (Some(2), "the audience user:{friend.id} hears nothing: the lookup \"one\" can't be run: no such table"),
            (Some(0), "the lookup \"one\" can't be run: no such table; what it would find counts as null"),
        ]
    );
    let row = r#"{"id":"1","key":"k","friend":"2","watcher":"3"}"#;
    let evaluated = engine.evaluate(&page(vec![change("t", "", row)])).await.unwrap();
    assert_eq!(evaluated.failures, []);
    assert_eq!(audiences(&evaluated.events[0]), [("user:1 user:2".to_owned(), "friend=\"2\"".to_owned())]);
}

#[tokio::test]
async fn a_list_as_long_as_somebody_likes_makes_so_many_events_and_the_whole_of_it_is_worked_out_once() {
    let rules = r#"
[[rule]]
event = "e"
table = "t"
on = ["insert"]
per = "itemChanges([], row.items, ['id'], 'amount')"
data = { id = "item.id", items = "row.items" }
[[rule.to]]
rooms = ["user:{row.id}"]
"#;
    let items: Vec<String> = (0..5000).map(|id| format!(r#"{{"id":{id},"amount":1}}"#)).collect();
    let row = format!(r#"{{"id":"1","items":[{}]}}"#, items.join(","));
    let engine = &mut engine(with_rooms(rules), &tables(&[("t", &["id", "items"])]));
    let evaluated = engine.evaluate(&page(vec![change("t", "", &row)])).await.unwrap();
    assert_eq!(evaluated.failures, []);
    assert_eq!(evaluated.events.len(), 100);
    let (first, last) = (&evaluated.events[0], &evaluated.events[99]);
    assert!(first.id.ends_with("e.0") && last.id.ends_with("e.99"), "{} {}", first.id, last.id);
    assert_eq!(first.audiences[0].data[1].1.get(), last.audiences[0].data[1].1.get());
    assert_eq!(last.audiences[0].data[0].1.get(), "99");
}

#[tokio::test]
async fn a_lookup_that_fails_silences_the_audiences_that_read_it_and_no_others() {
    let rules = r#"
[[rule]]
event = "e"
table = "t"
on = ["insert"]
lookups = { friend = { use = "one", key = "row.friend" }, all = { use = "many", key = "row.id" } }
data = { id = "row.id" }
[[rule.to]]
rooms = ["user:{row.id}"]
[[rule.to]]
each = "all"
rooms = ["user:{each.id}"]
[[rule.to]]
rooms = ["user:{row.watcher}"]
data = { friend = "first(row.friend, friend.id)" }

[[rule]]
event = "whole"
table = "t"
on = ["insert"]
lookups = { all = { use = "many", key = "row.id" } }
[[rule.to]]
each = "all"
rooms = ["user:{each.id}"]
"#;
    let tables = tables(&[("t", &["id", "friend", "watcher"])]);
    let mut engine = engine(with_rooms(&format!("{LOOKUPS}{rules}")), &tables);
    engine.remember("one", "f", vec![row("{\"id\":\"f\"}")]);
    engine.tire("many");
    let inserted = page(vec![change("t", "", r#"{"id":"1","friend":"f","watcher":"w"}"#)]);
    // The same when the page comes again.
    for _ in 0..2 {
        let evaluated = engine.evaluate(&inserted).await.unwrap();
        let heard: Vec<_> = evaluated.events.iter().map(audiences).collect();
        let expected = [("user:1", "id=\"1\""), ("user:w", "friend=\"f\"")];
        assert_eq!(heard, [expected.map(|(rooms, data)| (rooms.to_owned(), data.to_owned()))]);
        let [partly, whole] = &evaluated.failures[..] else { panic!("{:?}", evaluated.failures) };
        assert_eq!((&*partly.rule, &*whole.rule), ("e", "whole"));
        let reason = "the lookup \"many\" failed: it took too long; it is not asked again within the next";
        assert!(
            partly.error.starts_with(&format!("the audience user:{{each.id}} heard nothing: {reason}")),
            "{}",
            partly.error
        );
        assert!(whole.error.starts_with(reason), "{}", whole.error);
    }
    // Where it has nothing to look for it does no harm.
    engine.tire("one");
    engine.remember("many", "2", vec![row("{\"id\":\"m\"}")]);
    let evaluated =
        engine.evaluate(&page(vec![change("t", "", r#"{"id":"2","friend":null,"watcher":"w"}"#)])).await.unwrap();
    assert_eq!(evaluated.failures, []);
    assert_eq!(audiences(&evaluated.events[0]).len(), 3);
}

#[tokio::test]
async fn an_audience_whose_data_need_a_lookup_hears_nothing_while_the_database_refuses_it() {
    let rules = r#"
[[rule]]
event = "e"
table = "t"
on = ["insert"]
lookups = { sum = { use = "one", key = "row.id", needed = true } }
[[rule.to]]
rooms = ["user:{row.id}"]
data = { total = "first(sum.id, '0.00')" }
[[rule.to]]
rooms = ["user:{row.watcher}"]
"#;
    let tables = tables(&[("t", &["id", "watcher"])]);
    let mut engine = engine(with_rooms(&format!("{LOOKUPS}{rules}")), &tables);
    let inactive = engine.bind_prepared(&tables, |name| match name {
        "one" => Prepared::Refused("permission denied".to_owned()),
        _ => Prepared::Unknown,
    });
    let reason = "the audience user:{row.id} hears nothing: the lookup \"one\" can't be run: permission denied";
    assert_eq!(inactive.iter().map(|idle| idle.reason.as_str()).collect::<Vec<_>>(), [reason]);
    let evaluated = engine.evaluate(&page(vec![change("t", "", r#"{"id":"1","watcher":"w"}"#)])).await.unwrap();
    assert_eq!(audiences(&evaluated.events[0]), [("user:w".to_owned(), String::new())]);
}
