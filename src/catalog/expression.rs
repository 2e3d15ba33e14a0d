//! Expressions: compiled once, looked through for what they need, evaluated for each change.
//!
//! An expression that is just a column (`new.price`) or a constant never enters CEL: the column's JSON is passed on as it
//! is, whatever its size or precision.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use cel::{
    Context, ExecutionError, IdedExpr, Program, Value,
    common::{
        ast::{EntryExpr, Expr, LiteralValue, operators},
        types::CelBool,
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use serde_json::value::RawValue;

use super::{
    bounds,
    fault::quoted,
    functions,
    value::{self, NULL, RowView},
};
use crate::change::{Change, Row};

/// Characters of an expression that a fault repeats.
const LONGEST_QUOTE: usize = 400;

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

/// The names that an expression may use.
#[derive(Default)]
pub(super) struct Vocabulary<'a> {
    /// Whether there is a change: `old`, `new`, `row`, `changed`, `op`.
    pub change: bool,
    pub settings: Option<&'a BTreeMap<String, toml::Value>>,
    /// The rule's `let`s, each with its expression.
    pub lets: BTreeMap<String, IdedExpr>,
    /// The rule's lookups with their places; those that return many are read through `each` alone.
    pub lookups: Vec<(String, Returns)>,
    pub each: Option<usize>,
    /// Whether there is an `item`.
    pub item: bool,
    /// Other variables, each with the fields that it has (none: it is a plain value).
    pub variables: Vec<(&'a str, &'static [&'static str])>,
}

/// How many rows a lookup finds for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returns {
    One,
    Many,
}

impl Vocabulary<'_> {
    fn origin(&self, name: &str) -> Option<Origin> {
        match name {
            "old" if self.change => Some(Origin::Old),
            "new" if self.change => Some(Origin::New),
            "row" if self.change => Some(Origin::Row),
            "each" if self.each.is_some() => Some(Origin::Each),
            "item" if self.item => Some(Origin::Item),
            name => self.lookups.iter().position(|(lookup, _)| lookup == name).map(Origin::Lookup),
        }
    }

    fn fields(&self, name: &str) -> Option<&'static [&'static str]> {
        self.variables.iter().find(|(variable, _)| *variable == name).map(|(_, fields)| *fields)
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        if self.change {
            names.extend(["old", "new", "row", "changed", "op", "at"]);
        }
        if self.settings.is_some() {
            names.push("settings");
        }
        names.extend(self.variables.iter().map(|(name, _)| *name));
        names.extend(self.lookups.iter().map(|(name, _)| name.as_str()));
        names.extend(self.lets.keys().map(String::as_str));
        if self.each.is_some() {
            names.push("each");
        }
        if self.item {
            names.push("item");
        }
        names
    }

    /// Parses an expression; `let`s in it are replaced by what they stand for.
    pub fn parse(&self, source: &str) -> Result<IdedExpr, String> {
        let too_large = |reason| format!("bad CEL `{}`: it {reason}", shortened(source));
        bounds::check_source(source).map_err(too_large)?;
        let program = Program::compile(source).map_err(|errors| {
            let errors: Vec<_> = errors
                .errors
                .iter()
                .map(|error| format!("{} (line {}, column {})", error.msg.trim(), error.pos.0, error.pos.1))
                .collect();
            format!("bad CEL `{}`: {}", shortened(source), errors.join("; "))
        })?;
        bounds::check_parts(program.expression(), &self.lets).map_err(too_large)?;
        let mut expression = program.expression().clone();
        substitute(&mut expression, &self.lets);
        Ok(expression)
    }

    /// Compiles an expression, or says everything that is wrong with it.
    pub fn compile(&self, source: &str) -> Result<Expression, Vec<String>> {
        let expression = self.parse(source).map_err(|error| vec![error])?;
        let mut analysis =
            Analysis { vocabulary: self, uses: Uses::default(), guarded: BTreeSet::new(), faults: Vec::new() };
        analysis.visit(&expression);
        if !analysis.faults.is_empty() {
            let source = shortened(source);
            return Err(analysis.faults.into_iter().map(|fault| format!("bad CEL `{source}`: {fault}")).collect());
        }
        let mut uses = analysis.uses;
        uses.columns.retain(|column| !analysis.guarded.contains(column));
        Ok(Expression { source: source.to_owned(), form: self.form(expression), uses })
    }

    fn form(&self, expression: IdedExpr) -> Form {
        match &expression.expr {
            Expr::Literal(literal) => match constant(literal) {
                Some(json) => Form::Constant(json),
                None => Form::Cel(expression),
            },
            other => match self.column(other) {
                Some((origin, column, false)) => Form::Column(origin, column.into()),
                _ => Form::Cel(expression),
            },
        }
    }

    /// `row.x`, `row["x"]` and `has(row.x)`: the row, the column, and whether it is only tested for.
    fn column<'e>(&self, expression: &'e Expr) -> Option<(Origin, &'e str, bool)> {
        match expression {
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) => Some((self.origin(name)?, &select.field, select.test)),
                _ => None,
            },
            Expr::Call(call) if call.func_name == operators::INDEX => match (&call.args[0].expr, &call.args[1].expr) {
                (Expr::Ident(name), Expr::Literal(LiteralValue::String(column))) => {
                    Some((self.origin(name)?, column.inner(), false))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// As much of an expression as a message needs.
fn shortened(source: &str) -> Cow<'_, str> {
    match source.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}…", &source[..end]).into(),
        None => source.into(),
    }
}

fn constant(literal: &LiteralValue) -> Option<Box<RawValue>> {
    value::to_json(literal.to_val().as_ref()).ok()
}

fn substitute(expression: &mut IdedExpr, lets: &BTreeMap<String, IdedExpr>) {
    if let Expr::Ident(name) = &expression.expr
        && let Some(meaning) = lets.get(name)
    {
        *expression = meaning.clone();
        return;
    }
    for part in parts_mut(expression) {
        substitute(part, lets);
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

fn parts_mut(expression: &mut IdedExpr) -> Vec<&mut IdedExpr> {
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

struct Analysis<'a> {
    vocabulary: &'a Vocabulary<'a>,
    uses: Uses,
    guarded: BTreeSet<(Origin, Box<str>)>,
    faults: Vec<String>,
}

impl Analysis<'_> {
    fn visit(&mut self, expression: &IdedExpr) {
        if let Some((origin, column, tested)) = self.vocabulary.column(&expression.expr) {
            return self.column(origin, column, tested);
        }
        match &expression.expr {
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) if name == "settings" && self.vocabulary.settings.is_some() => {
                    self.setting(&select.field)
                }
                Expr::Ident(name) if self.vocabulary.fields(name).is_some_and(|fields| !fields.is_empty()) => {
                    self.field(name, &select.field)
                }
                _ => self.visit(&select.operand),
            },
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let operator = name.starts_with(['_', '!', '-', '@']);
                if !operator && !functions::OWN.contains(&name) && !functions::STANDARD.contains(&name) {
                    let known = quoted(functions::OWN.iter().chain(&functions::STANDARD));
                    self.faults.push(format!("unknown function {name:?}; the functions are {known}"));
                }
                call.target.iter().for_each(|target| self.visit(target));
                call.args.iter().for_each(|argument| self.visit(argument));
            }
            Expr::List(list) => list.elements.iter().for_each(|element| self.visit(element)),
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.visit(&entry.key);
                        self.visit(&entry.value);
                    }
                }
            }
            Expr::Comprehension(_) => self.faults.push(
                "map, filter, all, exists and exists_one are not allowed: nothing bounds the steps they take"
                    .to_owned(),
            ),
            Expr::Struct(_) => self.faults.push("messages (Name{…}) are not allowed".to_owned()),
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn column(&mut self, origin: Origin, column: &str, tested: bool) {
        match origin {
            Origin::Each => self.uses.each = true,
            Origin::Item => self.uses.item = true,
            Origin::Lookup(place) => {
                let (name, returns) = &self.vocabulary.lookups[place];
                if *returns == Returns::Many {
                    self.faults.push(format!("{name:?} returns many rows: name it in `each` and read each.{column}"));
                }
                self.uses.lookups.insert(place);
            }
            Origin::Old | Origin::New | Origin::Row => {}
        }
        let set = if tested { &mut self.guarded } else { &mut self.uses.columns };
        set.insert((origin, column.into()));
    }

    fn name(&mut self, name: &str) {
        const TYPES: [&str; 11] =
            ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type", "optional_type"];
        if self.vocabulary.origin(name).is_some() {
            self.faults.push(format!("{name:?} is a row: read a column of it, {name}.column"));
        } else if name == "settings" && self.vocabulary.settings.is_some() {
            self.faults.push("name the setting: settings.name".to_owned());
        } else if !(self.vocabulary.change && ["changed", "op", "at"].contains(&name))
            && self.vocabulary.fields(name).is_none()
            && !TYPES.contains(&name)
        {
            let known = quoted(self.vocabulary.names());
            self.faults.push(format!("unknown variable {name:?}; the variables are {known}"));
        }
    }

    fn setting(&mut self, name: &str) {
        let settings = self.vocabulary.settings.expect("asked for by the caller");
        if !settings.contains_key(name) {
            self.faults.push(format!("unknown setting {name:?}; the settings are {}", quoted(settings.keys())));
        }
    }

    fn field(&mut self, variable: &str, field: &str) {
        let fields = self.vocabulary.fields(variable).unwrap_or_default();
        if !fields.contains(&field) {
            self.faults.push(format!("{variable} has no field {field:?}; the fields are {}", quoted(fields)));
        }
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
