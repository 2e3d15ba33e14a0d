//! The position that every event carries and that a client hands back: "I have seen everything up to here".

use std::{collections::HashSet, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, Serializer};

use crate::snapshot::Snapshot;

/// The first byte of an encoded position. Up to the last, another one means that another version of rowcast wrote it.
const VERSION: u8 = 1;
const LAST_VERSION: u8 = 15;
const LENGTH: usize = 1 + 8 + 4 + 8;

/// So many transactions that were running a position names. Those that ran for long are the first.
const MOST_RUNNING: usize = 15;

/// A point in one database's history.
///
/// A replay from here is every change that was not seen: a superset of what was missed, whose repeats carry ids that the
/// client knows.
///
/// Its text is the version, the database and `xmin` in base64, and where transactions ran, behind dots and hexadecimal, how far
/// from `xmin` to `xmax`, and from each that ran to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// `system_identifier` of the cluster, which a restored dump has another of, and added to it the era in
    /// `rowcast.cursor`, which begins anew when a failover or a restored backup has made the past another one.
    pub system: u64,
    /// The database's oid within the cluster.
    pub database: u32,
    pub seen: Seen,
}

/// Which transactions had ended and been swept: all below `xmax`, but those that were running. A [`Snapshot`] that is cut to
/// what a position has room for: it never takes for seen what was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// All below had ended.
    pub xmin: u64,
    /// None at or above it has been seen.
    xmax: u64,
    /// How far above `xmin`, in rising order.
    running: [u32; MOST_RUNNING],
    count: usize,
}

impl Seen {
    /// All transactions below, and nothing else.
    pub fn below(xmin: u64) -> Self {
        Self { xmin, xmax: xmin, running: [0; MOST_RUNNING], count: 0 }
    }

    /// What a snapshot saw, or most of it.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut seen = Self { xmax: snapshot.xmax.max(snapshot.xmin), ..Self::below(snapshot.xmin) };
        let mut running: Vec<u64> = snapshot.in_progress.clone();
        running.sort_unstable();
        running.dedup();
        for xid in running.into_iter().filter(|xid| (snapshot.xmin..snapshot.xmax).contains(xid)) {
            match u32::try_from(xid - seen.xmin) {
                Ok(distance) if seen.count < MOST_RUNNING => {
                    seen.running[seen.count] = distance;
                    seen.count += 1;
                }
                _ => {
                    seen.xmax = xid;
                    break;
                }
            }
        }
        seen
    }

    /// The snapshot that saw just this.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { xmin: self.xmin, xmax: self.xmax, in_progress: self.running().collect() }
    }

    /// Of one and the same history, whether this is of an earlier time. As time goes on, `xmax` and `xmin` rise, and while
    /// they stay, transactions end.
    pub fn is_before(&self, other: &Self) -> bool {
        let stage = |seen: &Self| (seen.xmax, seen.xmin, MOST_RUNNING - seen.count);
        stage(self) < stage(other)
    }

    /// Whether all that a snapshot sees has been seen.
    pub fn has_all_of(&self, snapshot: &Snapshot) -> bool {
        let unseen_by_it: HashSet<u64> =
            snapshot.in_progress.iter().copied().filter(|xid| *xid < snapshot.xmax).collect();
        let above = unseen_by_it.iter().filter(|xid| **xid >= self.xmax).count() as u64;
        self.running().all(|xid| xid >= snapshot.xmax || unseen_by_it.contains(&xid))
            && snapshot.xmax.saturating_sub(self.xmax) <= above
    }

    /// What has been seen at both.
    pub fn both(&self, other: &Self) -> Self {
        let (xmin, xmax) = (self.xmin.min(other.xmin), self.xmax.min(other.xmax));
        Self::of(&Snapshot { xmin, xmax, in_progress: self.running().chain(other.running()).collect() })
    }

    fn running(&self) -> impl Iterator<Item = u64> {
        self.running[..self.count].iter().map(|distance| self.xmin + u64::from(*distance))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    #[error("not a position: expected the string that an event carries in metadata.position")]
    Malformed,
    #[error("the position has format {0}, this server reads format {VERSION}")]
    Version(u8),
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { system, database, seen } = self;
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&system.to_be_bytes());
        bytes[9..13].copy_from_slice(&database.to_be_bytes());
        bytes[13..].copy_from_slice(&seen.xmin.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))?;
        if seen.xmax == seen.xmin {
            return Ok(());
        }
        write!(f, ".{:x}", seen.xmax - seen.xmin)?;
        let mut last = 0;
        for distance in &seen.running[..seen.count] {
            write!(f, ".{:x}", distance - last)?;
            last = *distance;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (head, running) = text.split_once('.').map_or((text, None), |(head, running)| (head, Some(running)));
        let bytes = URL_SAFE_NO_PAD.decode(head).map_err(|_| PositionError::Malformed)?;
        match bytes.first() {
            None => return Err(PositionError::Malformed),
            Some(&VERSION) => {}
            Some(&other @ 2..=LAST_VERSION) => return Err(PositionError::Version(other)),
            Some(_) => return Err(PositionError::Malformed),
        }
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| PositionError::Malformed)?;
        let (system, database, xmin) = (&bytes[1..9], &bytes[9..13], &bytes[13..]);
        let xmin = u64::from_be_bytes(xmin.try_into().expect("8 bytes"));
        let position = Self {
            system: u64::from_be_bytes(system.try_into().expect("8 bytes")),
            database: u32::from_be_bytes(database.try_into().expect("4 bytes")),
            seen: running.map_or(Some(Seen::below(xmin)), |text| above(xmin, text)).ok_or(PositionError::Malformed)?,
        };
        // One position has one text.
        if position.to_string() == text { Ok(position) } else { Err(PositionError::Malformed) }
    }
}

/// What a position says of transactions above its `xmin`; none if that is no position's.
fn above(xmin: u64, text: &str) -> Option<Seen> {
    let mut numbers = text.splitn(MOST_RUNNING + 2, '.').map(|number| u64::from_str_radix(number, 16).ok());
    let xmax = xmin.checked_add(numbers.next()??)?;
    let mut in_progress = Vec::new();
    let mut last = xmin;
    for distance in numbers {
        last = last.checked_add(distance?)?;
        in_progress.push(last);
    }
    Some(Seen::of(&Snapshot { xmin, xmax, in_progress }))
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(snapshot: &str) -> Position {
        Position { system: 7_301_234_567_890_123_456, database: 16_384, seen: seen(snapshot) }
    }

    fn seen(snapshot: &str) -> Seen {
        Seen::of(&snapshot.parse().unwrap())
    }

    #[test]
    fn a_position_survives_its_text() {
        for snapshot in ["987654321:987654321:", "5:9:", "5:9:5", "5:90:5,6,80", "0:18446744073709551615:"] {
            let position = position(snapshot);
            assert_eq!(position.to_string().parse(), Ok(position), "{snapshot}");
            assert_eq!(position.seen.snapshot().to_string(), snapshot);
        }
    }

    #[test]
    fn a_position_has_all_of_a_snapshot_if_it_lacks_only_what_that_lacks_too() {
        let has = |position: &str, snapshot: &str| seen(position).has_all_of(&snapshot.parse().unwrap());
        // Everything, the same, more, and nothing.
        assert!(has("9:9:", "5:9:5,7") && has("5:9:5,7", "5:9:5,7") && has("5:12:5", "5:9:5,7") && has("1:1:", "1:1:"));
        // A transaction that the snapshot saw ran still, or was yet to come.
        assert!(!has("5:9:5,8", "5:9:5,7") && !has("5:8:5,7", "5:9:5,7") && !has("5:5:", "9:9:"));
        // What was yet to come, or ran, the snapshot hadn't seen either.
        assert!(has("5:8:5,7", "5:9:5,7,8") && has("5:20:5,7,12", "5:9:5,7") && has("3:3:", "3:9:3,4,5,6,7,8"));
        assert!(!has("3:3:", "3:9:3,4,5,6,7"));
    }

    #[test]
    fn what_a_position_has_no_room_for_has_not_been_seen() {
        let running: Vec<String> = (100..120).map(|xid| xid.to_string()).collect();
        let cut = seen(&format!("100:200:{}", running.join(",")));
        assert_eq!(cut.snapshot().to_string(), format!("100:115:{}", running[..15].join(",")));
        // A distance that does not fit.
        assert_eq!(seen("1:9000000000:1,2,8000000000,8000000001").snapshot().to_string(), "1:8000000000:1,2");
    }

    #[test]
    fn what_was_seen_grows_with_time() {
        let course = ["5:5:", "5:9:5,7", "5:9:5", "6:9:", "9:9:", "9:12:9,10,11", "10:12:10,11"].map(seen);
        for (index, earlier) in course.iter().enumerate() {
            assert!(course[..=index].iter().all(|other| !earlier.is_before(other)));
            assert!(course[index + 1..].iter().all(|later| earlier.is_before(later)), "{earlier:?}");
        }
    }

    #[test]
    fn what_both_have_seen_is_what_neither_missed() {
        assert_eq!(seen("5:20:5,12").both(&seen("7:15:7,12,14")), seen("5:15:5,7,12,14"));
        assert_eq!(seen("5:20:5").both(&seen("30:30:")), seen("5:20:5"));
    }

    #[test]
    fn a_position_of_another_version_is_told_from_garbage() {
        let good = position("5:90:5,80").to_string();
        let mut bytes = URL_SAFE_NO_PAD.decode(good.split_once('.').unwrap().0).unwrap();
        bytes[0] = 9;
        assert_eq!(URL_SAFE_NO_PAD.encode(&bytes).parse::<Position>(), Err(PositionError::Version(9)));
        for garbage in ["", "AQ", "nonsense", "no position", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(garbage.parse::<Position>(), Err(PositionError::Malformed), "{garbage:?}");
        }
        for tail in
            [".", ".0", ".x", ".55.55", ".-1", ".+1", ".01", ".9.1.0", ".9.ffffffffffffffff", ".ffffffffffffffff"]
        {
            let garbage = format!("{}{tail}", good.split_once('.').unwrap().0);
            assert_eq!(garbage.parse::<Position>(), Err(PositionError::Malformed), "{garbage:?}");
        }
        let many = format!("{}.99{}", good.split_once('.').unwrap().0, ".1".repeat(MOST_RUNNING + 1));
        assert_eq!(many.parse::<Position>(), Err(PositionError::Malformed));
    }
}
