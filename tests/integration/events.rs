//! Every event of the catalog: the statement that causes it, who hears it, who doesn't, and what it says.
//!
//! One table, a file for each of the catalog's. Before every row the sample marketplace is put back; then the row's
//! statement is run, and a light is lit that the whole cast sees. Each socket gets its events in order, so whoever sees
//! the light without having heard the event will not hear it later.

mod cast;
mod compare;
mod orders;
mod products;
mod quotations;
mod row;
mod stage;
mod stock;
mod wholesale;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    cast::{CAST, PUBLIC},
    row::Row,
    stage::Stage,
};

/// All events, `order:updated` once for each of its actions.
const EVENTS: [&str; 27] = [
    "product:created",
    "product:updated",
    "product:deleted",
    "product:stock_changed",
    "product:price_changed",
    "product:low_stock",
    "stock:low",
    "stock:out",
    "stock:restocked",
    "wholesale:invitation_sent",
    "wholesale:invitation_accepted",
    "wholesale:invitation_rejected",
    "wholesale:order_placed",
    "wholesale:order_updated",
    "wholesale:deposit_paid",
    "wholesale:balance_paid",
    "wholesale:order_shipped",
    "quotation:created",
    "quotation:updated",
    "quotation:sent",
    "quotation:viewed",
    "quotation:accepted",
    "quotation:rejected",
    "quotation:expired",
    "order:updated created",
    "order:updated fulfillment",
    "order:updated refund",
];

/// Keys that nobody in a public room may ever see.
const PRIVATE_KEYS: [&str; 7] =
    ["sku", "cost", "depositAmount", "requiresDeposit", "buyerEmail", "customerEmail", "lowStockThreshold"];

fn table() -> Vec<Row> {
    [products::rows(), stock::rows(), wholesale::rows(), quotations::rows(), orders::rows()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_heard_by_those_it_is_for_and_by_nobody_else_and_says_what_it_should() {
    let rows = table();
    let mut stage = Stage::open().await;
    let mut failures = Vec::new();
    let mut heard_by: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut known_ids = BTreeSet::new();

    for row in &rows {
        let played = stage.play(row).await;
        let mut faults = compare::faults(row, &played);
        for (member, event) in played.heard.iter().flat_map(|(member, events)| events.iter().map(move |e| (*member, e)))
        {
            heard_by.entry(member).or_default().insert(compare::title(event));
            let id = event["metadata"]["id"].as_str().unwrap_or_default();
            if !known_ids.insert((member, id.to_owned())) {
                faults.push(format!("{}, {member}: heard the id {id:?} twice", event["type"]));
            }
            let leaked = PRIVATE_KEYS.iter().find(|key| PUBLIC.contains(&member) && compare::has_key(event, key));
            if let Some(key) = leaked {
                faults.push(format!("{}, {member}: a public room must not see {key:?}: {event}", event["type"]));
            }
        }
        if !faults.is_empty() {
            failures.push(format!("{}\n  {}\n    {}", row.name, row.statement, faults.join("\n    ")));
        }
    }

    // A silence counts for something only if those who are silent do hear what is theirs.
    for member in CAST {
        if !heard_by.contains_key(member.name) {
            failures.push(format!("{}: heard nothing in the whole table, so its silence proves nothing", member.name));
        }
    }
    for event in EVENTS {
        if !heard_by.values().any(|events| events.contains(event)) {
            failures.push(format!("{event}: nobody heard it in the whole table"));
        }
    }
    failures.extend(stage.dead_letters().await);
    stage.close().await;
    assert!(failures.is_empty(), "{} of {} rows:\n\n{}\n", failures.len(), rows.len(), failures.join("\n\n"));
}
