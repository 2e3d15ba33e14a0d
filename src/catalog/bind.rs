//! Which rules are live: those whose table is watched and has the columns that they read, and whose lookups the database
//! knows how to run.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use super::{
    Catalog,
    expression::{Origin, Uses},
    fault::quoted,
    lookups::Prepared,
    rule::Rule,
};
use crate::change::{Op, TableName, Tables};

/// A rule, or one of its audiences, that the database as it is gives no use for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inactive {
    pub rule: Arc<str>,
    pub event: Arc<str>,
    pub table: TableName,
    pub reason: String,
}

impl fmt::Display for Inactive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {:?} on {}: {}", self.rule, self.table, self.reason)
    }
}

/// A live rule.
#[derive(Debug)]
pub(super) struct Live {
    /// Its place in the catalog.
    pub rule: usize,
    /// The live ones among its audiences.
    pub audiences: Vec<usize>,
    /// The lookups that these need, by their place in the rule.
    pub lookups: BTreeSet<usize>,
}

/// The live rules by table and operation, each list in the order of the catalog.
pub(super) type Index = HashMap<TableName, HashMap<Op, Vec<Arc<Live>>>>;

/// Sorts the rules into those that are live and those that are not, with the reasons.
pub(super) fn bind(catalog: &Catalog, tables: &Tables, prepared: &[Prepared]) -> (Index, Vec<Inactive>) {
    let (mut index, mut inactive) = (Index::new(), Vec::new());
    for (place, rule) in catalog.rules.iter().enumerate() {
        let idle =
            |reason| Inactive { rule: rule.name.clone(), event: rule.event.clone(), table: rule.table.clone(), reason };
        if let Err(reason) =
            table_serves(rule, tables).and_then(|()| lookups_serve(catalog, rule, &rule.uses, prepared))
        {
            inactive.push(idle(reason));
            continue;
        }
        let (mut audiences, mut reasons) = (Vec::new(), Vec::new());
        let mut lookups = rule.uses.lookups.clone();
        for (number, audience) in rule.to.iter().enumerate() {
            match lookups_serve(catalog, rule, &audience.uses, prepared) {
                Ok(()) => {
                    audiences.push(number);
                    lookups.extend(&audience.uses.lookups);
                }
                Err(reason) => reasons.push((number, reason)),
            }
        }
        if audiences.is_empty() {
            inactive.extend(reasons.into_iter().next().map(|(_, reason)| idle(reason)));
            continue;
        }
        inactive.extend(reasons.into_iter().map(|(number, reason)| {
            idle(format!("only audience {} of {} hears nothing: {reason}", number + 1, rule.to.len()))
        }));
        let live = Arc::new(Live { rule: place, audiences, lookups });
        for op in &rule.on {
            let rules = index.entry(rule.table.clone()).or_default().entry(*op).or_default();
            rules.push(live.clone());
        }
    }
    (index, inactive)
}

fn table_serves(rule: &Rule, tables: &Tables) -> Result<(), String> {
    let name = &rule.table;
    let Some(table) = tables.get(name) else {
        return Err(format!("the table {name} is not watched: if the database has it, run `rowcast watch {name}`"));
    };
    if !table.captured {
        return Err(format!("the triggers of {name} are missing or disabled: run `rowcast watch {name}` again"));
    }
    let missing: Vec<&str> = rule.columns().into_iter().filter(|column| !table.columns.contains_key(*column)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let noun = if missing.len() == 1 { "column" } else { "columns" };
    Err(format!("the table {name} has no {noun} {}, or leaves it out of capture", quoted(missing)))
}

fn lookups_serve(catalog: &Catalog, rule: &Rule, uses: &Uses, prepared: &[Prepared]) -> Result<(), String> {
    for place in &uses.lookups {
        let lookup = rule.lookups[*place].lookup;
        let name = &catalog.lookups[lookup].name;
        let columns = match &prepared[lookup] {
            Prepared::Refused(reason) => return Err(format!("the lookup {name:?} can't be run: {reason}")),
            Prepared::Columns(columns) => columns,
            // Taken as good: evaluation will tell.
            Prepared::Unknown => continue,
        };
        let read = uses.columns.iter().filter(|(origin, _)| match origin {
            Origin::Lookup(read) => read == place,
            Origin::Each => uses.each_of == Some(*place),
            _ => false,
        });
        if let Some((_, column)) = read.into_iter().find(|(_, column)| !columns.contains(&**column)) {
            return Err(format!("the lookup {name:?} returns no column {column:?}"));
        }
    }
    Ok(())
}
