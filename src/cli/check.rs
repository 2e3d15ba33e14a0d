//! `rowcast check`

use std::{collections::BTreeSet, io::IsTerminal as _, sync::Arc};

use clap::Args;

use super::{names, which::Which};
use crate::{
    config::DatabaseUrl,
    contract::{
        Database, Report,
        check::{Count, EventReport, RuleReport, State, event_names},
    },
    error::Error,
};

/// Compare the catalog with the database: which events are live, and what the others lack.
///
/// For each event it lists the tables and columns that it needs and the lookups, with the tables that these read; of one that
/// is not live it says why, and with which SQL it would be. It warns of lookups that read whole tables, of values that may
/// be null where an expression fails on null, and of rooms that nobody may join. It writes nothing.
#[derive(Debug, Args)]
#[command(after_long_help = "Example, in a deployment:\n  rowcast check --require 'product:*,order:updated'")]
pub struct Check {
    #[command(flatten)]
    which: Which,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// A row for each rule, with its file and line
    #[arg(long, conflicts_with = "json")]
    long: bool,
    /// Events that must not be inactive, else the exit code is 1: names, patterns such as product:*, or all
    #[arg(long, value_name = "EVENTS", value_delimiter = ',')]
    require: Vec<String>,
    /// With --require: nor may they be live only in part
    #[arg(long, requires = "require")]
    strict: bool,
}

impl Check {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        let (config, catalog) = self.which.load()?;
        let catalog = Arc::new(catalog);
        let required: Vec<String> = self.require.iter().map(|name| name.trim().to_owned()).collect();
        let known = event_names(&catalog);
        names::expect_known("--require", &required, &known.iter().map(String::as_str).collect::<Vec<_>>())?;
        let database = Database::read(&catalog, &config, &url).await?;
        let report = Report::new(&catalog, &database).await;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&report).expect("a report encodes"));
        } else {
            let styled = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            say!("{}", Page::new(&report, styled, self.long).text());
        }
        let unmet: Vec<&EventReport> = report.unmet(&required, self.strict).collect();
        if unmet.is_empty() {
            return Ok(());
        }
        let names = |state: State, called: &str| {
            let names: Vec<&str> =
                unmet.iter().filter(|event| event.state == state).map(|event| event.event.as_str()).collect();
            (!names.is_empty()).then(|| format!("{called} on this database: {}", names.join(", ")))
        };
        let told = [names(State::Inactive, "inactive"), names(State::Partly, "live only in part")];
        let told: Vec<String> = told.into_iter().flatten().collect();
        Err(Error::Unmet(format!("required, but {}; see above for the reasons", told.join("; and "))))
    }
}

/// How wide a line may be; SQL, to be copied, may be wider.
const WIDTH: usize = 100;
const STATE: usize = 10;

/// The report for people.
struct Page<'r> {
    report: &'r Report,
    /// Whether it may hold colours.
    styled: bool,
    /// Whether it tells of each rule.
    long: bool,
    /// How wide the column of names is.
    name: usize,
}

impl<'r> Page<'r> {
    fn new(report: &'r Report, styled: bool, long: bool) -> Self {
        let name = report.events.iter().map(|event| event.event.chars().count()).max().unwrap_or_default().max(5) + 2;
        Self { report, styled, long, name }
    }

    /// A row for each event with what it needs, and why it is not live; then what would help, the warnings, the summary.
    fn text(&self) -> String {
        let mut lines = vec![self.dim(&format!("{:name$}{:STATE$}needs", "event", "state", name = self.name))];
        let mut module = None;
        for event in &self.report.events {
            let its = event.event.split(':').next();
            if module.replace(its).is_some_and(|before| before != its) {
                lines.push(String::new());
            }
            match self.long {
                true => self.rules(event, &mut lines),
                false => self.event(event, &mut lines),
            }
        }
        let helps = helps(self.report);
        if !helps.is_empty() {
            lines.extend([String::new(), self.dim("what would help")]);
        }
        for (sql, events) in helps {
            lines.push(format!("  {sql}"));
            lines.extend(wrapped(&format!("-- for {}", events.join(", ")), 2, 5).iter().map(|line| self.dim(line)));
        }
        if !self.report.warnings.is_empty() {
            lines.extend([String::new(), self.dim("warnings")]);
        }
        for warning in &self.report.warnings {
            let place = warning.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
            lines.extend(wrapped(&format!("{}{place}: {}", warning.about, warning.text), 2, 4));
            lines.extend(warning.sql.iter().map(|sql| format!("      {sql}")));
        }
        lines.extend([String::new(), summary(self.report)]);
        lines.join("\n")
    }

    fn event(&self, event: &EventReport, lines: &mut Vec<String>) {
        self.row(&event.event, event.state, &self.needs(&event.rules), lines);
        for (reason, rules) in reasons(event) {
            // Which rule it is matters only where the event has several.
            let whose =
                if rules.len() == event.rules.len() { String::new() } else { format!("{}: ", rules.join(", ")) };
            lines
                .extend(wrapped(&format!("{whose}{reason}"), 4, 6).iter().map(|line| self.coloured(event.state, line)));
        }
    }

    /// A row for each rule, with its place.
    fn rules(&self, event: &EventReport, lines: &mut Vec<String>) {
        for rule in &event.rules {
            self.row(&event.event, rule.state, &self.needs(std::slice::from_ref(rule)), lines);
            lines.push(self.dim(&format!("    {} in {}:{}", rule.rule, rule.file, rule.line)));
            for reason in &rule.reasons {
                lines.extend(wrapped(reason, 4, 6).iter().map(|line| self.coloured(rule.state, line)));
            }
        }
    }

    fn row(&self, name: &str, state: State, needs: &[String], lines: &mut Vec<String>) {
        let indent = self.name + STATE;
        let mut rows = needs.iter().flat_map(|need| wrapped(need, indent, indent + 2));
        let first = rows.next().unwrap_or_default();
        let word = match state {
            State::Live => "live",
            State::Partly => "partly",
            State::Inactive => "inactive",
        };
        let pad = " ".repeat(STATE - word.len());
        lines.push(format!(
            "{name:width$}{}{pad}{}",
            self.coloured(state, word),
            first.trim_start(),
            width = self.name
        ));
        lines.extend(rows);
    }

    /// `products (id, stock)`, a line for each table, each schedule and each lookup.
    fn needs(&self, rules: &[RuleReport]) -> Vec<String> {
        let mut tables: Vec<(&str, BTreeSet<&str>)> = Vec::new();
        for RuleReport { table, columns, .. } in rules {
            let columns = columns.iter().map(String::as_str);
            match tables.iter_mut().find(|(known, _)| known == table) {
                Some((_, known)) => known.extend(columns),
                None => tables.push((table, columns.collect())),
            }
        }
        let within = |name: &str, parts: Vec<&str>| match parts.is_empty() {
            true => name.to_owned(),
            false => format!("{name} ({})", parts.join(", ")),
        };
        let tables = tables.into_iter().map(|(table, columns)| match self.report.schedules.get(table) {
            Some(read) => {
                let name = table.split('.').next_back().unwrap_or(table);
                within(&format!("schedule {name}"), read.iter().map(String::as_str).collect())
            }
            None => within(table, columns.into_iter().collect()),
        });
        let lookups: BTreeSet<&String> = rules.iter().flat_map(|rule| &rule.lookups).collect();
        let lookups = lookups.into_iter().map(|lookup| {
            let read = self.report.lookups.get(lookup).into_iter().flatten().map(String::as_str).collect();
            within(&format!("lookup {lookup}"), read)
        });
        tables.chain(lookups).collect()
    }

    fn coloured(&self, state: State, text: &str) -> String {
        let colour = match state {
            State::Live => "32",
            State::Partly => "33",
            State::Inactive => "31",
        };
        if self.styled { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn dim(&self, text: &str) -> String {
        if self.styled { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The reasons why an event is not live, each once, with the rules that it holds for.
fn reasons(event: &EventReport) -> Vec<(&str, Vec<&str>)> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for rule in &event.rules {
        for reason in &rule.reasons {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, rules)) => rules.push(&rule.rule),
                None => reasons.push((reason, vec![&rule.rule])),
            }
        }
    }
    reasons
}

/// The SQL that would make events live, each statement once, with the events.
fn helps(report: &Report) -> Vec<(&str, Vec<&str>)> {
    let mut helps: Vec<(&str, Vec<&str>)> = Vec::new();
    for event in &report.events {
        for sql in event.rules.iter().filter_map(|rule| rule.sql.as_deref()) {
            match helps.iter_mut().find(|(known, _)| *known == sql) {
                Some((_, events)) if events.contains(&event.event.as_str()) => {}
                Some((_, events)) => events.push(&event.event),
                None => helps.push((sql, vec![&event.event])),
            }
        }
    }
    helps
}

/// `44 events: 41 live, 3 inactive`
fn summary(report: &Report) -> String {
    let mut parts = vec![counted(&report.count(false), "event")];
    let notifications = report.events.iter().any(EventReport::is_inbox);
    parts.extend(notifications.then(|| counted(&report.count(true), "notification")));
    match report.warnings.len() {
        0 => {}
        1 => parts.push("1 warning".to_owned()),
        several => parts.push(format!("{several} warnings")),
    }
    parts.join("; ")
}

fn counted(count: &Count, noun: &str) -> String {
    let Count { live, partly, inactive } = count;
    let all = live + partly + inactive;
    let plural = if all == 1 { "" } else { "s" };
    let mut parts = vec![format!("{live} live")];
    parts.extend((*partly > 0).then(|| format!("{partly} partly")));
    parts.extend((*inactive > 0).then(|| format!("{inactive} inactive")));
    format!("{all} {noun}{plural}: {}", parts.join(", "))
}

/// Text in lines of [`WIDTH`], the first indented by `first`, the others by `rest`.
fn wrapped(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = " ".repeat(first);
    let mut empty = true;
    for word in text.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(rest)));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn long_lines_are_wrapped_between_words() {
        let text = ["word"; 40].join(" ");
        let lines = wrapped(&text, 2, 4);
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= super::WIDTH));
        assert!(lines[0].starts_with("  word") && lines[1].starts_with("    word"));
        assert_eq!(lines.join(" ").split_whitespace().count(), 40);
    }
}
