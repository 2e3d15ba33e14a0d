//! Where an expression fails on null: CEL has no order for null, nor arithmetic, nor is it true or false. Such a change
//! goes to the dead letter.

use std::collections::BTreeSet;

use cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr, operators},
};

use super::{
    infer::{Scope, spelled},
    shape::Shape,
};
use crate::catalog::describe::{Source, Term, TermForm};

/// A value that an expression can't take as it may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unfit {
    /// `new.stock`, `first(row.a, row.b)`
    pub value: String,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It may be null here, and this operator or function fails on null.
    Null(String, Instead),
    /// It is a `numeric`, which expressions get as text, and is compared.
    Digits(String),
    /// The same, and is reckoned with.
    Reckoned(String),
}

/// What does the same and takes null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instead {
    Comparison,
    /// Of what should be true or false.
    Equality,
    Value,
}

/// A value that is longer is told by its beginning.
const SHORT: usize = 60;

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let long = self.value.chars().nth(SHORT).is_some();
        let value = match long {
            true => format!("{}…", self.value.chars().take(SHORT).collect::<String>()),
            false => self.value.clone(),
        };
        let it = if long { "it" } else { &value };
        match &self.why {
            Why::Null(called, instead) => {
                write!(f, "{value} may be null, and {called} fails on null: ")?;
                match instead {
                    Instead::Comparison => {
                        write!(f, "test it ({it} != null && …), or use below, above, atMost or compare")
                    }
                    Instead::Equality => write!(f, "write {it} == true, or {it} != true"),
                    Instead::Value => write!(f, "test it ({it} != null && …), or give another value: first({it}, …)"),
                }
            }
            Why::Digits(operator) => write!(
                f,
                "{value} is a numeric, which expressions get as text, and {operator} compares no text with a number, and \
                 two texts letter by letter: use below, above, atMost or compare"
            ),
            Why::Reckoned(operator) => write!(
                f,
                "{value} is a numeric, which expressions get as text, and {operator} reckons with numbers: use minus for a \
                 difference, or double({it}) where rounding does no harm"
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

/// Looks through a `when`, which has to come to true or false.
pub fn find_in_condition(term: Term<'_>, scope: &Scope<'_>, found: &mut BTreeSet<Unfit>) {
    const WHEN: &str = "a condition";
    match term.form {
        TermForm::Cel(expression) => {
            operand_of(expression, WHEN, Instead::Equality, scope, found);
            visit(expression, scope, found);
        }
        TermForm::Column(source, column) => {
            let shape = scope.column(source, column);
            if shape != Shape::Unknown && shape.has_null() {
                let why = Why::Null(WHEN.to_owned(), Instead::Equality);
                found.insert(Unfit { value: named(source, column, scope), why });
            }
        }
        TermForm::Constant(_) => {}
    }
}

fn visit(expression: &IdedExpr, scope: &Scope<'_>, found: &mut BTreeSet<Unfit>) {
    match &expression.expr {
        Expr::Call(call) => {
            let name = call.func_name.as_str();
            let operands = || call.target.iter().map(|target| &**target).chain(&call.args);
            match (name, call.args.as_slice()) {
                // Whichever side is false decides, in either order: CEL forgives the other's failure. What the right side
                // shows by not failing itself is no help to the left, for both may fail.
                (operators::LOGICAL_AND | operators::LOGICAL_OR, [one, other]) => {
                    let holds = name == operators::LOGICAL_AND;
                    for (side, scope) in [(one, scope.tested(other, holds)), (other, scope.holding(one, holds))] {
                        operand_of(side, name.trim_matches('_'), Instead::Equality, &scope, found);
                        visit(side, &scope, found);
                    }
                }
                (operators::CONDITIONAL, [condition, then, otherwise]) => {
                    operand_of(condition, "?:", Instead::Equality, scope, found);
                    visit(condition, scope, found);
                    visit(then, &scope.holding(condition, true), found);
                    visit(otherwise, &scope.holding(condition, false), found);
                }
                (operators::IN, [item, list]) => {
                    operand_of(list, "in", Instead::Value, scope, found);
                    visit(item, scope, found);
                    visit(list, scope, found);
                }
                (operators::INDEX, [list, place]) => {
                    operand_of(list, "[…]", Instead::Value, scope, found);
                    visit(list, scope, found);
                    visit(place, scope, found);
                }
                (_, arguments) => {
                    if let Some((called, instead)) = fails_on_null(name) {
                        operands().for_each(|operand| operand_of(operand, &called, instead, scope, found));
                    }
                    digits(name, arguments, scope, found);
                    operands().for_each(|operand| visit(operand, scope, found));
                }
            }
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

fn operand_of(operand: &IdedExpr, called: &str, instead: Instead, scope: &Scope<'_>, found: &mut BTreeSet<Unfit>) {
    if scope.may_be_null(operand) {
        found.insert(Unfit { value: spelled(operand), why: Why::Null(called.to_owned(), instead) });
    }
}

/// `row.price < 10`, `row.price * 2`: of each operator once.
fn digits(name: &str, arguments: &[IdedExpr], scope: &Scope<'_>, found: &mut BTreeSet<Unfit>) {
    let is_decimal = |operand: &&IdedExpr| scope.of(operand).members().contains(&Shape::Decimal);
    let Some(operand) = arguments.iter().find(is_decimal) else { return };
    let operator = name.trim_matches('_').to_owned();
    let number = Shape::Union(vec![Shape::Number, Shape::Decimal, Shape::Null]);
    let why = match name {
        name if compares(name).is_some() => Why::Digits(operator),
        // `+` joins texts, which may be what is meant: `'€ ' + row.price`.
        operators::ADD if !arguments.iter().all(|operand| scope.of(operand).within(&number)) => return,
        name if ARITHMETIC.contains(&name) => Why::Reckoned(operator),
        _ => return,
    };
    found.insert(Unfit { value: spelled(operand), why });
}

fn named(source: Source, column: &str, scope: &Scope<'_>) -> String {
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

const ARITHMETIC: [&str; 6] = [
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
];

/// `<` of `_<_`.
fn compares(name: &str) -> Option<&str> {
    const ORDER: [&str; 4] = [operators::LESS, operators::LESS_EQUALS, operators::GREATER, operators::GREATER_EQUALS];
    ORDER.contains(&name).then(|| name.trim_matches('_'))
}

/// How an operator or function that fails on null is called, and what is of use instead.
fn fails_on_null(name: &str) -> Option<(String, Instead)> {
    const FUNCTIONS: [&str; 11] = [
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "int",
        "uint",
        "double",
        "string",
        "bool",
        "timestamp",
        "duration",
    ];
    if let Some(operator) = compares(name) {
        return Some((operator.to_owned(), Instead::Comparison));
    }
    if name == operators::LOGICAL_NOT {
        return Some(("!".to_owned(), Instead::Equality));
    }
    if ARITHMETIC.contains(&name) {
        return Some((name.trim_matches('_').to_owned(), Instead::Value));
    }
    FUNCTIONS.contains(&name).then(|| (format!("{name}()"), Instead::Value))
}
