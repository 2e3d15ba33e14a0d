//! Where hostile input gets to, as functions that a fuzzer can call. For `fuzz/` and the tests; of no use to anybody else.

use std::{cell::RefCell, collections::BTreeMap, sync::LazyLock};

use chrono::DateTime;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

use crate::{
    auth,
    catalog::{Catalog, Explainer, Settings},
    change::{Change, Op, Page, Row, TableName, Tables},
    gateway,
    identity::Identity,
    position::{Position, Seen},
};

/// Takes any bytes at all, and must not panic.
pub type Target = fn(&[u8]);

/// Every target by its name; each takes any bytes, and panics if something is wrong.
pub const TARGETS: [(&str, Target); 5] = [
    ("client_message", client_message),
    ("sign_in", sign_in),
    ("catalog", catalog),
    ("expression", expression),
    ("position", position),
];

/// What a client says: the text of a Socket.IO message.
pub fn client_message(data: &[u8]) {
    static CATALOG: LazyLock<Catalog> =
        LazyLock::new(|| Catalog::built_in(&Settings::new()).expect("the built-in catalog has no faults"));
    let seller = Identity {
        user_id: Some("u".to_owned()),
        roles: vec!["seller".to_owned()],
        stores: vec!["u".to_owned(), "s".to_owned()],
        admin: false,
    };
    let text = std::str::from_utf8(data).ok().map(str::to_owned);
    for identity in [Identity::default(), seller] {
        gateway::fuzzing::read_message(text.clone(), 64 * 1024, &*CATALOG, &identity);
    }
}

/// What a client shows when it connects, a line each: its `auth`, the header `Authorization`, and `Cookie`.
pub fn sign_in(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let [auth, authorization, cookies] = [(); 3].map(|()| lines.next().unwrap_or_default());
    auth::fuzzing::show(auth, authorization, cookies);
}

/// The files of a catalog, a zero byte between one and the next.
pub fn catalog(data: &[u8]) {
    let texts = String::from_utf8_lossy(data);
    let files: Vec<(&str, &str)> = texts.split('\0').take(4).map(|text| ("fuzz.toml", text)).collect();
    match Catalog::from_texts(&files) {
        Err(faults) => assert!(faults.iter().all(|fault| !fault.reason.is_empty()), "a fault without a reason"),
        Ok(catalog) => use_all(catalog),
    }
}

/// An expression, everywhere that a catalog may have one.
pub fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let text = toml::Value::from(text).to_string();
    let catalog = format!(
        "[settings]\nlimit = 10\n\
         [[room]]\nroom = \"user:{{id}}\"\njoin = {text}\nown = \"auth.user_id\"\n\
         [[room]]\nroom = \"open:{{id}}\"\njoin = \"true\"\n\
         [[rule]]\nevent = \"a:b\"\ntable = \"t\"\non = [\"insert\", \"update\", \"delete\"]\n\
         [rule.let]\nit = {text}\n[rule.data]\nvalue = \"it\"\n[[rule.to]]\nrooms = [\"open:{{row.id}}\"]\n\
         [[rule]]\nname = \"when\"\nevent = \"a:c\"\ntable = \"t\"\non = [\"update\"]\nwhen = {text}\nper = {text}\n\
         data = {{ id = \"row.id\" }}\nto = [{{ rooms = [\"open:{{row.id}}\"], changes = [\"a\"] }}]\n"
    );
    // What is no policy may be a value, and the other way round.
    for without in ["", "join = ", "when = ", "per = ", "it = "] {
        let lines = catalog.lines().filter(|line| without.is_empty() || !line.starts_with(without));
        let text = lines.collect::<Vec<_>>().join("\n");
        if let Ok(catalog) = Catalog::from_texts(&[("fuzz.toml", &text)]) {
            use_all(catalog);
        }
    }
}

/// The position that a client hands back.
pub fn position(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse(), Ok(position), "a position survives its text");
        assert_eq!(position.to_string(), text, "one position has one text");
    }
}

/// Describes a catalog, asks its policies, and evaluates its rules on changes of every kind.
fn use_all(catalog: Catalog) {
    catalog.outline();
    catalog.revealed();
    for identity in [Identity::default(), Identity { user_id: Some("u".to_owned()), ..Identity::default() }] {
        for room in catalog.own_rooms(&identity) {
            catalog.may_join(&identity, &room);
        }
        for name in ["user:u", "open:1", "a"] {
            catalog.may_join(&identity, &crate::room::Room::new(name).expect("a name"));
        }
    }
    let tables: Vec<TableName> = catalog.tables().into_iter().take(4).cloned().collect();
    thread_local!(static RUNTIME: RefCell<Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    ));
    RUNTIME.with_borrow_mut(|runtime| {
        runtime.block_on(async {
            let mut explainer = Explainer::unbound(catalog.into());
            for change in tables.iter().flat_map(changes) {
                explainer.explain(&page(change)).await.ok();
            }
        });
    });
}

fn page(change: Change) -> Page {
    let position = Position { system: 1, database: 2, seen: Seen::below(3) };
    Page { changes: vec![change], position, tables: Tables::default().into() }
}

fn changes(table: &TableName) -> Vec<Change> {
    const OLD: &str =
        r#"{"id":"1","a":null,"b":"12.50","c":[{"k":1,"n":2}],"d":{"x":{"y":[1,2]}},"e":-9223372036854775808}"#;
    const NEW: &str = r#"{"id":"","a":1e308,"b":"99999999999999999999.1","c":"[]","d":"\u0000\ud83d\ude00","e":18446744073709551615}"#;
    let row = |json: &str| -> Row {
        let columns: BTreeMap<Box<str>, Box<RawValue>> = serde_json::from_str(json).expect("an object");
        columns.into_iter().collect()
    };
    let change = |op, old: Option<&str>, new: Option<&str>| Change {
        id: 1,
        xid: 3,
        at: DateTime::UNIX_EPOCH,
        table: table.clone(),
        op,
        old: old.map(row),
        new: new.map(row),
        actor: None,
    };
    vec![
        change(Op::Insert, None, Some(NEW)),
        change(Op::Update, Some(OLD), Some(NEW)),
        change(Op::Update, Some(NEW), Some(OLD)),
        change(Op::Delete, Some(OLD), None),
        change(Op::Truncate, None, None),
    ]
}
