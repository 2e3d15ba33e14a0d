//! Every event of the catalog: the statement that causes it, who hears it, who doesn't, and what it says.
//!
//! One table, a file for each of the catalog's. Before every row the sample marketplace is put back; then the row's
//! statement is run, and a light is lit that the whole cast sees. Each socket gets its events in order, so whoever sees
//! the light without having heard the event will not hear it later.
//!
//! A row speaks of some modules, and of each event of these: who is not named doesn't hear it. An order, say, is told
//! of in `orders`; that it is revenue too, and a notification, is told in the rows of these.

mod analytics;
mod cart_holders;
mod carts;
mod cast;
mod compare;
mod dashboards;
mod deadlines;
mod figures;
mod grace;
mod inboxes;
mod light;
mod notifications;
mod orders;
mod presence;
mod products;
mod quotations;
mod restock;
mod revenue;
mod row;
pub mod stage;
mod stock;
mod views;
mod wholesale;

use std::collections::{BTreeMap, BTreeSet};

use rowcast::catalog::{Catalog, Settings};

use self::{
    cast::{CAST, PUBLIC},
    row::Row,
    stage::Stage,
};

/// The 44 kinds of happening, `order:updated` and `cart:updated` once for each of their actions, and three that came
/// with the gateway.
const EVENTS: [&str; 44 + 3] = [
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
    "analytics:sale_completed",
    "analytics:revenue_updated",
    "analytics:inventory_alert",
    "analytics:product_viewed",
    "analytics:metrics_updated",
    "notification:order",
    "notification:payment",
    "notification:shipping",
    "notification:wholesale",
    "notification:quotation",
    "notification:system",
    "notification:read",
    "notification:deleted",
    "order:updated created",
    "order:updated fulfillment",
    "order:updated refund",
    "cart:updated added",
    "cart:updated updated",
    "cart:updated removed",
    "cart:updated cleared",
    "presence:changed",
    "presence:viewers",
    "chat:typing",
];

/// Keys that nobody in a public room may ever see.
const PRIVATE_KEYS: [&str; 7] =
    ["sku", "cost", "depositAmount", "requiresDeposit", "buyerEmail", "customerEmail", "lowStockThreshold"];

fn table() -> Vec<Row> {
    [
        products::rows(),
        stock::rows(),
        wholesale::rows(),
        quotations::rows(),
        orders::rows(),
        carts::rows(),
        analytics::rows(),
        notifications::rows(),
        dashboards::rows(),
        presence::rows(),
    ]
    .concat()
}

#[test]
fn the_list_of_events_is_that_of_the_catalog_and_typing() {
    let catalog = Catalog::built_in(&Settings::default()).expect("no faults");
    let listed: BTreeSet<&str> = EVENTS.iter().map(|event| event.split(' ').next().expect("a name")).collect();
    let mut made = catalog.event_kinds();
    made.insert("chat:typing");
    assert_eq!(listed, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_heard_by_those_it_is_for_and_by_nobody_else_and_says_what_it_should() {
    let rows = table();
    let mut stage = Stage::open().await;
    let mut failures = Vec::new();
    let mut heard_by: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut heard_at_all = BTreeSet::new();
    let mut known_ids = BTreeSet::new();

    for row in &rows {
        let played = stage.play(row).await;
        let mut faults = compare::faults(row, &played);
        for (member, event) in played.heard.iter().flat_map(|(member, events)| events.iter().map(move |e| (*member, e)))
        {
            heard_by.entry(member).or_default().insert(compare::title(event));
            heard_at_all.insert(compare::title(event));
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
            failures.push(format!("{}\n  {}\n    {}", row.name, row.story(), faults.join("\n    ")));
        }
    }

    // A silence counts for something only if those who are silent do hear what is theirs.
    for member in &CAST {
        if !heard_by.contains_key(member.name) {
            failures.push(format!("{}: heard nothing in the whole table, so its silence proves nothing", member.name));
        }
    }
    for event in EVENTS {
        if !heard_at_all.remove(event) {
            failures.push(format!("{event}: nobody heard it in the whole table"));
        }
    }
    failures.extend(heard_at_all.iter().map(|event| format!("{event}: was heard, and is not in the list of events")));
    failures.extend(stage.dead_letters().await);
    stage.close().await;
    assert!(failures.is_empty(), "{} of {} rows:\n\n{}\n", failures.len(), rows.len(), failures.join("\n\n"));
}
