//! Tokens signed by real keys, made anew for each run.

mod configuration;
mod confusion;
mod published;
mod tokens;
mod vectors;

use std::{path::PathBuf, sync::LazyLock};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};

use super::{
    Algorithm, JwtConfig,
    jwt::{TokenRules, Tokens, Verified},
};
use crate::gateway::Refused;

/// A key that signs, and the public half of it.
struct Pair {
    algorithm: Algorithm,
    signing: EncodingKey,
    pem: String,
}

static RSA: LazyLock<Pair> = LazyLock::new(rsa_pair);
static EC: LazyLock<Pair> = LazyLock::new(ec_pair);
static ED: LazyLock<Pair> = LazyLock::new(ed_pair);

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let lines: Vec<&str> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn rsa_pair() -> Pair {
    let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("a key");
    let private = AsDer::<Pkcs8V1Der>::as_der(&key).expect("DER");
    let public = AsDer::<PublicKeyX509Der>::as_der(key.public_key()).expect("DER");
    let signing = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).expect("a key");
    Pair { algorithm: Algorithm::Rs256, signing, pem: pem("PUBLIC KEY", public.as_ref()) }
}

fn ec_pair() -> Pair {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let public = AsDer::<PublicKeyX509Der>::as_der(key.public_key()).expect("DER");
    let signing = EncodingKey::from_ec_der(key.to_pkcs8v1().expect("DER").as_ref());
    Pair { algorithm: Algorithm::Es256, signing, pem: pem("PUBLIC KEY", public.as_ref()) }
}

fn ed_pair() -> Pair {
    let key = Ed25519KeyPair::generate().expect("a key");
    let public = AsDer::<PublicKeyX509Der>::as_der(key.public_key()).expect("DER");
    let signing = EncodingKey::from_ed_der(key.to_pkcs8v1().expect("DER").as_ref());
    Pair { algorithm: Algorithm::EdDsa, signing, pem: pem("PUBLIC KEY", public.as_ref()) }
}

impl Pair {
    fn sign(&self, claims: &Value) -> String {
        self.sign_as(None, claims)
    }

    fn sign_as(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(theirs(self.algorithm)) };
        jsonwebtoken::encode(&header, claims, &self.signing).expect("a token")
    }

    /// For a set of keys.
    fn jwk(&self, kid: &str) -> Value {
        let jwk = Jwk::from_encoding_key(&self.signing, theirs(self.algorithm)).expect("a key");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(kid);
        jwk
    }

    fn config(&self) -> JwtConfig {
        JwtConfig {
            algorithm: Some(self.algorithm),
            public_key_file: vec![file("key.pem", self.pem.as_bytes())],
            ..JwtConfig::default()
        }
    }
}

fn theirs(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    algorithm.to_string().parse().expect("the same names")
}

const SECRET: &[u8] = b"a secret that is long enough to be one";

fn hs256() -> JwtConfig {
    JwtConfig { algorithm: Some(Algorithm::Hs256), secret_file: vec![file("secret", SECRET)], ..JwtConfig::default() }
}

/// Signed with [`SECRET`], or with another.
fn hmac(secret: &[u8], claims: &Value) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(secret)).expect("a token")
}

/// A directory of this test's thread, removed when that ends.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

thread_local! {
    static FILES: Directory = {
        let path = std::env::temp_dir().join(format!("rowcast-unit-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&path).expect("a new directory");
        Directory(path)
    };
}

/// A new file that is there until the test ends.
fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = FILES.with(|directory| directory.0.join(format!("{:016x}-{name}", fastrand::u64(..))));
    std::fs::write(&path, content).expect("a file");
    path
}

fn tokens(config: &JwtConfig) -> Tokens {
    TokenRules::load(config).expect("rules").open().expect("keys")
}

async fn verified(config: &JwtConfig, token: &str) -> Result<Verified, Refused> {
    tokens(config).verify(token).await
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// Claims that hold for an hour, with others besides.
fn claims(others: Value) -> Value {
    let mut claims = json!({ "sub": "u1", "exp": now() + 3600 });
    for (name, value) in others.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn base64url(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

#[track_caller]
fn assert_denied(outcome: Result<Verified, Refused>, case: &str) {
    match outcome {
        Err(Refused::Denied(_)) => {}
        other => panic!("{case}: {other:?}"),
    }
}
