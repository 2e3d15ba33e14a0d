//! How much of everything one may take, so that the others have theirs.
//!
//! | file | role |
//! |---|---|
//! | `config` | the settings |
//! | `network` | which addresses count as one |
//! | `proxies` | whom a proxy forwards |
//! | `places` | connections, in all and by address |
//! | `users` | connections and messages, by user |
//! | `failures` | sign-ins that failed, by address |
//! | `minute` | counting by the minute |
//! | `messages` | whether a client may say something now |

mod config;
mod failures;
mod messages;
mod minute;
mod network;
mod places;
mod proxies;
mod users;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, StatusCode};
use prometheus::IntGauge;

pub use self::{config::LimitsConfig, network::Network, proxies::TrustedProxies};
use self::{
    failures::Failures,
    minute::Minute,
    places::{Full, Place, Places},
    proxies::FORWARDED_FOR,
    users::{Connected, Users},
};
use super::{Handshake, Refused};
use crate::{identity::SignedIn, metrics::Metrics, seldom::Seldom};

/// A client that polls sends over a second connection meanwhile, and one that changes over to a WebSocket opens it beside
/// the one that it polls over.
const TCP_CONNECTIONS_PER_CLIENT: usize = 2;

/// So many renewals of one connection's sign-in may fail within a minute.
const RENEWAL_FAILURES: u32 = 5;

/// What there is to take, and what is taken.
#[derive(Debug)]
pub struct Limits {
    config: LimitsConfig,
    metrics: Arc<Metrics>,
    /// TCP connections.
    tcp: Arc<Places>,
    /// Clients of Engine.IO, whether they have signed in yet or not.
    clients: Arc<Places>,
    users: Arc<Users>,
    failures: Failures,
    log: Seldom,
}

/// Why a connection or a request is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    pub status: StatusCode,
    /// A sentence for whoever looks at the answer.
    pub error: String,
}

/// The place of a TCP connection; free again when it is dropped.
#[derive(Debug)]
pub struct TcpPlace(#[expect(dead_code, reason = "held to be dropped")] Place);

/// The place of a client; free again when it is dropped.
///
/// The request that opened it holds it, and Engine.IO holds that request for as long as it knows the client. So it is taken
/// also by those that never sign in, that were refused, or that vanished, until Engine.IO has forgotten them.
#[derive(Debug)]
pub struct ClientPlace {
    _place: Place,
    gauge: IntGauge,
}

/// What one connection may still say.
#[derive(Debug)]
pub(super) struct Allowance {
    /// What was said: by all connections of a user, by this one of a visitor.
    said: Arc<Mutex<Minute>>,
    /// What this connection was refused.
    refused: Mutex<Minute>,
    /// Renewals of the sign-in that failed.
    renewals_failed: Mutex<Minute>,
    /// `None` for a visitor.
    connected: Option<Connected>,
}

impl Allowance {
    fn renewals_refused_for(&self, now: Instant) -> Option<u64> {
        let failed = self.renewals_failed.lock().expect("no panic under the lock");
        (failed.counted(now) >= RENEWAL_FAILURES).then(|| failed.seconds_left(now))
    }
}

impl Limits {
    pub fn new(config: LimitsConfig, metrics: Arc<Metrics>) -> Arc<Self> {
        let (in_all, per_address) = (config.connections.get(), config.connections_per_address.get());
        let tcp = |clients: usize| clients.saturating_mul(TCP_CONNECTIONS_PER_CLIENT);
        Arc::new(Self {
            tcp: Places::new(tcp(in_all), tcp(per_address)),
            clients: Places::new(in_all, per_address),
            users: Users::new(config.connections_per_user.get()),
            failures: Failures::new(config.sign_in_failures_per_minute.get()),
            log: Seldom::default(),
            config,
            metrics,
        })
    }

    pub fn config(&self) -> &LimitsConfig {
        &self.config
    }

    /// How long a client may take for a request, and then to sign in.
    pub fn handshake_timeout(&self) -> Duration {
        self.config.handshake_timeout
    }

    /// A TCP connection was accepted.
    pub fn accept(&self, peer: IpAddr) -> Result<TcpPlace, TurnedAway> {
        // A proxy connects for many.
        let address = (!self.config.trusted_proxies.contains(peer)).then_some(peer);
        self.tcp.take(address).map(TcpPlace).map_err(|full| self.full(full, peer))
    }

    /// The client's own address: the peer's, or the one that a trusted proxy names.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let proxies = &self.config.trusted_proxies;
        if headers.contains_key(FORWARDED_FOR)
            && !proxies.contains(peer)
            && self.log.is_time("untrusted proxy", Instant::now()).is_some()
        {
            tracing::warn!(
                %peer,
                "a request says whom it is forwarded for, but its sender is not trusted: if that is your proxy, all its clients count as one until you add it to trusted_proxies in [limits]"
            );
        }
        proxies.client_address(peer, headers)
    }

    /// A client opens a connection of Engine.IO, over whatever transport.
    pub fn open(&self, address: IpAddr) -> Result<ClientPlace, TurnedAway> {
        let place = self.clients.take(Some(address)).map_err(|full| self.full(full, address))?;
        let gauge = self.metrics.connections.clone();
        gauge.inc();
        Ok(ClientPlace { _place: place, gauge })
    }

    /// Lets a sign-in be asked about, unless too many from its address have failed. Who presents nothing guesses nothing, and
    /// is no part of that.
    ///
    /// # Errors
    ///
    /// What the sign-in answers; [`Refused::Unavailable`] if it is not asked about.
    pub async fn sign_in(
        &self,
        handshake: &Handshake,
        attempt: impl Future<Output = Result<SignedIn, Refused>>,
    ) -> Result<SignedIn, Refused> {
        if handshake.presents_nothing() {
            return attempt.await;
        }
        let address = handshake.address;
        if let Some(seconds) = self.failures.refused_for(address, Instant::now()) {
            self.note("sign_in_failures_per_minute", Some(address));
            return Err(Refused::Unavailable(format!(
                "{} sign-ins from your address have failed within a minute, which is the most that are allowed; try again in {seconds} s",
                self.config.sign_in_failures_per_minute
            )));
        }
        let answer = attempt.await;
        if let Err(Refused::Denied(_)) = &answer {
            self.failures.note(address, Instant::now());
        }
        answer
    }

    /// Lets a client that is connected sign in anew. What fails counts against this connection, and not against others at its
    /// address; a visitor's does, since a visitor can connect as often as they like to guess.
    ///
    /// # Errors
    ///
    /// What the sign-in answers; [`Refused::Unavailable`] if it is not asked about.
    pub(super) async fn renew(
        &self,
        allowance: &Allowance,
        handshake: &Handshake,
        attempt: impl Future<Output = Result<SignedIn, Refused>>,
    ) -> Result<SignedIn, Refused> {
        if allowance.connected.is_none() {
            return self.sign_in(handshake, attempt).await;
        }
        if let Some(seconds) = allowance.renewals_refused_for(Instant::now()) {
            self.note("sign_in_failures_per_minute", Some(handshake.address));
            return Err(Refused::Unavailable(format!(
                "{RENEWAL_FAILURES} renewals of your sign-in have failed within a minute, which is the most that are allowed; try again in {seconds} s"
            )));
        }
        let answer = attempt.await;
        if let Err(Refused::Denied(_)) = &answer {
            allowance.renewals_failed.lock().expect("no panic under the lock").count(Instant::now());
        }
        answer
    }

    /// Somebody has signed in, or is a visitor.
    ///
    /// # Errors
    ///
    /// A sentence for the client, if that user has too many connections.
    pub(super) fn connect(&self, user_id: Option<&str>) -> Result<Allowance, String> {
        let now = Instant::now();
        let connected = match user_id.map(|user_id| self.users.connect(user_id, now)) {
            None => None,
            Some(Some(connected)) => Some(connected),
            Some(None) => {
                self.note("connections_per_user", None);
                return Err(format!(
                    "you are connected {} times, which is the most that one user may be; close another page or device, and try again",
                    self.config.connections_per_user
                ));
            }
        };
        let said = connected.as_ref().map_or_else(|| Arc::new(Mutex::new(Minute::new(now))), |of| of.said.clone());
        let [refused, renewals_failed] = [(); 2].map(|()| Mutex::new(Minute::new(now)));
        Ok(Allowance { said, refused, renewals_failed, connected })
    }

    /// Something was refused by this limit, which is named as its key in the configuration: counts it, and logs it now and
    /// then.
    pub fn note(&self, limit: &'static str, address: Option<IpAddr>) {
        self.metrics.refused.with_label_values(&[limit]).inc();
        let Some(refused) = self.log.is_time(limit, Instant::now()) else { return };
        let address = address.map(tracing::field::display);
        tracing::warn!(limit, refused, address, "a limit refuses clients; told at most once a minute");
    }

    fn full(&self, full: Full, address: IpAddr) -> TurnedAway {
        let (limit, status, error) = match full {
            Full::InAll => (
                "connections",
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "{} clients are connected, which is the most that this server takes; try again in a minute",
                    self.config.connections
                ),
            ),
            Full::Address => (
                "connections_per_address",
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "{} clients are connected from your address, which is the most that one address may have; close others, and try again in {} s",
                    self.config.connections_per_address,
                    self.config.handshake_timeout.as_secs().max(1)
                ),
            ),
        };
        self.note(limit, Some(address));
        TurnedAway { status, error }
    }

    /// How many TCP connections, clients, known addresses, known users and connections of theirs there are.
    #[cfg(test)]
    pub fn size(&self) -> [usize; 5] {
        let (users, connected) = self.users.size();
        [self.tcp.taken(), self.clients.taken(), self.clients.addresses() + self.tcp.addresses(), users, connected]
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
