//! What a case is made of: tables, and steps on several connections.

use std::fmt;

use proptest::{collection::vec, prelude::*};
use serde_json::json;

/// How many connections write.
pub const CONNECTIONS: usize = 4;

/// Names that need quoting, in SQL, TOML or CEL. A number makes each unique.
const NAMES: [&str; 9] =
    ["plain", "Upper Case", "select", "quo\"te", "it's", "back\\slash", "dot.ted", "日本", "{row.x} $1 %s"];

/// Text that needs care on its way.
const TEXTS: [&str; 6] =
    ["plain", "", "null", "it's \"quoted\" \\ back", "line\nbreak\t\u{1}", "Łódź 日本 👩‍👩‍👧 \u{2028}"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    BigInt,
    Text,
    Numeric,
    Uuid,
    Date,
    Timestamp,
    Boolean,
    Double,
    Json,
    Texts,
    Numerics,
    Bytes,
    Mood,
}

impl Kind {
    /// The first six can be keys.
    const KEYS: [Self; 6] = [Self::Integer, Self::BigInt, Self::Text, Self::Numeric, Self::Uuid, Self::Date];
    const ALL: [Self; 14] = [
        Self::Integer,
        Self::BigInt,
        Self::Text,
        Self::Numeric,
        Self::Uuid,
        Self::Date,
        Self::Timestamp,
        Self::Boolean,
        Self::Double,
        Self::Json,
        Self::Texts,
        Self::Numerics,
        Self::Bytes,
        Self::Mood,
    ];

    fn sql(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Text => "text",
            Self::Numeric => "numeric",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Timestamp => "timestamptz",
            Self::Boolean => "boolean",
            Self::Double => "double precision",
            Self::Json => "jsonb",
            Self::Texts => "text[]",
            Self::Numerics => "numeric[]",
            Self::Bytes => "bytea",
            Self::Mood => "mood",
        }
    }

    /// A value as SQL; the same number gives the same value, and different ones mostly give others.
    fn value(self, number: u16) -> String {
        let n = i64::from(number);
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match self {
            Self::Integer => (n - 3).to_string(),
            Self::BigInt => (9_007_199_254_740_993 + n).to_string(),
            Self::Text => quoted(&format!("{}{}", TEXTS[usize::from(number) % TEXTS.len()], n / 6)),
            Self::Numeric => format!("{}.{:02}0", n * 7 - 20, n % 100),
            Self::Uuid => format!("md5('{n}')::uuid"),
            Self::Date => format!("date '2026-01-01' + {n}"),
            Self::Timestamp => format!("timestamptz '2026-01-01 12:00:00+05:30' + {n} * interval '1.001001 s'"),
            Self::Boolean => (n % 2 == 0).to_string(),
            Self::Double => format!("{n} / 7.0::float8"),
            Self::Json => quoted(
                &json!({ "n": n, "text": TEXTS[2 + usize::from(number) % 3], "list": [1.5, null, {}] }).to_string(),
            ),
            Self::Texts => format!("array[{}, null, '{n}']", quoted(TEXTS[usize::from(number) % TEXTS.len()])),
            Self::Numerics => format!("array[{n}.50, null]::numeric[]"),
            Self::Bytes => format!("decode(md5('{n}'), 'hex')"),
            Self::Mood => if number.is_multiple_of(2) { "'sad'" } else { "'very happy'" }.to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    One,
    Two,
    /// No primary key: rows may be there twice.
    None,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    pub columns: Vec<(String, Kind)>,
    pub key: Key,
    /// Captured by statement, else by row.
    pub by_statement: bool,
}

pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Table {
    pub fn sql_name(&self) -> String {
        quote(&self.name)
    }

    /// How many columns the key has.
    pub fn keys(&self) -> usize {
        match self.key {
            Key::One => 1,
            Key::Two => 2,
            Key::None => 0,
        }
    }

    pub fn ddl(&self) -> String {
        let columns = self.columns.iter().map(|(name, kind)| format!("{} {}", quote(name), kind.sql()));
        let mut parts: Vec<String> = columns.collect();
        if self.keys() > 0 {
            let key: Vec<String> = self.columns[..self.keys()].iter().map(|(name, _)| quote(name)).collect();
            parts.push(format!("primary key ({})", key.join(", ")));
        }
        format!("create table {} ({})", self.sql_name(), parts.join(", "))
    }

    /// The rule that carries whole rows, old and new, to the table's room.
    pub fn rule(&self, number: usize) -> String {
        let field = |side: &str, name: &str| {
            json!(format!("{side}['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))).to_string()
        };
        let sides = self.columns.iter().enumerate().flat_map(|(column, (name, _))| {
            [format!("o{column} = {}\n", field("old", name)), format!("n{column} = {}\n", field("new", name))]
        });
        format!(
            "[[rule]]\nevent = \"t{number}:changed\"\ntable = {}\non = [\"insert\", \"update\", \"delete\"]\n\
             to = [{{ rooms = [\"oracle:t{number}\"] }}]\n[rule.data]\nop = \"op\"\n{}\n",
            json!(format!("public.{}", self.name)),
            sides.collect::<String>()
        )
    }

    /// Each row as a JSON array, its values as frontends get them.
    pub fn rows_sql(&self) -> String {
        let values = self.columns.iter().map(|(name, kind)| {
            let name = quote(name);
            match kind {
                Kind::Numeric => format!("{name}::text"),
                Kind::Numerics => format!("{name}::text[]"),
                Kind::Timestamp => format!(
                    "to_char({name} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.' ||
                     case when extract(microseconds from {name})::bigint % 1000 = 0 then 'MS' else 'US' end || '\"Z\"')"
                ),
                _ => name,
            }
        });
        format!("select json_build_array({})::text from {}", values.collect::<Vec<_>>().join(", "), self.sql_name())
    }

    fn column(&self, number: u16) -> usize {
        usize::from(number) % self.columns.len()
    }

    fn values(&self, key: u16, seed: u16) -> Vec<String> {
        self.columns
            .iter()
            .enumerate()
            .map(|(column, (_, kind))| {
                let number = seed.wrapping_mul(31).wrapping_add(column as u16 * 7) % 997;
                match column {
                    0 if self.key != Key::None => kind.value(key),
                    1 if self.key == Key::Two => kind.value(key / 2),
                    _ if number.is_multiple_of(5) => "null".to_owned(),
                    _ => kind.value(number),
                }
            })
            .collect()
    }

    /// That the row is the one of this key; of a table without one, that its first value is one of some.
    fn is(&self, key: u16) -> String {
        let (first, kind) = (quote(&self.columns[0].0), self.columns[0].1);
        match self.key {
            Key::One | Key::Two => format!("{first} = {}", kind.value(key)),
            Key::None => format!("hashtext({first}::text) % 4 = {}", key % 4),
        }
    }

    pub fn statement(&self, write: Write) -> String {
        let name = self.sql_name();
        let set = |column: usize, seed: u16| {
            let (column, kind) = &self.columns[column];
            format!(
                "{} = {}",
                quote(column),
                if seed.is_multiple_of(7) { "null".into() } else { kind.value(seed % 50) }
            )
        };
        match write {
            Write::Insert { key, seed } => format!("insert into {name} values ({})", self.values(key, seed).join(", ")),
            Write::Upsert { key, seed } => {
                let columns: Vec<String> =
                    self.columns.iter().map(|(name, _)| format!("{0} = excluded.{0}", quote(name))).collect();
                let keys: Vec<String> = self.columns[..self.keys()].iter().map(|(name, _)| quote(name)).collect();
                let conflict = match self.key {
                    Key::None => "on conflict do nothing".to_owned(),
                    _ => format!("on conflict ({}) do update set {}", keys.join(", "), columns.join(", ")),
                };
                format!("insert into {name} values ({}) {conflict}", self.values(key, seed).join(", "))
            }
            Write::InsertMany { rows, seed } => {
                let rows = (0..rows).map(|n| format!("({})", self.values(n + 2, seed + n).join(", ")));
                format!("insert into {name} values {} on conflict do nothing", rows.collect::<Vec<_>>().join(", "))
            }
            Write::Update { key, seed } => {
                format!(
                    "update {name} set {} where {}",
                    set(self.column(seed).max(self.keys()).min(self.columns.len() - 1), seed),
                    self.is(key)
                )
            }
            Write::UpdateKey { key, to } => {
                let (first, kind) = &self.columns[0];
                format!("update {name} set {} = {} where {}", quote(first), kind.value(to), self.is(key))
            }
            Write::UpdateAll { seed } => {
                format!("update {name} set {}", set(self.columns.len() - 1, seed))
            }
            Write::Delete { key } => format!("delete from {name} where {}", self.is(key)),
            Write::DeleteAll => format!("delete from {name}"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Write {
    Insert {
        key: u16,
        seed: u16,
    },
    Upsert {
        key: u16,
        seed: u16,
    },
    /// Of so many rows that a statement on all of them is a large one, or of few.
    InsertMany {
        rows: u16,
        seed: u16,
    },
    Update {
        key: u16,
        seed: u16,
    },
    UpdateKey {
        key: u16,
        to: u16,
    },
    UpdateAll {
        seed: u16,
    },
    Delete {
        key: u16,
    },
    DeleteAll,
}

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Write {
        connection: usize,
        table: u16,
        write: Write,
    },
    Begin {
        connection: usize,
    },
    Savepoint {
        connection: usize,
    },
    RollbackTo {
        connection: usize,
    },
    Commit {
        connection: usize,
    },
    Rollback {
        connection: usize,
    },
    /// The client's connection is lost; of what had arrived it has read all, or nothing.
    Leave {
        having_read: bool,
    },
    /// It comes back with its position.
    Return,
    /// The service's connections are terminated.
    Terminate,
    /// The service stops and another one starts.
    Restart,
}

#[derive(Clone)]
pub struct Case {
    pub tables: Vec<Table>,
    pub steps: Vec<Step>,
    /// The order in which the transactions that are open in the end are ended, and how.
    pub endings: Vec<(usize, bool)>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the smallest case that fails:")?;
        for table in &self.tables {
            writeln!(f, "    {} -- by {}", table.ddl(), if table.by_statement { "statement" } else { "row" })?;
        }
        for step in &self.steps {
            match step {
                Step::Write { connection, table, write } => {
                    let table = &self.tables[usize::from(*table) % self.tables.len()];
                    writeln!(f, "    {connection}: {}", table.statement(*write))?;
                }
                other => writeln!(f, "    {other:?}")?,
            }
        }
        write!(f, "    at the end: {:?} (connection, commit)", self.endings)
    }
}

fn tables() -> impl Strategy<Value = Vec<Table>> {
    let column = (prop::sample::select(&NAMES[..]), prop::sample::select(&Kind::ALL[..]));
    let keys = vec(prop::sample::select(&Kind::KEYS[..]), 2);
    let key = prop_oneof![4 => Just(Key::One), 2 => Just(Key::Two), 1 => Just(Key::None)];
    let table = (prop::sample::select(&NAMES[..]), vec(column, 3..=6), keys, key, any::<bool>()).prop_map(
        |(name, mut columns, keys, key, by_statement)| {
            columns.iter_mut().zip(keys).for_each(|(column, kind)| column.1 = kind);
            let numbered = columns.into_iter().enumerate();
            let columns = numbered.map(|(number, (name, kind))| (format!("{name} {number}"), kind)).collect();
            Table { name: name.to_owned(), columns, key, by_statement }
        },
    );
    vec(table, 1..=3).prop_map(|mut tables| {
        for (number, table) in tables.iter_mut().enumerate() {
            table.name = format!("{} {number}", table.name).replace('.', ",");
        }
        tables
    })
}

fn write() -> impl Strategy<Value = Write> {
    let (key, seed) = (|| 1..6_u16, || 0..1000_u16);
    prop_oneof![
        6 => (key(), seed()).prop_map(|(key, seed)| Write::Insert { key, seed }),
        4 => (key(), seed()).prop_map(|(key, seed)| Write::Upsert { key, seed }),
        2 => (prop::sample::select(&[6, 80][..]), seed()).prop_map(|(rows, seed)| Write::InsertMany { rows, seed }),
        10 => (key(), seed()).prop_map(|(key, seed)| Write::Update { key, seed }),
        2 => (key(), key()).prop_map(|(key, to)| Write::UpdateKey { key, to }),
        2 => seed().prop_map(|seed| Write::UpdateAll { seed }),
        3 => key().prop_map(|key| Write::Delete { key }),
        1 => Just(Write::DeleteAll),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let connection = || 0..CONNECTIONS;
    prop_oneof![
        60 => (connection(), any::<u16>(), write())
            .prop_map(|(connection, table, write)| Step::Write { connection, table, write }),
        14 => connection().prop_map(|connection| Step::Begin { connection }),
        4 => connection().prop_map(|connection| Step::Savepoint { connection }),
        3 => connection().prop_map(|connection| Step::RollbackTo { connection }),
        10 => connection().prop_map(|connection| Step::Commit { connection }),
        3 => connection().prop_map(|connection| Step::Rollback { connection }),
        5 => any::<bool>().prop_map(|having_read| Step::Leave { having_read }),
        6 => Just(Step::Return),
        1 => Just(Step::Terminate),
        1 => Just(Step::Restart),
    ]
}

pub fn cases() -> impl Strategy<Value = Case> {
    let endings = Just((0..CONNECTIONS).collect::<Vec<_>>()).prop_shuffle();
    (tables(), vec(step(), 10..120), endings, vec(prop::bool::weighted(0.8), CONNECTIONS)).prop_map(
        |(tables, steps, order, commits)| Case { tables, steps, endings: order.into_iter().zip(commits).collect() },
    )
}
