//! The rows of the table: which metrics each shows, and when it is reached.

use crate::{
    peer::Peer::{self, Floor, NodeApp, NodeListen, Rowcast},
    plot::number,
    results::{Metric, Results, Spread},
};

/// A row.
#[derive(Debug)]
pub struct Row {
    /// What was measured.
    pub about: &'static str,
    values: &'static [Value],
    /// What is aimed at, in words.
    pub reach: &'static str,
    /// `None` where a value is missing.
    is_reached: fn(&Results) -> Option<bool>,
}

/// A metric within a row.
#[derive(Debug)]
struct Value {
    before: &'static str,
    metric: Metric,
    unit: &'static str,
}

/// All of them, in the order of the table.
pub const ROWS: &[Row] = &[
    Row {
        about: "commit to client, 1 socket, 50 changes/s",
        values: &[
            Value { before: "p50 ", metric: "latency.p50", unit: " ms" },
            Value { before: "p99 ", metric: "latency.p99", unit: " ms" },
            Value { before: "p50 from the commit's answer ", metric: "latency.after-answer", unit: " ms" },
        ],
        reach: "p50 not above (a)",
        is_reached: |results| {
            Some(results.median("latency.p50", Rowcast)? <= results.median("latency.p50", NodeListen)?)
        },
    },
    Row {
        about: "1,000 sockets in one room, 60 changes/s",
        values: &[
            Value { before: "p50 ", metric: "fanout-60.p50", unit: " ms" },
            Value { before: "p99 ", metric: "fanout-60.p99", unit: " ms" },
        ],
        reach: "p99 at most 1.2 times (d)",
        is_reached: |results| {
            Some(results.median("fanout-60.p99", Rowcast)? <= 1.2 * results.median("fanout-60.p99", Floor)?)
        },
    },
    Row {
        about: "the same at 100 changes/s",
        values: &[
            Value { before: "p50 ", metric: "fanout-100.p50", unit: " ms" },
            Value { before: "p99 ", metric: "fanout-100.p99", unit: " ms" },
        ],
        reach: "p99 under 100 ms",
        is_reached: |results| Some(results.median("fanout-100.p99", Rowcast)? < 100.0),
    },
    Row {
        about: "the same at 200 changes/s",
        values: &[
            Value { before: "p50 ", metric: "fanout-200.p50", unit: " ms" },
            Value { before: "p99 ", metric: "fanout-200.p99", unit: " ms" },
            Value { before: "", metric: "fanout-200.deliveries", unit: " deliveries/s" },
            Value { before: "generator ", metric: "fanout-200.generator", unit: " % of its core" },
        ],
        reach: "at least 180,000 deliveries/s, all arrive",
        is_reached: |results| Some(results.median("fanout-200.deliveries", Rowcast)? >= 180_000.0),
    },
    Row {
        about: "most deliveries per second with p99 under 150 ms",
        values: &[
            Value { before: "", metric: "capacity", unit: "/s" },
            Value { before: "server ", metric: "capacity.cpu", unit: " % of its core" },
            Value { before: "generator ", metric: "capacity.generator", unit: " % of its" },
        ],
        reach: "at least 4 times (a)",
        is_reached: |results| {
            Some(results.median("capacity", Rowcast)? >= 4.0 * results.median("capacity", NodeListen)?)
        },
    },
    Row {
        about: "writers' throughput kept, 32 writers saturating, against (c)",
        values: &[
            Value { before: "", metric: "writers.kept", unit: " %" },
            Value { before: "", metric: "writers.rate", unit: " commits/s" },
            Value { before: "while nobody reads ", metric: "writers.kept-unread", unit: " %" },
        ],
        reach: "at least 70 %",
        is_reached: |results| Some(results.median("writers.kept", Rowcast)? >= 70.0),
    },
    Row {
        about: "CPU added to a single-row update inside Postgres",
        values: &[
            Value { before: "", metric: "update-cpu.added", unit: " µs" },
            Value { before: "in all ", metric: "update-cpu.all", unit: " µs" },
            Value { before: "captured by statement ", metric: "update-cpu.added-by-statement", unit: " µs" },
        ],
        reach: "at most 40 µs",
        is_reached: |results| Some(results.median("update-cpu.added", Rowcast)? <= 40.0),
    },
    Row {
        about: "100,000-row UPDATE, time against (c); rowcast captures by row",
        values: &[
            Value { before: "", metric: "bulk.times", unit: " times" },
            Value { before: "", metric: "bulk.seconds", unit: " s" },
        ],
        reach: "at most 2.2 times",
        is_reached: |results| Some(results.median("bulk.times", Rowcast)? <= 2.2),
    },
    Row {
        about: "the same, where rowcast captures by statement",
        values: &[
            Value { before: "", metric: "bulk-by-statement.times", unit: " times" },
            Value { before: "", metric: "bulk-by-statement.seconds", unit: " s" },
        ],
        reach: "at most 2.2 times",
        is_reached: |results| Some(results.median("bulk-by-statement.times", Rowcast)? <= 2.2),
    },
    Row {
        about: "memory per connection",
        values: &[
            Value { before: "idle ", metric: "memory.idle", unit: " KB" },
            Value { before: "at most under load ", metric: "memory.loaded", unit: " KB" },
        ],
        reach: "idle at most 25 KB",
        is_reached: |results| Some(results.median("memory.idle", Rowcast)? <= 25.0),
    },
    Row {
        about: "backlog after an outage, through all rules of the catalog",
        values: &[
            Value { before: "", metric: "backlog.rate", unit: " changes/s" },
            Value { before: "memory at most ", metric: "backlog.peak", unit: " MB" },
        ],
        reach: "at least 20,000/s, memory bounded",
        is_reached: |results| {
            Some(
                results.median("backlog.rate", Rowcast)? >= 20_000.0
                    && results.median("backlog.peak", Rowcast)? < 256.0,
            )
        },
    },
    Row {
        about: "the service's CPU at 100 changes/s, 1,000 sockets in 200 rooms",
        values: &[
            Value { before: "", metric: "service-cpu.share", unit: " % of a core" },
            Value { before: "p99 ", metric: "service-cpu.p99", unit: " ms" },
        ],
        reach: "under 5 %",
        is_reached: |results| Some(results.median("service-cpu.share", Rowcast)? < 5.0),
    },
];

impl Row {
    /// The medians of a peer with their spread; none where nothing was measured.
    pub fn cell(&self, results: &Results, peer: Peer) -> Option<String> {
        let shown: Vec<String> = self
            .values
            .iter()
            .filter_map(|value| {
                let spread = results.spread(value.metric, peer)?;
                Some(format!("{}{}{}", value.before, with_spread(spread), value.unit))
            })
            .collect();
        (!shown.is_empty()).then(|| shown.join(", "))
    }

    /// What stands where nothing was measured.
    pub fn instead(&self, peer: Peer) -> &'static str {
        let is_of = |figure: &str| self.values.iter().any(|value| value.metric.starts_with(figure));
        match peer {
            NodeApp if is_of("writers") || is_of("update-cpu") || is_of("bulk.") => "as (c): nothing in the database",
            NodeApp if is_of("capacity") => "as (a): the same server",
            _ => "",
        }
    }

    /// `yes`, `no`, or nothing where a value is missing.
    pub fn reached(&self, results: &Results) -> &'static str {
        match (self.is_reached)(results) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        }
    }
}

fn with_spread(spread: Spread) -> String {
    let (median, least, greatest) = (number(spread.median), number(spread.least), number(spread.greatest));
    if least == greatest { median } else { format!("{median} ({least} to {greatest})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_median_and_the_spread() {
        let mut results = Results::default();
        for value in [80.0, 72.0, 75.0] {
            results.add("writers.kept", Rowcast, value);
        }
        let row = ROWS.iter().find(|row| row.reach == "at least 70 %").unwrap();
        assert_eq!(row.cell(&results, Rowcast).unwrap(), "75 (72 to 80) %");
        assert_eq!(row.cell(&results, Peer::Nothing), None);
        assert_eq!(row.reached(&results), "yes");
    }
}
