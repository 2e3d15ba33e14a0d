//! Which ways of signing in are open, and which of them a client takes.

use std::{fmt, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use sqlx::PgPool;

use super::{
    AuthConfig, Concerns, Mode,
    insecure::Insecure,
    jwt::{TokenRules, Tokens, Verified},
    lookup::NamedQuery,
    people::{self, People, Person},
    presented,
    session::{self, Session, SessionRules, Sessions},
};
use crate::{
    config::Target,
    error::Error,
    gateway::{Handshake, Refused, SignIn},
    identity::{Claimed, Grounds, Identity, SignedIn},
};

/// The ways that the configuration opens, with their secrets and keys: everything that can be wrong without a database
/// has been looked at.
pub struct Modes {
    config: AuthConfig,
    on: Vec<Mode>,
    jwt: Option<TokenRules>,
    session: Option<SessionRules>,
}

/// The SQL that sign-in will run, to be granted to a role that can't read the application's tables. Where the configuration
/// opens no way, because the command line will, it is what all of them need.
pub fn queries(config: &AuthConfig) -> Vec<NamedQuery> {
    let is_on = |mode| config.modes.contains(&mode);
    let mut queries = Vec::new();
    if is_on(Mode::Session) {
        queries.push(session::query(&config.session));
    }
    if config.modes != [Mode::Anonymous] {
        queries.extend(people::queries(&config.identity));
    }
    queries
}

impl Modes {
    /// # Errors
    ///
    /// If nothing is open, or something isn't as it must be; with the key, and what to write there.
    pub fn load(config: &AuthConfig) -> Result<Self, Error> {
        let mut on: Vec<Mode> = Vec::with_capacity(config.modes.len());
        for mode in &config.modes {
            if !on.contains(mode) {
                on.push(*mode);
            }
        }
        if on.is_empty() {
            return Err(Error::Configuration(NOTHING_OPEN.into()));
        }
        if on.contains(&Mode::Insecure) && on.len() > 1 {
            return Err(Error::Configuration(
                "[auth] modes: \"insecure\" believes everybody, so no other mode can stand beside it; expected \"insecure\" alone, or the others without it".into(),
            ));
        }
        if config.identity.sql.as_ref().is_some_and(|sql| !sql.contains("$1")) {
            return Err(Error::Configuration(
                "[auth.identity] sql never uses $1, the user ids to look up (text[]); expected such as: select id as key, roles from users where id = any($1)".into(),
            ));
        }
        let jwt = on.contains(&Mode::Jwt).then(|| TokenRules::load(&config.jwt)).transpose()?;
        let session = on.contains(&Mode::Session).then(|| SessionRules::load(&config.session)).transpose()?;
        Ok(Self { config: config.clone(), on, jwt, session })
    }

    /// Whether clients are believed without proof, so that nobody but this machine may reach them.
    pub fn is_insecure(&self) -> bool {
        self.on.contains(&Mode::Insecure)
    }

    /// The way that takes a browser's cookie for proof, if one does; what a page shows by itself is no proof of the page.
    pub fn by_cookie(&self) -> Option<&'static str> {
        if self.on.contains(&Mode::Session) {
            return Some("the mode session");
        }
        (self.on.contains(&Mode::Jwt) && self.config.jwt.cookie.is_some()).then_some("the mode jwt, with a cookie,")
    }

    /// Whose sign-in a row change concerns.
    pub fn concerns(&self) -> Concerns {
        Concerns::new(&self.config, &self.on)
    }

    /// Opens them. `database` is the same as the pool's.
    ///
    /// # Errors
    ///
    /// If the database lacks what they need.
    pub async fn open(self, pool: &PgPool, database: &Target) -> Result<Arc<dyn SignIn>, Error> {
        let people = People::new(&self.config.identity, pool);
        if self.on != [Mode::Anonymous] {
            people.check().await?;
        }
        if self.is_insecure() {
            tracing::warn!("--auth insecure: every client is believed to be who it says it is; for development only");
            return Ok(Arc::new(Insecure::new(people)));
        }
        let jwt = self.jwt.map(TokenRules::open).transpose()?;
        let session = match self.session {
            Some(rules) => Some(rules.open(pool, database).await?),
            None => None,
        };
        let anonymous = self.on.contains(&Mode::Anonymous);
        Ok(Arc::new(Ways { jwt, session, anonymous, people }))
    }
}

const NOTHING_OPEN: &str = "nothing says how clients sign in, and rowcast lets nobody in unasked. Expected in the configuration file, for example,
  [auth]
  modes = [\"session\", \"anonymous\"]
  [auth.session]
  secret_env = \"SESSION_SECRET\"
or \"jwt\" with a table [auth.jwt]; rowcast.example.toml shows every key. For development, on a loopback address: rowcast serve --auth insecure";

impl fmt::Debug for Modes {
    /// Without secrets and keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modes").field("on", &self.on).finish_non_exhaustive()
    }
}

/// The ways that are open, other than the insecure one.
#[derive(Debug)]
struct Ways {
    jwt: Option<Tokens>,
    session: Option<Sessions>,
    anonymous: bool,
    people: People,
}

impl Ways {
    /// What the client presents decides: a token goes before a session, and a session before nothing.
    async fn enter(&self, handshake: &Handshake) -> Result<SignedIn, Refused> {
        if let Some(tokens) = &self.jwt
            && let Some(token) = presented::token(handshake, tokens.cookie.as_deref())?
        {
            // A bad one is an error: who shows a token wants to be somebody, and must hear that they are not.
            return self.by_token(tokens.verify(&token).await?).await;
        }
        if let Some(sessions) = &self.session
            && let Some(cookie) = sessions.presented(handshake)
        {
            match sessions.of_cookie(&cookie).await? {
                Some(session) => return self.by_session(session).await,
                // Browsers send a cookie for as long as they have it, and sites give one to visitors too.
                None if self.anonymous => return Ok(SignedIn::default()),
                None => return Err(Refused::Denied("the session is not valid; sign in again".to_owned())),
            }
        }
        if self.anonymous { Ok(SignedIn::default()) } else { Err(Refused::Denied(self.expected())) }
    }

    fn expected(&self) -> String {
        let ways = [
            self.jwt.as_ref().map(|_| "a token as auth.token"),
            self.session.as_ref().map(|_| "the cookie of a session (withCredentials: true)"),
        ];
        let ways: Vec<&str> = ways.into_iter().flatten().collect();
        format!("sign in first: expected {}", ways.join(", or "))
    }

    async fn by_token(&self, token: Verified) -> Result<SignedIn, Refused> {
        let Verified { claimed, until } = token;
        let identity = self.with_claims(&claimed).await?;
        Ok(SignedIn { identity, grounds: Grounds::Token { claimed }, until: Some(until) })
    }

    async fn by_session(&self, session: Session) -> Result<SignedIn, Refused> {
        let Session { id, user_id, until } = session;
        let identity = self.active(&user_id).await?;
        Ok(SignedIn { identity, grounds: Grounds::Session { id }, until: Some(until) })
    }

    /// What a token says goes before what the database says, but not of somebody who may not sign in any more.
    async fn with_claims(&self, claimed: &Claimed) -> Result<Identity, Refused> {
        let Claimed { user_id, roles, stores, admin } = claimed.clone();
        let known = self.active(&user_id).await?;
        Ok(Identity {
            user_id: Some(user_id),
            roles: roles.unwrap_or(known.roles),
            stores: stores.unwrap_or(known.stores),
            admin: admin.unwrap_or(known.admin),
        })
    }

    async fn active(&self, user_id: &str) -> Result<Identity, Refused> {
        let Person { identity, active } = self.people.find(user_id).await?;
        if active { Ok(identity) } else { Err(Refused::Denied("this user may not sign in".to_owned())) }
    }

    async fn still(&self, before: &SignedIn) -> Result<SignedIn, Refused> {
        match &before.grounds {
            Grounds::Nothing if self.anonymous => Ok(before.clone()),
            Grounds::Token { claimed } => {
                if before.until.is_some_and(|until| until <= chrono::Utc::now()) {
                    return Err(Refused::Denied("the token has expired".to_owned()));
                }
                Ok(SignedIn { identity: self.with_claims(claimed).await?, ..before.clone() })
            }
            Grounds::Session { id } => {
                let session = match &self.session {
                    Some(sessions) => sessions.of_id(id).await?,
                    None => None,
                };
                // The socket is in its user's rooms: whoever else has signed in by the same session needs another.
                let session = session.filter(|session| before.identity.user_id.as_ref() == Some(&session.user_id));
                let ended = || Refused::Denied("the session has ended; sign in again".to_owned());
                self.by_session(session.ok_or_else(ended)?).await
            }
            Grounds::Nothing | Grounds::Word { .. } => Err(Refused::Denied("sign in again".to_owned())),
        }
    }
}

impl SignIn for Ways {
    fn sign_in<'a>(&'a self, handshake: &'a Handshake) -> BoxFuture<'a, Result<SignedIn, Refused>> {
        self.enter(handshake).boxed()
    }

    fn confirm<'a>(&'a self, before: &'a SignedIn) -> BoxFuture<'a, Result<SignedIn, Refused>> {
        self.still(before).boxed()
    }
}
