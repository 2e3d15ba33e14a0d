//! The static shape of an expression: what values it can have, told from the columns that it reads.

use std::collections::{BTreeMap, BTreeSet};

use cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr, LiteralValue, operators},
};
use serde_json::value::RawValue;

use super::shape::{Field, Literal, Shape};
use crate::{
    catalog::{
        Settings,
        describe::{Source, Term, TermForm},
    },
    change::Op,
};

/// The shapes of a row's columns, by name.
pub type Columns = BTreeMap<String, Shape>;

/// A column that an expression reads.
pub type Read = (Source, String);

/// What a condition can show not to be null.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    Column(Source, String),
    /// The value of an expression, by its text: `first(row.a, row.b)`.
    Value(String),
}

/// What counts as showing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// Only what takes null for an answer, such as `row.x != null`.
    Tests,
    /// Also that something came to a result which fails on null, such as `row.x < 10`.
    Outcomes,
}

/// What the expressions of a rule are about.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// The operations that it may be.
    pub ops: Vec<Op>,
    /// The columns of the rule's table; `None` where the database hasn't told them.
    pub row: Option<&'a Columns>,
    /// What the rule calls its lookups, and their columns.
    pub lookups: Vec<(&'a str, Option<&'a Columns>)>,
    /// The columns of `each`.
    pub each: Option<&'a Columns>,
    /// The object of a rule's `per`.
    pub item: Shape,
    pub settings: &'a Settings,
    /// What is not null here, as a condition has shown.
    pub present: BTreeSet<Shown>,
}

impl Scope<'_> {
    /// This scope where a condition holds.
    pub fn given(&self, condition: Option<Term<'_>>) -> Self {
        match condition.map(|condition| condition.form) {
            Some(TermForm::Cel(expression)) => self.holding(expression, true),
            _ => self.clone(),
        }
    }

    /// This scope where a condition comes to `holds`.
    pub fn holding(&self, condition: &IdedExpr, holds: bool) -> Self {
        self.seeing(condition, holds, Evidence::Outcomes)
    }

    /// This scope where a condition comes to `holds`, or fails on null: what its tests for null show.
    pub fn tested(&self, condition: &IdedExpr, holds: bool) -> Self {
        self.seeing(condition, holds, Evidence::Tests)
    }

    fn seeing(&self, condition: &IdedExpr, holds: bool, evidence: Evidence) -> Self {
        let mut scope = Self { ops: self.ops_where(condition, holds), ..self.clone() };
        scope.present.extend(self.shown(condition, holds, evidence));
        // With fewer operations `row` may be `new`.
        scope.present = scope.present.iter().map(|shown| scope.canonical(shown.clone())).collect();
        scope
    }

    /// This scope where one of these rooms has a name: what each of them is named by is there.
    pub fn named(&self, rooms: &[Vec<Term<'_>>]) -> Self {
        let reads = |room: &Vec<Term<'_>>| -> BTreeSet<Shown> {
            let columns = room.iter().filter_map(|term| match term.form {
                TermForm::Column(source, column) => Some(self.canonical(Shown::Column(source, column.to_owned()))),
                _ => None,
            });
            columns.collect()
        };
        let mut scope = self.clone();
        let common = rooms.iter().map(reads).reduce(|one, other| one.intersection(&other).cloned().collect());
        scope.present.extend(common.unwrap_or_default());
        scope
    }

    pub fn of_term(&self, term: Term<'_>) -> Shape {
        match term.form {
            TermForm::Column(source, column) => self.column(source, column),
            TermForm::Constant(json) => constant(json),
            TermForm::Cel(expression) => self.of(expression),
        }
    }

    /// The column that an expression is: `row.x` or `row["x"]`.
    pub fn read(&self, expression: &IdedExpr) -> Option<Read> {
        let (name, column) = match &expression.expr {
            Expr::Select(select) if !select.test => match &select.operand.expr {
                Expr::Ident(name) => (name, select.field.clone()),
                _ => return None,
            },
            Expr::Call(call) if call.func_name == operators::INDEX => match (&call.args[0].expr, &call.args[1].expr) {
                (Expr::Ident(name), Expr::Literal(LiteralValue::String(column))) => (name, column.inner().to_owned()),
                _ => return None,
            },
            _ => return None,
        };
        Some((self.source(name)?, column))
    }

    fn source(&self, name: &str) -> Option<Source> {
        Some(match name {
            "old" => Source::Old,
            "new" => Source::New,
            "row" => Source::Row,
            "each" => Source::Each,
            "item" => Source::Item,
            _ => Source::Lookup(self.lookups.iter().position(|(lookup, _)| *lookup == name)?),
        })
    }

    /// The same column by one name: `row` is `new`, or `old` of a row that is deleted.
    fn canonical(&self, shown: Shown) -> Shown {
        match shown {
            Shown::Column(Source::Row, column) if !self.ops.contains(&Op::Delete) => Shown::Column(Source::New, column),
            Shown::Column(Source::Row, column) if self.ops == [Op::Delete] => Shown::Column(Source::Old, column),
            other => other,
        }
    }

    /// What a condition on this expression shows; `None` of what is never null.
    fn showable(&self, expression: &IdedExpr) -> Option<Shown> {
        if let Some((source, column)) = self.read(expression) {
            return Some(self.canonical(Shown::Column(source, column)));
        }
        match &expression.expr {
            Expr::Call(_) => Some(Shown::Value(spelled(expression))),
            Expr::Select(select) if !select.test => Some(Shown::Value(spelled(expression))),
            _ => None,
        }
    }

    /// Whether the row has the column; where its columns aren't known, nobody can tell.
    fn has(&self, source: Source, column: &str) -> Option<bool> {
        Some(self.columns(source)?.contains_key(column))
    }

    fn columns(&self, source: Source) -> Option<&Columns> {
        match source {
            Source::Old | Source::New | Source::Row => self.row,
            Source::Lookup(place) => self.lookups.get(place)?.1,
            Source::Each => self.each,
            Source::Item => None,
        }
    }

    /// Whether there may be no row at all, so that every column is null.
    fn may_lack(&self, source: Source) -> bool {
        let any = |ops: &[Op]| self.ops.iter().any(|op| ops.contains(op));
        match source {
            Source::Old => any(&[Op::Insert, Op::Truncate]),
            Source::New => any(&[Op::Delete, Op::Truncate]),
            Source::Row => any(&[Op::Truncate]),
            Source::Lookup(_) => true,
            Source::Each | Source::Item => false,
        }
    }

    /// Whether there never is a row.
    fn always_lacks(&self, source: Source) -> bool {
        let only = |lacking: &[Op]| self.ops.iter().all(|op| lacking.contains(op));
        match source {
            Source::Old => only(&[Op::Insert, Op::Truncate]),
            Source::New => only(&[Op::Delete, Op::Truncate]),
            Source::Row => only(&[Op::Truncate]),
            _ => false,
        }
    }

    /// The shape of a column.
    pub fn column(&self, source: Source, column: &str) -> Shape {
        if self.always_lacks(source) {
            return Shape::Null;
        }
        let shape = match (source, self.columns(source)) {
            (Source::Item, _) => key_of(&self.item, column),
            // What the database can't run finds nothing.
            (Source::Lookup(_) | Source::Each, None) => Shape::Null,
            (_, columns) => columns.and_then(|columns| columns.get(column)).cloned().unwrap_or(Shape::Unknown),
        };
        if self.present.contains(&self.canonical(Shown::Column(source, column.to_owned()))) {
            return shape.without_null().unwrap_or(Shape::Unknown);
        }
        shape.nullable_if(self.may_lack(source))
    }

    /// The shape of an expression.
    pub fn of(&self, expression: &IdedExpr) -> Shape {
        if let Some((source, column)) = self.read(expression) {
            return self.column(source, &column);
        }
        let shape = self.shape(expression);
        if !self.is_shown(expression) {
            return shape;
        }
        shape.without_null().unwrap_or(Shape::Unknown)
    }

    fn is_shown(&self, expression: &IdedExpr) -> bool {
        !self.present.is_empty() && self.showable(expression).is_some_and(|shown| self.present.contains(&shown))
    }

    /// Whether the value may be null, as far as can be told: what a JSON column holds nobody knows, and that `first` passes
    /// over a text without a character counts for nothing here.
    pub fn may_be_null(&self, expression: &IdedExpr) -> bool {
        if self.is_shown(expression) {
            return false;
        }
        let Expr::Call(call) = &expression.expr else { return self.is_nullable(expression) };
        match (call.func_name.as_str(), call.args.as_slice()) {
            ("field" | "only" | "parse", _) => true,
            ("first", all) => all.iter().all(|part| self.may_be_null(part)),
            (operators::CONDITIONAL, [condition, then, otherwise]) => {
                let branch = |part, holds| self.holding(condition, holds).may_be_null(part);
                match self.of(condition) {
                    Shape::Literal(Literal::Boolean(holds)) => branch(if holds { then } else { otherwise }, holds),
                    _ => branch(then, true) || branch(otherwise, false),
                }
            }
            _ => self.is_nullable(expression),
        }
    }

    fn is_nullable(&self, expression: &IdedExpr) -> bool {
        let shape = self.of(expression);
        shape != Shape::Unknown && shape.has_null()
    }

    fn shape(&self, expression: &IdedExpr) -> Shape {
        match &expression.expr {
            Expr::Literal(literal) => of_literal(literal),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) if select.test => match &select.operand.expr {
                Expr::Ident(name) => match self.source(name).and_then(|source| self.has(source, &select.field)) {
                    Some(has) => Shape::Literal(Literal::Boolean(has)),
                    None => Shape::Boolean,
                },
                _ => Shape::Boolean,
            },
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(name) if name == "settings" => {
                    self.settings.get(&select.field).map_or(Shape::Unknown, of_toml)
                }
                _ => key_of(&self.of(&select.operand), &select.field),
            },
            Expr::List(list) => match list.elements.is_empty() {
                true => Shape::array(Shape::Unknown),
                false => Shape::array(Shape::union(list.elements.iter().map(|element| self.of(element)))),
            },
            Expr::Map(map) => {
                let mut fields = Vec::new();
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return Shape::Unknown };
                    let Expr::Literal(LiteralValue::String(key)) = &entry.key.expr else { return Shape::Unknown };
                    fields.push(Field::new(key.inner(), self.of(&entry.value)));
                }
                // The order of their JSON.
                fields.sort_by(|one, other| one.key.cmp(&other.key));
                Shape::Object(fields)
            }
            Expr::Call(call) => self.call(&call.func_name, call.target.as_deref(), &call.args),
            Expr::Comprehension(_) | Expr::Struct(_) | Expr::Unspecified => Shape::Unknown,
        }
    }

    fn variable(&self, name: &str) -> Shape {
        match name {
            "op" => Shape::union(self.ops.iter().map(|op| Shape::text(op.as_sql().to_ascii_lowercase()))),
            "changed" => Shape::array(Shape::Text),
            "at" => Shape::Timestamp,
            _ => Shape::Unknown,
        }
    }

    fn call(&self, name: &str, target: Option<&IdedExpr>, args: &[IdedExpr]) -> Shape {
        let of = |place: usize| args.get(place).map_or(Shape::Unknown, |argument| self.of(argument));
        let any_null = || args.iter().any(|argument| self.of(argument).has_null());
        match name {
            operators::CONDITIONAL => self.conditional(args),
            operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT => self.logical(name, args),
            operators::EQUALS
            | operators::NOT_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::IN
            | "below"
            | "above"
            | "atMost"
            | "becomes"
            | "contains"
            | "startsWith"
            | "endsWith"
            | "bool" => Shape::Boolean,
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::MODULO
            | operators::NEGATE => sum(args.iter().map(|argument| self.of(argument)).collect()),
            operators::INDEX => match (of(0), args.get(1).map(|key| &key.expr)) {
                (Shape::Array(item), _) => *item,
                (object, Some(Expr::Literal(LiteralValue::String(key)))) => key_of(&object, key.inner()),
                _ => Shape::Unknown,
            },
            "compare" => Shape::union([-1, 0, 1].map(|order| Shape::Literal(Literal::Integer(order)))),
            "first" => first(args.iter().map(|argument| self.of(argument))),
            "field" => match args.get(1).map(|key| &key.expr) {
                Some(Expr::Literal(LiteralValue::String(key))) => key_of(&of(0), key.inner()).or_null(),
                _ => Shape::Unknown,
            },
            "cents" => Shape::Decimal.nullable_if(any_null()),
            // One null counts as nothing.
            "minus" => Shape::Decimal.nullable_if(args.iter().all(|argument| self.of(argument).has_null())),
            "string" => Shape::Text,
            "camel" | "day" => Shape::Text.nullable_if(any_null()),
            "itemChanges" => item_changes(args),
            "size" | "int" | "uint" | "getFullYear" | "getMonth" | "getDate" | "getDayOfWeek" | "getHours"
            | "getMinutes" | "getSeconds" | "getMilliseconds" => Shape::Integer,
            "double" => Shape::Number,
            "timestamp" => Shape::Timestamp,
            "dyn" => target.map_or_else(|| of(0), |target| self.of(target)),
            _ => Shape::Unknown,
        }
    }

    fn conditional(&self, args: &[IdedExpr]) -> Shape {
        let [condition, then, otherwise] = args else { return Shape::Unknown };
        let branch = |holds: bool| self.holding(condition, holds).of(if holds { then } else { otherwise });
        match self.of(condition) {
            Shape::Literal(Literal::Boolean(holds)) => branch(holds),
            _ => Shape::union([branch(true), branch(false)]),
        }
    }

    /// True or false where the database's columns alone decide it, as `has(row.x) && …` does.
    fn logical(&self, name: &str, args: &[IdedExpr]) -> Shape {
        let decided =
            |wanted: bool| args.iter().any(|argument| self.of(argument) == Shape::Literal(Literal::Boolean(wanted)));
        match name {
            operators::LOGICAL_AND if decided(false) => Shape::Literal(Literal::Boolean(false)),
            operators::LOGICAL_OR if decided(true) => Shape::Literal(Literal::Boolean(true)),
            operators::LOGICAL_NOT => match args.first().map(|argument| self.of(argument)) {
                Some(Shape::Literal(Literal::Boolean(value))) => Shape::Literal(Literal::Boolean(!value)),
                _ => Shape::Boolean,
            },
            _ => Shape::Boolean,
        }
    }

    /// The operations with which the condition may come to `holds`.
    fn ops_where(&self, condition: &IdedExpr, holds: bool) -> Vec<Op> {
        let Expr::Call(call) = &condition.expr else { return self.ops.clone() };
        let only = |wanted: &dyn Fn(Op) -> bool| self.ops.iter().copied().filter(|op| wanted(*op)).collect();
        let of = |place: usize| self.ops_where(&call.args[place], holds);
        let is_op = |place: usize| matches!(&call.args[place].expr, Expr::Ident(name) if name == "op");
        match (call.func_name.as_str(), holds) {
            (operators::LOGICAL_NOT, _) => self.ops_where(&call.args[0], !holds),
            (operators::LOGICAL_AND, true) | (operators::LOGICAL_OR, false) => {
                only(&|op| of(0).contains(&op) && of(1).contains(&op))
            }
            (operators::LOGICAL_AND, false) | (operators::LOGICAL_OR, true) => {
                only(&|op| of(0).contains(&op) || of(1).contains(&op))
            }
            (name @ (operators::EQUALS | operators::NOT_EQUALS), _) if is_op(0) || is_op(1) => {
                let other = &call.args[if is_op(0) { 1 } else { 0 }];
                let Expr::Literal(LiteralValue::String(word)) = &other.expr else { return self.ops.clone() };
                let equal = (name == operators::EQUALS) == holds;
                only(&|op| (op.as_sql().eq_ignore_ascii_case(word.inner())) == equal)
            }
            _ => self.ops.clone(),
        }
    }

    /// What can't be null if the condition comes to `holds`.
    fn shown(&self, condition: &IdedExpr, holds: bool, evidence: Evidence) -> BTreeSet<Shown> {
        let outcome = || match evidence {
            // True or false, so not null.
            Evidence::Outcomes => self.showable(condition).into_iter().collect(),
            Evidence::Tests => BTreeSet::new(),
        };
        let Expr::Call(call) = &condition.expr else { return outcome() };
        let of = |place: usize, holds: bool| self.shown(&call.args[place], holds, evidence);
        let reads = |places: &[usize]| -> BTreeSet<Shown> {
            places.iter().filter_map(|place| self.showable(&call.args[*place])).collect()
        };
        let is_null = |place: usize| matches!(&call.args[place].expr, Expr::Literal(LiteralValue::Null));
        let never_null = |place: usize| !self.of(&call.args[place]).has_null();
        match (call.func_name.as_str(), holds) {
            (operators::LOGICAL_NOT, _) => of(0, !holds),
            (operators::LOGICAL_AND, true) | (operators::LOGICAL_OR, false) => {
                of(0, holds).union(&of(1, holds)).cloned().collect()
            }
            (operators::LOGICAL_AND, false) | (operators::LOGICAL_OR, true) => {
                of(0, holds).intersection(&of(1, holds)).cloned().collect()
            }
            (operators::NOT_EQUALS, true) | (operators::EQUALS, false) if is_null(1) => match first_of(&call.args[0]) {
                // first(x) != null: x is there.
                Some(inner) => self.showable(inner).into_iter().chain(reads(&[0])).collect(),
                None => reads(&[0]),
            },
            (operators::NOT_EQUALS, true) | (operators::EQUALS, false) if is_null(0) => reads(&[1]),
            (operators::EQUALS, true) if never_null(1) => reads(&[0]),
            (operators::EQUALS, true) if never_null(0) => reads(&[1]),
            (operators::IN, true)
                if !self.of(&call.args[1]).has_null() && list_without_null(&self.of(&call.args[1])) =>
            {
                reads(&[0])
            }
            ("below" | "above" | "atMost", true) => reads(&[0, 1]),
            (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, _) => {
                match evidence {
                    Evidence::Outcomes => reads(&[0, 1]),
                    Evidence::Tests => BTreeSet::new(),
                }
            }
            ("becomes", true) if !self.of(&call.args[2]).has_null() => reads(&[1]),
            _ => outcome(),
        }
    }
}

/// An expression in its own words.
pub fn spelled(expression: &IdedExpr) -> String {
    let listed = |parts: &[IdedExpr]| parts.iter().map(spelled).collect::<Vec<_>>().join(", ");
    match &expression.expr {
        Expr::Ident(name) => name.clone(),
        Expr::Select(select) if select.test => format!("has({}.{})", spelled(&select.operand), select.field),
        Expr::Select(select) => format!("{}.{}", spelled(&select.operand), select.field),
        Expr::Literal(LiteralValue::String(text)) => format!("{:?}", text.inner()).replace('"', "'"),
        Expr::Literal(literal) => match of_literal(literal) {
            Shape::Literal(Literal::Boolean(value)) => value.to_string(),
            Shape::Literal(Literal::Integer(value)) => value.to_string(),
            Shape::Null => "null".to_owned(),
            _ => format!("{literal:?}"),
        },
        Expr::List(list) => format!("[{}]", listed(&list.elements)),
        Expr::Call(call) => match (call.func_name.as_str(), call.target.as_deref(), call.args.as_slice()) {
            (operators::INDEX, _, [list, place]) => format!("{}[{}]", spelled(list), spelled(place)),
            (operators::CONDITIONAL, _, [condition, then, otherwise]) => {
                format!("({} ? {} : {})", spelled(condition), spelled(then), spelled(otherwise))
            }
            (operators::IN, _, [item, list]) => format!("({} in {})", spelled(item), spelled(list)),
            (name, None, [one]) if !name.starts_with(char::is_alphabetic) => {
                format!("{}{}", name.trim_end_matches('_'), spelled(one))
            }
            (name, None, [one, other]) if !name.starts_with(char::is_alphabetic) => {
                format!("({} {} {})", spelled(one), name.trim_matches('_'), spelled(other))
            }
            (name, None, all) => format!("{name}({})", listed(all)),
            (name, Some(target), all) => format!("{}.{name}({})", spelled(target), listed(all)),
        },
        Expr::Map(map) => {
            let entries = map.entries.iter().filter_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => Some(format!("{}: {}", spelled(&entry.key), spelled(&entry.value))),
                EntryExpr::StructField(_) => None,
            });
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        Expr::Comprehension(_) | Expr::Struct(_) | Expr::Unspecified => "…".to_owned(),
    }
}

/// `x` of `first(x)`.
fn first_of(expression: &IdedExpr) -> Option<&IdedExpr> {
    match &expression.expr {
        Expr::Call(call) if call.func_name == "first" && call.args.len() == 1 => call.args.first(),
        _ => None,
    }
}

fn list_without_null(list: &Shape) -> bool {
    matches!(list, Shape::Array(item) if !item.has_null())
}

fn of_literal(literal: &LiteralValue) -> Shape {
    match literal {
        LiteralValue::Boolean(value) => Shape::Literal(Literal::Boolean(*value.inner())),
        LiteralValue::Int(value) => Shape::Literal(Literal::Integer(*value.inner())),
        LiteralValue::UInt(_) => Shape::Integer,
        LiteralValue::Double(_) => Shape::Number,
        LiteralValue::String(value) => Shape::text(value.inner()),
        LiteralValue::Null => Shape::Null,
        LiteralValue::Bytes(_) => Shape::Unknown,
    }
}

fn constant(json: &RawValue) -> Shape {
    match serde_json::from_str(json.get()) {
        Ok(serde_json::Value::Null) => Shape::Null,
        Ok(serde_json::Value::Bool(value)) => Shape::Literal(Literal::Boolean(value)),
        Ok(serde_json::Value::Number(number)) => match number.as_i64() {
            Some(value) => Shape::Literal(Literal::Integer(value)),
            None => Shape::Number,
        },
        Ok(serde_json::Value::String(text)) => Shape::text(text),
        _ => Shape::Unknown,
    }
}

/// The type of a setting: its value is the operator's to change.
fn of_toml(value: &toml::Value) -> Shape {
    match value {
        toml::Value::String(_) => Shape::Text,
        toml::Value::Integer(_) => Shape::Integer,
        toml::Value::Float(_) => Shape::Number,
        toml::Value::Boolean(_) => Shape::Boolean,
        toml::Value::Array(items) if items.is_empty() => Shape::array(Shape::Unknown),
        toml::Value::Array(items) => Shape::array(Shape::union(items.iter().map(of_toml))),
        toml::Value::Datetime(_) | toml::Value::Table(_) => Shape::Unknown,
    }
}

/// What stands under a key of an object.
fn key_of(object: &Shape, key: &str) -> Shape {
    match object {
        Shape::Object(fields) => match fields.iter().find(|field| field.key == key) {
            Some(field) => field.shape.clone().nullable_if(field.optional),
            None => Shape::Unknown,
        },
        _ => Shape::Unknown,
    }
}

/// Both sides of an operator are of one type.
fn sum(operands: Vec<Shape>) -> Shape {
    let parts: Vec<Shape> = operands.into_iter().filter_map(Shape::without_null).collect();
    let all = |wide: &Shape| !parts.is_empty() && parts.iter().all(|part| part.within(wide));
    if all(&Shape::Integer) {
        return Shape::Integer;
    }
    if all(&Shape::Number) {
        return Shape::Number;
    }
    let texts = Shape::Union(vec![Shape::Text, Shape::Decimal, Shape::Timestamp]);
    if all(&texts) { Shape::Text } else { Shape::Unknown }
}

/// The first argument that is neither null nor "".
fn first(arguments: impl Iterator<Item = Shape>) -> Shape {
    let mut found = Vec::new();
    for shape in arguments {
        let certain = !shape.has_null() && !may_be_empty(&shape);
        found.extend(shape.without_null());
        if certain {
            return Shape::union(found);
        }
    }
    Shape::union(found.into_iter().chain([Shape::Null]))
}

fn may_be_empty(shape: &Shape) -> bool {
    shape.members().iter().any(|member| match member {
        Shape::Text | Shape::Unknown => true,
        Shape::Literal(Literal::Text(text)) => text.is_empty(),
        _ => false,
    })
}

/// Of `itemChanges(before, after, keys, amount)`.
fn item_changes(args: &[IdedExpr]) -> Shape {
    let text = |expression: &IdedExpr| match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    };
    let Some((Expr::List(keys), amount)) = args.get(2).map(|keys| &keys.expr).zip(args.get(3)) else {
        return Shape::array(Shape::Unknown);
    };
    let (keys, Some(amount)): (Option<Vec<String>>, _) = (keys.elements.iter().map(text).collect(), text(amount))
    else {
        return Shape::array(Shape::Unknown);
    };
    let Some(keys) = keys else { return Shape::array(Shape::Unknown) };
    let actions = ["added", "updated", "removed", "cleared"].map(Shape::text);
    let mut fields = vec![Field::new("action", Shape::union(actions))];
    fields.extend(keys.into_iter().map(|key| Field::new(key, Shape::Unknown)));
    // A whole number, else its digits; null of a list that was cleared.
    fields.push(Field::new(amount, Shape::union([Shape::Integer, Shape::Decimal, Shape::Null])));
    Shape::array(Shape::Object(fields))
}

#[cfg(test)]
mod tests {
    use cel::Program;

    use super::*;

    fn columns(columns: &[(&str, Shape)]) -> Columns {
        columns.iter().map(|(name, shape)| ((*name).to_owned(), shape.clone())).collect()
    }

    /// The shape of an expression about a product, for these operations.
    fn shape_of(ops: &[Op], source: &str) -> Shape {
        let row = columns(&[
            ("id", Shape::Text),
            ("stock", Shape::Integer.or_null()),
            ("price", Shape::Decimal),
            ("status", Shape::Text.or_null()),
            ("items", Shape::Unknown),
        ]);
        let buyer = columns(&[("user_id", Shape::Text)]);
        let settings = Settings::from([("limit".to_owned(), toml::Value::Integer(10))]);
        let scope = Scope {
            ops: ops.to_vec(),
            row: Some(&row),
            lookups: vec![("buyer", Some(&buyer))],
            each: None,
            item: Shape::Unknown,
            settings: &settings,
            present: BTreeSet::new(),
        };
        scope.of(Program::compile(source).expect("CEL").expression())
    }

    #[test]
    fn an_expression_has_the_shape_of_what_it_can_give() {
        let literals = |texts: &[&str]| Shape::union(texts.iter().map(|text| Shape::text(*text)));
        for (source, expected) in [
            ("new.price", Shape::Decimal),
            ("row['stock']", Shape::Integer.or_null()),
            ("'created'", Shape::text("created")),
            ("new.stock == null", Shape::Boolean),
            ("atMost(new.stock, 0) ? 'out' : 'low'", literals(&["out", "low"])),
            ("new.stock != null ? new.stock : settings.limit", Shape::Integer),
            ("above(new.stock, 0) ? new.stock : 0", Shape::Integer),
            ("new.stock == null ? 'none' : 'some'", literals(&["none", "some"])),
            // A column that the table lacks decides by itself.
            ("has(row.threshold) && row.threshold != null ? row.threshold : settings.limit", Shape::Integer),
            ("has(row.id) ? row.id : null", Shape::Text),
            ("first(new.status, buyer.user_id)", Shape::Text.or_null()),
            ("first(new.stock, 0)", Shape::union([Shape::Integer])),
            ("buyer.user_id", Shape::Text.or_null()),
            ("cents(new.stock)", Shape::Decimal.or_null()),
            ("minus(new.price, old.price)", Shape::Decimal),
            ("compare(1, 2)", Shape::union([-1, 0, 1].map(|order| Shape::Literal(Literal::Integer(order))))),
            ("field(new.items, 'a')", Shape::Unknown),
            ("settings.limit", Shape::Integer),
            ("[new.price]", Shape::array(Shape::Decimal)),
            (
                "{'id': row.id, 'n': 1}",
                Shape::Object(vec![
                    Field::new("id", Shape::Text),
                    Field::new("n", Shape::Literal(Literal::Integer(1))),
                ]),
            ),
            ("size(row.id) + 1", Shape::Integer),
            ("row.id + '-' + row.id", Shape::Text),
            ("changed", Shape::array(Shape::Text)),
            ("op", Shape::text("update")),
        ] {
            assert_eq!(shape_of(&[Op::Update], source), expected, "{source}");
        }
    }

    #[test]
    fn a_row_that_may_not_be_there_has_columns_that_may_be_null() {
        assert_eq!(shape_of(&[Op::Insert], "old.price"), Shape::Null);
        assert_eq!(shape_of(&[Op::Delete], "new.price"), Shape::Null);
        assert_eq!(shape_of(&[Op::Insert, Op::Update], "old.price"), Shape::Decimal.or_null());
        assert_eq!(shape_of(&[Op::Insert, Op::Update], "row.price"), Shape::Decimal);
        assert_eq!(shape_of(&[Op::Delete], "row.price"), Shape::Decimal);
        // A test of the one is a test of the other, where they are one.
        assert_eq!(shape_of(&[Op::Update], "row.stock != null ? new.stock : 0"), Shape::Integer);
        // Where the operation says that the row is there, it is.
        let given = |source| shape_of(&[Op::Insert, Op::Update, Op::Delete], source);
        assert!(!given("op == 'delete' ? '0' : new.price").has_null());
        assert_eq!(given("op != 'update' ? '0.00' : old.price"), Shape::union([Shape::text("0.00"), Shape::Decimal]));
        assert!(!given("!(op == 'insert' || op == 'update') ? old.price : '0'").has_null());
        assert!(given("op == 'insert' ? '0' : new.price").has_null());
        let other = shape_of(&[Op::Update], "old.stock != null ? new.stock : 0");
        assert!(other.has_null(), "{other:?}");
    }

    #[test]
    fn what_happened_to_a_list_is_told_with_its_keys() {
        let shape = shape_of(&[Op::Update], "itemChanges(old.items, new.items, ['productId'], 'quantity')");
        let Shape::Array(item) = shape else { panic!("{shape:?}") };
        let Shape::Object(fields) = *item else { panic!("{item:?}") };
        assert_eq!(
            fields.iter().map(|field| field.key.as_str()).collect::<Vec<_>>(),
            ["action", "productId", "quantity"]
        );
    }
}
