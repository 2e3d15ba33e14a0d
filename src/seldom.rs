//! Lines of the log that would otherwise be as many as what they are about.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

/// Between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(60);

/// Lets a line of each kind through once in a while. The kinds are words of the code, hence few.
#[derive(Debug, Default)]
pub struct Seldom {
    kinds: Mutex<HashMap<&'static str, Kind>>,
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    last: Instant,
    since: u64,
}

impl Seldom {
    /// How many there were since the last line, this one included, if it is time for another.
    pub fn is_time(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.kinds.lock().expect("no panic under the lock");
        let Some(known) = kinds.get_mut(kind) else {
            kinds.insert(kind, Kind { last: now, since: 0 });
            return Some(1);
        };
        known.since += 1;
        if now.saturating_duration_since(known.last) < PAUSE {
            return None;
        }
        let since = known.since;
        *known = Kind { last: now, since: 0 };
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_are_counted_until_it_is_time() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(
            [seldom.is_time("a", now), seldom.is_time("a", now), seldom.is_time("b", now)],
            [Some(1), None, Some(1)]
        );
        assert_eq!(seldom.is_time("a", now + PAUSE), Some(2));
    }
}
