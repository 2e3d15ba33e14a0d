//! A change in JSON: as a person writes it, and as the dead letter keeps it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    change::{Change, Kind, Op, Row, TableName, Tables},
    wire,
};

const EXAMPLE: &str =
    r#"{"table": "tickets", "op": "update", "old": {"id": 1, "status": "open"}, "new": {"id": 1, "status": "solved"}}"#;
/// `id` and `xid` are there since rowcast.dead_letter keeps them.
const KEYS: [&str; 8] = ["table", "op", "old", "new", "at", "actor", "id", "xid"];

/// The keys of a change as the dead letter keeps it.
#[derive(Serialize)]
struct Written<'a> {
    id: i64,
    xid: String,
    at: DateTime<Utc>,
    table: String,
    op: &'static str,
    old: &'a Option<Row>,
    new: &'a Option<Row>,
    actor: &'a Option<String>,
}

/// A change as the dead letter keeps it, in JSON; [`read`] understands it. The values stay as they are, to the last digit.
pub fn write(change: &Change) -> String {
    let Change { id, xid, at, table, op, old, new, actor } = change;
    let (xid, table) = (xid.to_string(), table.to_string());
    let written = Written { id: *id, xid, at: *at, table, op: op.as_sql(), old, new, actor };
    serde_json::to_string(&written).expect("names, numbers and ready-made JSON encode")
}

/// Reads a change; its values are put into the form that capture gives them, as far as the columns' kinds are known.
///
/// # Errors
///
/// What is wrong with it: the key, what was found and what was expected.
pub fn read(text: &str, tables: Option<&Tables>) -> Result<Change, String> {
    let mut keys: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text).map_err(|error| {
        let found = if text.trim().is_empty() { "nothing".to_owned() } else { error.to_string() };
        format!("expected a change as a JSON object, found {found}. Such as:\n{EXAMPLE}")
    })?;
    if let Some(unknown) = keys.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key {unknown:?}; the keys of a change are {}", KEYS[..6].join(", ")));
    }
    keys.retain(|_, value| value.get() != "null");
    let table = table(&string(&keys, "table")?.ok_or_else(|| expected("table", "the table's name", "none"))?)?;
    let op = op(&string(&keys, "op")?.ok_or_else(|| expected("op", OPS, "none"))?)?;

    let shape = tables.and_then(|tables| tables.get(&table));
    let kind_of = |column: &str| shape.map_or(Some(Kind::Plain), |table| table.kind_of(column));
    let side = |key: &str| -> Result<Option<Row>, String> {
        let Some(value) = keys.get(key) else { return Ok(None) };
        let row = wire::row(value.get(), kind_of);
        row.map(Some).map_err(|_| expected(key, "the row as an object of columns", &excerpt(value)))
    };
    let (old, new) = (side("old")?, side("new")?);
    let wants = |op: Op| (matches!(op, Op::Update | Op::Delete), matches!(op, Op::Insert | Op::Update));
    let (wants_old, wants_new) = wants(op);
    let name = op.as_sql().to_ascii_lowercase();
    for (key, has, wanted, what) in
        [("old", old.is_some(), wants_old, "the row before"), ("new", new.is_some(), wants_new, "the row after")]
    {
        match (has, wanted) {
            (false, true) => {
                return Err(format!("{key:?} is missing: {what}, which a change with the op {name:?} has"));
            }
            (true, false) => {
                return Err(format!("{key:?} is one too many: {what}, which a change with the op {name:?} has not"));
            }
            _ => {}
        }
    }
    Ok(Change {
        id: integer(&keys, "id")?.unwrap_or(0),
        xid: integer(&keys, "xid")?.unwrap_or(0).unsigned_abs(),
        at: time(&keys)?,
        table,
        op,
        old,
        new,
        actor: string(&keys, "actor")?,
    })
}

const OPS: &str = "\"insert\", \"update\", \"delete\" or \"truncate\"";

fn expected(key: &str, expected: &str, found: &str) -> String {
    format!("{key:?}: expected {expected}, found {found}")
}

fn excerpt(value: &RawValue) -> String {
    let text: String = value.get().chars().take(60).collect();
    if text.len() < value.get().len() { format!("{text}…") } else { text }
}

fn string(keys: &BTreeMap<String, Box<RawValue>>, key: &str) -> Result<Option<String>, String> {
    let Some(value) = keys.get(key) else { return Ok(None) };
    serde_json::from_str(value.get()).map(Some).map_err(|_| expected(key, "a string", &excerpt(value)))
}

/// A number, or one in quotes as the dead letter has it.
fn integer(keys: &BTreeMap<String, Box<RawValue>>, key: &str) -> Result<Option<i64>, String> {
    let Some(value) = keys.get(key) else { return Ok(None) };
    value.get().trim_matches('"').parse().map(Some).map_err(|_| expected(key, "an integer", &excerpt(value)))
}

fn time(keys: &BTreeMap<String, Box<RawValue>>) -> Result<DateTime<Utc>, String> {
    let Some(text) = string(keys, "at")? else { return Ok(Utc::now()) };
    let time = DateTime::parse_from_rfc3339(&text);
    time.map(|time| time.to_utc())
        .map_err(|_| expected("at", "a time such as \"2026-01-31T12:00:00Z\"", &format!("{text:?}")))
}

fn table(text: &str) -> Result<TableName, String> {
    let (schema, name) = text.split_once('.').unwrap_or(("public", text));
    match schema.is_empty() || name.is_empty() {
        true => Err(expected("table", "\"table\" or \"schema.table\"", &format!("{text:?}"))),
        false => Ok(TableName::new(schema, name)),
    }
}

/// In the catalog's spelling or in that of SQL.
fn op(text: &str) -> Result<Op, String> {
    match text.to_ascii_lowercase().as_str() {
        "insert" => Ok(Op::Insert),
        "update" => Ok(Op::Update),
        "delete" => Ok(Op::Delete),
        "truncate" => Ok(Op::Truncate),
        _ => Err(expected("op", OPS, &format!("{text:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_in_the_catalogs_spelling_and_in_that_of_sql() {
        let change =
            read(r#"{"table":"shop.orders","op":"INSERT","new":{"id":1},"old":null,"actor":"u1"}"#, None).unwrap();
        assert_eq!((change.table.to_string(), change.op), ("shop.orders".to_owned(), Op::Insert));
        assert_eq!(change.actor.as_deref(), Some("u1"));
        assert_eq!(change.new.unwrap().get("id").unwrap().get(), "1");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        for (text, expected) in [
            ("", "expected a change as a JSON object, found nothing"),
            ("[1]", "expected a change as a JSON object"),
            ("{\n\"table\": }", "line 2"),
            (r#"{"op":"insert","new":{}}"#, "\"table\": expected the table's name, found none"),
            (r#"{"table":7,"op":"insert","new":{}}"#, "\"table\": expected a string, found 7"),
            (r#"{"table":".t","op":"insert","new":{}}"#, "\"table\": expected \"table\" or \"schema.table\""),
            (r#"{"table":"t","new":{}}"#, "\"op\": expected \"insert\""),
            (r#"{"table":"t","op":"upsert","new":{}}"#, "found \"upsert\""),
            (r#"{"table":"t","op":"update","new":{}}"#, "\"old\" is missing"),
            (r#"{"table":"t","op":"insert"}"#, "\"new\" is missing"),
            (r#"{"table":"t","op":"delete","old":{},"new":{}}"#, "\"new\" is one too many"),
            (
                r#"{"table":"t","op":"insert","new":[1]}"#,
                "\"new\": expected the row as an object of columns, found [1]",
            ),
            (r#"{"table":"t","op":"insert","new":{},"at":"noon"}"#, "\"at\": expected a time"),
            (r#"{"table":"t","op":"insert","news":{}}"#, "unknown key \"news\""),
        ] {
            let error = read(text, None).unwrap_err();
            assert!(error.contains(expected), "{text}: expected {expected:?} in {error:?}");
        }
    }

    #[test]
    fn values_get_the_form_that_capture_gives_them_where_the_columns_kinds_are_known() {
        use crate::change::{Column, Table};
        let column = Column { kind: Kind::Decimal, ..Column::default() };
        let table = Table { columns: [("fee".into(), column)].into(), captured: true, ..Table::default() };
        let tables: Tables = [(TableName::new("public", "t"), table)].into_iter().collect();
        let text = r#"{"table":"t","op":"insert","new":{"fee":12.50,"id":3}}"#;
        let fee = |tables| read(text, tables).unwrap().new.unwrap().get("fee").unwrap().get().to_owned();
        assert_eq!(fee(Some(&tables)), "\"12.50\"");
        assert_eq!(fee(None), "12.50");
    }
}
