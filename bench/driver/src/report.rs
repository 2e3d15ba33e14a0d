//! The report: the table, and docs/benchmarks.md with its plots.

mod rows;

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    disturbance::TOLERATED_CORES, machine::Machine, options::Options, peer::Peer, plot::number, results::Results,
};
use rows::ROWS;

/// Everything that the report says beside the figures is in this text.
const TEXT: &str = include_str!("../text/benchmarks.md");

/// What was measured, ready to be told.
#[derive(Debug)]
pub struct Report<'a> {
    /// The figures.
    pub results: &'a Results,
    /// Where.
    pub machine: &'a Machine,
    /// How.
    pub options: &'a Options,
    /// How long it took.
    pub seconds: f64,
}

impl Report<'_> {
    /// The figures that were measured, as a table in Markdown, then the slopes and what failed.
    pub fn table(&self) -> String {
        let mut text = String::from("| figure |");
        for peer in Peer::ALL {
            text += &format!(" {} |", peer.title());
        }
        text += " reach | reached |\n|---|---|---|---|---|---|---|---|\n";
        for row in ROWS {
            let cells = Peer::ALL.map(|peer| row.cell(self.results, peer));
            if cells.iter().any(Option::is_some) {
                text += &format!("| {} |", row.about);
                for (peer, cell) in Peer::ALL.iter().zip(cells) {
                    text += &format!(" {} |", cell.unwrap_or_else(|| row.instead(*peer).to_owned()));
                }
                text += &format!(" {} | {} |\n", row.reach, row.reached(self.results));
            }
        }
        for chart in &self.results.charts {
            let points: Vec<String> =
                chart.points.iter().map(|(x, y)| format!("{}: {}", number(*x), number(*y))).collect();
            text += &format!("\n{} ({}): {}\n    {}\n", chart.title, chart.y, chart.slope(), points.join(", "));
        }
        if self.results.disturbed > 0 {
            text += &format!("\n{}\n", self.disturbance());
        }
        for failure in &self.results.failures {
            text += &format!("\nFAILED {failure}\n");
        }
        text
    }

    /// How many measurements are not to be trusted much.
    fn disturbance(&self) -> String {
        format!(
            "Other programs used more than {TOLERATED_CORES} cores during {} of {} measurements.",
            self.results.disturbed, self.results.measurements
        )
    }

    /// Writes benchmarks.md and bench/*.svg below `docs`.
    pub fn write(&self, docs: &Path) -> Result<()> {
        let plots = docs.join("bench");
        fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
        let mut growth = String::new();
        for chart in &self.results.charts {
            chart.draw(&plots)?;
            growth += &format!("![{}](bench/{}.svg)\n\n", chart.title, chart.name);
        }
        let slopes: String = self
            .results
            .charts
            .iter()
            .map(|chart| format!("| {} | {} | {} |\n", chart.x, chart.title, chart.slope()))
            .collect();
        let machine: String =
            self.machine.facts.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
        let table: String =
            self.table().lines().take_while(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
        let failures: String =
            self.results.failures.iter().map(|failure| format!("- not measured: {failure}\n")).collect();
        let text = TEXT
            .replace("{table}", table.trim_end())
            .replace("{failures}\n\n", &if failures.is_empty() { failures } else { failures + "\n" })
            .replace("{machine}", machine.trim_end())
            .replace("{disturbance}", &self.disturbance())
            .replace("{runs}", &self.options.runs.to_string())
            .replace("{minutes}", &format!("{:.0}", (self.seconds / 60.0).ceil()))
            .replace("{slopes}", slopes.trim_end())
            .replace("{growth}", growth.trim_end());
        let file = docs.join("benchmarks.md");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}
