//! From a page of changes to events, in three steps over the whole page: which rules match, what their lookups find (one
//! query a lookup), and then the audiences with their data.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    Catalog, Inactive,
    bind::{self, Index, Live},
    changes,
    expression::{Expression, Scope, Surroundings},
    lookups::{Found, Runner, Unavailable},
    rule::{AudienceRule, Rule},
    value::RowView,
};
use crate::{
    change::{Change, Op, Page, Tables},
    event::{Audience, Data, Event},
    position::Position,
    room::Room,
};

/// Evaluates the catalog's rules against the changes of one database.
pub struct Engine {
    catalog: Arc<Catalog>,
    live: Index,
    runner: Runner,
    changes_key: Arc<str>,
}

/// What a page came to.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// In the order of the changes; for one change, in the order of the files and rules.
    pub events: Vec<Event>,
    pub failures: Vec<Failure>,
}

/// A rule that failed on one change; the others went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub change_id: i64,
    pub rule: Arc<str>,
    pub error: String,
}

/// A rule whose condition holds for a change.
struct Match<'p> {
    change: &'p Change,
    live: Arc<Live>,
    /// What to look up, by the lookup's place in the rule.
    keys: BTreeMap<usize, String>,
}

/// What the lookups of a page found, by their places in the catalog; or why one failed.
type Finds = HashMap<usize, Result<HashMap<Box<str>, Found>, String>>;

impl Engine {
    /// No rule is live until [`Engine::bind`] has seen the tables.
    pub fn new(catalog: Arc<Catalog>, pool: sqlx::PgPool) -> Self {
        let runner = Runner::new(pool, &catalog.lookups);
        Self { catalog, live: Index::new(), runner, changes_key: changes::KEY.into() }
    }

    /// Decides which rules are live; to be called at start and whenever the watched tables change their shape.
    pub async fn bind(&mut self, tables: &Tables) -> Vec<Inactive> {
        let mut prepared = Vec::with_capacity(self.catalog.lookups.len());
        for lookup in &self.catalog.lookups {
            prepared.push(self.runner.prepare(lookup).await);
        }
        let (live, inactive) = bind::bind(&self.catalog, tables, &prepared);
        self.live = live;
        inactive
    }

    /// The events of a page. After [`Unavailable`] the same page can be tried again.
    pub async fn evaluate(&mut self, page: &Page) -> Result<Evaluated, Unavailable> {
        let mut evaluated = Evaluated::default();
        let matches = self.matches(page, &mut evaluated.failures);
        let finds = self.look_up(page, &matches).await?;
        for found in matches {
            match self.event(&found, &finds, page.position) {
                Ok(event) => evaluated.events.extend(event),
                Err(error) => evaluated.failures.push(self.failure(&found, error)),
            }
        }
        Ok(evaluated)
    }

    fn failure(&self, found: &Match<'_>, error: String) -> Failure {
        let rule = self.catalog.rules[found.live.rule].name.clone();
        Failure { change_id: found.change.id, rule, error }
    }

    fn matches<'p>(&self, page: &'p Page, failures: &mut Vec<Failure>) -> Vec<Match<'p>> {
        let mut matches = Vec::new();
        for change in &page.changes {
            let Some(rules) = self.live.get(&change.table).and_then(|by_op| by_op.get(&change.op)) else { continue };
            let scope = Scope::new(change);
            let surroundings = Surroundings::of_change(&self.catalog.context, &scope);
            for live in rules {
                let rule = &self.catalog.rules[live.rule];
                if !touches(rule, change) {
                    continue;
                }
                match keys(rule, live, &surroundings) {
                    Ok(None) => {}
                    Ok(Some(keys)) => matches.push(Match { change, live: live.clone(), keys }),
                    Err(error) => {
                        failures.push(Failure { change_id: change.id, rule: rule.name.clone(), error });
                    }
                }
            }
        }
        matches
    }

    async fn look_up(&mut self, page: &Page, matches: &[Match<'_>]) -> Result<Finds, Unavailable> {
        let mut tables = BTreeSet::new();
        let mut last = None;
        for change in &page.changes {
            if last != Some(&change.table) {
                last = Some(&change.table);
                tables.insert(&change.table);
            }
        }
        self.runner.tables_changed(&self.catalog.lookups, &tables);

        let mut wanted: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
        for found in matches {
            let rule = &self.catalog.rules[found.live.rule];
            for (place, key) in &found.keys {
                wanted.entry(rule.lookups[*place].lookup).or_default().insert(key);
            }
        }
        let mut finds = Finds::new();
        for (lookup, keys) in wanted {
            let definition = &self.catalog.lookups[lookup];
            let found = self.runner.find(lookup, definition, keys).await?;
            let named = |error| format!("the lookup {:?} failed: {error}", definition.name);
            finds.insert(lookup, found.map_err(named));
        }
        Ok(finds)
    }

    /// `None` if nobody hears it.
    fn event(&self, found: &Match<'_>, finds: &Finds, position: Position) -> Result<Option<Event>, String> {
        let Match { change, live, keys } = found;
        let rule = &self.catalog.rules[live.rule];
        let mut rows: Vec<Found> = Vec::with_capacity(rule.lookups.len());
        for (place, call) in rule.lookups.iter().enumerate() {
            let found = match (keys.get(&place), finds.get(&call.lookup)) {
                (Some(key), Some(Ok(found))) => found.get(key.as_str()).cloned().unwrap_or_default(),
                (Some(_), Some(Err(error))) => return Err(error.clone()),
                _ => Found::default(),
            };
            rows.push(found);
        }
        let views = rule.lookups.iter().zip(&rows).map(|(call, rows)| (call.name.as_str(), RowView(rows.first())));
        let scope = Scope::with_lookups(change, views.collect());
        let surroundings = Surroundings::of_change(&self.catalog.context, &scope);

        let mut rendering = Rendering { rule, change, changes_key: &self.changes_key, shared: None };
        let mut audiences = Vec::new();
        for number in &live.audiences {
            let audience = &rule.to[*number];
            match audience.each {
                None => audiences.extend(rendering.audience(audience, &surroundings)?),
                Some(place) => {
                    self.each(audience, &rows[place], &mut rendering, &scope, &surroundings, &mut audiences)?;
                }
            }
        }
        if audiences.is_empty() {
            return Ok(None);
        }
        let actor = match &rule.actor {
            Some(actor) => actor.name(&surroundings)?,
            None => None,
        };
        Ok(Some(Event {
            kind: rule.event.clone(),
            id: Event::id(change, &rule.name),
            at: change.at,
            actor: actor.or_else(|| change.actor.clone()),
            table: change.table.clone(),
            op: change.op,
            xid: change.xid,
            position,
            subject: rule.subject.clone(),
            audiences,
        }))
    }

    /// An audience for every row of a lookup: one for all of them, unless the data differ from row to row.
    fn each(
        &self,
        audience: &AudienceRule,
        rows: &Found,
        rendering: &mut Rendering<'_>,
        scope: &Scope<'_>,
        surroundings: &Surroundings<'_>,
        audiences: &mut Vec<Audience>,
    ) -> Result<(), String> {
        let mut rooms = Vec::new();
        let mut known = HashSet::new();
        for row in rows.iter() {
            let scope = scope.with_each(RowView(Some(row)));
            let at = Surroundings::of_change(&self.catalog.context, &scope);
            if audience.data_uses_each {
                audiences.extend(rendering.audience(audience, &at)?);
                continue;
            }
            if holds(audience.when.as_ref(), &at)? {
                rooms.extend(named_rooms(audience, &at)?.into_iter().filter(|room| known.insert(room.clone())));
            }
        }
        if !rooms.is_empty()
            && let Some(data) = rendering.data(audience, surroundings)?
        {
            audiences.push(Audience { rooms, data });
        }
        Ok(())
    }
}

#[cfg(test)]
impl Engine {
    /// Binds without a database: what the lookups give is told beforehand.
    pub(super) fn bind_prepared(
        &mut self,
        tables: &Tables,
        prepared: impl Fn(&str) -> super::lookups::Prepared,
    ) -> Vec<Inactive> {
        let prepared: Vec<_> = self.catalog.lookups.iter().map(|lookup| prepared(&lookup.name)).collect();
        let (live, inactive) = bind::bind(&self.catalog, tables, &prepared);
        self.live = live;
        inactive
    }

    pub(super) fn remember(&mut self, lookup: &str, key: &str, rows: Vec<crate::change::Row>) {
        let place = self.catalog.lookups.iter().position(|known| known.name == lookup).unwrap();
        self.runner.remember(place, key, rows);
    }
}

/// Makes the audiences of one event.
struct Rendering<'a> {
    rule: &'a Rule,
    change: &'a Change,
    changes_key: &'a Arc<str>,
    /// The rule's own data, once an audience has asked for them.
    shared: Option<Data>,
}

impl Rendering<'_> {
    fn audience(&mut self, audience: &AudienceRule, at: &Surroundings<'_>) -> Result<Option<Audience>, String> {
        if !holds(audience.when.as_ref(), at)? {
            return Ok(None);
        }
        let rooms = named_rooms(audience, at)?;
        if rooms.is_empty() {
            return Ok(None);
        }
        Ok(self.data(audience, at)?.map(|data| Audience { rooms, data }))
    }

    /// `None` if none of the columns that this audience hears of has changed.
    fn data(&mut self, audience: &AudienceRule, at: &Surroundings<'_>) -> Result<Option<Data>, String> {
        let changes = match &audience.changes {
            None => None,
            Some(changes) => match changes.json(self.change) {
                None => return Ok(None),
                changes => changes,
            },
        };
        let mut data = match (&audience.data, &self.shared) {
            (Some(own), _) => render(own, at)?,
            (None, Some(shared)) => shared.clone(),
            (None, None) => self.shared.insert(render(&self.rule.data, at)?).clone(),
        };
        data.extend(changes.map(|changes| (self.changes_key.clone(), changes)));
        Ok(Some(data))
    }
}

fn render(data: &[(Arc<str>, Expression)], at: &Surroundings<'_>) -> Result<Data, String> {
    data.iter().map(|(key, expression)| Ok((key.clone(), expression.json(at)?))).collect()
}

fn named_rooms(audience: &AudienceRule, at: &Surroundings<'_>) -> Result<Vec<Room>, String> {
    let mut rooms = Vec::with_capacity(audience.rooms.len());
    for template in &audience.rooms {
        if let Some(room) = template.room(at)?
            && !rooms.contains(&room)
        {
            rooms.push(room);
        }
    }
    Ok(rooms)
}

fn holds(condition: Option<&Expression>, at: &Surroundings<'_>) -> Result<bool, String> {
    condition.map_or(Ok(true), |condition| condition.test(at))
}

/// Whether one of the rule's columns changed; told without any expression.
fn touches(rule: &Rule, change: &Change) -> bool {
    let (Op::Update, Some(columns)) = (change.op, &rule.changed) else { return true };
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    columns.iter().any(|column| match (old.get(column), new.get(column)) {
        (Some(before), Some(after)) => before.get() != after.get(),
        (before, after) => before.is_some() != after.is_some(),
    })
}

/// The lookup keys of a rule that matches; `None` if it doesn't.
fn keys(rule: &Rule, live: &Live, at: &Surroundings<'_>) -> Result<Option<BTreeMap<usize, String>>, String> {
    if !holds(rule.when.as_ref(), at)? {
        return Ok(None);
    }
    let mut keys = BTreeMap::new();
    for place in &live.lookups {
        if let Some(key) = rule.lookups[*place].key.name(at)? {
            keys.insert(*place, key);
        }
    }
    Ok(Some(keys))
}
