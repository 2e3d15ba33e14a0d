//! For development: everybody is believed to be who they say they are.

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::Value;

use super::{
    people::People,
    presented::{self, field},
};
use crate::{
    gateway::{Handshake, Refused, SignIn},
    identity::{Grounds, SignedIn},
};

/// Believes `auth.userId`, and looks up in the database what that user is. On loopback addresses only.
#[derive(Debug)]
pub(super) struct Insecure {
    people: People,
}

impl Insecure {
    pub fn new(people: People) -> Self {
        Self { people }
    }

    async fn believe(&self, user_id: Option<String>) -> Result<SignedIn, Refused> {
        let Some(user_id) = user_id else { return Ok(SignedIn::default()) };
        let person = self.people.find(&user_id).await?;
        Ok(SignedIn { identity: person.identity, grounds: Grounds::Word { user_id }, until: None })
    }
}

impl SignIn for Insecure {
    fn sign_in<'a>(&'a self, handshake: &'a Handshake) -> BoxFuture<'a, Result<SignedIn, Refused>> {
        async { self.believe(user_id(&handshake.auth)?).await }.boxed()
    }

    fn confirm<'a>(&'a self, before: &'a SignedIn) -> BoxFuture<'a, Result<SignedIn, Refused>> {
        async {
            match &before.grounds {
                Grounds::Word { user_id } => self.believe(Some(user_id.clone())).await,
                _ => Ok(before.clone()),
            }
        }
        .boxed()
    }
}

/// `None` for a visitor.
fn user_id(auth: &Value) -> Result<Option<String>, Refused> {
    match field(auth, "userId")? {
        Value::Null => Ok(None),
        Value::String(id) if id.is_empty() => Ok(None),
        given => presented::user_id(given).map(Some).map_err(|error| Refused::Denied(format!("auth.userId: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_user_id_may_be_a_string_or_a_number_and_its_absence_is_a_visitor() {
        for visitor in [json!(null), json!({}), json!({ "userId": null }), json!({ "userId": "" })] {
            assert_eq!(user_id(&visitor), Ok(None), "{visitor}");
        }
        assert_eq!(user_id(&json!({ "userId": "u1" })), Ok(Some("u1".to_owned())));
        assert_eq!(user_id(&json!({ "userId": 17 })), Ok(Some("17".to_owned())));
    }

    #[test]
    fn an_auth_of_another_shape_is_told_what_was_expected() {
        assert_eq!(
            user_id(&json!({ "userId": ["u1"] })),
            Err(Refused::Denied("auth.userId: expected a string, found an array".to_owned()))
        );
        let error = user_id(&json!("u1")).expect_err("a bare string").to_string();
        assert!(error.starts_with("auth: expected an object"), "{error}");
    }
}
