//! What was heard against what was written.

use anyhow::{Result, bail};

use crate::{crowd::Arrival, ledger::Ledger};

/// The latencies of a run, each of every message on every socket, sorted, in milliseconds.
#[derive(Debug)]
pub struct Latencies {
    /// From the moment before the statement was sent.
    pub from_sent: Vec<f64>,
    /// From the answer to its commit; a message that overtook the answer counts as 0.
    pub from_answer: Vec<f64>,
}

/// The value that `share` (as in 0.99) of the sorted values do not exceed.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

/// Takes all latencies, and fails if one socket lacks one change of its group, heard one twice, or heard what it should
/// not. `groups[socket]` is the socket's group.
pub fn judge(ledger: &Ledger, arrivals: &[Arrival], groups: &[u32]) -> Result<Latencies> {
    let mut heard = vec![0_u64; (groups.len() * ledger.len()).div_ceil(64)];
    let (mut from_sent, mut from_answer) = (Vec::with_capacity(arrivals.len()), Vec::with_capacity(arrivals.len()));
    let (mut twice, mut strays) = (0_u64, 0_u64);
    for &Arrival { socket, number, at } in arrivals {
        let Some(sent) = ledger.sent_at(number) else {
            strays += 1;
            continue;
        };
        if ledger.group(number) != groups[socket as usize] {
            strays += 1;
            continue;
        }
        let Some(place) = ledger.place(number) else { continue };
        let bit = socket as usize * ledger.len() + place;
        if heard[bit / 64] & (1 << (bit % 64)) != 0 {
            twice += 1;
            continue;
        }
        heard[bit / 64] |= 1 << (bit % 64);
        from_sent.push(at.saturating_sub(sent) as f64 / 1e3);
        from_answer.push(at.saturating_sub(ledger.answered_at(number).unwrap_or(at)) as f64 / 1e3);
    }
    let expected = expected(ledger, groups);
    let missing = expected - from_sent.len() as u64;
    if missing + twice + strays > 0 {
        bail!(
            "expected {expected} messages once each; {missing} are missing, {twice} came twice, {strays} went astray"
        );
    }
    from_sent.sort_unstable_by(f64::total_cmp);
    from_answer.sort_unstable_by(f64::total_cmp);
    Ok(Latencies { from_sent, from_answer })
}

/// How many messages the changes that were sent should make.
pub fn expected(ledger: &Ledger, groups: &[u32]) -> u64 {
    let largest = groups.iter().max().map_or(0, |group| *group as usize + 1);
    let mut members = vec![0_u64; largest];
    for group in groups {
        members[*group as usize] += 1;
    }
    ledger
        .numbers()
        .filter(|number| ledger.sent_at(*number).is_some())
        .map(|number| members.get(ledger.group(number) as usize).copied().unwrap_or(0))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_changes() -> Ledger {
        let ledger = Ledger::open(2);
        ledger.numbers().for_each(|number| ledger.sending(number, 0));
        ledger
    }

    /// Of (socket, place of the change).
    fn arrivals<const N: usize>(ledger: &Ledger, heard: [(u32, u32); N]) -> [Arrival; N] {
        heard.map(|(socket, place)| Arrival { socket, number: ledger.numbers().start + place, at: 1_000_000 })
    }

    #[test]
    fn everything_heard_once_is_right() {
        let ledger = two_changes();
        let arrivals = arrivals(&ledger, [(0, 0), (1, 0), (1, 1), (0, 1)]);
        assert_eq!(judge(&ledger, &arrivals, &[0, 0]).unwrap().from_sent.len(), 4);
    }

    #[test]
    fn one_missing_message_fails_though_another_came_twice() {
        let ledger = two_changes();
        let arrivals = arrivals(&ledger, [(0, 0), (0, 0), (1, 1), (0, 1)]);
        let error = judge(&ledger, &arrivals, &[0, 0]).unwrap_err().to_string();
        assert!(error.contains("1 are missing, 1 came twice, 0 went astray"), "{error}");
    }

    #[test]
    fn what_another_room_should_hear_goes_astray() {
        let ledger = two_changes();
        let arrivals = arrivals(&ledger, [(0, 0), (0, 1), (1, 1)]);
        let error = judge(&ledger, &arrivals, &[0, 7]).unwrap_err().to_string();
        assert!(error.contains("0 are missing, 0 came twice, 1 went astray"), "{error}");
    }

    #[test]
    fn what_an_earlier_run_wrote_goes_astray() {
        let (earlier, ledger) = (two_changes(), two_changes());
        let mut heard = arrivals(&ledger, [(0, 0), (0, 1), (0, 1)]);
        heard[2].number = earlier.numbers().start;
        let error = judge(&ledger, &heard, &[0]).unwrap_err().to_string();
        assert!(error.contains("0 are missing, 0 came twice, 1 went astray"), "{error}");
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (percentile(&sorted, 0.5), percentile(&sorted, 0.99), percentile(&sorted, 1.0)),
            (50.0, 99.0, 100.0)
        );
        assert!(percentile(&[], 0.5).is_nan());
    }
}
