//! Who is connecting: what the gateway asks of sign-in.

use std::{fmt, net::IpAddr};

use axum::http::{HeaderMap, header};
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::identity::SignedIn;

/// What a client presents when it connects.
pub struct Handshake {
    /// `io(url, { auth: … })`; `null` if the client gave none.
    pub auth: Value,
    /// Of the request that opened the connection: cookies, and `Authorization`.
    pub headers: HeaderMap,
    /// The client's own, behind the proxies that are trusted.
    pub address: IpAddr,
}

impl Handshake {
    /// Whether there is nothing in it that could sign anybody in, right or wrong: no field of `auth` but the position to
    /// resume from, no cookie, no `Authorization`.
    pub fn presents_nothing(&self) -> bool {
        let nothing = |value: &Value| value.is_null() || value.as_str() == Some("");
        let silent = match &self.auth {
            Value::Object(auth) => auth.iter().all(|(name, value)| name == "since" || nothing(value)),
            auth => auth.is_null(),
        };
        silent && [header::COOKIE, header::AUTHORIZATION].iter().all(|name| !self.headers.contains_key(name))
    }
}

/// Why somebody is not signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What was presented is no good. A sentence for the client, which tells nothing that it doesn't know.
    #[error("{0}")]
    Denied(String),
    /// Nobody knows: the database or the server of keys did not answer. The same may work in a moment.
    #[error("{0}")]
    Unavailable(String),
}

/// Finds out who is connecting, and whether that still holds.
pub trait SignIn: Send + Sync + 'static {
    /// # Errors
    ///
    /// Why not; the client gets the sentence as `connect_error`, or as the answer to `auth:renew`.
    fn sign_in<'a>(&'a self, handshake: &'a Handshake) -> BoxFuture<'a, Result<SignedIn, Refused>>;

    /// Asks anew who this is, with the same grounds: roles and stores may be others now, and the grounds may be gone.
    ///
    /// # Errors
    ///
    /// [`Refused::Denied`] if the sign-in has ended.
    fn confirm<'a>(&'a self, before: &'a SignedIn) -> BoxFuture<'a, Result<SignedIn, Refused>>;
}

impl fmt::Debug for Handshake {
    /// Without what it holds: that is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").finish_non_exhaustive()
    }
}

/// What a JSON value is, for a message to a client.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_client_presents_does_not_reach_a_log() {
        let auth = json!({ "userId": "u1", "token": "secret" });
        let handshake = Handshake { auth, headers: HeaderMap::new(), address: IpAddr::from([127, 0, 0, 1]) };
        assert_eq!(format!("{handshake:?}"), "Handshake { .. }");
    }

    #[test]
    fn who_shows_neither_a_token_nor_a_cookie_presents_nothing() {
        let nothing = |auth, headers: &[(&'static str, &str)]| {
            let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let headers = HeaderMap::from_iter(pairs);
            Handshake { auth, headers, address: IpAddr::from([127, 0, 0, 1]) }.presents_nothing()
        };
        let since = json!({ "since": "1:2", "token": null, "userId": "" });
        assert!(nothing(json!(null), &[("user-agent", "x")]) && nothing(json!({}), &[]) && nothing(since, &[]));
        for auth in [json!({ "token": "x" }), json!({ "token": 17 }), json!({ "userId": "u1" }), json!("x"), json!([])]
        {
            assert!(!nothing(auth.clone(), &[]), "{auth}");
        }
        assert!(!nothing(json!(null), &[("cookie", "a=b")]) && !nothing(json!(null), &[("authorization", "Bearer x")]));
    }
}
