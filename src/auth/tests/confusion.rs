//! The classic attacks: each has signed strangers in somewhere.

use super::*;

/// A token with this header, its signature made with a secret over it.
fn forged(header: &Value, secret: &[u8]) -> String {
    let message = format!("{}.{}", base64url(header.to_string()), base64url(claims(json!({})).to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    format!("{message}.{}", base64url(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    for config in [hs256(), RSA.config(), EC.config(), ED.config()] {
        for none in ["none", "None", "NONE", "nOnE", ""] {
            let header = json!({ "alg": none, "typ": "JWT" });
            let parts = format!("{}.{}", base64url(header.to_string()), base64url(claims(json!({})).to_string()));
            for token in [format!("{parts}."), parts.clone(), forged(&header, b"")] {
                assert_denied(verified(&config, &token).await, &token);
            }
        }
    }
    let token = RSA.sign(&claims(json!({})));
    let (unsigned, _) = token.rsplit_once('.').expect("three parts");
    assert_denied(verified(&RSA.config(), &format!("{unsigned}.")).await, "its signature cut off");
    assert_denied(verified(&RSA.config(), unsigned).await, "its signature cut off with the dot");
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    for pair in [&*RSA, &*EC, &*ED] {
        let der: String = pair.pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(der).expect("base64");
        let raw = tokens(&pair.config());
        for secret in [pair.pem.as_bytes(), pair.pem.trim_end().as_bytes(), &der, pair.jwk("k").to_string().as_bytes()]
        {
            let token = forged(&json!({ "alg": "HS256", "typ": "JWT" }), secret);
            assert_denied(raw.verify(&token).await, &format!("{:?} as a secret", pair.algorithm));
            // And with the header of the right algorithm.
            let token = forged(&json!({ "alg": pair.algorithm.to_string() }), secret);
            assert_denied(raw.verify(&token).await, &format!("{:?} with an HMAC for a signature", pair.algorithm));
        }
    }
}

#[test]
fn a_public_key_is_refused_where_a_secret_belongs() {
    let config = JwtConfig { secret_file: vec![file("key.pem", RSA.pem.as_bytes())], ..hs256() };
    let error = TokenRules::load(&config).expect_err("no secret").to_string();
    assert!(error.contains("a key in PEM, and not a secret"), "{error}");
}

#[tokio::test]
async fn the_tokens_own_header_chooses_neither_algorithm_nor_key() {
    for (pair, others) in [
        (
            &*RSA,
            &[jsonwebtoken::Algorithm::RS384, jsonwebtoken::Algorithm::RS512, jsonwebtoken::Algorithm::PS256] as &[_],
        ),
        (&*EC, &[]),
    ] {
        for other in others {
            let token = jsonwebtoken::encode(&Header::new(*other), &claims(json!({})), &pair.signing).expect("a token");
            assert_denied(verified(&pair.config(), &token).await, &format!("{other:?}"));
        }
    }
    let strange = rsa_pair();
    let header = Header {
        jwk: Some(Jwk::from_encoding_key(&strange.signing, jsonwebtoken::Algorithm::RS256).expect("a key")),
        jku: Some("http://127.0.0.1:1/keys".to_owned()),
        x5u: Some("http://127.0.0.1:1/keys".to_owned()),
        kid: Some("../../dev/null".to_owned()),
        ..Header::new(jsonwebtoken::Algorithm::RS256)
    };
    let token = jsonwebtoken::encode(&header, &claims(json!({})), &strange.signing).expect("a token");
    assert_denied(verified(&RSA.config(), &token).await, "a key that the token brings along");
    // Signed right, but for others' eyes.
    for header in [json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), json!({ "alg": "HS256", "crit": [] })] {
        assert_denied(verified(&hs256(), &forged(&header, SECRET)).await, "extensions that must be understood");
    }
    assert!(verified(&hs256(), &forged(&json!({ "alg": "HS256", "kid": "any" }), SECRET)).await.is_ok());
}

#[tokio::test]
async fn a_claim_that_stands_twice_is_refused() {
    let header = base64url(json!({ "alg": "HS256" }).to_string());
    let twice = format!(r#"{{"sub": "u1", "exp": {}, "exp": {}}}"#, now() - 100, now() + 100);
    let message = format!("{header}.{}", base64url(twice));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET);
    let token = format!("{message}.{}", base64url(aws_lc_rs::hmac::sign(&key, message.as_bytes())));
    assert_denied(verified(&hs256(), &token).await, "exp twice");
}

#[tokio::test]
async fn a_secret_in_a_set_of_keys_verifies_nothing() {
    let oct = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": base64url(SECRET) });
    let config = |keys: Value| JwtConfig {
        jwks_file: Some(file("jwks.json", json!({ "keys": keys }).to_string().as_bytes())),
        ..JwtConfig::default()
    };
    let error = TokenRules::load(&config(json!([oct]))).expect_err("no key").to_string();
    assert!(error.contains("it is a secret, and a set of keys is public"), "{error}");
    let header = Header { kid: Some("s".to_owned()), ..Header::default() };
    let token = jsonwebtoken::encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET)).expect("a token");
    let mixed = config(json!([oct, ED.jwk("e")]));
    assert_denied(verified(&mixed, &token).await, "the set's secret");
    assert_denied(verified(&mixed, &hmac(SECRET, &claims(json!({})))).await, "the set's secret, without its id");
    assert!(verified(&mixed, &ED.sign_as(Some("e"), &claims(json!({})))).await.is_ok());
}
