//! Signing in, over the wire: by a token, by a session, by neither; what is denied, and when a sign-in ends.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, http::HeaderMap, routing::get};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{EncodingKey, Header};
use rowcast::{
    auth::{Algorithm, AuthConfig, KeysUrl, Mode, Modes},
    config::{Config, LookupConfig},
    gateway::{Handshake, Refused, SignIn},
    identity::{Grounds, SignedIn},
    pool, serve,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::cli::Files;
use crate::support::{
    client::{self, Client},
    command::{rowcast, rowcast_command, run},
    database::Database,
    eventually,
    service::{Service, get as http_get, url},
};

pub const SECRET: &str = "a secret that is long enough to be one";

pub fn config(files: &Files, modes: &[Mode]) -> Config {
    let mut config = Config::default();
    config.auth.modes = modes.to_vec();
    // Each test is refused more often than a person would be.
    config.limits.sign_in_failures_per_minute = std::num::NonZeroU32::MAX;
    let secret = PathBuf::from(files.path()).join("secret");
    config.auth.jwt.algorithm = Some(Algorithm::Hs256);
    config.auth.jwt.secret_file = vec![secret.clone()];
    config.auth.jwt.cookie = Some("token".to_owned());
    config.auth.session.secret_file = vec![secret];
    config
}

pub fn secret() -> Files {
    Files::new(&[("secret", SECRET)])
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

pub fn token(claims: Value) -> String {
    signed(SECRET, claims)
}

fn signed(secret: &str, mut claims: Value) -> String {
    if claims.get("exp").is_none() {
        claims["exp"] = json!(now() + 3600);
    }
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes())).expect("a token")
}

/// As express-session writes it.
pub fn session_cookie(secret: &str, id: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = STANDARD_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, id.as_bytes()));
    let encoded = signature.replace('+', "%2B").replace('/', "%2F");
    format!("theme=dark; connect.sid=s%3A{id}.{encoded}")
}

pub async fn add_session(database: &Database, id: &str, user: &str, expire: &str) {
    let sess = json!({ "cookie": {}, "passport": { "user": user } });
    database.run(&format!("insert into sessions values ('{id}', '{sess}', {expire})")).await;
}

async fn refused(address: SocketAddr, auth: Value, headers: &[(&'static str, &str)]) -> String {
    match Client::connect_with(&url(address), auth.clone(), headers).await {
        Err(client::Refused(reason)) => reason,
        Ok(_) => panic!("{auth} {headers:?} was let in"),
    }
}

/// Whether the client is that user: it hears what is for them alone, after something that all hear.
async fn is_buyer(database: &Database, client: &mut Client, buyer: &str) -> bool {
    client.emit_with_ack("join:product", json!({ "productId": "product-1" })).await;
    database
        .run(&format!(
            "insert into orders (user_id, seller_id, customer_name, customer_email, customer_address, items, total, created_at)
             values ('{buyer}', 'seller-1', 'x', 'x', 'x', '[]', 1, now()::text);
             update products set price = price + 1 where id = 'product-1'"
        ))
        .await;
    let heard = client.events_until(|name, _| name == "product:price_changed").await;
    heard.iter().any(|(name, event)| name == "order:updated" && event["data"]["buyerId"] == buyer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_signs_in_as_auth_token_as_a_header_and_as_a_cookie() {
    let (database, files) = (Database::marketplace().await, secret());
    let service = Service::start_with(&database, config(&files, &[Mode::Jwt])).await;
    let url = url(service.address);
    let token = token(json!({ "sub": "buyer-1" }));
    let (bearer, cookie) = (format!("Bearer {token}"), format!("a=b; token={token}"));
    for (auth, headers) in [
        (json!({ "token": token }), vec![]),
        (Value::Null, vec![("authorization", bearer.as_str())]),
        (Value::Null, vec![("cookie", cookie.as_str())]),
        (json!({ "token": token }), vec![("cookie", "token=stale")]),
    ] {
        let mut client = Client::connect_with(&url, auth.clone(), &headers).await.expect("signed in");
        assert!(is_buyer(&database, &mut client, "buyer-1").await, "{headers:?}");
        let mut client = Client::connect_upgraded_with(&url, auth, &headers).await.expect("signed in, by polling");
        assert!(is_buyer(&database, &mut client, "buyer-1").await, "{headers:?}, by polling");
        assert!(!is_buyer(&database, &mut client, "buyer-2").await, "somebody else's order");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_an_error_even_where_visitors_are_welcome() {
    let (database, files) = (Database::marketplace().await, secret());
    let service = Service::start_with(&database, config(&files, &[Mode::Jwt, Mode::Session, Mode::Anonymous])).await;
    let expired = token(json!({ "sub": "buyer-1", "exp": now() - 100 }));
    let forged = signed("another secret, which is long enough too", json!({ "sub": "buyer-1" }));
    let unsigned = {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        format!("{header}.{}.", URL_SAFE_NO_PAD.encode(format!(r#"{{"sub":"buyer-1","exp":{}}}"#, now() + 100)))
    };
    for (token, expected) in [
        (expired.as_str(), "the token is not valid: it has expired"),
        (&forged, "the token is not valid"),
        (&unsigned, "the token is not valid"),
        ("garbage", "the token is not valid"),
        (&token(json!({ "exp": now() + 100 })), "the token has no claim \"sub\", which says who its user is"),
        (
            &token(json!({ "sub": "buyer-1", "roles": 7 })),
            "the token's claim \"roles\": expected a list of strings, found a number",
        ),
        (&token(json!({ "sub": "nobody-knows-me" })), "this user may not sign in"),
    ] {
        assert_eq!(refused(service.address, json!({ "token": token }), &[]).await, expected);
        let bearer = format!("Bearer {token}");
        assert_eq!(refused(service.address, Value::Null, &[("authorization", &bearer)]).await, expected);
        let cookie = format!("token={token}");
        assert_eq!(refused(service.address, Value::Null, &[("cookie", &cookie)]).await, expected);
    }
    assert_eq!(
        refused(service.address, json!({ "token": 17 }), &[]).await,
        "auth.token: expected a string, found a number"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_is_told_what_is_expected_and_a_user_id_is_not_believed() {
    let (database, files) = (Database::marketplace().await, secret());
    for (modes, expected) in [
        (&[Mode::Jwt] as &[_], "sign in first: expected a token as auth.token"),
        (&[Mode::Session], "sign in first: expected the cookie of a session (withCredentials: true)"),
        (
            &[Mode::Jwt, Mode::Session],
            "sign in first: expected a token as auth.token, or the cookie of a session (withCredentials: true)",
        ),
    ] {
        let service = Service::start_with(&database, config(&files, modes)).await;
        for auth in [Value::Null, json!({}), json!({ "userId": "buyer-1" })] {
            assert_eq!(refused(service.address, auth, &[("authorization", "Basic dTpw")]).await, expected);
        }
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_hears_public_rooms_and_no_others() {
    let database = Database::marketplace().await;
    let files = secret();
    let service = Service::start_with(&database, config(&files, &[Mode::Anonymous])).await;
    for auth in [Value::Null, json!({ "userId": "seller-1", "token": "not looked at" })] {
        let mut visitor = Client::connect(&url(service.address), auth).await.expect("a visitor");
        assert!(!is_buyer(&database, &mut visitor, "buyer-1").await);
        for room in ["user:seller-1", "seller:seller-1", "sellers", "buyers"] {
            assert_eq!(visitor.emit_with_ack("join", json!({ "room": room })).await["success"], false, "{room}");
        }
    }
    // The demo page shows rows of the database, and belongs to the insecure mode.
    let (status, page) = http_get(service.address, "/").await.expect("an answer");
    assert!(status == 200 && !page.contains("<html"), "{page}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_does_not_say_the_database_is_asked() {
    let (database, files) = (Database::marketplace().await, secret());
    let service = Service::start_with(&database, config(&files, &[Mode::Jwt])).await;
    let may = async |claims: Value, room: &str| {
        let client =
            Client::connect(&url(service.address), json!({ "token": token(claims) })).await.expect("signed in");
        client.emit_with_ack("join", json!({ "room": room })).await["success"] == true
    };
    // Their membership is in the database.
    assert!(may(json!({ "sub": "helper-1" }), "seller:seller-1").await);
    assert!(may(json!({ "sub": "admin-1" }), "seller:seller-2").await);
    // The token's word goes before it.
    assert!(!may(json!({ "sub": "helper-1", "stores": [] }), "seller:seller-1").await);
    assert!(may(json!({ "sub": "helper-1", "stores": ["seller-2"] }), "seller:seller-2").await);
    assert!(!may(json!({ "sub": "admin-1", "admin": false }), "seller:seller-2").await);
    assert!(may(json!({ "sub": "buyer-1", "roles": ["seller"] }), "sellers").await);
    assert!(!may(json!({ "sub": "buyer-1" }), "sellers").await);
    // One that says everything leaves nothing to the database but whether its user is there.
    assert!(may(json!({ "sub": "seller-1", "roles": ["buyer"], "stores": [], "admin": false }), "buyers").await);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configured_sql_says_who_a_user_is_and_who_may_not_sign_in() {
    let (database, files) = (Database::marketplace().await, secret());
    database
        .run(
            "create table people (id uuid primary key, is_admin boolean, shops text[], banned boolean default false);
             insert into people values ('00000000-0000-0000-0000-000000000001', true, null, false),
               ('00000000-0000-0000-0000-000000000002', false, '{seller-2}', false),
               ('00000000-0000-0000-0000-000000000003', false, null, true)",
        )
        .await;
    let mut config = config(&files, &[Mode::Jwt]);
    config.auth.identity.sql = Some(
        "select id as key, is_admin as admin, shops as stores, not banned as active from people
         where id = any($1::uuid[]); "
            .to_owned(),
    );
    let service = Service::start_with(&database, config).await;
    let connect = async |id: &str| {
        let token = token(json!({ "sub": id }));
        Client::connect(&url(service.address), json!({ "token": token })).await
    };
    let may = async |id: &str, room: &str| {
        let client = connect(id).await.expect("signed in");
        client.emit_with_ack("join", json!({ "room": room })).await["success"] == true
    };
    let person = |number: u8| format!("00000000-0000-0000-0000-00000000000{number}");
    assert!(may(&person(1), "seller:seller-1").await);
    assert!(may(&person(2), "seller:seller-2").await);
    assert!(!may(&person(2), "seller:seller-1").await);
    for refused in [&person(3), "no-uuid"] {
        let reason = connect(refused).await.err();
        assert_eq!(reason, Some(client::Refused("this user may not sign in".to_owned())), "{refused}");
    }
    assert!(!may(&person(4), "seller:seller-1").await, "without a row one is signed in, and nothing besides");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_keys_are_fetched_by_the_service_and_once_for_all() {
    // RFC 8037, A.1: both halves of the key.
    let (x, d) = ("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x }] }).to_string();
    let route = {
        let asked = asked.clone();
        get(async move || {
            asked.fetch_add(1, Ordering::SeqCst);
            keys
        })
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/jwks", route)).await });

    let (database, files) = (Database::marketplace().await, secret());
    let mut config = config(&files, &[Mode::Jwt]);
    config.auth.jwt.algorithm = None;
    config.auth.jwt.secret_file = Vec::new();
    config.auth.jwt.jwks_url = Some(KeysUrl::try_from(format!("http://{address}/jwks")).expect("a URL"));
    let service = Service::start_with(&database, config).await;
    let seed: Vec<u8> = URL_SAFE_NO_PAD.decode(d).expect("base64url");
    // PKCS #8 around the seed.
    let der = [b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".as_slice(), &seed].concat();
    let token = |kid: &str| {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(jsonwebtoken::Algorithm::EdDSA) };
        let claims = json!({ "sub": "buyer-1", "exp": now() + 100 });
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&der)).expect("a token")
    };
    for _ in 0..5 {
        let mut client =
            Client::connect(&url(service.address), json!({ "token": token("k1") })).await.expect("signed in");
        assert!(is_buyer(&database, &mut client, "buyer-1").await);
        assert_eq!(refused(service.address, json!({ "token": token("k2") }), &[]).await, "the token is not valid");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_signs_in_with_its_cookie_and_only_while_it_holds() {
    let (database, files) = (Database::marketplace().await, secret());
    add_session(&database, "good", "buyer-1", "now() + interval '1 hour'").await;
    add_session(&database, "old", "buyer-1", "now() - interval '1 second'").await;
    database.run("insert into sessions values ('guest', '{\"cookie\": {}}', now() + interval '1 hour')").await;
    let service = Service::start_with(&database, config(&files, &[Mode::Session])).await;
    let cookie = session_cookie(SECRET, "good");
    let mut client =
        Client::connect_with(&url(service.address), Value::Null, &[("cookie", &cookie)]).await.expect("in");
    assert!(is_buyer(&database, &mut client, "buyer-1").await);
    let mut client =
        Client::connect_upgraded_with(&url(service.address), Value::Null, &[("cookie", &cookie)]).await.expect("in");
    assert!(is_buyer(&database, &mut client, "buyer-1").await);
    for (case, cookie) in [
        ("expired", session_cookie(SECRET, "old")),
        ("of no user", session_cookie(SECRET, "guest")),
        ("unknown", session_cookie(SECRET, "unknown")),
        ("of a strange shape", session_cookie(SECRET, "a%00b")),
        ("signed by another", session_cookie("another secret", "good")),
        ("signed for another", cookie.replace("good", "gone")),
        ("unsigned", "connect.sid=good".to_owned()),
    ] {
        let reason = refused(service.address, Value::Null, &[("cookie", &cookie)]).await;
        assert_eq!(reason, "the session is not valid; sign in again", "{case}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_stale_cookie_one_is_a_visitor_where_visitors_are_welcome() {
    let (database, files) = (Database::marketplace().await, secret());
    let service = Service::start_with(&database, config(&files, &[Mode::Session, Mode::Anonymous])).await;
    for cookie in [session_cookie(SECRET, "ended"), session_cookie("another secret", "x"), "connect.sid=x".to_owned()] {
        let mut visitor =
            Client::connect_with(&url(service.address), Value::Null, &[("cookie", &cookie)]).await.expect("a visitor");
        assert!(!is_buyer(&database, &mut visitor, "buyer-1").await);
    }
    service.stop().await;
}

/// Sign-in as the service opens it, for what can be asked of it directly.
async fn sign_in(database: &Database, auth: &AuthConfig) -> Arc<dyn SignIn> {
    let url = database.database_url();
    let pool = pool::open(&LookupConfig::default(), &url, "test").await.expect("a pool");
    let modes = Modes::load(auth).expect("modes");
    modes.open(&pool, &url.for_capture().expect("a URL")).await.expect("sign-in")
}

async fn show(sign_in: &dyn SignIn, auth: Value, cookie: &str) -> Result<SignedIn, Refused> {
    let headers = HeaderMap::from_iter([("cookie".parse().unwrap(), cookie.parse().unwrap())]);
    sign_in.sign_in(&Handshake { auth, headers, address: Ipv4Addr::LOCALHOST.into() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_found_in_whatever_table_and_time_zone_the_application_keeps_it() {
    let (mut database, files) = (Database::marketplace().await, secret());
    let name: String = database.row("select current_database()::text", &[]).await.get(0);
    // Far from UTC, where the pool's own connections are.
    database.run(&format!("alter database {name} set timezone = 'Pacific/Auckland'")).await;
    database.client = database.connect().await;
    for (table, sess, expire) in [
        (r#""session""#, "json", "timestamp(6)"),
        (r#""My shop"."Sessions""#, "jsonb", "timestamp(6)"),
        ("plain", "text", "timestamptz"),
    ] {
        database
            .run(&format!(
                r#"create schema if not exists "My shop";
                   create table {table} (sid varchar primary key, sess {sess} not null, expire {expire} not null);
                   insert into {table} values
                     ('object', '{{"passport": {{"user": {{"id": "buyer-1"}}}}}}', now() + interval '30 minutes'),
                     ('number', '{{"passport": {{}}, "userId": 17}}', now() + interval '30 minutes'),
                     ('both', '{{"passport": {{"user": "buyer-2"}}, "userId": 17}}', now() + interval '30 minutes'),
                     ('null', '{{"passport": {{"user": null}}, "userId": "buyer-3"}}', now() + interval '30 minutes'),
                     ('list', '{{"passport": {{"user": ["buyer-1"]}}}}', now() + interval '30 minutes'),
                     ('old', '{{"userId": "buyer-1"}}', now() - interval '1 minute');
                   insert into users (id, email) values ('17', '17') on conflict do nothing"#
            ))
            .await;
        let mut config = config(&files, &[Mode::Session]);
        config.auth.session.table = table.to_owned().try_into().expect("a table");
        let sign_in = sign_in(&database, &config.auth).await;
        for (id, user) in
            [("object", Some("buyer-1")), ("number", Some("17")), ("both", Some("buyer-2")), ("null", Some("buyer-3"))]
        {
            let signed_in = show(&*sign_in, Value::Null, &session_cookie(SECRET, id)).await.expect(id);
            assert_eq!(signed_in.identity.user_id.as_deref(), user, "{table}");
            assert_eq!(signed_in.grounds, Grounds::Session { id: id.to_owned() });
            let left = signed_in.until.expect("it expires") - chrono::Utc::now();
            assert!((29..=30).contains(&left.num_minutes()), "{table}: {left}");
        }
        for id in ["list", "old"] {
            let outcome = show(&*sign_in, Value::Null, &session_cookie(SECRET, id)).await;
            assert!(matches!(outcome, Err(Refused::Denied(_))), "{table}, {id}: {outcome:?}");
        }
        // The configuration may know better in which time zone the application writes.
        config.auth.session.time_zone = Some("UTC".to_owned());
        let sign_in = self::sign_in(&database, &config.auth).await;
        let signed_in = show(&*sign_in, Value::Null, &session_cookie(SECRET, "object")).await.expect("signed in");
        let left = signed_in.until.expect("it expires") - chrono::Utc::now();
        assert_eq!(left.num_hours() >= 12, !expire.contains("tz"), "{table}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_by_session_is_confirmed_until_the_session_or_the_user_ends() {
    let (database, files) = (Database::marketplace().await, secret());
    add_session(&database, "s1", "helper-1", "now() + interval '1 hour'").await;
    let sign_in = sign_in(&database, &config(&files, &[Mode::Session]).auth).await;
    let before = show(&*sign_in, Value::Null, &session_cookie(SECRET, "s1")).await.expect("signed in");
    assert_eq!(sign_in.confirm(&before).await, Ok(before.clone()));

    database.run("update user_store_memberships set status = 'revoked' where user_id = 'helper-1'").await;
    database.run("update users set seller_id = null where id = 'helper-1'").await;
    database.run("update sessions set expire = expire + interval '1 hour'").await;
    let after = sign_in.confirm(&before).await.expect("still signed in");
    assert!(before.identity.stores.contains(&"seller-1".to_owned()) && after.identity.stores.is_empty());
    assert_eq!(after.until, before.until.map(|until| until + chrono::TimeDelta::hours(1)));

    let ended = Err(Refused::Denied("the session has ended; sign in again".to_owned()));
    database.run("update sessions set sess = '{\"passport\": {\"user\": \"buyer-1\"}}'").await;
    assert_eq!(sign_in.confirm(&before).await, ended, "somebody else's by now");
    database.run("update sessions set sess = '{\"passport\": {\"user\": \"helper-1\"}}'").await;
    assert!(sign_in.confirm(&before).await.is_ok());
    database.run("update sessions set expire = now() - interval '1 second'").await;
    assert_eq!(sign_in.confirm(&before).await, ended);
    database.run("update sessions set expire = now() + interval '1 hour'").await;
    database.run("delete from users where id = 'helper-1'").await;
    assert_eq!(sign_in.confirm(&before).await, Err(Refused::Denied("this user may not sign in".to_owned())));
    database.run("delete from sessions").await;
    assert_eq!(sign_in.confirm(&before).await, ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_by_token_is_confirmed_with_what_the_token_claimed_until_it_expires() {
    let (database, files) = (Database::marketplace().await, secret());
    let sign_in = sign_in(&database, &config(&files, &[Mode::Jwt]).auth).await;
    let token = token(json!({ "sub": "admin-1", "roles": ["buyer"], "exp": now() + 3600 }));
    let before = show(&*sign_in, json!({ "token": token }), "a=b").await.expect("signed in");
    assert!(before.identity.admin && before.identity.roles == ["buyer"]);
    assert!(!format!("{before:?}").contains(&token), "the token is not kept");
    database.run("update users set is_platform_admin = 0, role = 'seller' where id = 'admin-1'").await;
    let after = sign_in.confirm(&before).await.expect("still signed in");
    assert!(!after.identity.admin && after.identity.roles == ["buyer"]);
    assert_eq!(after.until, before.until);
    let all = json!({ "sub": "admin-1", "roles": [], "stores": [], "admin": true });
    let all = json!({ "token": self::token(all) });
    let says_all = show(&*sign_in, all.clone(), "a=b").await.expect("signed in");
    database.run("delete from users where id = 'admin-1'").await;
    let gone = Err(Refused::Denied("this user may not sign in".to_owned()));
    assert_eq!(sign_in.confirm(&says_all).await, gone, "whatever the token says");
    assert_eq!(show(&*sign_in, all.clone(), "a=b").await, gone);
    database.run("alter table users rename to accounts").await;
    assert_eq!(show(&*sign_in, all, "a=b").await, Ok(says_all.clone()), "nobody to ask");
    let expired = SignedIn { until: Some(chrono::Utc::now()), ..before };
    assert_eq!(sign_in.confirm(&expired).await, Err(Refused::Denied("the token has expired".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_does_not_answer_nobody_is_denied_nor_let_in() {
    let (database, files) = (Database::marketplace().await, secret());
    add_session(&database, "s1", "buyer-1", "now() + interval '1 hour'").await;
    let config = config(&files, &[Mode::Jwt, Mode::Session, Mode::Anonymous]);
    let sign_in = sign_in(&database, &config.auth).await;
    let locker = database.connect().await;
    locker.batch_execute("begin; lock table users, sessions").await.expect("locked");
    let began = tokio::time::Instant::now();
    let by_session = show(&*sign_in, Value::Null, &session_cookie(SECRET, "s1")).await;
    let by_token = show(&*sign_in, json!({ "token": token(json!({ "sub": "buyer-1" })) }), "a=b").await;
    for outcome in [by_session, by_token] {
        assert!(matches!(outcome, Err(Refused::Unavailable(_))), "{outcome:?}");
    }
    assert!(began.elapsed().as_secs() < 10);
    // Who needs no database gets in.
    assert_eq!(show(&*sign_in, Value::Null, "a=b").await, Ok(SignedIn::default()));
    locker.batch_execute("rollback").await.expect("unlocked");
    assert!(show(&*sign_in, Value::Null, &session_cookie(SECRET, "s1")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_the_marketplaces_tables_knows_nothing_of_a_user_but_the_id() {
    let (database, files) = (Database::marketplace().await, secret());
    let sign_in = sign_in(&database, &config(&files, &[Mode::Jwt]).auth).await;
    let show = async || {
        let signed_in = show(&*sign_in, json!({ "token": token(json!({ "sub": "helper-1" })) }), "a=b").await;
        signed_in.map(|signed_in| (signed_in.identity.roles, signed_in.identity.stores))
    };
    let roles = |roles: &[&str], stores: &[&str]| {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Ok((all(roles), all(stores)))
    };
    assert_eq!(show().await, roles(&["seller", "customer"], &["helper-1", "seller-1"]));
    // As the application's own migrations may have it, while the service runs.
    database.run("alter table users drop column user_type, drop column is_platform_admin").await;
    assert_eq!(show().await, roles(&["seller", "customer"], &["helper-1", "seller-1"]));
    database.run("alter table users drop column seller_id").await;
    assert_eq!(show().await, roles(&["seller", "customer"], &["helper-1", "seller-1"]), "by the membership");
    database.run("drop table user_store_memberships").await;
    assert_eq!(show().await, roles(&["buyer", "customer"], &[]));
    database.run("alter table users rename to accounts").await;
    assert_eq!(show().await, roles(&[], &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sign_in_needs_and_the_database_lacks_ends_the_start_with_a_word_what() {
    let (database, files) = (Database::marketplace().await, secret());
    let path = format!("{}/secret", files.path());
    let session = format!("[auth]\nmodes = ['session']\n[auth.session]\nsecret_file = '{path}'\n");
    for (rest, expected) in [
        ("table = 'no_such'\n", "[auth.session] table \"no_such\": sessions can't be looked up"),
        ("time_zone = 'Middle/Earth'\n", "Middle/Earth"),
        ("[auth.identity]\nsql = 'select nobody as key from users where id = any($1)'\n", "[auth.identity] sql"),
    ] {
        let files = Files::new(&[("rowcast.toml", &format!("{session}{rest}"))]);
        let config = format!("{}/rowcast.toml", files.path());
        let ran = rowcast(&database.url, &["serve", "--listen", "127.0.0.1:0", "--config", &config]).await;
        assert_eq!(ran.code, 3, "{rest}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{rest}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_lacks_its_secret_ends_the_command_and_no_secret_is_printed() {
    let database = Database::empty().await;
    let literal = Files::new(&[("rowcast.toml", "[auth]\nmodes = ['jwt']\n[auth.jwt]\nsecret = 'hunter2'\n")]);
    let unset =
        Files::new(&[("rowcast.toml", "[auth.jwt]\nalgorithm = 'HS256'\nsecret_env = 'ROWCAST_TEST_SECRET'\n")]);
    let mistaken = Files::new(&[("rowcast.toml", "[auth.session]\nsecret_env = 'hunter2'\n")]);
    let of = |files: &Files| format!("{}/rowcast.toml", files.path());
    for (arguments, expected) in [
        (
            vec!["--config", &of(&literal)],
            "rowcast.toml:4: secret: unknown field `secret`, expected one of `algorithm`",
        ),
        (vec!["--config", &of(&unset), "--auth", "jwt"], "ROWCAST_TEST_SECRET ([auth.jwt] secret_env) is not set"),
        (vec!["--config", &of(&mistaken), "--auth", "session"], "that [auth.session] secret_env names is not set"),
        (vec!["--auth", "jwt"], "[auth.jwt] names no key"),
        (vec!["--auth", "session,anonymous"], "[auth.session] names no secret"),
        (vec!["--auth", "insecure,anonymous"], "no other mode can stand beside it"),
        (vec!["--auth", "insecure", "--auth", "anonymous"], "no other mode can stand beside it"),
    ] {
        let ran = rowcast(&database.url, &[&["serve", "--listen", "127.0.0.1:0"], arguments.as_slice()].concat()).await;
        assert_eq!(ran.code, 3, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{arguments:?}: {}", ran.stderr);
    }
    // A short secret is good for development, and said to be short, without being said.
    let mut command = rowcast_command(&database.url);
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--auth", "jwt", "--config", &of(&unset)];
    let ran = run(command.args(arguments).env("ROWCAST_TEST_SECRET", "hunter2"), "").await;
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("ROWCAST_TEST_SECRET ([auth.jwt] secret_env) is shorter than 32 bytes"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_insecure_mode_is_bound_to_this_machine() {
    let files = secret();
    let anywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    for modes in [&[Mode::Jwt, Mode::Anonymous] as &[_], &[Mode::Session], &[Mode::Anonymous]] {
        let modes = Modes::load(&config(&files, modes).auth).expect("modes");
        assert!(serve::bind(anywhere, &modes).await.is_ok(), "{modes:?}");
    }
    let modes = Modes::load(&config(&files, &[Mode::Insecure]).auth).expect("modes");
    let error = serve::bind(anywhere, &modes).await.expect_err("not there").to_string();
    assert!(error.contains("loopback addresses only"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_presents_is_in_no_log_whatever_is_asked_to_be_logged() {
    let database = Database::marketplace().await;
    let crates = ["socketioxide", "socketioxide_core", "engineioxide", "engineioxide_core", "tungstenite", "sqlx"];
    let modules =
        crates.map(|name| format!("{name}=trace,{name}::client=trace,{name}::socket=trace,{name}::query=trace"));
    for wanted in ["trace".to_owned(), format!("info,rowcast=trace,socketioxide[client]=trace,{}", modules.join(","))] {
        let mut child = rowcast_command(&database.url)
            .args(["serve", "--auth", "insecure", "--listen", "127.0.0.1:0"])
            .env("RUST_LOG", &wanted)
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (found, address) = tokio::sync::oneshot::channel::<String>();
        let reading = tokio::spawn(async move {
            let (mut said, mut found) = (String::new(), Some(found));
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some((_, address)) = line.split_once("listening on ") {
                    found.take().expect("once").send(address.to_owned()).ok();
                }
                said += &format!("{line}\n");
            }
            said
        });
        let address = tokio::time::timeout(client::PATIENCE, address).await.expect("in time").expect("it listens");
        let ready = async || Client::connect(&address, json!({ "userId": "seller-1" })).await.is_ok();
        eventually("it lets clients in", ready).await;
        let auth = json!({ "userId": "seller-1", "token": "hidden-in-auth" });
        let headers = [("cookie", "a=hidden-in-cookie"), ("authorization", "Bearer hidden-in-header")];
        for connect in [
            Client::connect_with(&address, auth.clone(), &headers).await,
            Client::connect_upgraded(&address, auth.clone()).await,
        ] {
            let client = connect.expect("signed in");
            assert_eq!(client.emit_with_ack("auth:renew", auth.clone()).await["success"], true);
        }
        child.kill().await.expect("killed");
        let said = reading.await.expect("read");
        assert!(said.contains("listening on"), "{said}");
        let leaks: Vec<&str> = said.lines().filter(|line| line.contains("hidden-in-")).collect();
        assert!(leaks.is_empty(), "RUST_LOG={wanted}: {leaks:#?}");
    }
}
