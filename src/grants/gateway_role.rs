//! The role that runs the service: made where it is missing, refused where it may do too much.

use sqlx::{AssertSqlSafe, PgConnection};

use super::quoted;
use crate::error::Error;

/// A role by name, as it was found.
#[derive(Debug, Clone)]
pub struct GatewayRole {
    pub name: String,
    pub standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It isn't there, and can be made.
    Absent,
    Present {
        can_login: bool,
    },
}

/// Whether it is a superuser; whether it can log in; attributes that a service doesn't need; the role whose tables, or whose
/// schema rowcast, it would own.
type Found = (bool, bool, Vec<String>, Option<String>);

const FIND: &str = "
select r.rolsuper as superuser, r.rolcanlogin as can_login,
       array_remove(array[case when r.rolcreaterole then 'CREATEROLE' end, case when r.rolcreatedb then 'CREATEDB' end,
                          case when r.rolreplication then 'REPLICATION' end,
                          case when r.rolbypassrls then 'BYPASSRLS' end], null) as attributes,
       (select o.rolname::text from pg_catalog.pg_roles o
        where pg_has_role(r.oid, o.oid, 'member')
          and (o.rolname = current_user
               or exists (select from pg_catalog.pg_namespace n where n.nspname = 'rowcast' and n.nspowner = o.oid)
               or exists (select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
                          where c.relowner = o.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')
                            and n.nspname not in ('pg_catalog', 'information_schema', 'rowcast')
                            and n.nspname not like 'pg\\_%'))
        order by o.oid = r.oid desc, 1 limit 1) as owner
from pg_catalog.pg_roles r where r.rolname = $1";

impl GatewayRole {
    /// Looks at the role, and changes nothing.
    ///
    /// # Errors
    ///
    /// If it may do too much, or is missing and can't be made.
    pub async fn find(connection: &mut PgConnection, name: &str) -> Result<Self, Error> {
        if name.is_empty() || name.len() > super::LONGEST_NAME || name.contains('\0') || name.starts_with("pg_") {
            return Err(Error::Usage(format!(
                "--gateway-role: {name:?} can't be a role's name; expected such as rowcast_gateway"
            )));
        }
        let role = |standing| Self { name: name.to_owned(), standing };
        let found: Option<Found> = sqlx::query_as(FIND).bind(name).fetch_optional(&mut *connection).await?;
        let Some((superuser, can_login, attributes, owner)) = found else {
            let (own, able): (String, bool) = sqlx::query_as(
                "select rolname::text, rolcreaterole or rolsuper from pg_catalog.pg_roles where rolname = current_user",
            )
            .fetch_one(connection)
            .await?;
            let absent = role(Standing::Absent);
            return match able {
                true => Ok(absent),
                false => Err(Error::Denied(format!(
                    "there is no role {name}, and {own} may not make roles. Let an administrator run this, and then run the command again:\n  {}",
                    absent.create()
                ))),
            };
        };
        let refusal = match owner {
            _ if superuser => "is a superuser, who may do anything".to_owned(),
            Some(owner) if owner == name => {
                "owns the application's tables, or runs this migration, so it could write to them".to_owned()
            }
            Some(owner) => format!(
                "is a member of {owner}, who owns the application's tables or runs this migration, so it could write to them (revoke {} from {})",
                quoted(&owner),
                quoted(name)
            ),
            None if !attributes.is_empty() => format!(
                "has {}, which the service doesn't need (alter role {} {})",
                attributes.join(", "),
                quoted(name),
                attributes
                    .iter()
                    .map(|attribute| format!("no{}", attribute.to_lowercase()))
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
            None => return Ok(role(Standing::Present { can_login })),
        };
        Err(Error::Denied(format!(
            "{name} can't be the gateway's role: it {refusal}. Name one of its own; `rowcast migrate --gateway-role rowcast_gateway` makes it"
        )))
    }

    /// The statement that makes it.
    pub fn create(&self) -> String {
        format!(
            "create role {} login nosuperuser nocreatedb nocreaterole noreplication nobypassrls;",
            quoted(&self.name)
        )
    }

    /// The statement that grants it what it needs in the schema rowcast.
    pub fn grant(&self) -> String {
        let name = quoted(&self.name).replace('\'', "''");
        format!("select rowcast.grant_gateway('{name}'::regrole);")
    }

    /// Makes it where it is missing, and lets it run the service; true if it was made.
    ///
    /// # Errors
    ///
    /// If the database refuses.
    pub async fn establish(&self, connection: &mut PgConnection) -> Result<bool, Error> {
        let made = self.standing == Standing::Absent;
        if made {
            sqlx::raw_sql(AssertSqlSafe(self.create())).execute(&mut *connection).await?;
        }
        sqlx::raw_sql(AssertSqlSafe(self.grant())).execute(connection).await?;
        Ok(made)
    }

    /// The roles that run the service.
    ///
    /// # Errors
    ///
    /// If the database can't be asked.
    pub async fn all(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(super::install::GATEWAYS).fetch_all(connection).await
    }
}
