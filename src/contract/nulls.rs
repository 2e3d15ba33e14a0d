//! Where an expression fails on null: CEL has no order for null, nor arithmetic. Such a change goes to the dead letter.

use std::collections::BTreeSet;

use cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr, operators},
};

use super::{infer::Scope, shape::Shape};
use crate::catalog::describe::{Source, Term, TermForm};

/// A column that an expression can't take as it may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unfit {
    /// `new.stock`
    pub column: String,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It may be null here, and this operator or function fails on null.
    Null(String),
    /// It is a `numeric`, which expressions get as text, and is compared with a number.
    Digits(String),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { column, why } = self;
        match why {
            Why::Null(operator) => write!(
                f,
                "{column} may be null, and {operator} fails on null: test it ({column} != null && …), or use below, above, \
                 atMost or compare"
            ),
            Why::Digits(operator) => write!(
                f,
                "{column} is a numeric, which expressions get as text, and {operator} compares no text with a number: \
                 use below, above, atMost or compare"
            ),
        }
    }
}

/// Looks through an expression, given what is known where it is evaluated.
pub fn find(term: Term<'_>, scope: &Scope<'_>, found: &mut BTreeSet<Unfit>) {
    if let TermForm::Cel(expression) = term.form {
        visit(expression, scope, found);
    }
}

fn visit(expression: &IdedExpr, scope: &Scope<'_>, found: &mut BTreeSet<Unfit>) {
    match &expression.expr {
        Expr::Call(call) => {
            match call.func_name.as_str() {
                // Whichever side is false decides, in either order: CEL forgives the other's failure.
                name @ (operators::LOGICAL_AND | operators::LOGICAL_OR) => {
                    let holds = name == operators::LOGICAL_AND;
                    let (one, other) = (&call.args[0], &call.args[1]);
                    visit(one, &scope.holding(other, holds), found);
                    visit(other, &scope.holding(one, holds), found);
                    return;
                }
                operators::CONDITIONAL => {
                    let condition = &call.args[0];
                    visit(condition, scope, found);
                    visit(&call.args[1], &scope.holding(condition, true), found);
                    visit(&call.args[2], &scope.holding(condition, false), found);
                    return;
                }
                name => {
                    let operands = call.target.iter().map(|target| &**target).chain(&call.args);
                    if let Some(called) = fails_on_null(name) {
                        operands.clone().for_each(|operand| operand_of(operand, &called, scope, found));
                    }
                    if let Some(called) = compares(name) {
                        digits(&call.args, called, scope, found);
                    }
                }
            }
            let operands = call.target.iter().map(|target| &**target).chain(&call.args);
            operands.for_each(|operand| visit(operand, scope, found));
        }
        Expr::Select(select) => visit(&select.operand, scope, found),
        Expr::List(list) => list.elements.iter().for_each(|element| visit(element, scope, found)),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(entry) = &entry.expr {
                    visit(&entry.value, scope, found);
                }
            }
        }
        _ => {}
    }
}

fn operand_of(operand: &IdedExpr, called: &str, scope: &Scope<'_>, found: &mut BTreeSet<Unfit>) {
    let Some((source, column)) = scope.read(operand) else { return };
    let shape = scope.column(source, &column);
    if shape != Shape::Unknown && shape.has_null() {
        found.insert(Unfit { column: spelled(source, &column, scope), why: Why::Null(called.to_owned()) });
    }
}

/// `row.price < 10`
fn digits(args: &[IdedExpr], called: &str, scope: &Scope<'_>, found: &mut BTreeSet<Unfit>) {
    let [one, other] = args else { return };
    for (column, limit) in [(one, other), (other, one)] {
        let Some((source, name)) = scope.read(column) else { continue };
        let is_decimal = scope.column(source, &name).without_null() == Some(Shape::Decimal);
        if is_decimal && scope.of(limit).within(&Shape::Number) {
            found.insert(Unfit { column: spelled(source, &name, scope), why: Why::Digits(called.to_owned()) });
        }
    }
}

fn spelled(source: Source, column: &str, scope: &Scope<'_>) -> String {
    let row = match source {
        Source::Old => "old",
        Source::New => "new",
        Source::Row => "row",
        Source::Each => "each",
        Source::Item => "item",
        Source::Lookup(place) => scope.lookups.get(place).map_or("", |(name, _)| name),
    };
    format!("{row}.{column}")
}

/// `<` of `_<_`.
fn compares(name: &str) -> Option<&str> {
    const ORDER: [&str; 4] = [operators::LESS, operators::LESS_EQUALS, operators::GREATER, operators::GREATER_EQUALS];
    ORDER.contains(&name).then(|| name.trim_matches('_'))
}

/// How an operator or function that fails on null is called.
fn fails_on_null(name: &str) -> Option<String> {
    const ARITHMETIC: [&str; 6] = [
        operators::ADD,
        operators::SUBSTRACT,
        operators::MULTIPLY,
        operators::DIVIDE,
        operators::MODULO,
        operators::NEGATE,
    ];
    const FUNCTIONS: [&str; 10] =
        ["size", "contains", "startsWith", "endsWith", "int", "uint", "double", "timestamp", "duration", "camel"];
    if compares(name).is_some() || ARITHMETIC.contains(&name) {
        return Some(name.trim_matches('_').to_owned());
    }
    FUNCTIONS.contains(&name).then(|| format!("{name}()"))
}
