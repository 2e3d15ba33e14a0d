//! The inbox, `rowcast.notification`: written for recipients as rules say, listed, read and deleted by them.
//!
//! A notification is a row, and clients hear of it as of any other: its insert is captured.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::{Value, json, value::RawValue};
use sqlx::PgPool;

use crate::{
    error::{is_cancelled, is_unavailable},
    event::{Audience, Event},
    gateway::{self, ListRequest},
};

/// So many notifications are written by one statement.
const BATCH: usize = 1000;

/// How long a client waits for the database at most.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

/// Ids are made of the event and the recipient: whoever writes one again writes nothing.
///
/// It waits for the server's disk, not for its replicas: clients hear of the row once it is committed, and a crash that lost
/// it would have it written again, as another change with another id.
const WRITE: &str = "
with entry as (
  select encode(substring(sha256(convert_to(source || '/' || user_id, 'UTF8')) for 16), 'hex')::uuid::text as id, *
  from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
    as e (source, user_id, seller_id, kind, title, body, subject)
), fresh as (
  insert into rowcast.notified (id) select id from entry on conflict do nothing returning id
)
insert into rowcast.notification (id, user_id, seller_id, kind, title, body, subject, source)
select id, user_id, seller_id, kind, title, body, subject::jsonb, source from fresh join entry using (id)
cross join (select set_config('synchronous_commit', 'local', true)) as here
on conflict (id) do nothing";

const LIST: &str = "
select id, kind, title, body, subject::text, created_at, read_at from rowcast.notification
where user_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2, $3)) and (not $4 or read_at is null)
order by created_at desc, id desc limit $5";

const UNREAD: &str = "select count(*) from rowcast.notification where user_id = $1 and read_at is null";

const IS_THERE: &str = "select exists (select from rowcast.notification where user_id = $1 and id = $2)";

/// So many at most: each is a change that the user's devices hear of.
const READ: &str = "
update rowcast.notification set read_at = now() where id in (
  select id from rowcast.notification where user_id = $1 and ($2::text is null or id = $2) and read_at is null limit 500)";

const DELETE: &str = "delete from rowcast.notification where user_id = $1 and id = $2";

/// The next after the one at hand, `$1`; by an index that holds none but these.
const UNTOLD: &str = "
select id, audience, kind, title, body, subject::text as subject, told_to from rowcast.notification
where audience is not null and told_at is null
  and ($1::text is null
       or (created_at, id) > (select last.created_at, last.id from rowcast.notification as last where last.id = $1))
order by created_at, id limit 1";

const TOLD_TO: &str = "update rowcast.notification set told_to = $2 where id = $1";

const TOLD: &str = "update rowcast.notification set told_at = now() where id = $1";

const ANNOUNCE: &str = "
insert into rowcast.notification (user_id, audience, kind, title, body, subject)
values ($1, $2, 'system', $3, $4, $5) returning id";

/// A handle on the inboxes of all users.
#[derive(Debug, Clone)]
pub struct Inbox {
    pool: PgPool,
}

/// One notification for one recipient.
#[derive(Debug)]
struct Entry<'e> {
    /// The id of what it tells of.
    source: &'e str,
    kind: &'e str,
    user_id: String,
    /// The store that it is for, where the recipient is one.
    seller_id: Option<String>,
    title: String,
    body: String,
    subject: Option<String>,
}

/// An announcement that not everybody has got.
#[derive(Debug)]
pub struct Announcement {
    pub id: String,
    /// `all`, `sellers`, `buyers`
    pub audience: String,
    kind: String,
    title: String,
    body: String,
    subject: Option<String>,
    /// The last user who has got it, in the order of their ids.
    pub told_to: Option<String>,
}

/// An event whose notifications the database refuses, with the reason.
#[derive(Debug)]
pub struct Refused<'e> {
    pub event: &'e Event,
    pub reason: String,
}

/// Whom an announcement is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    All,
    Sellers,
    Buyers,
    User(String),
}

impl Inbox {
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Writes a notification for each recipient of these events, once, however often it is called for one event. Gives
    /// back those that the database will never take.
    ///
    /// # Errors
    ///
    /// If the database can't be asked now: none, some or all have been written then.
    pub async fn write<'e>(&self, events: &'e [Event]) -> Result<Vec<Refused<'e>>, sqlx::Error> {
        let all: Vec<Entry<'e>> = events.iter().flat_map(entries).collect();
        let mut refused = Vec::new();
        for batch in all.chunks(BATCH) {
            match self.write_batch(batch).await {
                // Something in one of them: the others are written all the same.
                Err(error) if !may_go_later(&error) => {
                    let of_batch = events.iter().filter(|event| batch.iter().any(|entry| entry.source == event.id));
                    for event in of_batch {
                        refused.extend(self.write_one(event).await?);
                    }
                }
                other => other?,
            }
        }
        Ok(refused)
    }

    async fn write_one<'e>(&self, event: &'e Event) -> Result<Option<Refused<'e>>, sqlx::Error> {
        match self.write_batch(&entries(event)).await {
            Ok(()) => Ok(None),
            Err(error) if may_go_later(&error) => Err(error),
            Err(error) => Ok(Some(Refused { event, reason: format!("a notification can't be written: {error}") })),
        }
    }

    async fn write_batch(&self, entries: &[Entry<'_>]) -> Result<(), sqlx::Error> {
        let column = |value: fn(&Entry<'_>) -> Option<String>| entries.iter().map(value).collect::<Vec<_>>();
        sqlx::query(WRITE)
            .bind(column(|entry| Some(entry.source.to_owned())))
            .bind(column(|entry| Some(entry.user_id.clone())))
            .bind(column(|entry| entry.seller_id.clone()))
            .bind(column(|entry| Some(entry.kind.to_owned())))
            .bind(column(|entry| Some(entry.title.clone())))
            .bind(column(|entry| Some(entry.body.clone())))
            .bind(column(|entry| entry.subject.clone()))
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// The oldest announcement that not everybody has got, of those that are newer than the one with the id `after`.
    pub async fn untold(&self, after: Option<&str>) -> Result<Option<Announcement>, sqlx::Error> {
        type Found = (String, String, String, String, String, Option<String>, Option<String>);
        let found: Option<Found> = sqlx::query_as(UNTOLD).bind(after).fetch_optional(&self.pool).await?;
        Ok(found.map(|(id, audience, kind, title, body, subject, told_to)| Announcement {
            id,
            audience,
            kind,
            title,
            body,
            subject,
            told_to,
        }))
    }

    /// Writes an announcement into these users' inboxes; once, however often.
    pub async fn tell(&self, announcement: &Announcement, user_ids: &[String]) -> Result<(), sqlx::Error> {
        let entries = user_ids.iter().map(|user_id| Entry {
            source: &announcement.id,
            kind: &announcement.kind,
            user_id: user_id.clone(),
            seller_id: None,
            title: announcement.title.clone(),
            body: announcement.body.clone(),
            subject: announcement.subject.clone(),
        });
        self.write_batch(&entries.collect::<Vec<_>>()).await
    }

    /// Everybody up to this user has got it, in the order of their ids.
    pub async fn told_to(&self, announcement: &Announcement, user_id: &str) -> Result<(), sqlx::Error> {
        sqlx::query(TOLD_TO).bind(&announcement.id).bind(user_id).execute(&self.pool).await.map(drop)
    }

    /// Everybody has got it.
    pub async fn told(&self, announcement: &Announcement) -> Result<(), sqlx::Error> {
        sqlx::query(TOLD).bind(&announcement.id).execute(&self.pool).await.map(drop)
    }

    /// Writes an announcement, or a notification for one user. Gives its id.
    pub async fn announce(
        &self,
        to: &Recipients,
        title: &str,
        body: &str,
        subject: Option<Value>,
    ) -> Result<String, sqlx::Error> {
        let (user, audience) = match to {
            Recipients::All => (None, Some("all")),
            Recipients::Sellers => (None, Some("sellers")),
            Recipients::Buyers => (None, Some("buyers")),
            Recipients::User(id) => (Some(id), None),
        };
        let query = sqlx::query_scalar(ANNOUNCE).bind(user).bind(audience).bind(title).bind(body).bind(subject);
        query.fetch_one(&self.pool).await
    }

    async fn list_of(&self, user_id: &str, request: ListRequest) -> Result<Value, sqlx::Error> {
        type Found = (String, String, String, String, Option<String>, DateTime<Utc>, Option<DateTime<Utc>>);
        let (before, before_id) = request.before.unzip();
        let limit = request.limit;
        let found: Vec<Found> = sqlx::query_as(LIST)
            .bind(user_id)
            .bind(before)
            .bind(before_id)
            .bind(request.unread_only)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        let next = found.last().filter(|_| found.len() == limit as usize);
        let next = next.map(|(id, .., at, _)| gateway::page_mark(*at, id));
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let notifications: Vec<Value> = found
            .into_iter()
            .map(|(id, kind, title, body, subject, created_at, read_at)| {
                let subject: Option<Value> = subject.and_then(|json| serde_json::from_str(&json).ok());
                json!({
                    "notificationId": id, "kind": kind, "title": title, "body": body, "subject": subject,
                    "createdAt": time(created_at), "readAt": read_at.map(time),
                })
            })
            .collect();
        Ok(
            json!({ "success": true, "notifications": notifications, "unread": self.unread(user_id).await?, "next": next }),
        )
    }

    async fn unread(&self, user_id: &str) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar(UNREAD).bind(user_id).fetch_one(&self.pool).await
    }

    async fn read_by(&self, user_id: &str, id: Option<&str>) -> Result<Option<Value>, sqlx::Error> {
        let mut marked = 0;
        loop {
            let more = sqlx::query(READ).bind(user_id).bind(id).execute(&self.pool).await?.rows_affected();
            marked += more;
            if more == 0 || id.is_some() {
                break;
            }
        }
        let known = match id {
            Some(id) if marked == 0 => {
                sqlx::query_scalar(IS_THERE).bind(user_id).bind(id).fetch_one(&self.pool).await?
            }
            _ => true,
        };
        if !known {
            return Ok(None);
        }
        Ok(Some(json!({ "success": true, "unread": self.unread(user_id).await? })))
    }

    async fn delete_by(&self, user_id: &str, id: &str) -> Result<Option<Value>, sqlx::Error> {
        let deleted = sqlx::query(DELETE).bind(user_id).bind(id).execute(&self.pool).await?.rows_affected();
        if deleted == 0 {
            return Ok(None);
        }
        Ok(Some(json!({ "success": true, "unread": self.unread(user_id).await? })))
    }
}

impl gateway::Inbox for Inbox {
    fn list<'a>(&'a self, user_id: &'a str, request: ListRequest) -> BoxFuture<'a, Result<Value, String>> {
        answer(async move { self.list_of(user_id, request).await.map(Some) }).boxed()
    }

    fn read<'a>(&'a self, user_id: &'a str, id: Option<&'a str>) -> BoxFuture<'a, Result<Value, String>> {
        answer(self.read_by(user_id, id)).boxed()
    }

    fn delete<'a>(&'a self, user_id: &'a str, id: &'a str) -> BoxFuture<'a, Result<Value, String>> {
        answer(self.delete_by(user_id, id)).boxed()
    }
}

async fn answer(asked: impl Future<Output = Result<Option<Value>, sqlx::Error>>) -> Result<Value, String> {
    match tokio::time::timeout(DATABASE_TIMEOUT, asked).await {
        Ok(Ok(Some(answer))) => Ok(answer),
        // Whether somebody else has it is nobody's business.
        Ok(Ok(None)) => Err("there is no such notification in your inbox".to_owned()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the inbox could not be asked");
            Err("the inbox can't be reached; try again in a moment".to_owned())
        }
        Err(_) => Err(format!("the inbox did not answer within {} s; try again", DATABASE_TIMEOUT.as_secs())),
    }
}

/// Whether what could not be written is to be tried again. What Postgres ended for its time has most often waited for a
/// lock; nothing in it is wrong.
fn may_go_later(error: &sqlx::Error) -> bool {
    is_unavailable(error) || is_cancelled(error)
}

/// The event's recipients, each once: whoever is in several audiences gets the words of the first.
fn entries(event: &Event) -> Vec<Entry<'_>> {
    let mut known = HashSet::new();
    let mut entries = Vec::new();
    for audience in &event.audiences {
        for room in &audience.rooms {
            let (user_id, is_store) = match room.as_str().split_once(':') {
                Some(("user", id)) => (id, false),
                Some(("seller", id)) => (id, true),
                _ => continue,
            };
            if known.insert(user_id) {
                entries.push(entry(event, audience, user_id, is_store));
            }
        }
    }
    entries
}

fn entry<'e>(event: &'e Event, audience: &Audience, user_id: &str, is_store: bool) -> Entry<'e> {
    let value = |key: &str| audience.data.iter().find(|(name, _)| &**name == key).map(|(_, value)| &**value);
    Entry {
        source: &event.id,
        kind: &event.kind,
        user_id: user_id.to_owned(),
        seller_id: is_store.then(|| user_id.to_owned()),
        title: value("title").map(text).unwrap_or_default(),
        body: value("body").map(text).unwrap_or_default(),
        subject: value("subject").map(|json| json.get().to_owned()).filter(|json| json != "null"),
    }
}

/// A JSON string's text; other JSON as it is written, and nothing for null.
fn text(json: &RawValue) -> String {
    match serde_json::from_str::<Option<String>>(json.get()) {
        Ok(text) => text.unwrap_or_default(),
        Err(_) => json.get().to_owned(),
    }
}
