//! Keys that verify tokens, each for one algorithm.
//!
//! The algorithm belongs to the key. What a token's header says of it can only agree, or the token is refused: so nobody
//! can have an RSA key's public half taken for a secret, or `none` for a signature.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::{Algorithm, JwtConfig, secrets};
use crate::error::Error;

/// A secret that is shorter can be guessed: RFC 7518, section 3.2.
const SHORTEST_SECRET: usize = 32;
/// RSA below 2048 bits is refused.
const SHORTEST_MODULUS: usize = 256;

/// A key, with the algorithm that it is for.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// By which tokens name it.
    pub id: Option<String>,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
}

/// The keys that the configuration names, other than sets of keys.
///
/// # Errors
///
/// If there is none, or one isn't for the algorithm.
pub(super) fn read(config: &JwtConfig) -> Result<Vec<Key>, Error> {
    let secrets = secrets::read("auth.jwt", "secret", &config.secret_env, &config.secret_file)?;
    let public = secrets::read("auth.jwt", "public_key", &config.public_key_env, &config.public_key_file)?;
    let Some(algorithm) = config.algorithm else {
        return Err(Error::Configuration(
            "[auth.jwt] says nothing of algorithm; expected \"HS256\" with secret_env or secret_file, or \"RS256\", \"ES256\" or \"EdDSA\" with public_key_file or public_key_env".into(),
        ));
    };
    let (found, other, expected) = match algorithm {
        Algorithm::Hs256 => (secrets, public, "secret_env or secret_file"),
        _ => (public, secrets, "public_key_file, public_key_env, jwks_url or jwks_file"),
    };
    if found.is_empty() || !other.is_empty() {
        return Err(Error::Configuration(format!(
            "[auth.jwt] algorithm = \"{algorithm}\" needs {expected}, and nothing else"
        )));
    }
    let mut keys = Vec::with_capacity(found.len());
    for secrets::Found { secret, origin } in found {
        let key = match algorithm {
            Algorithm::Hs256 => from_secret(secret.bytes(), &origin),
            _ => from_pem(algorithm, secret.bytes()),
        };
        keys.push(key.map_err(|what| Error::Configuration(format!("{origin} {what}")))?);
    }
    Ok(keys)
}

fn from_secret(secret: &[u8], origin: &str) -> Result<Key, String> {
    if is_pem(secret) {
        return Err("is a key in PEM, and not a secret: HS256 would let everybody who knows it sign tokens; expected algorithm = \"RS256\", \"ES256\" or \"EdDSA\", and the key as public_key_file or public_key_env".into());
    }
    if secret.len() < SHORTEST_SECRET {
        tracing::warn!(
            "{origin} is shorter than {SHORTEST_SECRET} bytes, so it can be guessed from a token; make one by: openssl rand -base64 48"
        );
    }
    Ok(Key { id: None, algorithm: Algorithm::Hs256, decoding: DecodingKey::from_secret(secret) })
}

fn is_pem(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"-----BEGIN ")
}

fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Key, String> {
    let pem = pem.trim_ascii();
    if !is_pem(pem) {
        return Err("is no key in PEM; expected text that begins with -----BEGIN PUBLIC KEY-----".into());
    }
    let first = String::from_utf8_lossy(pem.split(|byte| *byte == b'\n').next().unwrap_or_default()).trim().to_owned();
    match first.as_str() {
        "-----BEGIN PUBLIC KEY-----" | "-----BEGIN RSA PUBLIC KEY-----" => {}
        private if private.contains("PRIVATE KEY") => {
            return Err("is a private key, which rowcast has no use for; give it the public one: openssl pkey -pubout -in private.pem".into());
        }
        certificate if certificate.contains("CERTIFICATE") => {
            return Err(
                "is a certificate; give rowcast the key in it: openssl x509 -noout -pubkey -in certificate.pem".into(),
            );
        }
        _ => return Err("is no public key; expected -----BEGIN PUBLIC KEY-----".into()),
    }
    let (decoding, verification): (_, &'static dyn VerificationAlgorithm) = match algorithm {
        Algorithm::Rs256 => (DecodingKey::from_rsa_pem(pem), &RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Es256 => (DecodingKey::from_ec_pem(pem), &ECDSA_P256_SHA256_FIXED),
        Algorithm::EdDsa => (DecodingKey::from_ed_pem(pem), &ED25519),
        Algorithm::Hs256 => return Err("is a public key, which HS256 has no use for".into()),
    };
    let needs = match algorithm {
        Algorithm::Rs256 => "an RSA key of at least 2048 bits",
        Algorithm::Es256 => "a key on the curve P-256",
        _ => "an Ed25519 key",
    };
    let wrong = || format!("is not what algorithm = \"{algorithm}\" needs: {needs}");
    let decoding = decoding.map_err(|_| wrong())?;
    let bytes = decoding.try_get_as_bytes().map_err(|_| wrong())?;
    ParsedPublicKey::new(verification, bytes).map_err(|_| wrong())?;
    if algorithm == Algorithm::Rs256 && bytes.len() < SHORTEST_MODULUS {
        return Err(wrong());
    }
    Ok(Key { id: None, algorithm, decoding })
}

/// A key of a set, as far as it matters here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// A key of a set; its algorithm is that of its kind.
    ///
    /// # Errors
    ///
    /// Why it can't be used.
    pub fn from_jwk(jwk: &serde_json::Value) -> Result<Self, String> {
        let jwk = Jwk::deserialize(jwk).map_err(|error| format!("it is no key: {error}"))?;
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig")
            || jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|one| one == "verify"))
        {
            return Err("it is not for signatures".into());
        }
        let algorithm = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Algorithm::Rs256,
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            ("oct", _) => return Err("it is a secret, and a set of keys is public".into()),
            (kty, crv) => return Err(format!("keys of the kind {kty} {} are not supported", crv.unwrap_or_default())),
        };
        match (algorithm, jwk.alg.as_deref()) {
            (_, None) | (Algorithm::EdDsa, Some("Ed25519")) => {}
            (_, Some(alg)) if alg == algorithm.to_string() => {}
            (_, Some(alg)) => return Err(format!("it is for {alg}; supported are RS256, ES256 and EdDSA")),
        }
        let bytes = |part: &Option<String>, name: &str| {
            let text = part.as_deref().ok_or_else(|| format!("it has no {name}"))?;
            URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its {name} is no base64url"))
        };
        let decoding = match algorithm {
            Algorithm::Rs256 => {
                let (n, e) = (bytes(&jwk.n, "n")?, bytes(&jwk.e, "e")?);
                if n.iter().skip_while(|byte| **byte == 0).count() < SHORTEST_MODULUS {
                    return Err("it has fewer than 2048 bits".into());
                }
                DecodingKey::from_rsa_raw_components(&n, &e)
            }
            Algorithm::Es256 => {
                let point = [&[4], bytes(&jwk.x, "x")?.as_slice(), bytes(&jwk.y, "y")?.as_slice()].concat();
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| "it is no point of its curve")?;
                DecodingKey::from_ec_der(&point)
            }
            _ => {
                let x = bytes(&jwk.x, "x")?;
                ParsedPublicKey::new(&ED25519, &x).map_err(|_| "it is no Ed25519 key")?;
                DecodingKey::from_ed_der(&x)
            }
        };
        Ok(Self { id: jwk.kid, algorithm, decoding })
    }
}
