//! Failpoints: places around the cursor's progress where a test has the process die, or an error come up.
//!
//! `ROWCAST_FAILPOINTS="taken=abort@3,claimed=error"` aborts the process when it comes to the point `taken` for the third
//! time, and has `claimed` fail once. Only builds with debug assertions have them; a release has none.

/// A place where something may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failpoint {
    /// The cursor is this process', and nothing has been done with it.
    Claimed,
    /// Changes have been read, and the sink has not got them.
    Swept,
    /// Clients have a page's events, and its notifications are not written.
    Delivered,
    /// The sink has taken changes, and the cursor is not saved.
    Taken,
    /// The cursor is saved.
    Saved,
    /// Between two pages of a large sweep.
    Paged,
    /// Before the log is emptied of what is past the retention.
    Rotating,
    /// After that.
    Rotated,
    /// In the middle of a replay.
    Replaying,
}

impl Failpoint {
    pub const ALL: [Self; 9] = [
        Self::Claimed,
        Self::Swept,
        Self::Delivered,
        Self::Taken,
        Self::Saved,
        Self::Paged,
        Self::Rotating,
        Self::Rotated,
        Self::Replaying,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Swept => "swept",
            Self::Delivered => "delivered",
            Self::Taken => "taken",
            Self::Saved => "saved",
            Self::Paged => "paged",
            Self::Rotating => "rotating",
            Self::Rotated => "rotated",
            Self::Replaying => "replaying",
        }
    }
}

/// A failpoint was told to fail.
#[derive(Debug, thiserror::Error)]
#[error("the failpoint {} was hit", .0.as_str())]
pub struct Hit(Failpoint);

/// Does what the environment says about this point, which mostly is nothing.
#[cfg(not(debug_assertions))]
#[inline]
pub fn hit(_: Failpoint) -> Result<(), Hit> {
    Ok(())
}

/// Does what the environment says about this point, which mostly is nothing.
#[cfg(debug_assertions)]
pub fn hit(point: Failpoint) -> Result<(), Hit> {
    armed::hit(point)
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    use super::{Failpoint, Hit};

    const VARIABLE: &str = "ROWCAST_FAILPOINTS";

    /// What is to happen at a point.
    struct Charge {
        point: Failpoint,
        abort: bool,
        /// How often it is passed until then.
        left: AtomicU32,
    }

    pub fn hit(point: Failpoint) -> Result<(), Hit> {
        static CHARGES: OnceLock<Vec<Charge>> = OnceLock::new();
        let charges = CHARGES.get_or_init(|| match std::env::var(VARIABLE) {
            Ok(text) => parse(&text).unwrap_or_else(|error| panic!("{VARIABLE}: {error}")),
            Err(_) => Vec::new(),
        });
        for charge in charges.iter().filter(|charge| charge.point == point) {
            let left = charge.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if left != Ok(1) {
                continue;
            }
            tracing::warn!(point = point.as_str(), abort = charge.abort, "a failpoint is hit");
            if charge.abort {
                std::process::abort();
            }
            return Err(Hit(point));
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Vec<Charge>, String> {
        text.split(',').filter(|part| !part.is_empty()).map(charge).collect()
    }

    fn charge(text: &str) -> Result<Charge, String> {
        let expected = || format!("expected such as taken=abort@3 or claimed=error, found {text:?}");
        let (name, what) = text.split_once('=').ok_or_else(expected)?;
        let (what, count) = what.split_once('@').unwrap_or((what, "1"));
        let point = Failpoint::ALL.into_iter().find(|point| point.as_str() == name).ok_or_else(expected)?;
        let abort = match what {
            "abort" => true,
            "error" => false,
            _ => return Err(expected()),
        };
        Ok(Charge { point, abort, left: AtomicU32::new(count.parse().map_err(|_| expected())?) })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_charge_names_its_point_what_happens_there_and_when() {
            let charges = parse("taken=abort@3,claimed=error").unwrap();
            assert_eq!(charges.len(), 2);
            assert!(charges[0].point == Failpoint::Taken && charges[0].abort);
            assert_eq!(charges[0].left.load(Ordering::SeqCst), 3);
            assert!(charges[1].point == Failpoint::Claimed && !charges[1].abort);
            for wrong in ["taken", "taken=explode", "nowhere=error", "taken=abort@soon"] {
                assert!(parse(wrong).is_err(), "{wrong}");
            }
        }
    }
}
