//! What happens though no row changes: SQL that is run now and then, whose rows are told when they appear, change or go.
//! And waiting lists: who came to a room for something that wasn't there.

use std::time::Duration;

use sqlx::PgPool;

use super::{
    Settings,
    fault::{Fault, quoted},
    load::{At, Every, Place, ScheduleDeclaration, WaitingDeclaration},
    query::{Prepared, Query, Runnable},
    rooms::Rooms,
};
use crate::{
    change::{OWN_SCHEMA, TableName},
    grants::Kind,
};

/// The shortest interval: a schedule is no substitute for a watched table.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(200);

/// Names in the schema of rowcast that a schedule can't have.
const TAKEN: [&str; 11] = [
    "change",
    "cursor",
    "dead_letter",
    "migration",
    "notification",
    "notified",
    "online",
    "room",
    "told",
    "waiting",
    "watched",
];

/// SQL with an interval. Rules hear of its rows as of the rows of the table `rowcast.<name>`.
#[derive(Debug)]
pub struct Schedule {
    pub name: String,
    pub about: Option<String>,
    pub every: Duration,
    /// The kind of room (`seller` of `seller:{id}`) whose ids it is run for, as far as somebody is in them; without one
    /// it is run for everything.
    pub rooms: Option<String>,
    /// Whether each key is told once and never again: then its rows don't change or go.
    pub once: bool,
    pub(super) query: Query,
}

/// Who waits for something in a kind of room.
#[derive(Debug)]
pub struct WaitingList {
    pub name: String,
    pub about: Option<String>,
    /// The kind of room (`product` of `product:{id}`).
    pub rooms: String,
    pub(super) query: Query,
}

impl Schedule {
    pub(super) fn compile(
        declaration: ScheduleDeclaration,
        rooms: &Rooms,
        settings: &Settings,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let ScheduleDeclaration { place, name, about, every, once, rooms: pattern, sql } = declaration;
        if TAKEN.contains(&name.as_str()) || !is_name(&name) {
            let reason = format!(
                "a schedule can't be called {name:?}: expected lower-case letters, digits and _, and none of {}",
                quoted(TAKEN)
            );
            faults.push(place.fault(place.line, reason));
        }
        let line = every.line;
        let every = interval(every.value, settings).unwrap_or_else(|reason| {
            faults.push(place.fault(line, reason));
            SHORTEST_INTERVAL
        });
        let mut query = Query::compile((Kind::Schedule, &name), &place, sql, pattern.is_some(), faults);
        if once && is_name(&name) {
            query = query.without_told(&name);
        }
        let rooms = pattern.and_then(|pattern| kind_of_room(&place, pattern, rooms, faults));
        Self { name, about, every, rooms, once, query }
    }

    /// Whether a row that the SQL doesn't return has gone. Of rooms that nobody is in nothing is known, and what is told
    /// once is left out by itself.
    pub fn is_complete(&self) -> bool {
        self.rooms.is_none() && !self.once
    }

    /// The table that rules know its rows by.
    pub fn table(&self) -> TableName {
        TableName::new(OWN_SCHEMA, &self.name)
    }

    /// # Errors
    ///
    /// Why the database can't run it.
    pub async fn prepare(&self, pool: &PgPool) -> Result<Runnable, String> {
        prepare(&self.query, pool).await
    }
}

impl WaitingList {
    pub(super) fn compile(declaration: WaitingDeclaration, rooms: &Rooms, faults: &mut Vec<Fault>) -> Self {
        let WaitingDeclaration { place, name, about, room, sql } = declaration;
        let query = Query::compile((Kind::WaitingList, &name), &place, sql, true, faults);
        let rooms = kind_of_room(&place, room, rooms, faults).unwrap_or_default();
        Self { name, about, rooms, query }
    }

    /// # Errors
    ///
    /// Why the database can't run it.
    pub async fn prepare(&self, pool: &PgPool) -> Result<Runnable, String> {
        prepare(&self.query, pool).await
    }
}

async fn prepare(query: &Query, pool: &PgPool) -> Result<Runnable, String> {
    match query.prepare(pool).await {
        Prepared::Runnable(runnable) => Ok(runnable),
        Prepared::Refused(reason) => Err(reason),
        Prepared::Unknown => Err("the database did not answer".to_owned()),
    }
}

fn interval(every: Every, settings: &Settings) -> Result<Duration, String> {
    let (interval, from) = match every {
        Every::Fixed(interval) => (interval, String::new()),
        Every::Setting(name) => {
            let found = settings.get(&name).ok_or_else(|| {
                format!(
                    "`every` names the setting {name:?}, which is unknown; the settings are {}",
                    quoted(settings.keys())
                )
            })?;
            let text = found.as_str().and_then(|text| humantime::parse_duration(text).ok());
            let interval = text.ok_or_else(|| {
                format!("`every` is the setting {name:?}, which is {found}, expected a duration such as \"2s\"")
            })?;
            (interval, format!("the setting {name:?}, which is "))
        }
    };
    if interval < SHORTEST_INTERVAL {
        return Err(format!("`every` is {from}{interval:?}, expected {SHORTEST_INTERVAL:?} at least"));
    }
    Ok(interval)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `product` of `product:{id}`, which must be declared.
fn kind_of_room(place: &Place, pattern: At<String>, rooms: &Rooms, faults: &mut Vec<Fault>) -> Option<String> {
    let kind = rooms.kind(&pattern.value);
    if kind.is_none() {
        let reason = format!("{:?} is no kind of room with a parameter, such as \"product:{{id}}\"", pattern.value);
        faults.push(place.fault(pattern.line, reason));
    }
    kind.map(str::to_owned)
}
