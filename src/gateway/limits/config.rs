//! The settings of the limits.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error};

use super::proxies::TrustedProxies;

/// `[limits]` in the configuration file. No limit can be turned off: 0 is an error, and a large number does.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Messages that one user may send in a minute, over all connections; a visitor, over each.
    pub messages_per_minute: NonZeroU32,
    /// So many messages of one connection are refused within a minute until the last of them ends it.
    pub breaches: NonZeroU32,
    /// Clients that may be connected at once.
    pub connections: NonZeroUsize,
    /// Clients that one user may have connected at once.
    pub connections_per_user: NonZeroUsize,
    /// Clients that may be connected from one address at once; of IPv6, from one /64.
    pub connections_per_address: NonZeroUsize,
    /// How many rooms one connection may be in.
    pub max_rooms_per_socket: NonZeroUsize,
    /// The longest message, in bytes, that a client may send.
    pub max_message_bytes: NonZeroUsize,
    /// Sign-ins from one address that may fail in a minute; then nobody is asked until it is over.
    pub sign_in_failures_per_minute: NonZeroU32,
    /// How long a client may take for a request, and then to sign in.
    #[serde(deserialize_with = "some_time")]
    pub handshake_timeout: Duration,
    /// The proxies in front, as addresses or networks, that are believed when they say whom they forward.
    pub trusted_proxies: TrustedProxies,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let size = |number| NonZeroUsize::new(number).expect("not zero");
        let count = |number| NonZeroU32::new(number).expect("not zero");
        Self {
            messages_per_minute: count(100),
            breaches: count(3),
            connections: size(20_000),
            connections_per_user: size(32),
            connections_per_address: size(256),
            max_rooms_per_socket: size(500),
            max_message_bytes: size(64 * 1024),
            sign_in_failures_per_minute: count(20),
            handshake_timeout: Duration::from_secs(10),
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

fn some_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let time: Duration = humantime_serde::deserialize(deserializer)?;
    if time.is_zero() {
        return Err(D::Error::custom("expected a time above 0, such as 10s: with none, nobody could connect"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_is_the_default() {
        let config: LimitsConfig = toml::from_str("").expect("every key has a default");
        assert_eq!(format!("{config:?}"), format!("{:?}", LimitsConfig::default()));
    }

    #[test]
    fn no_limit_can_be_zero() {
        for key in [
            "messages_per_minute",
            "breaches",
            "connections",
            "connections_per_user",
            "connections_per_address",
            "max_rooms_per_socket",
            "max_message_bytes",
            "sign_in_failures_per_minute",
        ] {
            let error = toml::from_str::<LimitsConfig>(&format!("{key} = 0")).expect_err(key).to_string();
            assert!(error.contains("nonzero") && error.contains(key), "{error}");
        }
        let error = toml::from_str::<LimitsConfig>("handshake_timeout = '0s'").expect_err("no time").to_string();
        assert!(error.contains("expected a time above 0"), "{error}");
    }
}
