//! Expressions are compiled: parsed, with their `let`s put in, and looked through for what they read and for what they may not.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use cel::{
    IdedExpr, Program,
    common::ast::{EntryExpr, Expr, LiteralValue, operators},
};
use serde_json::value::RawValue;

use super::{
    bounds,
    expression::{Expression, Form, Origin, Uses, parts_mut},
    fault::quoted,
    functions, value,
};

/// Characters of an expression that a fault repeats.
const LONGEST_QUOTE: usize = 400;

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
        Ok(Expression::new(source, self.form(expression), uses))
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
