use super::*;

const ROOMS: &str = r#"
    [[room]]
    room = "shop:{id}"
    join = "true"
    [[room]]
    room = "staff:{id}"
    join = "id in auth.stores"
    [[lookup]]
    name = "owner"
    returns = "one"
    sql = "select key, plan from unnest($1::text[]) k(key)"
"#;

/// What a rule on `goods` reveals, as `rooms: columns`; `*` stands for any column.
fn revealed(rules: &str) -> Vec<String> {
    let catalog = catalog(&format!("{ROOMS}\n{rules}")).unwrap_or_else(|faults| panic!("{faults}"));
    let line = |revealed: Revealed<'_>| {
        let rooms: Vec<_> = revealed.rooms.into_iter().collect();
        let mut columns: Vec<_> = revealed.columns.into_iter().collect();
        columns.extend(revealed.any.then(|| "*".to_owned()));
        format!("{}: {}", rooms.join(" "), columns.join(" "))
    };
    catalog.revealed().into_iter().map(line).collect()
}

fn rule(more: &str) -> String {
    format!("[[rule]]\nevent = \"goods:changed\"\ntable = \"goods\"\non = [\"update\"]\n{more}\n")
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_condition_on_a_column_that_no_data_show_is_told() {
    let to =
        "to = [{ rooms = [\"staff:{row.id}\"] }, { rooms = [\"shop:{row.id}\"], data = { price = \"row.price\" } }]";
    assert_eq!(revealed(&rule(&format!("changed = [\"price\"]\n{to}"))), NOTHING);
    for condition in [
        "changed = [\"price\", \"cost\"]",
        "changed = [\"price\"]\nwhen = \"row.cost > 3\"",
        "changed = [\"price\"]\nwhen = \"has(row.cost) && row['cost'] != null\"",
        "changed = [\"price\"]\nwhen = \"'cost' in changed\"",
        "changed = [\"price\"]\nlet = { cheap = \"below(new.cost, 10)\" }\nwhen = \"cheap && !below(old.price, 10)\"",
    ] {
        assert_eq!(revealed(&rule(&format!("{condition}\n{to}"))), ["shop:{id}: cost"], "{condition}");
    }
}

#[test]
fn the_audiences_own_condition_counts_and_that_of_a_private_one_does_not() {
    let audiences = |shop: &str, staff: &str| {
        rule(&format!(
            "changed = [\"price\"]\n[rule.data]\nprice = \"row.price\"\n[[rule.to]]\nwhen = \"{staff}\"\n\
             rooms = [\"staff:{{row.id}}\"]\n[[rule.to]]\nwhen = \"{shop}\"\nrooms = [\"shop:{{row.id}}\"]"
        ))
    };
    assert_eq!(revealed(&audiences("row.price != null", "row.cost != null")), NOTHING);
    assert_eq!(revealed(&audiences("row.cost != null", "true")), ["shop:{id}: cost"]);
}

#[test]
fn what_another_event_of_the_table_shows_in_the_same_room_is_no_secret() {
    let hides = rule(
        "changed = [\"price\"]\nwhen = \"row.cost > 3\"\ndata = { price = \"row.price\" }\nto = [{ rooms = [\"shop:{row.id}\"] }]",
    );
    let shows = |room: &str| {
        format!(
            "[[rule]]\nevent = \"goods:added\"\ntable = \"goods\"\non = [\"insert\"]\n\
             data = {{ cost = \"first(row.cost, 0)\" }}\nto = [{{ rooms = [\"{room}:{{row.id}}\"] }}]\n"
        )
    };
    assert_eq!(revealed(&format!("{hides}{}", shows("staff"))), ["shop:{id}: cost"]);
    assert_eq!(revealed(&format!("{hides}{}", shows("shop"))), NOTHING);
    // What is only worked out from a column does not show it.
    let worked_out = shows("shop").replace("first(row.cost, 0)", "row.cost > 3");
    assert_eq!(revealed(&format!("{hides}{worked_out}")), ["shop:{id}: cost"]);
}

#[test]
fn what_a_lookup_finds_is_told_under_the_lookups_name() {
    let text = rule(
        "changed = [\"price\"]\nlookups = { owner = { use = \"owner\", key = \"row.id\" } }\ndata = { price = \"row.price\" }\n\
         to = [{ when = \"owner.plan == 'pro'\", rooms = [\"shop:{row.id}\"] }]",
    );
    assert_eq!(revealed(&text), ["shop:{id}: owner.plan"]);
}

#[test]
fn an_audience_that_hears_of_every_update_is_told() {
    let updates = |more: &str| rule(&format!("data = {{ price = \"row.price\" }}\n{more}"));
    assert_eq!(revealed(&updates("to = [{ rooms = [\"shop:{row.id}\"] }]")), ["shop:{id}: *"]);
    assert_eq!(
        revealed(&updates("when = \"size(changed) > 2\"\nto = [{ rooms = [\"shop:{row.id}\"] }]")),
        ["shop:{id}: *"]
    );
    assert_eq!(revealed(&updates("to = [{ rooms = [\"shop:{row.id}\"], changes = [\"price\"] }]")), NOTHING);
    // About a column's change, and no other's.
    assert_eq!(
        revealed(&updates("when = \"becomes(old.price, new.price, 0)\"\nto = [{ rooms = [\"shop:{row.id}\"] }]")),
        NOTHING
    );
    assert_eq!(revealed(&updates("reveals = [\"*\"]\nto = [{ rooms = [\"shop:{row.id}\"] }]")), NOTHING);
}

#[test]
fn what_a_rule_says_that_it_reveals_is_no_surprise() {
    let text = |reveals: &str| {
        rule(&format!(
            "changed = [\"price\"]\nwhen = \"row.cost > 3\"\n{reveals}\ndata = {{ price = \"row.price\" }}\n\
             to = [{{ rooms = [\"shop:{{row.id}}\"] }}]"
        ))
    };
    assert_eq!(revealed(&text("")), ["shop:{id}: cost"]);
    assert_eq!(revealed(&text("reveals = [\"cost\"]")), NOTHING);
}

#[test]
fn the_catalog_that_comes_with_rowcast_reveals_nothing_that_it_does_not_say() {
    assert_eq!(Catalog::built_in(&Settings::new()).unwrap().revealed(), []);
}
