//! For development: everybody is believed to be who they say they are.

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::Value;

use super::People;
use crate::{
    gateway::{Handshake, Refused, SignIn, kind},
    identity::{Grounds, SignedIn},
    room::MAX_LENGTH,
};

/// Believes `auth.userId`, and looks up in the application's tables what that user is. On loopback addresses only.
#[derive(Debug, Clone)]
pub struct Insecure {
    people: People,
}

impl Insecure {
    pub fn new(people: People) -> Self {
        Self { people }
    }

    async fn believe(&self, user_id: Option<String>) -> Result<SignedIn, Refused> {
        let Some(user_id) = user_id else { return Ok(SignedIn::default()) };
        let identity = self.people.identity(&user_id).await?;
        Ok(SignedIn { identity, grounds: Grounds::Word { user_id }, until: None })
    }
}

impl SignIn for Insecure {
    fn sign_in<'a>(&'a self, handshake: &'a Handshake) -> BoxFuture<'a, Result<SignedIn, Refused>> {
        async { self.believe(user_id(&handshake.auth).map_err(Refused::Denied)?).await }.boxed()
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
fn user_id(auth: &Value) -> Result<Option<String>, String> {
    let given = match auth {
        Value::Null => return Ok(None),
        Value::Object(auth) => auth.get("userId").unwrap_or(&Value::Null),
        other => return Err(format!("auth: expected an object such as {{ userId: \"…\" }}, found {}", kind(other))),
    };
    match given {
        Value::Null => Ok(None),
        Value::String(id) if id.is_empty() => Ok(None),
        Value::String(id) if id.len() > MAX_LENGTH => {
            Err(format!("auth.userId: expected at most {MAX_LENGTH} bytes, found {}", id.len()))
        }
        Value::String(id) => Ok(Some(id.clone())),
        Value::Number(id) => Ok(Some(id.to_string())),
        other => Err(format!("auth.userId: expected a string, found {}", kind(other))),
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
            Err("auth.userId: expected a string, found an array".to_owned())
        );
        assert!(user_id(&json!("u1")).expect_err("a bare string").starts_with("auth: expected an object"));
    }
}
