//! What a token says of its user.

use serde_json::{Map, Value};

use super::{ClaimNames, presented::user_id};
use crate::{gateway::kind, identity::Claimed};

/// Reads the claims that the configuration names.
///
/// # Errors
///
/// A sentence for whoever has the token, which was verified: a claim that is missing, or of another shape.
pub(super) fn read(claims: &Map<String, Value>, names: &ClaimNames) -> Result<Claimed, String> {
    let of = |name: &str, error: String| format!("the token's claim {name:?}: {error}");
    let user = find(claims, &names.user)
        .ok_or_else(|| format!("the token has no claim {:?}, which says who its user is", names.user))?;
    let names_in = |name: &str| match find(claims, name) {
        None => Ok(None),
        Some(value) => list(value).map(Some).map_err(|error| of(name, error)),
    };
    Ok(Claimed {
        user_id: user_id(user).map_err(|error| of(&names.user, error))?,
        roles: names_in(&names.roles)?,
        stores: names_in(&names.stores)?,
        admin: find(claims, &names.admin).map(flag).transpose().map_err(|error| of(&names.admin, error))?,
    })
}

/// The claim of that name, dots included (`https://example.com/roles`), or else on that path (`realm_access.roles`). Null
/// counts as absent.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value).filter(|value| !value.is_null());
    }
    let (first, rest) = name.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
}

/// A list of names; one name alone is a list of one.
fn list(value: &Value) -> Result<Vec<String>, String> {
    let expected = |other: &Value| format!("expected a list of strings, found {}", kind(other));
    match value {
        Value::String(_) => Ok(vec![user_id(value)?]),
        Value::Array(values) => values
            .iter()
            .map(|value| match value {
                Value::String(_) | Value::Number(_) => user_id(value),
                other => Err(format!("{} in it", expected(other))),
            })
            .collect(),
        other => Err(expected(other)),
    }
}

/// True and false, or 1 and 0 as some databases have them.
fn flag(value: &Value) -> Result<bool, String> {
    match (value, value.as_u64()) {
        (Value::Bool(flag), _) => Ok(*flag),
        (_, Some(number @ (0 | 1))) => Ok(number == 1),
        _ => Err(format!("expected true or false, found {}", kind(value))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claimed(claims: Value) -> Result<Claimed, String> {
        read(claims.as_object().expect("an object"), &ClaimNames::default())
    }

    #[test]
    fn what_a_token_does_not_say_stays_open() {
        let nothing = Claimed { user_id: "u1".into(), roles: None, stores: None, admin: None };
        assert_eq!(claimed(json!({ "sub": "u1" })), Ok(nothing.clone()));
        assert_eq!(claimed(json!({ "sub": "u1", "roles": null, "stores": null, "admin": null })), Ok(nothing));
        let all = claimed(json!({ "sub": 17, "roles": "seller", "stores": ["s1", 2], "admin": 0 })).expect("claims");
        assert_eq!(all.user_id, "17");
        assert_eq!(all.roles, Some(vec!["seller".to_owned()]));
        assert_eq!(all.stores, Some(vec!["s1".to_owned(), "2".to_owned()]));
        assert_eq!(all.admin, Some(false));
    }

    #[test]
    fn a_claim_of_another_shape_is_named_and_refused() {
        for (claims, claim) in [
            (json!({}), "sub"),
            (json!({ "sub": null }), "sub"),
            (json!({ "sub": "" }), "sub"),
            (json!({ "sub": { "id": 1 } }), "sub"),
            (json!({ "sub": "u1", "roles": 5 }), "roles"),
            (json!({ "sub": "u1", "roles": ["a", null] }), "roles"),
            (json!({ "sub": "u1", "roles": { "a": true } }), "roles"),
            (json!({ "sub": "u1", "stores": [["s1"]] }), "stores"),
            (json!({ "sub": "u1", "admin": "true" }), "admin"),
            (json!({ "sub": "u1", "admin": 2 }), "admin"),
        ] {
            let error = claimed(claims.clone()).expect_err("refused");
            assert!(error.contains(&format!("{claim:?}")), "{claims}: {error}");
        }
    }

    #[test]
    fn a_name_may_hold_dots_or_be_a_path() {
        let claims = json!({
            "https://shop.example/roles": ["a"], "realm_access": { "roles": ["b"], "x.y": ["c"] }, "realm_access.roles2": 1
        });
        let claims = claims.as_object().unwrap();
        assert_eq!(find(claims, "https://shop.example/roles"), Some(&json!(["a"])));
        assert_eq!(find(claims, "realm_access.roles"), Some(&json!(["b"])));
        assert_eq!(find(claims, "realm_access.x.y"), Some(&json!(["c"])));
        assert_eq!(find(claims, "realm_access.roles2"), Some(&json!(1)));
        for missing in ["realm_access.nothing", "a.b", "https://shop", "", "."] {
            assert_eq!(find(claims, missing), None, "{missing}");
        }
    }
}
