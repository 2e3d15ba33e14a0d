//! What was heard against what the row says: the whole envelope, with a name in the place of what differs from run to
//! run.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rowcast::position::Position;
use serde_json::{Value, json};

use super::{
    cast::CAST,
    row::{Heard, Of, Row},
    stage::Played,
};

/// What stands for an id that the database made.
pub const GENERATED: &str = "<generated>";

/// The event's name, with its action where it has one.
pub fn title(event: &Value) -> String {
    let action = event["data"]["action"].as_str().map(|action| format!(" {action}"));
    event["type"].as_str().unwrap_or("an event without a type").to_owned() + &action.unwrap_or_default()
}

/// Whether an object in it, however deep, has this key.
pub fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(entries) => entries.iter().any(|(name, value)| name == key || has_key(value, key)),
        Value::Array(items) => items.iter().any(|item| has_key(item, key)),
        _ => false,
    }
}

/// Which event, which client, what was expected, and what was found.
pub fn faults(row: &Row, played: &Played) -> Vec<String> {
    let mut faults = Vec::new();
    for member in &CAST {
        let mut expected: Vec<Value> = row
            .heard
            .iter()
            .filter(|heard| heard.by.contains(&member.name))
            .map(|heard| envelope(row, heard, &played.txid))
            .collect();
        let mut found: Vec<Value> =
            played.heard[member.name].iter().map(|event| settled(event, &played.txid)).collect();
        expected.retain(|event| match found.iter().position(|other| other == event) {
            Some(place) => {
                found.remove(place);
                false
            }
            None => true,
        });
        let titles: BTreeSet<String> = expected.iter().chain(&found).map(title).collect();
        for which in titles {
            let listed = |events: &[Value]| {
                let events: Vec<String> =
                    events.iter().filter(|event| title(event) == which).map(Value::to_string).collect();
                if events.is_empty() { "nothing".to_owned() } else { events.join(" and ") }
            };
            faults.push(format!(
                "{which}, {}:\n      expected {}\n      found    {}",
                member.name,
                listed(&expected),
                listed(&found)
            ));
        }
    }
    faults.extend(differing_ids(played));
    faults
}

/// One event has one id and one position, whoever hears it.
fn differing_ids(played: &Played) -> Vec<String> {
    // A change of several items makes an event for each, and each inbox has its own notification.
    let one = |event: &Value| format!("{} {} {}", title(event), event["data"]["changed"], event["notificationId"]);
    let all = || played.heard.values().flatten();
    let ones: BTreeSet<String> = all().map(one).collect();
    let differs = ones.into_iter().filter(|which| {
        let marks: BTreeSet<String> = all()
            .filter(|event| one(event) == **which)
            .map(|event| format!("{} {}", event["metadata"]["id"], event["metadata"]["position"]))
            .collect();
        marks.len() > 1
    });
    differs.map(|which| format!("{which}: expected one id and position for everybody, found several")).collect()
}

/// What stands for a transaction that is not the row's own.
const ANOTHER: &str = "<another>";

fn envelope(row: &Row, heard: &Heard, txid: &str) -> Value {
    let Heard { event, data, of, .. } = heard;
    let (table, op, txid) = match of {
        Of::Statement => {
            let (table, op) = row.change();
            (table, op, txid)
        }
        Of::Consequence { table, op } => (*table, *op, ANOTHER),
    };
    let mut envelope = json!({
        "type": event,
        "data": data,
        "timestamp": "<time>",
        "metadata": { "id": "<id>", "position": "<position>", "table": table, "op": op, "txid": txid },
    });
    if let Some(subject) = subject(event) {
        envelope[subject] = data[subject].clone();
    }
    let actor = match of {
        Of::Statement => row.actor.map(Value::from),
        // Who came, or types, did it.
        Of::Consequence { .. } => data.get("userId").cloned(),
    };
    if let Some(actor) = actor {
        envelope["userId"] = actor;
    }
    envelope
}

/// The key of the data that stands at the top of the envelope too.
fn subject(event: &str) -> Option<&'static str> {
    Some(match event.split_once(':').expect("a module and a name") {
        ("product" | "stock", _) | ("analytics", "inventory_alert" | "product_viewed") | ("presence", "viewers") => {
            "productId"
        }
        ("quotation", _) => "quotationId",
        ("wholesale", name) if name.starts_with("invitation") => "invitationId",
        ("wholesale" | "order", _) | ("analytics", "sale_completed") => "orderId",
        ("analytics", _) => "sellerId",
        ("cart", _) => "cartId",
        ("notification", _) => "notificationId",
        ("presence" | "chat", _) => return None,
        _ => panic!("{event}: which key of its data stands at the top?"),
    })
}

/// With a name in the place of the time, the id and the position if they are what they should be.
fn settled(event: &Value, txid: &str) -> Value {
    let mut event = event.clone();
    if event["timestamp"].as_str().is_some_and(is_recent_utc) {
        event["timestamp"] = "<time>".into();
    }
    let metadata = &mut event["metadata"];
    if metadata["id"].as_str().is_some_and(|id| !id.is_empty()) {
        metadata["id"] = "<id>".into();
    }
    if metadata["position"].as_str().is_some_and(|position| position.parse::<Position>().is_ok()) {
        metadata["position"] = "<position>".into();
    }
    if metadata["txid"].as_str().is_some_and(|found| found != txid && found.parse::<u64>().is_ok()) {
        metadata["txid"] = ANOTHER.into();
    }
    name_generated(&mut event);
    event
}

fn is_recent_utc(text: &str) -> bool {
    let age = DateTime::parse_from_rfc3339(text).map(|at| Utc::now().signed_duration_since(at));
    text.ends_with('Z') && age.is_ok_and(|age| age.abs() < TimeDelta::minutes(1))
}

fn name_generated(value: &mut Value) {
    match value {
        Value::String(text) if is_uuid(text) => *value = GENERATED.into(),
        Value::Object(entries) => entries.values_mut().for_each(name_generated),
        Value::Array(items) => items.iter_mut().for_each(name_generated),
        _ => {}
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}
