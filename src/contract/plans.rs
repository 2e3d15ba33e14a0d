//! Lookups and schedules that read a whole table each time they are run, and the index that would spare it.
//!
//! Postgres scans a small table whatever indexes it has. So it is asked for a plan with scans discouraged: one that is
//! left stands for an index that isn't there.

use serde_json::Value;
use tokio_postgres::{
    Client,
    types::{Json, Type},
};

use crate::capture::describe;

/// A table that is read as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scan {
    /// As SQL names it.
    pub table: String,
    /// The statement that makes an index which would serve; `None` where none can be told.
    pub index: Option<String>,
}

/// The scans of a query; it is planned, not run.
///
/// # Errors
///
/// Why the database makes no plan.
pub async fn scans(client: &Client, sql: &str, takes_keys: bool) -> Result<Vec<Scan>, String> {
    let failed = |error: tokio_postgres::Error| describe(&error);
    client.batch_execute("begin transaction read only").await.map_err(failed)?;
    let planned = plan(client, sql, takes_keys).await;
    let scans = match planned {
        Ok(plan) => {
            let mut found = Vec::new();
            walk(&plan["Plan"], &[], &mut found);
            let mut scans = Vec::new();
            for full in found {
                scans.extend(scan(client, full, takes_keys).await.map_err(failed)?);
            }
            scans.sort();
            scans.dedup();
            Ok(scans)
        }
        Err(error) => Err(failed(error)),
    };
    client.batch_execute("rollback").await.map_err(failed)?;
    // Not undone by the rollback; there is none if it was refused.
    client.batch_execute("deallocate rowcast_check").await.ok();
    scans
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
               c.oid::regclass::text, t.typname = 'jsonb'
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = $1
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        join pg_catalog.pg_type t on t.oid = a.atttypid
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
        let (name, is_text, indexed, is_jsonb): (&str, bool, bool, bool) =
            (row.get(1), row.get(2), row.get(3), row.get(5));
        let key = match (sought.function, is_text || !sought.as_text) {
            (None, true) if indexed => return Ok(None),
            (None, true) if sought.within && is_jsonb => format!("using gin ({name} jsonb_path_ops)"),
            _ if sought.within => continue,
            (None, true) => format!("({name})"),
            (Some(function), true) => format!("({function}({name}))"),
            (None, false) => format!("(({name}::text))"),
            (Some(_), false) => continue,
        };
        let index = Some(format!("create index concurrently on {table} {key};"));
        return Ok(Some(Scan { table, index }));
    }
    Ok(Some(Scan { table, index: None }))
}

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

/// The columns of the table that is called `alias`, as far as a condition of a plan compares them by `=`, `<`, `>` or `@>`.
fn sought<'c>(condition: &'c str, alias: &str) -> Vec<Sought<'c>> {
    let mut found = Vec::new();
    let start = format!("{alias}.");
    for (at, _) in condition.match_indices(&start) {
        let before = &condition[..at];
        if before.ends_with(|c: char| c.is_alphanumeric() || ['_', '"', '.', '$'].contains(&c)) {
            continue;
        }
        let Some((column, rest)) = identifier(&condition[at + start.len()..]) else { continue };
        // `(t.id)::text = …`: what stands around the column up to the operator.
        let mut after = rest;
        let mut as_text = false;
        loop {
            after = after.trim_start_matches(')');
            match after.strip_prefix("::") {
                Some(cast) => {
                    as_text |= cast.starts_with("text");
                    after = cast.trim_start_matches(|c: char| c.is_alphanumeric() || ['_', '"', '.'].contains(&c));
                }
                None => break,
            }
        }
        let opened = before.trim_end_matches('(');
        let function = opened.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty());
        // An operator word, or nothing, stands before a plain column.
        let function =
            function.filter(|name| before.len() > opened.len() && !["AND", "OR", "NOT", "ANY"].contains(name));
        // A part of what is compared, and not the column itself.
        let joined = after.trim_start().starts_with("||") || opened.trim_end().ends_with("||");
        if joined || ["ANY", "ALL"].iter().any(|word| opened.trim_end().ends_with(word)) {
            continue;
        }
        if after.trim_start().starts_with("@>") {
            found.push(Sought { column, function, as_text, constant: false, within: true });
            continue;
        }
        let operand =
            |text: &'c str| text.trim_start().strip_prefix(['=', '<', '>']).map(|rest| rest.trim_start_matches('='));
        if let Some(other) = operand(after) {
            found.push(Sought { column, function, as_text, constant: is_constant(other), within: false });
        } else if function.is_none() && opened.trim_end().ends_with(['=', '<', '>']) {
            let other = opened.trim_end().trim_end_matches(['=', '<', '>']).trim_end();
            found.push(Sought { column, function, as_text, constant: other.ends_with('\''), within: false });
        }
    }
    found
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
        assert!(sought("(other.id = wanted.key)", "her").is_empty());
        for part in ["(told.key = ((q.id)::text || '@'::text))", "(told.key = ('@'::text || q.id))"] {
            assert_eq!(sought(part, "q"), [], "a part of a key is no search by its column: {part}");
        }
        assert!(sought("(cart.items @> ANY ($0))", "cart")[0].within);
        assert!(sought("(cart.buyer_id IS NOT NULL)", "cart").is_empty());
    }
}
