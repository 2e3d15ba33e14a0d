//! What can end a command, and with which exit code.

use std::process::ExitCode;

/// A command's failure: a sentence that says what was expected, what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file, an environment variable or an option is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The catalog has faults; all of them are printed.
    #[error("the catalog has faults:\n{0}")]
    Catalog(crate::catalog::Faults),
    /// The catalog lacks what the command needs.
    #[error("{0}")]
    Lacking(String),
    /// An option or an argument means nothing.
    #[error("{0}")]
    Usage(String),
    /// No connection to the database.
    #[error("{0}")]
    Unreachable(String),
    /// The database's role may not do this.
    #[error("{0}")]
    Denied(String),
    /// The schema `rowcast` is missing or older than this program.
    #[error("{0}")]
    NotMigrated(String),
    /// The schema `rowcast` was made by a newer version.
    #[error("{0}")]
    Newer(String),
    /// The listen address can't be bound.
    #[error("{0}")]
    Address(String),
    /// Locks of other sessions were in the way for too long.
    #[error("{0}")]
    Blocked(String),
    /// The database answered with an error.
    #[error("{0}")]
    Database(String),
    /// `rowcast check`: what is required is not live.
    #[error("{0}")]
    Unmet(String),
    /// Nobody said yes.
    #[error("{0}")]
    Declined(String),
}

impl Error {
    /// The process' exit code; 2 is clap's too, for a misused command line. `rowcast --help` lists them.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Database(_) | Self::Unmet(_) => 1,
            Self::Usage(_) => 2,
            Self::Configuration(_) => 3,
            Self::Catalog(_) | Self::Lacking(_) => 4,
            Self::Unreachable(_) => 5,
            Self::Denied(_) => 6,
            Self::NotMigrated(_) => 7,
            Self::Newer(_) => 8,
            Self::Address(_) => 9,
            Self::Blocked(_) => 10,
            Self::Declined(_) => 11,
        })
    }
}

/// The exit codes, for `--help` and the documentation.
pub const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   the database answered with an error; of check: a required event is inactive
  2   the command line is wrong
  3   the configuration is wrong
  4   the catalog has faults, or lacks what the command needs
  5   the database can't be reached
  6   the database's role may not do this
  7   the database was never migrated, or by an older version
  8   the database was migrated by a newer version
  9   the listen address can't be bound
  10  locks of other sessions were in the way for too long
  11  nobody said yes";

/// SQLSTATEs that are told apart: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub mod sqlstate {
    pub const INVALID_PASSWORD: &str = "28P01";
    pub const INVALID_AUTHORIZATION: &str = "28000";
    pub const INVALID_CATALOG_NAME: &str = "3D000";
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub const UNDEFINED_TABLE: &str = "42P01";
    pub const UNDEFINED_COLUMN: &str = "42703";
    pub const UNDEFINED_FUNCTION: &str = "42883";
    pub const INVALID_SCHEMA: &str = "3F000";
    pub const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    pub const UNKNOWN_PREPARED_STATEMENT: &str = "26000";
    pub const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub const DEADLOCK_DETECTED: &str = "40P01";
    pub const QUERY_CANCELED: &str = "57014";
}

/// Whether trying again may help: the connection is gone, the server is starting, stopping or full.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(db) => {
            let code = db.code().unwrap_or_default();
            // A query that is cancelled for taking too long would take as long again.
            !is_cancelled(error) && ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => false,
        _ => true,
    }
}

/// Whether Postgres ended the statement before it was done, most often for its time.
pub fn is_cancelled(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|db| db.code().is_some_and(|code| code == sqlstate::QUERY_CANCELED))
}

/// Whether a lock was not to be had in the time that we wait for one.
pub fn is_locked(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|db| db.code().is_some_and(|code| code == sqlstate::LOCK_NOT_AVAILABLE))
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if let Some(complaint) = crate::tls::complaint(&error) {
            return Self::Unreachable(format!("cannot reach the database: {complaint}"));
        }
        let Some(db) = error.as_database_error() else {
            return Self::Unreachable(format!(
                "cannot reach the database: {error}. Is the server running, and does DATABASE_URL name its host and port?"
            ));
        };
        let hint = db.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|db| db.hint());
        let text = match hint {
            Some(hint) => format!("{}. {hint}", db.message()),
            None => db.message().to_owned(),
        };
        match db.code().as_deref() {
            // What pg_hba.conf says of who comes without TLS.
            Some(sqlstate::INVALID_AUTHORIZATION) if text.contains("no encryption") => Self::Unreachable(format!(
                "the database refused the login: {text}. It may ask for TLS: write sslmode=verify-full and sslrootcert into DATABASE_URL"
            )),
            Some(sqlstate::INVALID_PASSWORD | sqlstate::INVALID_AUTHORIZATION) => Self::Unreachable(format!(
                "the database refused the login: {text}. Check the user and the password in DATABASE_URL (or in the file that PGPASSFILE names, whose mode must be 600)"
            )),
            Some(sqlstate::INVALID_CATALOG_NAME) => {
                Self::Unreachable(format!("{text}. Check the database's name at the end of DATABASE_URL"))
            }
            Some(sqlstate::DUPLICATE_PREPARED_STATEMENT | sqlstate::UNKNOWN_PREPARED_STATEMENT) => {
                Self::Unreachable(format!(
                    "{text}: a transaction pooler stands between that loses prepared statements. Give rowcast a direct connection, or let the pooler keep them (PgBouncer from 1.21 on: max_prepared_statements)"
                ))
            }
            Some(sqlstate::INSUFFICIENT_PRIVILEGE) => Self::Denied(text),
            Some(sqlstate::LOCK_NOT_AVAILABLE) => Self::Blocked(text),
            _ => Self::Database(text),
        }
    }
}
