//! Who is here: which users are online, and how many people are in a room. Seen from time to time, and handed on as
//! changes of two tables that no database has, `rowcast.online` and `rowcast.room`.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::Utc;
use serde_json::value::{RawValue, to_raw_value};

use super::{Gateway, Shared, session::Client};
use crate::{
    catalog::{ONLINE, ROOM},
    change::{OWN_SCHEMA, Op, Row, TableName},
    room::Room,
};

/// A change of one of the gateway's own tables.
#[derive(Debug)]
pub struct Moment {
    pub table: TableName,
    pub op: Op,
    pub old: Option<Row>,
    pub new: Option<Row>,
}

/// Ids for what is in no log: of a counter, and of the process in the place of a transaction.
#[derive(Debug)]
pub(super) struct MomentIds {
    /// Microseconds since 1970 at the start: no transaction's id is as large.
    process: u64,
    last: AtomicI64,
}

impl Default for MomentIds {
    fn default() -> Self {
        Self { process: Utc::now().timestamp_micros().unsigned_abs(), last: AtomicI64::new(0) }
    }
}

impl MomentIds {
    pub fn next(&self) -> (i64, u64) {
        (self.last.fetch_add(1, Ordering::Relaxed) + 1, self.process)
    }
}

/// The signed-in users with a connection, and those who had one a moment ago.
///
/// Invariant: an entry has connections, or is told of as online, or both; so it goes with the user.
#[derive(Debug, Default)]
pub(super) struct Online(Mutex<HashMap<String, User>>);

#[derive(Debug, Default)]
struct User {
    connections: usize,
    /// Somebody was told that the user is here.
    told: bool,
    /// When the last connection closed.
    left_at: Option<Instant>,
}

/// What was handed on last, kept by the task that asks.
#[derive(Debug, Default)]
pub struct Seen(HashMap<Room, Attendance>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attendance {
    people: usize,
    visits: u64,
}

impl Online {
    pub fn came(&self, user_id: &str) {
        let mut users = self.0.lock().expect("no panic under the lock");
        let user = users.entry(user_id.to_owned()).or_default();
        user.connections += 1;
        user.left_at = None;
    }

    pub fn left(&self, user_id: &str) {
        let mut users = self.0.lock().expect("no panic under the lock");
        let Some(user) = users.get_mut(user_id) else { return };
        user.connections = user.connections.saturating_sub(1);
        if user.connections > 0 {
            return;
        }
        if user.told {
            user.left_at = Some(Instant::now());
        } else {
            // Nobody knew.
            users.remove(user_id);
        }
    }

    /// Who came, and who has been gone for as long as `grace`, since the last time.
    fn moments(&self, grace: Duration) -> Vec<Moment> {
        let mut moments = Vec::new();
        let row = |id: &str| Some(row([("user_id", json(id))]));
        self.0.lock().expect("no panic under the lock").retain(|id, user| {
            if user.connections > 0 && !user.told {
                user.told = true;
                moments.push(moment(ONLINE.0, Op::Insert, None, row(id)));
            }
            let gone = user.left_at.is_some_and(|at| at.elapsed() >= grace);
            if gone {
                moments.push(moment(ONLINE.0, Op::Delete, row(id), None));
            }
            !gone
        });
        moments
    }
}

impl Gateway {
    /// A number for a moment that was handed on, and one for this process.
    pub fn next_moment_id(&self) -> (i64, u64) {
        self.shared.moment_ids.next()
    }

    /// Which users came online or went offline since the last time; the latter only after `grace`, in which a client
    /// may come back.
    pub fn online_moments(&self, grace: Duration) -> Vec<Moment> {
        self.shared.online.moments(grace)
    }

    /// How the rooms that people come to by themselves have changed since the last time.
    pub fn room_moments(&self, seen: &mut Seen) -> Vec<Moment> {
        let mut moments = Vec::new();
        self.shared.metrics.visits_uncounted.inc_by(self.shared.rooms.take_uncounted());
        for (room, visits, members) in self.shared.rooms.take_visited() {
            let Some((kind, id)) = room.as_str().split_once(':') else { continue };
            let row = |Attendance { people, visits }: Attendance| {
                let cells = [
                    ("room", json(room.as_str())),
                    ("kind", json(kind)),
                    ("id", json(id)),
                    ("people", json(&people)),
                    ("visits", json(&visits)),
                ];
                Some(row(cells))
            };
            let now = Attendance { people: people(&members), visits };
            let before = seen.0.remove(&room);
            if now.people > 0 {
                seen.0.insert(room.clone(), now);
            }
            match before {
                Some(before) if before == now => {}
                // Everybody has left, and nobody came in between.
                Some(before) if now.people == 0 && before.visits == now.visits => {
                    moments.push(moment(ROOM.0, Op::Delete, row(before), None));
                }
                Some(before) => moments.push(moment(ROOM.0, Op::Update, row(before), row(now))),
                None => moments.push(moment(ROOM.0, Op::Insert, None, row(now))),
            }
        }
        moments
    }

    /// The parameters of the rooms of this kind that somebody is in.
    pub fn ids_of_rooms(&self, kind: &str) -> Vec<String> {
        self.shared.rooms.names(|room| {
            room.as_str().split_once(':').filter(|(prefix, _)| *prefix == kind).map(|(_, id)| id.to_owned())
        })
    }
}

impl Shared {
    /// A signed-in user's connection has opened.
    pub(super) fn came_online(&self, client: &Client) {
        if let Some(id) = &client.session.user_id {
            self.online.came(id);
        }
    }
}

/// A signed-in user counts once, a visitor for each connection.
fn people(members: &[Client]) -> usize {
    let users: HashSet<&String> = members.iter().filter_map(|client| client.session.user_id.as_ref()).collect();
    users.len() + members.iter().filter(|client| client.session.user_id.is_none()).count()
}

fn moment(table: &str, op: Op, old: Option<Row>, new: Option<Row>) -> Moment {
    Moment { table: TableName::new(OWN_SCHEMA, table), op, old, new }
}

fn row<const N: usize>(cells: [(&str, Box<RawValue>); N]) -> Row {
    cells.into_iter().map(|(name, value)| (name.into(), value)).collect()
}

fn json(value: &(impl serde::Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).expect("strings and numbers encode")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(online: &Online, grace: Duration) -> Vec<(Op, String)> {
        let id = |row: &Option<Row>| row.as_ref().map(|row| row.get("user_id").unwrap().get().to_owned());
        let moments = online.moments(grace);
        moments.iter().map(|moment| (moment.op, id(&moment.new).or_else(|| id(&moment.old)).unwrap())).collect()
    }

    #[test]
    fn a_user_is_online_from_the_first_connection_to_the_last() {
        let online = Online::default();
        online.came("ada");
        online.came("ada");
        assert_eq!(told(&online, Duration::ZERO), [(Op::Insert, "\"ada\"".to_owned())]);
        online.left("ada");
        assert_eq!(told(&online, Duration::ZERO), []);
        online.left("ada");
        assert_eq!(told(&online, Duration::from_secs(60)), [], "she may come back");
        assert_eq!(told(&online, Duration::ZERO), [(Op::Delete, "\"ada\"".to_owned())]);
        assert!(online.0.lock().unwrap().is_empty());
    }

    #[test]
    fn who_comes_back_in_time_was_never_gone_and_who_leaves_at_once_was_never_here() {
        let online = Online::default();
        online.came("ada");
        told(&online, Duration::ZERO);
        online.left("ada");
        online.came("ada");
        assert_eq!(told(&online, Duration::ZERO), []);
        online.came("bob");
        online.left("bob");
        assert_eq!(told(&online, Duration::ZERO), []);
    }
}
