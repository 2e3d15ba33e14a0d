//! The ways in which the cast of the matrix signs in. What they may hear is the same, however they do.

use rowcast::{auth::Mode, config::Config};
use serde_json::{Value, json};

use crate::{
    cli::Files,
    sign_in::{SECRET, add_session, config, session_cookie, token},
    support::{client::Client, database::Database},
};

#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// By its own word, in development.
    Word,
    /// By a token of which only the user's id is taken; visitors without.
    Token,
    /// By the application's session; visitors without.
    Session,
}

impl Way {
    pub const ALL: [Self; 3] = [Self::Word, Self::Token, Self::Session];

    /// The configuration for it; `files` has the secret.
    pub fn configuration(self, files: &Files) -> Config {
        match self {
            Self::Word => Config::default(),
            Self::Token => config(files, &[Mode::Jwt, Mode::Anonymous]),
            Self::Session => config(files, &[Mode::Session, Mode::Anonymous]),
        }
    }

    /// What must be there before this user comes.
    pub async fn prepare(self, database: &Database, user: &str) {
        if let Self::Session = self {
            add_session(database, &session_of(user), user, "now() + interval '1 hour'").await;
        }
    }

    pub async fn connect(self, url: &str, user: Option<&str>) -> Client {
        let (auth, cookie) = match (self, user) {
            (_, None) => (Value::Null, None),
            (Self::Word, Some(user)) => (json!({ "userId": user }), None),
            (Self::Token, Some(user)) => (json!({ "token": token(json!({ "sub": user })) }), None),
            (Self::Session, Some(user)) => (Value::Null, Some(session_cookie(SECRET, &session_of(user)))),
        };
        let headers: Vec<(&'static str, &str)> = cookie.iter().map(|cookie| ("cookie", cookie.as_str())).collect();
        Client::connect_with(url, auth, &headers).await.unwrap_or_else(|error| panic!("{user:?} by {self:?}: {error}"))
    }
}

fn session_of(user: &str) -> String {
    format!("session-of-{user}")
}
