//! The examples of RFC 7515 (appendix A) and RFC 8037 (appendix A), which others have signed.

use super::*;
use crate::auth::keys::Key;

/// All three say `{"iss":"joe", "exp":1300819380, "http://example.com/is_root":true}`.
const HS256: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const HS256_KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

fn es256_jwk() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": "es",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

fn rs256_jwk() -> Value {
    json!({
        "kty": "RSA", "e": "AQAB", "kid": "rs",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    })
}

/// RFC 8037, A.2.
fn ed25519_jwk() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

#[tokio::test]
async fn the_examples_of_rfc_7515_are_signed_right_and_have_expired() {
    let secret =
        JwtConfig { secret_file: vec![file("secret", &URL_SAFE_NO_PAD.decode(HS256_KEY).expect("base64"))], ..hs256() };
    let set = json!({ "keys": [rs256_jwk(), es256_jwk()] });
    let set = JwtConfig { jwks_file: Some(file("jwks.json", set.to_string().as_bytes())), ..JwtConfig::default() };
    for (name, config, token) in [("A.1", &secret, HS256), ("A.2", &set, RS256), ("A.3", &set, ES256)] {
        let error = verified(config, token).await.expect_err("long ago").to_string();
        assert_eq!(error, "the token is not valid: it has expired", "{name}");
        let broken = format!("{}A{}", &token[..token.len() - 10], &token[token.len() - 9..]);
        let error = verified(config, &broken).await.expect_err("not signed").to_string();
        assert_eq!(error, "the token is not valid", "{name}");
    }
}

#[test]
fn the_example_of_rfc_8037_is_signed_right() {
    let key = Key::from_jwk(&ed25519_jwk()).expect("a key");
    assert_eq!(key.algorithm, Algorithm::EdDsa);
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let is_right =
        |signature| jsonwebtoken::crypto::verify(signature, message, &key.decoding, jsonwebtoken::Algorithm::EdDSA);
    assert_eq!(is_right(signature), Ok(true));
    assert_ne!(is_right(&signature.replace("hgyY", "hgyZ")), Ok(true));
}

#[test]
fn a_key_of_a_set_that_can_not_be_used_says_why() {
    let with = |mut jwk: Value, name: &str, value: Value| {
        jwk[name] = value;
        jwk
    };
    for (jwk, expected) in [
        (json!({}), "missing field `kty`"),
        (json!("x"), "it is no key"),
        (json!({ "kty": "oct", "k": "AAAA" }), "it is a secret"),
        (json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }), "EC P-384 are not supported"),
        (json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }), "OKP X25519 are not supported"),
        (json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }), "fewer than 2048 bits"),
        (with(rs256_jwk(), "n", json!(null)), "it has no n"),
        (with(rs256_jwk(), "e", json!("+/")), "its e is no base64url"),
        (with(rs256_jwk(), "alg", json!("RS512")), "it is for RS512"),
        (with(rs256_jwk(), "alg", json!("HS256")), "it is for HS256"),
        (with(rs256_jwk(), "use", json!("enc")), "not for signatures"),
        (with(es256_jwk(), "key_ops", json!(["sign"])), "not for signatures"),
        (with(es256_jwk(), "x", json!("AAAA")), "no point of its curve"),
        (with(es256_jwk(), "alg", json!("EdDSA")), "it is for EdDSA"),
        (with(ed25519_jwk(), "x", json!("AAAA")), "no Ed25519 key"),
    ] {
        let error = Key::from_jwk(&jwk).expect_err("no key");
        assert!(error.contains(expected), "{jwk}: {error}");
    }
}
