//! The configuration: a TOML file, the environment, and the options of the command line, the later ones first.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de};

pub use crate::database_url::{DatabaseUrl, Target};
use crate::{
    auth::AuthConfig,
    byte_size::ByteSize,
    capture::{CaptureOptions, Retention},
    error::Error,
    gateway::{GatewayConfig, LimitsConfig},
    journal::JournalConfig,
};

/// Everything that `rowcast serve` can be told; `rowcast.example.toml` shows each key with its default.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients connect. `ROWCAST_LISTEN`, default 127.0.0.1:4000; port 0 takes any free one.
    pub listen: SocketAddr,
    /// How long a stop may take until clients are cut off.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Duration,
    pub auth: AuthConfig,
    pub capture: CaptureConfig,
    pub catalog: CatalogConfig,
    pub lookups: LookupConfig,
    pub inbox: InboxConfig,
    pub gateway: GatewayConfig,
    pub limits: LimitsConfig,
    pub admin: AdminConfig,
    pub journal: JournalConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4000)),
            drain_timeout: Duration::from_secs(5),
            auth: AuthConfig::default(),
            capture: CaptureConfig::default(),
            catalog: CatalogConfig::default(),
            lookups: LookupConfig::default(),
            inbox: InboxConfig::default(),
            gateway: GatewayConfig::default(),
            limits: LimitsConfig::default(),
            admin: AdminConfig::default(),
            journal: JournalConfig::default(),
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
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            let place = error.span().map(|span| place(&text, span.start)).unwrap_or_default();
            Error::Configuration(format!("{}{place}: {}", file.display(), error.message().trim_end()))
        })
    }
}

/// The line of the file, and the key on it. Not the line itself: somebody may have written a secret there.
fn place(text: &str, offset: usize) -> String {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let number = before.iter().filter(|byte| **byte == b'\n').count();
    let line = text.lines().nth(number).unwrap_or_default();
    let key = line.split_once('=').map_or("", |(key, _)| key).trim();
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if is_key { format!(":{}: {key}", number + 1) } else { format!(":{}", number + 1) }
}

/// `[capture]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureConfig {
    /// How long the change log keeps what has been swept. It takes at most one and a half times as long.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How large the change log may get, with its indexes, whatever its age: above it, what has been swept goes, the oldest
    /// first. What has not been swept stays.
    ///
    /// No client is ever replayed more than 200,000 changes, which take some 330 MB in the sample; the default is thirty times
    /// that, and little enough for the disk of a small database.
    #[serde(deserialize_with = "log_limit")]
    pub retention_bytes: ByteSize,
    /// How long a change on which a rule failed is kept.
    #[serde(with = "humantime_serde")]
    pub dead_letter_retention: Duration,
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
            retention_bytes: ByteSize::gibibytes(10),
            dead_letter_retention: Duration::from_secs(90 * 24 * 60 * 60),
            busy_rings_per_second: 300,
            busy_interval: Duration::from_millis(3),
            timer_interval: Duration::from_millis(20),
            fallback_interval: Duration::from_secs(1),
        }
    }
}

/// What three empty slots take is nothing, and what is written between two looks at the log must fit in.
const LEAST_LOG: ByteSize = ByteSize::mebibytes(16);

fn log_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let limit = ByteSize::deserialize(deserializer)?;
    match limit >= LEAST_LOG {
        true => Ok(limit),
        false => Err(de::Error::custom(format!("expected at least 16 MiB, found {} bytes", limit.get()))),
    }
}

impl CaptureConfig {
    pub fn options(&self) -> CaptureOptions {
        CaptureOptions {
            retention: Retention { age: self.retention, bytes: self.retention_bytes.get() },
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

/// `[admin]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Where metrics and the reason of not being ready are to be had. `ROWCAST_ADMIN_LISTEN`, default 127.0.0.1:4001.
    pub listen: AdminListen,
}

/// An address for those who run the service, or none: `off`, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum AdminListen {
    Off,
    At(SocketAddr),
}

impl Default for AdminListen {
    fn default() -> Self {
        Self::At(SocketAddr::from(([127, 0, 0, 1], 4001)))
    }
}

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "off" => Ok(Self::Off),
            address => address.parse().map(Self::At).map_err(|_| {
                format!("expected an address with a port, such as 127.0.0.1:4001, or off; found {address:?}")
            }),
        }
    }
}

impl TryFrom<String> for AdminListen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
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
    fn the_admin_address_can_be_left_out_and_a_wrong_one_is_explained() {
        assert_eq!(["", "off"].map(str::parse), [Ok(AdminListen::Off), Ok(AdminListen::Off)]);
        assert_eq!("[::1]:0".parse(), Ok(AdminListen::At("[::1]:0".parse().unwrap())));
        let error = toml::from_str::<Config>("[admin]\nlisten = 'localhost'").unwrap_err().to_string();
        assert!(error.contains("127.0.0.1:4001") && error.contains("localhost"), "{error}");
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named_by_line_and_key_and_the_line_is_not_repeated() {
        let text = "[auth.jwt]\n\nsecret = \"hunter2\"\n";
        let error = toml::from_str::<Config>(text).unwrap_err();
        assert_eq!(place(text, error.span().unwrap().start), ":3: secret");
        assert_eq!(place("a\n\"hunter2\" = 1", 3), ":2");
        assert_eq!(place("", 7), ":1");
    }

    #[test]
    fn a_limit_of_the_log_that_is_too_small_or_no_size_is_explained() {
        let read = |value: &str| toml::from_str::<Config>(&format!("[capture]\nretention_bytes = {value}"));
        assert_eq!(read("'16 MiB'").unwrap().capture.retention_bytes, ByteSize::mebibytes(16));
        for (value, part) in [("'15 MiB'", "at least 16 MiB"), ("0", "at least 16 MiB"), ("'10 GB'", "10 GiB")] {
            let error = read(value).unwrap_err().to_string();
            assert!(error.contains(part), "{value}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = toml::from_str::<Config>("[capture]\nretension = '1h'").unwrap_err().to_string();
        assert!(error.contains("retension") && error.contains("retention"), "{error}");
    }
}
