//! Which tables lookups and schedules read, which of them as a whole each time they are run, and the index that would spare
//! it.
//!
//! Postgres scans a small table whatever indexes it has. So it is asked for a plan with scans discouraged: one that is
//! left stands for an index that isn't there.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio_postgres::{
    Client,
    types::{Json, Type},
};

use crate::{capture::describe, change::TableName};

/// What a query reads.
#[derive(Debug)]
pub struct Reading {
    /// Its tables, as rules name them, and those below its views.
    pub tables: BTreeSet<String>,
    pub scans: Vec<Scan>,
}

/// A table that is read as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scan {
    /// As SQL names it.
    pub table: String,
    pub help: Help,
}

/// What would spare reading all of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Help {
    /// The statement that makes an index.
    Index(String),
    /// This column, of this type, is compared as text, of which there can be no index: comparing it as it is can use one.
    Uncast {
        column: String,
        sql_type: String,
    },
    None,
}

/// What a query reads; it is planned, not run.
///
/// # Errors
///
/// Why the database makes no plan.
pub async fn reading(client: &Client, sql: &str, takes_keys: bool) -> Result<Reading, String> {
    let failed = |error: tokio_postgres::Error| describe(&error);
    client.batch_execute("begin transaction read only").await.map_err(failed)?;
    let planned = plan(client, sql, takes_keys).await;
    let reading = match planned {
        Ok(plan) => {
            let mut tables = BTreeSet::new();
            tables_in(&plan["Plan"], &mut tables);
            let mut found = Vec::new();
            walk(&plan["Plan"], &[], &mut found);
            let mut scans = Vec::new();
            for full in found {
                scans.extend(scan(client, full, takes_keys).await.map_err(failed)?);
            }
            scans.sort();
            scans.dedup();
            Ok(Reading { tables, scans })
        }
        Err(error) => Err(failed(error)),
    };
    // No rollback undoes a PREPARE, and after it a pooler may have given us another session.
    let forgotten = client.batch_execute("deallocate rowcast_check").await;
    client.batch_execute("rollback").await.map_err(failed)?;
    if forgotten.is_err() {
        // There is none if it was refused.
        client.batch_execute("deallocate rowcast_check").await.ok();
    }
    reading
}

/// Those of the application and of rowcast.
fn tables_in(node: &Value, found: &mut BTreeSet<String>) {
    if let (Some(schema), Some(table)) = (node["Schema"].as_str(), node["Relation Name"].as_str())
        && schema != "pg_catalog"
    {
        found.insert(TableName::new(schema, table).to_string());
    }
    node["Plans"].as_array().into_iter().flatten().for_each(|child| tables_in(child, found));
}

async fn plan(client: &Client, sql: &str, takes_keys: bool) -> Result<Value, tokio_postgres::Error> {
    client
        .batch_execute(
            "set local statement_timeout = '5s'; set local plan_cache_mode = force_generic_plan;
             set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off",
        )
        .await?;
    // Planned for any keys at all: the extended protocol takes one statement and no more.
    let (parameters, arguments) = if takes_keys { ("(text[])", "('{}')") } else { ("", "") };
    client.query_typed(&format!("prepare rowcast_check{parameters} as {sql}"), &[]).await?;
    let explain = format!("explain (format json, verbose) execute rowcast_check{arguments}");
    let rows = client.query_typed(&explain, &[]).await?;
    let Some(row) = rows.first() else { return Ok(Value::Null) };
    let Json(mut plans): Json<Value> = row.try_get(0)?;
    Ok(plans[0].take())
}

/// A node that reads every row of a table, with the conditions that hold for these: its own first, then those of the nodes
/// above it, the nearest first.
struct Full<'p> {
    schema: &'p str,
    table: &'p str,
    alias: &'p str,
    conditions: Vec<&'p str>,
}

fn walk<'p>(node: &'p Value, above: &[&'p str], found: &mut Vec<Full<'p>>) {
    let text = |key: &str| node[key].as_str();
    let own = ["Filter", "Recheck Cond", "Join Filter", "Hash Cond", "Merge Cond"].iter().filter_map(|key| text(key));
    let conditions: Vec<&str> = own.chain(above.iter().copied()).collect();
    let reads_all = match text("Node Type").unwrap_or_default() {
        "Seq Scan" => true,
        "Index Scan" | "Index Only Scan" => !narrows(node),
        "Bitmap Heap Scan" => !below_narrows(node),
        _ => false,
    };
    if reads_all
        && let (Some(schema), Some(table), Some(alias)) = (text("Schema"), text("Relation Name"), text("Alias"))
    {
        // The tables of rowcast have the indexes that they need.
        if !["rowcast", "pg_catalog"].contains(&schema) {
            found.push(Full { schema, table, alias, conditions: conditions.clone() });
        }
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        walk(child, &conditions, found);
    }
}

/// Whether an index is asked for some of its rows; `IS NOT NULL` is next to all.
fn narrows(node: &Value) -> bool {
    node["Index Cond"].as_str().is_some_and(|condition| condition.contains(['=', '<', '>', '@', '~', '?', '&']))
}

fn below_narrows(bitmap: &Value) -> bool {
    let children = bitmap["Plans"].as_array().into_iter().flatten();
    children.into_iter().any(|child| narrows(child) || below_narrows(child))
}

/// `None` if there is an index on what it looks for, which Postgres would rather not use.
async fn scan(client: &Client, full: Full<'_>, takes_keys: bool) -> Result<Option<Scan>, tokio_postgres::Error> {
    const COLUMNS: &str = "
        select a.attname::text, quote_ident(a.attname), t.typcategory = 'S',
               exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indkey[0] = a.attnum and i.indpred is null),
               c.oid::regclass::text, output.provolatile = 'i', format_type(a.atttypid, null), t.typname = 'jsonb'
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = $1
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        join pg_catalog.pg_type t on t.oid = a.atttypid
        join pg_catalog.pg_proc output on output.oid = t.typoutput
        where c.relname = $2";
    let columns = client.query_typed(COLUMNS, &[(&full.schema, Type::NAME), (&full.table, Type::NAME)]).await?;
    let Some(table) = columns.first().map(|row| row.get::<_, String>(4)) else { return Ok(None) };
    // Postgres prints an alias in quotes where it would be a word of SQL otherwise.
    let aliases = [full.alias.to_owned(), format!("\"{}\"", full.alias.replace('"', "\"\""))];
    let conditions = full.conditions.iter().flat_map(|condition| aliases.iter().map(move |alias| (condition, alias)));
    let mut all: Vec<Sought<'_>> = conditions.flat_map(|(condition, alias)| sought(condition, alias)).collect();
    // A constant leaves many rows, as a rule: it is for where nothing else is looked for.
    all.sort_by_key(|sought| sought.constant);
    for sought in all {
        if takes_keys && sought.constant {
            continue;
        }
        let Some(row) = columns.iter().find(|row| row.get::<_, &str>(0) == sought.column) else { continue };
        let (name, is_text, indexed): (&str, bool, bool) = (row.get(1), row.get(2), row.get(3));
        let key = match (sought.function, is_text || !sought.as_text) {
            (None, true) if indexed => return Ok(None),
            (None, true) if sought.within && row.get(7) => format!("using gin ({name} jsonb_path_ops)"),
            _ if sought.within => continue,
            (None, true) => format!("({name})"),
            (Some(function), true) if is_immutable(client, function).await? => format!("({function}({name}))"),
            (None, false) if row.get(5) => format!("(({name}::text))"),
            // What an enum or a time reads as depends on settings, so Postgres takes no index on it.
            (None, false) => {
                let help = Help::Uncast { column: name.to_owned(), sql_type: row.get(6) };
                return Ok(Some(Scan { table, help }));
            }
            (Some(_), _) => continue,
        };
        let help = Help::Index(format!("create index concurrently on {table} {key};"));
        return Ok(Some(Scan { table, help }));
    }
    Ok(Some(Scan { table, help: Help::None }))
}

/// Whether Postgres takes an index on what a function of this name gives, whatever it is called with.
async fn is_immutable(client: &Client, function: &str) -> Result<bool, tokio_postgres::Error> {
    const IMMUTABLE: &str = "
        select coalesce(bool_and(provolatile = 'i'), false) from pg_catalog.pg_proc where proname = $1 and pronargs = 1";
    let row = client.query_typed(IMMUTABLE, &[(&function, Type::NAME)]).await?;
    Ok(row.first().is_some_and(|row| row.get(0)))
}

/// The operators that an index serves.
const COMPARED: [&str; 5] = [" = ", " < ", " <= ", " > ", " >= "];

/// A column that a condition compares.
#[derive(Debug, PartialEq, Eq)]
struct Sought<'c> {
    column: String,
    /// `lower` of `lower(t.email) = …`
    function: Option<&'c str>,
    /// Whether it is cast to text first.
    as_text: bool,
    /// Whether it is compared with a constant.
    constant: bool,
    /// Whether it is asked what it contains, by `@>`.
    within: bool,
}

/// The columns of the table that is called `alias`, as far as a condition of a plan compares just them, or one function of
/// just them, by `=`, `<`, `>` or `@>`: an index serves nothing else.
fn sought<'c>(condition: &'c str, alias: &str) -> Vec<Sought<'c>> {
    let mut found = Vec::new();
    let start = format!("{alias}.");
    for (at, _) in condition.match_indices(&start) {
        let before = &condition[..at];
        if before.ends_with(|c: char| c.is_alphanumeric() || ['_', '"', '.', '$'].contains(&c)) {
            continue;
        }
        let Some((column, rest)) = identifier(&condition[at + start.len()..]) else { continue };
        let Some(Operand { before, after, function, as_text }) = operand(before, rest) else { continue };
        let begins = before.is_empty() || before.ends_with('(') || before.ends_with("AND ");
        if begins && after.starts_with(" @> ") {
            found.push(Sought { column, function, as_text, constant: false, within: true });
            continue;
        }
        let ends = after.is_empty() || after.starts_with(')') || after.starts_with(" AND");
        if let Some(other) = COMPARED.iter().find_map(|operator| after.strip_prefix(operator)).filter(|_| begins) {
            found.push(Sought { column, function, as_text, constant: is_constant(other), within: false });
        } else if let Some(other) = COMPARED.iter().find_map(|operator| before.strip_suffix(operator)).filter(|_| ends)
        {
            found.push(Sought { column, function, as_text, constant: other.ends_with('\''), within: false });
        }
    }
    found
}

/// A column with the brackets, the casts to text and the function of it alone, and what stands on both sides.
struct Operand<'c> {
    before: &'c str,
    after: &'c str,
    function: Option<&'c str>,
    as_text: bool,
}

/// `None` if it is cast to something else than text, or is in more than one function.
fn operand<'c>(mut before: &'c str, mut after: &'c str) -> Option<Operand<'c>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut function, mut as_text) = (None, false);
    loop {
        if let Some(cast) = after.strip_prefix("::") {
            after = cast.strip_prefix("text").filter(|rest| !rest.starts_with(is_word) && !rest.starts_with('['))?;
            as_text = true;
            continue;
        }
        let (Some(outer), Some(rest)) = (before.strip_suffix('('), after.strip_prefix(')')) else { break };
        let (head, name) = outer.split_at(outer.trim_end_matches(is_word).len());
        match name {
            "" => {}
            // `ANY (t.ids)`
            "ANY" | "ALL" => return None,
            "AND" | "OR" | "NOT" => break,
            _ if function.is_some() => return None,
            name => function = Some(name),
        }
        (before, after) = (head, rest);
    }
    Some(Operand { before, after, function, as_text })
}

/// An identifier as Postgres prints it, and what follows.
fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut chars = quoted.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' if chars.next_if(|(_, next)| *next == '"').is_some() => name.push('"'),
                '"' => return Some((name, &quoted[at + 1..])),
                c => name.push(c),
            }
        }
        return None;
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

fn is_constant(operand: &str) -> bool {
    let operand = operand.trim_start();
    let operand = operand.strip_prefix("ANY").unwrap_or(operand).trim_start().trim_start_matches('(');
    operand.starts_with(|c: char| c == '\'' || c.is_ascii_digit())
        || operand.starts_with("true")
        || operand.starts_with("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(condition: &str, alias: &str) -> (String, Option<String>, bool, bool) {
        let mut found = sought(condition, alias);
        assert_eq!(found.len(), 1, "{condition}: {found:?}");
        let found = found.remove(0);
        (found.column, found.function.map(str::to_owned), found.as_text, found.constant)
    }

    #[test]
    fn the_column_that_a_condition_looks_for_is_read_from_the_plan() {
        for (condition, alias, expected) in [
            ("((o.id)::text = ANY ($1))", "o", ("id", None, true, false)),
            ("(o.seller_id = wanted.key)", "o", ("seller_id", None, false, false)),
            ("(wanted.key = (o.seller_id)::text)", "o", ("seller_id", None, true, false)),
            (
                r#"(("user".email)::text = ANY (ARRAY[wanted.key, lower(wanted.key)]))"#,
                "\"user\"",
                ("email", None, true, false),
            ),
            ("(lower((u.email)::text) = wanted.key)", "u", ("email", Some("lower"), true, false)),
            ("(c.status = 'active'::text)", "c", ("status", None, false, true)),
            ("(q.valid_until <= now())", "q", ("valid_until", None, false, false)),
            (r#"(t."Mixed Case" = $1)"#, "t", ("Mixed Case", None, false, false)),
        ] {
            let (column, function, as_text, constant) = expected;
            let expected = (column.to_owned(), function.map(str::to_owned), as_text, constant);
            assert_eq!(one(condition, alias), expected, "{condition}");
        }
        for condition in [
            "(date_trunc('day'::text, t.day) = ANY ($1))",
            "((COALESCE(t.\"Owner\", t.email))::text = ANY ($1))",
            "(upper(btrim(t.\"Owner\")) = ANY ($1))",
            "((t.day)::date = ANY ($1))",
            "((t.amount + 1) = ANY ($1))",
            "(1 + t.amount = ANY ($1))",
            "('x' = ANY (t.tags))",
            "((t.data ->> 'id'::text) = ANY ($1))",
        ] {
            assert!(sought(condition, "t").is_empty(), "{condition}: {:?}", sought(condition, "t"));
        }
        assert!(sought("(other.id = wanted.key)", "her").is_empty());
        for part in ["(told.key = ((q.id)::text || '@'::text))", "(told.key = ('@'::text || q.id))"] {
            assert_eq!(sought(part, "q"), [], "a part of a key is no search by its column: {part}");
        }
        assert!(sought("(cart.items @> ANY ($0))", "cart")[0].within);
        assert!(sought("(cart.buyer_id IS NOT NULL)", "cart").is_empty());
    }
}
