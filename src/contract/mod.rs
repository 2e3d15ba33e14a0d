//! The contract with frontends: every event with the shape of its data, every message with its answer; told from the
//! catalog and from the database's own column types.
//!
//! ```text
//! catalog::describe, database ─┬─ infer: shapes of expressions ── Contract ─┬─ typescript
//!                              │                                            └─ asyncapi
//!                              └─ check: what is live, nulls, scans, what public rooms learn
//! ```

pub mod asyncapi;
pub mod check;
mod database;
mod infer;
mod messages;
mod names;
mod nulls;
mod plans;
mod public;
pub mod typescript;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    check::Report,
    database::Database,
    messages::{Answered, Message},
};
use self::{
    database::{Prepared, TableState},
    infer::Scope,
};
pub use crate::shape::{Field, Shape};
use crate::{
    catalog::{
        Catalog, Settings,
        describe::{AudienceView, Changes, RuleView, Source, Term, data_key},
    },
    event::{EnvelopeStyle, RESERVED},
    shape,
};

/// The key of the data that holds the new values of the columns that changed.
const CHANGES: &str = "changes";

/// Everything that goes over a socket.
#[derive(Debug)]
pub struct Contract {
    pub style: EnvelopeStyle,
    /// The events, in alphabetical order; those whose tables the database lacks are not among them.
    pub events: Vec<Event>,
    /// What the server tells a client of its connection, without an envelope.
    pub notices: Vec<Notice>,
    pub messages: Vec<Message>,
    /// The events that nobody hears as the database is, by the reason.
    pub inactive: BTreeMap<String, Vec<String>>,
}

/// What comes in an envelope.
#[derive(Debug)]
pub struct Event {
    pub kind: String,
    /// What happened, one sentence for each rule.
    pub about: Vec<String>,
    /// The kinds of rooms that hear it: `product:{id}`.
    pub rooms: Vec<String>,
    /// The shapes that its data may have, each with its subject: the keys that stand at the top of the envelope too.
    pub payloads: Vec<Payload>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    pub data: Vec<Field>,
    pub subject: Vec<String>,
}

/// What comes without an envelope.
#[derive(Debug)]
pub struct Notice {
    pub kind: &'static str,
    pub about: &'static str,
    pub data: Vec<Field>,
}

impl Contract {
    /// The contract of this catalog on this database.
    pub fn new(catalog: &Catalog, database: &Database, style: EnvelopeStyle) -> Self {
        let mut rules: BTreeMap<&str, Vec<RuleView<'_>>> = BTreeMap::new();
        for view in catalog.described().filter(|view| !view.rule.inbox) {
            rules.entry(&view.rule.event).or_default().push(view);
        }
        let (mut events, mut inactive) = (Vec::new(), BTreeMap::new());
        for (kind, views) in rules {
            let is_live = |view: &RuleView<'_>| {
                !database.inactive.iter().any(|idle| idle.rule == view.rule.name && idle.audience.is_none())
            };
            if !views.iter().any(is_live) {
                let reason = views.iter().find_map(|view| check::reasons(view, database).0.into_iter().next());
                inactive.entry(reason.unwrap_or_default()).or_insert_with(Vec::new).push(kind.to_owned());
            }
            let there = |view: &&RuleView<'_>| {
                let table = database.table(&view.rule.table);
                table.is_some_and(|table| !matches!(table.state, TableState::Missing | TableState::Unwatchable(_)))
            };
            let whole: Vec<_> = views.iter().filter(there).filter(|view| is_whole(view, database)).collect();
            let told: Vec<_> = if whole.is_empty() { views.iter().filter(there).collect() } else { whole };
            if !told.is_empty() {
                events.push(event(kind, &told, database, catalog.settings(), style));
            }
        }
        // No rule's: the loader keeps the name for it.
        events.push(messages::typing(style));
        events.sort_by(|one, other| one.kind.cmp(&other.kind));
        Self { style, events, notices: messages::notices(), messages: messages::all(catalog), inactive }
    }
}

/// Whether the database has every column that the rule reads.
fn is_whole(view: &RuleView<'_>, database: &Database) -> bool {
    let columns = database.table(&view.rule.table).and_then(|table| table.columns.as_ref());
    columns.is_none_or(|columns| view.columns.iter().all(|column| columns.contains_key(*column)))
}

fn event(kind: &str, views: &[&RuleView<'_>], database: &Database, settings: &Settings, style: EnvelopeStyle) -> Event {
    let (mut about, mut rooms): (Vec<String>, BTreeSet<&str>) = (Vec::new(), BTreeSet::new());
    let mut payloads: Vec<Payload> = Vec::new();
    for view in views {
        let sentence = view.rule.about.as_deref().map(str::trim).unwrap_or_default();
        if !sentence.is_empty() && !about.iter().any(|known| known == sentence) {
            about.push(sentence.to_owned());
        }
        rooms.extend(view.audiences.iter().flat_map(|audience| &audience.rooms));
        let scope = scope_of(view, database, settings);
        for audience in &view.audiences {
            let mut data = data_of(audience, &scope, view.types);
            if data.iter().any(|field| field.key == CHANGES && field.shape == Shape::Object(Vec::new())) {
                // The table has none of the columns that this audience hears of.
                continue;
            }
            if style == EnvelopeStyle::Flat {
                data.retain(|field| !RESERVED.contains(&field.key.as_str()));
            }
            let subject = view.subject.iter().filter(|key| !RESERVED.contains(&key.as_str())).cloned().collect();
            merge(&mut payloads, Payload { data, subject });
        }
    }
    let rooms = rooms.into_iter().map(str::to_owned).collect();
    Event { kind: kind.to_owned(), about, rooms, payloads }
}

/// Adds a payload, as part of another where they say the same: where one is the wider, or only differ in which keys of an
/// object may come.
fn merge(payloads: &mut Vec<Payload>, mut payload: Payload) {
    while let Some(place) = payloads
        .iter()
        .position(|known| known.subject == payload.subject && shape::merged(&known.data, &payload.data).is_some())
    {
        let known = payloads.remove(place);
        payload.data = shape::merged(&known.data, &payload.data).expect("looked at just now");
    }
    payloads.push(payload);
}

/// What the expressions of a rule are about, given its own condition.
fn scope_of<'a>(view: &RuleView<'a>, database: &'a Database, settings: &'a Settings) -> Scope<'a> {
    let columns_of = |place: usize| database.lookups.get(place).and_then(Prepared::columns);
    let scope = Scope {
        ops: view.rule.on.clone(),
        row: database.table(&view.rule.table).and_then(|table| table.columns.as_ref()),
        lookups: view.lookups.iter().map(|(name, place)| (*name, columns_of(*place))).collect(),
        each: None,
        item: Shape::Unknown,
        settings,
        present: BTreeSet::new(),
    };
    let mut scope = scope.given(view.when);
    if let Some(per) = view.per
        && let Some(Shape::Array(item)) = scope.of_term(per).without_null()
    {
        scope.item = *item;
    }
    scope
}

/// A rule's scope as one of its audiences sees it, before the audience's own condition.
fn audience_scope<'a>(audience: &AudienceView<'_>, scope: &Scope<'a>) -> Scope<'a> {
    let each = audience.each.and_then(|place| scope.lookups.get(place)).and_then(|(_, columns)| *columns);
    Scope { each, ..scope.clone() }
}

/// The data of an audience; `types` are what the rule states of some keys.
fn data_of(audience: &AudienceView<'_>, scope: &Scope<'_>, types: &BTreeMap<String, Shape>) -> Vec<Field> {
    let scope = audience_scope(audience, scope).given(audience.when);
    let scope = scope.named(&audience.names);
    let shape = |key: &str, term: Term<'_>| types.get(key).cloned().unwrap_or_else(|| scope.of_term(term));
    let mut fields: Vec<Field> = audience.data.iter().map(|(key, term)| Field::new(*key, shape(key, *term))).collect();
    if let Some(changes) = audience.changes {
        fields.push(Field::new(CHANGES, changes_of(changes, &scope)));
    }
    fields
}

/// The new values of the columns that changed: any of them may be missing.
fn changes_of(changes: &Changes, scope: &Scope<'_>) -> Shape {
    let Some(columns) = scope.row else { return Shape::Unknown };
    let columns: Vec<&str> = columns.keys().map(String::as_str).collect();
    let mut fields = Vec::new();
    for (group, columns) in changes.groups(&columns) {
        let shown = columns.into_iter().map(|column| {
            let whole = scope.column(Source::Row, column);
            let shape = match changes.keys_of(column) {
                None => whole,
                Some(keys) => {
                    let object = Shape::Object(keys.iter().map(|key| Field::optional(key, Shape::Unknown)).collect());
                    Shape::union([Shape::array(object.clone()), object, Shape::Null])
                }
            };
            Field::optional(data_key(column), shape)
        });
        match group {
            None => fields.extend(shown),
            Some(group) => {
                let shown: Vec<Field> = shown.collect();
                fields.extend((!shown.is_empty()).then(|| Field::optional(group, Shape::Object(shown))));
            }
        }
    }
    Shape::Object(fields)
}
