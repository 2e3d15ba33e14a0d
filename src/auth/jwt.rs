//! Tokens (JSON Web Tokens): verified when a client connects, and no longer than they hold.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use jsonwebtoken::{Validation, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{
    Algorithm, ClaimNames, JwtConfig, KeysUrl, claims,
    fetch::{Pace, Published},
    jwks::{self, candidates},
    keys::{self, Key},
};
use crate::{error::Error, gateway::Refused, identity::Claimed};

/// The longest token that is looked at, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;
/// Clocks that differ by more are wrong.
const MOST_LEEWAY: Duration = Duration::from_secs(10 * 60);
/// The end of what every program can write as a date.
const END_OF_TIME: i64 = 253_402_300_799;

/// How tokens are verified, before any key was fetched.
#[derive(Debug)]
pub(super) struct TokenRules {
    source: KeySource,
    checks: Checks,
    names: ClaimNames,
    cookie: Option<String>,
}

#[derive(Debug)]
enum KeySource {
    Known(Arc<[Key]>),
    Published { url: KeysUrl, only: Option<Algorithm>, pace: Pace },
}

/// Verifies tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    keys: Keys,
    checks: Checks,
    names: ClaimNames,
    /// The cookie that may hold a token.
    pub cookie: Option<String>,
}

#[derive(Debug)]
enum Keys {
    Known(Arc<[Key]>),
    Published(Published),
}

/// What must hold of a token whose signature is right.
#[derive(Debug)]
struct Checks {
    issuer: Option<HashSet<String>>,
    audience: Option<HashSet<String>>,
    leeway: Duration,
}

/// A token that was verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub claimed: Claimed,
    pub until: DateTime<Utc>,
}

impl TokenRules {
    /// Reads what `[auth.jwt]` names.
    ///
    /// # Errors
    ///
    /// What is missing, wrong or too much, and what to write.
    pub fn load(config: &JwtConfig) -> Result<Self, Error> {
        let wrong = |what: &str| Err(Error::Configuration(format!("[auth.jwt] {what}")));
        let has_keys = [
            !config.secret_env.is_empty() || !config.secret_file.is_empty(),
            !config.public_key_env.is_empty() || !config.public_key_file.is_empty(),
            config.jwks_url.is_some(),
            config.jwks_file.is_some(),
        ];
        match has_keys.into_iter().filter(|has| *has).count() {
            0 => {
                return wrong(
                    "names no key to verify tokens with; expected algorithm = \"HS256\" with secret_env = \"JWT_SECRET\" (or secret_file), or algorithm = \"RS256\" (\"ES256\", \"EdDSA\") with public_key_file (or public_key_env), or jwks_url = \"https://…\" (or jwks_file)",
                );
            }
            1 => {}
            _ => {
                return wrong(
                    "names several kinds of keys; expected one of secret_env and secret_file, public_key_env and public_key_file, jwks_url, jwks_file",
                );
            }
        }
        if config.leeway > MOST_LEEWAY {
            return wrong("leeway: expected at most 10m; clocks that differ by more are to be set right");
        }
        if config.cookie.as_deref().is_some_and(str::is_empty) {
            return wrong("cookie: expected the name of a cookie, found none");
        }
        let is_set = config.jwks_url.is_some() || config.jwks_file.is_some();
        if is_set && config.algorithm == Some(Algorithm::Hs256) {
            return wrong("algorithm = \"HS256\" needs secret_env or secret_file: a set of keys holds no secrets");
        }
        let pace = Pace::with_refresh(config.jwks_refresh);
        if config.jwks_refresh < pace.least {
            return wrong("jwks_refresh: expected at least 10s");
        }
        let source = match (&config.jwks_url, &config.jwks_file) {
            (Some(url), _) => KeySource::Published { url: url.clone(), only: config.algorithm, pace },
            (None, Some(file)) => KeySource::Known(jwks::read(file, config.algorithm)?),
            (None, None) => KeySource::Known(keys::read(config)?.into()),
        };
        let some = |names: &[String]| Some(names.iter().cloned().collect()).filter(|set: &HashSet<_>| !set.is_empty());
        let checks = Checks { issuer: some(&config.issuer), audience: some(&config.audience), leeway: config.leeway };
        Ok(Self { source, checks, names: config.claims.clone(), cookie: config.cookie.clone() })
    }

    /// Begins to fetch keys where they are published.
    ///
    /// # Errors
    ///
    /// If they can't be fetched from this machine at all.
    pub fn open(self) -> Result<Tokens, Error> {
        let Self { source, checks, names, cookie } = self;
        let keys = match source {
            KeySource::Known(keys) => Keys::Known(keys),
            KeySource::Published { url, only, pace } => Keys::Published(Published::follow(&url, only, pace)?),
        };
        Ok(Tokens { keys, checks, names, cookie })
    }
}

impl Tokens {
    /// Verifies a token: signature, issuer, audience, and that it holds now.
    ///
    /// # Errors
    ///
    /// [`Refused::Denied`] with a sentence that helps no attacker; the log says more at debug level, without the token.
    pub async fn verify(&self, token: &str) -> Result<Verified, Refused> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refused::Denied(format!("the token is not valid: it is longer than {LONGEST_TOKEN} bytes")));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| invalid(&error))?;
        if header.crit.is_some() {
            return Err(invalid(&"its header names extensions that must be understood"));
        }
        let (keys, id) = match &self.keys {
            // They have no ids.
            Keys::Known(keys) if keys.iter().all(|key| key.id.is_none()) => (keys.clone(), None),
            Keys::Known(keys) => (keys.clone(), header.kid.as_deref()),
            Keys::Published(published) => (published.keys(header.kid.as_deref()).await?, header.kid.as_deref()),
        };
        let claims = self.claims_of(token, candidates(&keys, id))?;
        let until = self.until(&claims)?;
        let claimed = claims::read(&claims, &self.names).map_err(Refused::Denied)?;
        Ok(Verified { claimed, until })
    }

    /// The claims of a token that one of the keys has signed, and that holds.
    fn claims_of<'a>(&self, token: &str, keys: impl Iterator<Item = &'a Key>) -> Result<Map<String, Value>, Refused> {
        let mut refused = invalid(&"no key has its id");
        for key in keys {
            match jsonwebtoken::decode(token, &key.decoding, &self.checks.of(key.algorithm)) {
                Ok(token) => return Ok(token.claims),
                // What is wrong with another key's signature says nothing of this one's.
                Err(error) => match error.kind() {
                    ErrorKind::ExpiredSignature => {
                        return Err(Refused::Denied("the token is not valid: it has expired".to_owned()));
                    }
                    ErrorKind::ImmatureSignature => {
                        return Err(Refused::Denied("the token is not valid yet".to_owned()));
                    }
                    ErrorKind::InvalidAudience if self.checks.audience.is_none() => {
                        return Err(invalid(&"it is for an audience, and [auth.jwt] audience names none"));
                    }
                    ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => refused = invalid(&error),
                    _ => return Err(invalid(&error)),
                },
            }
        }
        Err(refused)
    }

    fn until(&self, claims: &Map<String, Value>) -> Result<DateTime<Utc>, Refused> {
        let exp = claims.get("exp").and_then(|exp| exp.as_u64().or_else(|| exp.as_f64().map(|exp| exp.round() as u64)));
        let exp = exp.ok_or_else(|| invalid(&"it has no exp"))?;
        let until = exp.saturating_add(self.checks.leeway.as_secs());
        let until = i64::try_from(until).unwrap_or(END_OF_TIME).min(END_OF_TIME);
        Ok(DateTime::from_timestamp(until, 0).expect("a date that every program can write"))
    }
}

impl Checks {
    fn of(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(match algorithm {
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        });
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        validation.iss = self.issuer.clone();
        validation.aud = self.audience.clone();
        let required = [("exp", true), ("iss", self.issuer.is_some()), ("aud", self.audience.is_some())];
        validation.required_spec_claims =
            required.into_iter().filter(|(_, is)| *is).map(|(name, _)| name.to_owned()).collect();
        validation
    }
}

/// One sentence for all that could teach somebody to forge a better one.
fn invalid(reason: &dyn std::fmt::Display) -> Refused {
    tracing::debug!(%reason, "a token was refused");
    Refused::Denied("the token is not valid".to_owned())
}
