//! A row of the table.

use serde_json::{Value, json};

use super::{
    cast::{CAST, Group, OTHERS_1, OTHERS_3, SELLER_1, SELLER_3, USER_SELLER_1, USER_SELLER_3},
    compare::GENERATED,
};

/// Something that happens, and everything that the cast hears of it.
#[derive(Clone)]
pub struct Row {
    pub name: String,
    /// What is done beforehand.
    pub given: String,
    /// A question to the database that is true before the row may begin; empty for none.
    pub once: &'static str,
    pub acts: Vec<Act>,
    /// What the application sets `rowcast.actor` to.
    pub actor: Option<&'static str>,
    /// The events that the row speaks of, by the beginnings of their names. Of others it says nothing.
    pub speaks_of: &'static [&'static str],
    /// What is heard comes when the clock says so, and is waited for.
    pub awaited: bool,
    /// A question to the database that becomes true when all that the row causes is done; empty for none.
    pub until: &'static str,
    pub heard: Vec<Heard>,
}

#[derive(Debug, Clone)]
pub enum Act {
    /// One statement, which writes one row.
    Write(String),
    /// A member sends a message, which is to succeed or to be refused.
    Send { member: &'static str, message: &'static str, payload: Value, succeeds: bool },
    /// A member's connection ends.
    Leave(&'static str),
    /// A member who left connects again, and joins what it joined.
    Return(&'static str),
}

/// An event, and those who hear it with these data.
#[derive(Clone)]
pub struct Heard {
    pub event: &'static str,
    pub by: Vec<&'static str>,
    pub data: Value,
    pub of: Of,
}

/// The change that an event is of.
#[derive(Clone, Copy)]
pub enum Of {
    /// The row's own statement.
    Statement,
    /// One of a table of rowcast's, which followed.
    Consequence { table: &'static str, op: &'static str },
}

/// The events that follow from a statement at once, and from nothing else.
const OF_WRITES: &[&str] = &["product:", "stock:", "wholesale:", "quotation:", "order:", "cart:"];

/// Nobody hears anything, until the row says otherwise.
pub fn row(name: &str, statement: impl Into<String>) -> Row {
    acts(name, vec![Act::Write(statement.into())]).speaking_of(OF_WRITES)
}

/// The same of what members of the cast do.
pub fn acts(name: &str, acts: Vec<Act>) -> Row {
    Row {
        name: name.to_owned(),
        given: String::new(),
        once: "",
        acts,
        actor: None,
        speaks_of: &[],
        awaited: false,
        until: "",
        heard: Vec::new(),
    }
}

pub fn sends(member: &'static str, message: &'static str, payload: Value) -> Act {
    Act::Send { member, message, payload, succeeds: true }
}

pub fn is_refused(member: &'static str, message: &'static str, payload: Value) -> Act {
    Act::Send { member, message, payload, succeeds: false }
}

impl Row {
    pub fn given(mut self, statements: impl Into<String>) -> Self {
        self.given = statements.into();
        self
    }

    pub fn once(mut self, question: &'static str) -> Self {
        self.once = question;
        self
    }

    pub fn done_by(mut self, actor: &'static str) -> Self {
        self.actor = Some(actor);
        self
    }

    pub fn speaking_of(mut self, events: &'static [&'static str]) -> Self {
        self.speaks_of = events;
        self
    }

    pub fn awaited(mut self) -> Self {
        self.awaited = true;
        self
    }

    pub fn until(mut self, question: &'static str) -> Self {
        self.until = question;
        self
    }

    /// Each member of these groups hears it once.
    pub fn heard(self, event: &'static str, by: &[Group], data: Value) -> Self {
        self.heard_of(event, by, data, Of::Statement)
    }

    /// The same of an event that a change of one of rowcast's own tables makes.
    pub fn heard_of(mut self, event: &'static str, by: &[Group], data: Value, of: Of) -> Self {
        let mut by: Vec<&str> = by.concat();
        by.sort_unstable();
        by.dedup();
        let stranger = by.iter().find(|name| CAST.iter().all(|member| member.name != **name));
        assert!(stranger.is_none(), "{stranger:?} is not in the cast");
        assert!(self.is_about(event), "{}: does not speak of {event}", self.name);
        self.heard.push(Heard { event, by, data, of });
        self
    }

    /// A notification that rowcast writes comes into an inbox. Of a seller's, the others at the store's dashboard hear too,
    /// without the number of what is unread.
    pub fn notified(
        self,
        event: &'static str,
        by: &[Group],
        [title, body]: [&str; 2],
        [kind, id]: [&str; 2],
        unread: u32,
    ) -> Self {
        let data = json!({
            "notificationId": GENERATED, "title": title, "body": body, "subject": { "type": kind, "id": id },
            "unread": unread,
        });
        let of = Of::Consequence { table: "rowcast.notification", op: "INSERT" };
        let mut without = data.clone();
        without.as_object_mut().expect("an object").remove("unread");
        let (mut owners, mut others) = (Vec::new(), Vec::new());
        for group in by {
            match *group {
                store if store == SELLER_1 => {
                    owners.push(USER_SELLER_1);
                    others.push(OTHERS_1);
                }
                store if store == SELLER_3 => {
                    owners.push(USER_SELLER_3);
                    others.push(OTHERS_3);
                }
                users => owners.push(users),
            }
        }
        let row = self.heard_of(event, &owners, data, of);
        if others.is_empty() { row } else { row.heard_of(event, &others, without, of) }
    }

    pub fn is_about(&self, event: &str) -> bool {
        self.speaks_of.iter().any(|beginning| event.starts_with(beginning))
    }

    /// How many events this member hears.
    pub fn heard_by(&self, member: &str) -> usize {
        self.heard.iter().filter(|heard| heard.by.contains(&member)).count()
    }

    /// The statement, or what the cast does.
    pub fn story(&self) -> String {
        let acts = self.acts.iter().map(|act| match act {
            Act::Write(statement) => statement.clone(),
            other => format!("{other:?}"),
        });
        acts.collect::<Vec<_>>().join("\n  ")
    }

    /// The table and the operation, as the statement names them.
    pub fn change(&self) -> (&str, &'static str) {
        let Some(Act::Write(statement)) = self.acts.first() else { panic!("{}: writes nothing", self.name) };
        let words: Vec<&str> = statement.split_whitespace().take(3).collect();
        match words[..] {
            ["insert", "into", table] => (table, "INSERT"),
            ["update", table, _] => (table, "UPDATE"),
            ["delete", "from", table] => (table, "DELETE"),
            _ => panic!("expected insert into, update or delete from, found {statement}"),
        }
    }
}
