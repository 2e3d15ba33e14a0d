//! Who is connected and may not hear something any more: within a second of the commit they don't.

use std::time::{Duration, Instant};

use jsonwebtoken::{EncodingKey, Header};
use rowcast::{
    auth::{Algorithm, Mode},
    config::Config,
};
use serde_json::{Value, json};

use super::{
    cli::Files,
    sign_in::{add_session, session_cookie},
};
use crate::support::{
    client::Client,
    database::Database,
    service::{Service, url},
};

const SECRET: &str = "a secret that is long enough to be one";
const IN_TIME: Duration = Duration::from_secs(1);

struct Stage {
    database: Database,
    service: Service,
    _files: Files,
}

impl Stage {
    async fn set() -> Self {
        let database = Database::marketplace().await;
        let files = Files::new(&[("secret", SECRET)]);
        let mut config = Config::default();
        config.auth.modes = vec![Mode::Jwt, Mode::Session];
        config.auth.jwt.algorithm = Some(Algorithm::Hs256);
        config.auth.jwt.secret_file = vec![format!("{}/secret", files.path()).into()];
        config.auth.jwt.leeway = Duration::ZERO;
        config.auth.session.secret_file = vec![format!("{}/secret", files.path()).into()];
        let service = Service::start_with(&database, config).await;
        Self { database, service, _files: files }
    }

    async fn by_token(&self, claims: Value) -> Client {
        Client::connect(&url(self.service.address), json!({ "token": token(claims) })).await.expect("signed in")
    }

    async fn user(&self, id: &str) -> Client {
        self.by_token(json!({ "sub": id, "exp": now() + 3600.0 })).await
    }

    async fn by_session(&self, id: &str, user: &str) -> Client {
        add_session(&self.database, id, user, "now() + interval '1 hour'").await;
        let cookie = session_cookie(SECRET, id);
        let headers = [("cookie", cookie.as_str())];
        Client::connect_with(&url(self.service.address), Value::Null, &headers).await.expect("signed in")
    }

    /// Something in the application's tables changes; the client is told so in time.
    async fn change(&self, client: &mut Client, sql: &str, expected: &str) -> Value {
        self.database.run(sql).await;
        let committed = Instant::now();
        let told = client.event_named(expected).await;
        assert!(committed.elapsed() < IN_TIME, "{expected} came {:?} after {sql}", committed.elapsed());
        told
    }

    /// An order of a store, and then something that everybody in a product's room hears: whether the client heard the order.
    async fn hears_orders_of(&self, client: &mut Client, seller: &str) -> bool {
        client.emit_with_ack("join:product", json!({ "productId": "product-1" })).await;
        self.database
            .run(&format!(
                "insert into orders (user_id, seller_id, customer_name, customer_email, customer_address, items, total, created_at)
                 values (null, '{seller}', 'x', 'x', 'x', '[]', 1, now()::text);
                 update products set price = price + 1 where id = 'product-1'"
            ))
            .await;
        let heard = client.events_until(|name, _| name == "product:price_changed").await;
        heard.iter().any(|(name, event)| name == "order:updated" && event["data"]["sellerId"] == seller)
    }
}

fn now() -> f64 {
    chrono::Utc::now().timestamp_millis() as f64 / 1000.0
}

fn token(claims: Value) -> String {
    jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("a token")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collaborator_whose_membership_is_revoked_leaves_the_stores_rooms() {
    let stage = Stage::set().await;
    stage
        .database
        .run("insert into user_store_memberships values ('m1', 'buyer-1', 'seller-2', 'collaborator', 'active')")
        .await;
    let mut client = stage.user("buyer-1").await;
    assert!(stage.hears_orders_of(&mut client, "seller-2").await);
    let revoke = "update user_store_memberships set status = 'revoked' where id = 'm1'";
    let moved = stage.change(&mut client, revoke, "rowcast:rooms").await;
    let left = moved["left"].as_array().expect("rooms");
    assert!(left.contains(&json!("seller:seller-2")) && left.contains(&json!("sellers")), "{moved}");
    assert!(!stage.hears_orders_of(&mut client, "seller-2").await);
    let ack = client.emit_with_ack("join:seller", json!({ "sellerId": "seller-2" })).await;
    assert_eq!(ack["success"], false);
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collaborator_whose_row_names_the_store_leaves_its_rooms_with_the_membership() {
    let stage = Stage::set().await;
    let mut client = stage.user("helper-1").await;
    assert!(stage.hears_orders_of(&mut client, "seller-1").await);
    let revoke = "update user_store_memberships set status = 'revoked' where user_id = 'helper-1'";
    let moved = stage.change(&mut client, revoke, "rowcast:rooms").await;
    assert!(moved["left"].as_array().expect("rooms").contains(&json!("seller:seller-1")), "{moved}");
    let named = "select count(*) from users where id = 'helper-1' and seller_id = 'seller-1'";
    assert_eq!(stage.database.count(named).await, 1);
    assert!(!stage.hears_orders_of(&mut client, "seller-1").await);
    let ack = client.emit_with_ack("join:seller", json!({ "sellerId": "seller-1" })).await;
    assert_eq!(ack["success"], false);
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_role_changes_is_in_the_rooms_of_the_new_one() {
    let stage = Stage::set().await;
    let mut client = stage.user("buyer-1").await;
    let promote = "update users set role = 'seller', user_type = 'seller' where id = 'buyer-1'";
    let moved = stage.change(&mut client, promote, "rowcast:rooms").await;
    assert_eq!(moved["left"], json!(["buyers"]));
    let joined = moved["joined"].as_array().expect("rooms");
    assert!(joined.contains(&json!("sellers")) && joined.contains(&json!("seller:buyer-1")), "{moved}");
    assert!(stage.hears_orders_of(&mut client, "buyer-1").await);
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_administrator_any_more_leaves_the_stores_that_were_joined_as_one() {
    let stage = Stage::set().await;
    let mut client = stage.user("admin-1").await;
    let ack = client.emit_with_ack("join:seller", json!({ "sellerId": "seller-1" })).await;
    assert_eq!(ack["success"], true, "{ack}");
    assert!(stage.hears_orders_of(&mut client, "seller-1").await);
    let demote = "update users set is_platform_admin = 0 where id = 'admin-1'";
    let moved = stage.change(&mut client, demote, "rowcast:rooms").await;
    assert!(moved["left"].as_array().expect("rooms").contains(&json!("seller:seller-1")), "{moved}");
    assert!(!stage.hears_orders_of(&mut client, "seller-1").await);
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_deleted_expires_or_names_nobody_any_more_ends_the_connection() {
    let stage = Stage::set().await;
    for (id, end) in [
        ("deleted", "delete from sessions where sid = 'deleted'"),
        ("expired", "update sessions set expire = now() - interval '1 second' where sid = 'expired'"),
        (
            "logged-out",
            // Within the second of the last touch, so that it ends no later.
            "update sessions set sess = '{\"cookie\":{}}' where sid = 'logged-out'",
        ),
    ] {
        let mut client = stage.by_session(id, "buyer-1").await;
        let closing = stage.change(&mut client, end, "rowcast:closing").await;
        assert_eq!(closing["reason"], "signed_out", "{id}: {closing}");
        client.disconnected().await;
    }
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_touched_goes_on_and_ends_at_its_new_time() {
    let stage = Stage::set().await;
    let mut client = stage.by_session("touched", "buyer-1").await;
    stage.database.run("update sessions set expire = now() + interval '1500 ms' where sid = 'touched'").await;
    // As long as it holds, it is heard by.
    assert_eq!(client.emit_with_ack("ping", Value::Null).await["success"], true);
    let closing = client.event_named("rowcast:closing").await;
    assert!(["expired", "signed_out"].contains(&closing["reason"].as_str().expect("a reason")), "{closing}");
    client.disconnected().await;
    stage.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_expires_unless_it_was_renewed_and_a_user_who_is_deleted_is_out_at_once() {
    let stage = Stage::set().await;
    let soon = || json!({ "sub": "buyer-1", "exp": (now() + 2.0).ceil() });
    let (mut expires, mut renews) = (stage.by_token(soon()).await, stage.by_token(soon()).await);
    let ack = renews.emit_with_ack("auth:renew", json!({ "token": "garbage" })).await;
    assert_eq!((&ack["success"], &ack["error"]), (&json!(false), &json!("the token is not valid")));
    let other = token(json!({ "sub": "buyer-2", "exp": now() + 3600.0 }));
    assert_eq!(renews.emit_with_ack("auth:renew", json!({ "token": other })).await["success"], false);
    let fresh = token(json!({ "sub": "buyer-1", "exp": now() + 3600.0 }));
    let ack = renews.emit_with_ack("auth:renew", json!({ "token": fresh })).await;
    assert!(ack["success"] == true && ack["until"].is_string(), "{ack}");

    assert_eq!(expires.event_named("rowcast:closing").await["reason"], "expired");
    expires.disconnected().await;
    assert_eq!(renews.emit_with_ack("ping", Value::Null).await["success"], true);
    let says_all = json!({ "sub": "buyer-1", "exp": now() + 3600.0, "roles": [], "stores": [], "admin": false });
    let mut says_all = stage.by_token(says_all).await;
    let gone = "delete from users where id = 'buyer-1'";
    let closing = stage.change(&mut renews, gone, "rowcast:closing").await;
    assert_eq!(closing["reason"], "signed_out");
    assert_eq!(says_all.event_named("rowcast:closing").await["reason"], "signed_out", "whatever its token says");
    stage.service.stop().await;
}
