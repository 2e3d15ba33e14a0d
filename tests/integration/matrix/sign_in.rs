//! The ways in which the cast of the matrix signs in. What they may hear is the same, however they do.

use rowcast::config::Config;
use serde_json::{Value, json};

use crate::support::client::Client;

pub struct Way {
    pub name: &'static str,
    /// What the service's configuration needs for it.
    pub configure: fn(&mut Config),
    /// What the client shows.
    auth: fn(user: &str) -> Value,
}

impl Way {
    pub const ALL: &'static [Self] =
        &[Self { name: "its own word", configure: |_| (), auth: |user| json!({ "userId": user }) }];

    pub async fn connect(&self, url: &str, user: Option<&str>) -> Client {
        let auth = user.map_or(Value::Null, self.auth);
        Client::connect(url, auth).await.unwrap_or_else(|error| panic!("{user:?} by {}: {error}", self.name))
    }
}
