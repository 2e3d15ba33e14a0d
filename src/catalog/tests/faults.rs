use super::*;

/// A rule that is right, but for what a test puts in.
fn rule(more: &str) -> String {
    format!(
        "[settings]\nlimit = 10\n\n\
         [[room]]\nroom = \"user:{{id}}\"\njoin = \"id == auth.user_id\"\n\n\
         [[lookup]]\nname = \"owner\"\nreturns = \"one\"\nsql = \"select key from unnest($1::text[]) k(key)\"\n\n\
         [[rule]]\nevent = \"a:b\"\ntable = \"t\"\n{more}"
    )
}

const GOOD: &str = "on = [\"update\"]\nto = [{ rooms = [\"user:{row.u}\"] }]\n";

#[track_caller]
fn assert_faults(text: &str, expected: &[&str]) {
    let faults = catalog(text).err().map(|faults| faults.to_string()).unwrap_or_default();
    assert_eq!(faults.lines().collect::<Vec<_>>(), expected, "{text}");
}

#[test]
fn a_catalog_without_faults_is_taken() {
    assert_faults(&rule(GOOD), &[]);
}

#[test]
fn a_fault_names_file_line_rule_and_reason() {
    for (more, expected) in [
        (
            "wehn = \"true\"\n",
            "test.toml:18: rule \"a:b\": unknown key \"wehn\"; the keys are \"event\", \"inbox\", \"name\", \"about\", \"table\", \
             \"on\", \"changed\", \"let\", \"when\", \"lookups\", \"per\", \"subject\", \"actor\", \"data\", \"types\", \"reveals\", \"to\"",
        ),
        (
            "data = { id = \"row.id\" }\ntypes = { id = \"text\" }\n",
            "test.toml:19: rule \"a:b\": the type of \"id\": expected a type: string, number, integer, boolean, null, \
             Decimal, Timestamp, Json, 'text', { key: type, key?: type }, type[] or type | type; found \"text\"",
        ),
        (
            "data = { id = \"row.id\" }\ntypes = { di = \"string\" }\n",
            "test.toml:19: rule \"a:b\": `types` names \"di\", which is no key of the data: \"id\"",
        ),
        (
            "when = \"new.stock <\"\n",
            "test.toml:18: rule \"a:b\": bad CEL `new.stock <`: Syntax error: mismatched input '<EOF>' expecting \
             {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, \
             IDENTIFIER} (line 1, column 12)",
        ),
        (
            "when = \"[1].all(x, x > 0)\"\n",
            "test.toml:18: rule \"a:b\": bad CEL `[1].all(x, x > 0)`: map, filter, all, exists and exists_one are not \
             allowed: nothing bounds the steps they take",
        ),
        (
            "when = \"nwe.stock == 1\"\n",
            "test.toml:18: rule \"a:b\": bad CEL `nwe.stock == 1`: unknown variable \"nwe\"; the variables are \"old\", \
             \"new\", \"row\", \"changed\", \"op\", \"at\", \"settings\"",
        ),
        (
            "when = \"below(new.stock, settings.limt)\"\n",
            "test.toml:18: rule \"a:b\": bad CEL `below(new.stock, settings.limt)`: unknown setting \"limt\"; the \
             settings are \"limit\"",
        ),
        (
            "when = \"row == null\"\n",
            "test.toml:18: rule \"a:b\": bad CEL `row == null`: \"row\" is a row: read a column of it, row.column",
        ),
        (
            "when = \"owner.id == row.id\"\nlookups = { owner = { use = \"owner\", key = \"row.id\" } }\n",
            "test.toml:18: rule \"a:b\": bad CEL `owner.id == row.id`: unknown variable \"owner\"; the variables are \
             \"old\", \"new\", \"row\", \"changed\", \"op\", \"at\", \"settings\"",
        ),
        (
            "lookups = { x = { use = \"ownr\", key = \"row.id\" } }\n",
            "test.toml:18: rule \"a:b\": unknown lookup \"ownr\"; the lookups are \"owner\"",
        ),
        ("lookups = { x = { use = \"owner\" } }\n", "test.toml:18: rule \"a:b\": `key` is missing"),
        ("when = 7\n", "test.toml:18: rule \"a:b\": `when` is an integer, expected a string"),
        ("subject = [\"id\"]\n", "test.toml:17: rule \"a:b\": the subject \"id\" is not in the data of this audience"),
        ("data = { id = 1 }\n", "test.toml:18: rule \"a:b\": `id` is an integer, expected an expression in quotes"),
        ("[rule.let]\nrow = \"1\"\n", "test.toml:19: rule \"a:b\": a `let` can't be called \"row\""),
    ] {
        assert_faults(&rule(&format!("{GOOD}{more}")), &[expected]);
    }
}

#[test]
fn a_fault_in_an_operation_or_an_audience_is_found() {
    for (more, expected) in [
        (
            "on = [\"updated\"]\nto = [{ rooms = [\"user:{row.u}\"] }]\n",
            "test.toml:16: rule \"a:b\": unknown operation \"updated\" in `on`; the operations are \"insert\", \
             \"update\", \"delete\", \"truncate\"",
        ),
        (
            "to = [{ rooms = [\"user:{row.u}\"] }]\n",
            "test.toml:13: rule \"a:b\": `on` is missing; it lists \"insert\", \"update\", \"delete\" or \"truncate\"",
        ),
        ("on = [\"update\"]\n", "test.toml:13: rule \"a:b\": nobody hears it: expected at least one [[rule.to]]"),
        ("on = [\"update\"]\n[[rule.to]]\nrooms = []\n", "test.toml:17: rule \"a:b\": an audience without `rooms`"),
        (
            "on = [\"update\"]\n[[rule.to]]\nrooms = [\"usr:{row.u}\"]\n",
            "test.toml:18: rule \"a:b\": unknown room template \"usr:{row.u}\"; the rooms are \"user:{id}\"",
        ),
        (
            "on = [\"update\"]\n[[rule.to]]\nrooms = [\"user:{row.u\"]\n",
            "test.toml:18: rule \"a:b\": room template \"user:{row.u\": `{` without `}`",
        ),
        (
            "on = [\"update\"]\n[[rule.to]]\nrooms = [\"user:{rwo.u}\"]\n",
            "test.toml:18: rule \"a:b\": bad CEL `rwo.u`: unknown variable \"rwo\"; the variables are \"old\", \"new\", \
             \"row\", \"changed\", \"op\", \"at\", \"settings\"",
        ),
        (
            "on = [\"update\"]\n[[rule.to]]\neach = \"owners\"\nrooms = [\"user:{row.u}\"]\n",
            "test.toml:18: rule \"a:b\": `each` names \"owners\", which is none of the rule's lookups: none",
        ),
        (
            "on = [\"update\"]\nlookups = { o = { use = \"owner\", key = \"row.id\" } }\n[[rule.to]]\neach = \"o\"\n\
             rooms = [\"user:{row.u}\"]\n",
            "test.toml:19: rule \"a:b\": `each` names \"o\", a lookup that returns one row",
        ),
        (
            "on = [\"update\"]\n[[rule.to]]\nrooms = [\"user:{row.u}\"]\nchanges = 3\n",
            "test.toml:19: rule \"a:b\": `changes` is an integer, expected \"all\", a list of columns, or \
             { group = [columns] or \"others\", except = [columns] }",
        ),
        (
            "on = [\"update\"]\n[[rule.to]]\nrooms = [\"user:{row.u}\"]\nchanges = \"all\"\nkeys = { u = 3 }\n",
            "test.toml:20: rule \"a:b\": `keys` is an integer, expected { column = [keys] }",
        ),
        (
            "on = [\"update\"]\n[[rule.to]]\nrooms = [\"user:{row.u}\"]\nkeys = { u = [\"a\"] }\n",
            "test.toml:19: rule \"a:b\": `keys` without `changes`, whose columns it is about",
        ),
    ] {
        assert_faults(&rule(more), &[expected]);
    }
}

#[test]
fn an_unknown_function_is_named_beside_those_that_exist() {
    let faults = catalog(&rule(&format!("{GOOD}when = \"belo(new.stock, 1)\"\n"))).unwrap_err().to_string();
    let start = "test.toml:18: rule \"a:b\": bad CEL `belo(new.stock, 1)`: unknown function \"belo\"; the functions are \
                 \"below\", \"above\", ";
    assert!(faults.starts_with(start), "{faults}");
}

#[test]
fn a_lookup_or_room_that_is_wrong_is_found() {
    assert_faults(
        "[[lookup]]\nname = \"x\"\nreturns = \"some\"\nsql = \"select 1\"\ncache = \"soon\"\n\
         [[room]]\nroom = \"a b\"\n[[room]]\nroom = \"a:{id}\"\njoin = \"auth.name == id\"\n[[room]]\nroom = \"a:{x}\"\n",
        &[
            "test.toml:3: lookup \"x\": `returns` is \"some\", expected \"one\" or \"many\"",
            "test.toml:4: lookup \"x\": `sql` never uses $1, the keys to look up (text[])",
            "test.toml:5: lookup \"x\": `cache` is \"soon\", expected a duration such as \"2s\"",
            "test.toml:7: room \"a b\": room \"a b\": expected a name such as \"sellers\" or \"product:{id}\"",
            "test.toml:10: room \"a:{id}\": bad CEL `auth.name == id`: auth has no field \"name\"; the fields are \
             \"user_id\", \"roles\", \"stores\", \"admin\"",
            "test.toml:12: room \"a:{x}\": room \"a:{x}\" is declared twice",
        ],
    );
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_lines() {
    let text = rule(&format!("{GOOD}wehn = \"true\"\nwhen = \"nwe.a\"\nactor = \"1 +\"\n\n[[rule]]\nname = \"a:b\"\n"));
    let faults = catalog(&text).unwrap_err();
    let lines: Vec<_> = faults.iter().map(|fault| fault.line.unwrap()).collect();
    assert_eq!(lines, [18, 19, 20, 22, 22, 22, 22], "{faults}");
}

#[test]
fn rules_of_one_name_are_refused() {
    let again =
        "\n[[rule]]\nevent = \"a:b\"\ntable = \"t\"\non = [\"insert\"]\nto = [{ rooms = [\"user:{row.u}\"] }]\n";
    assert_faults(
        &rule(&format!("{GOOD}{again}")),
        &["test.toml:19: rule \"a:b\": a second rule of this name: give it another `name`, names are unique"],
    );
}

#[test]
fn text_that_is_no_toml_is_told_with_its_line() {
    let faults = catalog("[settings]\nlimit = \n").unwrap_err().to_string();
    assert!(faults.starts_with("test.toml:2: not TOML: "), "{faults}");
}

#[test]
fn settings_of_the_configuration_must_be_known_and_of_the_same_type() {
    let settings = Settings::from([
        ("limit".to_owned(), toml::Value::String("ten".to_owned())),
        ("limmit".to_owned(), toml::Value::Integer(5)),
    ]);
    let faults = catalog_with(&rule(GOOD), &settings).unwrap_err().to_string();
    assert_eq!(
        faults.lines().collect::<Vec<_>>(),
        [
            "configuration: setting \"limit\": is of type string, expected integer as in its default 10",
            "configuration: setting \"limmit\": unknown; the settings are \"limit\"",
        ]
    );
}

#[test]
fn a_directory_without_a_catalog_is_a_fault() {
    let faults = Catalog::from_dir("no/such/place", &Settings::new()).unwrap_err().to_string();
    assert!(faults.starts_with("no/such/place: the catalog's directory can't be read: "), "{faults}");
}

#[test]
fn names_that_mean_something_to_clients_already_are_refused() {
    let text = |event: &str| rule(GOOD).replace("event = \"a:b\"", &format!("event = {event:?}"));
    for (event, whose) in [
        ("rowcast:resync", "the server's own, as is all that begins with \"rowcast:\""),
        ("rowcast:mine", "the server's own, as is all that begins with \"rowcast:\""),
        ("chat:typing", "the server's own, which tells who is typing"),
        ("connect", "Socket.IO's own"),
        ("connect_error", "Socket.IO's own"),
        ("disconnect", "Socket.IO's own"),
        ("disconnecting", "Socket.IO's own"),
        ("newListener", "Socket.IO's own"),
        ("removeListener", "Socket.IO's own"),
    ] {
        let expected =
            format!("test.toml:14: rule {event:?}: an event can't be called {event:?}: that name is {whose}");
        assert_faults(&text(event), &[&expected]);
    }
    for event in ["rowcasting", "chat:message", "connected"] {
        assert_faults(&text(event), &[]);
    }
    let room = "[[room]]\nroom = \"day:{id}\"\nmessage = { name = \"day\", key = \"since\" }\n";
    let expected =
        "test.toml:3: room \"day:{id}\": `key` can't be \"since\": clients say with it from when on they want to hear";
    assert_faults(room, &[expected]);
}

#[test]
fn announcements_name_a_lookup_and_there_is_one_place_for_them() {
    assert_faults(
        "[announcements]\nrecipients = \"nobody\"\n",
        &["test.toml:2: announcements: unknown lookup \"nobody\"; the lookups are none"],
    );
}

#[test]
fn a_notification_has_a_title_and_somebody_with_an_inbox_and_comes_from_the_log() {
    let rule = "[[rule]]\ninbox = \"order\"\ntable = \"rowcast.online\"\non = [\"insert\"]\ndata = { body = \"row.user_id\" }\n\
                [[rule.to]]\nrooms = [\"all\"]\n[[room]]\nroom = \"all\"\n";
    assert_faults(
        rule,
        &[
            "test.toml:3: rule \"order\": what the gateway sees is in no log, so no notification can be made of it just once",
            "test.toml:6: rule \"order\": a notification's data are \"title\", \"body\", \"subject\", with a title at least; found \"body\"",
            "test.toml:7: rule \"order\": \"all\" has no inbox: expected \"user:{…}\" or \"seller:{…}\"",
        ],
    );
}

#[test]
fn a_schedule_has_a_name_of_its_own_an_interval_and_a_kind_of_room() {
    let schedules = "[[schedule]]\nname = \"change\"\nevery = \"1ms\"\nsql = \"select 1 as key\"\n\
                     [[schedule]]\nname = \"b\"\nevery = \"soon\"\nsql = \"select 1 as key\"\n\
                     [[schedule]]\nname = \"c\"\nevery = \"1s\"\nrooms = \"shop:{id}\"\nsql = \"select $1 as key\"\n";
    assert_faults(
        schedules,
        &[
            "test.toml:1: schedule \"change\": a schedule can't be called \"change\": expected lower-case letters, digits and _, \
             and none of \"change\", \"cursor\", \"dead_letter\", \"migration\", \"notification\", \"notified\", \"online\", \
             \"room\", \"told\", \"waiting\", \"watched\"",
            "test.toml:3: schedule \"change\": `every` is 1ms, expected 200ms at least",
            "test.toml:7: schedule \"b\": `every` is \"soon\", expected a duration such as \"2s\"",
            "test.toml:12: schedule \"c\": \"shop:{id}\" is no kind of room with a parameter, such as \"product:{id}\"",
        ],
    );
}

/// A rule with an audience of a room that everybody who is signed in may join, or of one that lets visitors in.
fn audience(room: &str, audience: &str) -> String {
    format!(
        "[[room]]\nroom = \"member:{{id}}\"\njoin = \"auth.user_id != null\"\n\
         [[room]]\nroom = \"page:{{id}}\"\njoin = \"true\"\n\
         [[rule]]\nevent = \"a:b\"\ntable = \"t\"\non = [\"update\"]\n\
         [[rule.to]]\nrooms = [\"{room}:{{row.id}}\"]\n{audience}\n"
    )
}

#[test]
fn a_wildcard_is_refused_for_public_rooms_and_for_no_others() {
    let told = "test.toml:13: rule \"a:b\": \"page:{id}\" lets visitors in, and these `changes` hand on every column, also \
                one that is added later: list the columns, changes = [\"…\"]";
    for wildcard in
        ["changes = \"all\"", "changes = { except = [\"cost\"] }", "changes = { a = [\"b\"], c = \"others\" }"]
    {
        assert_faults(&audience("page", wildcard), &[told]);
        assert_faults(&audience("member", wildcard), &[]);
    }
    assert_faults(&audience("page", "changes = [\"price\"]"), &[]);
    assert_faults(&audience("page", "changes = { a = [\"price\"], except = [\"cost\"] }"), &[]);
}

#[test]
fn the_names_of_whatever_changed_are_refused_for_public_rooms() {
    let told = "test.toml:11: rule \"a:b\": \"page:{id}\" lets visitors in, and \"what\" names every column that changed: \
                ask for those that they may know of, 'price' in changed";
    for names in ["data = { what = \"changed\" }", "data = { what = \"size(changed)\" }"] {
        assert_faults(&audience("page", names), &[told]);
        assert_faults(&audience("member", names), &[]);
    }
    assert_faults(&audience("page", "data = { dearer = \"'price' in changed\" }"), &[]);
}

#[test]
fn a_whole_row_is_handed_on_to_nobody() {
    for row in ["row", "new", "old", "{'all': row}", "[new]"] {
        let text = audience("member", &format!("data = {{ all = \"{row}\" }}"));
        let faults = catalog(&text).err().map(|faults| faults.to_string()).unwrap_or_default();
        assert!(faults.contains("is a row: read a column of it"), "{row}: {faults}");
    }
}

#[test]
fn what_a_rule_reveals_is_read_by_its_conditions() {
    let faulty = audience("page", "when = \"row.cost > 3\"\nchanges = [\"price\"]")
        .replace("on = [\"update\"]", "on = [\"update\"]\nreveals = [\"cost\", \"csot\"]");
    assert_faults(
        &faulty,
        &[
            "test.toml:11: rule \"a:b\": `reveals` names \"csot\", which no condition of the rule reads; they read \"*\", \
           \"cost\"",
        ],
    );
}

#[test]
fn a_schedules_interval_may_be_a_setting_that_the_configuration_overrides() {
    let schedule = "[settings]\npace = \"30s\"\nnumber = 3\n\
                    [[schedule]]\nname = \"a\"\nevery = \"settings.pace\"\nsql = \"select 1 as key\"\n";
    let every = |pace: &str| {
        let settings = Settings::from([("pace".to_owned(), pace.into())]);
        catalog_with(schedule, &settings)
            .map(|catalog| catalog.schedules()[0].every)
            .map_err(|faults| faults.to_string())
    };
    assert_eq!(catalog(schedule).unwrap().schedules()[0].every, std::time::Duration::from_secs(30));
    assert_eq!(every("5s"), Ok(std::time::Duration::from_secs(5)));
    for (pace, expected) in [
        ("often", "`every` is the setting \"pace\", which is \"often\", expected a duration such as \"2s\""),
        ("1ms", "`every` is the setting \"pace\", which is 1ms, expected 200ms at least"),
    ] {
        let faults = every(pace).unwrap_err();
        assert!(faults.contains(&format!("test.toml:6: schedule \"a\": {expected}")), "{faults}");
    }
    for (setting, expected) in [
        ("number", "`every` is the setting \"number\", which is 3, expected a duration such as \"2s\""),
        ("peace", "`every` names the setting \"peace\", which is unknown; the settings are \"number\", \"pace\""),
    ] {
        let text = schedule.replace("settings.pace", &format!("settings.{setting}"));
        assert_faults(&text, &[&format!("test.toml:6: schedule \"a\": {expected}")]);
    }
}
