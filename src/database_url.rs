//! `DATABASE_URL`: where the database is, who asks, and how far the server is to be trusted.

use std::{fmt, path::Path};

use sqlx::ConnectOptions as _;
use tokio_postgres::config::Host;

use crate::{
    error::Error,
    tls::{Tls, TlsParameters},
};

/// `DATABASE_URL`, as an existing application has it.
#[derive(Clone)]
pub struct DatabaseUrl {
    /// With what both of Postgres' clients understand, and nothing of TLS.
    url: String,
    /// What only tokio-postgres understands besides: `keepalives=1&…`
    capture_only: String,
    tls: Tls,
}

/// A database to capture from, and how to get there.
#[derive(Clone)]
pub struct Target {
    pub config: tokio_postgres::Config,
    pub tls: tokio_postgres_rustls::MakeRustlsConnect,
}

/// Query parameters that Prisma reads and Postgres' own clients don't know.
const PRISMA_PARAMETERS: [&str; 9] = [
    "schema",
    "connection_limit",
    "pool_timeout",
    "pgbouncer",
    "socket_timeout",
    "statement_cache_size",
    "sslidentity",
    "sslpassword",
    "sslaccept",
];

/// Query parameters that tokio-postgres knows, and sqlx doesn't.
const CAPTURE_PARAMETERS: [&str; 10] = [
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "sslnegotiation",
];

impl DatabaseUrl {
    /// Checks the URL's form, reads the certificates that it names, and leaves out the parameters that only Prisma
    /// understands.
    pub fn parse(url: &str) -> Result<Self, Error> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(Error::Configuration(
                "DATABASE_URL must look like postgres://user:password@host:5432/database; found something that doesn't begin with postgres://".into(),
            ));
        }
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut parameters = TlsParameters::from_environment();
        let (mut kept, mut capture_only) = (Vec::new(), Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if PRISMA_PARAMETERS.contains(&name) || parameters.take(name, value)? {
                continue;
            }
            let list = if CAPTURE_PARAMETERS.contains(&name) { &mut capture_only } else { &mut kept };
            list.push(pair);
        }
        let with = |list: &[&str]| if list.is_empty() { base.to_owned() } else { format!("{base}?{}", list.join("&")) };
        let mut url = Self { url: with(&kept), capture_only: capture_only.join("&"), tls: Tls::none() };
        let config = url.config()?;
        // Through a socket nothing is encrypted, as with libpq.
        let local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        if !local || config.get_hosts().is_empty() {
            url.tls = Tls::new(parameters)?;
        }
        url.for_capture()?;
        url.for_pool()?;
        Ok(url)
    }

    /// The URL that a file holds, on a line of its own.
    ///
    /// # Errors
    ///
    /// If it can't be read, or holds no URL.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::Configuration(format!("DATABASE_URL_FILE: {} can't be read: {error}", path.display()))
        })?;
        Self::parse(text.trim_end_matches(['\n', '\r'])).map_err(|error| {
            Error::Configuration(format!("in the file {} that DATABASE_URL_FILE names: {error}", path.display()))
        })
    }

    /// For the connections that listen and sweep.
    pub fn for_capture(&self) -> Result<Target, Error> {
        let mut config = self.config()?;
        config.ssl_mode(self.tls.mode_for_capture());
        if config.get_password().is_none()
            && let Some(password) = self.known_password()?
        {
            config.password(password);
        }
        Ok(Target { config, tls: self.tls.connector()? })
    }

    /// For migrations, lookups and sign-in.
    pub fn for_pool(&self) -> Result<sqlx::postgres::PgConnectOptions, Error> {
        // A start-up parameter that poolers refuse; no lookup reads floats.
        Ok(self.tls.apply(self.options()?.extra_float_digits(None)))
    }

    /// What to be warned of, if somebody between here and the server could read along or answer in its place.
    pub fn exposed(&self) -> Option<String> {
        let config = self.config().ok()?;
        let host = config.get_hosts().iter().find_map(|host| match host {
            Host::Tcp(name) if !is_loopback(name) => Some(name.clone()),
            _ => None,
        })?;
        self.tls.weakness().map(|weakness| format!("the connection to Postgres on {host} {weakness}"))
    }

    fn config(&self) -> Result<tokio_postgres::Config, Error> {
        let joint = match (self.capture_only.is_empty(), self.url.contains('?')) {
            (true, _) => "",
            (false, true) => "&",
            (false, false) => "?",
        };
        format!("{}{joint}{}", self.url, self.capture_only).parse().map_err(|error: tokio_postgres::Error| {
            // The source names the parameter; the URL itself may hold a password.
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::Configuration(format!("DATABASE_URL can't be read: {cause}"))
        })
    }

    fn options(&self) -> Result<sqlx::postgres::PgConnectOptions, Error> {
        self.url.parse().map_err(|error| Error::Configuration(format!("DATABASE_URL can't be read: {error}")))
    }

    /// The password that sqlx found in PGPASSWORD or in PGPASSFILE: it reads them, and tokio-postgres doesn't.
    fn known_password(&self) -> Result<Option<Vec<u8>>, Error> {
        let found = self.options()?.to_url_lossy();
        let Some(encoded) = found.password() else { return Ok(None) };
        let decoded = format!("postgres://_:{encoded}@_").parse::<tokio_postgres::Config>();
        Ok(decoded.ok().and_then(|config| config.get_password().map(<[u8]>::to_vec)))
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prisma_url_is_understood() {
        let url = DatabaseUrl::parse("postgresql://u:p@h:5433/shop?schema=public&connection_limit=5&connect_timeout=7")
            .unwrap();
        assert_eq!(
            (url.url.as_str(), url.capture_only.as_str()),
            ("postgresql://u:p@h:5433/shop", "connect_timeout=7")
        );
        assert_eq!(DatabaseUrl::parse("postgres://h/shop?schema=public").unwrap().url, "postgres://h/shop");
    }

    #[test]
    fn a_wrong_url_is_explained_without_its_password() {
        for url in [
            "mysql://u:secret@h/d",
            "secret",
            "postgres://u:secret@h:port/d",
            "postgres://u:secret@h/d?target=secret1",
            "postgres://u:secret@h/d?sslmode=secret1",
            "postgres://u:secret@[h/d",
        ] {
            let message = DatabaseUrl::parse(url).unwrap_err().to_string();
            assert!(message.contains("DATABASE_URL") && !message.contains("u:secret"), "{message}");
        }
    }

    #[test]
    fn nothing_that_is_printed_of_a_url_holds_its_password() {
        let url = DatabaseUrl::parse("postgres://u:hunter2@h/d").unwrap();
        let target = url.for_capture().unwrap();
        for printed in [format!("{url:?}"), format!("{target:?}"), format!("{:?}", target.config)] {
            assert!(!printed.contains("hunter2"), "{printed}");
        }
    }

    #[test]
    fn what_is_not_verified_is_told_but_not_of_this_machine_itself() {
        for (url, expected) in [
            ("postgres://h/d", Some("on h is encrypted only if the server wishes so")),
            ("postgres://h/d?sslmode=disable", Some("on h is not encrypted")),
            ("postgres://h/d?sslmode=require", Some("on h is encrypted, but")),
            ("postgres://127.0.0.1/d", None),
            ("postgres://localhost/d?sslmode=disable", None),
            ("postgres://%2Frun%2Fpostgresql/d", None),
        ] {
            let told = DatabaseUrl::parse(url).unwrap().exposed();
            match expected {
                Some(expected) => assert!(told.as_ref().is_some_and(|told| told.contains(expected)), "{url}: {told:?}"),
                None => assert_eq!(told, None, "{url}"),
            }
        }
    }

    #[test]
    fn through_a_socket_nothing_is_encrypted_whatever_the_url_asks_for() {
        let url = DatabaseUrl::parse("postgres://%2Frun%2Fpostgresql/d?sslmode=require").unwrap();
        assert_eq!(url.for_capture().unwrap().config.get_ssl_mode(), tokio_postgres::config::SslMode::Disable);
    }
}
