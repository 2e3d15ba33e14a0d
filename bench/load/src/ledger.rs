//! When each change was written.
//!
//! A change is known by its number, which its row carries (see [`mark`]) and every server passes on. The moments stay in
//! this process, which both writes and listens, so there is one clock.

use std::{
    ops::Range,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use memchr::memmem::Finder;

const BEFORE: &str = "~#";
const AFTER: u8 = b'#';

/// The text that a row carries, `~#123#`: of characters that JSON does not escape.
pub fn mark(number: u32) -> String {
    format!("{BEFORE}{number}#")
}

/// Finds the number of a change in a message, without parsing it.
#[derive(Debug, Clone)]
pub struct MarkFinder(Finder<'static>);

impl Default for MarkFinder {
    fn default() -> Self {
        Self(Finder::new(BEFORE))
    }
}

impl MarkFinder {
    /// The number that the message carries, if any.
    pub fn find(&self, message: &[u8]) -> Option<u32> {
        let digits = &message[self.0.find(message)? + BEFORE.len()..];
        let mut number: u32 = 0;
        for byte in digits {
            match byte {
                b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(u32::from(byte - b'0'))?,
                &AFTER => return Some(number),
                _ => return None,
            }
        }
        None
    }
}

/// The number of the next ledger's first change. No number comes twice in this process: an update to what a row has
/// already would be no change, and a message of an earlier ledger must not be taken for one of a later.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// The moments of a run's changes, by their numbers, in microseconds since the ledger was opened.
#[derive(Debug)]
pub struct Ledger {
    opened: Instant,
    first: u32,
    entries: Vec<Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    // 0 while it has not happened.
    sent: AtomicU64,
    answered: AtomicU64,
    group: AtomicU32,
}

impl Ledger {
    /// A ledger for so many changes.
    pub fn open(changes: u32) -> Self {
        let entries = (0..changes).map(|_| Entry::default()).collect();
        Self { opened: Instant::now(), first: NEXT.fetch_add(changes, Relaxed), entries }
    }

    /// The numbers of its changes.
    pub fn numbers(&self) -> Range<u32> {
        self.first..self.first + self.entries.len() as u32
    }

    /// The place of a change among this ledger's, from 0; none if it is not of this ledger.
    pub fn place(&self, number: u32) -> Option<usize> {
        self.numbers().contains(&number).then(|| (number - self.first) as usize)
    }

    /// Microseconds since it was opened; never 0.
    pub fn now(&self) -> u64 {
        self.opened.elapsed().as_micros() as u64 + 1
    }

    /// How many changes it has room for.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has room for none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Notes that the change's statement, which commits by itself, is about to be sent. `group` says who should hear it.
    pub fn sending(&self, number: u32, group: u32) {
        let entry = self.entry(number);
        entry.group.store(group, Relaxed);
        entry.sent.store(self.now(), Relaxed);
    }

    /// Notes that its commit was answered.
    pub fn answered(&self, number: u32) {
        self.entry(number).answered.store(self.now(), Relaxed);
    }

    /// When the change was sent, if it was.
    pub fn sent_at(&self, number: u32) -> Option<u64> {
        some(self.entries[self.place(number)?].sent.load(Relaxed))
    }

    /// When its commit was answered, if it was.
    pub fn answered_at(&self, number: u32) -> Option<u64> {
        some(self.entries[self.place(number)?].answered.load(Relaxed))
    }

    /// The group of sockets that should hear it.
    pub fn group(&self, number: u32) -> u32 {
        self.entry(number).group.load(Relaxed)
    }

    /// Panics if the number is not of this ledger: the caller took it from [`Ledger::numbers`].
    fn entry(&self, number: u32) -> &Entry {
        &self.entries[(number - self.first) as usize]
    }
}

fn some(moment: u64) -> Option<u64> {
    (moment != 0).then_some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_in_a_message() {
        let finder = MarkFinder::default();
        let message = format!(r#"42["product:updated",{{"description":"Stoneware {}"}}]"#, mark(70_123));
        assert_eq!(finder.find(message.as_bytes()), Some(70_123));
    }

    #[test]
    fn a_message_without_a_whole_mark_has_no_number() {
        let finder = MarkFinder::default();
        for message in ["", "2", "42[\"a\",{}]", "~#12", "~#1x#", "~#99999999999#"] {
            assert_eq!(finder.find(message.as_bytes()), None, "{message}");
        }
    }
}
