//! What was measured: values by metric and peer, failures, and the series of the plots.

use std::collections::BTreeMap;

use crate::{peer::Peer, plot::Chart};

/// The name of a metric, such as `fan-out-60.p99`.
pub type Metric = &'static str;

/// Everything that was measured so far.
#[derive(Debug, Clone, Default)]
pub struct Results {
    values: BTreeMap<(Metric, Peer), Vec<f64>>,
    /// What could not be measured, in words.
    pub failures: Vec<String>,
    /// How many measurements there were.
    pub measurements: u32,
    /// How many of them other programs disturbed.
    pub disturbed: u32,
    /// The plots.
    pub charts: Vec<Chart>,
}

/// The median of the runs, and the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle value, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Results {
    /// Adds the value of one run.
    pub fn add(&mut self, metric: Metric, peer: Peer, value: f64) {
        self.values.entry((metric, peer)).or_default().push(value);
    }

    /// The last value, of the present run if this peer was measured in it.
    pub fn last(&self, metric: Metric, peer: Peer) -> Option<f64> {
        self.values.get(&(metric, peer))?.last().copied()
    }

    /// All runs together.
    pub fn spread(&self, metric: Metric, peer: Peer) -> Option<Spread> {
        spread(self.values.get(&(metric, peer))?)
    }

    /// The median alone.
    pub fn median(&self, metric: Metric, peer: Peer) -> Option<f64> {
        self.spread(metric, peer).map(|spread| spread.median)
    }
}

fn spread(values: &[f64]) -> Option<Spread> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (least, greatest) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    Some(Spread { median, least, greatest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), Some(Spread { median: 2.5, least: 1.0, greatest: 4.0 }));
        assert_eq!(spread(&[3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(spread(&[]), None);
    }
}
