//! `rowcast catalog init`

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use sqlx::{Connection, PgConnection};

use crate::{catalog::Catalog, cli::NO_DATABASE, config::DatabaseUrl, error::Error};

/// Write the beginnings of a catalog of your own.
///
/// Without options: the rooms, and an example rule with comments. With --table, and DATABASE_URL set: rules for that
/// table with the columns that it has. With --built-in: the marketplace's catalog that comes with rowcast. A file that
/// exists is never overwritten.
#[derive(Debug, Args)]
pub struct Init {
    /// The directory, made if it isn't there
    #[arg(value_name = "DIR", default_value = "catalog")]
    dir: PathBuf,
    /// A table to write rules for, as SQL names it: tickets, shop.products, '"Mixed Case"'. Several with commas, or by
    /// repeating the option
    #[arg(long = "table", value_name = "TABLE", value_delimiter = ',')]
    tables: Vec<String>,
    /// Copy the built-in catalog
    #[arg(long, conflicts_with = "tables")]
    built_in: bool,
}

/// A file to be written: its name in the directory, and its text.
type File = (String, String);

impl Init {
    pub async fn run(self, url: Option<DatabaseUrl>) -> Result<(), Error> {
        let files: Vec<File> = if self.built_in {
            Catalog::built_in_files().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
        } else if self.tables.is_empty() {
            vec![("rooms.toml".to_owned(), ROOMS.to_owned()), ("rules.toml".to_owned(), EXAMPLE.to_owned())]
        } else {
            let url = url.ok_or_else(|| {
                Error::Configuration(format!(
                    "--table writes rules with the table's columns, so it needs the database: {NO_DATABASE}"
                ))
            })?;
            for_tables(&url, &self.tables).await?
        };
        write(&self.dir, &files)?;
        let dir = self.dir.display();
        if !self.tables.is_empty() {
            say!("In {dir}/rooms.toml everybody who is signed in may hear of every row: narrow it.");
        }
        say!();
        if self.tables.is_empty() && !self.built_in {
            say!("Edit the files; then, for each table that has rules:");
            say!("rowcast watch TABLE");
        }
        self.tables.iter().for_each(|table| say!("rowcast watch {}", shell(table)));
        say!("rowcast catalog show --catalog {dir}");
        say!("rowcast serve --auth insecure --catalog {dir}");
        Ok(())
    }
}

/// All of the files, or none if one of them is there already.
fn write(dir: &Path, files: &[File]) -> Result<(), Error> {
    let failed =
        |path: &Path, error: std::io::Error| Error::Configuration(format!("cannot write {}: {error}", path.display()));
    let exist: Vec<String> = files
        .iter()
        .map(|(name, _)| dir.join(name))
        .filter(|path| path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if !exist.is_empty() {
        let (verb, them) = if exist.len() == 1 { ("is", "it") } else { ("are", "them") };
        return Err(Error::Configuration(format!(
            "{} {verb} there already, and nothing was written: move {them} away, or name another directory",
            exist.join(", ")
        )));
    }
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    for (name, text) in files {
        let path = dir.join(name);
        let new = fs::File::options().write(true).create_new(true).open(&path);
        new.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| failed(&path, error))?;
        say!("wrote  {}", path.display());
    }
    Ok(())
}

fn shell(word: &str) -> String {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

const ROOMS: &str = r#"# The rooms, and who may join them. Nobody may join a room that is not declared here, nor one without `join`.
#
# `auth` is who is asking: auth.user_id (null for a visitor), auth.roles, auth.stores, auth.admin. The room's parameter is
# a variable of its own name. `own` gives the rooms that the server joins on connect: parameters, or true for a room
# without one.

[[room]]
room = "user:{id}"
about = "One user, on every device."
join = "id == auth.user_id"
own = "auth.user_id"
"#;

const EXAMPLE: &str = r#"# Which change becomes which event, for whom, with which data. Every key is described in catalog/README.md of rowcast.
#
# This rule is an example: the table `tasks`, with the columns id, title, done and owner_id. Put your own in its place.

[[rule]]
event = "task:done"                      # what clients hear: socket.on('task:done', …)
about = "Somebody ticks off a task."     # for people
table = "tasks"                          # or "schema.table"; it must be watched: rowcast watch tasks
on = ["update"]                          # insert, update, delete, truncate
changed = ["done"]                       # of an update, one of these columns must have changed
when = "becomes(old.done, new.done, true)"   # and this must be true; leave it out where every change counts
subject = ["taskId"]                     # keys of the data that stand at the top of the event too

[rule.data]                              # what the event carries: each key with an expression
taskId = "row.id"
title = "row.title"

[[rule.to]]                              # who hears it: a room, with expressions in braces
rooms = ["user:{row.owner_id}"]
"#;

/// A table as the database has it.
struct Table {
    schema: String,
    name: String,
    /// In the table's order; what capture leaves out is not among them.
    columns: Vec<String>,
    key: Vec<String>,
}

async fn for_tables(url: &DatabaseUrl, names: &[String]) -> Result<Vec<File>, Error> {
    let mut connection = PgConnection::connect_with(&url.for_pool()?.application_name("rowcast catalog init")).await?;
    let mut rooms = ROOMS.to_owned();
    let mut files: Vec<File> = Vec::new();
    for name in names {
        let table = describe(&mut connection, name).await?;
        let file = format!("{}.toml", word(&table.name));
        if files.iter().any(|(other, _)| *other == file) {
            return Err(Error::Configuration(format!("two of the tables would be written to {file}: name each once")));
        }
        rooms.push_str(&table_room(&table));
        files.push((file, rules(&table)));
    }
    connection.close().await.ok();
    if files.iter().any(|(name, _)| name == "rooms.toml") {
        return Err(Error::Configuration(
            "the rules of a table `rooms` would be written over the rooms; write them by hand".into(),
        ));
    }
    files.insert(0, ("rooms.toml".to_owned(), rooms));
    Ok(files)
}

async fn describe(connection: &mut PgConnection, name: &str) -> Result<Table, Error> {
    let found: Option<(String, String, i64)> = sqlx::query_as(
        "select n.nspname::text, c.relname::text, c.oid::bigint from pg_catalog.pg_class c
         join pg_catalog.pg_namespace n on n.oid = c.relnamespace
         where c.oid = to_regclass($1) and c.relkind in ('r', 'p')",
    )
    .bind(name)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((schema, table, oid)) = found else {
        return Err(Error::Configuration(format!(
            "there is no table {name}. Write it as in SQL: tickets, shop.products, or with quotes '\"Mixed Case\"'"
        )));
    };
    if schema.contains('.') || table.contains('.') {
        return Err(Error::Configuration(format!("{name}: rules can't be about a table with a dot in its name")));
    }
    let watched: bool = sqlx::query_scalar(
        "select to_regclass('rowcast.watched') is not null and has_schema_privilege('rowcast', 'usage')",
    )
    .fetch_one(&mut *connection)
    .await?;
    let excluded: Vec<String> = match watched {
        false => Vec::new(),
        true => sqlx::query_scalar::<_, Vec<String>>(
            "select excluded::text[] from rowcast.watched where relation::oid::bigint = $1",
        )
        .bind(oid)
        .fetch_optional(&mut *connection)
        .await?
        .unwrap_or_default(),
    };
    let columns: Vec<(String, bool)> = sqlx::query_as(
        "select a.attname::text, coalesce(a.attnum = any (i.indkey), false)
         from pg_catalog.pg_attribute a
         left join pg_catalog.pg_index i on i.indrelid = a.attrelid and i.indisprimary
         where a.attrelid::bigint = $1 and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v' order by a.attnum",
    )
    .bind(oid)
    .fetch_all(&mut *connection)
    .await?;
    let columns: Vec<_> = columns.into_iter().filter(|(column, _)| !excluded.contains(column)).collect();
    let key = columns.iter().filter(|(_, key)| *key).map(|(column, _)| column.clone()).collect();
    Ok(Table { schema, name: table, columns: columns.into_iter().map(|(column, _)| column).collect(), key })
}

/// A room for everybody who looks at the table's rows.
fn table_room(table: &Table) -> String {
    let room = word(&table.name);
    format!(
        r#"
# Everybody who is signed in may hear of every row. Narrow it: "'agent' in auth.roles", "auth.admin"; or send the rows to
# the user whom they concern, with rooms = ["user:{{row.owner_id}}"] in the rules.
[[room]]
room = "{room}"
about = "Whoever looks at {}. A page asks for it: socket.emit('join', {{ room: '{room}' }})"
join = "auth.user_id != null"
"#,
        table.name.replace(['\\', '"'], "_"),
    )
}

/// Three rules: a row is created, updated, deleted.
fn rules(table: &Table) -> String {
    let (secret, open): (Vec<&String>, Vec<&String>) = table.columns.iter().partition(|column| looks_secret(column));
    let noun = singular(&word(&table.name));
    let full = match table.schema.as_str() {
        "public" => table.name.clone(),
        schema => format!("{schema}.{}", table.name),
    };
    let room = word(&table.name);
    let keys: Vec<(String, &String)> = table.key.iter().map(|column| (key_of(&noun, column), column)).collect();
    let subject: Vec<String> = keys.iter().map(|(key, _)| quoted(key)).collect();
    let others = open.iter().filter(|column| !table.key.contains(column)).map(|column| {
        let key = crate::catalog::camel(column);
        let taken = keys.iter().any(|(other, _)| *other == key);
        (if taken { column.to_string() } else { key }, *column)
    });
    let all: Vec<(String, &String)> = keys.iter().cloned().chain(others).collect();
    let pairs = |pairs: &[(String, &String)]| {
        pairs.iter().map(|(key, column)| format!("{} = {}\n", bare(key), quoted(&read(column)))).collect::<String>()
    };

    let mut text = format!(
        "# Rules for the table {}, from the columns that it has. Take out what clients need not know.\n",
        full.escape_debug()
    );
    if !secret.is_empty() {
        let names: Vec<String> = secret.iter().map(|column| column.escape_debug().to_string()).collect();
        _ = writeln!(text, "# Left out, since the names sound secret: {}.", names.join(", "));
    }
    let except = match secret.is_empty() {
        true => quoted("all"),
        false => {
            format!("{{ except = [{}] }}", secret.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", "))
        }
    };
    let gone = if keys.is_empty() { &all } else { &keys };
    for (event, op, data, changes) in [
        ("created", "insert", pairs(&all), None),
        ("updated", "update", pairs(&keys), Some(except)),
        ("deleted", "delete", pairs(gone), None),
    ] {
        _ = write!(
            text,
            "\n[[rule]]\nevent = {}\ntable = {}\non = [\"{op}\"]\n",
            quoted(&format!("{noun}:{event}")),
            quoted(&full),
        );
        if !subject.is_empty() {
            _ = writeln!(text, "subject = [{}]", subject.join(", "));
        }
        if !data.is_empty() {
            _ = write!(text, "\n[rule.data]\n{data}");
        }
        _ = write!(text, "\n[[rule.to]]\nrooms = [{}]\n", quoted(&room));
        if let Some(changes) = changes {
            _ = writeln!(
                text,
                "changes = {changes}                          # the new values of the columns that changed"
            );
        }
    }
    text
}

/// Whether a column's name sounds like what must not leave the database.
fn looks_secret(column: &str) -> bool {
    const SECRET: [&str; 9] =
        ["password", "passwd", "secret", "token", "hash", "salt", "api_key", "apikey", "private_key"];
    let column = column.to_ascii_lowercase();
    SECRET.iter().any(|word| column.contains(word))
}

/// `ticketId` for the key `id` of `ticket`; another key column under its own name.
fn key_of(noun: &str, column: &str) -> String {
    match column {
        "id" => format!("{}Id", crate::catalog::camel(noun)),
        other => crate::catalog::camel(other),
    }
}

/// A name that rooms and files can have.
fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// `ticket` of `tickets`, `category` of `categories`; whatever else stays as it is.
fn singular(name: &str) -> String {
    if let Some(stem) = name.strip_suffix("ies") {
        return format!("{stem}y");
    }
    if let Some(stem) =
        ["sses", "xes", "ches", "shes"].iter().find_map(|end| name.strip_suffix(end).map(|_| &name[..name.len() - 2]))
    {
        return stem.to_owned();
    }
    match name.strip_suffix('s') {
        Some(stem) if !stem.is_empty() && !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => name.to_owned(),
    }
}

/// The expression that reads a column.
fn read(column: &str) -> String {
    // Words that CEL keeps for itself.
    const TAKEN: [&str; 20] = [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
    ];
    let name = !column.starts_with(|first: char| first.is_ascii_digit())
        && column.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match name && !TAKEN.contains(&column) && column != "while" {
        true => format!("row.{column}"),
        false => format!("row[{}]", serde_json::Value::from(column)),
    }
}

fn bare(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { quoted(key) }
}

/// A basic string of TOML, on one line: that is one of JSON, but for one character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_name_gives_its_events_a_noun() {
        for (table, noun) in [
            ("tickets", "ticket"),
            ("categories", "category"),
            ("addresses", "address"),
            ("boxes", "box"),
            ("status", "status"),
            ("news_items", "news_item"),
            ("press", "press"),
            ("sheep", "sheep"),
        ] {
            assert_eq!(singular(table), noun);
        }
    }

    #[test]
    fn what_is_written_loads_whatever_the_columns_are_called() {
        let names = ["id", "in", "Mixed Case", "a\"b'c\\d", "1st", "ticket_id", "password_hash", "über", "while"];
        let columns: Vec<String> = names.map(str::to_owned).into();
        let table = |key: &[&str]| Table {
            schema: "public".to_owned(),
            name: "tickets".to_owned(),
            columns: columns.clone(),
            key: key.iter().map(|column| (*column).to_owned()).collect(),
        };
        for key in [&["id"] as &[&str], &["Mixed Case", "in"], &[]] {
            let table = table(key);
            let catalog = Catalog::from_texts(&[
                ("rooms.toml", &format!("{ROOMS}{}", table_room(&table))),
                ("tickets.toml", &rules(&table)),
            ]);
            let catalog = catalog.unwrap_or_else(|faults| panic!("{faults}\n{}", rules(&table)));
            assert_eq!(
                catalog.event_kinds().into_iter().collect::<Vec<_>>(),
                ["ticket:created", "ticket:deleted", "ticket:updated"]
            );
            assert!(!format!("{:?}", catalog.outline().rules[0].to[0].data).contains("password"));
        }
        Catalog::from_texts(&[("rooms.toml", ROOMS), ("rules.toml", EXAMPLE)]).expect("the example");
    }
}
