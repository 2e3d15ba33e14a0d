//! What `[auth]` may say, and what it is told where it is wrong.

use super::*;
use crate::auth::{AuthConfig, Mode, Modes};

fn load(toml: &str) -> Result<Modes, String> {
    let config: AuthConfig = toml::from_str(toml).map_err(|error| error.message().to_owned())?;
    Modes::load(&config).map_err(|error| error.to_string())
}

#[track_caller]
fn assert_refused(toml: &str, expected: &str) {
    let error = load(toml).expect_err(toml);
    assert!(error.contains(expected), "{toml}: expected {expected:?} in {error}");
}

#[test]
fn nothing_open_is_told_what_to_write() {
    for nothing in ["", "modes = []", "[jwt]\nsecret_env = 'X'"] {
        for expected in ["modes = [\"session\", \"anonymous\"]", "secret_env", "--auth insecure"] {
            assert_refused(nothing, expected);
        }
    }
    assert_refused("modes = ['jwtt']", "unknown variant `jwtt`, expected one of `jwt`, `session`");
}

#[test]
fn insecure_stands_alone() {
    assert!(load("modes = ['insecure']").is_ok_and(|modes| modes.is_insecure()));
    assert!(load("modes = ['anonymous', 'anonymous']").is_ok_and(|modes| !modes.is_insecure()));
    assert_refused("modes = ['insecure', 'anonymous']", "no other mode can stand beside it");
}

#[test]
fn a_mode_whose_table_lacks_something_names_the_key_and_the_remedy() {
    let jwt = |rest: &str| format!("modes = ['jwt']\n[jwt]\n{rest}");
    let path = |name: &str, content: &[u8]| file(name, content).display().to_string();
    let (rsa, secret) = (path("rsa.pem", RSA.pem.as_bytes()), path("secret", SECRET));
    let private = path("private.pem", pem("PRIVATE KEY", b"0").as_bytes());
    let certificate = path("cert.pem", pem("CERTIFICATE", b"0").as_bytes());
    for (rest, expected) in [
        ("", "names no key to verify tokens with"),
        ("algorithm = 'HS256'", "secret_env = \"JWT_SECRET\""),
        ("algorithm = 'none'", "unknown variant `none`, expected one of `HS256`, `RS256`, `ES256`, `EdDSA`"),
        (&format!("secret_file = '{secret}'"), "says nothing of algorithm"),
        ("algorithm = 'HS256'\nsecret_env = 'ROWCAST_NOT_SET'", "ROWCAST_NOT_SET ([auth.jwt] secret_env) is not set"),
        ("algorithm = 'HS256'\nsecret_file = '/no/such'", "/no/such ([auth.jwt] secret_file) can't be read"),
        (&format!("algorithm = 'RS256'\nsecret_file = '{secret}'"), "needs public_key_file, public_key_env"),
        (&format!("algorithm = 'HS256'\npublic_key_file = '{rsa}'"), "needs secret_env or secret_file"),
        (&format!("algorithm = 'HS256'\nsecret_file = '{secret}'\njwks_url = 'https://a/'"), "several kinds of keys"),
        (&format!("algorithm = 'ES256'\npublic_key_file = '{rsa}'"), "a key on the curve P-256"),
        (&format!("algorithm = 'EdDSA'\npublic_key_file = '{rsa}'"), "an Ed25519 key"),
        (&format!("algorithm = 'RS256'\npublic_key_file = '{secret}'"), "-----BEGIN PUBLIC KEY-----"),
        (&format!("algorithm = 'RS256'\npublic_key_file = '{private}'"), "openssl pkey -pubout"),
        (&format!("algorithm = 'RS256'\npublic_key_file = '{certificate}'"), "openssl x509 -noout -pubkey"),
        ("algorithm = 'HS256'\njwks_url = 'https://a/'", "a set of keys holds no secrets"),
        ("jwks_url = 'http://issuer.example/jwks'", "http is for loopback addresses only"),
        ("jwks_url = 'ftp://issuer.example/jwks'", "expected the URL of a JWKS"),
        ("jwks_url = 'https://u:hunter2@issuer.example/'", "without a user or a password"),
        ("jwks_url = 'https://a/'\njwks_refresh = '1s'", "jwks_refresh: expected at least 10s"),
        ("jwks_url = 'https://a/'\nleeway = '1h'", "leeway: expected at most 10m"),
        ("jwks_url = 'https://a/'\ncookie = ''", "the name of a cookie"),
        ("jwks_file = '/no/such'", "/no/such ([auth.jwt] jwks_file)"),
        (&format!("jwks_file = '{rsa}'"), "expected a JWKS"),
        ("secret = 'hunter2'", "unknown field `secret`"),
        ("claims = { roll = 'x' }", "unknown field `roll`"),
    ] {
        assert_refused(&jwt(rest), expected);
        assert!(!load(&jwt(rest)).expect_err(rest).contains("hunter2"), "{rest}");
    }
    let session = |rest: &str| format!("modes = ['session']\n[session]\n{rest}");
    for (rest, expected) in [
        (String::new(), "secret_env = \"SESSION_SECRET\""),
        ("secret = 'hunter2'".to_owned(), "unknown field `secret`"),
        ("secret_env = ['ROWCAST_NOT_SET', 'X']".to_owned(), "ROWCAST_NOT_SET ([auth.session] secret_env) is not set"),
        (format!("secret_file = '{secret}'\ncookie = ''"), "[auth.session] cookie"),
        (format!("secret_file = '{secret}'\nuser = []"), "[auth.session] user"),
        (format!("secret_file = '{secret}'\nuser = 'a..b'"), "[auth.session] user"),
        (format!("secret_file = '{secret}'\ntime_zone = ''"), "[auth.session] time_zone"),
        (format!("secret_file = '{secret}'\ntable = 'a.b.c'"), "is no table"),
    ] {
        assert_refused(&session(&rest), expected);
    }
    assert_refused("modes = ['anonymous']\n[identity]\nsql = 'select 1'", "[auth.identity] sql never uses $1");
    assert_refused("modes = ['anonymous']\n[identity]\nchanges = { '' = 'id' }", "is no table");
}

#[test]
fn a_table_of_a_mode_that_is_off_needs_nothing() {
    assert!(load("modes = ['anonymous']\n[jwt]\nsecret_env = 'ROWCAST_NOT_SET'").is_ok());
}

#[test]
fn nothing_that_holds_a_secret_prints_it() {
    let secret = "hunter2-hunter2-hunter2-hunter2-hunter2";
    let file = file("secret", secret.as_bytes()).display().to_string();
    let toml = format!(
        "modes = ['jwt', 'session']\n[jwt]\nalgorithm = 'HS256'\nsecret_file = '{file}'\n[session]\nsecret_file = '{file}'"
    );
    let config: AuthConfig = toml::from_str(&toml).expect("a configuration");
    let modes = Modes::load(&config).expect("modes");
    let rules = TokenRules::load(&config.jwt).expect("rules");
    let url = toml::from_str::<JwtConfig>("jwks_url = 'https://issuer.example/jwks?key=hunter2'").expect("a URL");
    let tokens = tokens(&config.jwt);
    for printed in
        [format!("{config:?}"), format!("{modes:?}"), format!("{rules:?}"), format!("{url:?}"), format!("{tokens:?}")]
    {
        assert!(!printed.contains("hunter2"), "{printed}");
        // Nor as the list of its bytes.
        assert!(!printed.contains("104, 117, 110"), "{printed}");
    }
    assert!(format!("{url:?}").contains("https://issuer.example/jwks"));
}

#[test]
fn every_key_that_the_example_leaves_out_can_be_written() {
    let example = include_str!("../../../rowcast.example.toml");
    let written: String = example
        .lines()
        .map(|line| line.strip_prefix("#- ").or(line.strip_prefix("#= ")).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let config: crate::config::Config = toml::from_str(&written).expect("the example");
    assert_eq!(config.auth.jwt.algorithm, Some(Algorithm::Rs256));
    assert!(config.auth.jwt.jwks_url.is_some() && config.auth.session.time_zone.is_some());
    assert!(config.auth.identity.sql.is_some_and(|sql| sql.contains("$1")));
}

#[test]
fn what_sign_in_asks_the_database_is_listed_for_those_who_grant_it() {
    let names = |modes: &[Mode], sql: Option<&str>| {
        let mut config = AuthConfig { modes: modes.to_vec(), ..AuthConfig::default() };
        config.identity.sql = sql.map(str::to_owned);
        let queries = crate::auth::queries(&config);
        assert!(queries.iter().flat_map(|query| &query.forms).all(|form| form.contains("$1") && form.contains("key")));
        queries.iter().map(|query| query.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&[Mode::Anonymous], None), [] as [&str; 0]);
    assert_eq!(names(&[Mode::Jwt, Mode::Anonymous], None), ["sign_in_user", "sign_in_stores"]);
    let configured = "select id as key from people where id = any($1)";
    assert_eq!(names(&[Mode::Session], Some(configured)), ["sign_in_session", "sign_in_identity"]);
}
