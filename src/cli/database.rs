//! Which database, the same for every command.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use clap::Args;

use crate::{database_url::DatabaseUrl, error::Error};

/// What is said where a database is needed and none is named.
pub const NO_DATABASE: &str = "DATABASE_URL is not set, nor DATABASE_URL_FILE, nor --database-url given; expected postgres://user:password@host:5432/database";

/// The options that name the database.
#[derive(Debug, Args)]
pub struct Named {
    /// The database, as postgres://user@host:5432/database; a Prisma URL does [env: DATABASE_URL]. With a password it goes
    /// into that variable or into a file: everybody on this machine can read a command line
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<Secret>,
    /// A file that holds the URL
    #[arg(long, env = "DATABASE_URL_FILE", global = true, value_name = "FILE")]
    database_url_file: Option<PathBuf>,
}

impl Named {
    /// # Errors
    ///
    /// If none is named, or the URL is wrong.
    pub fn require(&self) -> Result<DatabaseUrl, Error> {
        if let Some(url) = self.given()? {
            return Ok(url);
        }
        // An empty variable is a slip that deserves its own answer.
        match std::env::var("DATABASE_URL") {
            Ok(url) => DatabaseUrl::parse(&url),
            Err(_) => Err(Error::Configuration(NO_DATABASE.into())),
        }
    }

    /// The database, if one is named.
    ///
    /// # Errors
    ///
    /// If the URL is wrong.
    pub fn url(&self) -> Result<Option<DatabaseUrl>, Error> {
        if let Some(url) = self.given()? {
            return Ok(Some(url));
        }
        let url = std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
        url.map(|url| DatabaseUrl::parse(&url)).transpose()
    }

    /// By an option, or by the variable that names a file.
    fn given(&self) -> Result<Option<DatabaseUrl>, Error> {
        if let Some(Secret(url)) = &self.database_url {
            if holds_password(url) {
                return Err(Error::Configuration(
                    "--database-url holds a password, which everybody on this machine could read in the list of processes. Put the URL into the variable DATABASE_URL, or into a file and its name into DATABASE_URL_FILE".into(),
                ));
            }
            return DatabaseUrl::parse(url).map(Some);
        }
        let Some(file) = &self.database_url_file else { return Ok(None) };
        if std::env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty()) {
            return Err(Error::Configuration(
                "both DATABASE_URL and DATABASE_URL_FILE are set; expected one of them".into(),
            ));
        }
        DatabaseUrl::from_file(file).map(Some)
    }
}

/// Whether a URL has a password, before the host or as a parameter.
fn holds_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let named = base.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    named || query.split('&').any(|pair| pair.starts_with("password="))
}

/// What is not for printing.
#[derive(Clone)]
struct Secret(String);

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_seen_wherever_it_stands_in_a_url() {
        for url in ["postgres://u:p@h/d", "postgres://h/d?user=u&password=p", "postgres://u:@h/d", "u:p@h"] {
            assert!(holds_password(url), "{url}");
        }
        for url in ["postgres://u@h:5432/d", "postgres://h/d?passfile=x", "postgres://[::1]:5432/d"] {
            assert!(!holds_password(url), "{url}");
        }
    }
}
