//! The row change: what the listener reads from the change log and hands to the catalog.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::position::Position;

/// One row inserted, updated or deleted, or one table truncated, by a committed transaction.
#[derive(Debug, Clone)]
pub struct Change {
    /// Position in the change log; grows with the order in which one row's changes were made.
    pub id: i64,
    /// The writing transaction (64 bits, never reused).
    pub xid: u64,
    /// When the row was written, by the database's clock.
    pub at: DateTime<Utc>,
    pub table: TableName,
    pub op: Op,
    /// The row before: present for updates and deletes.
    pub old: Option<Row>,
    /// The row after: present for inserts and updates.
    pub new: Option<Row>,
    /// Who did it, where the application says so with `set_config('rowcast.actor', …)`.
    pub actor: Option<String>,
}

impl Change {
    /// The row that the change is about: as it is now, or as it was when it was deleted.
    pub fn row(&self) -> Option<&Row> {
        self.new.as_ref().or(self.old.as_ref())
    }

    /// The columns whose values differ between the row before and after, and those that one of them lacks, in alphabetical order.
    /// For an insert or a delete, every column that the row has.
    pub fn changed_columns(&self) -> Vec<&str> {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => new.differences(old),
            (Some(row), None) | (None, Some(row)) => row.columns().map(|(name, _)| name).collect(),
            (None, None) => Vec::new(),
        }
    }
}

/// What happened to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Insert,
    Update,
    Delete,
    Truncate,
}

impl Op {
    /// As Postgres spells it, and as the envelope's `metadata.op` carries it.
    pub fn as_sql(self) -> &'static str {
        match self {
            Op::Insert => "INSERT",
            Op::Update => "UPDATE",
            Op::Delete => "DELETE",
            Op::Truncate => "TRUNCATE",
        }
    }
}

/// The schema of rowcast itself: `rowcast.notification`, and the tables that stand for schedules and for the gateway.
pub const OWN_SCHEMA: &str = "rowcast";

/// A table's schema and name as the catalogs of Postgres hold them, unquoted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    pub schema: Arc<str>,
    pub name: Arc<str>,
}

impl TableName {
    pub fn new(schema: &str, name: &str) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

/// `products` for the schema `public`, `shop.products` for others.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.schema {
            "public" => f.write_str(&self.name),
            schema => write!(f, "{schema}.{}", self.name),
        }
    }
}

/// A row's captured columns, each as the JSON that a frontend receives: `numeric` as a string with every digit kept,
/// times as ISO 8601 in UTC, integers as numbers, `jsonb` as it is.
///
/// The values stay text: what no rule looks into is passed on without being parsed.
#[derive(Debug, Clone, Default)]
pub struct Row {
    names: Names,
    /// As many, in the same order.
    values: Vec<Box<RawValue>>,
}

/// The names of a row's columns in alphabetical order, each once. Rows of the same shape share them.
pub type Names = Arc<[Box<str>]>;

impl Row {
    /// `values` are as many as the names, in their order.
    pub(crate) fn new(names: Names, values: Vec<Box<RawValue>>) -> Self {
        debug_assert!(names.is_sorted_by(|a, b| a < b), "names are searched");
        assert_eq!(names.len(), values.len(), "a row has a value for each column");
        Self { names, values }
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Where the column stands among the names.
    pub(crate) fn place(&self, column: &str) -> Option<usize> {
        self.names.binary_search_by(|name| (**name).cmp(column)).ok()
    }

    pub fn get(&self, column: &str) -> Option<&RawValue> {
        self.place(column).map(|place| &*self.values[place])
    }

    /// In alphabetical order.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.names.iter().zip(&self.values).map(|(name, value)| (&**name, &**value))
    }

    /// The columns that one of the rows lacks, or that have another value in the other, in alphabetical order.
    fn differences<'a>(&'a self, other: &'a Row) -> Vec<&'a str> {
        let unlike = |mine: &RawValue, theirs: &RawValue| mine.get() != theirs.get();
        if Arc::ptr_eq(&self.names, &other.names) {
            let values = self.values.iter().zip(&other.values);
            return self.names.iter().zip(values).filter(|(_, (a, b))| unlike(a, b)).map(|(name, _)| &**name).collect();
        }
        let lacks = other.columns().filter(|(name, _)| self.get(name).is_none());
        let differs = self.columns().filter(|(name, mine)| other.get(name).is_none_or(|theirs| unlike(mine, theirs)));
        let mut columns: Vec<&str> = differs.chain(lacks).map(|(name, _)| name).collect();
        columns.sort_unstable();
        columns
    }

    /// `{"column":value,…}`
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names and ready-made JSON encode")
    }
}

impl Serialize for Row {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns())
    }
}

/// Of a name that comes twice the last value counts.
impl FromIterator<(Box<str>, Box<RawValue>)> for Row {
    fn from_iter<T: IntoIterator<Item = (Box<str>, Box<RawValue>)>>(columns: T) -> Self {
        let columns: BTreeMap<_, _> = columns.into_iter().collect();
        let (names, values): (Vec<_>, _) = columns.into_iter().unzip();
        Self::new(names.into(), values)
    }
}

/// The changes of one sweep, or of one page of a large one, in the order of their ids.
#[derive(Debug)]
pub struct Page {
    pub changes: Vec<Change>,
    /// Where a client stands that has seen everything up to the end of this sweep.
    pub position: Position,
    /// The watched tables as they are now.
    pub tables: Arc<Tables>,
}

/// The tables of the database that a rule may name: those that are watched, with their columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables(BTreeMap<TableName, Table>);

/// A watched table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Captured columns: those named at `watch --exclude` are not among them.
    pub columns: BTreeMap<Box<str>, Column>,
    /// Columns that are worked out when they are read: triggers see null in them, so they are none of a captured row's.
    pub virtual_columns: BTreeSet<Box<str>>,
    /// Whether its capture triggers are there and enabled.
    pub captured: bool,
}

/// A column's type, as far as it matters to a rule or a frontend.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    pub kind: Kind,
    pub nullable: bool,
    /// The type as Postgres spells it: `numeric(10,2)`, `text[]`.
    pub sql_type: String,
    /// The type below it where it is a domain, as `pg_type` names it: `int4`, `_text`; empty where that isn't known.
    pub base_type: String,
    /// The labels of an enum, or of the enum that it is an array of, in their order.
    pub labels: Vec<String>,
}

/// How a column's value is written for a frontend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// `numeric`: a string with every digit.
    Decimal,
    /// An array of `numeric`: strings.
    DecimalArray,
    /// `timestamp` (taken as UTC, as Prisma writes it) and `timestamptz`: ISO 8601 with `Z`.
    Timestamp,
    /// An array of these: strings in the same form.
    TimestampArray,
    /// Everything else: the JSON that Postgres makes of it.
    #[default]
    Plain,
}

impl Table {
    /// Of which kind a column of the log is; none for one that is not a captured row's.
    pub fn kind_of(&self, column: &str) -> Option<Kind> {
        match self.columns.get(column) {
            Some(column) => Some(column.kind),
            None => (!self.virtual_columns.contains(column)).then_some(Kind::Plain),
        }
    }
}

impl Tables {
    pub fn get(&self, name: &TableName) -> Option<&Table> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&TableName, &Table)> {
        self.0.iter()
    }

    /// These tables and others besides.
    pub fn with(&self, others: impl IntoIterator<Item = (TableName, Table)>) -> Self {
        let mut tables = self.clone();
        tables.0.extend(others);
        tables
    }
}

impl FromIterator<(TableName, Table)> for Tables {
    fn from_iter<T: IntoIterator<Item = (TableName, Table)>>(tables: T) -> Self {
        Self(tables.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, Layout};

    fn change(old: Row, new: Row) -> Change {
        Change {
            id: 1,
            xid: 1,
            at: DateTime::UNIX_EPOCH,
            table: TableName::new("public", "products"),
            op: Op::Update,
            old: Some(old),
            new: Some(new),
            actor: None,
        }
    }

    #[test]
    fn the_columns_that_changed_are_the_same_whether_the_rows_share_their_names_or_not() {
        let (old, new) =
            (r#"{"id":1,"stock":5,"price":1,"brand":null}"#, r#"{"id":1,"stock":4,"price":1,"brand":"a"}"#);
        let mut layout = Layout::default();
        let mut shared = |json| wire::row_like(&mut layout, json, |_| Some(Kind::Plain)).unwrap();
        let alone = |json| wire::row(json, |_| Some(Kind::Plain)).unwrap();
        let (before, after) = (shared(old), shared(new));
        assert!(Arc::ptr_eq(before.names(), after.names()));
        assert_eq!(change(before, after).changed_columns(), ["brand", "stock"]);
        assert_eq!(change(alone(old), alone(new)).changed_columns(), ["brand", "stock"]);
    }

    #[test]
    fn a_column_that_one_of_the_rows_lacks_has_changed() {
        let row = |json| wire::row(json, |_| Some(Kind::Plain)).unwrap();
        let changed = |old, new| change(row(old), row(new)).changed_columns().join(" ");
        assert_eq!(changed(r#"{"a":1,"b":2}"#, r#"{"b":2,"c":3}"#), "a c");
    }
}
