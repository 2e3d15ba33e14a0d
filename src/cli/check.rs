//! `rowcast check`

use std::{collections::BTreeMap, io::IsTerminal as _, sync::Arc};

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
/// For each event that is not live it lists the tables and columns that it needs, and says why it is not, with the SQL that
/// would make it live; --long lists them for all. It warns of lookups that read whole tables, of columns that may be null where an expression fails
/// on null, and of rooms that nobody may join. It writes nothing.
#[derive(Debug, Args)]
#[command(after_long_help = "Example, in a deployment:\n  rowcast check --require 'product:*,order:updated'")]
pub struct Check {
    #[command(flatten)]
    which: Which,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Tell of live events too what they need
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
            say!("{}", Page { styled, long: self.long }.of(&report));
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

/// How wide a line may be.
const WIDTH: usize = 110;
const STATE: usize = 10;

/// The report for people.
struct Page {
    /// Whether it may hold colours.
    styled: bool,
    /// Whether it says of live events what they need.
    long: bool,
}

impl Page {
    /// What is not live first, with what it needs; at the end the summary.
    fn of(&self, report: &Report) -> String {
        let (told, live): (Vec<&EventReport>, Vec<&EventReport>) =
            report.events.iter().partition(|event| self.long || event.state != State::Live);
        let mut lines = Vec::new();
        if !told.is_empty() {
            let name = told.iter().map(|event| event.event.chars().count()).max().unwrap_or_default().max(5) + 2;
            lines.push(self.dim(&format!("{:name$}{:STATE$}needs", "event", "state")));
            told.iter().for_each(|event| self.event(event, name, &mut lines));
        }
        if !live.is_empty() {
            lines.extend((!lines.is_empty()).then(String::new));
            lines.push(self.dim("live"));
            lines.extend(by_module(&live));
        }
        if !report.warnings.is_empty() {
            lines.extend([String::new(), self.dim("warnings")]);
        }
        for warning in &report.warnings {
            let place = warning.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
            lines.extend(wrapped(&format!("{}{place}: {}", warning.about, warning.text), 2, 4));
            lines.extend(warning.sql.iter().map(|sql| format!("        {sql}")));
        }
        lines.extend([String::new(), summary(report)]);
        lines.join("\n")
    }

    fn event(&self, event: &EventReport, name: usize, lines: &mut Vec<String>) {
        let state = match event.state {
            State::Live => self.coloured("32", "live"),
            State::Partly => self.coloured("33", "partly"),
            State::Inactive => self.coloured("31", "inactive"),
        };
        let needs = needs(event);
        let indent = name + STATE;
        for (number, need) in needs.iter().enumerate() {
            let mut rows = wrapped(need, indent, indent + 2).into_iter();
            let first = rows.next().unwrap_or_default();
            match number {
                0 => lines.push(format!("{:name$}{state}{}", event.event, first.trim_start())),
                _ => lines.push(first),
            }
            lines.extend(rows);
        }
        for (reason, sql, rules) in told(event) {
            // Which rule it is matters only where the event has several.
            let whose =
                if rules.len() == event.rules.len() { String::new() } else { format!("{}: ", rules.join(", ")) };
            lines.extend(wrapped(&format!("{whose}{reason}"), 4, 6));
            lines.extend(sql.map(|sql| format!("        {sql}")));
        }
    }

    /// Padded to the width of its column, with the escapes outside of the count.
    fn coloured(&self, colour: &str, text: &str) -> String {
        let pad = " ".repeat(STATE.saturating_sub(text.len()));
        if self.styled { format!("\x1b[{colour}m{text}\x1b[0m{pad}") } else { format!("{text}{pad}") }
    }

    fn dim(&self, text: &str) -> String {
        if self.styled { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `  product  created, deleted`, a module a line, or several where it has many events.
fn by_module(events: &[&EventReport]) -> Vec<String> {
    let mut modules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in events {
        let (module, rest) = event.event.split_once(':').unwrap_or((&event.event, ""));
        modules.entry(module).or_default().push(rest);
    }
    let width = modules.keys().map(|module| module.chars().count()).max().unwrap_or_default();
    let lines = modules.iter().flat_map(|(module, names)| {
        let mut lines = wrapped(&names.join(", "), width + 4, width + 4);
        let names = lines[0].trim_start().to_owned();
        lines[0] = format!("  {module:width$}  {names}");
        lines
    });
    lines.collect()
}

/// The reasons why an event is not live, each once: with the SQL that would help, and the rules that it holds for.
fn told(event: &EventReport) -> Vec<(&str, Option<&str>, Vec<&str>)> {
    let mut told: Vec<(&str, Option<&str>, Vec<&str>)> = Vec::new();
    for rule in &event.rules {
        for reason in &rule.reasons {
            match told.iter_mut().find(|(known, ..)| known == reason) {
                Some((.., rules)) => rules.push(&rule.rule),
                None => told.push((reason, rule.sql.as_deref(), vec![&rule.rule])),
            }
        }
    }
    told
}

/// `products: id, stock`, a line for each table, and one for the lookups.
fn needs(event: &EventReport) -> Vec<String> {
    let mut tables: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut lookups: Vec<&str> = Vec::new();
    for RuleReport { table, columns, lookups: called, .. } in &event.rules {
        let columns = columns.iter().map(String::as_str);
        match tables.iter_mut().find(|(known, _)| known == table) {
            Some((_, known)) => known.extend(columns),
            None => tables.push((table, columns.collect())),
        }
        lookups.extend(called.iter().map(String::as_str));
    }
    let listed = |mut names: Vec<&str>| {
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    };
    let mut needs: Vec<String> = tables
        .into_iter()
        .map(|(table, columns)| match columns.is_empty() {
            true => table.to_owned(),
            false => format!("{table}: {}", listed(columns)),
        })
        .collect();
    if !lookups.is_empty() {
        let lookups = listed(lookups);
        let noun = if lookups.contains(',') { "lookups" } else { "lookup" };
        needs.push(format!("{noun} {lookups}"));
    }
    needs
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
        assert!(lines.len() == 2 && lines.iter().all(|line| line.len() <= super::WIDTH));
        assert!(lines[0].starts_with("  word") && lines[1].starts_with("    word"));
        assert_eq!(lines.join(" ").split_whitespace().count(), 40);
    }
}
