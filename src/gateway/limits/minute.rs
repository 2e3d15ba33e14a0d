//! Counting by the minute.

use std::time::{Duration, Instant};

/// What was counted in a minute, which begins with the first that is counted after the last minute was over.
///
/// A limit on it lets so many through in each such minute, hence at most twice as many in any other sixty seconds.
#[derive(Debug, Clone, Copy)]
pub struct Minute {
    began: Instant,
    count: u32,
}

impl Minute {
    pub const LENGTH: Duration = Duration::from_secs(60);

    /// One in which nothing was counted.
    pub fn new(now: Instant) -> Self {
        Self { began: now, count: 0 }
    }

    /// Counts one more, and says how many there are with it.
    pub fn count(&mut self, now: Instant) -> u32 {
        if self.is_over(now) {
            *self = Self::new(now);
        }
        self.count = self.count.saturating_add(1);
        self.count
    }

    /// How many there are now.
    pub fn counted(&self, now: Instant) -> u32 {
        if self.is_over(now) { 0 } else { self.count }
    }

    /// Nothing counts any more.
    pub fn is_over(&self, now: Instant) -> bool {
        self.count == 0 || now.saturating_duration_since(self.began) >= Self::LENGTH
    }

    /// Whole seconds until it is over, at least 1, for a sentence.
    pub fn seconds_left(&self, now: Instant) -> u64 {
        let left = Self::LENGTH.saturating_sub(now.saturating_duration_since(self.began));
        left.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_begins_with_the_first_that_is_counted_and_then_everything_begins_anew() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut minute = Minute::new(start);
        assert!(minute.is_over(start), "nothing was counted");
        assert_eq!([minute.count(after(100)), minute.count(after(101)), minute.count(after(159))], [1, 2, 3]);
        assert_eq!((minute.counted(after(159)), minute.seconds_left(after(159))), (3, 1));
        assert_eq!(minute.seconds_left(after(101)), 59);
        assert_eq!((minute.counted(after(160)), minute.count(after(160))), (0, 1));
    }
}
