//! What a token must be.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_token_of_each_algorithm_signs_its_user_in_until_it_expires() {
    let exp = now() + 3600;
    let claims = claims(json!({ "exp": exp, "roles": ["seller"] }));
    let signed = [(&*RSA, RSA.config()), (&*EC, EC.config()), (&*ED, ED.config())];
    let signed = signed.map(|(pair, config)| (pair.sign(&claims), config));
    for (token, config) in signed.into_iter().chain([(hmac(SECRET, &claims), hs256())]) {
        let verified =
            verified(&config, &token).await.unwrap_or_else(|error| panic!("{:?}: {error}", config.algorithm));
        assert_eq!(verified.claimed.user_id, "u1");
        assert_eq!(verified.claimed.roles, Some(vec!["seller".to_owned()]));
        assert_eq!(verified.until.timestamp(), exp + 30, "the leeway counts");
    }
}

#[tokio::test]
async fn a_token_of_another_key_is_refused() {
    for (strange, config) in [(rsa_pair(), RSA.config()), (ec_pair(), EC.config()), (ed_pair(), ED.config())] {
        assert_denied(verified(&config, &strange.sign(&claims(json!({})))).await, "another key");
    }
    assert_denied(verified(&hs256(), &hmac(b"another secret", &claims(json!({})))).await, "another secret");
}

#[tokio::test]
async fn each_of_several_secrets_or_keys_will_do() {
    let mut config = hs256();
    config.secret_file.insert(0, file("new", b"the secret that comes after the other one"));
    assert!(verified(&config, &hmac(SECRET, &claims(json!({})))).await.is_ok());
    let other = ec_pair();
    let files: Vec<PathBuf> = [&*EC, &other].map(|pair| file("key.pem", pair.pem.as_bytes())).into();
    let config = JwtConfig { public_key_file: files, ..EC.config() };
    for pair in [&*EC, &other] {
        assert!(verified(&config, &pair.sign(&claims(json!({})))).await.is_ok());
    }
}

#[tokio::test]
async fn a_token_holds_between_its_times_give_or_take_the_leeway() {
    let config = JwtConfig { leeway: Duration::from_secs(30), ..hs256() };
    for (times, holds) in [
        (json!({ "exp": now() - 20 }), true),
        (json!({ "exp": now() - 40 }), false),
        (json!({ "exp": now() as f64 + 100.7 }), true),
        (json!({ "exp": now() as f64 - 100.7 }), false),
        (json!({ "exp": u64::MAX }), true),
        (json!({ "exp": 1e300 }), false),
        (json!({ "exp": 0 }), false),
        (json!({ "exp": -1 }), false),
        (json!({ "exp": null }), false),
        (json!({ "exp": (now() + 3600).to_string() }), false),
        (json!({ "exp": [now() + 3600] }), false),
        (json!({ "nbf": now() + 20 }), true),
        (json!({ "nbf": now() + 40 }), false),
        (json!({ "nbf": "soon" }), false),
    ] {
        let outcome = verified(&config, &hmac(SECRET, &claims(times.clone()))).await;
        assert_eq!(outcome.is_ok(), holds, "{times}: {outcome:?}");
    }
    assert_denied(verified(&config, &hmac(SECRET, &json!({ "sub": "u1" }))).await, "no exp");
}

#[tokio::test]
async fn only_an_expired_token_is_told_why() {
    let say = async |config: &JwtConfig, token: &str| verified(config, token).await.expect_err("refused").to_string();
    let expired = hmac(SECRET, &claims(json!({ "exp": now() - 100 })));
    assert_eq!(say(&hs256(), &expired).await, "the token is not valid: it has expired");
    let early = hmac(SECRET, &claims(json!({ "nbf": now() + 100 })));
    assert_eq!(say(&hs256(), &early).await, "the token is not valid yet");
    let strict = JwtConfig { issuer: vec!["https://a".into()], ..hs256() };
    for (config, token) in [
        (&strict, hmac(SECRET, &claims(json!({ "iss": "https://b" })))),
        (&hs256(), hmac(b"x", &claims(json!({ "exp": now() - 100 })))),
        (&hs256(), "garbage".to_owned()),
        (&hs256(), String::new()),
    ] {
        assert_eq!(say(config, &token).await, "the token is not valid");
    }
}

#[tokio::test]
async fn issuer_and_audience_must_be_among_those_that_are_expected() {
    let strict = JwtConfig {
        issuer: vec!["https://a".into(), "https://b".into()],
        audience: vec!["shop".into(), "rowcast".into()],
        ..hs256()
    };
    for (config, given, holds) in [
        (&strict, json!({ "iss": "https://b", "aud": "rowcast" }), true),
        (&strict, json!({ "iss": "https://b", "aud": ["other", "shop"] }), true),
        (&strict, json!({ "iss": "https://b", "aud": ["other"] }), false),
        (&strict, json!({ "iss": "https://b", "aud": [] }), false),
        (&strict, json!({ "iss": "https://b" }), false),
        (&strict, json!({ "iss": "https://c", "aud": "shop" }), false),
        (&strict, json!({ "iss": null, "aud": "shop" }), false),
        (&strict, json!({ "iss": 5, "aud": "shop" }), false),
        (&strict, json!({ "aud": "shop" }), false),
        (&hs256(), json!({ "iss": "https://anybody" }), true),
        // RFC 7519, 4.1.3: whoever doesn't find themselves in it must refuse it.
        (&hs256(), json!({ "aud": "somebody else" }), false),
    ] {
        let outcome = verified(config, &hmac(SECRET, &claims(given.clone()))).await;
        assert_eq!(outcome.is_ok(), holds, "{given}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_too_long_is_not_looked_at() {
    let long = hmac(SECRET, &claims(json!({ "more": "x".repeat(20_000) })));
    let Err(Refused::Denied(error)) = verified(&hs256(), &long).await else { panic!("it is too long") };
    assert_eq!(error, "the token is not valid: it is longer than 16384 bytes");
    let fits = hmac(SECRET, &claims(json!({ "more": "x".repeat(10_000) })));
    assert!(verified(&hs256(), &fits).await.is_ok());
}

#[tokio::test]
async fn no_mutation_of_a_token_signs_in_or_panics() {
    let mut random = fastrand::Rng::with_seed(4);
    let exp = claims(json!({ "roles": ["seller"] }));
    for (token, config) in [
        (hmac(SECRET, &exp), hs256()),
        (RSA.sign(&exp), RSA.config()),
        (EC.sign(&exp), EC.config()),
        (ED.sign(&exp), ED.config()),
    ] {
        let tokens = tokens(&config);
        assert!(tokens.verify(&token).await.is_ok());
        for _ in 0..3000 {
            let mutated = mutate(&mut random, &token);
            if mutated != token {
                let outcome = tokens.verify(&mutated).await;
                assert!(outcome.is_err(), "{:?}: {mutated}", config.algorithm);
            }
        }
    }
}

/// One to four changes: a character exchanged, removed, doubled or moved; a part emptied, exchanged or repeated.
fn mutate(random: &mut fastrand::Rng, token: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.+/ \n\0{}\"";
    let mut bytes = token.as_bytes().to_vec();
    for _ in 0..random.usize(1..=4) {
        if bytes.is_empty() {
            break;
        }
        let place = random.usize(..bytes.len());
        let letter = ALPHABET[random.usize(..ALPHABET.len())];
        match random.usize(..7) {
            0 => bytes[place] = letter,
            1 => drop(bytes.remove(place)),
            2 => bytes.insert(place, letter),
            3 => bytes.truncate(place),
            4 => {
                let other = random.usize(..bytes.len());
                bytes.swap(place, other);
            }
            5 => bytes = bytes.split_off(place),
            _ => {
                let mut parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'.').collect();
                let (one, other) = (random.usize(..parts.len()), random.usize(..parts.len()));
                parts[one] = if random.bool() { b"" } else { parts[other] };
                bytes = parts.join(&b'.');
            }
        }
    }
    String::from_utf8(bytes).expect("ASCII")
}
