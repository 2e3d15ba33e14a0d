//! What public rooms learn from an event's mere arrival: that the conditions held, whatever the data show.
//!
//! An audience's conditions are the rule's `changed`, `when` and `per`, and its own `when`. A column that they read is
//! shown to a kind of room if the data of some event of the same table show it there; else its value can be told from
//! what arrives and what doesn't.

use std::collections::{BTreeMap, BTreeSet};

use cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr, LiteralValue, operators},
};

use super::{
    Catalog, Rule,
    expression::{Expression, Form, Origin, parts},
    rule::AudienceRule,
};
use crate::change::{Op, TableName};

/// What `reveals` calls the fact that any column at all has changed.
pub(super) const ANY: &str = "*";

/// What the arrival of a rule's event tells public rooms.
#[derive(Debug, PartialEq, Eq)]
pub struct Revealed<'c> {
    pub rule: &'c str,
    /// The file and line of the rule's declaration.
    pub file: &'c str,
    pub line: usize,
    /// The kinds of rooms: `product:{id}`.
    pub rooms: BTreeSet<&'c str>,
    /// Columns that a condition reads and no data show; those of a lookup as `lookup.column`.
    pub columns: BTreeSet<String>,
    /// Whether it arrives after any update, also of a column that is not shown.
    pub any: bool,
}

/// Columns by name, and from which side of a change each is read.
type Reads = BTreeMap<String, BTreeSet<Origin>>;

impl Catalog {
    /// What the rules reveal and do not say that they do, in the catalog's order.
    pub fn revealed(&self) -> Vec<Revealed<'_>> {
        let shown = self.shown();
        let mut revealed: Vec<Revealed<'_>> = Vec::new();
        for (rule, audience, room) in self.public_audiences() {
            let conditions = conditions(rule, audience);
            let seen = shown.get(&(&rule.table, room));
            let hidden =
                |column: &&String| !rule.reveals.contains(*column) && !seen.is_some_and(|seen| seen.contains(*column));
            let mut columns: BTreeSet<String> = conditions.keys().filter(hidden).cloned().collect();
            let any = columns.remove(ANY) || hears_any(rule, audience, &conditions) && !rule.reveals.contains(ANY);
            if columns.is_empty() && !any {
                continue;
            }
            let same =
                |other: &&mut Revealed<'_>| other.rule == &*rule.name && other.columns == columns && other.any == any;
            match revealed.iter_mut().find(same) {
                Some(other) => _ = other.rooms.insert(room),
                None => revealed.push(Revealed {
                    rule: &rule.name,
                    file: &rule.place.file,
                    line: rule.place.line,
                    rooms: BTreeSet::from([room]),
                    columns,
                    any,
                }),
            }
        }
        revealed
    }

    /// The audiences of events, once for each public kind of room that they have.
    fn public_audiences(&self) -> impl Iterator<Item = (&Rule, &AudienceRule, &str)> {
        self.rules.iter().filter(|rule| !rule.inbox).flat_map(move |rule| {
            rule.to.iter().flat_map(move |audience| {
                let kinds = audience.rooms.iter().filter_map(|room| self.rooms.kind_of_template(room.text()));
                let kinds: BTreeSet<&str> =
                    kinds.filter(|kind| kind.public).map(|kind| kind.pattern.as_str()).collect();
                kinds.into_iter().map(move |room| (rule, audience, room))
            })
        })
    }

    /// By table and kind of room, the columns whose values are in the data of some event, or in the room's own name.
    fn shown(&self) -> BTreeMap<(&TableName, &str), BTreeSet<String>> {
        let mut shown: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for (rule, audience, room) in self.public_audiences() {
            let shown = shown.entry((&rule.table, room)).or_default();
            let data = audience.data.as_ref().unwrap_or(&rule.data).iter().map(|(_, value)| value);
            let names = audience.rooms.iter().flat_map(|room| room.expressions());
            let naming = Naming { rule, audience };
            data.chain(names).for_each(|value| naming.shown(value, shown));
            shown.extend(audience.changes.iter().flat_map(|changes| changes.listed()).map(str::to_owned));
        }
        shown
    }
}

/// The columns that any of the rule's conditions reads.
pub(super) fn read_by_conditions(rule: &Rule) -> BTreeSet<String> {
    rule.to.iter().flat_map(|audience| conditions(rule, audience).into_keys()).collect()
}

fn conditions(rule: &Rule, audience: &AudienceRule) -> Reads {
    let naming = Naming { rule, audience };
    let mut reads = Reads::new();
    for condition in rule.when.iter().chain(&rule.per).chain(&audience.when) {
        match condition.form() {
            Form::Column(origin, column) => naming.read(*origin, column, &mut reads),
            Form::Constant(_) => {}
            Form::Cel(expression) => naming.reads(expression, &mut reads),
        }
    }
    for column in rule.changed.iter().flatten() {
        reads.entry(column.to_string()).or_default().extend([Origin::Old, Origin::New]);
    }
    reads
}

/// Whether it may arrive when nothing has changed but a column that is not shown. A condition on how a column was before
/// and how it is now is taken to be about that column's change.
fn hears_any(rule: &Rule, audience: &AudienceRule, conditions: &Reads) -> bool {
    let about_a_change = |origins: &BTreeSet<Origin>| {
        origins.contains(&Origin::Old) && (origins.contains(&Origin::New) || origins.contains(&Origin::Row))
    };
    rule.on.contains(&Op::Update)
        && rule.changed.is_none()
        && audience.changes.is_none()
        && !conditions.values().any(about_a_change)
}

/// What the columns are called that expressions of an audience read.
#[derive(Clone, Copy)]
struct Naming<'r> {
    rule: &'r Rule,
    audience: &'r AudienceRule,
}

impl Naming<'_> {
    fn name(&self, origin: Origin, column: &str) -> String {
        let lookup = |place: usize| self.rule.lookups.get(place).map_or("lookup", |call| call.name.as_str());
        match origin {
            Origin::Old | Origin::New | Origin::Row => column.to_owned(),
            Origin::Lookup(place) => format!("{}.{column}", lookup(place)),
            Origin::Each => format!("{}.{column}", self.audience.each.map_or("each", lookup)),
            Origin::Item => format!("item.{column}"),
        }
    }

    fn read(&self, origin: Origin, column: &str, reads: &mut Reads) {
        reads.entry(self.name(origin, column)).or_default().insert(origin);
    }

    /// Every column in it, also those of which it only asks whether they are there.
    fn reads(&self, expression: &IdedExpr, reads: &mut Reads) {
        if let Some((origin, column)) = self.column(expression) {
            return self.read(origin, column, reads);
        }
        if let Some(column) = tested_for_change(expression) {
            return reads.entry(column.to_owned()).or_default().extend([Origin::Old, Origin::New]);
        }
        if matches!(&expression.expr, Expr::Ident(name) if name == "changed") {
            reads.entry(ANY.to_owned()).or_default();
        }
        parts(expression).into_iter().for_each(|part| self.reads(part, reads));
    }

    /// The columns whose values can be read off the expression's value.
    fn shown(&self, value: &Expression, shown: &mut BTreeSet<String>) {
        match value.form() {
            Form::Column(origin, column) => _ = shown.insert(self.name(*origin, column)),
            Form::Constant(_) => {}
            Form::Cel(expression) => self.shows(expression, shown),
        }
    }

    fn shows(&self, expression: &IdedExpr, shown: &mut BTreeSet<String>) {
        /// What they give tells their arguments.
        const FAITHFUL: [&str; 7] = ["first", "string", "int", "double", "cents", "camel", "parse"];
        if let Some((origin, column)) = self.column(expression) {
            shown.insert(self.name(origin, column));
            return;
        }
        match &expression.expr {
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                call.args[1..].iter().for_each(|branch| self.shows(branch, shown));
            }
            Expr::Call(call) if FAITHFUL.contains(&call.func_name.as_str()) => {
                call.args.iter().for_each(|argument| self.shows(argument, shown));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.shows(element, shown)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.shows(&entry.value, shown);
                    }
                }
            }
            _ => {}
        }
    }

    /// `row.x`, `row["x"]` and `has(row.x)`.
    fn column<'e>(&self, expression: &'e IdedExpr) -> Option<(Origin, &'e str)> {
        let (row, column) = match &expression.expr {
            Expr::Select(select) => (&select.operand.expr, select.field.as_str()),
            Expr::Call(call) if call.func_name == operators::INDEX => match &call.args[1].expr {
                Expr::Literal(LiteralValue::String(column)) => (&call.args[0].expr, column.inner()),
                _ => return None,
            },
            _ => return None,
        };
        let Expr::Ident(name) = row else { return None };
        let origin = match name.as_str() {
            "old" => Origin::Old,
            "new" => Origin::New,
            "row" => Origin::Row,
            "each" => Origin::Each,
            "item" => Origin::Item,
            name => Origin::Lookup(self.rule.lookups.iter().position(|call| call.name == name)?),
        };
        Some((origin, column))
    }
}

/// `price` of `'price' in changed`.
fn tested_for_change(expression: &IdedExpr) -> Option<&str> {
    let Expr::Call(call) = &expression.expr else { return None };
    match (call.func_name.as_str(), call.args.as_slice()) {
        (operators::IN, [IdedExpr { expr: Expr::Literal(LiteralValue::String(column)), .. }, list]) if matches!(&list.expr, Expr::Ident(name) if name == "changed") => {
            Some(column.inner())
        }
        _ => None,
    }
}

/// Whether it hands on the names of whatever columns changed.
pub(super) fn names_the_changed(value: &Expression) -> bool {
    fn names(expression: &IdedExpr) -> bool {
        if tested_for_change(expression).is_some() {
            return false;
        }
        matches!(&expression.expr, Expr::Ident(name) if name == "changed") || parts(expression).into_iter().any(names)
    }
    matches!(value.form(), Form::Cel(expression) if names(expression))
}
