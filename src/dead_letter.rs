//! The dead letter, `rowcast.dead_letter`: changes that a rule failed on, with the reason. A letter that is to be tried again
//! says so in its row; that is captured, and comes to the rule by the one way that all changes come.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::{FromRow, PgPool, Row as _, postgres::PgRow};

use crate::{
    change::{Change, OWN_SCHEMA, Op, Row, Tables},
    pool, written,
};

/// The newest letters of one rule that are kept: a rule that fails on every change must not fill the disk.
pub const MOST_OF_A_RULE: i64 = 10_000;
/// After so many it is looked whether a rule has too many.
const TIDY_AFTER: u64 = 1_000;

const TABLE: &str = "dead_letter";

const BURY: &str = "
insert into rowcast.dead_letter as letter (change_id, rule, error, change)
select change_id, rule, error, change::jsonb
from unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) as failure (change_id, rule, error, change)
on conflict (change_id, rule) do update
set error = excluded.error, at = now(), attempts = letter.attempts + 1, asked_at = null";

const LIST: &str = "
select id, change_id, rule, error, change, at, attempts, asked_at is not null as waits
from rowcast.dead_letter
where ($1::bigint[] is null or id = any ($1)) and ($2::text is null or rule = $2)
order by id desc limit $3";

const ASK: &str = "
update rowcast.dead_letter set asked_at = clock_timestamp()
where ($1::bigint[] is null or id = any ($1)) and ($2::text is null or rule = $2)
returning id";

const DROP: &str = "
delete from rowcast.dead_letter
where ($1::bigint[] is null or id = any ($1)) and ($2::text is null or rule = $2)
returning id";

/// What a rule has too many of; $1 is how many it may have.
const TIDY: &str = "
delete from rowcast.dead_letter where id in (
  select id from (
    select id, row_number() over (partition by rule order by id desc) as place from rowcast.dead_letter
  ) as ranked where place > $1)";

/// A rule that failed on a change.
#[derive(Debug, Clone, Copy)]
pub struct Grave<'a> {
    pub change: &'a Change,
    pub rule: &'a str,
    pub error: &'a str,
}

/// A letter as it lies there.
#[derive(Debug, Clone)]
pub struct Letter {
    pub id: i64,
    pub change_id: i64,
    pub rule: String,
    pub error: String,
    /// As [`written::write`] has it.
    pub change: Value,
    pub at: DateTime<Utc>,
    /// How often the rule has failed on it.
    pub attempts: i32,
    /// It is to be tried again, and has not been yet.
    pub waits: bool,
}

impl FromRow<'_, PgRow> for Letter {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            change_id: row.try_get("change_id")?,
            rule: row.try_get("rule")?,
            error: row.try_get("error")?,
            change: row.try_get("change")?,
            at: row.try_get("at")?,
            attempts: row.try_get("attempts")?,
            waits: row.try_get("waits")?,
        })
    }
}

/// Which letters are meant.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// All, or these.
    pub ids: Option<Vec<i64>>,
    /// Of one rule.
    pub rule: Option<String>,
}

/// A change that is to be tried on a rule again.
#[derive(Debug, Clone)]
pub struct Again {
    pub letter: i64,
    pub change_id: i64,
    pub rule: Arc<str>,
    /// Or why it can't be.
    pub change: Result<Change, String>,
}

/// If the change says that a letter is to be tried again, that.
pub fn again(change: &Change, tables: &Tables) -> Option<Again> {
    if change.op != Op::Update || &*change.table.schema != OWN_SCHEMA || &*change.table.name != TABLE {
        return None;
    }
    let row = change.new.as_ref()?;
    let letter = value(row, "id")?.as_i64()?;
    let change_id = value(row, "change_id")?.as_i64()?;
    let rule = value(row, "rule")?.as_str()?.into();
    let text = row.get("change")?.get();
    let read = written::read(text, Some(tables)).and_then(|change| match change.id {
        0 => Err("its change could not be kept whole".to_owned()),
        _ => Ok(change),
    });
    Some(Again { letter, change_id, rule, change: read.map_err(|error| format!("it can't be tried again: {error}")) })
}

fn value(row: &Row, column: &str) -> Option<Value> {
    serde_json::from_str(row.get(column)?.get()).ok()
}

/// The table.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    pool: PgPool,
    /// Since it was last looked whether a rule has too many.
    buried: Arc<AtomicU64>,
}

impl DeadLetters {
    pub fn new(pool: PgPool) -> Self {
        Self { pool, buried: Arc::default() }
    }

    /// Keeps changes with the reasons why a rule failed on them. What can't be kept whole, such as text that jsonb can't
    /// hold, is kept by its id alone.
    ///
    /// # Errors
    ///
    /// If the database doesn't answer: they are to be buried again.
    pub async fn bury(&self, graves: &[Grave<'_>]) -> Result<(), sqlx::Error> {
        // One statement can't write a row twice.
        let mut distinct: HashMap<(i64, &str), &Grave<'_>> = HashMap::new();
        for grave in graves {
            distinct.insert((grave.change.id, grave.rule), grave);
        }
        let graves: Vec<&Grave<'_>> = distinct.into_values().collect();
        if self.buried.fetch_add(graves.len() as u64, Ordering::Relaxed) > TIDY_AFTER {
            self.buried.store(0, Ordering::Relaxed);
            self.tidy().await?;
        }
        match self.write(&graves, written::write).await {
            Err(error) if error.as_database_error().is_some() => {}
            written => return written,
        }
        for grave in graves {
            match self.write(&[grave], written::write).await {
                Err(error) if error.as_database_error().is_some() => {
                    let stub =
                        |change: &Change| json!({ "id": change.id, "table": change.table.to_string() }).to_string();
                    self.write(&[grave], stub).await?;
                }
                written => written?,
            }
        }
        Ok(())
    }

    async fn write(&self, graves: &[&Grave<'_>], form: impl Fn(&Change) -> String) -> Result<(), sqlx::Error> {
        let ids: Vec<i64> = graves.iter().map(|grave| grave.change.id).collect();
        let rules: Vec<&str> = graves.iter().map(|grave| grave.rule).collect();
        // Postgres keeps no zero byte in a text, and would refuse the letter for ever.
        let errors: Vec<String> = graves.iter().map(|grave| grave.error.replace('\0', "")).collect();
        let changes: Vec<String> = graves.iter().map(|grave| form(grave.change)).collect();
        let written = sqlx::query(BURY).bind(ids).bind(rules).bind(errors).bind(changes).execute(&self.pool);
        pool::in_time(written).await.map(drop)
    }

    /// The newest first.
    pub async fn list(&self, which: &Which, most: i64) -> Result<Vec<Letter>, sqlx::Error> {
        let letters = sqlx::query_as(LIST).bind(&which.ids).bind(&which.rule).bind(most);
        pool::in_time(letters.fetch_all(&self.pool)).await
    }

    pub async fn count(&self, which: &Which) -> Result<i64, sqlx::Error> {
        let sql = "select count(*) from rowcast.dead_letter
                   where ($1::bigint[] is null or id = any ($1)) and ($2::text is null or rule = $2)";
        pool::in_time(sqlx::query_scalar(sql).bind(&which.ids).bind(&which.rule).fetch_one(&self.pool)).await
    }

    /// Has these tried again by the service, and gives their ids.
    pub async fn ask_again(&self, which: &Which) -> Result<Vec<i64>, sqlx::Error> {
        pool::in_time(sqlx::query_scalar(ASK).bind(&which.ids).bind(&which.rule).fetch_all(&self.pool)).await
    }

    /// Forgets these, and gives their ids.
    pub async fn drop(&self, which: &Which) -> Result<Vec<i64>, sqlx::Error> {
        pool::in_time(sqlx::query_scalar(DROP).bind(&which.ids).bind(&which.rule).fetch_all(&self.pool)).await
    }

    /// This one can't be tried again, and why.
    pub async fn refuse(&self, letter: i64, reason: &str) -> Result<(), sqlx::Error> {
        let sql = "update rowcast.dead_letter set asked_at = null, attempts = attempts + 1, error = $2 where id = $1";
        pool::in_time(sqlx::query(sql).bind(letter).bind(reason).execute(&self.pool)).await.map(drop)
    }

    /// These were tried again, and did no harm this time.
    pub async fn told(&self, letters: &[i64]) -> Result<(), sqlx::Error> {
        self.drop(&Which { ids: Some(letters.to_vec()), rule: None }).await.map(drop)
    }

    async fn tidy(&self) -> Result<(), sqlx::Error> {
        let surplus = pool::in_time(sqlx::query(TIDY).bind(MOST_OF_A_RULE).execute(&self.pool)).await?.rows_affected();
        if surplus > 0 {
            tracing::warn!(
                surplus,
                "rowcast.dead_letter keeps the newest {MOST_OF_A_RULE} of a rule; older ones were dropped"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn asked(change: &str) -> Option<Again> {
        let row =
            format!(r#"{{"id": 7, "change_id": 3, "rule": "product:created", "error": "…", "change": {change}}}"#);
        let text = format!(r#"{{"table": "rowcast.dead_letter", "op": "update", "old": {row}, "new": {row}}}"#);
        again(&written::read(&text, None).unwrap(), &Tables::default())
    }

    #[test]
    fn a_letter_that_is_tried_again_is_the_change_that_was_buried() {
        let row = |json: &str| wire::row(json, |_| Some(crate::change::Kind::Plain)).unwrap();
        let buried = Change {
            id: 3,
            xid: 9,
            at: "2026-01-31T12:00:00Z".parse().unwrap(),
            table: crate::change::TableName::new("public", "products"),
            op: Op::Update,
            old: Some(row(r#"{"id":"p1","price":"1.50"}"#)),
            new: Some(row(r#"{"id":"p1","price":"2.50"}"#)),
            actor: Some("u1".to_owned()),
        };
        let again = asked(&written::write(&buried)).unwrap();
        assert_eq!((again.letter, &*again.rule), (7, "product:created"));
        let change = again.change.unwrap();
        assert_eq!(format!("{change:?}"), format!("{buried:?}"));
    }

    #[test]
    fn values_are_kept_to_the_last_digit() {
        let new = r#"{"big":123456789012345678901234567890,"far":1e400,"small":0.12345678901234567891}"#;
        let buried = Change {
            id: 3,
            xid: 9,
            at: "2026-01-31T12:00:00Z".parse().unwrap(),
            table: crate::change::TableName::new("public", "products"),
            op: Op::Insert,
            old: None,
            new: Some(wire::row(new, |_| Some(crate::change::Kind::Plain)).unwrap()),
            actor: None,
        };
        let again = asked(&written::write(&buried)).unwrap();
        assert_eq!(again.change.unwrap().new.unwrap().to_json(), new);
    }

    #[test]
    fn a_letter_of_which_only_the_id_was_kept_says_so() {
        let again = asked(r#"{"id": 3, "table": "public.products"}"#).unwrap();
        assert!(again.change.unwrap_err().starts_with("it can't be tried again: "));
    }

    #[test]
    fn no_other_change_asks_for_anything() {
        let text = r#"{"table": "products", "op": "update", "old": {"id": 1}, "new": {"id": 1}}"#;
        assert!(again(&written::read(text, None).unwrap(), &Tables::default()).is_none());
    }
}
