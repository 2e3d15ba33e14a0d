//! `rowcast catalog show`

use std::{collections::BTreeSet, fmt::Write as _};

use clap::Args;

use crate::{
    catalog::{AudienceOutline, Outline, RuleOutline},
    cli::{names, which::Which},
    contract::check::{inbox_name, matches},
    error::Error,
};

/// Print the catalog that would be used: events with their rules, lookups, schedules, rooms and settings.
///
/// With names, only the rules of these events, or of these names: patterns such as product:*, and inbox:order for a kind of
/// notification, as `rowcast check --require` takes them.
#[derive(Debug, Args)]
pub struct Show {
    /// Events or rules, such as product:updated, 'product:*' or inbox:order
    #[arg(value_name = "EVENT|RULE")]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

impl Show {
    pub fn run(self) -> Result<(), Error> {
        let (_, catalog) = self.which.load()?;
        let mut outline = catalog.outline();
        if !self.names.is_empty() {
            outline = only(outline, &self.names)?;
        }
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&outline).expect("an outline is JSON")),
            false => say!("{}", print(&outline, self.names.is_empty()).trim_end()),
        }
        Ok(())
    }
}

/// The rules that are asked for, and the lookups that they use.
fn only(mut outline: Outline, names: &[String]) -> Result<Outline, Error> {
    let called = |rule: &RuleOutline| -> Vec<String> {
        let inbox = rule.inbox.as_ref().map(|kind| inbox_name(kind));
        [Some(rule.name.clone()), rule.event.clone(), inbox].into_iter().flatten().collect()
    };
    let known: Vec<String> = outline.rules.iter().flat_map(called).collect();
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    names::expect_known("catalog show", names, &known.into_iter().collect::<Vec<_>>())?;
    outline.rules.retain(|rule| called(rule).iter().any(|name| names.iter().any(|pattern| matches(pattern, name))));
    let used = |name: &str| outline.rules.iter().flat_map(|rule| &rule.lookups).any(|call| call.lookup == name);
    outline.lookups.retain(|lookup| used(&lookup.name));
    outline.schedules.retain(|schedule| outline.rules.iter().any(|rule| rule.table == schedule.table));
    outline.waiting.clear();
    outline.rooms.clear();
    outline.settings.clear();
    Ok(outline)
}

fn print(outline: &Outline, whole: bool) -> String {
    let mut text = String::new();
    for rule in &outline.rules {
        self::rule(&mut text, rule);
    }
    if whole && outline.rules.is_empty() {
        text.push_str("no rules\n\n");
    }
    for lookup in &outline.lookups {
        _ = writeln!(text, "lookup {}, returns {}", lookup.name, lookup.returns);
        sql(&mut text, &lookup.sql);
    }
    for schedule in &outline.schedules {
        let every = humantime::format_duration(schedule.every);
        let rooms = schedule
            .rooms
            .as_ref()
            .map_or(String::new(), |kind| format!(", for the rooms {kind}:… with people in them"));
        _ = writeln!(text, "schedule {}, every {every}, as the table {}{rooms}", schedule.name, schedule.table);
        about(&mut text, schedule.about.as_deref());
        sql(&mut text, &schedule.sql);
    }
    for list in &outline.waiting {
        _ = writeln!(text, "waiting list {}, of the rooms {}:…", list.name, list.rooms);
        about(&mut text, list.about.as_deref());
        sql(&mut text, &list.sql);
    }
    for room in &outline.rooms {
        _ = writeln!(text, "room {}", room.room);
        line(&mut text, "join", room.join.as_deref().unwrap_or("nobody may"));
        if let Some(own) = &room.own {
            line(&mut text, "own", own);
        }
        if let Some(message) = &room.message {
            line(&mut text, "message", message);
        }
        text.push('\n');
    }
    if !outline.settings.is_empty() {
        text.push_str("settings\n");
        for (name, value) in &outline.settings {
            _ = writeln!(text, "  {name} = {value}");
        }
    }
    text
}

fn rule(text: &mut String, rule: &RuleOutline) {
    match (&rule.event, &rule.inbox) {
        (Some(event), _) if *event == rule.name => _ = writeln!(text, "{event}"),
        (Some(event), _) => _ = writeln!(text, "{event}  (rule {})", rule.name),
        (None, kind) => {
            _ = writeln!(
                text,
                "a notification of the kind {}  (rule {})",
                kind.as_deref().unwrap_or_default(),
                rule.name
            );
        }
    }
    about(text, rule.about.as_deref());
    let on: Vec<_> = rule.on.iter().map(|op| op.as_sql().to_ascii_lowercase()).collect();
    let changed = match rule.changed.is_empty() {
        true => String::new(),
        false => format!(" of {}", rule.changed.join(", ")),
    };
    line(text, "table", &format!("{}: {}{changed}", rule.table, on.join(", ")));
    for (key, value) in [("when", &rule.when), ("per", &rule.per), ("actor", &rule.actor)] {
        if let Some(value) = value {
            line(text, key, value);
        }
    }
    for call in &rule.lookups {
        line(text, "lookup", &format!("{} = {}({})", call.name, call.lookup, call.key));
    }
    // Audiences that get the same data are followed by it once.
    for (number, audience) in rule.to.iter().enumerate() {
        self::audience(text, audience);
        if rule.to.get(number + 1).is_none_or(|next| next.data != audience.data) {
            data(text, audience);
        }
    }
    text.push('\n');
}

fn audience(text: &mut String, audience: &AudienceOutline) {
    let mut to = audience.rooms.join(", ");
    if let Some(each) = &audience.each {
        _ = write!(to, "  for each of {each}");
    }
    if let Some(when) = &audience.when {
        _ = write!(to, "  when {when}");
    }
    if let Some(changes) = &audience.changes {
        _ = write!(to, "  with changes: {changes}");
    }
    line(text, "to", &to);
}

fn data(text: &mut String, audience: &AudienceOutline) {
    let width = audience.data.iter().map(|(key, _)| key.chars().count()).max().unwrap_or_default();
    for (number, (key, value)) in audience.data.iter().enumerate() {
        line(text, if number == 0 { "data" } else { "" }, &format!("{key:width$}  {value}"));
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    _ = writeln!(text, "  {key:8}{value}");
}

fn about(text: &mut String, about: Option<&str>) {
    if let Some(about) = about {
        _ = writeln!(text, "  {about}");
    }
}

fn sql(text: &mut String, forms: &[String]) {
    for (number, form) in forms.iter().enumerate() {
        if number > 0 {
            text.push_str("  or, where the database can't run that:\n");
        }
        for line in form.lines() {
            _ = writeln!(text, "    {line}");
        }
    }
    text.push('\n');
}
