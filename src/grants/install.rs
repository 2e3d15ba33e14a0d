//! Makes the functions of the queries, and drops those whose query is gone.

use sqlx::PgConnection;

use super::{
    Granted,
    definition::{Definition, define, search_path},
    quoted,
};
use crate::error::Error;

/// What is to be done about one function.
#[derive(Debug)]
pub struct Step {
    /// `lookup user_by_email`, or the function's name where its query is gone.
    pub title: String,
    pub outcome: Outcome,
    /// One transaction; `None` where nothing is to be done.
    pub sql: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Granted,
    Unchanged,
    /// The database can't run the query; why.
    LeftOut(String),
    /// Its query is gone.
    Dropped,
}

/// A function that is there.
#[derive(Debug)]
struct Installed {
    name: String,
    arguments: String,
    definition: Option<String>,
    /// Whether everybody who has to may run it.
    granted: bool,
}

const INSTALLED: &str = "
select p.proname::text as name, pg_get_function_identity_arguments(p.oid) as arguments,
       substring(d.description from 'definition ([0-9a-f]{64})') as definition,
       not exists (select from pg_catalog.pg_roles r
                   where r.rolname = any ($1) and not has_function_privilege(r.oid, p.oid, 'execute')) as granted
from pg_catalog.pg_proc p
join pg_catalog.pg_description d on d.objoid = p.oid and d.classoid = 'pg_catalog.pg_proc'::regclass and d.objsubid = 0
where p.pronamespace = to_regnamespace('rowcast') and d.description like 'rowcast grants %' order by 1";

/// The roles that run the service already.
pub(super) const GATEWAYS: &str = "
select r.rolname::text from pg_catalog.pg_class c cross join lateral aclexplode(c.relacl) privilege
join pg_catalog.pg_roles r on r.oid = privilege.grantee
where c.oid = to_regclass('rowcast.cursor') and privilege.privilege_type = 'UPDATE' and privilege.grantee <> c.relowner";

const HASHES: &str =
    "select encode(sha256(convert_to($1, 'UTF8')), 'hex'), encode(sha256(convert_to($2, 'UTF8')), 'hex')";

/// What is to be done, so that this role, and those that run the service already, may run these queries and no others.
/// Nothing is done yet.
///
/// # Errors
///
/// If the database can't be asked.
pub async fn plan(connection: &mut PgConnection, role: &str, queries: &[Granted]) -> Result<Vec<Step>, Error> {
    let mut roles: Vec<String> = sqlx::query_scalar(GATEWAYS).fetch_all(&mut *connection).await?;
    if !roles.iter().any(|known| known == role) {
        roles.push(role.to_owned());
    }
    let installed: Vec<(String, String, Option<String>, bool)> =
        sqlx::query_as(INSTALLED).bind(&roles).fetch_all(&mut *connection).await?;
    let installed = installed.into_iter().map(|(name, arguments, definition, granted)| Installed {
        name,
        arguments,
        definition,
        granted,
    });
    let installed: Vec<Installed> = installed.collect();
    let path = search_path(connection).await?;
    let grantees: Vec<String> = roles.iter().map(|role| quoted(role)).collect();
    let grantees = grantees.join(", ");
    let mut steps = Vec::new();
    for query in queries {
        let function = query.function();
        let old = installed.iter().find(|installed| installed.name == function);
        steps.push(match define(connection, query, &path).await? {
            Ok(definition) => grant(connection, query, definition, old, &grantees).await?,
            Err(reason) => Step {
                title: query.title(),
                outcome: Outcome::LeftOut(reason),
                // Of no use to anybody as it is.
                sql: old.map(drop_function),
            },
        });
    }
    let names: Vec<String> = queries.iter().map(Granted::function).collect();
    let gone = installed.iter().filter(|installed| !names.contains(&installed.name));
    steps.extend(gone.map(|installed| Step {
        title: installed.name.clone(),
        outcome: Outcome::Dropped,
        sql: Some(drop_function(installed)),
    }));
    Ok(steps)
}

async fn grant(
    connection: &mut PgConnection,
    query: &Granted,
    Definition { sql, create }: Definition,
    old: Option<&Installed>,
    grantees: &str,
) -> Result<Step, Error> {
    let title = query.title();
    let name = format!("rowcast.{}", quoted(&query.function()));
    let (of_sql, of_definition): (String, String) =
        sqlx::query_as(HASHES).bind(&sql).bind(&create).fetch_one(connection).await?;
    let execute = format!("grant execute on function {name} to {grantees};");
    Ok(match old {
        Some(old) if old.definition.as_ref() == Some(&of_definition) && old.granted => {
            Step { title, outcome: Outcome::Unchanged, sql: None }
        }
        Some(old) if old.definition.as_ref() == Some(&of_definition) => {
            Step { title, outcome: Outcome::Granted, sql: Some(execute) }
        }
        old => {
            let drop = old.map(|old| drop_function(old) + "\n").unwrap_or_default();
            // Whether a function is the one that the service's catalog means, the service tells by this.
            let comment = format!("rowcast grants the {title}: sql {of_sql}, definition {of_definition}");
            let comment = format!("comment on function {name} is '{}';", comment.replace('\'', "''").replace('\0', ""));
            let sql = format!("{drop}{create}\n{execute}\n{comment}");
            Step { title, outcome: Outcome::Granted, sql: Some(sql) }
        }
    })
}

fn drop_function(installed: &Installed) -> String {
    format!("drop function rowcast.{}({});", quoted(&installed.name), installed.arguments)
}
