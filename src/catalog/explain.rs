//! What the catalog makes of one change, and why not more: for each rule of the change's table whether it fires, for whom
//! and with which data; where nobody hears, the first reason on the way.
//!
//! Nothing is decided here. Events come out of the same steps that [`Engine::evaluate`] takes; only where one of them gives
//! nothing is it looked for which one, and what it saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::{
    Catalog, Engine, Inactive,
    bind::Live,
    evaluate::{Finds, Match, holds, keys, touches},
    expression::{Expression, Origin, Scope, Surroundings, Uses},
    fault::quoted,
    lookups::{Found, Unavailable},
    query::WRITES,
    rule::{AudienceRule, Rule},
    value::RowView,
};
use crate::{
    change::{Change, Op, Page, TableName, Tables},
    event::{Data, Event},
    room::Room,
};

/// A rule whose condition holds for a change, and what its lookups found.
struct Trial<'p> {
    page: &'p Page,
    rule: &'p Rule,
    whole: Match<'p>,
    finds: Finds,
    /// What each of the rule's lookups found, in their order.
    rows: Vec<Found>,
    /// The lookups that write, and were not run for that, by their places in the rule.
    writing: BTreeSet<usize>,
}

/// Explains changes, with a database or without.
pub struct Explainer {
    engine: Engine,
    /// The rules that this database gives no use for; `None` where there is no database.
    inactive: Option<Vec<Inactive>>,
}

/// What became of one change.
#[derive(Debug)]
pub struct Explanation {
    /// The rules of its table, in the catalog's order.
    pub rules: Vec<RuleExplanation>,
    /// How many rules other tables have.
    pub other_rules: usize,
    /// Whether there was a database to look things up in.
    pub looked_up: bool,
}

/// What one rule made of it.
#[derive(Debug)]
pub struct RuleExplanation {
    pub rule: Arc<str>,
    pub event: Arc<str>,
    /// It writes notifications instead of sending an event.
    pub inbox: bool,
    pub verdict: Verdict,
    /// Columns that the rule reads and the change lacks: `new.fee`. A row from the database would have them.
    pub missing: Vec<String>,
}

#[derive(Debug)]
pub enum Verdict {
    /// The rule says nothing about this change.
    Silent(Reason),
    /// The rule can't be evaluated: the change would go to `rowcast.dead_letter` for this rule alone.
    Failed(String),
    /// The rule is about this change; each of its audiences hears, or doesn't, or can't be told.
    Matches(Vec<AudienceExplanation>),
}

/// One `[[rule.to]]`.
#[derive(Debug)]
pub struct AudienceExplanation {
    /// Its rooms as the catalog writes them.
    pub rooms: Vec<String>,
    /// Room templates that named no room, and why: `user:{old.agent_id}`, `old.agent_id is null`.
    pub unnamed: Vec<Unnamed>,
    pub hearing: Hearing,
}

#[derive(Debug)]
pub enum Hearing {
    /// Usually one; more where `per` or `each` makes data for each item.
    Hears(Vec<Heard>),
    Silent(Reason),
    /// It rests on lookups that were not run.
    NeedsLookups(NeedsLookups),
}

/// Rooms, and what they get.
#[derive(Debug)]
pub struct Heard {
    pub rooms: Vec<Room>,
    pub data: Data,
    /// With this audience alone.
    pub event: Event,
}

/// What can be told of an audience without its lookups.
#[derive(Debug)]
pub struct NeedsLookups {
    /// As the rule calls them.
    pub lookups: Vec<String>,
    /// There is a database, but among the lookups is one that writes, so it was not run.
    pub write: bool,
    /// Rooms that need none of them by name, the others as the catalog writes them.
    pub rooms: Vec<String>,
    /// By key: the value, or the expression where a lookup is needed for it.
    pub data: Vec<(Arc<str>, Known)>,
}

/// A value, or the expression that gives it.
pub type Known = Result<Box<RawValue>, String>;

#[derive(Debug, Clone, Serialize)]
pub struct Unnamed {
    pub room: String,
    pub because: String,
}

/// Why nobody hears.
#[derive(Debug, Clone)]
pub enum Reason {
    Inactive(String),
    /// The operation is not in `on`.
    Operation {
        op: Op,
        on: Vec<Op>,
    },
    /// None of these columns changed.
    Unchanged(Vec<String>),
    /// `when` is false; the columns that it read, with their values.
    Condition {
        when: String,
        values: Vec<(String, String)>,
    },
    /// No template names a room.
    NoRoom(Vec<Unnamed>),
    /// The lookup found no row that `each` could stand for.
    NothingFound {
        lookup: String,
        key: Option<String>,
    },
    /// `per` gives no object.
    NothingPer(String),
    /// Of the columns that the audience's `changes` show, none changed.
    NoChanges(String),
    /// A lookup that it reads failed: the change would go to `rowcast.dead_letter`, while others hear of it.
    Failed(String),
}

impl Reason {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Inactive(_) => "inactive",
            Self::Operation { .. } => "operation",
            Self::Unchanged(_) => "unchanged",
            Self::Condition { .. } => "when",
            Self::NoRoom(_) => "no_room",
            Self::NothingFound { .. } => "nothing_found",
            Self::NothingPer(_) => "nothing_per",
            Self::NoChanges(_) => "no_changes",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inactive(reason) => write!(f, "inactive: {reason}"),
            Self::Operation { op, on } => {
                let on: Vec<_> = on.iter().map(|op| op.as_sql().to_ascii_lowercase()).collect();
                let op = op.as_sql().to_ascii_lowercase();
                write!(f, "it is about {}, this is {op}", if on.is_empty() { "nothing".into() } else { on.join(", ") })
            }
            Self::Unchanged(columns) if columns.len() == 1 => write!(f, "{} did not change", columns[0]),
            Self::Unchanged(columns) => write!(f, "none of {} changed", columns.join(", ")),
            Self::Condition { when, values } => {
                write!(f, "when is false: {}", one_line(when))?;
                for (number, (column, value)) in values.iter().enumerate() {
                    write!(f, "{}{column} = {value}", if number == 0 { ", with " } else { ", " })?;
                }
                Ok(())
            }
            Self::NoRoom(unnamed) => {
                f.write_str("no room is named")?;
                for (number, Unnamed { room, because }) in unnamed.iter().enumerate() {
                    match (unnamed.len(), number) {
                        (1, _) => write!(f, ", since {because}")?,
                        (_, 0) => write!(f, ": not {room}, since {because}")?,
                        _ => write!(f, "; not {room}, since {because}")?,
                    }
                }
                Ok(())
            }
            Self::NothingFound { lookup, key: Some(key) } => {
                write!(f, "the lookup {lookup:?} found no row for {key:?}")
            }
            Self::NothingFound { lookup, key: None } => {
                write!(f, "the lookup {lookup:?} had nothing to look for: its key is null")
            }
            Self::NothingPer(per) => write!(f, "per gives no object: {}", one_line(per)),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::NoChanges(columns) => write!(f, "of the columns that it may see, none changed ({columns})"),
        }
    }
}

/// `{"code": "when", "text": "when is false: …"}`
impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.code())?;
        map.serialize_entry("text", &self.to_string())?;
        map.end()
    }
}

/// An expression as one line of prose has it.
pub fn one_line(source: &str) -> String {
    source.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl RuleExplanation {
    /// Whether somebody hears; `None` if that rests on lookups that were not run.
    pub fn fires(&self) -> Option<bool> {
        let Verdict::Matches(audiences) = &self.verdict else { return Some(false) };
        if audiences.iter().any(|audience| matches!(audience.hearing, Hearing::Hears(_))) {
            return Some(true);
        }
        let unknown = audiences.iter().any(|audience| matches!(audience.hearing, Hearing::NeedsLookups(_)));
        (!unknown).then_some(false)
    }
}

impl Explainer {
    /// With the rules bound to a database's tables, and lookups that are run, but for those that write.
    pub async fn bound(catalog: Arc<Catalog>, pool: sqlx::PgPool, tables: &Tables) -> Self {
        let mut engine = Engine::new(catalog, pool);
        engine.runner.without_writing = true;
        let inactive = engine.bind(tables).await;
        Self { engine, inactive: Some(inactive) }
    }

    /// Without a database: every rule counts as live, and nothing is looked up.
    pub fn unbound(catalog: Arc<Catalog>) -> Self {
        // Never connected to, since no lookup is wanted.
        let pool = PgPoolOptions::new().connect_lazy_with(PgConnectOptions::new_without_pgpass());
        Self { engine: Engine::new(catalog, pool), inactive: None }
    }

    /// Explains the changes of a page that holds one.
    ///
    /// # Errors
    ///
    /// If the database does not answer a lookup.
    pub async fn explain(&mut self, page: &Page) -> Result<Explanation, Unavailable> {
        let catalog = self.engine.catalog.clone();
        let change = &page.changes[0];
        let mut rules = Vec::new();
        for (place, rule) in catalog.rules.iter().enumerate().filter(|(_, rule)| rule.table == change.table) {
            let verdict = match self.live(place, rule, &change.table) {
                Err(reason) => Verdict::Silent(reason),
                Ok(live) => self.verdict(page, rule, live).await?,
            };
            let (rule_name, event, missing) = (rule.name.clone(), rule.event.clone(), missing(rule, change));
            rules.push(RuleExplanation { rule: rule_name, event, inbox: rule.inbox, verdict, missing });
        }
        let other_rules = catalog.rules.len() - rules.len();
        Ok(Explanation { rules, other_rules, looked_up: self.inactive.is_some() })
    }

    /// The rule as it was bound; without a database, with the audiences that need no lookup.
    fn live(&self, place: usize, rule: &Rule, table: &TableName) -> Result<Arc<Live>, Reason> {
        let Some(inactive) = &self.inactive else {
            let apart = |number: &usize| rule.uses.lookups.is_empty() && rule.to[*number].uses.lookups.is_empty();
            let audiences = (0..rule.to.len()).filter(apart).collect();
            return Ok(Arc::new(Live { rule: place, audiences, lookups: Default::default() }));
        };
        let live = self.engine.live.get(table).into_iter().flat_map(|by_op| by_op.values().flatten());
        live.into_iter().find(|live| live.rule == place).cloned().ok_or_else(|| {
            let reason = inactive.iter().find(|inactive| inactive.rule == rule.name);
            Reason::Inactive(reason.map_or_else(|| "it lists no operation".to_owned(), |idle| idle.reason.clone()))
        })
    }

    async fn verdict(&mut self, page: &Page, rule: &Rule, live: Arc<Live>) -> Result<Verdict, Unavailable> {
        let change = &page.changes[0];
        if !rule.on.contains(&change.op) {
            return Ok(Verdict::Silent(Reason::Operation { op: change.op, on: rule.on.clone() }));
        }
        if !touches(rule, change, &change.changed_columns()) {
            let columns = rule.changed.iter().flatten().map(|column| column.to_string()).collect();
            return Ok(Verdict::Silent(Reason::Unchanged(columns)));
        }
        let catalog = self.engine.catalog.clone();
        let wanted = {
            let scope = Scope::new(change);
            match keys(rule, &live, &Surroundings::of_change(&catalog.context, &scope)) {
                Err(error) => return Ok(Verdict::Failed(error)),
                Ok(None) => return Ok(Verdict::Silent(condition(rule, rule.when.as_ref(), &scope))),
                Ok(Some(wanted)) => wanted,
            }
        };
        let mut whole = Match { change, live, keys: wanted };
        let finds = self.engine.look_up(page, std::slice::from_ref(&whole)).await?;
        let writing = writing(rule, &whole.keys, &finds);
        if !writing.is_empty() {
            whole = without(rule, whole, &writing);
        }
        // An expression that fails in one audience takes the whole event with it.
        let rows = match self.engine.events(&whole, &finds, page.position) {
            Err(error) => return Ok(Verdict::Failed(error)),
            Ok(_) => found(rule, &whole.keys, &finds),
        };
        let trial = Trial { page, rule, whole, finds, rows, writing };
        let audiences = (0..rule.to.len()).map(|number| self.audience(&trial, number));
        Ok(Verdict::Matches(audiences.collect()))
    }

    fn audience(&self, trial: &Trial<'_>, number: usize) -> AudienceExplanation {
        let Trial { page, rule, whole, finds, rows, writing } = trial;
        let (change, audience) = (whole.change, &rule.to[number]);
        let views = rule.lookups.iter().zip(rows).map(|(call, rows)| (call.name.as_str(), RowView(rows.first())));
        let scope = Scope::with_lookups(change, views.collect());
        let rooms = audience.rooms.iter().map(|template| template.source()).collect();
        if !whole.live.audiences.contains(&number) {
            let hearing = match &self.inactive {
                Some(inactive) if !needs(rule, audience).any(|place| writing.contains(place)) => {
                    Hearing::Silent(idle(inactive, rule, number))
                }
                _ if self.plainly_silent(audience, &scope) => {
                    Hearing::Silent(condition(rule, audience.when.as_ref(), &scope))
                }
                _ => Hearing::NeedsLookups(self.without_lookups(rule, audience, &scope)),
            };
            return AudienceExplanation { rooms, unnamed: Vec::new(), hearing };
        }
        let live = &whole.live;
        let alone = Live { rule: live.rule, audiences: vec![number], lookups: live.lookups.clone() };
        let alone = Match { change, live: Arc::new(alone), keys: whole.keys.clone() };
        let events = match self.engine.events(&alone, finds, page.position) {
            Ok(made) => made.events,
            // With all audiences it worked, so it is a lookup of this one.
            Err(error) => {
                let hearing = Hearing::Silent(Reason::Failed(error));
                return AudienceExplanation { rooms, unnamed: Vec::new(), hearing };
            }
        };

        // What is at hand where an expression stands for many things: the first of them.
        let catalog = &self.engine.catalog;
        let items = rule
            .per
            .as_ref()
            .map(|per| per.objects(&Surroundings::of_change(&catalog.context, &scope)).unwrap_or_default());
        let each = audience.each.map(|place| &rows[place]);
        let scope = match items.as_ref().map(|items| items.first()) {
            None => scope,
            Some(item) => scope.with_item(RowView(item)),
        };
        let scope = match each.map(|rows| rows.first()) {
            None => scope,
            Some(row) => scope.with_each(RowView(row)),
        };
        let unnamed = self.unnamed(rule, audience, &scope, &whole.keys);
        if !events.is_empty() {
            let heard = events.into_iter().flat_map(|mut event| {
                let audiences = std::mem::take(&mut event.audiences);
                audiences.into_iter().map(move |audience| Heard {
                    rooms: audience.rooms,
                    data: audience.data,
                    event: event.clone(),
                })
            });
            return AudienceExplanation { rooms, unnamed, hearing: Hearing::Hears(heard.collect()) };
        }
        let at = Surroundings::of_change(&catalog.context, &scope);
        let reason = match (&items, each, audience.each) {
            (Some(items), ..) if items.is_empty() => {
                Reason::NothingPer(rule.per.as_ref().map(|per| per.source().to_owned()).unwrap_or_default())
            }
            (_, Some(rows), Some(place)) if rows.is_empty() => {
                let lookup = catalog.lookups[rule.lookups[place].lookup].name.clone();
                Reason::NothingFound { lookup, key: whole.keys.get(&place).cloned() }
            }
            _ if matches!(holds(audience.when.as_ref(), &at), Ok(false)) => {
                condition(rule, audience.when.as_ref(), &scope)
            }
            _ if unnamed.len() == audience.rooms.len() => Reason::NoRoom(unnamed.clone()),
            _ => Reason::NoChanges(audience.changes.as_ref().map(|changes| changes.outline()).unwrap_or_default()),
        };
        let unnamed = if matches!(reason, Reason::NoRoom(_)) { Vec::new() } else { unnamed };
        AudienceExplanation { rooms, unnamed, hearing: Hearing::Silent(reason) }
    }

    fn unnamed(
        &self,
        rule: &Rule,
        audience: &AudienceRule,
        scope: &Scope<'_>,
        keys: &BTreeMap<usize, String>,
    ) -> Vec<Unnamed> {
        let at = Surroundings::of_change(&self.engine.catalog.context, scope);
        let because = |expression: &Expression| {
            let nothing = expression.uses.lookups.iter().find(|place| scope.lookup_found_nothing(**place));
            let empty = match expression.json(&at) {
                Ok(json) => format!("{} is {}", one_line(expression.source()), json.get()),
                Err(error) => error,
            };
            match nothing {
                None => empty,
                Some(place) => {
                    let lookup = &self.engine.catalog.lookups[rule.lookups[*place].lookup].name;
                    match keys.get(place) {
                        Some(key) => format!("{empty}: the lookup {lookup:?} found no row for {key:?}"),
                        None => format!("{empty}: the lookup {lookup:?} had nothing to look for, its key is null"),
                    }
                }
            }
        };
        let templates = audience.rooms.iter().filter_map(|template| {
            let because: Vec<_> = template.unnamed(&at).into_iter().map(because).collect();
            (!because.is_empty()).then(|| Unnamed { room: template.source(), because: because.join(" and ") })
        });
        templates.collect()
    }

    /// Whether its condition needs no lookup and is false.
    fn plainly_silent(&self, audience: &AudienceRule, scope: &Scope<'_>) -> bool {
        let at = Surroundings::of_change(&self.engine.catalog.context, scope);
        let when = audience.when.as_ref().filter(|when| stands_alone(&when.uses));
        matches!(holds(when, &at), Ok(false))
    }

    fn without_lookups(&self, rule: &Rule, audience: &AudienceRule, scope: &Scope<'_>) -> NeedsLookups {
        let at = Surroundings::of_change(&self.engine.catalog.context, scope);
        let rooms = audience.rooms.iter().map(|template| match template.room(&at) {
            Ok(Some(room)) if stands_alone(&template.uses()) => room.to_string(),
            _ => template.source(),
        });
        let data = audience.data.as_ref().unwrap_or(&rule.data).iter().map(|(key, expression)| {
            let value = match expression.json(&at) {
                Ok(value) if stands_alone(&expression.uses) => Ok(value),
                _ => Err(one_line(expression.source())),
            };
            (key.clone(), value)
        });
        let lookups: BTreeSet<&str> = needs(rule, audience).map(|place| rule.lookups[*place].name.as_str()).collect();
        NeedsLookups {
            lookups: lookups.into_iter().map(str::to_owned).collect(),
            write: self.inactive.is_some(),
            rooms: rooms.collect(),
            data: data.collect(),
        }
    }
}

/// The lookups that an audience can't do without, by their places in the rule.
fn needs<'r>(rule: &'r Rule, audience: &'r AudienceRule) -> impl Iterator<Item = &'r usize> {
    rule.uses.lookups.iter().chain(&audience.uses.lookups)
}

/// The rule's lookups that write, and were not run for that.
fn writing(rule: &Rule, keys: &BTreeMap<usize, String>, finds: &Finds) -> BTreeSet<usize> {
    let writes = |place: &&usize| match finds.get(&rule.lookups[**place].lookup) {
        Some(Err(reason)) => reason.contains(WRITES),
        _ => false,
    };
    keys.keys().filter(writes).copied().collect()
}

/// The match without these lookups, and without the audiences that need them.
fn without<'p>(rule: &Rule, whole: Match<'p>, lookups: &BTreeSet<usize>) -> Match<'p> {
    let keep = |number: &usize| !needs(rule, &rule.to[*number]).any(|place| lookups.contains(place));
    let live = Live {
        rule: whole.live.rule,
        audiences: whole.live.audiences.iter().copied().filter(keep).collect(),
        lookups: &whole.live.lookups - lookups,
    };
    let keys = whole.keys.into_iter().filter(|(place, _)| !lookups.contains(place)).collect();
    Match { change: whole.change, live: Arc::new(live), keys }
}

/// Why this audience is inactive while others of its rule are not.
fn idle(inactive: &[Inactive], rule: &Rule, number: usize) -> Reason {
    let found = inactive.iter().find(|idle| idle.rule == rule.name && idle.audience == Some(number));
    Reason::Inactive(found.map(|idle| idle.reason.clone()).unwrap_or_default())
}

/// Whether the change alone is read: no lookup, nothing of a list.
fn stands_alone(uses: &Uses) -> bool {
    let item = uses.columns.iter().any(|(origin, _)| *origin == Origin::Item);
    uses.lookups.is_empty() && !uses.each && !item
}

/// What each of the rule's lookups found, in their order.
fn found(rule: &Rule, keys: &BTreeMap<usize, String>, finds: &Finds) -> Vec<Found> {
    let of = |(place, call): (usize, &super::rule::LookupCall)| {
        let rows = finds.get(&call.lookup)?.as_ref().ok()?;
        rows.get(keys.get(&place)?.as_str()).cloned()
    };
    rule.lookups.iter().enumerate().map(|call| of(call).unwrap_or_default()).collect()
}

fn condition(rule: &Rule, when: Option<&Expression>, scope: &Scope<'_>) -> Reason {
    let Some(when) = when else { return Reason::Condition { when: String::new(), values: Vec::new() } };
    let values = when.uses.columns.iter().map(|(origin, column)| {
        let value = scope.row(*origin).get(column).unwrap_or("missing");
        (format!("{}.{column}", name(rule, *origin)), shortened(value))
    });
    Reason::Condition { when: when.source().trim().to_owned(), values: values.collect() }
}

fn shortened(json: &str) -> String {
    const LONGEST: usize = 80;
    match json.char_indices().nth(LONGEST) {
        None => json.to_owned(),
        Some((end, _)) => format!("{}…", &json[..end]),
    }
}

fn name(rule: &Rule, origin: Origin) -> &str {
    match origin {
        Origin::Old => "old",
        Origin::New => "new",
        Origin::Row => "row",
        Origin::Each => "each",
        Origin::Item => "item",
        Origin::Lookup(place) => &rule.lookups[place].name,
    }
}

/// What the rule reads of its table's row and the change lacks.
fn missing(rule: &Rule, change: &Change) -> Vec<String> {
    if !rule.on.contains(&change.op) {
        return Vec::new();
    }
    let scope = Scope::new(change);
    let mut missing = Vec::new();
    let mut expect = |origin: Origin, column: &str| {
        let read = format!("{}.{column}", name(rule, origin));
        if scope.row(origin).get(column).is_none() && !missing.contains(&read) {
            missing.push(read);
        }
    };
    if change.op == Op::Update {
        for column in rule.changed.iter().flatten() {
            expect(Origin::Old, column);
            expect(Origin::New, column);
        }
    }
    for uses in rule.to.iter().map(|audience| &audience.uses).chain([&rule.uses]) {
        for (origin, column) in &uses.columns {
            if matches!(origin, Origin::Old | Origin::New | Origin::Row) {
                expect(*origin, column);
            }
        }
    }
    missing
}

impl Explanation {
    /// The columns that the change lacks, of all rules that this database gives a use for.
    pub fn missing(&self) -> BTreeSet<&str> {
        let inactive = |rule: &&RuleExplanation| matches!(rule.verdict, Verdict::Silent(Reason::Inactive(_)));
        self.rules.iter().filter(|rule| !inactive(rule)).flat_map(|rule| &rule.missing).map(String::as_str).collect()
    }

    /// One word for how a rule ended, for programs: `fires`, `silent`, `failed` or `unknown`. A rule that fails where the
    /// change lacks columns that it reads is unknown: a row of the database has them.
    pub fn outcome(rule: &RuleExplanation) -> &'static str {
        match (&rule.verdict, rule.fires()) {
            (Verdict::Failed(_), _) if rule.missing.is_empty() => "failed",
            (Verdict::Failed(_), _) => "unknown",
            (_, Some(true)) => "fires",
            (_, Some(false)) => "silent",
            (_, None) => "unknown",
        }
    }
}

impl Catalog {
    /// The tables that rules are about, as an error lists them.
    pub fn table_list(&self) -> String {
        quoted(self.tables().into_iter().map(TableName::to_string))
    }
}
