//! A row of the table.

use serde_json::Value;

use super::cast::{CAST, Group};

/// A statement, and everything that the cast hears of it.
#[derive(Clone)]
pub struct Row {
    pub name: String,
    /// What is done beforehand.
    pub given: String,
    /// One statement.
    pub statement: String,
    /// What the application sets `rowcast.actor` to.
    pub actor: Option<&'static str>,
    pub heard: Vec<Heard>,
}

/// An event, and those who hear it with these data.
#[derive(Clone)]
pub struct Heard {
    pub event: &'static str,
    pub by: Vec<&'static str>,
    pub data: Value,
}

/// Nobody hears anything, until the row says otherwise.
pub fn row(name: &str, statement: impl Into<String>) -> Row {
    Row { name: name.to_owned(), given: String::new(), statement: statement.into(), actor: None, heard: Vec::new() }
}

impl Row {
    pub fn given(mut self, statements: impl Into<String>) -> Self {
        self.given = statements.into();
        self
    }

    pub fn done_by(mut self, actor: &'static str) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Each member of these groups hears it once.
    pub fn heard(mut self, event: &'static str, by: &[Group], data: Value) -> Self {
        let mut by: Vec<&str> = by.concat();
        by.sort_unstable();
        by.dedup();
        let stranger = by.iter().find(|name| CAST.iter().all(|member| member.name != **name));
        assert!(stranger.is_none(), "{stranger:?} is not in the cast");
        self.heard.push(Heard { event, by, data });
        self
    }

    /// The table and the operation, as the statement names them.
    pub fn change(&self) -> (&str, &'static str) {
        let words: Vec<&str> = self.statement.split_whitespace().take(3).collect();
        match words[..] {
            ["insert", "into", table] => (table, "INSERT"),
            ["update", table, _] => (table, "UPDATE"),
            ["delete", "from", table] => (table, "DELETE"),
            _ => panic!("expected insert into, update or delete from, found {}", self.statement),
        }
    }
}
