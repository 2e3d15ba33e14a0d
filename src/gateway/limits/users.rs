//! What a user has open, and how much it has said.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use super::minute::Minute;

/// Forgetting is not worth a look below this number of users.
const FEW: usize = 1024;

/// The connections of each user, and the messages that they share.
///
/// A user is known while connected and until its minute is over, so that coming back gives nobody another hundred messages.
/// Bounded by that: who is not known any more goes at the latest when there are twice as many as after the last look.
#[derive(Debug)]
pub struct Users {
    most: usize,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    users: HashMap<String, User>,
    look_at: usize,
}

#[derive(Debug)]
struct User {
    connections: usize,
    said: Arc<Mutex<Minute>>,
}

/// One connection of a user: counted once when it was made, and counted off once when it is dropped.
#[derive(Debug)]
pub struct Connected {
    users: Arc<Users>,
    user_id: String,
    /// What all connections of the user have said.
    pub said: Arc<Mutex<Minute>>,
}

impl Users {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, known: Mutex::new(Known { users: HashMap::new(), look_at: FEW }) })
    }

    /// One more connection of a user; `None` if it has as many as it may.
    pub fn connect(self: &Arc<Self>, user_id: &str, now: Instant) -> Option<Connected> {
        let mut known = self.known.lock().expect("no panic under the lock");
        known.forget(now);
        let user = known.users.entry(user_id.to_owned()).or_insert_with(|| User::new(now));
        if user.connections >= self.most {
            return None;
        }
        user.connections += 1;
        Some(Connected { users: self.clone(), user_id: user_id.to_owned(), said: user.said.clone() })
    }

    /// How many users are known, and how many connections they have.
    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        let known = self.known.lock().expect("no panic under the lock");
        (known.users.len(), known.users.values().map(|user| user.connections).sum())
    }
}

impl Known {
    fn forget(&mut self, now: Instant) {
        if self.users.len() < self.look_at {
            return;
        }
        self.users.retain(|_, user| !user.is_forgettable(now));
        self.look_at = (2 * self.users.len()).max(FEW);
    }
}

impl User {
    fn new(now: Instant) -> Self {
        Self { connections: 0, said: Arc::new(Mutex::new(Minute::new(now))) }
    }

    fn is_forgettable(&self, now: Instant) -> bool {
        self.connections == 0 && self.said.lock().expect("no panic under the lock").is_over(now)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut known = self.users.known.lock().expect("no panic under the lock");
        let Some(user) = known.users.get_mut(&self.user_id) else { return };
        user.connections -= 1;
        if user.is_forgettable(Instant::now()) {
            known.users.remove(&self.user_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn say(connected: &Connected, now: Instant) -> u32 {
        connected.said.lock().unwrap().count(now)
    }

    #[test]
    fn a_user_has_its_number_of_connections_and_leaving_frees_one() {
        let (users, now) = (Users::new(2), Instant::now());
        let first = users.connect("u1", now).unwrap();
        let _second = users.connect("u1", now).unwrap();
        assert!(users.connect("u1", now).is_none());
        let _other = users.connect("u2", now).unwrap();
        drop(first);
        assert!(users.connect("u1", now).is_some());
    }

    #[test]
    fn what_was_said_counts_for_all_connections_also_after_coming_back() {
        let (users, now) = (Users::new(2), Instant::now());
        let (first, second) = (users.connect("u1", now).unwrap(), users.connect("u1", now).unwrap());
        assert_eq!((say(&first, now), say(&second, now)), (1, 2));
        drop((first, second));
        assert_eq!(say(&users.connect("u1", now).unwrap(), now), 3);
    }

    #[test]
    fn who_has_said_nothing_and_left_is_forgotten_at_once_and_the_others_after_their_minute() {
        let (users, now) = (Users::new(1), Instant::now());
        drop(users.connect("silent", now));
        assert_eq!(users.size(), (0, 0));
        for number in 0..FEW {
            say(&users.connect(&number.to_string(), now).unwrap(), now);
        }
        assert_eq!(users.size(), (FEW, 0));
        let later = now + Minute::LENGTH + Duration::from_secs(1);
        let _stays = users.connect("stays", later).unwrap();
        assert_eq!(users.size(), (1, 1));
    }
}
