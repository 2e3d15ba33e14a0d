//! Between JSON and CEL: a row's columns as CEL values, read when an expression asks for them, and results as JSON.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc};

use cel::{
    ExecutionError, Value,
    common::{
        traits::Indexer,
        types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, MAP_TYPE, Type},
        value::{CowVal, Val},
    },
};
use serde_json::value::RawValue;

use crate::{change::Row, wire::Text};

/// A row as expressions see it. Where there is no row (the one before an insert, a lookup that found nothing), every
/// column is null.
#[derive(Clone, Copy)]
pub(super) struct RowView<'a>(pub Option<&'a Row>);

pub(super) const NULL: &str = "null";

impl<'a> RowView<'a> {
    /// The column's JSON, or `None` if the row lacks the column.
    pub fn get(self, column: &str) -> Option<&'a str> {
        match self.0 {
            Some(row) => row.get(column).map(RawValue::get),
            None => Some(NULL),
        }
    }
}

impl fmt::Debug for RowView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("row")
    }
}

impl Val for RowView<'_> {
    fn get_type(&self) -> &Type {
        Self::cel_type()
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for RowView<'_> {
    fn get<'b, 'v>(&'b self, column: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(CowVal::Owned(column_value(*self, column)?))
    }

    fn steal<'v>(self: Box<Self>, column: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        column_value(*self, column)
    }
}

fn column_value<'a>(row: RowView<'a>, column: &dyn Val) -> Result<Box<dyn Val + 'a>, ExecutionError> {
    let Some(column) = column.downcast_ref::<CelString>() else {
        return Err(ExecutionError::NoSuchKey(Arc::new("a row's columns are strings".to_owned())));
    };
    match row.get(column.inner()) {
        Some(json) => from_json(json),
        None => Err(ExecutionError::NoSuchKey(Arc::new(column.inner().to_owned()))),
    }
}

/// JSON as a CEL value. Text without escapes is borrowed.
///
/// A number beyond 64 bits becomes a double: whoever needs its digits passes the column on as it is.
pub(super) fn from_json<'a>(json: &'a str) -> Result<Box<dyn Val + 'a>, ExecutionError> {
    let malformed = |error: serde_json::Error| ExecutionError::InternalError(format!("not JSON: {error}"));
    Ok(match json.as_bytes().first() {
        Some(b'n') => Box::new(CelNull),
        Some(b't') => Box::new(CelBool::from(true)),
        Some(b'f') => Box::new(CelBool::from(false)),
        Some(b'"') => match serde_json::from_str::<Text<'a>>(json).map_err(malformed)?.0 {
            Cow::Borrowed(text) => Box::new(CelString::from(text)),
            Cow::Owned(text) => Box::new(CelString::from(text)),
        },
        _ => {
            if let Ok(integer) = json.parse::<i64>() {
                return Ok(Box::new(CelInt::from(integer)));
            }
            from_json_value(serde_json::from_str(json).map_err(malformed)?)
        }
    })
}

pub(super) fn from_json_value<'v>(value: serde_json::Value) -> Box<dyn Val + 'v> {
    match value {
        serde_json::Value::Null => Box::new(CelNull),
        serde_json::Value::Bool(flag) => Box::new(CelBool::from(flag)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Box::new(CelInt::from(integer)),
            (None, Some(integer)) => Box::new(CelUInt::from(integer)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        serde_json::Value::String(text) => Box::new(CelString::from(text)),
        serde_json::Value::Array(items) => {
            Box::new(CelList::from(items.into_iter().map(from_json_value).collect::<Vec<Box<dyn Val>>>()))
        }
        serde_json::Value::Object(entries) => Box::new(CelMap::from(
            entries
                .into_iter()
                .map(|(key, value)| (CelMapKey::from(key), from_json_value(value)))
                .collect::<HashMap<CelMapKey<'_>, Box<dyn Val>>>(),
        )),
    }
}

/// A setting as a CEL value.
pub(super) fn from_toml(value: &toml::Value) -> Box<dyn Val> {
    from_json_value(serde_json::to_value(value).unwrap_or_default())
}

/// A list of strings as a CEL value.
pub(super) fn from_strings<'v>(items: impl IntoIterator<Item = &'v str>) -> Box<dyn Val + 'v> {
    let items = items.into_iter().map(|item| Box::new(CelString::from(item)) as Box<dyn Val + 'v>);
    Box::new(CelList::from(items.collect::<Vec<_>>()))
}

/// An expression's result as JSON.
pub(super) fn to_json(value: &dyn Val) -> Result<Box<RawValue>, String> {
    let value = Value::try_from(value).map_err(|error| error.to_string())?;
    let json = plain(&value)?;
    serde_json::value::to_raw_value(&json).map_err(|error| error.to_string())
}

/// The values as one JSON list.
pub(super) fn plain_list(values: &[Value]) -> Result<String, String> {
    let values = values.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    serde_json::to_string(&values).map_err(|error| error.to_string())
}

fn plain(value: &Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(integer) => (*integer).into(),
        Value::UInt(integer) => (*integer).into(),
        Value::Float(number) => {
            serde_json::Number::from_f64(*number).ok_or_else(|| format!("{number} has no place in JSON"))?.into()
        }
        Value::String(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(plain).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Map(map) => {
            let mut entries: Vec<_> = map.map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries.into_iter().map(|(key, value)| Ok((key.to_string(), plain(value)?)));
            serde_json::Value::Object(entries.collect::<Result<_, String>>()?)
        }
        Value::Timestamp(at) => at.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into(),
        other => return Err(format!("a {} has no place in JSON", other.type_of())),
    })
}
