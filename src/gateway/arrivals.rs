//! Which users came to a room or left it, for the waiting lists of the catalog.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::Instant,
};

use super::{Gateway, Shared, session::Session};
use crate::room::Room;

/// Beyond so many that nobody has fetched, newcomers are not noted: the database is away, and memory is bounded.
const MOST: usize = 100_000;

/// A signed-in user was in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The kind of room, and its parameter.
    pub kind: String,
    pub id: String,
    pub user_id: String,
    /// When.
    pub at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// The kinds of rooms that somebody may wait in.
    kinds: HashSet<String>,
    noted: Mutex<HashMap<(Room, String), Instant>>,
}

impl Arrivals {
    pub fn new(kinds: impl IntoIterator<Item = String>) -> Self {
        Self { kinds: kinds.into_iter().collect(), noted: Mutex::default() }
    }

    fn note(&self, rooms: &[Room], user_id: &str) {
        for room in rooms {
            let waits = room.as_str().split_once(':').is_some_and(|(kind, _)| self.kinds.contains(kind));
            let mut noted = self.noted.lock().expect("no panic under the lock");
            if waits && noted.len() < MOST {
                noted.entry((room.clone(), user_id.to_owned())).or_insert_with(Instant::now);
            }
        }
    }
}

impl Gateway {
    /// Who came or left since the last time. Those that can't be put to use now may be given back.
    pub fn take_arrivals(&self) -> Vec<Arrival> {
        let noted = std::mem::take(&mut *self.shared.arrivals.noted.lock().expect("no panic under the lock"));
        let arrivals = noted.into_iter().filter_map(|((room, user_id), at)| {
            let (kind, id) = room.as_str().split_once(':')?;
            Some(Arrival { kind: kind.to_owned(), id: id.to_owned(), user_id, at })
        });
        arrivals.collect()
    }

    /// For the next time.
    pub fn give_back_arrivals(&self, arrivals: Vec<Arrival>) {
        let mut noted = self.shared.arrivals.noted.lock().expect("no panic under the lock");
        for Arrival { kind, id, user_id, at } in arrivals {
            if let (Some(room), true) = (Room::new(&format!("{kind}:{id}")), noted.len() < MOST) {
                noted.insert((room, user_id), at);
            }
        }
    }
}

impl Shared {
    /// Both who comes and who goes was there; of who stays, the room itself tells.
    pub(super) fn note_arrivals(&self, session: &Session, rooms: &[Room]) {
        if let Some(user_id) = &session.user_id {
            self.arrivals.note(rooms, user_id);
        }
    }
}
