//! From a page of changes to events, in three steps over the whole page: which rules match, what their lookups find (one
//! query a lookup), and then the audiences with their data.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde_json::value::RawValue;

use super::{
    Catalog, Inactive,
    bind::{self, Index, Live},
    changes,
    expression::{Expression, Scope, Surroundings},
    lookups::{Found, Runner, Unavailable},
    own_tables::OwnTables,
    query::{Patience, Prepared},
    rule::{AudienceRule, Rule},
    value::RowView,
};
use crate::{
    change::{Change, Op, Page, Tables},
    dead_letter::{self, Again},
    event::{Audience, Data, Event},
    position::Position,
    room::Room,
};

/// Of one change so many items of a `per` make events: a list is as long as whoever writes it likes.
const MOST_ITEMS: usize = 100;

/// Evaluates the catalog's rules against the changes of one database.
pub struct Engine {
    pub(super) catalog: Arc<Catalog>,
    pub(super) live: Index,
    pub(super) runner: Runner,
    /// Whether notifications are asked for: those of the past have been written.
    writes_inbox: bool,
    changes_key: Arc<str>,
}

/// What a page came to.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// In the order of the changes; for one change, in the order of the files and rules.
    pub events: Vec<Event>,
    /// What is to be written into inboxes: the kind of the notification, its recipients' rooms, and its data.
    pub inbox: Vec<Event>,
    pub failures: Vec<Failure>,
    /// The dead letters that were tried again.
    pub again: Vec<Again>,
}

/// A rule that failed on one change, as a whole or for some of its audiences; the others went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub change_id: i64,
    pub rule: Arc<str>,
    pub error: String,
}

/// A rule whose condition holds for a change.
pub(super) struct Match<'p> {
    pub change: &'p Change,
    pub live: Arc<Live>,
    /// What to look up, by the lookup's place in the rule.
    pub keys: BTreeMap<usize, String>,
}

/// What a rule makes of a change.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub events: Vec<Event>,
    /// The audiences that hear nothing since a lookup of theirs failed, and why.
    pub silenced: Option<String>,
}

/// What the lookups of a page found, by their places in the catalog; or why one failed.
pub(super) type Finds = HashMap<usize, Result<HashMap<Box<str>, Found>, String>>;

impl Engine {
    /// No rule is live until [`Engine::bind`] has seen the tables.
    pub fn new(catalog: Arc<Catalog>, pool: sqlx::PgPool) -> Self {
        let runner = Runner::new(pool, &catalog.lookups);
        Self { catalog, live: Index::new(), runner, writes_inbox: true, changes_key: changes::KEY.into() }
    }

    /// For changes that have been evaluated before: rules that write into inboxes are left out, and lookups write nothing.
    pub fn of_the_past(catalog: Arc<Catalog>, pool: sqlx::PgPool) -> Self {
        let mut engine = Self { writes_inbox: false, ..Self::new(catalog, pool) };
        engine.runner.without_writing = true;
        engine.runner.insists = true;
        engine
    }

    /// Decides which rules are live; to be called at start and whenever the watched tables change their shape.
    pub async fn bind(&mut self, tables: &Tables) -> Vec<Inactive> {
        let mut patience = Patience::default();
        let prepared = self.runner.prepare(&self.catalog.lookups, &mut patience).await;
        let own = OwnTables::survey(&self.catalog.schedules, self.runner.pool(), &mut patience).await;
        self.bind_with(tables, &own, &prepared)
    }

    /// Decides which rules are live where no database can be asked: those that look nothing up.
    pub fn bind_without_lookups(&mut self, tables: &Tables) -> Vec<Inactive> {
        let refused = || Prepared::Refused("there is no database".to_owned());
        let prepared: Vec<_> = self.catalog.lookups.iter().map(|_| refused()).collect();
        self.bind_with(tables, &OwnTables::unseen(&self.catalog.schedules), &prepared)
    }

    fn bind_with(&mut self, tables: &Tables, own: &OwnTables, prepared: &[Prepared]) -> Vec<Inactive> {
        let (live, inactive) = bind::bind(&self.catalog, tables, own, prepared);
        self.live = live;
        inactive
    }

    /// The events of a page. After [`Unavailable`] the same page can be tried again.
    pub async fn evaluate(&mut self, page: &Page) -> Result<Evaluated, Unavailable> {
        let mut evaluated = Evaluated::default();
        let again: Vec<Again> =
            page.changes.iter().filter_map(|change| dead_letter::again(change, &page.tables)).collect();
        let mut matches = self.matches(page, &mut evaluated.failures);
        for again in &again {
            self.match_again(again, &mut matches, &mut evaluated.failures);
        }
        let finds = self.look_up(page, &matches).await?;
        for found in matches {
            let made = match self.catalog.rules[found.live.rule].inbox {
                false => &mut evaluated.events,
                true => &mut evaluated.inbox,
            };
            match self.events(&found, &finds, page.position) {
                Ok(Made { events, silenced }) => {
                    made.extend(events);
                    evaluated.failures.extend(silenced.map(|error| self.failure(&found, error)));
                }
                Err(error) => evaluated.failures.push(self.failure(&found, error)),
            }
        }
        evaluated.again = again;
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
            self.match_rules(change, rules, &mut matches, failures);
        }
        matches
    }

    fn match_rules<'p, 'r>(
        &self,
        change: &'p Change,
        rules: impl IntoIterator<Item = &'r Arc<Live>>,
        matches: &mut Vec<Match<'p>>,
        failures: &mut Vec<Failure>,
    ) {
        let scope = Scope::new(change);
        let surroundings = Surroundings::of_change(&self.catalog.context, &scope);
        let changed = if change.op == Op::Update { change.changed_columns() } else { Vec::new() };
        for live in rules {
            let rule = &self.catalog.rules[live.rule];
            if rule.inbox && !self.writes_inbox || !touches(rule, change, &changed) {
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

    /// The one rule that failed on a change before.
    fn match_again<'p>(&self, again: &'p Again, matches: &mut Vec<Match<'p>>, failures: &mut Vec<Failure>) {
        let mut fail = |change_id, error: &str| {
            failures.push(Failure { change_id, rule: again.rule.clone(), error: error.to_owned() });
        };
        let change = match &again.change {
            Ok(change) => change,
            Err(error) => return fail(again.change_id, error),
        };
        let rules = self.live.get(&change.table).and_then(|by_op| by_op.get(&change.op));
        let named = |live: &&Arc<Live>| self.catalog.rules[live.rule].name == again.rule;
        match rules.into_iter().flatten().find(named) {
            Some(live) => self.match_rules(change, [live], matches, failures),
            None => fail(change.id, "the catalog has no live rule of this name for such a change any more"),
        }
    }

    pub(super) async fn look_up(&mut self, page: &Page, matches: &[Match<'_>]) -> Result<Finds, Unavailable> {
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

    /// One event, or one for each item of the rule's `per`; none that nobody hears. A lookup that failed silences the
    /// audiences that read it, and those alone.
    pub(super) fn events(&self, found: &Match<'_>, finds: &Finds, position: Position) -> Result<Made, String> {
        let Match { change, live, keys } = found;
        let rule = &self.catalog.rules[live.rule];
        let mut rows: Vec<Found> = Vec::with_capacity(rule.lookups.len());
        let mut failed: BTreeMap<usize, &str> = BTreeMap::new();
        for (place, call) in rule.lookups.iter().enumerate() {
            let found = match (keys.get(&place), finds.get(&call.lookup)) {
                (Some(key), Some(Ok(found))) => found.get(key.as_str()).cloned().unwrap_or_default(),
                (Some(_), Some(Err(error))) => {
                    failed.insert(place, error);
                    Found::default()
                }
                _ => Found::default(),
            };
            rows.push(found);
        }
        let (heard, silenced) = hearers(rule, live, &failed)?;
        let views = rule.lookups.iter().zip(&rows).map(|(call, rows)| (call.name.as_str(), RowView(rows.first())));
        let scope = Scope::with_lookups(change, views.collect());
        let surroundings = Surroundings::of_change(&self.catalog.context, &scope);
        let Some(per) = &rule.per else {
            let event = self.event(found, &heard, &rows, &scope, &[], position, Event::id(change, &rule.name))?;
            return Ok(Made { events: event.into_iter().collect(), silenced });
        };
        let items = per.objects(&surroundings)?;
        // What is the same for each item is worked out once: it may hold all of them.
        let unvarying = rule.data.iter().map(|(_, expression)| match expression.uses.item {
            true => Ok(None),
            false => expression.json(&surroundings).map(Some),
        });
        let unvarying = if items.is_empty() { Vec::new() } else { unvarying.collect::<Result<Vec<_>, _>>()? };
        let mut events = Vec::new();
        for (number, item) in items.iter().take(MOST_ITEMS).enumerate() {
            let scope = scope.with_item(RowView(Some(item)));
            let id = format!("{}.{number}", Event::id(change, &rule.name));
            events.extend(self.event(found, &heard, &rows, &scope, &unvarying, position, id)?);
        }
        Ok(Made { events, silenced })
    }

    /// For the audiences in `heard`; `None` if nobody hears it.
    #[expect(clippy::too_many_arguments, reason = "they are of one event, and come from one place")]
    fn event(
        &self,
        Match { change, live, .. }: &Match<'_>,
        heard: &[usize],
        rows: &[Found],
        scope: &Scope<'_>,
        unvarying: &[Option<Box<RawValue>>],
        position: Position,
        id: String,
    ) -> Result<Option<Event>, String> {
        let rule = &self.catalog.rules[live.rule];
        let surroundings = Surroundings::of_change(&self.catalog.context, scope);
        let mut rendering = Rendering { rule, change, changes_key: &self.changes_key, unvarying, shared: None };
        let mut audiences = Vec::new();
        for number in heard {
            let audience = &rule.to[*number];
            match audience.each {
                None => audiences.extend(rendering.audience(audience, &surroundings)?),
                Some(place) => {
                    self.each(audience, &rows[place], &mut rendering, scope, &surroundings, &mut audiences)?;
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
            id,
            change_id: change.id,
            rule: rule.name.clone(),
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
    pub(super) fn bind_prepared(&mut self, tables: &Tables, prepared: impl Fn(&str) -> Prepared) -> Vec<Inactive> {
        let prepared: Vec<_> = self.catalog.lookups.iter().map(|lookup| prepared(&lookup.name)).collect();
        self.bind_with(tables, &OwnTables::unseen(&self.catalog.schedules), &prepared)
    }

    /// Has the lookup rest, as if Postgres had just ended it for its time.
    pub(super) fn tire(&mut self, lookup: &str) {
        let place = self.catalog.lookups.iter().position(|known| known.name == lookup).unwrap();
        self.runner.tire(place);
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
    /// What is known already of the rule's own data, in their order; may be shorter.
    unvarying: &'a [Option<Box<RawValue>>],
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
            (Some(own), _) => render(own, &[], at)?,
            (None, Some(shared)) => shared.clone(),
            (None, None) => self.shared.insert(render(&self.rule.data, self.unvarying, at)?).clone(),
        };
        data.extend(changes.map(|changes| (self.changes_key.clone(), changes)));
        Ok(Some(data))
    }
}

fn render(
    data: &[(Arc<str>, Expression)],
    known: &[Option<Box<RawValue>>],
    at: &Surroundings<'_>,
) -> Result<Data, String> {
    let known = known.iter().map(Option::as_ref).chain(std::iter::repeat(None));
    let rendered = data.iter().zip(known).map(|((key, expression), known)| match known {
        Some(value) => Ok((key.clone(), value.clone())),
        None => Ok((key.clone(), expression.json(at)?)),
    });
    rendered.collect()
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

/// The audiences that read none of the failed lookups; and why the others hear nothing. If that is all, or the rule itself
/// reads one, the rule has failed.
fn hearers(rule: &Rule, live: &Live, failed: &BTreeMap<usize, &str>) -> Result<(Vec<usize>, Option<String>), String> {
    let Some(first) = failed.values().next() else { return Ok((live.audiences.clone(), None)) };
    let reads_failed = |lookups: &BTreeSet<usize>| failed.keys().any(|place| lookups.contains(place));
    let (silenced, heard): (Vec<usize>, Vec<usize>) =
        live.audiences.iter().partition(|number| reads_failed(&rule.to[**number].uses.lookups));
    if heard.is_empty() || reads_failed(&rule.uses.lookups) {
        return Err((*first).to_owned());
    }
    if silenced.is_empty() {
        return Ok((heard, None));
    }
    let rooms: Vec<String> =
        silenced.iter().flat_map(|number| &rule.to[*number].rooms).map(|template| template.source()).collect();
    let reasons: Vec<&str> = failed.values().copied().collect();
    Ok((heard, Some(format!("the audience {} heard nothing: {}", rooms.join(", "), reasons.join("; ")))))
}

pub(super) fn holds(condition: Option<&Expression>, at: &Surroundings<'_>) -> Result<bool, String> {
    condition.map_or(Ok(true), |condition| condition.test(at))
}

/// Whether one of the rule's columns changed; told without any expression. `changed` are an update's
/// [`Change::changed_columns`], in their order.
pub(super) fn touches(rule: &Rule, change: &Change, changed: &[&str]) -> bool {
    let (Op::Update, Some(columns)) = (change.op, &rule.changed) else { return true };
    if change.old.is_none() || change.new.is_none() {
        return true;
    }
    columns.iter().any(|column| changed.binary_search(&&**column).is_ok())
}

/// The lookup keys of a rule that matches; `None` if it doesn't.
pub(super) fn keys(rule: &Rule, live: &Live, at: &Surroundings<'_>) -> Result<Option<BTreeMap<usize, String>>, String> {
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
