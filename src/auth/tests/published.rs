//! A set of keys that a real HTTP server publishes.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::auth::{
    KeysUrl,
    fetch::{Pace, Published},
    jwks::candidates,
};

/// Long intervals, so that what a test doesn't wait for does not happen.
const PACE: Pace =
    Pace { refresh: Duration::from_secs(600), least: Duration::from_secs(600), patience: Duration::from_secs(10) };
const BRISK: Pace =
    Pace { refresh: Duration::from_millis(200), least: Duration::from_millis(100), patience: Duration::from_secs(10) };

#[derive(Clone)]
enum Answer {
    Keys(Vec<Value>),
    Status(u16),
    Text(String),
    Redirect(String),
    Slowly(Duration, Vec<Value>),
}

/// Publishes keys, and counts who asks for them. Stops when dropped.
struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Server {
    async fn start(answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let asked = Arc::new(AtomicUsize::new(0));
        let route = {
            let (answer, asked) = (answer.clone(), asked.clone());
            get(async move || {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().unwrap().clone();
                match answer {
                    Answer::Keys(keys) => json!({ "keys": keys }).to_string().into_response(),
                    Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
                    Answer::Text(text) => text.into_response(),
                    Answer::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
                    Answer::Slowly(pause, keys) => {
                        tokio::time::sleep(pause).await;
                        json!({ "keys": keys }).to_string().into_response()
                    }
                }
            })
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            axum::serve(listener, Router::new().route("/jwks", route)).await.expect("it serves");
        });
        Self { address, answer, asked, _serving: AbortOnDropHandle::new(serving) }
    }

    fn url(&self) -> KeysUrl {
        KeysUrl::try_from(format!("http://{}/jwks", self.address)).expect("a URL")
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn follow(&self, pace: Pace) -> Arc<Published> {
        Arc::new(Published::follow(&self.url(), None, pace).expect("a client"))
    }
}

async fn has(published: &Published, id: &str) -> bool {
    published.keys(Some(id)).await.is_ok_and(|keys| candidates(&keys, Some(id)).next().is_some())
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_token_of_a_published_key_signs_in_whatever_its_kind() {
    let server = Server::start(Answer::Keys(vec![RSA.jwk("r"), EC.jwk("c"), ED.jwk("d")])).await;
    let tokens = tokens(&JwtConfig { jwks_url: Some(server.url()), ..JwtConfig::default() });
    for (pair, kid) in [(&*RSA, "r"), (&*EC, "c"), (&*ED, "d")] {
        let token = pair.sign_as(Some(kid), &claims(json!({})));
        assert_eq!(tokens.verify(&token).await.expect("verified").claimed.user_id, "u1", "{kid}");
        assert!(tokens.verify(&pair.sign(&claims(json!({})))).await.is_ok(), "{kid}, unnamed");
    }
    let crossed = RSA.sign_as(Some("c"), &claims(json!({})));
    assert_denied(tokens.verify(&crossed).await, "signed by one key, named after another");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn only_keys_for_the_configured_algorithm_count() {
    let server = Server::start(Answer::Keys(vec![RSA.jwk("r"), ED.jwk("d")])).await;
    let config = JwtConfig { jwks_url: Some(server.url()), algorithm: Some(Algorithm::EdDsa), ..JwtConfig::default() };
    let tokens = tokens(&config);
    assert!(tokens.verify(&ED.sign_as(Some("d"), &claims(json!({})))).await.is_ok());
    assert_denied(tokens.verify(&RSA.sign_as(Some("r"), &claims(json!({})))).await, "RS256");
}

#[tokio::test]
async fn many_sign_ins_with_an_unknown_key_ask_the_server_once() {
    let server = Server::start(Answer::Slowly(Duration::from_millis(300), vec![ED.jwk("d")])).await;
    let published = server.follow(Pace { least: Duration::from_millis(50), ..PACE });
    assert!(has(&published, "d").await);
    tokio::time::sleep(Duration::from_millis(100)).await; // the least interval, which must have passed
    let waiting: Vec<_> = (0..50)
        .map(|number| {
            let published = published.clone();
            tokio::spawn(async move { has(&published, &format!("unknown-{number}")).await })
        })
        .collect();
    for one in waiting {
        assert!(!one.await.expect("no panic"));
    }
    assert_eq!(server.asked(), 2, "once at the start, and once for all of them");
}

#[tokio::test]
async fn unknown_keys_do_not_make_it_ask_more_often_than_it_may() {
    let server = Server::start(Answer::Keys(vec![ED.jwk("d")])).await;
    let published = server.follow(PACE);
    assert!(has(&published, "d").await);
    for number in 0..100 {
        let id = format!("unknown-{number}");
        let keys = published.keys(Some(&id)).await.expect("an answer without waiting");
        assert_eq!(candidates(&keys, Some(&id)).count(), 0);
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_known_as_soon_as_a_token_names_it() {
    let server = Server::start(Answer::Keys(vec![ED.jwk("old")])).await;
    let published = server.follow(Pace { least: Duration::from_millis(50), ..PACE });
    assert!(has(&published, "old").await);
    server.answer(Answer::Keys(vec![ED.jwk("new")]));
    eventually("the new key is known", async || has(&published, "new").await).await;
    assert!(!has(&published, "old").await, "what is no longer published holds no longer");
}

#[tokio::test]
async fn a_set_is_fetched_anew_when_it_is_old() {
    let server = Server::start(Answer::Keys(vec![ED.jwk("d")])).await;
    let published = server.follow(BRISK);
    assert!(has(&published, "d").await);
    server.answer(Answer::Keys(vec![EC.jwk("c")]));
    eventually("the withdrawn key is unknown", async || !has(&published, "d").await).await;
}

#[tokio::test]
async fn the_last_good_set_stays_while_the_server_is_down_or_talks_nonsense() {
    let server = Server::start(Answer::Keys(vec![ED.jwk("d")])).await;
    let published = server.follow(BRISK);
    assert!(has(&published, "d").await);
    let too_large = format!("{{\"keys\": [], \"more\": {:?}}}", "x".repeat(300 * 1024));
    let secret = json!({ "kty": "oct", "kid": "d", "k": base64url(SECRET) });
    for answer in [
        Answer::Status(500),
        Answer::Text("<html>".to_owned()),
        Answer::Text(too_large),
        Answer::Keys(Vec::new()),
        Answer::Keys(vec![secret]),
        Answer::Keys((0..40).map(|number| ED.jwk(&number.to_string())).collect()),
        Answer::Redirect("http://keys.example.invalid/jwks".to_owned()),
        Answer::Redirect("https://keys.example.invalid/jwks".to_owned()),
        Answer::Redirect("file:///etc/passwd".to_owned()),
        Answer::Redirect("/jwks".to_owned()),
    ] {
        server.answer(answer);
        let before = server.asked();
        eventually("it was asked twice more", async || server.asked() >= before + 2).await;
        assert!(has(&published, "d").await);
    }
}

#[tokio::test]
async fn until_there_is_a_set_nobody_is_denied_but_asked_to_come_again() {
    let server = Server::start(Answer::Status(503)).await;
    let published = server.follow(BRISK);
    assert!(matches!(published.keys(Some("d")).await, Err(Refused::Unavailable(_))));
    server.answer(Answer::Keys(vec![ED.jwk("d")]));
    eventually("the key is known", async || has(&published, "d").await).await;
}

#[tokio::test]
async fn a_server_that_can_not_prove_who_it_is_gives_no_keys() {
    let server = Server::start(Answer::Keys(vec![ED.jwk("d")])).await;
    let url = KeysUrl::try_from(format!("https://{}/jwks", server.address)).expect("a URL");
    let published = Published::follow(&url, None, PACE).expect("a client");
    assert!(matches!(published.keys(Some("d")).await, Err(Refused::Unavailable(_))));
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn a_server_that_is_slow_does_not_hold_sign_ins_up() {
    let server = Server::start(Answer::Slowly(Duration::from_secs(60), vec![ED.jwk("d")])).await;
    let published = server.follow(Pace { patience: Duration::from_millis(100), ..PACE });
    let began = tokio::time::Instant::now();
    assert!(matches!(published.keys(Some("d")).await, Err(Refused::Unavailable(_))));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_redirect_on_the_same_machine_is_followed() {
    let keys = Server::start(Answer::Keys(vec![ED.jwk("d")])).await;
    let server = Server::start(Answer::Redirect(format!("http://{}/jwks", keys.address))).await;
    assert!(has(&server.follow(PACE), "d").await);
}
