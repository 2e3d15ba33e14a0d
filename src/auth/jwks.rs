//! Sets of keys (JWKS): what can be used of them.

use std::{path::Path, sync::Arc};

use serde::Deserialize;

use super::{Algorithm, keys::Key};
use crate::error::Error;

/// More keys than any issuer has; each is tried for a token that names none.
const MOST_KEYS: usize = 32;

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The keys of a set that can verify tokens; if `only` is given, those for that algorithm. The others are left out, with
/// a word in the log: a set may hold keys for other purposes.
///
/// # Errors
///
/// If it is no set, or nothing of it can be used.
pub(super) fn parse(json: &[u8], only: Option<Algorithm>) -> Result<Arc<[Key]>, String> {
    let document: Document = serde_json::from_slice(json)
        .map_err(|error| format!("expected a JWKS, {{\"keys\": […]}}, found something else: {error}"))?;
    if document.keys.len() > MOST_KEYS {
        return Err(format!("it holds {} keys; expected at most {MOST_KEYS}", document.keys.len()));
    }
    let mut keys = Vec::with_capacity(document.keys.len());
    let mut refused = Vec::new();
    for (number, jwk) in document.keys.iter().enumerate() {
        match Key::from_jwk(jwk) {
            Ok(key) if only.is_some_and(|only| only != key.algorithm) => {
                refused.push(format!("key {number}: it is for {}", key.algorithm));
            }
            Ok(key) => keys.push(key),
            Err(reason) => refused.push(format!("key {number}: {reason}")),
        }
    }
    if keys.is_empty() {
        let reasons = if refused.is_empty() { "it is empty".to_owned() } else { refused.join("; ") };
        return Err(format!("no key of it can be used: {reasons}"));
    }
    for reason in refused {
        tracing::debug!(reason, "left out a key of the set");
    }
    Ok(keys.into())
}

/// A set that lies in a file.
pub(super) fn read(file: &Path, only: Option<Algorithm>) -> Result<Arc<[Key]>, Error> {
    let wrong = |what: String| Error::Configuration(format!("{} ([auth.jwt] jwks_file): {what}", file.display()));
    let json = std::fs::read(file).map_err(|error| wrong(format!("it can't be read: {error}")))?;
    parse(&json, only).map_err(wrong)
}

/// The keys that a token with this key id may be signed by; all if it names none.
pub(super) fn candidates<'a>(keys: &'a [Key], id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
    keys.iter().filter(move |key| id.is_none() || key.id.as_deref() == id)
}
