//! The table at the end.

use std::{collections::BTreeMap, time::Duration};

use crate::page::Seen;

/// What came of one kind of fault.
#[derive(Debug, Default)]
struct Line {
    times: u64,
    outage: Duration,
    events: u64,
    repeats: u64,
    lost: usize,
    out_of_order: usize,
    resyncs: u64,
}

#[derive(Debug, Default)]
pub struct Report {
    lines: BTreeMap<String, Line>,
    pub resyncs: BTreeMap<String, u64>,
    /// What must not be, with the fault after which it was seen.
    pub wrongs: Vec<String>,
}

impl Report {
    pub fn count(&mut self, fault: &str) {
        self.lines.entry(fault.to_owned()).or_default().times += 1;
    }

    pub fn add(&mut self, fault: &str, page: &str, seen: Seen) {
        let line = self.lines.entry(fault.to_owned()).or_default();
        line.outage = line.outage.max(seen.silence);
        line.events += seen.events;
        line.repeats += seen.repeats;
        line.lost += seen.lost.len();
        line.out_of_order += seen.out_of_order.len();
        for (reason, times) in seen.resyncs {
            line.resyncs += times;
            *self.resyncs.entry(reason).or_default() += times;
        }
        let wrongs = [("lost", seen.lost), ("out of order", seen.out_of_order), ("wrong", seen.wrong)];
        for (kind, all) in wrongs {
            self.wrongs.extend(all.into_iter().map(|what| format!("{kind}: after {fault}, {page}: {what}")));
        }
    }

    pub fn print(&self) {
        let columns =
            ["times", "longest outage", "events heard", "repeated", "lost", "out of order", "told to load anew"];
        println!("\n{:<34} {}", "fault", columns.map(|column| format!("{column:>14}")).join(" "));
        let mut sum = Line::default();
        for (name, line) in &self.lines {
            print_line(name, line);
            sum.times += line.times;
            sum.outage = sum.outage.max(line.outage);
            sum.events += line.events;
            sum.repeats += line.repeats;
            sum.lost += line.lost;
            sum.out_of_order += line.out_of_order;
            sum.resyncs += line.resyncs;
        }
        print_line("all", &sum);
        for (reason, times) in &self.resyncs {
            println!("  told to load anew {times} times: {reason}");
        }
    }
}

fn print_line(name: &str, line: &Line) {
    println!(
        "{name:<34} {:>14} {:>12.1} s {:>14} {:>14} {:>14} {:>14} {:>14}",
        line.times,
        line.outage.as_secs_f64(),
        line.events,
        line.repeats,
        line.lost,
        line.out_of_order,
        line.resyncs
    );
}
