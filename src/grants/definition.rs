//! The SQL of one granted function.

use sqlx::{AssertSqlSafe, Column as _, Executor as _, PgConnection, SqlSafeStr as _, Statement as _, TypeInfo as _};

use super::{Granted, quoted};
use crate::error::{Error, is_unavailable};

/// A function as it is to be made.
pub(super) struct Definition {
    /// The form of the query that it runs.
    pub sql: String,
    /// `create function …`
    pub create: String,
}

/// The base type of each column, below any domain, and whether it is Postgres' own.
const TYPES: &str = "
with recursive base (place, type) as (
  select o.place, o.oid from unnest($1::oid[]) with ordinality as o (oid, place)
  union all
  select b.place, t.typbasetype from base b join pg_catalog.pg_type t on t.oid = b.type where t.typtype = 'd'
)
select format_type(t.oid, -1), t.typnamespace = 'pg_catalog'::regnamespace and t.typtype <> 'p'
from base b join pg_catalog.pg_type t on t.oid = b.type where t.typtype <> 'd' order by b.place";

/// The schemas that names are looked for in now. Where somebody's temporary tables are comes last: else they could stand
/// in for the application's.
const SEARCH_PATH: &str = "
select coalesce(string_agg(quote_ident(s), ', ' order by place), 'pg_catalog') || ', pg_temp'
from unnest(current_schemas(false)) with ordinality as c (s, place) where s not like 'pg\\_temp\\_%'";

pub(super) async fn search_path(connection: &mut PgConnection) -> Result<String, Error> {
    Ok(sqlx::query_scalar(SEARCH_PATH).fetch_one(connection).await?)
}

/// Makes the definition of the first form that the database takes; or says why it takes none.
pub(super) async fn define(
    connection: &mut PgConnection,
    query: &Granted,
    search_path: &str,
) -> Result<Result<Definition, String>, Error> {
    let mut refused = None;
    for form in &query.forms {
        match columns(connection, form, query.takes_keys).await {
            Ok(columns) if columns.iter().any(|column| column.name == "key") => {
                let create = create(query, form, &columns, search_path);
                return Ok(Ok(Definition { sql: form.clone(), create }));
            }
            Ok(_) => refused = refused.or(Some("its SQL returns no column \"key\"".to_owned())),
            Err(error) if is_unavailable(&error) => return Err(error.into()),
            Err(error) => {
                let reason = error.as_database_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
                refused = refused.or(Some(reason));
            }
        }
    }
    Ok(Err(refused.unwrap_or_else(|| "there is no SQL".to_owned())))
}

struct Column {
    name: String,
    type_name: String,
    /// Whether the type is Postgres' own.
    built_in: bool,
}

/// What a form returns. It is run for no row, which shows missing rights too.
async fn columns(connection: &mut PgConnection, sql: &str, takes_keys: bool) -> Result<Vec<Column>, sqlx::Error> {
    let plain = format!("select * from ({sql}\n) found");
    let statement = (&mut *connection).prepare(AssertSqlSafe(plain).into_sql_str()).await?;
    let described: Vec<(String, _)> =
        statement.columns().iter().map(|column| (column.name().to_owned(), column.type_info().clone())).collect();
    let none = sqlx::query(AssertSqlSafe(format!("select from ({sql}\n) found limit 0")));
    let none = if takes_keys { none.bind(Vec::<String>::new()) } else { none };
    none.execute(&mut *connection).await?;
    let oids: Vec<sqlx::postgres::types::Oid> = described
        .iter()
        .map(|(_, of)| of.oid().ok_or_else(|| sqlx::Error::TypeNotFound { type_name: of.name().to_owned() }))
        .collect::<Result<_, _>>()?;
    let types: Vec<(String, bool)> = sqlx::query_as(TYPES).bind(oids).fetch_all(connection).await?;
    let described = described.into_iter().zip(types);
    Ok(described.map(|((name, _), (type_name, built_in))| Column { name, type_name, built_in }).collect())
}

/// It depends on no object of the application: neither on a table, since its body is text, nor on a type, since such a
/// column is given as JSON. So the application may drop and alter what it likes.
fn create(query: &Granted, sql: &str, columns: &[Column], search_path: &str) -> String {
    let (mut returns, mut selects) = (Vec::new(), Vec::new());
    for Column { name, type_name, built_in } in columns {
        let column = quoted(name);
        let (type_name, value) = match (*built_in, name.as_str()) {
            (true, _) => (type_name.as_str(), format!("found.{column}::{type_name}")),
            (false, "key") => ("text", format!("found.{column}::text")),
            (false, _) => ("json", format!("to_json(found.{column})")),
        };
        returns.push(format!("{column} {type_name}"));
        selects.push(value);
    }
    let tag = dollar_tag(sql);
    let name = quoted(&query.function());
    format!(
        "create function rowcast.{name}({})\nreturns table ({})\nlanguage sql stable security definer\n\
         set search_path = {search_path}\nas {tag}\nselect {}\nfrom (\n{sql}\n) as found\n{tag};\n\
         revoke all on function rowcast.{name} from public;",
        if query.takes_keys { "text[]" } else { "" },
        returns.join(", "),
        selects.join(", "),
    )
}

/// A dollar quote that the text doesn't have.
fn dollar_tag(text: &str) -> String {
    let tags = (0..).map(|number| format!("$rowcast{number}$"));
    tags.into_iter().find(|tag| !text.contains(tag.as_str())).expect("one of infinitely many")
}

#[cfg(test)]
mod tests {
    use super::dollar_tag;

    #[test]
    fn sql_can_t_end_the_quotes_that_it_stands_in() {
        assert_eq!(dollar_tag("select 1"), "$rowcast0$");
        assert_eq!(dollar_tag("$rowcast0$; drop table users; $rowcast1$"), "$rowcast2$");
    }
}
