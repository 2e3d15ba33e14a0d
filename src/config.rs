//! The configuration: a TOML file, the environment, and the options of the command line, the later ones first.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

pub use crate::database_url::{DatabaseUrl, Target};
use crate::{capture::CaptureOptions, error::Error, gateway::GatewayConfig};

/// Everything that `rowcast serve` can be told; `rowcast.example.toml` shows each key with its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect. `ROWCAST_LISTEN`, default 127.0.0.1:4000; port 0 takes any free one.
    pub listen: SocketAddr,
    /// How long a stop may take until clients are cut off.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    pub capture: CaptureConfig,
    pub catalog: CatalogConfig,
    pub lookups: LookupConfig,
    pub inbox: InboxConfig,
    pub gateway: GatewayConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4000)),
            drain_timeout: Duration::from_secs(5),
            capture: CaptureConfig::default(),
            catalog: CatalogConfig::default(),
            lookups: LookupConfig::default(),
            inbox: InboxConfig::default(),
            gateway: GatewayConfig::default(),
        }
    }
}

impl Config {
    /// Reads the file, or takes the defaults where there is none.
    pub fn load(file: Option<&Path>) -> Result<Self, Error> {
        let Some(file) = file else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(file).map_err(|error| {
            Error::Configuration(format!("cannot read the configuration {}: {error}", file.display()))
        })?;
        toml::from_str(&text)
            .map_err(|error| Error::Configuration(format!("{}: {}", file.display(), error.to_string().trim_end())))
    }
}

/// `[capture]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureConfig {
    /// How long the change log keeps what has been swept. It takes at most one and a half times as long.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// Above so many doorbell rings a second the listener lets writers stop ringing, and sweeps on a timer.
    pub busy_rings_per_second: u32,
    /// The pause between two sweeps while it does.
    #[serde(with = "humantime_serde")]
    pub busy_interval: Duration,
    /// The pause between two sweeps where the doorbell can't be heard (behind a transaction pooler), or may not be rung
    /// (`max_prepared_transactions` above 0).
    #[serde(with = "humantime_serde")]
    pub timer_interval: Duration,
    /// A sweep is made at least this often.
    #[serde(with = "humantime_serde")]
    pub fallback_interval: Duration,
}

impl Default for CaptureConfig {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(24 * 60 * 60),
            busy_rings_per_second: 300,
            busy_interval: Duration::from_millis(3),
            timer_interval: Duration::from_millis(20),
            fallback_interval: Duration::from_secs(1),
        }
    }
}

impl CaptureConfig {
    pub fn options(&self) -> CaptureOptions {
        CaptureOptions {
            retention: self.retention,
            busy_rings_per_second: self.busy_rings_per_second,
            busy_interval: self.busy_interval,
            timer_interval: self.timer_interval,
            fallback_interval: self.fallback_interval,
        }
    }
}

/// `[catalog]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatalogConfig {
    /// The catalog's directory; `--catalog`. Without one, the catalog that is built in.
    pub dir: Option<PathBuf>,
    /// Values for the catalog's settings, such as `low_stock_threshold`.
    pub settings: BTreeMap<String, toml::Value>,
}

/// `[lookups]`: the connections for what rules look up, and as many again for replays and sign-in.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LookupConfig {
    pub connections: u32,
    /// How long a lookup may wait for a connection.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    /// How long Postgres may work on one lookup. The change that needs it then goes to the dead letter.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Duration,
}

impl Default for LookupConfig {
    fn default() -> Self {
        Self { connections: 4, acquire_timeout: Duration::from_secs(5), statement_timeout: Duration::from_secs(5) }
    }
}

/// `[inbox]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InboxConfig {
    /// How long a notification lies in an inbox, read or not.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How long somebody is remembered as waiting for a product that is out of stock.
    #[serde(with = "humantime_serde")]
    pub waiting: Duration,
}

impl Default for InboxConfig {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { retention: 90 * DAY, waiting: 30 * DAY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_configuration_is_the_default() {
        let example = include_str!("../rowcast.example.toml");
        let parsed: Config = toml::from_str(example).unwrap();
        assert_eq!(format!("{parsed:?}"), format!("{:?}", Config::default()));
        let uncommented: String = example
            .lines()
            .map(|line| line.strip_prefix("#= ").unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        let parsed: Config = toml::from_str(&uncommented).unwrap();
        let normal = |config: &Config| format!("{config:?}");
        assert_eq!(normal(&parsed), normal(&Config { catalog: parsed.catalog.clone(), ..Config::default() }));
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = toml::from_str::<Config>("[capture]\nretension = '1h'").unwrap_err().to_string();
        assert!(error.contains("retension") && error.contains("retention"), "{error}");
    }
}
