//! The settings of the gateway.

use std::{num::NonZeroUsize, time::Duration};

use axum::http::{HeaderValue, Uri};
use serde::Deserialize;

use crate::event::EnvelopeStyle;

/// `[gateway]` in the configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Events that may wait for one client to read them. A client with more waiting is cut off, and reconnects.
    pub buffer_per_socket: NonZeroUsize,
    /// `nested` (an event's data under `data`) or `flat` (spread over the top level).
    pub envelope: EnvelopeStyle,
    /// The longest message, in bytes, that a client may send.
    pub max_message_bytes: NonZeroUsize,
    /// How many rooms one connection may be in.
    pub max_rooms_per_socket: usize,
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
    /// The web pages, as `https://host` or `http://host:port`, whose scripts may connect. Pages that this server
    /// serves itself always may.
    pub allowed_origins: Vec<Origin>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            buffer_per_socket: NonZeroUsize::new(1024).expect("not zero"),
            envelope: EnvelopeStyle::default(),
            max_message_bytes: NonZeroUsize::new(64 * 1024).expect("not zero"),
            max_rooms_per_socket: 500,
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            presence_grace: Duration::from_secs(5),
            presence_interval: Duration::from_secs(2),
            confirm_interval: Duration::from_secs(5 * 60),
            allowed_origins: ["http://localhost:3000", "http://localhost:5000"]
                .map(|origin| Origin::try_from(origin.to_owned()).expect("an origin"))
                .into(),
        }
    }
}

/// What a browser sends in the header `Origin`: scheme, host, and the port unless it is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(HeaderValue);

impl Origin {
    pub fn as_header(&self) -> &HeaderValue {
        &self.0
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected = || format!("{text:?} is not an origin: expected a scheme and a host, as in https://example.com");
        let uri: Uri = text.parse().map_err(|_| expected())?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        // A path, even "/", would never be equal to what a browser sends.
        if !is_web || uri.path_and_query().is_some_and(|path| path != "/") || text.ends_with('/') {
            return Err(expected());
        }
        HeaderValue::from_str(&text).map(Self).map_err(|_| expected())
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

    #[test]
    fn what_is_no_origin_is_refused_with_an_example() {
        for wrong in ["localhost:3000", "https://example.com/", "https://example.com/app", "ftp://example.com", "*", ""]
        {
            let error = Origin::try_from(wrong.to_owned()).expect_err(wrong);
            assert!(error.contains("https://example.com"), "{error}");
        }
    }
}
