//! What a client shows when it connects.

use axum::http::header;
use serde_json::Value;

use super::cookies::cookie;
use crate::{
    gateway::{Handshake, Refused, kind},
    room::MAX_LENGTH,
};

/// The token: `auth.token` before the header `Authorization` before the cookie of that name.
///
/// # Errors
///
/// If what stands there can't be a token.
pub(super) fn token(handshake: &Handshake, cookie_name: Option<&str>) -> Result<Option<String>, Refused> {
    match field(&handshake.auth, "token")? {
        Value::Null => {}
        Value::String(token) if token.is_empty() => {}
        Value::String(token) => return Ok(Some(token.clone())),
        other => return Err(Refused::Denied(format!("auth.token: expected a string, found {}", kind(other)))),
    }
    if let Some(token) = bearer(handshake)? {
        return Ok(Some(token));
    }
    let token = cookie_name.and_then(|name| cookie(&handshake.headers, name));
    Ok(token.filter(|token| !token.is_empty()))
}

/// `Authorization: Bearer …`; what other schemes say (a proxy's password, say) is not for us.
fn bearer(handshake: &Handshake) -> Result<Option<String>, Refused> {
    let Some(header) = handshake.headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let Some((scheme, token)) = header.as_bytes().split_at_checked(7) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Ok(None);
    }
    let token = str::from_utf8(token).map_err(|_| Refused::Denied("the token is not valid".to_owned()))?.trim();
    Ok(Some(token.to_owned()).filter(|token| !token.is_empty()))
}

/// A field of what the client gave as `auth`; null if there is none.
///
/// # Errors
///
/// If it gave something that has no fields.
pub(super) fn field<'a>(auth: &'a Value, name: &str) -> Result<&'a Value, Refused> {
    match auth {
        Value::Null => Ok(&Value::Null),
        Value::Object(auth) => Ok(auth.get(name).unwrap_or(&Value::Null)),
        other => {
            let error = format!("auth: expected an object such as {{ {name}: \"…\" }}, found {}", kind(other));
            Err(Refused::Denied(error))
        }
    }
}

/// A user's id, from wherever it comes: a string, or a whole number as databases with serial keys have them.
///
/// # Errors
///
/// What was expected, and what was found.
pub(super) fn user_id(value: &Value) -> Result<String, String> {
    let id = match value {
        Value::String(id) => id.clone(),
        Value::Number(id) if id.is_i64() || id.is_u64() => id.to_string(),
        other => return Err(format!("expected a string, found {}", kind(other))),
    };
    if id.is_empty() || id.len() > MAX_LENGTH {
        return Err(format!("expected between 1 and {MAX_LENGTH} bytes, found {}", id.len()));
    }
    if id.chars().any(char::is_control) {
        return Err("expected no control characters".to_owned());
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn handshake(auth: Value, headers: &[(&'static str, &str)]) -> Handshake {
        let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Handshake { auth, headers: HeaderMap::from_iter(pairs), address: Ipv4Addr::LOCALHOST.into() }
    }

    #[test]
    fn the_token_is_taken_from_auth_then_from_the_header_then_from_the_cookie() {
        let all = [("authorization", "bEARER two"), ("cookie", "jwt=three")];
        let found = |auth, headers: &[(&'static str, &str)]| token(&handshake(auth, headers), Some("jwt")).unwrap();
        assert_eq!(found(json!({ "token": "one" }), &all).as_deref(), Some("one"));
        assert_eq!(found(json!({ "token": "" }), &all).as_deref(), Some("two"));
        assert_eq!(found(json!({ "token": null }), &all[1..]).as_deref(), Some("three"));
        assert_eq!(found(json!(null), &[("authorization", "Basic dTpw")]), None);
        assert_eq!(found(json!(null), &[("authorization", "Bearer ")]), None);
        assert_eq!(found(json!(null), &[("authorization", "Be")]), None);
        assert_eq!(token(&handshake(json!(null), &all[1..]), None), Ok(None));
    }

    #[test]
    fn what_can_be_no_token_is_refused_without_being_repeated() {
        for auth in [json!({ "token": 17 }), json!({ "token": ["x"] }), json!("x"), json!(true), json!(["x"])] {
            let Err(Refused::Denied(error)) = token(&handshake(auth.clone(), &[]), None) else { panic!("{auth}") };
            assert!(error.contains("expected"), "{error}");
        }
    }

    #[test]
    fn a_user_id_is_a_string_or_a_whole_number() {
        assert_eq!(user_id(&json!("u1")), Ok("u1".to_owned()));
        assert_eq!(user_id(&json!(17)), Ok("17".to_owned()));
        assert_eq!(user_id(&json!("x".repeat(MAX_LENGTH))).map(|id| id.len()), Ok(MAX_LENGTH));
        for wrong in [json!(""), json!("x".repeat(MAX_LENGTH + 1)), json!("a\0b"), json!(1.5), json!(null), json!([1])]
        {
            assert!(user_id(&wrong).expect_err("no id").starts_with("expected"), "{wrong}");
        }
    }
}
