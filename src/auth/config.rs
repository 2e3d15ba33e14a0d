//! `[auth]` in the configuration file. It names secrets, and holds none.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::table::TableRef;

/// A way in which clients may sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A JSON Web Token; `[auth.jwt]` says how it is verified.
    Jwt,
    /// The session that the application keeps with express-session; `[auth.session]` says where.
    Session,
    /// Without signing in, into public rooms.
    Anonymous,
    /// Believes `auth.userId`. For development: alone, and on a loopback address.
    Insecure,
}

/// `[auth]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The ways that are open; `--auth`. There is no default.
    pub modes: Vec<Mode>,
    pub jwt: JwtConfig,
    pub session: SessionConfig,
    pub identity: IdentityConfig,
}

/// `[auth.jwt]`: the keys come from a secret, from PEM, or from a set of keys (JWKS); from one of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// What tokens are signed with. For a set of keys each key says it, and this leaves only keys for it.
    pub algorithm: Option<Algorithm>,
    /// Environment variables that hold secrets; more than one while a secret is exchanged.
    #[serde(deserialize_with = "one_or_many")]
    pub secret_env: Vec<String>,
    /// Files that hold secrets.
    #[serde(deserialize_with = "one_or_many")]
    pub secret_file: Vec<PathBuf>,
    /// Environment variables that hold public keys in PEM.
    #[serde(deserialize_with = "one_or_many")]
    pub public_key_env: Vec<String>,
    /// Files of public keys in PEM.
    #[serde(deserialize_with = "one_or_many")]
    pub public_key_file: Vec<PathBuf>,
    /// Where a set of keys is published.
    pub jwks_url: Option<KeysUrl>,
    /// A file that holds a set of keys.
    pub jwks_file: Option<PathBuf>,
    /// How old the published set may be.
    #[serde(with = "humantime_serde")]
    pub jwks_refresh: Duration,
    /// Who must have issued a token, `iss`: one of these. Unchecked if there is none.
    #[serde(deserialize_with = "one_or_many")]
    pub issuer: Vec<String>,
    /// Whom a token must be for, `aud`: one of these. Without any, a token that is for somebody is refused.
    #[serde(deserialize_with = "one_or_many")]
    pub audience: Vec<String>,
    /// By how much the clocks of the issuer and of this machine may differ.
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
    /// A cookie that may hold the token.
    pub cookie: Option<String>,
    pub claims: ClaimNames,
}

impl Default for JwtConfig {
    fn default() -> Self {
        Self {
            algorithm: None,
            secret_env: Vec::new(),
            secret_file: Vec::new(),
            public_key_env: Vec::new(),
            public_key_file: Vec::new(),
            jwks_url: None,
            jwks_file: None,
            jwks_refresh: Duration::from_secs(10 * 60),
            issuer: Vec::new(),
            audience: Vec::new(),
            leeway: Duration::from_secs(30),
            cookie: None,
            claims: ClaimNames::default(),
        }
    }
}

/// Where a token says who its user is: names of claims, or paths through objects such as `realm_access.roles`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimNames {
    pub user: String,
    pub roles: String,
    pub stores: String,
    pub admin: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { user: "sub".into(), roles: "roles".into(), stores: "stores".into(), admin: "admin".into() }
    }
}

/// `[auth.session]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionConfig {
    /// Environment variables that hold the secret of express-session; more than one while it is exchanged.
    #[serde(deserialize_with = "one_or_many")]
    pub secret_env: Vec<String>,
    /// Files that hold it.
    #[serde(deserialize_with = "one_or_many")]
    pub secret_file: Vec<PathBuf>,
    /// The cookie's name.
    pub cookie: String,
    /// The table of connect-pg-simple.
    pub table: TableRef,
    /// Where a session says who its user is: the first of these paths that is there.
    #[serde(deserialize_with = "one_or_many")]
    pub user: Vec<String>,
    /// Of the application's connections, for `expire` without a time zone. By default the database server's.
    pub time_zone: Option<String>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            secret_env: Vec::new(),
            secret_file: Vec::new(),
            cookie: "connect.sid".into(),
            table: TableRef::named("sessions"),
            user: vec!["passport.user".into(), "userId".into()],
            time_zone: None,
        }
    }
}

/// `[auth.identity]`: who a user is, beyond what the token or the session says.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// Gets user ids as `$1`, text[]; returns `key`, and of `roles` text[], `stores` text[], `admin` boolean, `active`
    /// boolean what it knows. By default the marketplace's tables are asked.
    pub sql: Option<String>,
    /// The tables that this rests on, each with the column that names the user.
    pub changes: BTreeMap<TableRef, String>,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        let changes = [("users", "id"), ("user_store_memberships", "user_id")];
        let changes = changes.map(|(table, column)| (TableRef::named(table), column.to_owned()));
        Self { sql: None, changes: changes.into() }
    }
}

/// What a token is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// A secret that both sides know.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSA, PKCS #1.
    #[serde(rename = "RS256")]
    Rs256,
    /// The curve P-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        })
    }
}

/// Where a set of keys is published: https, or http on this machine. What is printed of it leaves out its query, which
/// may hold a secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct KeysUrl(reqwest::Url);

impl KeysUrl {
    pub fn url(&self) -> &reqwest::Url {
        &self.0
    }

    /// Whether keys may be fetched from there: what an attacker could put in their place is refused.
    pub fn is_trusted(url: &reqwest::Url) -> bool {
        url.scheme() == "https" || url.scheme() == "http" && Self::is_local(url)
    }

    pub fn is_local(url: &reqwest::Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        address.map_or(host == "localhost", |address| address.is_loopback())
    }
}

impl TryFrom<String> for KeysUrl {
    type Error = String;

    /// The error doesn't repeat the text.
    fn try_from(text: String) -> Result<Self, String> {
        let expected = "expected the URL of a JWKS, as in https://issuer.example/.well-known/jwks.json";
        let url = reqwest::Url::parse(&text).map_err(|error| format!("{expected}: {error}"))?;
        if !Self::is_trusted(&url) {
            return Err(format!("{expected}; http is for loopback addresses only"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("{expected}, without a user or a password in it"));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for KeysUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.origin().ascii_serialization(), self.0.path())
    }
}

impl fmt::Debug for KeysUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeysUrl({self})")
    }
}

/// A string, or a list of strings.
fn one_or_many<'de, D: Deserializer<'de>, T: From<String> + Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct OneOrMany<T>(std::marker::PhantomData<T>);

    impl<'de, T: From<String> + Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, or a list of strings")
        }

        fn visit_str<E: de::Error>(self, one: &str) -> Result<Vec<T>, E> {
            Ok(vec![T::from(one.to_owned())])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(many))
        }
    }

    from.deserialize_any(OneOrMany(std::marker::PhantomData))
}
