//! A frontend as docs/frontend.md tells them to be: it hands back its last position on every connection, drops ids that it
//! knows, and is told when it has to load anew.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use serde_json::{Value, json};

use super::client::Client;

/// What a frontend makes of what comes next.
#[derive(Debug)]
pub enum Heard {
    /// An event that it has not heard before.
    Event(Value),
    /// An event whose id it knows.
    Repeat(Value),
    /// It has to load anew, for this reason.
    Resync(String),
    /// All that it missed has come.
    Resumed,
    /// The connection has ended.
    Ended,
    /// Nothing, for the time that it was given.
    Silence,
}

/// One user of one page, through as many connections as it takes.
pub struct Frontend {
    /// Who it says it is; a visitor otherwise.
    user: Option<String>,
    rooms: Vec<String>,
    client: Option<Client>,
    position: Option<String>,
    /// Rooms whose missed events are still to come: until then the position stays where it is.
    behind: HashSet<String>,
    /// The data of each event by its id.
    known: HashMap<String, Value>,
}

impl Frontend {
    pub fn new(user: Option<&str>, rooms: impl IntoIterator<Item = String>) -> Self {
        Self {
            user: user.map(str::to_owned),
            rooms: rooms.into_iter().collect(),
            client: None,
            position: None,
            behind: HashSet::new(),
            known: HashMap::new(),
        }
    }

    /// Connects and joins its rooms; an error says what kept it from being in all of them.
    pub async fn enter(&mut self, url: &str) -> Result<(), String> {
        self.leave();
        let auth = json!({ "userId": self.user, "since": self.position });
        let client = Client::connect(url, auth).await.map_err(|refused| refused.to_string())?;
        if self.position.is_some() {
            self.behind.extend(self.rooms.iter().cloned());
            self.behind.extend(self.user.iter().map(|user| format!("user:{user}")));
        }
        for room in &self.rooms {
            let join = json!({ "room": room, "since": self.position });
            let ack = client.ask("join", join).await.ok_or_else(|| format!("no answer to the join of {room}"))?;
            if ack["success"] != true {
                return Err(format!("{room}: {ack}"));
            }
            // Only the very first acknowledgement is a place to begin.
            if self.position.is_none() && self.behind.is_empty() {
                self.position = ack["position"].as_str().map(str::to_owned);
            }
        }
        self.client = Some(client);
        Ok(())
    }

    /// The connection is gone, with all that was not read.
    pub fn leave(&mut self) {
        self.client = None;
        self.behind.clear();
    }

    /// Reads nothing for a while, as a tab in the background does.
    pub async fn freeze(&self, pause: Duration) {
        let Some(client) = &self.client else { return };
        client.stop_reading();
        tokio::time::sleep(pause).await;
        client.read_again();
    }

    pub fn is_connected(&self) -> bool {
        self.client.as_ref().is_some_and(Client::is_connected)
    }

    /// Whether some of what it missed is still to come.
    pub fn is_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// Forgets the ids: whoever loads anew knows no event.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// What comes next. An error is what no frontend should ever have to cope with.
    pub async fn next(&mut self, patience: Duration) -> Result<Heard, String> {
        let Some(client) = &mut self.client else { return Ok(Heard::Ended) };
        let Some((name, payload)) = client.next_event(patience).await else {
            return Ok(if client.is_connected() { Heard::Silence } else { Heard::Ended });
        };
        let named = |payload: &Value| -> Vec<String> {
            payload["rooms"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        match name.as_str() {
            "rowcast:resumed" => {
                for room in named(&payload) {
                    self.behind.remove(&room);
                }
                return Ok(Heard::Resumed);
            }
            "rowcast:resync" => {
                match named(&payload) {
                    rooms if rooms.is_empty() => self.behind.clear(),
                    rooms => self.behind.retain(|room| !rooms.contains(room)),
                }
                return Ok(Heard::Resync(payload["reason"].as_str().unwrap_or_default().to_owned()));
            }
            _ => {}
        }
        let metadata = &payload["metadata"];
        let (Some(id), Some(position)) = (metadata["id"].as_str(), metadata["position"].as_str()) else {
            return Err(format!("an event without an id or a position: {name} {payload}"));
        };
        if self.behind.is_empty() {
            self.position = Some(position.to_owned());
        }
        if let Some(known) = self.known.get(id) {
            return match *known == payload["data"] {
                true => Ok(Heard::Repeat(payload)),
                false => Err(format!("{id} came again as something else: first {known}, then {}", payload["data"])),
            };
        }
        self.known.insert(id.to_owned(), payload["data"].clone());
        Ok(Heard::Event(payload))
    }
}
