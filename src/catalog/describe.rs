//! The catalog laid open, for those who describe it: its rules with their expressions, its lookups, schedules and rooms.

use std::collections::{BTreeMap, BTreeSet};

use cel::IdedExpr;
use serde_json::value::RawValue;
use sqlx::PgPool;

use super::{
    Catalog, Rule,
    expression::{Expression, Form, Origin},
    functions,
    query::Patience,
};
pub use super::{changes::Changes, own_tables::OwnTables};
use crate::shape::Shape;

/// Where an expression reads a column from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Old,
    New,
    Row,
    /// By its place among the rule's lookups.
    Lookup(usize),
    Each,
    Item,
}

/// An expression.
#[derive(Debug, Clone, Copy)]
pub struct Term<'c> {
    /// As it is written, with the names of the rule's `let` in it.
    pub text: &'c str,
    pub form: TermForm<'c>,
}

#[derive(Debug, Clone, Copy)]
pub enum TermForm<'c> {
    /// Just a column.
    Column(Source, &'c str),
    /// Just a constant, as JSON.
    Constant(&'c RawValue),
    /// What the names of the rule's `let` stand for is in it.
    Cel(&'c IdedExpr),
}

/// A rule and what it reads.
#[derive(Debug)]
pub struct RuleView<'c> {
    pub rule: &'c Rule,
    /// The file and line of its declaration.
    pub file: &'c str,
    pub line: usize,
    /// The columns of its table that it can't do without.
    pub columns: BTreeSet<&'c str>,
    pub when: Option<Term<'c>>,
    pub per: Option<Term<'c>>,
    /// What the rule calls each of its lookups, and the lookup's place in the catalog.
    pub lookups: Vec<(&'c str, usize)>,
    /// Keys of the data that stand at the top of the envelope too.
    pub subject: &'c [String],
    pub audiences: Vec<AudienceView<'c>>,
    /// Of keys of the data, the shapes that the rule states.
    pub types: &'c BTreeMap<String, Shape>,
    /// The expressions that are none of the above: the lookups' keys, and who did it.
    pub others: Vec<Term<'c>>,
}

/// An audience of a rule.
#[derive(Debug)]
pub struct AudienceView<'c> {
    pub when: Option<Term<'c>>,
    /// The lookup that `each` stands for, by its place in the rule.
    pub each: Option<usize>,
    /// The kinds of its rooms, as declared: `product:{id}`.
    pub rooms: Vec<&'c str>,
    /// Whether visitors may be in one of them.
    pub public: bool,
    /// The expressions in its rooms' names, room by room.
    pub names: Vec<Vec<Term<'c>>>,
    /// Its own data or the rule's, each key with its expression.
    pub data: Vec<(&'c str, Term<'c>)>,
    pub changes: Option<&'c Changes>,
}

/// A lookup or a schedule.
#[derive(Debug)]
pub struct QueryView<'c> {
    pub name: &'c str,
    /// The forms of its SQL; the first that the database can run is used.
    pub forms: Vec<&'c str>,
    /// Whether it is given keys, `$1::text[]`.
    pub takes_keys: bool,
}

/// A kind of room.
#[derive(Debug)]
pub struct RoomView<'c> {
    /// `product:{id}`
    pub pattern: &'c str,
    /// Whether anybody may join: there is a policy, and it is not plainly false.
    pub open: bool,
    /// Whether visitors may join, for some parameter at least.
    pub public: bool,
    /// Whether the server joins such rooms for clients.
    pub own: bool,
    /// `product` of `join:product`, and the payload's key.
    pub message: Option<(&'c str, Option<&'c str>)>,
}

impl Catalog {
    /// Every rule laid open, in the catalog's order.
    pub fn described(&self) -> impl Iterator<Item = RuleView<'_>> {
        self.rules.iter().map(|rule| self.rule_view(rule))
    }

    /// Every lookup, by its place in the catalog.
    pub fn described_lookups(&self) -> impl Iterator<Item = QueryView<'_>> {
        self.lookups.iter().map(|lookup| QueryView {
            name: &lookup.name,
            forms: lookup.query.forms().collect(),
            takes_keys: true,
        })
    }

    /// Every schedule, in the order of [`Catalog::schedules`].
    pub fn described_schedules(&self) -> impl Iterator<Item = QueryView<'_>> {
        self.schedules.iter().map(|schedule| QueryView {
            name: &schedule.name,
            forms: schedule.query.forms().collect(),
            takes_keys: schedule.rooms.is_some(),
        })
    }

    /// Every kind of room, in the catalog's order.
    pub fn described_rooms(&self) -> impl Iterator<Item = RoomView<'_>> {
        self.rooms.kinds().map(|kind| RoomView {
            pattern: &kind.pattern,
            open: kind
                .join
                .as_ref()
                .is_some_and(|join| !matches!(join.form(), Form::Constant(constant) if constant.get() == "false")),
            public: kind.public,
            own: kind.own.is_some(),
            message: kind.message.as_ref().map(|message| (message.name.as_str(), message.key.as_deref())),
        })
    }

    /// The tables that stand for schedules and for the gateway, with their columns.
    pub async fn own_tables(&self, pool: &PgPool) -> OwnTables {
        OwnTables::survey(&self.schedules, pool, &mut Patience::default()).await
    }

    fn rule_view<'c>(&'c self, rule: &'c Rule) -> RuleView<'c> {
        let audiences = rule.to.iter().map(|audience| AudienceView {
            when: audience.when.as_ref().map(term),
            each: audience.each,
            rooms: audience
                .rooms
                .iter()
                .filter_map(|room| self.rooms.kind_of_template(room.text()))
                .map(|kind| kind.pattern.as_str())
                .collect(),
            public: audience
                .rooms
                .iter()
                .filter_map(|room| self.rooms.kind_of_template(room.text()))
                .any(|kind| kind.public),
            names: audience.rooms.iter().map(|room| room.expressions().map(term).collect()).collect(),
            data: audience
                .data
                .as_ref()
                .unwrap_or(&rule.data)
                .iter()
                .map(|(key, value)| (&**key, term(value)))
                .collect(),
            changes: audience.changes.as_ref(),
        });
        RuleView {
            rule,
            file: &rule.place.file,
            line: rule.place.line,
            columns: rule.columns(),
            when: rule.when.as_ref().map(term),
            per: rule.per.as_ref().map(term),
            lookups: rule.lookups.iter().map(|call| (call.name.as_str(), call.lookup)).collect(),
            subject: &rule.subject,
            audiences: audiences.collect(),
            types: &rule.types,
            others: rule.lookups.iter().map(|call| &call.key).chain(&rule.actor).map(term).collect(),
        }
    }
}

fn term(expression: &Expression) -> Term<'_> {
    let form = match expression.form() {
        Form::Column(origin, column) => TermForm::Column(source(*origin), column),
        Form::Constant(json) => TermForm::Constant(json),
        Form::Cel(expression) => TermForm::Cel(expression),
    };
    Term { text: expression.source(), form }
}

fn source(origin: Origin) -> Source {
    match origin {
        Origin::Old => Source::Old,
        Origin::New => Source::New,
        Origin::Row => Source::Row,
        Origin::Lookup(place) => Source::Lookup(place),
        Origin::Each => Source::Each,
        Origin::Item => Source::Item,
    }
}

/// `sellerId`, the key under which `changes` shows the column `seller_id`.
pub fn data_key(column: &str) -> String {
    functions::camel(column)
}
