//! What `rowcast check` says of public rooms: what visitors can tell from an event's arrival, and JSON that is shown whole.

use std::collections::BTreeSet;

use super::{Database, Shape, check::Warning};
use crate::catalog::{
    Catalog, Revealed,
    describe::{AudienceView, RuleView, Source, TermForm},
};

pub(super) fn warnings(catalog: &Catalog, database: &Database) -> Vec<Warning> {
    revealing(catalog).chain(catalog.described().filter_map(|view| whole_json(&view, database))).collect()
}

/// Conditions whose outcome public rooms can tell from an event's mere arrival.
fn revealing(catalog: &Catalog) -> impl Iterator<Item = Warning> {
    let warning = |revealed: Revealed<'_>| {
        let rooms: Vec<&str> = revealed.rooms.iter().copied().collect();
        let hidden: Vec<&str> = revealed.columns.iter().map(String::as_str).collect();
        let (rooms, noun) = (rooms.join(" and "), if hidden.len() == 1 { "column" } else { "columns" });
        let text = match (hidden.is_empty(), revealed.any) {
            (false, _) => format!(
                "that it arrives tells visitors in {rooms} of the {noun} {}, which its conditions read and no data there \
                 show: show {them}, take {them} out of the conditions, or list {them} in `reveals`",
                hidden.join(", "),
                them = if hidden.len() == 1 { "it" } else { "them" },
            ),
            (true, _) => format!(
                "that it arrives tells visitors in {rooms} of every update, also of columns that no data there show: \
                 name columns in `changed` or `changes`, or say so with reveals = [\"*\"]"
            ),
        };
        let place = Some(format!("{}:{}", revealed.file, revealed.line));
        Warning { about: format!("rule {:?}", revealed.rule), place, text, sql: None }
    };
    catalog.revealed().into_iter().map(warning)
}

/// A JSON column whose objects public rooms see with every key, also one that somebody adds later: a wildcard.
fn whole_json(view: &RuleView<'_>, database: &Database) -> Option<Warning> {
    let known = database.table(&view.rule.table)?.columns.as_ref()?;
    let is_json = |column: &str| known.get(column).is_some_and(|shape| *shape == Shape::Unknown);
    let public = view.audiences.iter().filter(|audience| audience.public && !view.rule.inbox);
    let columns: BTreeSet<&str> = public.flat_map(shown_whole).filter(|column| is_json(column)).collect();
    let listed: Vec<&str> = columns.into_iter().collect();
    let text = format!(
        "visitors see all that is in {}, which holds JSON: list its keys, in `changes` with keys = {{ {} = [\"…\"] }}, in \
         data with field(row.{}, '…')",
        listed.join(" and "),
        listed.first()?,
        listed.first()?,
    );
    let place = Some(format!("{}:{}", view.file, view.line));
    Some(Warning { about: format!("rule {:?}", &*view.rule.name), place, text, sql: None })
}

/// The columns of the table that an audience sees as they are.
fn shown_whole<'v>(audience: &'v AudienceView<'_>) -> impl Iterator<Item = &'v str> {
    let data = audience.data.iter().filter_map(|(_, term)| match term.form {
        TermForm::Column(Source::Old | Source::New | Source::Row, column) => Some(column),
        _ => None,
    });
    let changes =
        audience.changes.iter().flat_map(|changes| changes.listed().filter(|column| changes.keys_of(column).is_none()));
    data.chain(changes)
}
