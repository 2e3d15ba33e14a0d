//! `rowcast check`: which events are live on the database at hand, what the others lack, and what would help.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    Database, audience_scope,
    database::{Prepared, TableState},
    nulls, plans, public, scope_of,
};
use crate::{
    catalog::{
        Catalog, Settings,
        describe::{QueryView, RuleView},
    },
    change::{OWN_SCHEMA, TableName},
    error::sqlstate,
};

/// What the names of notifications begin with.
const INBOX: &str = "inbox:";

/// The catalog against a database.
#[derive(Debug, Serialize)]
pub struct Report {
    /// In alphabetical order.
    pub events: Vec<EventReport>,
    /// The tables that each lookup reads; without those that can't be run.
    pub lookups: BTreeMap<String, Vec<String>>,
    /// The tables that each schedule reads, by the table that rules name.
    pub schedules: BTreeMap<String, Vec<String>>,
    pub warnings: Vec<Warning>,
}

/// An event, or a kind of notification that rules write: `inbox:order`.
#[derive(Debug, Serialize)]
pub struct EventReport {
    pub event: String,
    pub state: State,
    pub rules: Vec<RuleReport>,
}

impl EventReport {
    /// Whether it is a kind of notification that rules write.
    pub fn is_inbox(&self) -> bool {
        self.event.starts_with(INBOX)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Live,
    /// Another of its rules, or an audience, is not.
    Partly,
    Inactive,
}

#[derive(Debug, Serialize)]
pub struct RuleReport {
    pub rule: String,
    pub file: String,
    pub line: usize,
    pub state: State,
    pub table: String,
    /// The columns of the table that it can't do without.
    pub columns: Vec<String>,
    /// The lookups that it makes.
    pub lookups: Vec<String>,
    /// Why it is not live, or not for everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What would help, as SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}

/// What works, but not as somebody may expect.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Warning {
    /// `lookup "cart_holders"`, `room "sellers"`, `rule "a:b"`
    pub about: String,
    /// The file and line, where it is about a rule: `catalog/products.toml:12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}

/// How many events are in which state.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub live: usize,
    pub partly: usize,
    pub inactive: usize,
}

impl Report {
    /// Looks at everything; nothing is written into the database.
    pub async fn new(catalog: &Catalog, database: &Database) -> Self {
        let mut events: BTreeMap<String, Vec<RuleReport>> = BTreeMap::new();
        for view in catalog.described() {
            events.entry(name_of(&view)).or_default().push(rule(&view, catalog, database));
        }
        let events = events.into_iter().map(|(event, rules)| EventReport { event, state: state_of(&rules), rules });
        let mut warnings = closed_rooms(catalog);
        warnings.extend(database.unannounced.as_ref().map(|reason| Warning {
            about: "announcements".to_owned(),
            place: None,
            text: format!("`rowcast announce` reaches nobody but single users: {reason}"),
            sql: None,
        }));
        warnings.extend(public::warnings(catalog, database));
        warnings.extend(unfit_expressions(catalog, database));
        let read = Reads::new(catalog, database).await;
        warnings.extend(read.warnings);
        Self { events: events.collect(), lookups: read.lookups, schedules: read.schedules, warnings }
    }

    /// Of the events, or of the kinds of notifications.
    pub fn count(&self, inboxes: bool) -> Count {
        let mut count = Count::default();
        for event in self.events.iter().filter(|event| event.is_inbox() == inboxes) {
            match event.state {
                State::Live => count.live += 1,
                State::Partly => count.partly += 1,
                State::Inactive => count.inactive += 1,
            }
        }
        count
    }

    /// The events that match a pattern and are inactive; if `strict`, also those that are partly live.
    pub fn unmet<'r>(&'r self, patterns: &'r [String], strict: bool) -> impl Iterator<Item = &'r EventReport> {
        let wanted = |event: &str| patterns.iter().any(|pattern| matches(pattern, event));
        let lacks = move |state: State| state == State::Inactive || strict && state == State::Partly;
        self.events.iter().filter(move |event| lacks(event.state) && wanted(&event.event))
    }
}

/// The names that `--require` may mean: events, and notifications as `inbox:order`.
pub fn event_names(catalog: &Catalog) -> BTreeSet<String> {
    catalog.described().map(|view| name_of(&view)).collect()
}

/// Whether a pattern such as `product:*` means this event; `all` means each.
pub fn matches(pattern: &str, event: &str) -> bool {
    if pattern == "all" {
        return true;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = event.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// `inbox:order`, the name of the kind of notification `order`.
pub fn inbox_name(kind: &str) -> String {
    format!("{INBOX}{kind}")
}

fn name_of(view: &RuleView<'_>) -> String {
    if view.rule.inbox { inbox_name(&view.rule.event) } else { view.rule.event.to_string() }
}

fn state_of(rules: &[RuleReport]) -> State {
    if rules.iter().all(|rule| rule.state == State::Live) {
        return State::Live;
    }
    if rules.iter().all(|rule| rule.state == State::Inactive) { State::Inactive } else { State::Partly }
}

fn rule(view: &RuleView<'_>, catalog: &Catalog, database: &Database) -> RuleReport {
    let (reasons, sql) = reasons(view, database);
    let idle: Vec<_> = database.inactive.iter().filter(|idle| idle.rule == view.rule.name).collect();
    let state = match idle.iter().any(|idle| idle.audience.is_none()) {
        true => State::Inactive,
        false if idle.is_empty() => State::Live,
        false => State::Partly,
    };
    let names: Vec<&str> = catalog.described_lookups().map(|lookup| lookup.name).collect();
    let lookups: BTreeSet<&str> = view.lookups.iter().filter_map(|(_, place)| names.get(*place).copied()).collect();
    RuleReport {
        rule: view.rule.name.to_string(),
        file: view.file.to_owned(),
        line: view.line,
        state,
        table: view.rule.table.to_string(),
        columns: view.columns.iter().map(|column| (*column).to_owned()).collect(),
        lookups: lookups.into_iter().map(str::to_owned).collect(),
        reasons,
        sql,
    }
}

/// Why a rule is not live, or not for everybody, and the SQL that would help.
pub(super) fn reasons(view: &RuleView<'_>, database: &Database) -> (Vec<String>, Option<String>) {
    let idle: Vec<_> = database.inactive.iter().filter(|idle| idle.rule == view.rule.name).collect();
    if idle.is_empty() {
        return (Vec::new(), None);
    }
    if let Some((reason, sql)) = remedy(view, database) {
        return (vec![reason], sql);
    }
    (idle.iter().map(|idle| idle.reason.clone()).collect(), None)
}

/// What is wrong with the rule's table and what would help; `None` if it isn't the table.
fn remedy(view: &RuleView<'_>, database: &Database) -> Option<(String, Option<String>)> {
    let name = &view.rule.table;
    let table = database.table(name)?;
    let array = |columns: &[&str]| {
        let columns: Vec<String> = columns.iter().map(|column| literal(column)).collect();
        format!("array[{}]", columns.join(", "))
    };
    let watch = |excluded: &[&str]| {
        let columns = if excluded.is_empty() { String::new() } else { format!(", {}", array(excluded)) };
        format!("select rowcast.watch({}{columns});", literal(&sql_name(name)))
    };
    // A list of the only columns stays one, with those on it that the rules need.
    let watch_only = |listed: &[String], more: &[&str]| {
        let mut columns: Vec<&str> = listed.iter().map(String::as_str).chain(more.iter().copied()).collect();
        columns.sort_unstable();
        columns.dedup();
        format!("select rowcast.watch({}, only_columns => {});", literal(&sql_name(name)), array(&columns))
    };
    match table.state {
        TableState::Unwatchable(kind) => Some((
            format!("{name} is {kind}, and only tables can be watched: let the rule name a table that it reads"),
            None,
        )),
        TableState::Missing => Some((format!("the database has no table {name}"), None)),
        TableState::Unwatched => Some((format!("the table {name} is there, but not watched"), Some(watch(&[])))),
        TableState::Disabled => {
            let reason = format!("the triggers of {name} are missing or disabled");
            let excluded: Vec<&str> = table.excluded.iter().map(String::as_str).collect();
            let sql = table.only.as_ref().map_or_else(|| watch(&excluded), |listed| watch_only(listed, &[]));
            Some((reason, Some(sql)))
        }
        TableState::Watched | TableState::Own => {
            let known = table.columns.as_ref()?;
            let missing: Vec<&str> =
                view.columns.iter().copied().filter(|column| !known.contains_key(*column)).collect();
            let (left_out, absent): (Vec<&str>, Vec<&str>) =
                missing.into_iter().partition(|column| table.excluded.iter().any(|excluded| excluded == column));
            if !absent.is_empty() {
                return Some((format!("the table {name} has no {}", columns(&absent)), None));
            }
            if left_out.is_empty() {
                return None;
            }
            let kept: Vec<&str> =
                table.excluded.iter().map(String::as_str).filter(|column| !left_out.contains(column)).collect();
            let reason = format!("{name} leaves {} out of capture", columns(&left_out));
            let sql = table.only.as_ref().map_or_else(|| watch(&kept), |listed| watch_only(listed, &left_out));
            Some((reason, Some(sql)))
        }
    }
}

/// `column stock`, `columns price, stock`
fn columns(names: &[&str]) -> String {
    format!("column{} {}", if names.len() == 1 { "" } else { "s" }, names.join(", "))
}

fn closed_rooms(catalog: &Catalog) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for room in catalog.described_rooms().filter(|room| !room.open) {
        let senders: BTreeSet<String> = catalog
            .described()
            .filter(|view| view.audiences.iter().any(|audience| audience.rooms.contains(&room.pattern)))
            .map(|view| name_of(&view))
            .collect();
        let mut text = "nobody may join it: it has no `join`, or one that is false".to_owned();
        if room.own {
            text.push_str("; its `own` comes to nothing then");
        }
        if !senders.is_empty() {
            let senders: Vec<String> = senders.into_iter().collect();
            text = format!("{text}. Nobody hears there: {}", senders.join(", "));
        }
        warnings.push(Warning { about: format!("room {:?}", room.pattern), place: None, text, sql: None });
    }
    warnings
}

fn unfit_expressions(catalog: &Catalog, database: &Database) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for view in catalog.described() {
        let known = database.table(&view.rule.table).is_some_and(|table| table.columns.is_some());
        if !known {
            continue;
        }
        let about = format!("rule {:?}", &*view.rule.name);
        let place = Some(format!("{}:{}", view.file, view.line));
        for unfit in unfit(&view, database, catalog.settings()) {
            let text = unfit.to_string();
            warnings.push(Warning { about: about.clone(), place: place.clone(), text, sql: None });
        }
    }
    warnings
}

fn unfit(view: &RuleView<'_>, database: &Database, settings: &Settings) -> BTreeSet<nulls::Unfit> {
    let mut found = BTreeSet::new();
    let scope = scope_of(view, database, settings);
    let mut unconditional = scope.clone();
    unconditional.present.clear();
    unconditional.ops.clone_from(&view.rule.on);
    view.when.iter().for_each(|when| nulls::find_in_condition(*when, &unconditional, &mut found));
    view.others.iter().chain(&view.per).for_each(|term| nulls::find(*term, &scope, &mut found));
    for audience in &view.audiences {
        let scope = audience_scope(audience, &scope);
        audience.when.iter().for_each(|when| nulls::find_in_condition(*when, &scope, &mut found));
        let scope = scope.given(audience.when);
        let data = audience.data.iter().map(|(_, term)| term);
        data.chain(audience.names.iter().flatten()).for_each(|term| nulls::find(*term, &scope, &mut found));
    }
    found
}

/// What the catalog's SQL reads.
#[derive(Default)]
struct Reads {
    lookups: BTreeMap<String, Vec<String>>,
    schedules: BTreeMap<String, Vec<String>>,
    warnings: Vec<Warning>,
    /// What can be run only through a function, whose plan nobody sees but the owner.
    hidden: usize,
}

impl Reads {
    async fn new(catalog: &Catalog, database: &Database) -> Self {
        let mut reads = Self::default();
        for (query, prepared) in catalog.described_lookups().zip(&database.lookups) {
            if let Some(tables) = reads.read("lookup", &query, prepared, database).await {
                reads.lookups.insert(query.name.to_owned(), tables);
            }
        }
        for (query, prepared) in catalog.described_schedules().zip(&database.schedules) {
            if let Some(tables) = reads.read("schedule", &query, prepared, database).await {
                reads.schedules.insert(TableName::new(OWN_SCHEMA, query.name).to_string(), tables);
            }
        }
        reads.tell_of_hidden(database);
        reads
    }

    fn tell_of_hidden(&mut self, database: &Database) {
        if self.hidden == 0 {
            return;
        }
        let text = format!(
            "{} may not read the tables, so nothing is told of missing indexes (in {} queries); run this as the owner to hear of them",
            database.role, self.hidden
        );
        self.warnings.push(Warning { about: "plans".to_owned(), place: None, text, sql: None });
    }

    async fn read(
        &mut self,
        kind: &str,
        query: &QueryView<'_>,
        prepared: &Prepared,
        database: &Database,
    ) -> Option<Vec<String>> {
        let Prepared::Runnable { sql, .. } = prepared else { return None };
        let about = format!("{kind} {:?}", query.name);
        let warning = |text, sql| Warning { about: about.clone(), place: None, text, sql };
        match plans::reading(&database.client, sql, query.takes_keys).await {
            Ok(plans::Reading { tables, scans }) => {
                self.warnings.extend(scans.into_iter().map(|plans::Scan { table, help }| {
                let reads = format!("reads all of {table} each time");
                match help {
                    plans::Help::Index(sql) => warning(format!("{reads}: an index is missing"), Some(sql)),
                    plans::Help::Uncast { column, sql_type } => {
                        let text = format!(
                            "{reads}: it compares {column}::text, and Postgres takes no index on that, for {sql_type} reads as \
                             settings say. Compare the column itself: {column} = any ($1::text[]::{sql_type}[])"
                        );
                        warning(text, None)
                    }
                    plans::Help::None => warning(format!("{reads}, and no index on a column would spare it"), None),
                }
                }));
                Some(tables.into_iter().collect())
            }
            Err(reason) if reason.contains(sqlstate::INSUFFICIENT_PRIVILEGE) => {
                self.hidden += 1;
                None
            }
            Err(reason) => {
                self.warnings.push(warning(format!("its plan can't be told: {reason}"), None));
                None
            }
        }
    }
}

/// `public.products`, as SQL names it.
fn sql_name(table: &TableName) -> String {
    let quoted = |name: &str| {
        let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
    };
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// A string literal of SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, event, expected) in [
            ("product:*", "product:created", true),
            ("product:*", "products:created", false),
            ("*:order_*", "wholesale:order_placed", true),
            ("order:updated", "order:updated", true),
            ("order:updated", "order:updated2", false),
            ("*updated", "order:updated", true),
            ("*a*a", "banana", true),
            ("*aa", "a", false),
            ("a*a", "a", false),
            ("all", "anything", true),
        ] {
            assert_eq!(matches(pattern, event), expected, "{pattern} {event}");
        }
    }

    #[test]
    fn names_are_quoted_for_sql_where_they_must_be() {
        assert_eq!(sql_name(&TableName::new("public", "products")), "public.products");
        assert_eq!(sql_name(&TableName::new("shop", "Mixed \"Case\"")), r#"shop."Mixed ""Case""""#);
        assert_eq!(literal("it's"), "'it''s'");
    }
}
