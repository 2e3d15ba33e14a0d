//! `rowcast dead-letter`

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{confirm::confirm, progress};
use crate::{
    config::{Config, DatabaseUrl},
    dead_letter::{DeadLetters, Letter, Which},
    error::Error,
    migrate, pool,
};

/// How long `retry` waits for the service.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(200);
/// So much of an error is printed without --long.
const EXCERPT: usize = 160;

/// Changes that a rule failed on: see them, have them tried again, or forget them.
///
/// A rule that fails on a change (a null that it did not expect, a lookup that Postgres refused) makes no event of it. The
/// change is kept in rowcast.dead_letter with the reason, and everything else goes on. Mend the rule, restart `rowcast
/// serve`, and retry: whoever may hear the event hears it then, with the id that it would have had.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rowcast dead-letter list --rule orders:created
  rowcast catalog test --change 1234          why a rule fails, while the change is in the log
  rowcast dead-letter retry 17 18
  rowcast dead-letter drop --all --rule orders:created")]
pub struct DeadLetter {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List them, the newest first
    List(List),
    /// Have the running service try them again, and wait for what comes of it
    Retry(Chosen),
    /// Forget them
    Drop(Drop),
}

#[derive(Debug, Args)]
struct List {
    /// Of this rule alone
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// How many at the most
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    limit: i64,
    /// The whole error, and the change
    #[arg(long)]
    long: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which ones are meant; none by default.
#[derive(Debug, Args)]
struct Chosen {
    /// Their ids, as `list` has them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<i64>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Of these, those of this rule
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
}

#[derive(Debug, Args)]
struct Drop {
    #[command(flatten)]
    chosen: Chosen,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

impl From<Chosen> for Which {
    fn from(chosen: Chosen) -> Self {
        Self { ids: (!chosen.all).then_some(chosen.ids), rule: chosen.rule }
    }
}

impl DeadLetter {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        let pool = pool::open(&Config::default().lookups, &url, "dead-letter").await?;
        migrate::require_current(&pool).await?;
        let letters = DeadLetters::new(pool);
        match self.action {
            Action::List(list) => list.run(&letters).await,
            Action::Retry(chosen) => retry(&letters, chosen.into()).await,
            Action::Drop(Drop { chosen, yes }) => drop(&letters, chosen.into(), yes).await,
        }
    }
}

impl List {
    async fn run(self, letters: &DeadLetters) -> Result<(), Error> {
        let which = Which { ids: None, rule: self.rule };
        let found = letters.list(&which, self.limit).await?;
        if self.json {
            let found: Vec<Value> = found.iter().map(as_json).collect();
            say!("{}", serde_json::to_string_pretty(&found).expect("letters are JSON"));
            return Ok(());
        }
        for letter in &found {
            let Letter { id, rule, change_id, at, attempts, .. } = letter;
            let table = letter.change["table"].as_str().unwrap_or("?");
            let op = letter.change["op"].as_str().unwrap_or("?").to_ascii_lowercase();
            let times = if *attempts > 1 { format!(", {attempts} times") } else { String::new() };
            let waits = if letter.waits { ", waits to be tried again" } else { "" };
            say!(
                "{id}  {rule}  {op} {table}, change {change_id}, {}{times}{waits}",
                at.format("%Y-%m-%d %H:%M:%S UTC")
            );
            let error = letter.error.replace('\n', " ");
            let short: String = error.chars().take(EXCERPT).collect();
            let cut = if short.len() < error.len() { "…" } else { "" };
            match self.long {
                true => say!("    {}\n    {}", letter.error, letter.change),
                false => say!("    {short}{cut}"),
            }
        }
        let all = letters.count(&which).await?;
        match (all, all - found.len() as i64) {
            (0, _) => say!("there are none"),
            (_, 1..) => say!("{} of {all}; --limit shows more", found.len()),
            _ => {}
        }
        Ok(())
    }
}

fn as_json(letter: &Letter) -> Value {
    json!({
        "id": letter.id, "rule": letter.rule, "changeId": letter.change_id, "error": letter.error, "change": letter.change,
        "at": letter.at, "attempts": letter.attempts, "waits": letter.waits,
    })
}

async fn retry(letters: &DeadLetters, which: Which) -> Result<(), Error> {
    let asked = letters.ask_again(&which).await?;
    said_unknown(&which, &asked);
    if asked.is_empty() {
        return Err(none_found(&which));
    }
    progress(&format!("{} to be tried again; waiting for the service", asked.len()));
    let still = Which { ids: Some(asked.clone()), rule: None };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let left = loop {
        let left = letters.list(&still, i64::MAX).await?;
        if left.iter().all(|letter| !letter.waits) || tokio::time::Instant::now() > deadline {
            break left;
        }
        tokio::time::sleep(POLL).await;
    };
    let (mut failed, mut waiting) = (0, 0);
    for id in &asked {
        match left.iter().find(|letter| letter.id == *id) {
            None => say!("done    {id}"),
            Some(letter) if letter.waits => {
                waiting += 1;
                say!("waits   {id}  {}", letter.rule);
            }
            Some(letter) => {
                failed += 1;
                say!("failed  {id}  {}: {}", letter.rule, letter.error);
            }
        }
    }
    match (failed, waiting) {
        (0, 0) => Ok(()),
        (0, _) => Err(Error::Unmet(format!(
            "{waiting} not tried yet: no service has swept them within {} s. Is `rowcast serve` running? They are tried as soon as it is",
            PATIENCE.as_secs()
        ))),
        _ => Err(Error::Unmet(format!(
            "{failed} of {} failed again. Does the running service have the mended catalog? It is read at its start",
            asked.len()
        ))),
    }
}

async fn drop(letters: &DeadLetters, which: Which, yes: bool) -> Result<(), Error> {
    let count = letters.count(&which).await?;
    if count == 0 {
        return Err(none_found(&which));
    }
    if !yes {
        confirm(&format!("forget {count} dead letters, without any event"))?;
    }
    let dropped = letters.drop(&which).await?;
    said_unknown(&which, &dropped);
    say!("dropped  {}", dropped.len());
    Ok(())
}

fn none_found(which: &Which) -> Error {
    let what = match (&which.ids, &which.rule) {
        (Some(_), _) => "there is no dead letter of these ids",
        (None, Some(_)) => "there is no dead letter of this rule",
        (None, None) => "there is no dead letter",
    };
    Error::Usage(format!("{what}; see rowcast dead-letter list"))
}

fn said_unknown(which: &Which, found: &[i64]) {
    for id in which.ids.iter().flatten().filter(|id| !found.contains(id)) {
        progress(&format!("there is no dead letter {id}"));
    }
}
