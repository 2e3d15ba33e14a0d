//! Which kinds of rooms are public: those whose policy lets a visitor in.
//!
//! The policy is evaluated for a visitor, with a parameter of which nothing is known but that it is text. What depends on
//! it may come out either way; so a room that a visitor may be in for some parameter is public.

use cel::{
    Context, IdedExpr, Value,
    common::{
        ast::{Expr, LiteralValue, operators},
        types::{CelBool, CelList, CelMap, CelNull, CelString},
    },
};

use super::{
    expression::{Expression, Form, parts},
    rooms,
};
use crate::identity::Identity;

/// What may come of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcomes {
    yes: bool,
    no: bool,
    /// A policy that fails lets nobody in.
    fails: bool,
}

impl Outcomes {
    const YES: Self = Self { yes: true, no: false, fails: false };
    const NO: Self = Self { yes: false, no: true, fails: false };
    const FAILS: Self = Self { yes: false, no: false, fails: true };
    const ANY: Self = Self { yes: true, no: true, fails: true };

    fn not(self) -> Self {
        Self { yes: self.no, no: self.yes, ..self }
    }

    /// Either side that is false decides, whatever becomes of the other.
    fn and(self, other: Self) -> Self {
        Self {
            yes: self.yes && other.yes,
            no: self.no || other.no,
            fails: self.fails && (other.yes || other.fails) || other.fails && self.yes,
        }
    }

    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    fn either(self, other: Self) -> Self {
        Self { yes: self.yes || other.yes, no: self.no || other.no, fails: self.fails || other.fails }
    }
}

/// Whether a visitor may join, for any parameter. `root` has the settings.
pub(super) fn let_in(policy: &Expression, parameter: Option<&str>, root: &Context<'static, 'static>) -> bool {
    match policy.form() {
        Form::Constant(constant) => constant.get() == "true",
        // Policies read no rows.
        Form::Column(..) => false,
        Form::Cel(expression) => {
            let visitor = Identity::default();
            let mut context = root.new_inner_scope();
            context.add_variable_as_val("auth", rooms::auth(&visitor));
            outcomes(expression, parameter.unwrap_or_default(), &context).yes
        }
    }
}

fn outcomes(expression: &IdedExpr, parameter: &str, at: &Context<'_, '_>) -> Outcomes {
    if !mentions(expression, parameter) {
        return match Value::resolve_val(expression, at) {
            Ok(value) => match value.downcast_ref::<CelBool>().map(|flag| *flag.inner()) {
                Some(true) => Outcomes::YES,
                Some(false) => Outcomes::NO,
                None => Outcomes::FAILS,
            },
            Err(_) => Outcomes::FAILS,
        };
    }
    let Expr::Call(call) = &expression.expr else { return Outcomes::ANY };
    let of = |place: usize| outcomes(&call.args[place], parameter, at);
    match call.func_name.as_str() {
        operators::LOGICAL_AND => of(0).and(of(1)),
        operators::LOGICAL_OR => of(0).or(of(1)),
        operators::LOGICAL_NOT => of(0).not(),
        operators::CONDITIONAL => {
            let condition = of(0);
            let none = Outcomes { yes: false, no: false, fails: condition.fails };
            let held = if condition.yes { of(1) } else { none };
            let refuted = if condition.no { of(2) } else { none };
            none.either(held).either(refuted)
        }
        operators::EQUALS if is_never_equal(&call.args, parameter, at) => Outcomes::NO,
        operators::NOT_EQUALS if is_never_equal(&call.args, parameter, at) => Outcomes::YES,
        operators::IN if is(&call.args[0], parameter) && is_empty(&call.args[1], parameter, at) => Outcomes::NO,
        _ => Outcomes::ANY,
    }
}

fn mentions(expression: &IdedExpr, parameter: &str) -> bool {
    is(expression, parameter) || parts(expression).into_iter().any(|part| mentions(part, parameter))
}

fn is(expression: &IdedExpr, parameter: &str) -> bool {
    matches!(&expression.expr, Expr::Ident(name) if name == parameter)
}

/// The parameter is text, and not empty: whatever is something else is never equal to it.
fn is_never_equal(sides: &[IdedExpr], parameter: &str, at: &Context<'_, '_>) -> bool {
    let [one, other] = sides else { return false };
    let other = match (is(one, parameter), is(other, parameter)) {
        (true, false) => other,
        (false, true) => one,
        _ => return false,
    };
    if mentions(other, parameter) {
        return false;
    }
    if let Expr::Literal(LiteralValue::String(text)) = &other.expr {
        return text.inner().is_empty();
    }
    match Value::resolve_val(other, at) {
        Ok(value) => value.downcast_ref::<CelNull>().is_some() || is_empty_text(value.as_ref()),
        Err(_) => false,
    }
}

fn is_empty_text(value: &dyn cel::common::value::Val) -> bool {
    value.downcast_ref::<CelString>().is_some_and(|text| text.inner().is_empty())
}

fn is_empty(list: &IdedExpr, parameter: &str, at: &Context<'_, '_>) -> bool {
    if mentions(list, parameter) {
        return false;
    }
    let Ok(value) = Value::resolve_val(list, at) else { return false };
    value.downcast_ref::<CelList>().is_some_and(|list| list.inner().is_empty())
        || value.downcast_ref::<CelMap>().is_some_and(|map| map.inner().is_empty())
}
