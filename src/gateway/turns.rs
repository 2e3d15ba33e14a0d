//! Who is brought up to date: each person once at a time, so that nobody takes all turns.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::OwnedMutexGuard;

use super::{limits::Network, session::Session};

/// Who counts as one: a user, over all connections; of visitors, those from one address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Whom {
    User(String),
    Visitors(Network),
}

impl Whom {
    pub fn of(session: &Session) -> Self {
        match &session.user_id {
            Some(user_id) => Self::User(user_id.clone()),
            None => Self::Visitors(session.address.into()),
        }
    }
}

/// Invariant: of each person one turn is held at most; a person has an entry for as long as one of their turns is held
/// or waited for.
#[derive(Debug, Default)]
pub(super) struct Turns {
    of: Mutex<HashMap<Whom, Arc<tokio::sync::Mutex<()>>>>,
}

/// A turn that is held, or waited for, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    whom: Whom,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for those of the same person who came before.
    pub async fn take(&self, whom: Whom) -> Turn<'_> {
        let lock = Arc::clone(self.of.lock().expect("no panic under the lock").entry(whom.clone()).or_default());
        // Made before the wait, which may be given up.
        let mut turn = Turn { turns: self, whom, held: None };
        turn.held = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        let mut of = self.turns.of.lock().expect("no panic under the lock");
        // Others are made under the lock alone. Who gives up now, and is counted still, comes here after.
        if of.get(&self.whom).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            of.remove(&self.whom);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn user(name: &str) -> Whom {
        Whom::User(name.to_owned())
    }

    #[tokio::test]
    async fn each_person_has_one_turn_at_a_time_and_leaves_no_trace() {
        let turns = Turns::default();
        let first = turns.take(user("a")).await;
        let mut second = Box::pin(turns.take(user("a")));
        assert!(second.as_mut().now_or_never().is_none(), "the same person waits");
        let other = turns.take(user("b")).now_or_never().expect("another does not");
        drop(first);
        let second = tokio::time::timeout(Duration::from_secs(5), second).await.expect("its turn");
        drop((second, other));
        assert!(turns.of.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn whoever_gives_up_while_it_waits_leaves_no_trace() {
        let turns = Turns::default();
        let first = turns.take(user("a")).await;
        let mut second = Box::pin(turns.take(user("a")));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(second);
        assert!(turns.of.lock().unwrap().is_empty());
    }
}
