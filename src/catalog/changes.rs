//! An audience's `changes`: the new values of the columns that changed, as they are, and of no other columns.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::{functions::camel, load::ChangesDeclaration};
use crate::change::Change;

/// The key of the data that holds them.
pub(super) const KEY: &str = "changes";

/// Which columns an audience hears of, and under which keys.
#[derive(Debug)]
pub(super) struct Changes {
    /// `None` stands for the object itself; a group's columns stand in an object of their own.
    groups: Vec<(Option<String>, Columns)>,
    except: BTreeSet<String>,
}

#[derive(Debug)]
enum Columns {
    /// Every column that no other group lists.
    Others,
    Listed(BTreeSet<String>),
}

impl Changes {
    pub fn compile(declaration: ChangesDeclaration) -> Self {
        let listed = |columns: Vec<String>| Columns::Listed(columns.into_iter().collect());
        match declaration {
            ChangesDeclaration::All => Self { groups: vec![(None, Columns::Others)], except: BTreeSet::new() },
            ChangesDeclaration::Columns(columns) => {
                Self { groups: vec![(None, listed(columns))], except: BTreeSet::new() }
            }
            ChangesDeclaration::Groups { groups, except } => {
                let mut groups: Vec<_> = groups
                    .into_iter()
                    .map(|(name, columns)| (Some(name), columns.map_or(Columns::Others, listed)))
                    .collect();
                if groups.is_empty() {
                    groups.push((None, Columns::Others));
                }
                Self { groups, except: except.into_iter().collect() }
            }
        }
    }

    /// `{"price":"12.50"}`, or `None` if none of the audience's columns changed.
    pub fn json(&self, change: &Change) -> Option<Box<RawValue>> {
        let row = change.row()?;
        let changed = change.changed_columns();
        let mut json = String::from("{");
        for (name, columns) in &self.groups {
            let mut inner = String::new();
            for column in changed.iter().filter(|column| self.holds(columns, column)) {
                push_key(&mut inner, &camel(column));
                inner.push_str(row.get(column).map_or("null", RawValue::get));
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

fn push_key(json: &mut String, key: &str) {
    if !json.is_empty() && !json.ends_with('{') {
        json.push(',');
    }
    json.push_str(&serde_json::to_string(key).expect("a string encodes"));
    json.push(':');
}
