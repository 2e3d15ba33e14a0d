//! Whose sign-in a row change concerns.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDateTime};
use serde_json::Value;

use super::{AuthConfig, Mode, presented::user_id, session::session_id};
use crate::{
    change::{Change, Op, Row, TableName},
    identity::Concern,
};

/// The tables that sign-ins rest on.
#[derive(Debug, Clone, Default)]
pub struct Concerns {
    /// By the column that names the user.
    users: BTreeMap<TableName, String>,
    sessions: Option<TableName>,
}

impl Concerns {
    /// Those of the ways that are open.
    pub fn new(config: &AuthConfig, modes: &[Mode]) -> Self {
        let rests_on_people = modes.iter().any(|mode| *mode != Mode::Anonymous);
        let users = config.identity.changes.iter().filter(|_| rests_on_people);
        Self {
            users: users.map(|(table, column)| (table.to_name(), column.clone())).collect(),
            sessions: modes.contains(&Mode::Session).then(|| config.session.table.to_name()),
        }
    }

    /// The tables that must be watched for sign-ins to end in time, each with the columns that must be captured.
    pub fn needs(&self) -> impl Iterator<Item = (&TableName, Vec<&str>)> {
        let sessions = self.sessions.iter().map(|table| (table, SESSION_COLUMNS.to_vec()));
        let others = self.users.iter().filter(|(table, _)| Some(*table) != self.sessions.as_ref());
        sessions.chain(others.map(|(table, column)| (table, vec![column.as_str()])))
    }

    /// The command that watches one of these tables, so that `captured`, what its log holds now, and what is needed of it get
    /// there, and nothing else: no session's content, no password.
    pub fn remedy(&self, table: &TableName, captured: &[&str]) -> String {
        let name = table.to_string();
        let mut columns: Vec<&str> = captured.to_vec();
        let mut end = "";
        if self.sessions.as_ref() == Some(table) {
            columns.extend(SESSION_COLUMNS);
            columns.retain(|column| *column != "sess");
            end = " --digest sess";
        }
        if let Some(column) = self.users.get(table) {
            columns.insert(0, column);
            columns.extend(MARKETPLACE.iter().filter(|(known, _)| *known == name).flat_map(|(_, columns)| *columns));
            let is_told = columns.len() > 1;
            end = if is_told || !end.is_empty() { end } else { " COLUMN …, with all that the rights depend on" };
        }
        let mut seen = BTreeSet::new();
        columns.retain(|column| seen.insert(*column));
        format!("rowcast watch {name} --only {}{end}", columns.join(" "))
    }

    /// Whose sign-in has to be confirmed after this change. A row that doesn't say whom it is about concerns everybody.
    pub fn of(&self, change: &Change) -> Vec<Concern> {
        let mut concerns = Vec::new();
        if self.sessions.as_ref() == Some(&change.table) {
            match change.op {
                // Nobody has signed in by a session that was not there.
                Op::Insert => {}
                Op::Truncate => return vec![Concern::Everybody],
                Op::Update if is_touch(change) => {}
                Op::Update | Op::Delete => match named(change, "sid", session_id) {
                    Some(ids) => concerns.extend(ids.into_iter().map(Concern::Session)),
                    None => return vec![Concern::Everybody],
                },
            }
        }
        if let Some(column) = self.users.get(&change.table) {
            match named(change, column, user_id) {
                Some(ids) => concerns.extend(ids.into_iter().map(Concern::User)),
                None => return vec![Concern::Everybody],
            }
        }
        concerns
    }
}

/// What a session's end and whose it is can be told from; of `sess` a digest will do.
const SESSION_COLUMNS: [&str; 3] = ["sid", "expire", "sess"];

/// What the marketplace's rights depend on.
const MARKETPLACE: [(&str, &[&str]); 2] = [
    ("users", &["role", "user_type", "seller_id", "is_platform_admin"]),
    ("user_store_memberships", &["store_owner_id", "access_level", "status"]),
];

/// Whether a session goes on as it was, and no shorter. That is nobody's concern: what is known of its end is an earlier
/// time, and then it is asked for anyway.
fn is_touch(change: &Change) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return false };
    let is_same = |column| matches!((old.get(column), new.get(column)), (Some(a), Some(b)) if a.get() == b.get());
    is_same("sid") && is_same("sess") && (is_same("expire") || is_later(old, new, "expire"))
}

fn is_later(old: &Row, new: &Row, column: &str) -> bool {
    let text = |row: &Row| serde_json::from_str::<String>(row.get(column)?.get()).ok();
    let (Some(old), Some(new)) = (text(old), text(new)) else { return false };
    if let (Ok(old), Ok(new)) = (DateTime::parse_from_rfc3339(&old), DateTime::parse_from_rfc3339(&new)) {
        return new >= old;
    }
    matches!((old.parse::<NaiveDateTime>(), new.parse::<NaiveDateTime>()), (Ok(old), Ok(new)) if new >= old)
}

/// Who stands in that column before and after, null aside; `None` if a row lacks it, if what stands there isn't understood, or
/// there are no rows to look at.
fn named(change: &Change, column: &str, parse: fn(&Value) -> Result<String, String>) -> Option<BTreeSet<String>> {
    if change.op == Op::Truncate {
        return None;
    }
    let mut names = BTreeSet::new();
    for row in [&change.old, &change.new].into_iter().flatten() {
        match serde_json::from_str::<Value>(row.get(column)?.get()).ok()? {
            Value::Null => {}
            value => {
                names.insert(parse(&value).ok()?);
            }
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use serde_json::{json, value::RawValue};

    use super::*;
    use crate::change::Row;

    fn change(table: &str, op: Op, old: Value, new: Value) -> Change {
        let row = |value: Value| {
            let columns = value
                .as_object()?
                .iter()
                .map(|(name, value)| (name.as_str().into(), RawValue::from_string(value.to_string()).expect("JSON")));
            Some(columns.collect::<Row>())
        };
        let table = TableName::new("public", table);
        Change { id: 1, xid: 1, at: Utc::now(), table, op, old: row(old), new: row(new), actor: None }
    }

    fn of(modes: &[Mode], change: &Change) -> Vec<Concern> {
        Concerns::new(&AuthConfig::default(), modes).of(change)
    }

    #[test]
    fn a_user_and_their_memberships_concern_that_user_before_and_after() {
        let user = |id: &str| Concern::User(id.to_owned());
        for modes in [&[Mode::Jwt] as &[_], &[Mode::Session, Mode::Anonymous], &[Mode::Insecure]] {
            let demoted = change("users", Op::Update, json!({ "id": "u1", "role": "a" }), json!({ "id": "u1" }));
            assert_eq!(of(modes, &demoted), [user("u1")]);
            let moved =
                change("user_store_memberships", Op::Update, json!({ "user_id": 1 }), json!({ "user_id": "u2" }));
            assert_eq!(of(modes, &moved), [user("1"), user("u2")]);
            let deleted = change("users", Op::Delete, json!({ "id": "u1" }), Value::Null);
            assert_eq!(of(modes, &deleted), [user("u1")]);
            let nobody = change("user_store_memberships", Op::Insert, Value::Null, json!({ "user_id": null }));
            assert_eq!(of(modes, &nobody), []);
        }
    }

    #[test]
    fn a_session_concerns_who_came_by_it_unless_it_is_new() {
        let row = || json!({ "sid": "s1" });
        let session = [Concern::Session("s1".to_owned())];
        assert_eq!(of(&[Mode::Session], &change("sessions", Op::Update, row(), row())), session);
        assert_eq!(of(&[Mode::Session], &change("sessions", Op::Delete, row(), Value::Null)), session);
        assert_eq!(of(&[Mode::Session], &change("sessions", Op::Insert, Value::Null, row())), []);
        assert_eq!(of(&[Mode::Jwt], &change("sessions", Op::Delete, row(), Value::Null)), []);
    }

    #[test]
    fn a_session_that_is_touched_concerns_nobody_as_long_as_it_says_the_same_and_ends_no_earlier() {
        let row = |sess: &str, expire: &str| json!({ "sid": "s1", "sess": sess, "expire": expire });
        let update = |old: Value, new: Value| of(&[Mode::Session], &change("sessions", Op::Update, old, new));
        let session = [Concern::Session("s1".to_owned())];
        for (before, after) in [
            ("2030-01-01T00:00:00", "2030-01-01T00:00:00"),
            ("2030-01-01T00:00:00", "2030-01-01T00:00:00.5"),
            ("2030-01-01T12:00:00+02:00", "2030-01-01T10:00:01+00:00"),
            ("infinity", "infinity"),
        ] {
            assert_eq!(update(row("d1", before), row("d1", after)), [], "{before} {after}");
            assert_eq!(update(row("d1", before), row("d2", after)), session, "a logout");
        }
        for (before, after) in [
            ("2030-01-01T00:00:01", "2030-01-01T00:00:00.999"),
            ("2030-01-01T10:00:00+00:00", "2030-01-01T11:00:00+02:00"),
            ("2030-01-01T00:00:00", "2031-01-01T00:00:00+00:00"),
            ("infinity", "2030-01-01T00:00:00"),
            ("soon", "later"),
        ] {
            assert_eq!(update(row("d1", before), row("d1", after)), session, "{before} {after}");
        }
        let older = |expire: &str| json!({ "sid": "s1", "expire": expire });
        assert_eq!(update(older("2030-01-01T00:00:00"), older("2031-01-01T00:00:00")), session, "no digest");
        let moved = json!({ "sid": "s2", "sess": "d1", "expire": "2030-01-01T00:00:00" });
        assert_eq!(update(row("d1", "2030-01-01T00:00:00"), moved).len(), 2);
        let deleted = change("sessions", Op::Delete, row("d1", "2030-01-01T00:00:00"), Value::Null);
        assert_eq!(of(&[Mode::Session], &deleted), session);
    }

    #[test]
    fn an_id_is_taken_as_sign_in_takes_it_and_one_that_is_not_understood_concerns_everybody() {
        let deleted = |table, column: &str, id: Value| {
            of(&[Mode::Session], &change(table, Op::Delete, json!({ column: id }), Value::Null))
        };
        let long = "x".repeat(1024);
        assert_eq!(deleted("sessions", "sid", json!(long)), [Concern::Session(long)]);
        assert_eq!(deleted("sessions", "sid", json!("a\tb")), [Concern::Session("a\tb".to_owned())]);
        assert_eq!(deleted("sessions", "sid", json!(17)), [Concern::Session("17".to_owned())]);
        for wrong in [json!("x".repeat(1025)), json!(1.5), json!([1]), json!("a\0b")] {
            assert_eq!(deleted("sessions", "sid", wrong.clone()), [Concern::Everybody], "{wrong}");
            assert_eq!(deleted("users", "id", wrong.clone()), [Concern::Everybody], "{wrong}");
        }
    }

    #[test]
    fn the_command_that_mends_a_table_names_what_is_needed_and_keeps_the_rest_out_of_the_log() {
        let mut config = AuthConfig::default();
        config.session.table = "app_sessions".to_owned().try_into().expect("a name");
        config.identity.changes.insert("accounts".to_owned().try_into().expect("a name"), "id".to_owned());
        let concerns = Concerns::new(&config, &[Mode::Session]);
        let remedy = |table: &str, captured: &[&str]| concerns.remedy(&TableName::new("public", table), captured);
        let sessions = "rowcast watch app_sessions --only sid expire --digest sess";
        assert_eq!(remedy("app_sessions", &[]), sessions);
        assert_eq!(remedy("app_sessions", &["expire", "sid"]), sessions.replace("sid expire", "expire sid"));
        assert_eq!(remedy("accounts", &["role"]), "rowcast watch accounts --only id role");
        assert!(remedy("accounts", &[]).starts_with("rowcast watch accounts --only id COLUMN …"));
        assert_eq!(
            remedy("users", &["role"]),
            "rowcast watch users --only id role user_type seller_id is_platform_admin"
        );
    }

    #[test]
    fn everybody_is_concerned_when_a_table_is_emptied_or_a_row_does_not_say_whom_it_is_about() {
        for table in ["users", "user_store_memberships", "sessions"] {
            let truncated = change(table, Op::Truncate, Value::Null, Value::Null);
            assert_eq!(of(&[Mode::Session], &truncated), [Concern::Everybody]);
            let silent = change(table, Op::Update, json!({ "a": 1 }), json!({ "a": 2 }));
            assert_eq!(of(&[Mode::Session], &silent), [Concern::Everybody]);
        }
    }

    #[test]
    fn other_tables_and_visitors_alone_concern_nobody() {
        let product = change("products", Op::Delete, json!({ "id": "p1" }), Value::Null);
        assert_eq!(of(&[Mode::Session, Mode::Jwt], &product), []);
        let user = change("users", Op::Delete, json!({ "id": "u1" }), Value::Null);
        assert_eq!(of(&[Mode::Anonymous], &user), []);
    }
}
