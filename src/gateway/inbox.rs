//! What clients ask of their inbox: to list it, to mark a notification as read, to delete one.

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::BoxFuture;
use serde_json::Value;

use super::sign_in::kind;

/// Notifications in one answer, unless the client asks for fewer.
const PAGE: u32 = 50;
pub(super) const LARGEST_PAGE: u32 = 200;

/// A page of the inbox, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    pub limit: u32,
    /// What is older than this notification, by its time and id.
    pub before: Option<(DateTime<Utc>, String)>,
    pub unread_only: bool,
}

/// The inboxes. Every question is about the asker's own.
pub trait Inbox: Send + Sync + 'static {
    /// `{success, notifications, unread, next}`
    ///
    /// # Errors
    ///
    /// A sentence for the client; so below.
    fn list<'a>(&'a self, user_id: &'a str, request: ListRequest) -> BoxFuture<'a, Result<Value, String>>;

    /// Marks one as read, or all: `{success, unread}`.
    fn read<'a>(&'a self, user_id: &'a str, id: Option<&'a str>) -> BoxFuture<'a, Result<Value, String>>;

    /// `{success, unread}`
    fn delete<'a>(&'a self, user_id: &'a str, id: &'a str) -> BoxFuture<'a, Result<Value, String>>;
}

/// A message about the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    List(ListRequest),
    Read(Option<String>),
    Delete(String),
}

/// What the client hands back as `before` to get the next page.
pub fn page_mark(at: DateTime<Utc>, id: &str) -> String {
    format!("{}@{id}", at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

impl Question {
    /// `None` for a message about something else.
    pub fn parse(name: &str, payload: &Value) -> Option<Result<Self, String>> {
        Some(match name {
            "notification:list" => list(payload).map(Self::List),
            "notification:read" => read(payload).map(Self::Read),
            "notification:delete" => id(payload).map(Self::Delete),
            _ => return None,
        })
    }

    pub async fn ask(self, inbox: &dyn Inbox, user_id: &str) -> Result<Value, String> {
        match self {
            Self::List(request) => inbox.list(user_id, request).await,
            Self::Read(id) => inbox.read(user_id, id.as_deref()).await,
            Self::Delete(id) => inbox.delete(user_id, &id).await,
        }
    }
}

fn list(payload: &Value) -> Result<ListRequest, String> {
    let limit = match payload.get("limit") {
        None | Some(Value::Null) => PAGE,
        Some(limit) => limit
            .as_u64()
            .and_then(|limit| u32::try_from(limit).ok())
            .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
            .ok_or_else(|| format!("limit: expected a number from 1 to {LARGEST_PAGE}, found {limit}"))?,
    };
    let before = match payload.get("before") {
        None | Some(Value::Null) => None,
        Some(Value::String(mark)) => Some(parse_mark(mark).ok_or("before: expected the `next` of an earlier answer")?),
        Some(other) => return Err(format!("before: expected the `next` of an earlier answer, found {}", kind(other))),
    };
    let unread_only = match payload.get("unread") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(other) => return Err(format!("unread: expected true or false, found {}", kind(other))),
    };
    Ok(ListRequest { limit, before, unread_only })
}

fn parse_mark(mark: &str) -> Option<(DateTime<Utc>, String)> {
    let (at, id) = mark.split_once('@')?;
    let at = DateTime::parse_from_rfc3339(at).ok()?.with_timezone(&Utc);
    (!id.contains('\0')).then(|| (at, id.to_owned()))
}

fn read(payload: &Value) -> Result<Option<String>, String> {
    if payload.get("all") == Some(&Value::Bool(true)) {
        return Ok(None);
    }
    id(payload).map(Some)
}

fn id(payload: &Value) -> Result<String, String> {
    match payload.get("notificationId") {
        Some(Value::String(id)) if !id.is_empty() && !id.contains('\0') => Ok(id.clone()),
        Some(other) => Err(format!("notificationId: expected the id of a notification, found {}", kind(other))),
        None => Err("expected an object with the key notificationId".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_mark_of_a_page_leads_to_the_next() {
        let at = DateTime::parse_from_rfc3339("2026-01-31T12:00:00.123456Z").unwrap().with_timezone(&Utc);
        let mark = page_mark(at, "a@b");
        let request = list(&json!({ "before": mark, "limit": 2, "unread": true })).unwrap();
        assert_eq!(request, ListRequest { limit: 2, before: Some((at, "a@b".to_owned())), unread_only: true });
    }

    #[test]
    fn what_cannot_be_read_is_told_with_what_was_expected() {
        for (payload, expected) in [
            (json!({ "limit": 0 }), "limit: expected a number from 1 to 200, found 0"),
            (json!({ "limit": "all" }), "limit: expected a number from 1 to 200, found \"all\""),
            (json!({ "before": "yesterday" }), "before: expected the `next` of an earlier answer"),
            (json!({ "unread": 1 }), "unread: expected true or false, found a number"),
        ] {
            assert_eq!(list(&payload).unwrap_err(), expected);
        }
        assert_eq!(
            id(&json!({ "notificationId": 1 })).unwrap_err(),
            "notificationId: expected the id of a notification, found a number"
        );
        assert_eq!(id(&json!(null)).unwrap_err(), "expected an object with the key notificationId");
    }

    #[test]
    fn all_are_read_only_if_that_is_said() {
        assert_eq!(read(&json!({ "all": true })), Ok(None));
        assert_eq!(read(&json!({ "notificationId": "1" })), Ok(Some("1".to_owned())));
        assert!(read(&json!({ "all": false })).is_err());
    }
}
