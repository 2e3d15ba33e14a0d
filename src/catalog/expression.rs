//! Compiled expressions: what they need, and what they say of a change.
//!
//! An expression that is just a column (`new.price`) or a constant never enters CEL: the column's JSON is passed on as it
//! is, whatever its size or precision.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cel::{
    Context, ExecutionError, IdedExpr, Value,
    common::{
        ast::{EntryExpr, Expr},
        types::CelBool,
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use serde_json::value::RawValue;

use super::value::{self, NULL, RowView};
use crate::change::{Change, Row};

/// Which row an expression reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Old,
    New,
    /// `new`, or `old` on a delete.
    Row,
    /// By its place among the rule's lookups.
    Lookup(usize),
    /// The row at hand of a lookup that returns many.
    Each,
    /// The object at hand of a rule's `per`.
    Item,
}

#[derive(Debug)]
pub(super) struct Expression {
    source: String,
    form: Form,
    pub uses: Uses,
}

#[derive(Debug)]
pub(super) enum Form {
    Column(Origin, Box<str>),
    Constant(Box<RawValue>),
    Cel(IdedExpr),
}

/// What an expression can't be evaluated without.
#[derive(Debug, Default, Clone)]
pub(super) struct Uses {
    /// Columns read, by where they are read from; those guarded by `has(…)` are not among them.
    pub columns: BTreeSet<(Origin, Box<str>)>,
    /// Lookups read, guarded or not.
    pub lookups: BTreeSet<usize>,
    /// Whether `each` is read.
    pub each: bool,
    /// Whether `item` is read.
    pub item: bool,
    /// The lookup that `each` stands for, by its place in the rule.
    pub each_of: Option<usize>,
}

impl Uses {
    pub fn add(&mut self, other: &Uses) {
        self.columns.extend(other.columns.iter().cloned());
        self.lookups.extend(&other.lookups);
        self.each |= other.each;
        self.item |= other.item;
        self.each_of = self.each_of.or(other.each_of);
    }
}

/// The expressions that an expression is made of.
pub(super) fn parts(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Select(select) => vec![&*select.operand],
        Expr::Map(map) => map
            .entries
            .iter()
            .flat_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
                EntryExpr::StructField(field) => vec![&field.value],
            })
            .collect(),
        // Comprehensions and structs are refused, the others have no parts.
        _ => Vec::new(),
    }
}

/// The same, to be altered.
pub(super) fn parts_mut(expression: &mut IdedExpr) -> Vec<&mut IdedExpr> {
    match &mut expression.expr {
        Expr::Call(call) => call.target.iter_mut().map(|target| &mut **target).chain(&mut call.args).collect(),
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Select(select) => vec![&mut *select.operand],
        Expr::Map(map) => map
            .entries
            .iter_mut()
            .flat_map(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
                EntryExpr::StructField(field) => vec![&mut field.value],
            })
            .collect(),
        // Comprehensions and structs are refused, the others have no parts.
        _ => Vec::new(),
    }
}

/// The rows that expressions about one change read.
pub(super) struct Scope<'a> {
    change: &'a Change,
    old: RowView<'a>,
    new: RowView<'a>,
    row: RowView<'a>,
    /// The rule's lookups by name, and what each found.
    lookups: Vec<(&'a str, RowView<'a>)>,
    item: RowView<'a>,
    each: RowView<'a>,
}

impl<'a> Scope<'a> {
    pub fn new(change: &'a Change) -> Self {
        Self {
            change,
            old: RowView(change.old.as_ref()),
            new: RowView(change.new.as_ref()),
            row: RowView(change.row()),
            lookups: Vec::new(),
            item: RowView(None),
            each: RowView(None),
        }
    }

    pub fn with_lookups(change: &'a Change, lookups: Vec<(&'a str, RowView<'a>)>) -> Self {
        Self { lookups, ..Self::new(change) }
    }

    pub fn with_each(&self, each: RowView<'a>) -> Self {
        Self { lookups: self.lookups.clone(), item: self.item, each, ..Self::new(self.change) }
    }

    pub fn with_item(&self, item: RowView<'a>) -> Self {
        Self { lookups: self.lookups.clone(), item, ..Self::new(self.change) }
    }

    /// Whether a lookup, by its place in the rule, has no row.
    pub fn lookup_found_nothing(&self, place: usize) -> bool {
        self.lookups.get(place).is_none_or(|(_, row)| row.0.is_none())
    }

    pub fn row(&self, origin: Origin) -> RowView<'a> {
        match origin {
            Origin::Old => self.old,
            Origin::New => self.new,
            Origin::Row => self.row,
            Origin::Lookup(place) => self.lookups[place].1,
            Origin::Each => self.each,
            Origin::Item => self.item,
        }
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        Some(match variable {
            "old" => CowVal::Borrowed(&self.old),
            "new" => CowVal::Borrowed(&self.new),
            "row" => CowVal::Borrowed(&self.row),
            "each" => CowVal::Borrowed(&self.each),
            "item" => CowVal::Borrowed(&self.item),
            "at" => CowVal::owned(cel::common::types::CelString::from(
                self.change.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            )),
            "op" => CowVal::owned(cel::common::types::CelString::from(match self.change.op {
                crate::change::Op::Insert => "insert",
                crate::change::Op::Update => "update",
                crate::change::Op::Delete => "delete",
                crate::change::Op::Truncate => "truncate",
            })),
            "changed" => CowVal::Owned(value::from_strings(self.change.changed_columns())),
            lookup => CowVal::Borrowed(&self.lookups.iter().find(|(name, _)| *name == lookup)?.1),
        })
    }
}

/// What expressions are evaluated in: the rows of a change, or the variables of a room's policy.
pub(super) struct Surroundings<'s> {
    context: Context<'s, 's>,
    scope: Option<&'s Scope<'s>>,
}

impl<'s> Surroundings<'s> {
    pub fn of_change(root: &'s Context<'s, 's>, scope: &'s Scope<'s>) -> Self {
        let mut context = root.new_inner_scope();
        context.set_variable_resolver(scope);
        Self { context, scope: Some(scope) }
    }

    pub fn of_variables(root: &'s Context<'s, 's>, variables: HashMap<&str, Box<dyn Val + 's>>) -> Self {
        let mut context = root.new_inner_scope();
        for (name, value) in variables {
            context.add_variable_as_val(name, value);
        }
        Self { context, scope: None }
    }

    fn column(&self, origin: Origin, column: &str) -> Result<&'s str, String> {
        let scope = self.scope.expect("only rules read columns");
        scope.row(origin).get(column).ok_or_else(|| format!("the row has no column {column:?}"))
    }
}

impl Expression {
    /// `source` is what an error of its repeats; `uses` is all that `form` reads.
    pub fn new(source: &str, form: Form, uses: Uses) -> Self {
        Self { source: source.to_owned(), form, uses }
    }

    /// The lookup, by its place, if the expression is a column of its row and nothing else.
    pub fn plain_lookup(&self) -> Option<usize> {
        match self.form {
            Form::Column(Origin::Lookup(place), _) => Some(place),
            _ => None,
        }
    }

    /// As it is written.
    pub fn source(&self) -> &str {
        &self.source
    }

    pub fn form(&self) -> &Form {
        &self.form
    }

    fn failed(&self, error: impl std::fmt::Display) -> String {
        format!("`{}`: {error}", self.source)
    }

    fn run<'e>(&'e self, expression: &'e IdedExpr, at: &'e Surroundings<'e>) -> Result<CowVal<'e, 'e>, String> {
        Value::resolve_val(expression, &at.context).map_err(|error| self.failed(plainly(&error)))
    }

    /// A condition: true or false, nothing else.
    pub fn test<'e>(&'e self, at: &'e Surroundings<'e>) -> Result<bool, String> {
        let (holds, found) = match &self.form {
            Form::Column(origin, column) => {
                let json = at.column(*origin, column).map_err(|error| self.failed(error))?;
                (json.parse().ok(), json.to_owned())
            }
            Form::Constant(json) => (json.get().parse().ok(), json.get().to_owned()),
            Form::Cel(expression) => {
                let value = self.run(expression, at)?;
                let holds = value.downcast_ref::<CelBool>().map(|flag| *flag.inner());
                (holds, holds.map_or_else(|| value.get_type().name().to_owned(), |_| String::new()))
            }
        };
        holds.ok_or_else(|| self.failed(format!("expected true or false, got {found}")))
    }

    /// The value as JSON.
    pub fn json<'e>(&'e self, at: &'e Surroundings<'e>) -> Result<Box<RawValue>, String> {
        match &self.form {
            Form::Column(origin, column) => {
                let json = at.column(*origin, column).map_err(|error| self.failed(error))?;
                Ok(RawValue::from_string(json.to_owned()).expect("a column is JSON"))
            }
            Form::Constant(json) => Ok(json.clone()),
            Form::Cel(expression) => {
                value::to_json(self.run(expression, at)?.as_ref()).map_err(|error| self.failed(error))
            }
        }
    }

    /// The value as a name: text or an integer; `None` for null and for empty text.
    pub fn name<'e>(&'e self, at: &'e Surroundings<'e>) -> Result<Option<String>, String> {
        let json = match &self.form {
            Form::Column(origin, column) => {
                return self.as_name(at.column(*origin, column).map_err(|error| self.failed(error))?);
            }
            _ => self.json(at)?,
        };
        self.as_name(json.get())
    }

    /// The value as names: a list of them, one, or none.
    pub fn names<'e>(&'e self, at: &'e Surroundings<'e>) -> Result<Vec<String>, String> {
        let json = self.json(at)?;
        match serde_json::from_str::<Vec<Box<RawValue>>>(json.get()) {
            Ok(items) => items.iter().filter_map(|item| self.as_name(item.get()).transpose()).collect(),
            Err(_) => Ok(self.as_name(json.get())?.into_iter().collect()),
        }
    }

    /// The value as objects: a list of them, or none where it is null.
    pub fn objects<'e>(&'e self, at: &'e Surroundings<'e>) -> Result<Vec<Row>, String> {
        let json = self.json(at)?;
        let objects: Option<Vec<BTreeMap<Box<str>, Box<RawValue>>>> =
            serde_json::from_str(json.get()).map_err(|_| self.failed("expected a list of objects, or null"))?;
        Ok(objects.unwrap_or_default().into_iter().map(|object| object.into_iter().collect()).collect())
    }

    fn as_name(&self, json: &str) -> Result<Option<String>, String> {
        match json.as_bytes().first() {
            _ if json == NULL => Ok(None),
            Some(b'"') => {
                let text: String = serde_json::from_str(json).map_err(|error| self.failed(error))?;
                Ok((!text.is_empty()).then_some(text))
            }
            Some(b'-' | b'0'..=b'9') => Ok(Some(json.to_owned())),
            _ => Err(self.failed("expected text, an integer or null")),
        }
    }
}

/// CEL's message, without the words of its own inside.
fn plainly(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("there is no {key:?}"),
        other => other.to_string(),
    }
}
