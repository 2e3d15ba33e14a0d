//! `rowcast announce`

use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};

use super::which::Which;
use crate::{
    config::DatabaseUrl,
    error::Error,
    inbox::{Inbox, Recipients},
    migrate, pool,
};

/// Write an announcement into the inboxes of all users, or of some.
///
/// It is one row of rowcast.notification. A running `rowcast serve` makes a notification of it for each of those it is for,
/// about 5,000 a second: they hear notification:system, and find it in their inbox later if they are away.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rowcast announce --title 'Closed on Monday' --body 'Orders are shipped from Tuesday on.'
  rowcast announce --to sellers --title 'New fees' --subject page:fees
  rowcast announce --to user:42 --title 'Your store is open'")]
pub struct Announce {
    #[command(flatten)]
    which: Which,
    /// Whom it is for: all, sellers, buyers, or one user as user:ID
    #[arg(long, default_value = "all", value_name = "WHOM")]
    to: Recipients,
    /// What stands first, in one line
    #[arg(long, value_parser = title)]
    title: String,
    /// The text below
    #[arg(long, default_value = "")]
    body: String,
    /// What it is about, as TYPE:ID, for the frontend to link to
    #[arg(long, value_name = "TYPE:ID", value_parser = subject)]
    subject: Option<Value>,
}

impl Announce {
    pub async fn run(self, url: DatabaseUrl) -> Result<(), Error> {
        let (config, catalog) = self.which.load()?;
        let pool = pool::open(&config.lookups, &url, "announce").await?;
        migrate::require_current(&pool).await?;
        if !matches!(self.to, Recipients::User(_)) {
            if !catalog.announces() {
                return Err(Error::Lacking(
                    "the catalog does not say who hears announcements: it has no [announcements] with the name of a lookup as `recipients`".into(),
                ));
            }
            // Better here than in the service's log, where whoever announces doesn't look.
            let able = catalog.recipients_of_announcements(&pool).await;
            able.map_err(|reason| Error::Database(format!("nobody knows who is to hear it: {reason}")))?;
        }
        let id = Inbox::new(pool).announce(&self.to, &self.title, &self.body, self.subject).await?;
        let whom = match &self.to {
            Recipients::All => "all users".to_owned(),
            Recipients::Sellers => "all sellers".to_owned(),
            Recipients::Buyers => "all buyers".to_owned(),
            Recipients::User(id) => format!("user {id}"),
        };
        say!("announced  {id}, to {whom}");
        Ok(())
    }
}

impl FromStr for Recipients {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "sellers" => Ok(Self::Sellers),
            "buyers" => Ok(Self::Buyers),
            _ => match text.strip_prefix("user:") {
                Some(id) if !id.is_empty() => Ok(Self::User(id.to_owned())),
                _ => Err("expected all, sellers, buyers, or user:ID".to_owned()),
            },
        }
    }
}

fn title(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Err("it is empty; expected a line of text".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn subject(text: &str) -> Result<Value, String> {
    match text.split_once(':') {
        Some((kind, id)) if !kind.is_empty() && !id.is_empty() => Ok(json!({ "type": kind, "id": id })),
        _ => Err("expected TYPE:ID, such as order:17".to_owned()),
    }
}
