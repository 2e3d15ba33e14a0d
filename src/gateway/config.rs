//! The settings of the gateway.

use std::{num::NonZeroUsize, time::Duration};

use serde::Deserialize;

use super::Origins;
use crate::event::EnvelopeStyle;

/// `[gateway]` in the configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Events that may wait for one client to read them. A client with more waiting is cut off, and reconnects.
    pub buffer_per_socket: NonZeroUsize,
    /// `nested` (an event's data under `data`) or `flat` (spread over the top level).
    pub envelope: EnvelopeStyle,
    /// How often the server asks a client whether it is still there.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// How long a client may take to answer that.
    #[serde(with = "humantime_serde")]
    pub ping_timeout: Duration,
    /// How long a user may be without a connection before others hear that they went offline.
    #[serde(with = "humantime_serde")]
    pub presence_grace: Duration,
    /// How often it is looked at how many people are in a room, and how often somebody came.
    #[serde(with = "humantime_serde")]
    pub presence_interval: Duration,
    /// How often it is confirmed that a signed-in client still is who it was, even if nothing is known to have changed.
    #[serde(with = "humantime_serde")]
    pub confirm_interval: Duration,
    /// The web pages, as `https://host` or `http://host:port`, whose scripts may connect; `["*"]` for all. The demo page
    /// may too, opened on this machine.
    pub allowed_origins: Origins,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            buffer_per_socket: NonZeroUsize::new(1024).expect("not zero"),
            envelope: EnvelopeStyle::default(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            presence_grace: Duration::from_secs(5),
            presence_interval: Duration::from_secs(2),
            confirm_interval: Duration::from_secs(5 * 60),
            allowed_origins: Origins::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_configuration_is_the_default() {
        let config: GatewayConfig = toml::from_str("").expect("every key has a default");
        assert_eq!(format!("{config:?}"), format!("{:?}", GatewayConfig::default()));
    }
}
