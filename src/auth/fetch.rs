//! A set of keys that a server publishes, kept up to date.
//!
//! One task fetches, and nobody else: so however many clients show an unknown key id at once, the server is asked once,
//! and not again within [`Pace::least`]. Sign-ins read what the task has; at most they wait a moment for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Algorithm, KeysUrl,
    jwks::{candidates, parse},
    keys::Key,
};
use crate::{error::Error, gateway::Refused};

/// How long the server may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest set that is read, in bytes.
const LARGEST: usize = 256 * 1024;
const MOST_REDIRECTS: usize = 3;

/// How often to fetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How old a set may be.
    pub refresh: Duration,
    /// Between two attempts there is at least as long.
    pub least: Duration,
    /// How long a sign-in waits for an attempt.
    pub patience: Duration,
}

impl Pace {
    pub fn with_refresh(refresh: Duration) -> Self {
        Self { refresh, least: Duration::from_secs(10), patience: Duration::from_secs(2) }
    }
}

/// What the task has so far.
#[derive(Debug, Clone, Default)]
struct State {
    /// The last good set; `None` until there has been one.
    keys: Option<Arc<[Key]>>,
    /// How many attempts have ended, and when the last one did.
    attempts: u64,
    ended: Option<Instant>,
}

/// The keys that a server publishes. The task ends when this is dropped.
#[derive(Debug)]
pub(super) struct Published {
    state: watch::Receiver<State>,
    /// The number of the attempt that somebody waits for.
    wanted: watch::Sender<u64>,
    pace: Pace,
    _task: AbortOnDropHandle<()>,
}

impl Published {
    /// Begins to fetch, without waiting for it.
    ///
    /// # Errors
    ///
    /// If this machine has no certificates to trust servers by.
    pub fn follow(url: &KeysUrl, only: Option<Algorithm>, pace: Pace) -> Result<Self, Error> {
        let client = client(url.url()).map_err(|error| {
            Error::Configuration(format!("[auth.jwt] jwks_url: no HTTPS client can be made: {}", chain(&error)))
        })?;
        let (sender, state) = watch::channel(State::default());
        let (wanted, seen) = watch::channel(0);
        let task = tokio::spawn(follow(client, url.clone(), only, pace, sender, seen));
        Ok(Self { state, wanted, pace, _task: AbortOnDropHandle::new(task) })
    }

    /// The present set, in which a key of that id is only missing if the server hasn't published it, as far as may be
    /// known without asking it too often.
    ///
    /// # Errors
    ///
    /// [`Refused::Unavailable`] if there has never been a set, or the server doesn't answer now.
    pub async fn keys(&self, id: Option<&str>) -> Result<Arc<[Key]>, Refused> {
        let State { keys, attempts, ended } = self.state.borrow().clone();
        let is_known = keys.as_ref().is_some_and(|keys| candidates(keys, id).next().is_some());
        let too_early = ended.is_some_and(|ended| ended.elapsed() < self.pace.least);
        if is_known || too_early {
            return keys.ok_or_else(unavailable);
        }
        self.wanted.send_if_modified(|wanted| {
            let is_new = *wanted <= attempts;
            *wanted = (*wanted).max(attempts + 1);
            is_new
        });
        let mut state = self.state.clone();
        let answered =
            tokio::time::timeout(self.pace.patience, state.wait_for(|state| state.attempts > attempts)).await;
        match answered {
            Ok(Ok(state)) => state.keys.clone().ok_or_else(unavailable),
            _ => Err(unavailable()),
        }
    }
}

fn unavailable() -> Refused {
    Refused::Unavailable(
        "the keys that tokens are verified with could not be fetched; try again in a moment".to_owned(),
    )
}

async fn follow(
    client: reqwest::Client,
    url: KeysUrl,
    only: Option<Algorithm>,
    pace: Pace,
    state: watch::Sender<State>,
    mut wanted: watch::Receiver<u64>,
) {
    let mut failing = false;
    loop {
        let fetched = fetch(&client, &url, only).await;
        let pause = match &fetched {
            Ok(keys) => {
                if failing || state.borrow().attempts == 0 {
                    tracing::info!(%url, keys = keys.len(), "has the keys that tokens are verified with");
                }
                failing = false;
                pace.refresh
            }
            Err(reason) => {
                if !failing {
                    let kept = state.borrow().keys.is_some();
                    tracing::warn!(%url, reason, kept, "the keys that tokens are verified with could not be fetched; trying again");
                }
                failing = true;
                pace.least
            }
        };
        let mut attempts = 0;
        state.send_modify(|state| {
            state.attempts += 1;
            state.ended = Some(Instant::now());
            attempts = state.attempts;
            // The last good set stays while the server is down.
            state.keys = fetched.ok().or(state.keys.take());
        });
        tokio::time::sleep(pace.least).await;
        tokio::select! {
            () = tokio::time::sleep(pause.saturating_sub(pace.least)) => {}
            asked = wanted.wait_for(|wanted| *wanted > attempts) => if asked.is_err() { return },
        }
    }
}

async fn fetch(client: &reqwest::Client, url: &KeysUrl, only: Option<Algorithm>) -> Result<Arc<[Key]>, String> {
    let failed = |error: reqwest::Error| chain(&error.without_url());
    let mut response = client.get(url.url().clone()).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(format!("it answered {}", response.status()));
    }
    let mut json = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if json.len() + chunk.len() > LARGEST {
            return Err(format!("what it answered is larger than {LARGEST} bytes"));
        }
        json.extend_from_slice(&chunk);
    }
    parse(&json, only)
}

/// Follows redirects only to where keys may be fetched from, and never from https to http.
fn client(url: &reqwest::Url) -> Result<reqwest::Client, reqwest::Error> {
    let scheme = url.scheme().to_owned();
    let redirects = reqwest::redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MOST_REDIRECTS {
            return attempt.error("it redirects too often");
        }
        if attempt.url().scheme() != scheme || !KeysUrl::is_trusted(attempt.url()) {
            return attempt.error("it redirects to where keys may not be fetched from");
        }
        attempt.follow()
    });
    let client = reqwest::Client::builder()
        .timeout(FETCH_TIMEOUT)
        .redirect(redirects)
        .referer(false)
        .pool_max_idle_per_host(0)
        .user_agent(concat!("rowcast/", env!("CARGO_PKG_VERSION")));
    // A proxy knows nothing of this machine.
    if KeysUrl::is_local(url) { client.no_proxy() } else { client }.build()
}

/// An error with its causes, which reqwest leaves out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
