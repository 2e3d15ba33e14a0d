//! What the service's role may ask of the application's tables: named queries, and nothing else.
//!
//! For each query a function is made that runs with the rights of whoever migrates: `rowcast.lookup_NAME(keys)`. The role may
//! run these functions, and has no right on a table of the application.
//!
//! | file | role |
//! |---|---|
//! | `install` | makes the functions, and drops those of queries that are gone |
//! | `definition` | the SQL of one function |
//! | `gateway_role` | makes the role, or refuses one that may do too much |
//! | `rights` | what a role may do outside of the schema rowcast |
//! | `trust` | who besides the migrating role has a say in what the functions run |

mod definition;
mod gateway_role;
mod install;
mod rights;
mod trust;

use sqlx::PgPool;

pub use self::{
    gateway_role::{GatewayRole, Standing},
    install::{Outcome, Step, plan},
    rights::{Right, excess, rights},
    trust::Trust,
};
use crate::error::sqlstate;

/// Identifiers are cut off behind so many bytes.
const LONGEST_NAME: usize = 63;

/// Where a named query comes from; each kind has names of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Lookup,
    Schedule,
    WaitingList,
    SignIn,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Lookup => "lookup_",
            Self::Schedule => "schedule_",
            Self::WaitingList => "waiting_",
            Self::SignIn => "query_",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Schedule => "schedule",
            Self::WaitingList => "waiting list",
            Self::SignIn => "query of sign-in",
        }
    }
}

/// A query that the service's role may be let run.
#[derive(Debug, Clone)]
pub struct Granted {
    pub kind: Kind,
    pub name: String,
    /// Its SQL in one or more forms, each with a column `key`; the first that the database takes is granted.
    pub forms: Vec<String>,
    /// Whether it is given keys, `$1::text[]`.
    pub takes_keys: bool,
}

impl Granted {
    /// The name of its function in the schema rowcast, not quoted.
    pub fn function(&self) -> String {
        function_name(self.kind, &self.name)
    }

    fn title(&self) -> String {
        format!("{} {}", self.kind.word(), self.name)
    }
}

/// Two queries have two names, however long or odd theirs are.
pub(crate) fn function_name(kind: Kind, name: &str) -> String {
    let whole = format!("{}{name}", kind.prefix());
    if whole.len() <= LONGEST_NAME && !whole.contains('\0') {
        return whole;
    }
    // FNV-1a: the same in every version of this program.
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut kept = String::new();
    for character in whole.chars().filter(|character| *character != '\0') {
        if kept.len() + character.len_utf8() > LONGEST_NAME - 17 {
            break;
        }
        kept.push(character);
    }
    format!("{kept}_{hash:016x}")
}

/// A name as SQL takes it, whatever is in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// How the database stands to the function of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granting {
    /// It is there, was made of one of the query's forms, and this role may run it.
    Current,
    /// It is there, but was made of other SQL.
    Stale,
    /// There is none, or this role may not run it.
    Missing,
}

const LOOK: &str = "
select exists (select from unnest($2::text[]) form
               where encode(sha256(convert_to(form, 'UTF8')), 'hex') = substring(d.description from 'sql ([0-9a-f]{64})'))
from pg_catalog.pg_proc p
join pg_catalog.pg_description d on d.objoid = p.oid and d.classoid = 'pg_catalog.pg_proc'::regclass and d.objsubid = 0
where p.pronamespace = to_regnamespace('rowcast') and p.proname = $1 and d.description like 'rowcast grants %'
  and has_function_privilege(p.oid, 'execute') and has_schema_privilege(p.pronamespace, 'usage')";

/// How the database stands to this function, which should be made of one of these forms.
///
/// # Errors
///
/// If the database can't be asked.
pub async fn look<S: AsRef<str>>(pool: &PgPool, function: &str, forms: &[S]) -> Result<Granting, sqlx::Error> {
    let forms: Vec<&str> = forms.iter().map(AsRef::as_ref).collect();
    let current: Option<bool> = sqlx::query_scalar(LOOK).bind(function).bind(forms).fetch_optional(pool).await?;
    Ok(match current {
        Some(true) => Granting::Current,
        Some(false) => Granting::Stale,
        None => Granting::Missing,
    })
}

/// What rows are selected from, in place of the query's own SQL: `rowcast."lookup_NAME"($1)`.
pub fn call(function: &str, takes_keys: bool) -> String {
    format!("rowcast.{}({})", quoted(function), if takes_keys { "$1" } else { "" })
}

/// The same for a query that need not have been granted: `None` if its own SQL is to be run.
///
/// # Errors
///
/// If the database can't be asked.
pub async fn source(pool: &PgPool, query: &Granted) -> Result<Option<String>, sqlx::Error> {
    let function = query.function();
    let current = look(pool, &function, &query.forms).await? == Granting::Current;
    Ok(current.then(|| call(&function, query.takes_keys)))
}

/// What to do about a function that fails.
pub const OUTDATED: &str = "the function that was granted for it no longer fits the database: as the owner, run `rowcast migrate --gateway-role ROLE`";

/// Why the database refuses a query's own SQL, and what to do where it is the role's rights.
pub fn with_remedy(reason: String, granting: Granting) -> String {
    if !reason.contains(sqlstate::INSUFFICIENT_PRIVILEGE) {
        return reason;
    }
    let state = match granting {
        Granting::Stale => "the function that was granted for it was made of other SQL",
        Granting::Missing | Granting::Current => "this role has not been granted it",
    };
    format!("{reason}; {state}: as the owner, run `rowcast migrate --gateway-role ROLE` with this catalog")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_has_a_name_that_postgres_keeps_whole_and_no_other_query_has() {
        assert_eq!(function_name(Kind::Lookup, "user_by_email"), "lookup_user_by_email");
        assert_eq!(function_name(Kind::Schedule, "expired"), "schedule_expired");
        let (one, other) = ("é".repeat(60), format!("{}x", "é".repeat(60)));
        let names = [&one, &other, "a\0b", "a\0c"].map(|name| function_name(Kind::Lookup, name));
        for name in &names {
            assert!(name.len() <= LONGEST_NAME && !name.contains('\0'), "{name}");
        }
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }

    #[test]
    fn a_name_is_quoted_whatever_is_in_it() {
        assert_eq!(
            call("lookup_a\"; drop table users; --", true),
            "rowcast.\"lookup_a\"\"; drop table users; --\"($1)"
        );
    }
}
