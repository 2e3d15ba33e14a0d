//! The tables that rules may name besides those of the application: what each schedule returns, and what the gateway knows.

use std::{collections::BTreeMap, sync::Arc};

use sqlx::PgPool;

use super::{
    query::{Patience, Prepared},
    schedule::Schedule,
};
use crate::change::{Column, Kind, OWN_SCHEMA, TableName};

/// A row for each user who is online: it is inserted when the first connection of a signed-in user opens, and deleted a
/// moment after the last has closed.
pub const ONLINE: (&str, &[(&str, &str)]) = ("online", &[("user_id", "text")]);

/// A row for each room with a parameter that somebody is in: `kind` and `id` are the parts of its name, `people` how many
/// are in it, `visits` how often somebody came since the row is there. Seen every few seconds.
pub const ROOM: (&str, &[(&str, &str)]) =
    ("room", &[("room", "text"), ("kind", "text"), ("id", "text"), ("people", "integer"), ("visits", "bigint")]);

/// Whether the table is one of the gateway's.
pub fn is_of_gateway(table: &TableName) -> bool {
    &*table.schema == OWN_SCHEMA && [ONLINE.0, ROOM.0].contains(&&*table.name)
}

/// The columns of a table, by name.
pub type Columns = Arc<BTreeMap<Box<str>, Column>>;

/// Each with its columns, `None` where they aren't known, or why it can't be had.
#[derive(Debug)]
pub struct OwnTables(BTreeMap<TableName, Result<Option<Columns>, String>>);

impl OwnTables {
    /// Asks the database what the schedules return.
    pub async fn survey(schedules: &[Schedule], pool: &PgPool, patience: &mut Patience) -> Self {
        let mut tables = Self::of_gateway();
        for schedule in schedules {
            let columns = match patience.prepare(&schedule.query, pool).await {
                Prepared::Runnable(runnable) => Ok(Some(runnable.columns)),
                Prepared::Refused(reason) => Err(format!("the schedule {:?} can't be run: {reason}", schedule.name)),
                Prepared::Unknown => Ok(None),
            };
            tables.0.insert(schedule.table(), columns);
        }
        tables
    }

    /// Without asking: of the schedules' rows nothing is known.
    pub fn unseen(schedules: &[Schedule]) -> Self {
        let mut tables = Self::of_gateway();
        tables.0.extend(schedules.iter().map(|schedule| (schedule.table(), Ok(None))));
        tables
    }

    fn of_gateway() -> Self {
        let tables = [ONLINE, ROOM].map(|(name, columns)| {
            let columns = columns.iter().map(|(name, sql_type)| {
                let column = Column {
                    kind: Kind::Plain,
                    nullable: false,
                    sql_type: (*sql_type).to_owned(),
                    ..Column::default()
                };
                ((*name).into(), column)
            });
            (TableName::new(OWN_SCHEMA, name), Ok(Some(Arc::new(columns.collect()))))
        });
        Self(tables.into_iter().collect())
    }

    /// `Ok(None)` if it is none of these tables; `Ok(Some(None))` if its columns aren't known.
    ///
    /// # Errors
    ///
    /// Why it can't be had.
    pub fn columns(&self, table: &TableName) -> Result<Option<Option<&Columns>>, String> {
        match self.0.get(table) {
            None => Ok(None),
            Some(Ok(columns)) => Ok(Some(columns.as_ref())),
            Some(Err(reason)) => Err(reason.clone()),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&TableName, Option<&Columns>)> {
        self.0.iter().map(|(name, columns)| (name, columns.as_ref().ok().and_then(Option::as_ref)))
    }
}
