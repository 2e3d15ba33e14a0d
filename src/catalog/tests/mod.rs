//! The catalog without a database: changes are built by hand, and what lookups find is told beforehand.

mod analytics;
mod built_in;
mod carts;
mod drafts;
mod engine;
mod faults;
mod marketplace;
mod notifications;
mod presence;
mod reveal;
mod rooms;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::value::RawValue;
use sqlx::postgres::PgPoolOptions;

use super::{query::Prepared, *};
use crate::{
    change::{Change, Column, Kind, Op, Page, Row, Table, Tables},
    event::Event,
    position::{Position, Seen},
};

pub(super) fn row(json: &str) -> Row {
    let columns: BTreeMap<Box<str>, Box<RawValue>> = serde_json::from_str(json).unwrap();
    columns.into_iter().collect()
}

/// A change of `products` or another table; `old` and `new` as JSON, "" for none.
pub(super) fn change(table: &str, old: &str, new: &str) -> Change {
    let side = |json: &str| (!json.is_empty()).then(|| row(json));
    let (old, new) = (side(old), side(new));
    let op = match (&old, &new) {
        (None, Some(_)) => Op::Insert,
        (Some(_), Some(_)) => Op::Update,
        (Some(_), None) => Op::Delete,
        (None, None) => Op::Truncate,
    };
    Change {
        id: 7,
        xid: 900,
        at: chrono::DateTime::UNIX_EPOCH,
        table: rule::parse_table(table).unwrap(),
        op,
        old,
        new,
        actor: None,
    }
}

pub(super) fn page(changes: Vec<Change>) -> Page {
    let position = Position { system: 1, database: 2, seen: Seen::below(900) };
    Page { changes, position, tables: Arc::new(Tables::default()) }
}

/// Watched tables, each with its columns.
pub(super) fn tables(tables: &[(&str, &[&str])]) -> Tables {
    let column = |name: &&str| {
        ((*name).into(), Column { kind: Kind::Plain, nullable: true, sql_type: "text".to_owned(), ..Column::default() })
    };
    tables
        .iter()
        .map(|(name, columns)| {
            let columns = columns.iter().map(column).collect();
            (rule::parse_table(name).unwrap(), Table { columns, captured: true, ..Table::default() })
        })
        .collect()
}

pub(super) fn catalog(text: &str) -> Result<Catalog, Faults> {
    catalog_with(text, &Settings::new())
}

pub(super) fn catalog_with(text: &str, settings: &Settings) -> Result<Catalog, Faults> {
    Catalog::from_sources(&[Source { name: "test.toml".into(), text: text.to_owned() }], settings, Vec::new())
}

/// An engine whose lookups the database knows how to run, though it is never asked.
pub(super) fn engine(catalog: impl Into<Arc<Catalog>>, tables: &Tables) -> Engine {
    let pool = PgPoolOptions::new().connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
    let mut engine = Engine::new(catalog.into(), pool);
    let inactive = engine.bind_prepared(tables, |_| Prepared::Unknown);
    assert_eq!(inactive, []);
    engine
}

/// The audiences of the event, each as its rooms and its data.
pub(super) fn audiences(event: &Event) -> Vec<(String, String)> {
    event
        .audiences
        .iter()
        .map(|audience| {
            let rooms: Vec<_> = audience.rooms.iter().map(|room| room.as_str()).collect();
            let data: Vec<_> = audience.data.iter().map(|(key, value)| format!("{key}={}", value.get())).collect();
            (rooms.join(" "), data.join(" "))
        })
        .collect()
}
