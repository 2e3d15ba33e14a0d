//! The snapshot of a sweep: which transactions it saw.

use std::{fmt, str::FromStr};

/// A `pg_snapshot`: transactions below `xmin` had ended, those at or above `xmax` had not begun, and of those between,
/// the ones in `in_progress` were running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub xmin: u64,
    pub xmax: u64,
    pub in_progress: Vec<u64>,
}

#[derive(Debug, thiserror::Error)]
#[error("expected a snapshot such as 10:20:11,14, found {0:?}")]
pub struct SnapshotError(String);

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, SnapshotError> {
        let parse = || {
            let mut parts = text.split(':');
            let (xmin, xmax, list) = (parts.next()?, parts.next()?, parts.next()?);
            let in_progress = list.split(',').filter(|xid| !xid.is_empty()).map(str::parse).collect::<Result<_, _>>();
            let snapshot = Self { xmin: xmin.parse().ok()?, xmax: xmax.parse().ok()?, in_progress: in_progress.ok()? };
            parts.next().is_none().then_some(snapshot)
        };
        parse().ok_or_else(|| SnapshotError(text.into()))
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (index, xid) in self.in_progress.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{xid}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_reads_what_postgres_writes() {
        let snapshot: Snapshot = "10:20:11,14".parse().unwrap();
        assert_eq!(snapshot, Snapshot { xmin: 10, xmax: 20, in_progress: vec![11, 14] });
        for text in ["10:20:11,14", "10:20:12", "10:10:"] {
            assert_eq!(text.parse::<Snapshot>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_malformed_snapshot_is_refused_with_what_was_found() {
        for text in ["", "10", "10:20", "10:20:x", "10:20:1:2", "-1:2:"] {
            assert_eq!(
                text.parse::<Snapshot>().unwrap_err().to_string(),
                format!("expected a snapshot such as 10:20:11,14, found {text:?}")
            );
        }
    }
}
