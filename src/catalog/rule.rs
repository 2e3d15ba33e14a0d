//! Rules: compiled from their declarations, with all faults gathered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    changes::Changes,
    expression::{Expression, Origin, Uses},
    fault::{Fault, quoted},
    load::{At, AudienceDeclaration, Makes, Pairs, Place, RuleDeclaration},
    lookups::Lookup,
    own_tables, reveal,
    rooms::Rooms,
    template::Template,
    vocabulary::{Returns, Vocabulary},
};
use crate::{
    change::{Op, TableName},
    shape::{self, Shape},
};

/// Which change becomes which event, for whom, with which data.
#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    /// The event that clients hear, or the kind of the notification.
    pub event: Arc<str>,
    /// It writes notifications into inboxes; clients hear of those as of any other row.
    pub inbox: bool,
    pub about: Option<String>,
    pub table: TableName,
    pub on: Vec<Op>,
    /// Of an update, any of these columns must have changed.
    pub(super) changed: Option<Vec<Box<str>>>,
    pub(super) when: Option<Expression>,
    pub(super) lookups: Vec<LookupCall>,
    /// The event is made once for each object of this list.
    pub(super) per: Option<Expression>,
    pub(super) subject: Arc<[String]>,
    pub(super) actor: Option<Expression>,
    /// The data of the audiences that have none of their own.
    pub(super) data: Vec<(Arc<str>, Expression)>,
    /// Of keys of the data, the shapes that it states: what the database's columns don't tell.
    pub(super) types: BTreeMap<String, Shape>,
    /// What its conditions may tell public rooms, though no data show it.
    pub(super) reveals: BTreeSet<String>,
    pub(super) to: Vec<AudienceRule>,
    /// What the rule needs whoever hears it.
    pub(super) uses: Uses,
    /// Where it is declared.
    pub(super) place: Place,
}

/// One use of a lookup.
#[derive(Debug)]
pub(super) struct LookupCall {
    /// What the rule calls it.
    pub name: String,
    /// Its place in the catalog.
    pub lookup: usize,
    pub key: Expression,
    /// Whether an audience that reads it can't do without, if the database refuses it.
    pub needed: bool,
}

#[derive(Debug)]
pub(super) struct AudienceRule {
    pub when: Option<Expression>,
    /// By its place among the rule's lookups.
    pub each: Option<usize>,
    pub rooms: Vec<Template>,
    pub data: Option<Vec<(Arc<str>, Expression)>>,
    pub data_uses_each: bool,
    pub changes: Option<Changes>,
    /// The lookups that decide whether it hears at all: those of `when` and `each`.
    pub conditions: BTreeSet<usize>,
    pub uses: Uses,
}

/// What rules are compiled against.
pub(super) struct Surroundings<'a> {
    pub settings: &'a BTreeMap<String, toml::Value>,
    pub lookups: &'a [Lookup],
    pub rooms: &'a Rooms,
}

/// Gathers faults of one rule.
struct Compiler<'a> {
    place: &'a Place,
    faults: &'a mut Vec<Fault>,
}

const RESERVED: [&str; 9] = ["old", "new", "row", "changed", "op", "at", "settings", "each", "item"];

/// The rooms that a notification can be sent to: those of its recipients.
const INBOXES: [&str; 2] = ["user:", "seller:"];
/// The data of a notification.
const NOTIFICATION_KEYS: [&str; 3] = ["title", "body", "subject"];

impl Rule {
    /// Compiles a rule; what is wrong goes to `faults`, and then the rule is not to be used.
    pub(super) fn compile(declaration: RuleDeclaration, among: &Surroundings<'_>, faults: &mut Vec<Fault>) -> Self {
        let RuleDeclaration { place, makes, name, about, table, on, changed, lets, when, lookups, subject, .. } =
            declaration;
        let (event, inbox) = match makes {
            Makes::Event(event) => (event, false),
            Makes::Notification(kind) => (kind, true),
        };
        let mut compiler = Compiler { place: &place, faults };
        let on = on.iter().filter_map(|op| compiler.op(op)).collect();
        let at = table.line;
        let table = parse_table(&table.value).unwrap_or_else(|reason| {
            compiler.fault(at, reason);
            TableName::new("", "")
        });
        if inbox && own_tables::is_of_gateway(&table) {
            compiler.fault(at, "what the gateway sees is in no log, so no notification can be made of it just once");
        }

        let mut vocabulary = Vocabulary { change: true, settings: Some(among.settings), ..Vocabulary::default() };
        compiler.lets(lets, &mut vocabulary);
        let mut uses = Uses::default();
        let when = compiler.expression(when, &vocabulary, &mut uses);
        let mut calls = Vec::new();
        for call in lookups {
            if RESERVED.contains(&call.name.value.as_str()) {
                compiler.fault(call.name.line, format!("a lookup can't be called {:?}", call.name.value));
            }
            let known = among.lookups.iter().position(|lookup| lookup.name == call.lookup.value);
            let Some(lookup) = known else {
                let known = quoted(among.lookups.iter().map(|lookup| &lookup.name));
                let reason = format!("unknown lookup {:?}; the lookups are {known}", call.lookup.value);
                compiler.fault(call.lookup.line, reason);
                continue;
            };
            if let Some(key) = compiler.expression(Some(call.key), &vocabulary, &mut uses) {
                calls.push(LookupCall { name: call.name.value, lookup, key, needed: call.needed });
            }
        }
        vocabulary.lookups = calls.iter().map(|call| (call.name.clone(), among.lookups[call.lookup].returns)).collect();
        let per = compiler.expression(declaration.per, &vocabulary, &mut uses);
        vocabulary.item = per.is_some();
        let actor = compiler.expression(declaration.actor, &vocabulary, &mut uses);
        let mut data_uses = Uses::default();
        let data = compiler.data(declaration.data, &vocabulary, &mut data_uses);
        let to: Vec<_> = declaration
            .to
            .into_iter()
            .map(|audience| {
                let (line, own) = (audience.line, audience.data.is_some());
                let changes = audience.changes.as_ref().map_or(line, |changes| changes.line);
                if inbox {
                    compiler.recipients(&audience);
                }
                let mut audience = compiler.audience(audience, &mut vocabulary, among);
                if !own {
                    audience.uses.add(&data_uses);
                }
                if inbox {
                    compiler.notification(line, audience.data.as_ref().unwrap_or(&data));
                }
                compiler.subject(line, &subject, audience.data.as_ref().unwrap_or(&data));
                compiler.listed(line, changes, &audience, audience.data.as_ref().unwrap_or(&data), among);
                audience
            })
            .collect();
        let types = compiler.types(declaration.types, &data, &to);
        let changed = changed.map(|columns| columns.into_iter().map(|column| column.value.into()).collect());
        let subject = subject.into_iter().map(|key| key.value).collect();
        let reveals = declaration.reveals;
        let rule = Self {
            name: name.into(),
            event: event.into(),
            inbox,
            about,
            table,
            on,
            changed,
            when,
            lookups: calls,
            per,
            subject,
            actor,
            data,
            types,
            reveals: reveals.iter().map(|column| column.value.clone()).collect(),
            to,
            uses,
            place: place.clone(),
        };
        compiler.reveals(&reveals, &rule);
        rule
    }
}

impl Compiler<'_> {
    fn fault(&mut self, line: usize, reason: impl Into<String>) {
        self.faults.push(self.place.fault(line, reason));
    }

    fn op(&mut self, op: &At<String>) -> Option<Op> {
        match op.value.as_str() {
            "insert" => Some(Op::Insert),
            "update" => Some(Op::Update),
            "delete" => Some(Op::Delete),
            "truncate" => Some(Op::Truncate),
            other => {
                let known = quoted(["insert", "update", "delete", "truncate"]);
                self.fault(op.line, format!("unknown operation {other:?} in `on`; the operations are {known}"));
                None
            }
        }
    }

    fn lets(&mut self, lets: Pairs, vocabulary: &mut Vocabulary<'_>) {
        for (name, source) in lets {
            if RESERVED.contains(&name.value.as_str()) {
                self.fault(name.line, format!("a `let` can't be called {:?}", name.value));
                continue;
            }
            // Checked where it is used: there it is known which lookups it may read.
            match vocabulary.parse(&source.value) {
                Ok(expression) => _ = vocabulary.lets.insert(name.value, expression),
                Err(reason) => self.fault(source.line, reason),
            }
        }
    }

    fn expression(
        &mut self,
        source: Option<At<String>>,
        vocabulary: &Vocabulary<'_>,
        uses: &mut Uses,
    ) -> Option<Expression> {
        let source = source?;
        match vocabulary.compile(&source.value) {
            Ok(expression) => {
                uses.add(&expression.uses);
                Some(expression)
            }
            Err(reasons) => {
                reasons.into_iter().for_each(|reason| self.fault(source.line, reason));
                None
            }
        }
    }

    fn data(&mut self, data: Pairs, vocabulary: &Vocabulary<'_>, uses: &mut Uses) -> Vec<(Arc<str>, Expression)> {
        let mut compiled = Vec::with_capacity(data.len());
        for (key, source) in data {
            if let Some(expression) = self.expression(Some(source), vocabulary, uses) {
                compiled.push((key.value.into(), expression));
            }
        }
        compiled
    }

    fn audience<'v>(
        &mut self,
        audience: AudienceDeclaration,
        vocabulary: &mut Vocabulary<'v>,
        among: &Surroundings<'v>,
    ) -> AudienceRule {
        vocabulary.each = audience.each.as_ref().and_then(|each| self.each(each, vocabulary));
        let mut uses = Uses::default();
        uses.lookups.extend(vocabulary.each);
        uses.each_of = vocabulary.each;
        let when = self.expression(audience.when, vocabulary, &mut uses);
        let conditions = uses.lookups.clone();
        let mut rooms = Vec::new();
        for room in audience.rooms {
            match Template::compile(&room.value, vocabulary, among.rooms) {
                Ok(template) => {
                    uses.add(&template.uses());
                    rooms.push(template);
                }
                Err(reasons) => reasons.into_iter().for_each(|reason| self.fault(room.line, reason)),
            }
        }
        let mut data_uses = Uses::default();
        let data = audience.data.map(|data| self.data(data, vocabulary, &mut data_uses));
        uses.add(&data_uses);
        let each = vocabulary.each.take();
        let changes = audience.changes.map(|changes| Changes::compile(changes.value, audience.keys));
        AudienceRule { when, each, rooms, data, data_uses_each: data_uses.each, changes, conditions, uses }
    }

    fn each(&mut self, each: &At<String>, vocabulary: &Vocabulary<'_>) -> Option<usize> {
        let called = vocabulary.lookups.iter().position(|(name, _)| *name == each.value);
        match called {
            Some(place) if vocabulary.lookups[place].1 == Returns::Many => Some(place),
            Some(_) => {
                self.fault(each.line, format!("`each` names {:?}, a lookup that returns one row", each.value));
                None
            }
            None => {
                let known = quoted(vocabulary.lookups.iter().map(|(name, _)| name));
                let reason = format!("`each` names {:?}, which is none of the rule's lookups: {known}", each.value);
                self.fault(each.line, reason);
                None
            }
        }
    }

    fn recipients(&mut self, audience: &AudienceDeclaration) {
        for room in audience.rooms.iter().filter(|room| !INBOXES.iter().any(|inbox| room.value.starts_with(inbox))) {
            let reason = format!("{:?} has no inbox: expected \"user:{{…}}\" or \"seller:{{…}}\"", room.value);
            self.fault(room.line, reason);
        }
    }

    fn notification(&mut self, line: usize, data: &[(Arc<str>, Expression)]) {
        let keys: Vec<&str> = data.iter().map(|(key, _)| &**key).collect();
        let whole = keys.contains(&"title") && keys.iter().all(|key| NOTIFICATION_KEYS.contains(key));
        if !whole {
            let expected = quoted(NOTIFICATION_KEYS);
            self.fault(
                line,
                format!("a notification's data are {expected}, with a title at least; found {}", quoted(keys)),
            );
        }
    }

    fn types(&mut self, types: Pairs, data: &[(Arc<str>, Expression)], to: &[AudienceRule]) -> BTreeMap<String, Shape> {
        let all = || to.iter().filter_map(|audience| audience.data.as_ref()).flatten().chain(data);
        let mut stated = BTreeMap::new();
        for (key, text) in types {
            if !all().any(|(known, _)| **known == key.value) {
                let known: BTreeSet<&str> = all().map(|(known, _)| &**known).collect();
                let reason = format!("`types` names {:?}, which is no key of the data: {}", key.value, quoted(known));
                self.fault(key.line, reason);
            }
            match shape::parse(&text.value) {
                Ok(shape) => _ = stated.insert(key.value, shape),
                Err(reason) => self.fault(text.line, format!("the type of {:?}: {reason}", key.value)),
            }
        }
        stated
    }

    /// Who lets visitors in lists what they see: a column that a later migration adds is shown to nobody by itself.
    fn listed(
        &mut self,
        line: usize,
        changes: usize,
        audience: &AudienceRule,
        data: &[(Arc<str>, Expression)],
        among: &Surroundings<'_>,
    ) {
        let kinds = audience.rooms.iter().filter_map(|room| among.rooms.kind_of_template(room.text()));
        let Some(room) = kinds.filter(|kind| kind.public).map(|kind| &kind.pattern).next() else { return };
        if audience.changes.as_ref().is_some_and(Changes::is_wildcard) {
            let reason = format!(
                "{room:?} lets visitors in, and these `changes` hand on every column, also one that is added later: list \
                 the columns, changes = [\"…\"]"
            );
            self.fault(changes, reason);
        }
        for (key, _) in data.iter().filter(|(_, value)| reveal::names_the_changed(value)) {
            let reason = format!(
                "{room:?} lets visitors in, and {key:?} names every column that changed: ask for those that they may \
                 know of, 'price' in changed"
            );
            self.fault(line, reason);
        }
    }

    fn reveals(&mut self, reveals: &[At<String>], rule: &Rule) {
        if reveals.is_empty() {
            return;
        }
        let mut read = reveal::read_by_conditions(rule);
        read.insert(reveal::ANY.to_owned());
        for column in reveals.iter().filter(|column| !read.contains(&column.value)) {
            let reason = format!(
                "`reveals` names {:?}, which no condition of the rule reads; they read {}",
                column.value,
                quoted(&read)
            );
            self.fault(column.line, reason);
        }
    }

    fn subject(&mut self, line: usize, subject: &[At<String>], data: &[(Arc<str>, Expression)]) {
        for key in subject {
            if !data.iter().any(|(name, _)| **name == key.value) {
                self.fault(line, format!("the subject {:?} is not in the data of this audience", key.value));
            }
        }
    }
}

impl Rule {
    /// The columns of the rule's table that it can't do without.
    pub(super) fn columns(&self) -> BTreeSet<&str> {
        let read = self.to.iter().map(|audience| &audience.uses).chain([&self.uses]).flat_map(|uses| &uses.columns);
        let own = read.filter(|(origin, _)| matches!(origin, Origin::Old | Origin::New | Origin::Row));
        self.changed.iter().flatten().chain(own.map(|(_, column)| column)).map(|column| &**column).collect()
    }
}

/// `products`, or `shop.products`.
pub(super) fn parse_table(text: &str) -> Result<TableName, String> {
    let (schema, name) = text.split_once('.').unwrap_or(("public", text));
    if schema.is_empty() || name.is_empty() {
        return Err(format!("{text:?} is no table: expected \"table\" or \"schema.table\""));
    }
    Ok(TableName::new(schema, name))
}
