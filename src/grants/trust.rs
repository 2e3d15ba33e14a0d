//! Whom the granted functions trust.
//!
//! They run with the rights of whoever migrates. What they read can be replaced by its owner, by a view that calls any
//! function, and their names can be caught by whoever may create objects where they look; both then run with these rights.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::{
    Granted,
    definition::{define, search_path},
    quoted,
};
use crate::error::Error;

/// So many objects are named in a sentence.
const NAMED: usize = 5;

/// Something that a query reads, and that neither the migrating role nor a superuser owns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Foreign {
    /// As SQL names it.
    object: String,
    owner: String,
}

/// Whom the functions would run as, and who else could have a say in what they run.
#[derive(Debug)]
pub struct Trust {
    role: String,
    superuser: bool,
    foreign: Vec<Foreign>,
    /// A schema that names are looked for in, and those that may create objects in it, each as SQL names it.
    creators: Vec<(String, Vec<String>)>,
}

/// All that the function $1 reads, through views too, and that belongs to others.
const FOREIGN: &str = "
with recursive reads (class, object) as (
  select d.refclassid, d.refobjid from pg_catalog.pg_depend d
  where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = to_regprocedure($1)
  union
  select d.refclassid, d.refobjid from reads
  join pg_catalog.pg_rewrite w on reads.class = 'pg_catalog.pg_class'::regclass and w.ev_class = reads.object
  join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = w.oid
), owned (object, owner) as (
  select format('%I.%I', n.nspname, c.relname), c.relowner from reads
  join pg_catalog.pg_class c on reads.class = 'pg_catalog.pg_class'::regclass and c.oid = reads.object
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  union
  select format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), p.proowner from reads
  join pg_catalog.pg_proc p on reads.class = 'pg_catalog.pg_proc'::regclass and p.oid = reads.object
  join pg_catalog.pg_namespace n on n.oid = p.pronamespace
)
select owned.object, r.rolname::text from owned join pg_catalog.pg_roles r on r.oid = owned.owner
where not r.rolsuper and r.rolname <> current_user";

/// Who may create objects where names are looked for, but for superusers and those who may act as the migrating role anyway.
/// Where everybody may, those are named besides who were let by name.
const CREATORS: &str = "
with schema as (
  select n.oid, n.nspname, a.grantee
  from pg_catalog.pg_namespace n
  cross join lateral (
    select grantee from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) where privilege_type = 'CREATE'
    union select n.nspowner
  ) a
  where n.nspname = any (current_schemas(false)) and n.nspname not like 'pg\\_%'
)
select quote_ident(s.nspname), array(
  select 'public' from schema g where g.oid = s.oid and g.grantee = 0
  union all
  (select quote_ident(r.rolname) from pg_catalog.pg_roles r
   where not r.rolsuper and r.rolname not like 'pg\\_%' and not pg_has_role(r.oid, current_user, 'member')
     and exists (select from schema g where g.oid = s.oid and g.grantee <> 0 and pg_has_role(r.oid, g.grantee, 'member'))
   order by 1))
from (select distinct oid, nspname from schema) s order by 1";

impl Trust {
    /// Looks at what the queries read, and changes nothing.
    ///
    /// # Errors
    ///
    /// If the database can't be asked.
    pub async fn find(connection: &mut PgConnection, queries: &[Granted]) -> Result<Self, Error> {
        let (role, superuser): (String, bool) =
            sqlx::query_as("select rolname::text, rolsuper from pg_catalog.pg_roles where rolname = current_user")
                .fetch_one(&mut *connection)
                .await?;
        let path = search_path(connection).await?;
        let mut foreign = Vec::new();
        for query in queries {
            // What the database can't run is not granted.
            if let Ok(definition) = define(connection, query, &path).await? {
                foreign.extend(read_by(connection, query, &definition.sql).await?);
            }
        }
        foreign.sort();
        foreign.dedup();
        let creators: Vec<(String, Vec<String>)> = sqlx::query_as(CREATORS).fetch_all(connection).await?;
        let creators = creators.into_iter().filter(|(_, roles)| !roles.is_empty()).collect();
        Ok(Self { role, superuser, foreign, creators })
    }

    /// Whether the functions may be made: nobody who is no superuser gets a say in what a superuser runs.
    ///
    /// # Errors
    ///
    /// What was found, why it matters, and what to do.
    pub fn check(&self) -> Result<(), Error> {
        let Some(first) = self.foreign.first().filter(|_| self.superuser) else { return Ok(()) };
        Err(Error::Denied(format!(
            "{} is a superuser, and the queries to be granted read {}. They would run with a superuser's rights, and whoever owns such a table could put a view in its place that runs anything. Nothing was granted: run `rowcast migrate --gateway-role` as the owner of the tables, {}",
            self.role,
            self.objects(),
            first.owner
        )))
    }

    /// What the owner should know, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.foreign.is_empty() {
            warnings.push(format!(
                "WARNING: the granted queries run with the rights of {}, and read {}. Whoever owns these could put a view in their place that runs anything with the rights of {0}: run this as the owner of the tables instead",
                self.role,
                self.objects()
            ));
        }
        let superuser = if self.superuser { ", a superuser" } else { "" };
        warnings.extend(self.creators.iter().map(|(schema, roles)| {
            let roles = roles.join(", ");
            format!(
                "may create objects in the schema {schema}: {roles}. The granted queries look for names there, so these could have functions of theirs run with the rights of {}{superuser}. If the application doesn't need it: revoke create on schema {schema} from {roles}; (an owner of the schema, and members of others, keep it)",
                self.role
            )
        }));
        warnings
    }

    fn objects(&self) -> String {
        let named = self.foreign.iter().take(NAMED).map(|of| format!("{} (owned by {})", of.object, of.owner));
        let more = self.foreign.len().saturating_sub(NAMED);
        let named = named.collect::<Vec<_>>().join(", ");
        if more == 0 { named } else { format!("{named} and {more} more") }
    }
}

/// What a query reads and others own. Postgres notes what a function whose body it has parsed depends on; so one is made, and
/// undone.
async fn read_by(connection: &mut PgConnection, query: &Granted, sql: &str) -> Result<Vec<Foreign>, Error> {
    let mut transaction = connection.begin().await?;
    let there = "select coalesce(has_schema_privilege(to_regnamespace('rowcast')::oid, 'create'), false)";
    let there: bool = sqlx::query_scalar(there).fetch_one(&mut *transaction).await?;
    let schema = if there { "rowcast" } else { "pg_temp" };
    let name = format!("{schema}.{}", quoted("what a query reads"));
    let arguments = if query.takes_keys { "text[]" } else { "" };
    let create = format!(
        "create function {name}({arguments}) returns setof record language sql begin atomic select * from (\n{sql}\n) found; end"
    );
    let made = sqlx::query(AssertSqlSafe(create)).persistent(false).execute(&mut *transaction).await;
    made.map_err(|error| match error.as_database_error() {
        Some(db) => Error::Database(format!("what the {} reads can't be found out: {}", query.title(), db.message())),
        None => error.into(),
    })?;
    let found: Vec<(String, String)> =
        sqlx::query_as(FOREIGN).bind(format!("{name}({arguments})")).fetch_all(&mut *transaction).await?;
    transaction.rollback().await?;
    Ok(found.into_iter().map(|(object, owner)| Foreign { object, owner }).collect())
}
