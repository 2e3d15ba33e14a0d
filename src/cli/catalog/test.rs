//! `rowcast catalog test`

use std::{
    fmt::Write as _,
    io::{IsTerminal, Read},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use serde_json::{json, value::RawValue};

use crate::{
    capture::{CaptureError, Look},
    catalog::{
        AudienceExplanation, Catalog, Explainer, Explanation, Heard, Hearing, NeedsLookups, RuleExplanation, Verdict,
    },
    change::{Change, Page, Tables},
    cli::{NO_DATABASE, which::Which},
    config::{Config, DatabaseUrl},
    error::Error,
    event::{Data, EnvelopeStyle},
    migrate, pool,
    position::{Position, Seen},
    written,
};

/// Try the catalog on a change: which rules fire, for whom, with which data, and why the others don't
///
/// The change is JSON from a file or standard input, or one of the change log:
///
///   echo '{"table": "products", "op": "update", "old": {…}, "new": {…}}' | rowcast catalog test
///   rowcast catalog test --change 1234
///
/// With a database the rules are bound to its tables and their lookups are run, as serve does;
/// without DATABASE_URL the change alone has to do. Nothing is sent, and nothing is written to the
/// database.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Test {
    /// A file with the change; - or nothing for standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A change of the log, by its id: the first number of an event's metadata.id
    #[arg(long, value_name = "ID", conflicts_with = "file")]
    change: Option<i64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

/// What a database adds to a catalog.
struct Database {
    look: Look,
    tables: Tables,
    pool: sqlx::PgPool,
}

impl Database {
    async fn open(config: &Config, url: &DatabaseUrl) -> Result<Self, Error> {
        let pool = pool::open(&config.lookups, url, "catalog test").await?;
        migrate::require_current(&pool).await?;
        let look = Look::at(&url.for_capture()?).await.map_err(unread)?;
        let tables = look.tables().await.map_err(unread)?;
        Ok(Self { look, tables, pool })
    }

    async fn change(&self, id: i64) -> Result<Change, Error> {
        if let Some(change) = self.look.change(id, &self.tables).await.map_err(unread)? {
            return Ok(change);
        }
        let has = match self.look.ids().await.map_err(unread)? {
            None => "it is empty".to_owned(),
            Some((first, last)) => format!("it has changes from {first} to {last}"),
        };
        Err(Error::Configuration(format!(
            "the change log has no change {id}: {has}. What is older than the retention is gone, and ids may be left out"
        )))
    }
}

fn unread(error: CaptureError) -> Error {
    match error {
        CaptureError::Connect(_) | CaptureError::Timeout(_) | CaptureError::Ended(_) => {
            Error::Unreachable(error.to_string())
        }
        _ => Error::Database(error.to_string()),
    }
}

impl Test {
    pub async fn run(self, url: Option<DatabaseUrl>) -> Result<(), Error> {
        let (config, catalog) = self.which.load()?;
        let database = match &url {
            Some(url) => Some(Database::open(&config, url).await?),
            None => None,
        };
        let change = match (self.change, &database) {
            (Some(id), Some(database)) => database.change(id).await?,
            (Some(_), None) => {
                return Err(Error::Configuration(format!(
                    "--change reads the change log of a database: {NO_DATABASE}"
                )));
            }
            (None, _) => {
                let (name, text) = input(self.file)?;
                written::read(&text, database.as_ref().map(|database| &database.tables))
                    .map_err(|reason| Error::Configuration(format!("{name}: {reason}")))?
            }
        };
        let catalog = Arc::new(catalog);
        let mut explainer = match &database {
            Some(database) => Explainer::bound(catalog.clone(), database.pool.clone(), &database.tables).await,
            None => Explainer::unbound(catalog.clone()),
        };
        // Nobody resumes from an event that is never sent.
        let position = Position { system: 0, database: 0, seen: Seen::below(0) };
        let page = Page { changes: vec![change], position, tables: Arc::default() };
        let explanation = explainer.explain(&page).await.map_err(|error| Error::Unreachable(error.to_string()))?;
        let report = Report {
            explanation: &explanation,
            change: &page.changes[0],
            style: config.gateway.envelope,
            catalog: &catalog,
        };
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&report.json()).expect("a report is JSON")),
            false => say!("{}", report.text().trim_end()),
        }
        Ok(())
    }
}

fn input(file: Option<PathBuf>) -> Result<(String, String), Error> {
    let path = file.filter(|file| file.as_os_str() != "-");
    if let Some(path) = path {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::Configuration(format!("cannot read the change {name}: {error}")))?;
        return Ok((name, text));
    }
    if std::io::stdin().is_terminal() {
        return Err(Error::Configuration(
            "there is no change to try: name a file, pipe JSON in, or pass --change ID; see rowcast catalog test --help".into(),
        ));
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Error::Configuration(format!("cannot read the change from standard input: {error}")))?;
    Ok(("standard input".to_owned(), text))
}

struct Report<'a> {
    explanation: &'a Explanation,
    change: &'a Change,
    catalog: &'a Catalog,
    style: EnvelopeStyle,
}

impl Report<'_> {
    fn text(&self) -> String {
        let Self { explanation, change, catalog, .. } = self;
        let mut text = format!("{} of {}", change.op.as_sql().to_ascii_lowercase(), change.table);
        if change.old.is_some() && change.new.is_some() {
            let changed = change.changed_columns();
            let changed = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
            _ = write!(text, ", changed: {changed}");
        }
        text.push_str("\n\n");
        for rule in &explanation.rules {
            self.rule(&mut text, rule);
        }
        if explanation.rules.is_empty() {
            _ = writeln!(
                text,
                "No rule is about {}. The catalog has rules about {}.",
                change.table,
                catalog.table_list()
            );
        } else {
            text.push('\n');
            match explanation.other_rules {
                0 => {}
                1 => text.push_str("1 rule is about another table.\n"),
                other => _ = writeln!(text, "{other} rules are about other tables."),
            }
        }
        let missing: Vec<&str> = explanation.missing().into_iter().collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            _ = writeln!(text, "The change lacks {missing}, which rules read; a row of the database has every column.");
        }
        if !explanation.looked_up {
            text.push_str(
                "DATABASE_URL is not set: no lookup was run, and whether the database has the tables is not known.\n",
            );
        }
        text
    }

    fn rule(&self, text: &mut String, rule: &RuleExplanation) {
        let outcome = Explanation::outcome(rule);
        let name = match rule.inbox {
            false if rule.event == rule.rule => rule.rule.to_string(),
            false => format!("{} (rule {})", rule.event, rule.rule),
            true => format!("notification {} (rule {})", rule.event, rule.rule),
        };
        match &rule.verdict {
            Verdict::Silent(reason) => _ = writeln!(text, "{outcome:8}{name}: {reason}"),
            Verdict::Failed(error) if rule.missing.is_empty() => _ = writeln!(text, "{outcome:8}{name}: {error}"),
            Verdict::Failed(_) => _ = writeln!(text, "{outcome:8}{name}: it reads {}", rule.missing.join(", ")),
            Verdict::Matches(audiences) => {
                _ = writeln!(text, "{outcome:8}{name}");
                for audience in audiences {
                    self.audience(text, audience, rule.inbox);
                }
            }
        }
    }

    fn audience(&self, text: &mut String, audience: &AudienceExplanation, inbox: bool) {
        match &audience.hearing {
            Hearing::Hears(heard) => {
                for heard in heard {
                    let rooms: Vec<_> = heard.rooms.iter().map(|room| room.as_str()).collect();
                    line(text, &format!("to {}", rooms.join(", ")));
                    pairs(text, heard.data.iter().map(|(key, value)| (&**key, value.get())));
                    if !inbox {
                        line(text, &format!("  {}", heard.event.encode(&heard.data, self.style).get()));
                    }
                }
            }
            Hearing::Silent(reason) => line(text, &format!("not to {}: {reason}", audience.rooms.join(", "))),
            Hearing::NeedsLookups(NeedsLookups { lookups, write, rooms, data }) => {
                let noun = if lookups.len() == 1 { "the lookup" } else { "the lookups" };
                let why = if *write { ", not run since it writes" } else { "" };
                line(text, &format!("to {}, depending on {noun} {}{why}", rooms.join(", "), lookups.join(", ")));
                let values = data.iter().map(|(key, value)| match value {
                    Ok(value) => (&**key, value.get()),
                    Err(expression) => (&**key, expression.as_str()),
                });
                pairs(text, values);
            }
        }
        for unnamed in &audience.unnamed {
            line(text, &format!("not to {}, since {}", unnamed.room, unnamed.because));
        }
    }

    fn json(&self) -> serde_json::Value {
        let Self { explanation, change, catalog, .. } = self;
        json!({
            "table": change.table.to_string(),
            "op": change.op,
            "lookedUp": explanation.looked_up,
            "rules": explanation.rules.iter().map(|rule| self.rule_json(rule)).collect::<Vec<_>>(),
            "otherRules": explanation.other_rules,
            "tables": catalog.tables().iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    fn rule_json(&self, rule: &RuleExplanation) -> serde_json::Value {
        let mut json = json!({ "rule": rule.rule, "outcome": Explanation::outcome(rule) });
        json[if rule.inbox { "inbox" } else { "event" }] = json!(rule.event);
        if !rule.missing.is_empty() {
            json["missing"] = json!(rule.missing);
        }
        match &rule.verdict {
            Verdict::Silent(reason) => json["reason"] = json!(reason),
            Verdict::Failed(error) => json["error"] = json!(error),
            Verdict::Matches(audiences) => {
                let audiences = audiences.iter().map(|audience| self.audience_json(audience, rule.inbox));
                json["audiences"] = audiences.collect();
            }
        }
        json
    }

    fn audience_json(&self, audience: &AudienceExplanation, inbox: bool) -> serde_json::Value {
        let mut json = match &audience.hearing {
            Hearing::Hears(heard) => {
                let heard = heard.iter().map(|Heard { rooms, data, event }| {
                    let mut json = json!({ "rooms": rooms, "data": object(data) });
                    if !inbox {
                        json["envelope"] = parsed(&event.encode(data, self.style));
                    }
                    json
                });
                json!({ "hears": heard.collect::<Vec<_>>() })
            }
            Hearing::Silent(reason) => json!({ "reason": reason }),
            Hearing::NeedsLookups(NeedsLookups { lookups, rooms, data, .. }) => {
                let known =
                    data.iter().filter_map(|(key, value)| Some((key.to_string(), parsed(value.as_ref().ok()?))));
                json!({ "needs": lookups, "rooms": rooms, "data": serde_json::Map::from_iter(known) })
            }
        };
        json["to"] = json!(audience.rooms);
        if !audience.unnamed.is_empty() {
            json["unnamed"] = json!(audience.unnamed);
        }
        json
    }
}

fn line(text: &mut String, line: &str) {
    _ = writeln!(text, "        {line}");
}

fn pairs<'a>(text: &mut String, pairs: impl Iterator<Item = (&'a str, &'a str)> + Clone) {
    let width = pairs.clone().map(|(key, _)| key.chars().count()).max().unwrap_or_default();
    for (key, value) in pairs {
        line(text, &format!("  {key:width$}  {value}"));
    }
}

fn object(data: &Data) -> serde_json::Value {
    data.iter().map(|(key, value)| (key.to_string(), parsed(value))).collect::<serde_json::Map<_, _>>().into()
}

fn parsed(value: &RawValue) -> serde_json::Value {
    serde_json::from_str(value.get()).unwrap_or_default()
}
