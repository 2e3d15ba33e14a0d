//! Reads a catalog file: from TOML to declarations, each value with the line where it stands.
//!
//! Nothing is understood here but the shape: which keys there are and of which type. A file's faults are gathered, not
//! returned one by one.

use std::{sync::Arc, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::fault::{Fault, quoted};

/// A file's name, as faults print it, and its text.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub name: Arc<str>,
    pub text: String,
}

/// A value and the line where it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub line: usize,
    pub value: T,
}

/// Where a declaration stands, for the faults found in it later.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub file: Arc<str>,
    pub line: usize,
    /// `rule "product:low_stock"`
    pub name: Option<String>,
}

impl Place {
    pub fn fault(&self, line: usize, reason: impl Into<String>) -> Fault {
        Fault { file: self.file.clone(), line: Some(line), place: self.name.clone(), reason: reason.into() }
    }
}

/// Names with expressions, in the order in which they are written.
pub(super) type Pairs = Vec<(At<String>, At<String>)>;

#[derive(Debug, Default)]
pub(super) struct Declarations {
    pub settings: Vec<(Place, String, At<toml::Value>)>,
    pub rules: Vec<RuleDeclaration>,
    pub lookups: Vec<LookupDeclaration>,
    pub schedules: Vec<ScheduleDeclaration>,
    pub waiting: Vec<WaitingDeclaration>,
    /// The name of the lookup that says who gets an announcement.
    pub announced_to: Option<(Place, At<String>)>,
    pub rooms: Vec<RoomDeclaration>,
}

#[derive(Debug)]
pub(super) struct RuleDeclaration {
    pub place: Place,
    pub makes: Makes,
    pub name: String,
    pub about: Option<String>,
    pub table: At<String>,
    pub on: Vec<At<String>>,
    pub changed: Option<Vec<At<String>>>,
    pub lets: Pairs,
    pub when: Option<At<String>>,
    pub lookups: Vec<LookupUse>,
    pub per: Option<At<String>>,
    pub subject: Vec<At<String>>,
    pub actor: Option<At<String>>,
    /// The data of every audience that has none of its own.
    pub data: Pairs,
    /// Of keys of the data, the types in TypeScript's notation.
    pub types: Pairs,
    /// Columns that the rule's conditions may tell public rooms of, though no data show them.
    pub reveals: Vec<At<String>>,
    pub to: Vec<AudienceDeclaration>,
}

/// What a rule makes of a change.
#[derive(Debug)]
pub(super) enum Makes {
    /// `event = "product:created"`
    Event(String),
    /// `inbox = "order"`: a notification of this kind for each recipient.
    Notification(String),
}

/// `buyer = { use = "user_by_email", key = "row.buyer_email" }`
#[derive(Debug)]
pub(super) struct LookupUse {
    pub name: At<String>,
    pub lookup: At<String>,
    pub key: At<String>,
    /// Whether who reads it can't do without, if the database refuses it.
    pub needed: bool,
}

#[derive(Debug)]
pub(super) struct AudienceDeclaration {
    pub line: usize,
    pub when: Option<At<String>>,
    pub each: Option<At<String>>,
    pub rooms: Vec<At<String>>,
    pub data: Option<Pairs>,
    pub changes: Option<At<ChangesDeclaration>>,
    /// Of the objects in these columns, the keys that `changes` shows.
    pub keys: Vec<(String, Vec<String>)>,
}

/// Which changed columns an audience hears of.
#[derive(Debug)]
pub(super) enum ChangesDeclaration {
    /// `changes = "all"`
    All,
    /// `changes = ["name", "price"]`
    Columns(Vec<String>),
    /// `changes = { pricing = ["total"], terms = "others", except = ["status"] }`
    Groups { groups: Vec<(String, Option<Vec<String>>)>, except: Vec<String> },
}

#[derive(Debug)]
pub(super) struct LookupDeclaration {
    pub place: Place,
    pub name: String,
    pub returns: At<String>,
    pub cache: Duration,
    /// Tables whose changes, where they are watched, empty the cache.
    pub stale_after: Vec<At<String>>,
    pub sql: Vec<At<String>>,
}

#[derive(Debug)]
pub(super) struct ScheduleDeclaration {
    pub place: Place,
    pub name: String,
    pub about: Option<String>,
    pub every: At<Every>,
    /// Whether each key is told once and never again.
    pub once: bool,
    pub rooms: Option<At<String>>,
    pub sql: Vec<At<String>>,
}

/// How often: `every = "2s"`, or `every = "settings.metrics_interval"`.
#[derive(Debug)]
pub(super) enum Every {
    Fixed(Duration),
    /// What the setting of this name says.
    Setting(String),
}

#[derive(Debug)]
pub(super) struct WaitingDeclaration {
    pub place: Place,
    pub name: String,
    pub about: Option<String>,
    pub room: At<String>,
    pub sql: Vec<At<String>>,
}

#[derive(Debug)]
pub(super) struct RoomDeclaration {
    pub place: Place,
    pub room: At<String>,
    pub join: Option<At<String>>,
    pub own: Option<At<String>>,
    pub message: Option<MessageDeclaration>,
}

#[derive(Debug)]
pub(super) struct MessageDeclaration {
    pub name: At<String>,
    pub key: Option<String>,
}

/// Reads one file; what can't be read is left out of the result and in the faults.
pub(super) fn read(source: &Source, into: &mut Declarations, faults: &mut Vec<Fault>) {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    let mut reader = Reader { source, faults };
    if !errors.is_empty() {
        for error in errors {
            let line = error.span().map(|span| reader.line(span.start));
            let reason = format!("not TOML: {}", error.message().trim());
            reader.faults.push(Fault { file: source.name.clone(), line, place: None, reason });
        }
        return;
    }
    let root = Section { table: document.get_ref(), place: Place { file: source.name.clone(), line: 1, name: None } };
    reader.expect_keys(&root, &["settings", "rule", "lookup", "schedule", "waiting", "announcements", "room"]);
    reader.settings(&root, into);
    for section in reader.sections(&root, "rule", &["name", "event", "inbox"]) {
        into.rules.extend(reader.rule(&section));
    }
    for section in reader.sections(&root, "lookup", &["name"]) {
        into.lookups.extend(reader.lookup(&section));
    }
    for section in reader.sections(&root, "schedule", &["name"]) {
        into.schedules.extend(reader.schedule(&section));
    }
    for section in reader.sections(&root, "waiting", &["name"]) {
        into.waiting.extend(reader.waiting(&section));
    }
    reader.announcements(&root, into);
    for section in reader.sections(&root, "room", &["room"]) {
        into.rooms.extend(reader.room(&section));
    }
}

struct Reader<'a> {
    source: &'a Source,
    faults: &'a mut Vec<Fault>,
}

struct Section<'a> {
    table: &'a DeTable<'a>,
    place: Place,
}

impl Section<'_> {
    fn get(&self, key: &str) -> Option<&Spanned<DeValue<'_>>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }
}

impl<'a> Reader<'a> {
    fn line(&self, offset: usize) -> usize {
        self.source.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn fault(&mut self, section: &Section<'_>, line: usize, reason: impl Into<String>) {
        self.faults.push(section.place.fault(line, reason));
    }

    fn mismatch(&mut self, section: &Section<'_>, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let reason = format!("`{key}` is {}, expected {expected}", article(value.get_ref().type_str()));
        self.fault(section, self.line(value.span().start), reason);
    }

    fn expect_keys(&mut self, section: &Section<'_>, known: &[&str]) {
        for (key, _) in section.table {
            if !known.contains(&key.get_ref().as_ref()) {
                let reason = format!("unknown key {:?}; the keys are {}", key.get_ref(), quoted(known));
                self.fault(section, self.line(key.span().start), reason);
            }
        }
    }

    fn settings(&mut self, root: &Section<'_>, into: &mut Declarations) {
        let Some(value) = root.get("settings") else { return };
        let Some(table) = value.get_ref().as_table() else {
            return self.mismatch(root, "settings", value, "a table");
        };
        for (key, value) in table {
            let line = self.line(value.span().start);
            match plain(value.get_ref()) {
                Some(plain) => {
                    into.settings.push((root.place.clone(), key.get_ref().to_string(), At { line, value: plain }))
                }
                None => self.mismatch(root, key.get_ref(), value, "a string, number, boolean or a list of these"),
            }
        }
    }

    /// `[[rule]]` and its like. A section is called by the first of `names` that it has.
    fn sections<'s>(&mut self, parent: &'s Section<'_>, key: &str, names: &[&str]) -> Vec<Section<'s>> {
        let Some(value) = parent.get(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.mismatch(parent, key, value, &format!("[[{key}]]"));
            return Vec::new();
        };
        let mut sections = Vec::new();
        for value in array.iter() {
            let line = self.line(value.span().start);
            let Some(table) = value.get_ref().as_table() else {
                self.mismatch(parent, key, value, &format!("[[{key}]]"));
                continue;
            };
            let mut section = Section { table, place: Place { line, ..parent.place.clone() } };
            if !names.is_empty() {
                let called = names.iter().find_map(|name| section.get(name)?.get_ref().as_str());
                section.place.name = Some(called.map_or_else(|| key.to_owned(), |name| format!("{key} {name:?}")));
            }
            sections.push(section);
        }
        sections
    }

    fn text(&mut self, section: &Section<'_>, key: &str) -> Option<At<String>> {
        let value = section.get(key)?;
        match value.get_ref().as_str() {
            Some(text) => Some(At { line: self.line(value.span().start), value: text.to_owned() }),
            None => {
                self.mismatch(section, key, value, "a string");
                None
            }
        }
    }

    fn required_text(&mut self, section: &Section<'_>, key: &str) -> Option<At<String>> {
        if section.get(key).is_none() {
            self.fault(section, section.place.line, format!("`{key}` is missing"));
        }
        self.text(section, key)
    }

    fn texts(&mut self, section: &Section<'_>, key: &str) -> Option<Vec<At<String>>> {
        let value = section.get(key)?;
        let Some(array) = value.get_ref().as_array() else {
            self.mismatch(section, key, value, "a list of strings");
            return None;
        };
        let mut texts = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(At { line: self.line(item.span().start), value: text.to_owned() }),
                None => self.mismatch(section, key, item, "a list of strings"),
            }
        }
        Some(texts)
    }

    fn pairs(&mut self, section: &Section<'_>, key: &str) -> Option<Pairs> {
        let value = section.get(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.mismatch(section, key, value, "a table of expressions");
            return None;
        };
        let mut pairs = Vec::new();
        for (name, value) in in_order(table) {
            let line = self.line(value.span().start);
            match value.get_ref().as_str() {
                Some(text) => pairs.push((
                    At { line: self.line(name.span().start), value: name.get_ref().to_string() },
                    At { line, value: text.to_owned() },
                )),
                None => self.mismatch(section, name.get_ref(), value, "an expression in quotes"),
            }
        }
        Some(pairs)
    }

    fn rule(&mut self, section: &Section<'_>) -> Option<RuleDeclaration> {
        self.expect_keys(
            section,
            &[
                "event", "inbox", "name", "about", "table", "on", "changed", "let", "when", "lookups", "per",
                "subject", "actor", "data", "types", "reveals", "to",
            ],
        );
        let makes = self.makes(section);
        let name = self.text(section, "name");
        let table = self.required_text(section, "table");
        if section.get("on").is_none() {
            let reason = "`on` is missing; it lists \"insert\", \"update\", \"delete\" or \"truncate\"";
            self.fault(section, section.place.line, reason);
        }
        let on = self.texts(section, "on");
        let mut to = Vec::new();
        for audience in self.sections(section, "to", &[]) {
            to.extend(self.audience(&audience));
        }
        if section.get("to").is_none() {
            self.fault(section, section.place.line, "nobody hears it: expected at least one [[rule.to]]");
        }
        let declaration = RuleDeclaration {
            place: section.place.clone(),
            about: self.text(section, "about").map(|about| about.value),
            changed: self.texts(section, "changed"),
            lets: self.pairs(section, "let").unwrap_or_default(),
            when: self.text(section, "when"),
            lookups: self.lookup_uses(section),
            per: self.text(section, "per"),
            subject: self.texts(section, "subject").unwrap_or_default(),
            actor: self.text(section, "actor"),
            data: self.pairs(section, "data").unwrap_or_default(),
            types: self.pairs(section, "types").unwrap_or_default(),
            reveals: self.texts(section, "reveals").unwrap_or_default(),
            to,
            name: name.map(|name| name.value).or_else(|| {
                Some(match makes.as_ref()? {
                    Makes::Event(event) => event.clone(),
                    Makes::Notification(kind) => format!("inbox:{kind}"),
                })
            })?,
            makes: makes?,
            table: table?,
            on: on?,
        };
        Some(declaration)
    }

    fn makes(&mut self, section: &Section<'_>) -> Option<Makes> {
        let (event, kind) = (self.text(section, "event"), self.text(section, "inbox"));
        match (event, kind) {
            (Some(event), None) => {
                if let Some(whose) = taken(&event.value) {
                    let reason = format!("an event can't be called {:?}: that name is {whose}", event.value);
                    self.fault(section, event.line, reason);
                }
                Some(Makes::Event(event.value))
            }
            (None, Some(kind)) => Some(Makes::Notification(kind.value)),
            (Some(_), Some(kind)) => {
                self.fault(section, kind.line, "a rule makes an `event` or a notification in the `inbox`, not both");
                None
            }
            (None, None) => {
                if section.get("event").is_none() && section.get("inbox").is_none() {
                    self.fault(section, section.place.line, "`event` is missing");
                }
                None
            }
        }
    }

    fn lookup_uses(&mut self, section: &Section<'_>) -> Vec<LookupUse> {
        let Some(value) = section.get("lookups") else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            self.mismatch(section, "lookups", value, "{ name = { use = \"…\", key = \"…\" } }");
            return Vec::new();
        };
        let mut uses = Vec::new();
        for (name, value) in in_order(table) {
            let line = self.line(name.span().start);
            let Some(table) = value.get_ref().as_table() else {
                self.mismatch(section, name.get_ref(), value, "{ use = \"…\", key = \"…\" }");
                continue;
            };
            let inner = Section { table, place: Place { line, ..section.place.clone() } };
            self.expect_keys(&inner, &["use", "key", "needed"]);
            let needed = self.flag(&inner, "needed");
            if let (Some(lookup), Some(key)) = (self.required_text(&inner, "use"), self.required_text(&inner, "key")) {
                uses.push(LookupUse { name: At { line, value: name.get_ref().to_string() }, lookup, key, needed });
            }
        }
        uses
    }

    fn audience(&mut self, section: &Section<'_>) -> Option<AudienceDeclaration> {
        self.expect_keys(section, &["when", "each", "rooms", "data", "changes", "keys"]);
        let rooms = self.texts(section, "rooms");
        if section.get("rooms").is_none() || rooms.as_ref().is_some_and(Vec::is_empty) {
            self.fault(section, section.place.line, "an audience without `rooms`");
        }
        Some(AudienceDeclaration {
            line: section.place.line,
            when: self.text(section, "when"),
            each: self.text(section, "each"),
            data: self.pairs(section, "data"),
            changes: self.changes(section),
            keys: self.keys(section),
            rooms: rooms?,
        })
    }

    fn changes(&mut self, section: &Section<'_>) -> Option<At<ChangesDeclaration>> {
        const EXPECTED: &str = "\"all\", a list of columns, or { group = [columns] or \"others\", except = [columns] }";
        let value = section.get("changes")?;
        let line = self.line(value.span().start);
        let declaration = match value.get_ref() {
            DeValue::String(text) if text == "all" => ChangesDeclaration::All,
            DeValue::Array(_) => ChangesDeclaration::Columns(strings(value.get_ref())?),
            DeValue::Table(table) => {
                let (mut groups, mut except) = (Vec::new(), Vec::new());
                for (name, value) in in_order(table) {
                    let columns = strings(value.get_ref());
                    match (name.get_ref().as_ref(), columns, value.get_ref().as_str()) {
                        ("except", Some(columns), _) => except = columns,
                        (group, Some(columns), _) => groups.push((group.to_owned(), Some(columns))),
                        (group, None, Some("others")) => groups.push((group.to_owned(), None)),
                        (group, ..) => self.mismatch(section, group, value, "a list of columns, or \"others\""),
                    }
                }
                ChangesDeclaration::Groups { groups, except }
            }
            _ => {
                self.mismatch(section, "changes", value, EXPECTED);
                return None;
            }
        };
        Some(At { line, value: declaration })
    }

    fn keys(&mut self, section: &Section<'_>) -> Vec<(String, Vec<String>)> {
        const EXPECTED: &str = "{ column = [keys] }";
        let Some(value) = section.get("keys") else { return Vec::new() };
        if section.get("changes").is_none() {
            let line = self.line(value.span().start);
            self.fault(section, line, "`keys` without `changes`, whose columns it is about");
        }
        let DeValue::Table(table) = value.get_ref() else {
            self.mismatch(section, "keys", value, EXPECTED);
            return Vec::new();
        };
        let mut keys = Vec::new();
        for (column, value) in in_order(table) {
            match strings(value.get_ref()) {
                Some(listed) => keys.push((column.get_ref().to_string(), listed)),
                None => self.mismatch(section, "keys", value, EXPECTED),
            }
        }
        keys
    }

    fn lookup(&mut self, section: &Section<'_>) -> Option<LookupDeclaration> {
        self.expect_keys(section, &["name", "returns", "cache", "stale_after", "sql"]);
        let name = self.required_text(section, "name");
        let returns = self.required_text(section, "returns");
        let sql = self.sql(section);
        let cache = self.duration(section, "cache").map_or(Duration::ZERO, |cache| cache.value);
        let stale_after = self.texts(section, "stale_after").unwrap_or_default();
        let place = section.place.clone();
        Some(LookupDeclaration { place, name: name?.value, returns: returns?, cache, stale_after, sql: sql? })
    }

    fn duration(&mut self, section: &Section<'_>, key: &str) -> Option<At<Duration>> {
        let At { line, value } = self.text(section, key)?;
        match humantime::parse_duration(&value) {
            Ok(value) => Some(At { line, value }),
            Err(_) => {
                self.fault(section, line, format!("`{key}` is {value:?}, expected a duration such as \"2s\""));
                None
            }
        }
    }

    fn every(&mut self, section: &Section<'_>) -> Option<At<Every>> {
        let At { line, value } = self.text(section, "every")?;
        if let Some(setting) = value.strip_prefix("settings.") {
            return Some(At { line, value: Every::Setting(setting.to_owned()) });
        }
        let At { line, value } = self.duration(section, "every")?;
        Some(At { line, value: Every::Fixed(value) })
    }

    /// One text, or a list of them: forms of which the first that the database can run is used.
    fn sql(&mut self, section: &Section<'_>) -> Option<Vec<At<String>>> {
        match section.get("sql").map(Spanned::get_ref) {
            Some(DeValue::Array(forms)) if !forms.is_empty() => self.texts(section, "sql"),
            _ => self.required_text(section, "sql").map(|sql| vec![sql]),
        }
    }

    /// False unless it is there.
    fn flag(&mut self, section: &Section<'_>, key: &str) -> bool {
        let Some(value) = section.get(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.mismatch(section, key, value, "true or false");
            false
        })
    }

    fn schedule(&mut self, section: &Section<'_>) -> Option<ScheduleDeclaration> {
        self.expect_keys(section, &["name", "about", "every", "once", "rooms", "sql"]);
        let (name, sql) = (self.required_text(section, "name"), self.sql(section));
        if section.get("every").is_none() {
            self.fault(section, section.place.line, "`every` is missing: how often, such as \"30s\"");
        }
        Some(ScheduleDeclaration {
            place: section.place.clone(),
            about: self.text(section, "about").map(|about| about.value),
            every: self.every(section)?,
            once: self.flag(section, "once"),
            rooms: self.text(section, "rooms"),
            name: name?.value,
            sql: sql?,
        })
    }

    fn waiting(&mut self, section: &Section<'_>) -> Option<WaitingDeclaration> {
        self.expect_keys(section, &["name", "about", "room", "sql"]);
        let (name, room) = (self.required_text(section, "name"), self.required_text(section, "room"));
        Some(WaitingDeclaration {
            place: section.place.clone(),
            about: self.text(section, "about").map(|about| about.value),
            sql: self.sql(section)?,
            name: name?.value,
            room: room?,
        })
    }

    fn announcements(&mut self, root: &Section<'_>, into: &mut Declarations) {
        let Some(value) = root.get("announcements") else { return };
        let Some(table) = value.get_ref().as_table() else {
            return self.mismatch(root, "announcements", value, "a table");
        };
        let line = self.line(value.span().start);
        let inner = Section { table, place: Place { line, name: Some("announcements".into()), ..root.place.clone() } };
        self.expect_keys(&inner, &["recipients"]);
        let Some(lookup) = self.required_text(&inner, "recipients") else { return };
        if into.announced_to.is_some() {
            self.fault(&inner, line, "a second [announcements]: there is one for the whole catalog");
        }
        into.announced_to = Some((inner.place, lookup));
    }

    fn room(&mut self, section: &Section<'_>) -> Option<RoomDeclaration> {
        self.expect_keys(section, &["room", "about", "join", "own", "message"]);
        let room = self.required_text(section, "room");
        let message = section.get("message").and_then(|value| {
            let Some(table) = value.get_ref().as_table() else {
                self.mismatch(section, "message", value, "{ name = \"…\", key = \"…\" }");
                return None;
            };
            let line = self.line(value.span().start);
            let inner = Section { table, place: Place { line, ..section.place.clone() } };
            self.expect_keys(&inner, &["name", "key"]);
            let name = self.required_text(&inner, "name")?;
            let key = self.text(&inner, "key");
            if let Some(key) = key.as_ref().filter(|key| key.value == SINCE) {
                let reason = format!("`key` can't be {SINCE:?}: clients say with it from when on they want to hear");
                self.fault(section, key.line, reason);
            }
            Some(MessageDeclaration { name, key: key.map(|key| key.value) })
        });
        Some(RoomDeclaration {
            place: section.place.clone(),
            join: self.text(section, "join"),
            own: self.text(section, "own"),
            message,
            room: room?,
        })
    }
}

/// The key of a join that says from when on.
const SINCE: &str = "since";

/// Whose name it is, if no rule may use it for an event.
fn taken(event: &str) -> Option<&'static str> {
    const SOCKET_IO: [&str; 6] =
        ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];
    match event {
        name if name.starts_with("rowcast:") => Some("the server's own, as is all that begins with \"rowcast:\""),
        "chat:typing" => Some("the server's own, which tells who is typing"),
        name if SOCKET_IO.contains(&name) => Some("Socket.IO's own"),
        _ => None,
    }
}

/// The entries in the order in which they are written; the parser sorts them by name.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn strings(value: &DeValue<'_>) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
}

/// A setting's value: dates and tables are none.
fn plain(value: &DeValue<'_>) -> Option<toml::Value> {
    Some(match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(digits) => toml::Value::Integer(i64::from_str_radix(digits.as_str(), digits.radix()).ok()?),
        DeValue::Float(digits) => toml::Value::Float(digits.as_str().parse().ok()?),
        DeValue::Boolean(flag) => toml::Value::Boolean(*flag),
        DeValue::Array(items) => {
            toml::Value::Array(items.iter().map(|item| plain(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}
