//! The position that every event carries and that a client hands back: "I have seen everything up to here".

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, Serializer};

/// The first byte of an encoded position. Up to the last, another one means that another version of rowcast wrote it.
const VERSION: u8 = 1;
const LAST_VERSION: u8 = 15;
const LENGTH: usize = 1 + 8 + 4 + 8;

/// A point in one database's history: every transaction below `xmin` had ended and been swept.
///
/// A replay from here is every change of a transaction at or above `xmin`: a superset of what was missed, whose
/// repeats carry ids that the client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// `system_identifier` of the cluster, which a restored dump has another of, and added to it the era in
    /// `rowcast.cursor`, which begins anew when a failover or a restored backup has made the past another one.
    pub system: u64,
    /// The database's oid within the cluster.
    pub database: u32,
    pub xmin: u64,
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
        let mut bytes = [0; LENGTH];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.system.to_be_bytes());
        bytes[9..13].copy_from_slice(&self.database.to_be_bytes());
        bytes[13..].copy_from_slice(&self.xmin.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| PositionError::Malformed)?;
        match bytes.first() {
            None => return Err(PositionError::Malformed),
            Some(&VERSION) => {}
            Some(&other @ 2..=LAST_VERSION) => return Err(PositionError::Version(other)),
            Some(_) => return Err(PositionError::Malformed),
        }
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| PositionError::Malformed)?;
        let (system, database, xmin) = (&bytes[1..9], &bytes[9..13], &bytes[13..]);
        Ok(Self {
            system: u64::from_be_bytes(system.try_into().expect("8 bytes")),
            database: u32::from_be_bytes(database.try_into().expect("4 bytes")),
            xmin: u64::from_be_bytes(xmin.try_into().expect("8 bytes")),
        })
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSITION: Position = Position { system: 7_301_234_567_890_123_456, database: 16_384, xmin: 987_654_321 };

    #[test]
    fn a_position_survives_its_text() {
        assert_eq!(POSITION.to_string().parse(), Ok(POSITION));
    }

    #[test]
    fn a_position_of_another_version_is_told_from_garbage() {
        let mut bytes = URL_SAFE_NO_PAD.decode(POSITION.to_string()).unwrap();
        bytes[0] = 9;
        assert_eq!(URL_SAFE_NO_PAD.encode(&bytes).parse::<Position>(), Err(PositionError::Version(9)));
        for garbage in ["", "AQ", "nonsense", "no position", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(garbage.parse::<Position>(), Err(PositionError::Malformed), "{garbage:?}");
        }
    }
}
