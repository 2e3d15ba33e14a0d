//! An audience's `changes`: the new values of the columns that changed, and of no other columns. A value is passed on as
//! it is, unless the audience sees only certain keys of it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::value::RawValue;

use super::{functions::camel, load::ChangesDeclaration};
use crate::change::{Change, Row};

/// The key of the data that holds them.
pub(super) const KEY: &str = "changes";

/// Which columns an audience hears of, and under which keys.
#[derive(Debug)]
pub struct Changes {
    /// `None` stands for the object itself; a group's columns stand in an object of their own.
    groups: Vec<(Option<String>, Columns)>,
    except: BTreeSet<String>,
    /// By column, the keys that are shown of its objects; of a column that isn't here, everything.
    keys: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug)]
enum Columns {
    /// Every column that no other group lists.
    Others,
    Listed(BTreeSet<String>),
}

impl Changes {
    pub(super) fn compile(declaration: ChangesDeclaration, keys: Vec<(String, Vec<String>)>) -> Self {
        let keys = keys.into_iter().map(|(column, keys)| (column, keys.into_iter().collect())).collect();
        let listed = |columns: Vec<String>| Columns::Listed(columns.into_iter().collect());
        let (groups, except) = match declaration {
            ChangesDeclaration::All => (vec![(None, Columns::Others)], BTreeSet::new()),
            ChangesDeclaration::Columns(columns) => (vec![(None, listed(columns))], BTreeSet::new()),
            ChangesDeclaration::Groups { groups, except } => {
                let mut groups: Vec<_> = groups
                    .into_iter()
                    .map(|(name, columns)| (Some(name), columns.map_or(Columns::Others, listed)))
                    .collect();
                if groups.is_empty() {
                    groups.push((None, Columns::Others));
                }
                (groups, except.into_iter().collect())
            }
        };
        Self { groups, except, keys }
    }

    /// Which columns' new values they are, as people read it: `all but updated_at`, `pricing: total; terms: others`.
    pub fn outline(&self) -> String {
        let groups = self.groups.iter().map(|(name, columns)| {
            let columns = match columns {
                Columns::Others => if self.groups.len() == 1 { "all" } else { "others" }.to_owned(),
                Columns::Listed(columns) => columns.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            };
            name.as_ref().map_or(columns.clone(), |name| format!("{name}: {columns}"))
        });
        let mut outline = groups.collect::<Vec<_>>().join("; ");
        if !self.except.is_empty() {
            let except: Vec<_> = self.except.iter().map(String::as_str).collect();
            outline.push_str(&format!(" but {}", except.join(", ")));
        }
        for (column, keys) in &self.keys {
            let keys: Vec<_> = keys.iter().map(String::as_str).collect();
            outline.push_str(&format!("; of {column} only {}", keys.join(", ")));
        }
        outline
    }

    /// The groups, each with those of the columns that stand in it; the group without a name is the object itself.
    pub fn groups<'a>(&'a self, columns: &[&'a str]) -> Vec<(Option<&'a str>, Vec<&'a str>)> {
        let of = |held: &Columns| columns.iter().copied().filter(|column| self.holds(held, column)).collect();
        self.groups.iter().map(|(name, held)| (name.as_deref(), of(held))).collect()
    }

    /// Whether they are columns that nobody lists: all, or those that no other group has.
    pub fn is_wildcard(&self) -> bool {
        self.groups.iter().any(|(_, columns)| matches!(columns, Columns::Others))
    }

    /// The columns that are listed.
    pub fn listed(&self) -> impl Iterator<Item = &str> {
        let columns = self.groups.iter().filter_map(|(_, columns)| match columns {
            Columns::Listed(columns) => Some(columns),
            Columns::Others => None,
        });
        columns.flatten().map(String::as_str).filter(|column| !self.except.contains(*column))
    }

    /// The keys that are shown of the objects in a column; `None` if all are.
    pub fn keys_of(&self, column: &str) -> Option<&BTreeSet<String>> {
        self.keys.get(column)
    }

    /// `{"price":"12.50"}`, or `None` if none of the audience's columns changed.
    pub fn json(&self, change: &Change) -> Option<Box<RawValue>> {
        let row = change.row()?;
        let changed = change.changed_columns();
        let mut json = String::from("{");
        for (name, columns) in &self.groups {
            let mut inner = String::new();
            for column in changed.iter().filter(|column| self.holds(columns, column)) {
                let Some(value) = self.shown(change.old.as_ref(), row, column) else { continue };
                push_key(&mut inner, &camel(column));
                inner.push_str(&value);
            }
            match name {
                _ if inner.is_empty() => {}
                None => json.push_str(&inner),
                Some(name) => {
                    push_key(&mut json, name);
                    json.push('{');
                    json.push_str(&inner);
                    json.push('}');
                }
            }
        }
        if json == "{" {
            return None;
        }
        json.push('}');
        Some(RawValue::from_string(json).expect("made of JSON"))
    }

    /// The column's new value; `None` if it has none, or if of what the audience sees of it nothing changed.
    fn shown<'r>(&self, old: Option<&Row>, new: &'r Row, column: &str) -> Option<Cow<'r, str>> {
        let value = new.get(column)?.get();
        let Some(keys) = self.keys.get(column) else { return Some(value.into()) };
        let shown = only(keys, value);
        let before = old.and_then(|row| row.get(column)).map(|value| only(keys, value.get()));
        (before.as_ref() != Some(&shown)).then(|| shown.into())
    }

    fn holds(&self, columns: &Columns, column: &str) -> bool {
        if self.except.contains(column) {
            return false;
        }
        match columns {
            Columns::Listed(columns) => columns.contains(column),
            Columns::Others => !self.groups.iter().any(|(_, columns)| match columns {
                Columns::Listed(columns) => columns.contains(column),
                Columns::Others => false,
            }),
        }
    }
}

/// The value with these keys alone: of an object, or of each object in a list. Whatever else stands there is not shown.
fn only(keys: &BTreeSet<String>, json: &str) -> String {
    let object = |json: &str| -> Option<BTreeMap<String, Box<RawValue>>> {
        let mut entries: BTreeMap<String, Box<RawValue>> = serde_json::from_str(json).ok()?;
        entries.retain(|key, _| keys.contains(key));
        Some(entries)
    };
    let shown = match serde_json::from_str::<Vec<Box<RawValue>>>(json) {
        Ok(items) => serde_json::to_string(&items.iter().filter_map(|item| object(item.get())).collect::<Vec<_>>()),
        Err(_) => serde_json::to_string(&object(json)),
    };
    shown.expect("raw JSON encodes")
}

fn push_key(json: &mut String, key: &str) {
    if !json.is_empty() && !json.ends_with('{') {
        json.push(',');
    }
    json.push_str(&serde_json::to_string(key).expect("a string encodes"));
    json.push(':');
}
