//! The application's own sessions: express-session's cookie, and the table of connect-pg-simple.

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgPool;

use super::{
    SessionConfig,
    cookies::{cookie, unsign},
    lookup::{Found, Lookup, NamedQuery},
    presented::user_id,
    secrets,
};
use crate::{
    capture::Connection,
    config::Target,
    error::Error,
    gateway::{Handshake, Refused},
    pool,
};

/// Longer than any session's id, in bytes.
const LONGEST_ID: usize = 1024;

/// A session's id as a row has it; as a client shows it, it comes to the same.
///
/// # Errors
///
/// If no client can have signed in by it.
pub(super) fn session_id(value: &Value) -> Result<String, String> {
    let id = match value {
        Value::String(id) => id.clone(),
        Value::Number(id) if id.is_i64() || id.is_u64() => id.to_string(),
        _ => return Err("expected a string".to_owned()),
    };
    if is_id(&id) { Ok(id) } else { Err(format!("expected at most {LONGEST_ID} bytes, none of them zero")) }
}

fn is_id(id: &str) -> bool {
    id.len() <= LONGEST_ID && !id.contains('\0')
}

const SESSION: &str = "sign_in_session";

/// How sessions are found, before the database was asked anything.
pub(super) struct SessionRules {
    config: SessionConfig,
    secrets: Vec<hmac::Key>,
}

/// Finds sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    cookie: String,
    secrets: Vec<hmac::Key>,
    lookup: Lookup,
}

/// A session that holds, of a user.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub id: String,
    pub user_id: String,
    pub until: DateTime<Utc>,
}

/// The SQL that finds a session: whose it is, and until when. Nothing else of it leaves the table.
pub(super) fn query(config: &SessionConfig) -> NamedQuery {
    let path = |path: &String| {
        let parts: Vec<String> = path.split('.').map(literal).collect();
        format!("session.sess::jsonb #> array[{}]::text[]", parts.join(", "))
    };
    let paths: Vec<String> = config.user.iter().map(path).collect();
    // Where passport is told to keep the whole user, it is their id that counts.
    let form = format!(
        "select session.sid::text as key,
           (select case jsonb_typeof(place.value) when 'object' then place.value -> 'id' else place.value end
            from unnest(array[{paths}]::jsonb[]) with ordinality as place (value, number)
            where jsonb_typeof(place.value) <> 'null' order by place.number limit 1) as user_id,
           case when pg_typeof(session.expire) = 'timestamptz'::regtype then session.expire::timestamptz end as expire,
           case when pg_typeof(session.expire) <> 'timestamptz'::regtype then session.expire::timestamp end as local_expire
         from {table} as session where session.sid::text = any($1)",
        paths = paths.join(", "),
        table = config.table.to_sql(),
    );
    NamedQuery { name: SESSION, forms: vec![form] }
}

#[derive(Debug, Deserialize)]
struct Row {
    user_id: Option<Value>,
    /// In seconds since 1970.
    until: f64,
    holds: bool,
}

impl SessionRules {
    /// Reads what `[auth.session]` names.
    ///
    /// # Errors
    ///
    /// What is missing or wrong, and what to write.
    pub fn load(config: &SessionConfig) -> Result<Self, Error> {
        let wrong = |what: &str| Err(Error::Configuration(format!("[auth.session] {what}")));
        let secrets = secrets::read("auth.session", "secret", &config.secret_env, &config.secret_file)?;
        if secrets.is_empty() {
            return wrong(
                "names no secret to check cookies with; expected secret_env = \"SESSION_SECRET\" (or secret_file), the secret that the application gives express-session",
            );
        }
        if config.cookie.is_empty() {
            return wrong("cookie: expected the name of the session's cookie, as in \"connect.sid\"; found none");
        }
        if config.user.is_empty() || config.user.iter().any(|path| path.split('.').any(str::is_empty)) {
            return wrong("user: expected the path to the user's id in a session, as in \"passport.user\"");
        }
        if config.time_zone.as_deref().is_some_and(str::is_empty) {
            return wrong("time_zone: expected such as \"UTC\" or \"Europe/Berlin\"; found none");
        }
        let key = |found: secrets::Found| hmac::Key::new(hmac::HMAC_SHA256, found.secret.bytes());
        Ok(Self { config: config.clone(), secrets: secrets.into_iter().map(key).collect() })
    }

    /// Looks how the database writes the times at which sessions expire.
    ///
    /// # Errors
    ///
    /// If it has no such table, or it may not be read.
    pub async fn open(self, pool: &PgPool, database: &Target) -> Result<Sessions, Error> {
        let Self { config, secrets } = self;
        let zone = match &config.time_zone {
            Some(zone) => zone.clone(),
            None => server_time_zone(database).await?,
        };
        check_zone(pool, &zone).await?;
        let expire = format!("coalesce(found.expire, found.local_expire at time zone {})", literal(&zone));
        let projection = format!(
            "jsonb_build_object('user_id', found.user_id, 'until', extract(epoch from {expire}), 'holds', {expire} > now())"
        );
        let lookup = Lookup::new(pool.clone(), query(&config), &projection);
        lookup
            .check(&format!(
                "[auth.session] table {}: sessions can't be looked up, with columns sid, sess and expire as connect-pg-simple makes them",
                config.table
            ))
            .await?;
        Ok(Sessions { cookie: config.cookie, secrets, lookup })
    }
}

impl Sessions {
    /// The cookie that the client shows; `None` if it shows none.
    pub fn presented(&self, handshake: &Handshake) -> Option<String> {
        cookie(&handshake.headers, &self.cookie).filter(|value| !value.is_empty())
    }

    /// The session that a cookie names; `None` if the cookie isn't signed, or the session is none of a user any more.
    ///
    /// # Errors
    ///
    /// [`Refused::Unavailable`] if the database doesn't answer in time.
    pub async fn of_cookie(&self, cookie: &str) -> Result<Option<Session>, Refused> {
        let Some(id) = unsign(cookie, &self.secrets) else {
            tracing::debug!("a session's cookie was refused: none of the secrets signed it");
            return Ok(None);
        };
        self.of_id(id).await
    }

    /// The same of a session whose cookie was checked before.
    ///
    /// # Errors
    ///
    /// As above.
    pub async fn of_id(&self, id: &str) -> Result<Option<Session>, Refused> {
        if !is_id(id) {
            return Ok(None);
        }
        let rows = match self.lookup.find::<Row>(id).await? {
            Found::Rows(rows) => rows,
            Found::NoKey => return Ok(None),
            Found::NotThere(error) => {
                self.lookup.complain(&error, "the sessions' table can't be read, so nobody can sign in by it");
                let error = "the database could not be asked who you are; try again in a moment";
                return Err(Refused::Unavailable(error.to_owned()));
            }
        };
        let Some(row) = rows.into_iter().find(|row| row.holds) else {
            tracing::debug!("a session was refused: there is none of that id, or it has expired");
            return Ok(None);
        };
        let Some(Ok(user_id)) = row.user_id.as_ref().filter(|user| !user.is_null()).map(user_id) else {
            tracing::debug!("a session was refused: it names no user where [auth.session] user says");
            return Ok(None);
        };
        let until = DateTime::from_timestamp_millis((row.until * 1000.0) as i64).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok(Some(Session { id: id.to_owned(), user_id, until }))
    }
}

/// The time zone that the application's connections have unless they set another. Those of a pool can't tell: they set
/// UTC for themselves.
async fn server_time_zone(database: &Target) -> Result<String, Error> {
    let unreachable =
        |error: &dyn std::fmt::Display| Error::Unreachable(format!("the database's time zone can't be read: {error}"));
    let connection = Connection::open(database, "sign-in").await.map_err(|error| unreachable(&error))?;
    let row = connection.query_one("select current_setting('TimeZone')", &[]).await;
    row.map(|row| row.get(0)).map_err(|error| unreachable(&error))
}

async fn check_zone(pool: &PgPool, zone: &str) -> Result<(), Error> {
    match pool::in_time(sqlx::query("select now() at time zone $1").bind(zone).execute(pool)).await {
        Err(sqlx::Error::Database(error)) => Err(Error::Configuration(format!(
            "[auth.session] time_zone: {}; expected such as \"UTC\" or \"Europe/Berlin\"",
            error.message()
        ))),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// A string for SQL.
fn literal(text: &str) -> String {
    let text = text.replace('\0', "").replace('\'', "''");
    // E'…' means the same whatever `standard_conforming_strings` says.
    format!("E'{}'", text.replace('\\', "\\\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_configuration_can_not_break_out_of_its_literal() {
        assert_eq!(literal(r"it's \' x"), r"E'it''s \\'' x'");
        let config = SessionConfig { user: vec!["a'] b.c".into()], ..SessionConfig::default() };
        assert!(query(&config).forms[0].contains("array[E'a''] b', E'c']::text[]"), "{:?}", query(&config));
    }
}
