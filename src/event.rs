//! The event: what the catalog makes of a change, and the envelope that a frontend receives.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, ser::SerializeMap};
use serde_json::value::RawValue;

use crate::{
    change::{Change, Op, TableName},
    position::Position,
    room::Room,
};

/// Something that happened, for one or more audiences.
#[derive(Debug, Clone)]
pub struct Event {
    /// `product:stock_changed`: the Socket.IO event name.
    pub kind: Arc<str>,
    /// Stable: the same change gives the same id after a restart.
    pub id: String,
    /// The change that it comes from, and the rule that made it.
    pub change_id: i64,
    pub rule: Arc<str>,
    pub at: DateTime<Utc>,
    /// Who did it, where that is known.
    pub actor: Option<String>,
    pub table: TableName,
    pub op: Op,
    pub xid: u64,
    pub position: Position,
    /// The keys of `data` that stand at the top level of the envelope too.
    pub subject: Arc<[String]>,
    /// Most privileged first: a socket in rooms of several gets the first that matches, once.
    pub audiences: Vec<Audience>,
}

/// Rooms, and the data that they may see.
#[derive(Debug, Clone)]
pub struct Audience {
    pub rooms: Vec<Room>,
    pub data: Data,
}

/// An event's data: camelCase keys in the rule's order, each value ready-made JSON.
pub type Data = Vec<(Arc<str>, Box<RawValue>)>;

/// The shape of what a frontend receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvelopeStyle {
    /// `data` stands under its own key, the subject's id at the top level too.
    #[default]
    Nested,
    /// `data` is spread over the top level.
    Flat,
}

impl Event {
    /// The id that `rule` gives to its event about `change`. The transaction is part of it since a restored database
    /// hands out log ids anew.
    pub fn id(change: &Change, rule: &str) -> String {
        format!("{}-{}-{rule}", change.id, change.xid)
    }

    /// The envelope for one audience, encoded once for all of its sockets.
    pub fn encode(&self, data: &Data, style: EnvelopeStyle) -> Box<RawValue> {
        let json = serde_json::to_string(&Envelope { event: self, data, style });
        RawValue::from_string(json.expect("strings and ready-made JSON encode")).expect("an encoder writes JSON")
    }
}

/// Keys that the envelope itself uses; `data` cannot replace them.
pub const RESERVED: [&str; 5] = ["type", "data", "timestamp", "userId", "metadata"];

struct Envelope<'a> {
    event: &'a Event,
    data: &'a Data,
    style: EnvelopeStyle,
}

#[derive(Serialize)]
struct Metadata<'a> {
    id: &'a str,
    position: Position,
    table: String,
    op: &'static str,
    txid: String,
}

struct DataObject<'a>(&'a Data);

impl Serialize for DataObject<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (&**key, &**value)))
    }
}

impl Serialize for Envelope<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { event, data, style } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &*event.kind)?;
        if *style == EnvelopeStyle::Nested {
            map.serialize_entry("data", &DataObject(data))?;
        }
        map.serialize_entry("timestamp", &event.at.to_rfc3339_opts(SecondsFormat::Millis, true))?;
        if let Some(actor) = &event.actor {
            map.serialize_entry("userId", actor)?;
        }
        map.serialize_entry(
            "metadata",
            &Metadata {
                id: &event.id,
                position: event.position,
                table: event.table.to_string(),
                op: event.op.as_sql(),
                txid: event.xid.to_string(),
            },
        )?;
        for (key, value) in data.iter() {
            let on_top = *style == EnvelopeStyle::Flat || event.subject.iter().any(|subject| **subject == **key);
            if on_top && !RESERVED.contains(&&**key) {
                map.serialize_entry(&**key, value)?;
            }
        }
        map.end()
    }
}
