//! The functions that rules may call, beside CEL's own. They take null for an answer, so that a rule needn't test for it.
//! Each is described in the catalog's README, which the docs of the module above include.

use std::{borrow::Cow, cmp::Ordering, str::FromStr, sync::Arc};

use bigdecimal::BigDecimal;
use cel::{Context, ExecutionError, Value, extractors::Arguments};

use super::items::item_changes;

/// Names of the functions in this module.
pub(super) const OWN: [&str; 14] = [
    "below",
    "above",
    "atMost",
    "compare",
    "becomes",
    "first",
    "field",
    "cents",
    "camel",
    "minus",
    "day",
    "parse",
    "only",
    "itemChanges",
];

/// Names of CEL's own functions that rules may call.
pub(super) const STANDARD: [&str; 21] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
    "bool",
    "type",
    "dyn",
    "timestamp",
    "duration",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

type Outcome = Result<Value, ExecutionError>;

/// A context with CEL's functions and those of this module; to be made once, since it is slow to make.
pub(super) fn context() -> Context<'static, 'static> {
    let mut context = Context::default();
    let mut added = Vec::new();
    added.push(
        context.add_function("below", |x: Value, limit: Value| {
            related("below", &x, &limit, |order| order == Ordering::Less)
        }),
    );
    added.push(context.add_function("above", |x: Value, limit: Value| {
        related("above", &x, &limit, |order| order == Ordering::Greater)
    }));
    added.push(context.add_function("atMost", |x: Value, limit: Value| {
        related("atMost", &x, &limit, |order| order != Ordering::Greater)
    }));
    added.push(context.add_function("compare", compare));
    added.push(context.add_function("becomes", becomes));
    added.push(context.add_function("first", |Arguments(values): Arguments| first(&values)));
    added.push(context.add_function("field", field));
    added.push(context.add_function("cents", cents));
    added.push(context.add_function("minus", minus));
    added.push(context.add_function("day", |time: Value| {
        of_text("day", &time, |time| time.get(..10).map_or(Value::Null, Value::from))
    }));
    added.push(context.add_function("parse", parse));
    added.push(context.add_function("only", only));
    added.push(context.add_function("itemChanges", item_changes));
    added.push(context.add_function("camel", |name: Value| of_text("camel", &name, |name| camel(name).into())));
    added.into_iter().collect::<Result<(), _>>().expect("no name is one of CEL's own");
    context
}

fn related(function: &str, x: &Value, limit: &Value, holds: fn(Ordering) -> bool) -> Outcome {
    Ok(Value::Bool(order(function, x, limit)?.is_some_and(holds)))
}

fn compare(a: Value, b: Value) -> Outcome {
    let order = order("compare", &a, &b)?.unwrap_or_else(|| (a != Value::Null).cmp(&(b != Value::Null)));
    Ok(Value::Int(order as i64))
}

/// `None` if either is null.
fn order(function: &str, a: &Value, b: &Value) -> Result<Option<Ordering>, ExecutionError> {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(None),
        (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
        (a, b) => Ok(Some(decimal(function, a)?.cmp(&decimal(function, b)?))),
    }
}

pub(super) fn decimal(function: &str, value: &Value) -> Result<BigDecimal, ExecutionError> {
    let text: Cow<'_, str> = match value {
        Value::Int(integer) => return Ok(BigDecimal::from(*integer)),
        Value::UInt(integer) => return Ok(BigDecimal::from(*integer)),
        Value::Float(number) => number.to_string().into(),
        // An exponent would let ten characters of somebody's text stand for a gigabyte of digits.
        Value::String(text) if !text.contains(['e', 'E']) => text.as_str().into(),
        other => return Err(unsuitable(function, "a number", other)),
    };
    BigDecimal::from_str(&text).map_err(|_| unsuitable(function, "a number", value))
}

fn becomes(before: Value, after: Value, wanted: Value) -> Value {
    let is = |value: &Value| match &wanted {
        Value::List(values) => values.contains(value),
        single => single == value,
    };
    Value::Bool(is(&after) && !is(&before))
}

fn first(values: &[Value]) -> Value {
    let empty =
        |value: &&Value| matches!(value, Value::Null) || matches!(value, Value::String(text) if text.is_empty());
    values.iter().find(|value| !empty(value)).cloned().unwrap_or(Value::Null)
}

fn field(object: Value, key: Arc<String>) -> Value {
    match object {
        Value::Map(map) => map.map.get(&cel::objects::Key::String(key)).cloned().unwrap_or(Value::Null),
        _ => Value::Null,
    }
}

/// `"12.50"` less `"2.5"` is `"10.00"`: with the digits of the longer fraction. Null counts as nothing.
fn minus(a: Value, b: Value) -> Outcome {
    let number = |value: &Value| match value {
        Value::Null => Ok(BigDecimal::from(0)),
        value => decimal("minus", value),
    };
    if a == Value::Null && b == Value::Null {
        return Ok(Value::Null);
    }
    Ok((number(&a)? - number(&b)?).to_plain_string().into())
}

/// JSON that a text column holds; what is no JSON is null, and what is no text stays as it is.
fn parse(value: Value) -> Outcome {
    let Value::String(text) = &value else { return Ok(value) };
    let Ok(json) = serde_json::from_str::<serde_json::Value>(text) else { return Ok(Value::Null) };
    Ok(Value::try_from(super::value::from_json_value(json).as_ref()).unwrap_or(Value::Null))
}

/// The value that the key has in all objects of a list; null if they differ, or there is none.
fn only(items: Value, key: Arc<String>) -> Value {
    let Value::List(items) = items else { return Value::Null };
    let mut values = items.iter().map(|item| field(item.clone(), key.clone()));
    let Some(first) = values.next() else { return Value::Null };
    if values.all(|value| value == first) { first } else { Value::Null }
}

fn cents(amount: Value) -> Outcome {
    let amount: i128 = match &amount {
        Value::Null => return Ok(Value::Null),
        Value::Int(amount) => (*amount).into(),
        Value::UInt(amount) => (*amount).into(),
        Value::String(digits) => digits.parse().map_err(|_| unsuitable("cents", "whole cents", &amount))?,
        other => return Err(unsuitable("cents", "whole cents", other)),
    };
    let sign = if amount < 0 { "-" } else { "" };
    let (units, cents) = (amount.unsigned_abs() / 100, amount.unsigned_abs() % 100);
    Ok(format!("{sign}{units}.{cents:02}").into())
}

/// What a function makes of a text; null of null.
fn of_text(function: &str, value: &Value, make: fn(&str) -> Value) -> Outcome {
    match value {
        Value::Null => Ok(Value::Null),
        Value::String(text) => Ok(make(text)),
        other => Err(unsuitable(function, "a text", other)),
    }
}

/// `seller_id` as `sellerId`: each letter after an underscore is raised, the underscore goes.
pub fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut raise = false;
    for c in name.chars() {
        if c == '_' && !camel.is_empty() {
            raise = true;
        } else if raise {
            camel.extend(c.to_uppercase());
            raise = false;
        } else {
            camel.push(c);
        }
    }
    if camel.is_empty() { name.to_owned() } else { camel }
}

pub(super) fn unsuitable(function: &str, expected: &str, found: &Value) -> ExecutionError {
    let found = match found {
        Value::String(text) => format!("{text:?}"),
        other => format!("a {}", other.type_of()),
    };
    ExecutionError::FunctionError {
        function: function.to_owned(),
        message: format!("expected {expected}, found {found}"),
    }
}

#[cfg(test)]
mod tests {
    use cel::Program;

    use super::*;

    fn run(source: &str) -> Result<Value, String> {
        let context = context();
        Program::compile(source).unwrap().execute(&context).map_err(|error| error.to_string())
    }

    #[test]
    fn functions_give_what_their_table_says() {
        for (source, expected) in [
            ("below(9, 10)", "true"),
            ("below(10, 10)", "false"),
            ("below(null, 10)", "false"),
            ("below(1, null)", "false"),
            ("below('9.99', 10)", "true"),
            ("below('123456789012345678901234567890.1', '123456789012345678901234567890.2')", "true"),
            ("below('10.00', '10')", "false"),
            ("above('10.01', 10)", "true"),
            ("above(null, 0)", "false"),
            ("atMost(0, 0)", "true"),
            ("atMost(-1, 0)", "true"),
            ("atMost(null, 0)", "false"),
            ("compare('2', '10')", "-1"),
            ("compare('10.0', 10)", "0"),
            ("compare(3, 2)", "1"),
            ("compare(null, -5)", "-1"),
            ("compare(null, null)", "0"),
            ("compare(1.5, '1.50')", "0"),
            ("becomes('draft', 'sent', 'sent')", "true"),
            ("becomes('sent', 'sent', 'sent')", "false"),
            ("becomes(null, 'sent', ['sent', 'viewed'])", "true"),
            ("becomes('viewed', 'sent', ['sent', 'viewed'])", "false"),
            ("becomes('sent', null, 'sent')", "false"),
            ("first(null, '', 'a', 'b')", "\"a\""),
            ("first(null)", "null"),
            ("first(0, 1)", "0"),
            ("field({'reason': 'late'}, 'reason')", "\"late\""),
            ("field({'a': 1}, 'reason')", "null"),
            ("field(null, 'reason')", "null"),
            ("field([1], 'reason')", "null"),
            ("cents(1250)", "\"12.50\""),
            ("cents(5)", "\"0.05\""),
            ("cents(-5)", "\"-0.05\""),
            ("cents(0)", "\"0.00\""),
            ("cents('123456789012345678901')", "\"1234567890123456789.01\""),
            ("cents(null)", "null"),
            ("camel('low_stock_threshold')", "\"lowStockThreshold\""),
            ("camel(null)", "null"),
            ("minus('12.50', '2.5')", "\"10.00\""),
            ("minus('2.5', 12)", "\"-9.5\""),
            ("minus('123456789012345678901234567890.10', '0.01')", "\"123456789012345678901234567890.09\""),
            ("minus('12.50', null)", "\"12.50\""),
            ("minus(null, '12.50')", "\"-12.50\""),
            ("minus(null, null)", "null"),
            ("day('2026-01-31T23:59:59.999Z')", "\"2026-01-31\""),
            ("day('2026')", "null"),
            ("day(null)", "null"),
            ("parse('[{\"a\": 1}]')", "[{\"a\":1}]"),
            ("parse('[1')", "null"),
            ("parse('')", "null"),
            ("parse([1])", "[1]"),
            ("parse(null)", "null"),
            ("only([{'a': 1, 'b': 1}, {'a': 1, 'b': 2}], 'a')", "1"),
            ("only([{'a': 1}, {'a': 2}], 'a')", "null"),
            ("only([{'a': 1}, {'b': 1}], 'a')", "null"),
            ("only([], 'a')", "null"),
            ("only(null, 'a')", "null"),
            ("only(['a'], 'a')", "null"),
        ] {
            let value = run(source).unwrap_or_else(|error| panic!("{source}: {error}"));
            let value: Box<dyn cel::common::value::Val> = value.try_into().unwrap();
            assert_eq!(super::super::value::to_json(&*value).unwrap().get(), expected, "{source}");
        }
    }

    #[test]
    fn a_function_says_what_it_expected() {
        for (source, expected) in [
            ("below('ten', 10)", "Error executing function 'below': expected a number, found \"ten\""),
            ("above([1], 10)", "Error executing function 'above': expected a number, found a list"),
            ("day(7)", "Error executing function 'day': expected a text, found a int"),
            ("cents(1.5)", "Error executing function 'cents': expected whole cents, found a float"),
            ("minus('ten', 1)", "Error executing function 'minus': expected a number, found \"ten\""),
        ] {
            assert_eq!(run(source).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_column_that_starts_with_an_underscore_keeps_it() {
        assert_eq!(camel("_private_note"), "_privateNote");
        assert_eq!(camel("Mixed"), "Mixed");
        assert_eq!(camel("level_1_id"), "level1Id");
    }
}
