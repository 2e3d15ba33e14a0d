//! Whose sign-in a row change concerns.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::{AuthConfig, Mode, presented::user_id};
use crate::{
    change::{Change, Op, TableName},
    identity::Concern,
};

/// The tables that sign-ins rest on.
#[derive(Debug, Clone, Default)]
pub struct Concerns {
    /// By the column that names the user.
    users: HashMap<TableName, String>,
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

    /// The tables that must be watched for sign-ins to end in time.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        let others = self.users.keys().filter(|table| Some(*table) != self.sessions.as_ref());
        self.sessions.iter().chain(others)
    }

    /// Whose sign-in has to be confirmed after this change. A row that doesn't say whom it is about concerns everybody.
    pub fn of(&self, change: &Change) -> Vec<Concern> {
        let mut concerns = Vec::new();
        if self.sessions.as_ref() == Some(&change.table) {
            match change.op {
                // Nobody has signed in by a session that was not there.
                Op::Insert => {}
                Op::Truncate => return vec![Concern::Everybody],
                Op::Update | Op::Delete => match named(change, "sid") {
                    Some(ids) => concerns.extend(ids.into_iter().map(Concern::Session)),
                    None => return vec![Concern::Everybody],
                },
            }
        }
        if let Some(column) = self.users.get(&change.table) {
            match named(change, column) {
                Some(ids) => concerns.extend(ids.into_iter().map(Concern::User)),
                None => return vec![Concern::Everybody],
            }
        }
        concerns
    }
}

/// Who stands in that column before and after, null aside; `None` if a row lacks it, or there are no rows to look at.
fn named(change: &Change, column: &str) -> Option<BTreeSet<String>> {
    if change.op == Op::Truncate {
        return None;
    }
    let mut names = BTreeSet::new();
    for row in [&change.old, &change.new].into_iter().flatten() {
        match serde_json::from_str::<Value>(row.get(column)?.get()).ok()? {
            Value::Null => {}
            value => {
                // What can't be a user's id, nobody has signed in with.
                names.extend(user_id(&value).ok());
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
