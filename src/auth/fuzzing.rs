//! What clients show when they sign in, up to where the database would be asked.

use std::{fs, process, sync::LazyLock};

use aws_lc_rs::hmac;
use axum::http::{HeaderMap, HeaderValue, header};
use futures_util::FutureExt;

use super::{
    Algorithm, JwtConfig, claims,
    cookies::{cookie, unsign},
    jwks,
    jwt::{TokenRules, Tokens},
    presented::{self, token},
};
use crate::gateway::Handshake;

/// Of which no input knows anything.
const SECRET: &str = "a secret that nobody knows, of 64 characters so that it is long";

/// Verifies tokens, each signed with [`SECRET`].
static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("rowcast-fuzzing-{}", process::id()));
    fs::write(&file, SECRET).expect("a file for the secret");
    let config = JwtConfig {
        algorithm: Some(Algorithm::Hs256),
        secret_file: vec![file.clone()],
        cookie: Some("token".to_owned()),
        ..JwtConfig::default()
    };
    let rules = TokenRules::load(&config);
    fs::remove_file(file).ok();
    rules.and_then(TokenRules::open).expect("a secret that will do")
});

/// Reads what a client shows: its `auth` as JSON, the header `Authorization`, and the header `Cookie`.
///
/// # Panics
///
/// If anybody gets in.
pub fn show(auth: &[u8], authorization: &[u8], cookies: &[u8]) {
    let mut headers = HeaderMap::new();
    for (name, value) in [(header::AUTHORIZATION, authorization), (header::COOKIE, cookies)] {
        headers.extend(HeaderValue::from_bytes(value).ok().map(|value| (name, value)));
    }
    let auth = serde_json::from_slice(auth).unwrap_or_default();
    let handshake = Handshake { auth, headers, address: [127, 0, 0, 1].into() };
    if let Ok(Some(token)) = token(&handshake, Some("token")) {
        // The keys are known, so that nothing is waited for.
        let verified = TOKENS.verify(&token).now_or_never().expect("no wait");
        assert!(verified.is_err(), "a forged token was taken: {token:?}");
    }
    if let Some(value) = cookie(&handshake.headers, "connect.sid") {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        assert_eq!(unsign(&value, &[key]), None, "a forged cookie was taken");
    }
    if let Ok(user) = presented::field(&handshake.auth, "userId") {
        _ = presented::user_id(user);
    }
    // As if it had been signed by somebody who may.
    if let Some(object) = handshake.auth.as_object() {
        _ = claims::read(object, &JwtConfig::default().claims);
        _ = jwks::parse(handshake.auth.to_string().as_bytes(), None);
    }
}
