//! Which rules are live: those whose table is watched and has the columns that they read, and whose lookups the database
//! knows how to run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::Arc,
};

use super::{
    Catalog,
    expression::{Origin, Uses},
    fault::quoted,
    own_tables::OwnTables,
    query::Prepared,
    rule::{AudienceRule, Rule},
    template::Template,
};
use crate::change::{Op, TableName, Tables};

/// A rule, or one of its audiences, that the database as it is gives no use for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inactive {
    pub rule: Arc<str>,
    pub event: Arc<str>,
    pub table: TableName,
    /// The audience that hears nothing, by its place in the rule; `None` if it is the whole rule.
    pub audience: Option<usize>,
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
pub(super) fn bind(
    catalog: &Catalog,
    tables: &Tables,
    own: &OwnTables,
    prepared: &[Prepared],
) -> (Index, Vec<Inactive>) {
    let (mut index, mut inactive) = (Index::new(), Vec::new());
    for (place, rule) in catalog.rules.iter().enumerate() {
        let idle = |reason| Inactive {
            rule: rule.name.clone(),
            event: rule.event.clone(),
            table: rule.table.clone(),
            audience: None,
            reason,
        };
        if let Err(reason) =
            table_serves(rule, tables, own).and_then(|()| lookups_serve(catalog, rule, &rule.uses, prepared))
        {
            inactive.push(idle(reason));
            continue;
        }
        let refused = |place: &usize| matches!(prepared[rule.lookups[*place].lookup], Prepared::Refused(_));
        let (mut audiences, mut reasons) = (Vec::new(), Vec::new());
        let mut lookups = rule.uses.lookups.clone();
        // Refused lookups that live audiences do without, each with the first of these.
        let mut spared: BTreeMap<usize, usize> = BTreeMap::new();
        for (number, audience) in rule.to.iter().enumerate() {
            if let Err(reason) = lookups_serve(catalog, rule, &needed(rule, audience, refused), prepared) {
                reasons.push((number, reason));
                continue;
            }
            audiences.push(number);
            let (without, with): (BTreeSet<_>, BTreeSet<_>) = audience.uses.lookups.iter().copied().partition(refused);
            lookups.extend(with);
            for place in without {
                spared.entry(place).or_insert(number);
            }
        }
        if audiences.is_empty() {
            inactive.extend(reasons.into_iter().next().map(|(_, reason)| idle(reason)));
            continue;
        }
        inactive.extend(reasons.into_iter().map(|(number, reason)| {
            let rooms: Vec<String> = rule.to[number].rooms.iter().map(Template::source).collect();
            let reason = format!("the audience {} hears nothing: {reason}", rooms.join(", "));
            Inactive { audience: Some(number), ..idle(reason) }
        }));
        inactive.extend(spared.into_iter().map(|(place, number)| {
            let reason = refusal(catalog, rule, place, prepared);
            Inactive { audience: Some(number), ..idle(format!("{reason}; what it would find counts as null")) }
        }));
        let live = Arc::new(Live { rule: place, audiences, lookups });
        for op in &rule.on {
            let rules = index.entry(rule.table.clone()).or_default().entry(*op).or_default();
            rules.push(live.clone());
        }
    }
    (index, inactive)
}

fn table_serves(rule: &Rule, tables: &Tables, own: &OwnTables) -> Result<(), String> {
    let name = &rule.table;
    if let Some(columns) = own.columns(name)? {
        let missing = rule.columns().into_iter().find(|column| !columns.is_none_or(|has| has.contains_key(*column)));
        return match missing {
            Some(column) => Err(format!("{name} has no column {column:?}")),
            None => Ok(()),
        };
    }
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

/// What an audience can't do without. A lookup that the database refuses is spared where only data and rooms read it: it
/// counts as having found nothing, which leaves `first(row.buyer_id, buyer.user_id)` its first. Not where a condition reads
/// it, which might let somebody hear what is not for them; nor where nobody would hear anything, or the rule says that it is
/// needed.
fn needed(rule: &Rule, audience: &AudienceRule, refused: impl Fn(&usize) -> bool) -> Uses {
    let mut needed = audience.uses.clone();
    let dead = audience.rooms.iter().all(|room| room.hangs_on().is_some_and(|place| refused(&place)));
    if !dead {
        let is_needed = |place: &usize| rule.lookups[*place].needed || audience.conditions.contains(place);
        needed.lookups.retain(|place| !refused(place) || is_needed(place));
    }
    needed
}

fn refusal(catalog: &Catalog, rule: &Rule, place: usize, prepared: &[Prepared]) -> String {
    let lookup = rule.lookups[place].lookup;
    let reason = match &prepared[lookup] {
        Prepared::Refused(reason) => reason,
        _ => "the database did not answer",
    };
    format!("the lookup {:?} can't be run: {reason}", catalog.lookups[lookup].name)
}

fn lookups_serve(catalog: &Catalog, rule: &Rule, uses: &Uses, prepared: &[Prepared]) -> Result<(), String> {
    for place in &uses.lookups {
        let lookup = rule.lookups[*place].lookup;
        let name = &catalog.lookups[lookup].name;
        let columns = match &prepared[lookup] {
            Prepared::Refused(_) => return Err(refusal(catalog, rule, *place, prepared)),
            Prepared::Runnable(runnable) => &runnable.columns,
            // Taken as good: evaluation will tell.
            Prepared::Unknown => continue,
        };
        let read = uses.columns.iter().filter(|(origin, _)| match origin {
            Origin::Lookup(read) => read == place,
            Origin::Each => uses.each_of == Some(*place),
            _ => false,
        });
        if let Some((_, column)) = read.into_iter().find(|(_, column)| !columns.contains_key(&**column)) {
            return Err(format!("the lookup {name:?} returns no column {column:?}"));
        }
    }
    Ok(())
}
