//! What the client believes, from events alone.

use std::collections::HashMap;

use serde_json::Value;

use super::case::Table;

/// The rows of one table.
pub struct Model {
    columns: usize,
    keys: usize,
    /// By the key's JSON.
    keyed: HashMap<String, Value>,
    /// Of a table without a key.
    loose: Vec<Value>,
}

impl Model {
    pub fn new(table: &Table) -> Self {
        Self { columns: table.columns.len(), keys: table.keys(), keyed: HashMap::new(), loose: Vec::new() }
    }

    /// Does what the event says was done, if that can be: an old row must be the one that is here.
    pub fn apply(&mut self, data: &Value) -> Result<(), String> {
        let side =
            |prefix: char| Value::Array((0..self.columns).map(|n| data[format!("{prefix}{n}")].clone()).collect());
        let (old, new) = (side('o'), side('n'));
        match data["op"].as_str() {
            Some("insert") => self.add(new),
            Some("update") => self.remove(&old).and_then(|()| self.add(new)),
            Some("delete") => self.remove(&old),
            other => Err(format!("the operation {other:?}")),
        }
    }

    fn key(&self, row: &Value) -> String {
        Value::Array(row.as_array().expect("an array")[..self.keys].to_vec()).to_string()
    }

    fn add(&mut self, row: Value) -> Result<(), String> {
        if self.keys == 0 {
            self.loose.push(row);
            return Ok(());
        }
        match self.keyed.insert(self.key(&row), row.clone()) {
            None => Ok(()),
            Some(there) => Err(format!("{row} comes, and {there} is there already")),
        }
    }

    fn remove(&mut self, row: &Value) -> Result<(), String> {
        if self.keys == 0 {
            let place = self.loose.iter().position(|there| there == row);
            let place = place.ok_or_else(|| format!("{row} changes or goes, and is not there"))?;
            self.loose.swap_remove(place);
            return Ok(());
        }
        match self.keyed.remove(&self.key(row)) {
            Some(there) if there == *row => Ok(()),
            Some(there) => Err(format!("{row} changes or goes, but as last heard of the row is {there}")),
            None => Err(format!("{row} changes or goes, and is not there")),
        }
    }

    /// All rows, in an order of their own.
    pub fn rows(&self) -> Vec<String> {
        let mut rows: Vec<String> = self.keyed.values().chain(&self.loose).map(Value::to_string).collect();
        rows.sort();
        rows
    }
}
