//! `rowcast trace`

use std::{fmt::Write as _, sync::Arc, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;

use super::which::Which;
use crate::{
    capture::Look,
    catalog::{Explainer, Explanation, Verdict},
    change::Page,
    config::{AdminListen, Config, DatabaseUrl},
    error::Error,
    journal::{Answer, Happening, Question, SentEvent, Socket, SweptChange, What},
    migrate, pool,
    position::{Position, Seen},
};

/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why did she not get it? Tell the story of a change, an event or a user.
///
/// The running service is asked at its admin address what it remembers of the change: when it was swept, which events came
/// of it, whom they reached, whose buffer was full, and who was there at all. With DATABASE_URL the rules of its table are
/// told too: which match it and which don't, and why (as they are now, on the rows that they look up now).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rowcast trace --event 1234-7781-product:stock_changed --user 42
  rowcast trace --change 1234
  rowcast trace --user 42 --since 10m")]
pub struct Trace {
    /// A change of the log, by its id: the first number of an event's metadata.id
    #[arg(long, value_name = "ID", required_unless_present_any = ["event", "user"])]
    change: Option<i64>,
    /// An event, by its metadata.id
    #[arg(long, value_name = "ID", conflicts_with = "change")]
    event: Option<String>,
    /// A user: whether it reached them, and why not; alone, what happened to their connections
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Of the user's connections, how far back
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    since: Duration,
    /// The service's admin address, as http://HOST:PORT [default: that of the configuration]
    #[arg(long, env = "ROWCAST_ADMIN", hide_env_values = true, value_name = "URL")]
    admin: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

impl Trace {
    pub async fn run(self, url: Option<DatabaseUrl>) -> Result<(), Error> {
        let (config, catalog) = self.which.load()?;
        let admin = match &self.admin {
            Some(admin) => admin.trim_end_matches('/').to_owned(),
            None => configured(&config)?,
        };
        let question = Question {
            change: self.change,
            event: self.event.clone(),
            user: self.user.clone(),
            since: Utc::now().checked_sub_signed(chrono::TimeDelta::from_std(self.since).unwrap_or_default()),
        };
        let answer = ask(&admin, &question).await?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&answer).expect("an answer is JSON"));
            return Ok(());
        }
        let mut story = Story { answer: &answer, user: self.user.as_deref(), text: String::new() };
        story.changes(&question);
        say!("{}", story.text.trim_end());
        if let (Some(url), Some(id)) = (&url, self.change.or_else(|| change_of(self.event.as_deref()?))) {
            let catalog = Arc::new(catalog);
            say!("\n{}", rules(&config, catalog, url, id).await?.trim_end());
        }
        if self.user.is_some() {
            story.text.clear();
            story.happenings();
            say!("\n{}", story.text.trim_end());
        }
        Ok(())
    }
}

fn configured(config: &Config) -> Result<String, Error> {
    match config.admin.listen {
        AdminListen::At(address) => Ok(format!("http://{address}")),
        AdminListen::Off => Err(Error::Configuration(
            "the configuration turns the admin address off, and there the service is asked; pass --admin http://HOST:PORT".into(),
        )),
    }
}

/// The first number of an event's id is that of its change.
fn change_of(event: &str) -> Option<i64> {
    event.split('-').next()?.parse().ok()
}

async fn ask(admin: &str, question: &Question) -> Result<Answer, Error> {
    let unreachable = |error: reqwest::Error| {
        Error::Unreachable(format!(
            "cannot ask the service at {admin}: {}. Is `rowcast serve` running, and is that its admin address ([admin] listen, --admin-listen)?",
            error.without_url()
        ))
    };
    let body = serde_json::to_vec(question).expect("a question is JSON");
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().map_err(unreachable)?;
    let request = client.post(format!("{admin}/journal")).header("content-type", "application/json").body(body);
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let text = response.bytes().await.map_err(unreachable)?;
    if !status.is_success() {
        return Err(Error::Unreachable(format!(
            "{admin} answered {status}: {}. Is that the admin address of rowcast?",
            String::from_utf8_lossy(&text).chars().take(200).collect::<String>()
        )));
    }
    serde_json::from_slice(&text).map_err(|error| {
        Error::Unreachable(format!("{admin} answered what this version of rowcast doesn't understand: {error}"))
    })
}

/// What the rules of the change's table make of it now.
async fn rules(
    config: &Config,
    catalog: Arc<crate::catalog::Catalog>,
    url: &DatabaseUrl,
    id: i64,
) -> Result<String, Error> {
    let pool = pool::open(&config.lookups, url, "trace").await?;
    migrate::require_current(&pool).await?;
    let unread = |error: crate::capture::CaptureError| Error::Database(error.to_string());
    let look = Look::at(&url.for_capture()?).await.map_err(unread)?;
    let tables = look.tables().await.map_err(unread)?;
    let Some(change) = look.change(id, &tables).await.map_err(unread)? else {
        return Ok(format!("The change log has no change {id} any more, so the rules can't be asked."));
    };
    let mut explainer = Explainer::bound(catalog, pool, &tables).await;
    let position = Position { system: 0, database: 0, seen: Seen::below(0) };
    let page = Page { changes: vec![change], position, tables: Arc::default() };
    let explanation = explainer.explain(&page).await.map_err(|error| Error::Unreachable(error.to_string()))?;
    let mut text = format!("The rules about {}, as they are now:\n", page.changes[0].table);
    if explanation.rules.is_empty() {
        text.push_str("  none\n");
    }
    for rule in &explanation.rules {
        let outcome = Explanation::outcome(rule);
        let name =
            if rule.inbox { format!("notification {} ({})", rule.event, rule.rule) } else { rule.rule.to_string() };
        _ = match &rule.verdict {
            Verdict::Silent(reason) => writeln!(text, "  {outcome:8}{name}: {reason}"),
            Verdict::Failed(error) => writeln!(text, "  {outcome:8}{name}: {error}"),
            Verdict::Matches(_) => writeln!(text, "  {outcome:8}{name}"),
        };
    }
    _ = writeln!(text, "`rowcast catalog test --change {id}` shows their data.");
    Ok(text)
}

/// The answer in words.
struct Story<'a> {
    answer: &'a Answer,
    user: Option<&'a str>,
    text: String,
}

impl Story<'_> {
    fn line(&mut self, indent: usize, line: &str) {
        _ = writeln!(self.text, "{:indent$}{line}", "");
    }

    fn changes(&mut self, question: &Question) {
        if question.change.is_none() && question.event.is_none() {
            return;
        }
        if self.answer.changes.is_empty() {
            let what = match (&question.change, &question.event) {
                (Some(id), _) => format!("change {id}"),
                (_, Some(event)) => format!("an event {event}"),
                _ => String::new(),
            };
            let knows = match (self.answer.changes_from, self.answer.changes_to) {
                (Some(from), Some(to)) => format!("it remembers changes {from} to {to}"),
                _ => "it has swept none since it started".to_owned(),
            };
            self.line(0, &format!("The service knows nothing of {what}: {knows}. Either it was not swept by this process, or it is forgotten, or no rule made that event."));
        }
        for change in &self.answer.changes {
            self.change(change);
        }
    }

    fn change(&mut self, change: &SweptChange) {
        let SweptChange { id, xid, table, op, written_at, swept_at, .. } = change;
        self.line(0, &format!("change {id}: {} of {table}, transaction {xid}", op.to_ascii_lowercase()));
        self.line(2, &format!("written  {}", time(*written_at)));
        let later = (*swept_at - *written_at).num_milliseconds();
        self.line(2, &format!("swept    {}, {later} ms later (the commit lies in between)", time(*swept_at)));
        for rule in &change.failed_rules {
            self.line(2, &format!("failed   the rule {rule}; rowcast dead-letter list --rule {rule}"));
        }
        if change.events.is_empty() {
            self.line(2, "no event that anybody might hear came of it");
        }
        for event in &change.events {
            self.event(event);
        }
    }

    fn event(&mut self, event: &SentEvent) {
        self.line(2, &format!("event    {}, id {}, sent {}", event.kind, event.id, time(event.at)));
        for rooms in &event.audiences {
            self.line(4, &format!("to       {}", rooms.join(", ")));
        }
        let reached: Vec<String> = event.reached.iter().map(|socket| self.name(*socket)).collect();
        match reached.len() {
            0 => self.line(4, "reached  nobody: no connection was in any of these rooms"),
            1..=20 => self.line(4, &format!("reached  {}", reached.join(", "))),
            many => self.line(4, &format!("reached  {many} connections: {}, …", reached[..20].join(", "))),
        }
        for socket in &event.over_buffer {
            let name = self.name(*socket);
            self.line(4, &format!("missed   {name}: its buffer was full, so it was cut; it resumes when it is back"));
        }
        if let Some(user) = self.user {
            let verdict = self.verdict(event);
            self.line(4, &format!("user {user}: {verdict}"));
        }
    }

    /// Why the user heard it, or not.
    fn verdict(&self, event: &SentEvent) -> String {
        let present: Vec<_> = self.answer.present.iter().filter(|present| present.event == event.id).collect();
        let reached: Vec<String> = present
            .iter()
            .filter(|it| event.reached.contains(&it.socket))
            .map(|it| format!("#{}", it.socket))
            .collect();
        if !reached.is_empty() {
            return format!("reached on {}; what the browser made of it is not known here", reached.join(", "));
        }
        if let Some(over) = present.iter().find(|it| event.over_buffer.contains(&it.socket)) {
            return format!("was cut on #{}, whose buffer was full", over.socket);
        }
        let Some(first) = present.first() else {
            return "had no connection then; whether one came back and resumed is told below".to_owned();
        };
        let rooms: Vec<&str> = first.rooms.iter().map(String::as_str).collect();
        let rooms = if rooms.is_empty() { "no room".to_owned() } else { rooms.join(", ") };
        format!("was connected (#{}), but in none of these rooms: it was in {rooms}", first.socket)
    }

    fn name(&self, socket: Socket) -> String {
        let whose = self.answer.happenings.iter().find(|happening| happening.socket == socket);
        match whose.map(|happening| &happening.user_id) {
            Some(Some(user)) => format!("#{socket} (user {user})"),
            Some(None) => format!("#{socket} (a visitor)"),
            None => format!("#{socket}"),
        }
    }

    fn happenings(&mut self) {
        let user = self.user.unwrap_or_default();
        let back =
            self.answer.happenings_since.map_or_else(String::new, |since| format!(" (known since {})", time(since)));
        if self.answer.happenings.is_empty() {
            return self.line(0, &format!("The service knows of no connection of user {user} in this time{back}."));
        }
        self.line(0, &format!("Connections of user {user}{back}:"));
        for Happening { at, socket, what, .. } in &self.answer.happenings {
            self.line(2, &format!("{}  #{socket:<6} {}", time(*at), told(what)));
        }
    }
}

fn told(what: &What) -> String {
    let rooms = |rooms: &[String]| if rooms.is_empty() { "no room".to_owned() } else { rooms.join(", ") };
    let back = |since: &Option<String>| if since.is_some() { ", coming back with a position" } else { "" };
    match what {
        What::Connected { rooms: own, since } => format!("connected, in {}{}", rooms(own), back(since)),
        What::Joined { rooms: joined, since } => format!("joined {}{}", rooms(joined), back(since)),
        What::Left { rooms: left } => format!("left {}", rooms(left)),
        What::Refused { room } => format!("was refused {room}"),
        What::Resumed { rooms: resumed, replayed } => format!("resumed {}: {replayed} events replayed", rooms(resumed)),
        What::Resync { reason } => format!("was told to load anew: {reason}"),
        What::Gone { reason: Some(reason) } => format!("ended by the server: {reason}"),
        What::Gone { reason: None } => "ended".to_owned(),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
