//! What a role may do outside of the schema rowcast.

use sqlx::{PgConnection, PgPool};

use super::quoted;

/// A table, view or sequence of the application that a role has a right on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// As SQL names it.
    pub object: String,
    /// What takes the right away.
    pub revoke: String,
}

/// The object; whether it is a sequence; whether the role itself has a right on it, everybody, and others that it is a member
/// of.
type Found = (String, bool, bool, bool, Vec<String>);

/// What is the application's: in no schema of Postgres' or rowcast's, and in no extension. To be read after `pg_class c`
/// and `pg_namespace n`.
macro_rules! of_the_application {
    () => {
        "n.nspname not in ('pg_catalog', 'information_schema', 'rowcast') and n.nspname not like 'pg\\_%'
  and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::regclass
                  and d.objid = c.oid and d.deptype = 'e')"
    };
}

const RIGHTS: &str = concat!(
    "
with role as (select oid from pg_catalog.pg_roles where rolname = $1),
object as (
  select c.oid, c.relkind = 'S' as is_sequence, c.relacl, format('%I.%I', n.nspname, c.relname) as object
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where ",
    of_the_application!(),
    "
)
select o.object, o.is_sequence,
       exists (select from aclexplode(o.relacl) a where a.grantee = role.oid)
         or exists (select from pg_catalog.pg_attribute t cross join lateral aclexplode(t.attacl) a
                    where t.attrelid = o.oid and a.grantee = role.oid) as direct,
       exists (select from aclexplode(o.relacl) a where a.grantee = 0)
         or exists (select from pg_catalog.pg_attribute t cross join lateral aclexplode(t.attacl) a
                    where t.attrelid = o.oid and a.grantee = 0) as public,
       array(select m.rolname::text from pg_catalog.pg_roles m
             where m.oid <> role.oid and pg_has_role(role.oid, m.oid, 'usage')
               and case when o.is_sequence then has_sequence_privilege(m.oid, o.oid, 'usage, select, update')
                        else has_any_column_privilege(m.oid, o.oid, 'select, insert, update, references')
                          or has_table_privilege(m.oid, o.oid, 'delete, truncate, trigger') end
               -- Not what they have because everybody has it.
               and not exists (select from aclexplode(o.relacl) a where a.grantee = 0)
             order by 1) as through
from object o cross join role
where case when o.is_sequence then has_sequence_privilege(role.oid, o.oid, 'usage, select, update')
           else has_any_column_privilege(role.oid, o.oid, 'select, insert, update, references')
             or has_table_privilege(role.oid, o.oid, 'delete, truncate, trigger') end
order by o.object"
);

/// The rights that a role has on what is the application's, its own and those that it has through others.
///
/// # Errors
///
/// If the database can't be asked.
pub async fn rights(connection: &mut PgConnection, role: &str) -> Result<Vec<Right>, sqlx::Error> {
    let found: Vec<Found> = sqlx::query_as(RIGHTS).bind(role).fetch_all(connection).await?;
    let mut rights = Vec::new();
    for (object, is_sequence, direct, public, through) in found {
        let kind = if is_sequence { "sequence " } else { "" };
        let mut revoke = |sql: String| rights.push(Right { object: object.clone(), revoke: sql });
        if direct {
            revoke(format!("revoke all on {kind}{object} from {};", quoted(role)));
        }
        if public {
            revoke(format!("revoke all on {kind}{object} from public;"));
        }
        for other in through {
            revoke(format!("revoke {} from {};", quoted(&other), quoted(role)));
        }
    }
    Ok(rights)
}

const WRITABLE: &str = concat!(
    "
select quote_ident(r.rolname), r.rolsuper,
       (select format('%I.%I', n.nspname, c.relname)
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.relkind <> 'S' and ",
    of_the_application!(),
    "
          and (has_table_privilege(c.oid, 'insert, update, delete, truncate')
               or has_any_column_privilege(c.oid, 'insert, update'))
        order by 1 limit 1)
from pg_catalog.pg_roles r where r.rolname = current_user"
);

/// What the role of this connection may do that a service need not; `None` if it may write nothing of the application's.
///
/// # Errors
///
/// If the database can't be asked.
pub async fn excess(pool: &PgPool) -> Result<Option<String>, sqlx::Error> {
    let (role, superuser, writable): (String, bool, Option<String>) = sqlx::query_as(WRITABLE).fetch_one(pool).await?;
    Ok(match (superuser, writable) {
        (true, _) => Some(format!("{role} is a superuser")),
        (false, Some(table)) => Some(format!("{role} may write to the application's tables, such as {table}")),
        (false, None) => None,
    })
}
