//! Who is in which room.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::room::Room;

/// So many rooms one connection may have counted at once that nobody else came to before: names are free, and whoever
/// invents them shall neither fill the memory nor keep others' visits from being counted.
const MOST_NEW: usize = 100;

/// Rooms and their members, both ways round.
///
/// Invariants:
/// - A member is opened at most once, and never after it was closed, so a connection that ends while it is being
///   opened or while it joins leaves no trace: whichever comes second finds the member closed.
/// - A member is in `rooms[r]` exactly if `r` is in its own set; a room without members has no entry.
/// - A room is in `visited` from the first time that a member joins it by itself until it was told of as empty; not if
///   that member has brought [`MOST_NEW`] others there already.
/// - The lock is held for look-ups and bookkeeping alone, never while something is sent.
#[derive(Debug)]
pub struct Rooms<H> {
    inner: RwLock<Inner<H>>,
    last_id: AtomicU64,
    /// Visits that were not counted, since somebody last asked.
    uncounted: AtomicU64,
}

#[derive(Debug)]
struct Inner<H> {
    members: HashMap<u64, Entry<H>>,
    rooms: HashMap<Room, HashSet<u64>>,
    visited: HashMap<Room, Visits>,
}

/// How often a room was joined, and whether that or its members changed since somebody asked.
#[derive(Debug)]
struct Visits {
    count: u64,
    is_news: bool,
    /// The member who came first.
    brought_by: u64,
}

#[derive(Debug)]
struct Entry<H> {
    /// What is needed to reach the member; dropped when it closes.
    handle: H,
    rooms: HashSet<Room>,
    /// How many rooms in `visited` it was the first to come to.
    brought: usize,
}

/// One connection's place in the registry, from before it opens until it is closed.
#[derive(Debug)]
pub struct Member {
    /// Never given twice.
    id: u64,
    /// Read and written under the registry's lock only.
    life: Mutex<Life>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    New,
    Open,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("not connected yet: send messages after the connect event")]
    NotOpen,
    #[error("a connection can be in {max} rooms at most; leave some first")]
    TooMany { max: usize },
}

impl<H> Default for Rooms<H> {
    fn default() -> Self {
        Self {
            inner: RwLock::new(Inner { members: HashMap::new(), rooms: HashMap::new(), visited: HashMap::new() }),
            last_id: AtomicU64::new(0),
            uncounted: AtomicU64::new(0),
        }
    }
}

impl<H: Clone> Rooms<H> {
    /// A place that is not open yet.
    pub fn new_member(&self) -> Member {
        Member { id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1, life: Mutex::new(Life::New) }
    }

    /// Opens the member, in the rooms that are its own. False if it was opened or closed before. `first` runs before it is
    /// in any of them, unless nothing comes of it.
    pub fn open(
        &self,
        member: &Member,
        handle: H,
        own_rooms: impl IntoIterator<Item = Room>,
        first: impl FnOnce(),
    ) -> bool {
        let mut inner = self.inner.write().expect("no panic under the lock");
        if !member.advance(Life::New, Life::Open) {
            return false;
        }
        first();
        inner.members.insert(member.id, Entry { handle, rooms: HashSet::new(), brought: 0 });
        inner.enter(member.id, own_rooms);
        true
    }

    /// Takes the member out of every room, for good. Gives the rooms, if it was open.
    pub fn close(&self, member: &Member) -> Option<Vec<Room>> {
        let mut inner = self.inner.write().expect("no panic under the lock");
        *member.life.lock().expect("no panic under the lock") = Life::Closed;
        let entry = inner.members.remove(&member.id)?;
        for room in &entry.rooms {
            inner.exit(member.id, room);
        }
        Some(entry.rooms.into_iter().collect())
    }

    /// All of `rooms`, or none. Rooms that the member is in already cost nothing. `first` runs before it is in any of them,
    /// unless nothing comes of it.
    pub fn join(&self, member: &Member, rooms: &[Room], max: usize, first: impl FnOnce()) -> Result<(), JoinError> {
        let mut inner = self.inner.write().expect("no panic under the lock");
        let entry = inner.members.get(&member.id).ok_or(JoinError::NotOpen)?;
        let fresh: HashSet<&Room> = rooms.iter().filter(|room| !entry.rooms.contains(*room)).collect();
        if !fresh.is_empty() && entry.rooms.len() + fresh.len() > max {
            return Err(JoinError::TooMany { max });
        }
        let fresh: Vec<Room> = fresh.into_iter().cloned().collect();
        first();
        let uncounted = fresh.iter().filter(|room| !inner.count_visit(member.id, room)).count();
        self.uncounted.fetch_add(uncounted as u64, Ordering::Relaxed);
        inner.enter(member.id, fresh);
        Ok(())
    }

    /// Gives those that the member was in. Leaving one that it is not in is no error.
    pub fn leave(&self, member: &Member, rooms: &[Room]) -> Vec<Room> {
        let mut inner = self.inner.write().expect("no panic under the lock");
        let Some(entry) = inner.members.get_mut(&member.id) else { return Vec::new() };
        let left: Vec<Room> = rooms.iter().filter(|room| entry.rooms.remove(*room)).cloned().collect();
        left.iter().for_each(|room| inner.exit(member.id, room));
        left
    }

    /// For each group of rooms the members that hear it: each member once, in the first group that matches.
    pub fn first_matches<'a>(&self, groups: impl IntoIterator<Item = &'a [Room]>) -> Vec<Vec<H>> {
        let inner = self.inner.read().expect("no panic under the lock");
        let mut seen = HashSet::new();
        let mut hear = |rooms: &[Room]| {
            let ids = rooms.iter().filter_map(|room| inner.rooms.get(room)).flatten();
            ids.filter(|id| seen.insert(**id)).map(|id| inner.members[id].handle.clone()).collect()
        };
        groups.into_iter().map(&mut hear).collect()
    }

    /// The first of the groups of rooms that this member hears.
    pub fn first_match<'a>(&self, member: &Member, groups: impl IntoIterator<Item = &'a [Room]>) -> Option<usize> {
        let inner = self.inner.read().expect("no panic under the lock");
        let joined = &inner.members.get(&member.id)?.rooms;
        groups.into_iter().position(|rooms| rooms.iter().any(|room| joined.contains(room)))
    }

    /// The rooms that this member is in.
    pub fn of(&self, member: &Member) -> HashSet<Room> {
        let inner = self.inner.read().expect("no panic under the lock");
        inner.members.get(&member.id).map(|entry| entry.rooms.clone()).unwrap_or_default()
    }

    pub fn is_in(&self, member: &Member, room: &Room) -> bool {
        let inner = self.inner.read().expect("no panic under the lock");
        inner.members.get(&member.id).is_some_and(|entry| entry.rooms.contains(room))
    }

    /// Of the rooms with members what `part` finds in their names.
    pub fn names<T>(&self, part: impl FnMut(&Room) -> Option<T>) -> Vec<T> {
        self.inner.read().expect("no panic under the lock").rooms.keys().filter_map(part).collect()
    }

    /// The rooms that members join by themselves and that were joined or left since the last time: how often they were
    /// joined in all, and who is in them.
    pub fn take_visited(&self) -> Vec<(Room, u64, Vec<H>)> {
        let mut inner = self.inner.write().expect("no panic under the lock");
        let Inner { members, rooms, visited } = &mut *inner;
        let mut taken = Vec::new();
        visited.retain(|room, visits| {
            let ids = rooms.get(room);
            if std::mem::take(&mut visits.is_news) {
                let handles = ids.into_iter().flatten().map(|id| members[id].handle.clone()).collect();
                taken.push((room.clone(), visits.count, handles));
            }
            if ids.is_none()
                && let Some(member) = members.get_mut(&visits.brought_by)
            {
                member.brought -= 1;
            }
            ids.is_some()
        });
        taken
    }

    /// How many visits were not counted since the last time.
    pub fn take_uncounted(&self) -> u64 {
        self.uncounted.swap(0, Ordering::Relaxed)
    }

    pub fn everyone(&self) -> Vec<H> {
        let inner = self.inner.read().expect("no panic under the lock");
        inner.members.values().map(|entry| entry.handle.clone()).collect()
    }

    /// The numbers of members and of rooms with members.
    pub fn size(&self) -> (usize, usize) {
        let inner = self.inner.read().expect("no panic under the lock");
        (inner.members.len(), inner.rooms.len())
    }
}

impl<H> Inner<H> {
    /// False if it is left out.
    fn count_visit(&mut self, id: u64, room: &Room) -> bool {
        if let Some(visits) = self.visited.get_mut(room) {
            visits.count += 1;
            visits.is_news = true;
            return true;
        }
        let entry = self.members.get_mut(&id).expect("only open members enter rooms");
        if entry.brought >= MOST_NEW {
            return false;
        }
        entry.brought += 1;
        self.visited.insert(room.clone(), Visits { count: 1, is_news: true, brought_by: id });
        true
    }

    fn enter(&mut self, id: u64, rooms: impl IntoIterator<Item = Room>) {
        let entry = self.members.get_mut(&id).expect("only open members enter rooms");
        for room in rooms {
            self.rooms.entry(room.clone()).or_default().insert(id);
            entry.rooms.insert(room);
        }
    }

    fn exit(&mut self, id: u64, room: &Room) {
        let Some(ids) = self.rooms.get_mut(room) else { return };
        ids.remove(&id);
        if ids.is_empty() {
            self.rooms.remove(room);
        }
        if let Some(visits) = self.visited.get_mut(room) {
            visits.is_news = true;
        }
    }
}

impl Member {
    /// Never given twice.
    pub fn id(&self) -> u64 {
        self.id
    }

    fn advance(&self, from: Life, to: Life) -> bool {
        let mut life = self.life.lock().expect("no panic under the lock");
        let may = *life == from;
        if may {
            *life = to;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use super::*;

    fn room(name: &str) -> Room {
        Room::new(name).expect("a valid name")
    }

    fn open(rooms: &Rooms<&'static str>, name: &'static str, own: &[&str]) -> Member {
        let member = rooms.new_member();
        assert!(rooms.open(&member, name, own.iter().map(|own| room(own)), || ()));
        member
    }

    #[test]
    fn a_member_of_several_audiences_is_in_the_first_alone() {
        let rooms = Rooms::default();
        open(&rooms, "seller", &["seller:1", "user:1", "product:1"]);
        open(&rooms, "visitor", &["product:1"]);
        let (private, public) = ([room("seller:1"), room("user:1")], [room("product:1"), room("storefront:1")]);
        assert_eq!(rooms.first_matches([&private[..], &public[..]]), [vec!["seller"], vec!["visitor"]]);
    }

    #[test]
    fn a_member_that_closed_before_it_opened_stays_out() {
        let rooms = Rooms::default();
        let member = rooms.new_member();
        assert_eq!(rooms.close(&member), None);
        assert!(!rooms.open(&member, "late", [room("buyers")], || ()));
        assert_eq!(rooms.join(&member, &[room("product:1")], 10, || ()), Err(JoinError::NotOpen));
        assert_eq!(rooms.size(), (0, 0));
    }

    #[test]
    fn joins_and_leaves_that_race_with_the_end_of_the_connection_leave_no_trace() {
        let rooms = Rooms::default();
        for _ in 0..500 {
            let (member, barrier) = (rooms.new_member(), Barrier::new(3));
            thread::scope(|scope| {
                scope.spawn(|| {
                    barrier.wait();
                    rooms.open(&member, "racer", [room("buyers")], || ());
                });
                scope.spawn(|| {
                    barrier.wait();
                    for id in 0..5 {
                        rooms.join(&member, &[room(&format!("product:{id}"))], 10, || ()).ok();
                        rooms.leave(&member, &[room("buyers")]);
                    }
                });
                scope.spawn(|| {
                    barrier.wait();
                    rooms.close(&member);
                });
            });
            assert_eq!(rooms.size(), (0, 0));
        }
    }

    #[test]
    fn a_join_above_the_limit_joins_nothing_and_a_repeated_join_costs_nothing() {
        let rooms = Rooms::default();
        let member = open(&rooms, "greedy", &["buyers"]);
        rooms.join(&member, &[room("product:1"), room("product:1")], 2, || ()).expect("two rooms of two");
        rooms.join(&member, &[room("product:1")], 2, || ()).expect("a room that it is in");
        assert_eq!(rooms.join(&member, &[room("product:2")], 2, || ()), Err(JoinError::TooMany { max: 2 }));
        assert_eq!(rooms.size(), (1, 2));
    }

    #[test]
    fn a_room_that_was_left_is_silent_and_forgotten() {
        let rooms = Rooms::default();
        let member = open(&rooms, "gone", &["buyers"]);
        rooms.leave(&member, &[room("buyers"), room("never joined")]);
        assert_eq!(rooms.first_matches([&[room("buyers")][..]]), [Vec::<&str>::new()]);
        assert_eq!(rooms.size(), (1, 0));
    }

    #[test]
    fn who_invents_rooms_keeps_nobody_elses_visits_from_being_counted() {
        let rooms = Rooms::default();
        let inventor = open(&rooms, "inventor", &[]);
        let invented: Vec<Room> = (0..MOST_NEW + 7).map(|id| room(&format!("product:x{id}"))).collect();
        rooms.join(&inventor, &invented[..MOST_NEW], 1000, || ()).expect("as many as are counted");
        rooms.join(&inventor, &invented[MOST_NEW..], 1000, || ()).expect("seven more");
        let real = open(&rooms, "visitor", &[]);
        rooms.join(&real, &[room("product:real"), invented[MOST_NEW + 6].clone()], 1000, || ()).expect("two rooms");
        let counted: HashSet<Room> = rooms.take_visited().into_iter().map(|(room, ..)| room).collect();
        assert!(counted.contains(&room("product:real")), "another's visit is counted");
        assert!(counted.contains(&invented[MOST_NEW + 6]), "also of a room where the inventor is");
        assert_eq!(counted.len(), MOST_NEW + 2);
        assert_eq!((rooms.take_uncounted(), rooms.take_uncounted()), (7, 0));

        // What it has left is told of as empty, and then others of its rooms are counted.
        rooms.leave(&inventor, &invented);
        rooms.take_visited();
        rooms.join(&inventor, &[room("product:another")], 1000, || ()).expect("one room");
        assert_eq!(rooms.take_visited().len(), 1);
        assert_eq!(rooms.take_uncounted(), 0);
    }
}
