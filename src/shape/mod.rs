//! The shape of a JSON value that a frontend gets: what TypeScript and JSON Schema both can say of it.

mod notation;

use std::sync::Arc;

pub use self::notation::parse;
use crate::change::{Column, Kind};

/// A set of JSON values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Any JSON at all.
    Unknown,
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    /// Text: a number with every digit.
    Decimal,
    /// Text: a time, ISO 8601 in UTC.
    Timestamp,
    Literal(Literal),
    Enum(Arc<Enumeration>),
    Array(Box<Shape>),
    Object(Vec<Field>),
    /// Two or more, none of them a union, null last.
    Union(Vec<Shape>),
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    Boolean(bool),
    Integer(i64),
    Text(String),
}

/// An enum of the database.
#[derive(Debug, PartialEq, Eq)]
pub struct Enumeration {
    /// As SQL spells it: `trade_quotation_status`, `shop.status`.
    pub name: String,
    /// In the order in which the database has them.
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub key: String,
    pub shape: Shape,
    /// Whether the key may be missing.
    pub optional: bool,
}

impl Field {
    pub fn new(key: impl Into<String>, shape: Shape) -> Self {
        Self { key: key.into(), shape, optional: false }
    }

    pub fn optional(key: impl Into<String>, shape: Shape) -> Self {
        Self { key: key.into(), shape, optional: true }
    }
}

impl Shape {
    pub fn text(value: impl Into<String>) -> Self {
        Self::Literal(Literal::Text(value.into()))
    }

    pub fn array(item: Shape) -> Self {
        Self::Array(Box::new(item))
    }

    /// Any of these.
    pub fn union(shapes: impl IntoIterator<Item = Shape>) -> Self {
        let mut members: Vec<Shape> = Vec::new();
        for shape in shapes {
            match shape {
                Self::Union(inner) => inner.into_iter().for_each(|shape| add(&mut members, shape)),
                shape => add(&mut members, shape),
            }
        }
        // A stable sort: the others stay in the order in which they came.
        members.sort_by_key(|shape| *shape == Self::Null);
        match members.len() {
            0 => Self::Unknown,
            1 => members.remove(0),
            _ => Self::Union(members),
        }
    }

    pub fn or_null(self) -> Self {
        Self::union([self, Self::Null])
    }

    pub fn nullable_if(self, nullable: bool) -> Self {
        if nullable { self.or_null() } else { self }
    }

    /// Whether null is among the values.
    pub fn has_null(&self) -> bool {
        match self {
            Self::Null | Self::Unknown => true,
            Self::Union(members) => members.contains(&Self::Null),
            _ => false,
        }
    }

    /// Without null; `None` if nothing else is left.
    pub fn without_null(self) -> Option<Self> {
        match self {
            Self::Null => None,
            Self::Union(members) => Some(Self::union(members.into_iter().filter(|shape| *shape != Self::Null))),
            shape => Some(shape),
        }
    }

    /// The parts of a union, or the shape itself.
    pub fn members(&self) -> &[Shape] {
        match self {
            Self::Union(members) => members,
            single => std::slice::from_ref(single),
        }
    }

    /// Whether every value of this shape is one of the other's. Of objects only those with the same keys are compared.
    pub fn within(&self, other: &Shape) -> bool {
        use Literal::{Boolean, Integer, Text};
        match (self, other) {
            (_, Self::Unknown) => true,
            (Self::Union(members), _) => members.iter().all(|member| member.within(other)),
            (_, Self::Union(members)) => members.iter().any(|member| self.within(member)),
            (Self::Literal(Boolean(_)), Self::Boolean) => true,
            (Self::Literal(Integer(_)), Self::Integer | Self::Number) | (Self::Integer, Self::Number) => true,
            // An enum stays beside plain text: its labels are worth telling.
            (Self::Literal(Text(_)), Self::Text) => true,
            (Self::Literal(Text(text)), Self::Enum(known)) => known.labels.contains(text),
            (Self::Array(item), Self::Array(other)) => item.within(other),
            (Self::Object(fields), Self::Object(others)) => {
                fields.len() == others.len()
                    && fields.iter().all(|field| {
                        others.iter().any(|other| {
                            field.key == other.key
                                && (other.optional || !field.optional)
                                && field.shape.within(&other.shape)
                        })
                    })
            }
            (one, other) => one == other,
        }
    }
}

/// One object for two whose keys are the same, or may all be missing; `None` where that would blur what tells them apart.
pub fn merged(one: &[Field], other: &[Field]) -> Option<Vec<Field>> {
    let partial = |fields: &[Field]| !fields.is_empty() && fields.iter().all(|field| field.optional);
    if partial(one) && partial(other) {
        let mut fields = one.to_vec();
        for field in other {
            match fields.iter_mut().find(|known| known.key == field.key) {
                Some(known) => known.shape = either(&known.shape, &field.shape),
                None => fields.push(field.clone()),
            }
        }
        fields.sort_by(|one, other| one.key.cmp(&other.key));
        return Some(fields);
    }
    if one.len() != other.len() {
        return None;
    }
    let fields = one.iter().map(|field| {
        let twin = other.iter().find(|other| other.key == field.key && other.optional == field.optional)?;
        let shape = match (&field.shape, &twin.shape) {
            (same, twin) if same == twin || twin.within(same) => same.clone(),
            (narrow, wide) if narrow.within(wide) => wide.clone(),
            (Shape::Object(one), Shape::Object(other)) => Shape::Object(merged(one, other)?),
            _ => return None,
        };
        Some(Field { shape, ..field.clone() })
    });
    fields.collect()
}

fn either(one: &Shape, other: &Shape) -> Shape {
    if let (Shape::Object(one), Shape::Object(other)) = (one, other)
        && let Some(fields) = merged(one, other)
    {
        return Shape::Object(fields);
    }
    Shape::union([one.clone(), other.clone()])
}

/// Adds a shape to a union, unless it is there already in a wider form.
fn add(members: &mut Vec<Shape>, shape: Shape) {
    if members.iter().any(|member| shape.within(member)) {
        return;
    }
    members.retain(|member| !member.within(&shape));
    members.push(shape);
    let has = |value| members.contains(&Shape::Literal(Literal::Boolean(value)));
    if has(true) && has(false) {
        members.retain(|member| !member.within(&Shape::Boolean));
        members.push(Shape::Boolean);
    }
}

/// What a frontend gets for a column of a row.
pub fn of_column(column: &Column) -> Shape {
    of_type(column).nullable_if(column.nullable)
}

fn of_type(column: &Column) -> Shape {
    match column.kind {
        Kind::Decimal => return Shape::Decimal,
        Kind::DecimalArray => return Shape::array(Shape::Decimal),
        Kind::Timestamp => return Shape::Timestamp,
        Kind::TimestampArray => return Shape::array(Shape::Timestamp),
        Kind::Plain => {}
    }
    let name = if column.base_type.is_empty() { &column.sql_type } else { &column.base_type };
    // `pg_type` marks an array by an underscore, SQL by brackets.
    let item = name.strip_prefix('_').or_else(|| name.strip_suffix("[]"));
    let item = item.map(|item| item.trim_end_matches("[]"));
    let scalar = if column.labels.is_empty() {
        of_name(item.unwrap_or(name))
    } else {
        let spelled = column.sql_type.trim_end_matches("[]").replace('"', "");
        Shape::Enum(Arc::new(Enumeration { name: spelled, labels: column.labels.clone() }))
    };
    match item {
        // Postgres does not say how many dimensions an array has, nor whether items may be null: one, and none, is the rule.
        Some(_) => Shape::array(scalar),
        None => scalar,
    }
}

/// The JSON that `row_to_json` makes of a type, by the type's name in `pg_type` or in SQL.
fn of_name(name: &str) -> Shape {
    let name = name.split('(').next().unwrap_or(name).trim_end();
    match name {
        "bool" | "boolean" => Shape::Boolean,
        "int2" | "int4" | "int8" | "smallint" | "integer" | "bigint" => Shape::Integer,
        // NaN and infinities are text.
        "float4" | "float8" | "real" | "double precision" => Shape::Number,
        "json" | "jsonb" => Shape::Unknown,
        "timestamp" | "timestamptz" => Shape::Timestamp,
        "numeric" => Shape::Decimal,
        // A composite type or a domain over one would be an object, and everything else is text.
        _ if TEXTS.contains(&name) => Shape::Text,
        _ => Shape::Unknown,
    }
}

/// Types whose JSON is text.
const TEXTS: [&str; 49] = [
    "text",
    "varchar",
    "character varying",
    "bpchar",
    "character",
    "char",
    "\"char\"",
    "name",
    "citext",
    "uuid",
    "oid",
    "date",
    "time",
    "timetz",
    "interval",
    "bytea",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "money",
    "xml",
    "bit",
    "varbit",
    "ltree",
    "tsvector",
    "tsquery",
    "jsonpath",
    "pg_lsn",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
    "bit varying",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn column(sql_type: &str, base_type: &str, labels: &[&str]) -> Column {
        Column {
            sql_type: sql_type.into(),
            base_type: base_type.into(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..Column::default()
        }
    }

    #[test]
    fn a_union_holds_no_shape_twice_and_null_last() {
        let union = Shape::union([Shape::Null, Shape::text("a"), Shape::Text, Shape::text("b"), Shape::Null]);
        assert_eq!(union, Shape::Union(vec![Shape::Text, Shape::Null]));
        let both = [true, false].map(|value| Shape::Literal(Literal::Boolean(value)));
        assert_eq!(Shape::union(both), Shape::Boolean);
        assert_eq!(Shape::union([Shape::Integer, Shape::Unknown]), Shape::Unknown);
    }

    #[test]
    fn an_object_is_within_another_of_the_same_keys_whose_values_are_wider() {
        let object = |id: Shape| Shape::Object(vec![Field::new("id", id), Field::new("n", Shape::Integer)]);
        assert!(object(Shape::Text).within(&object(Shape::Text.or_null())));
        assert!(!object(Shape::Text.or_null()).within(&object(Shape::Text)));
        assert!(!Shape::Object(vec![Field::new("id", Shape::Text)]).within(&object(Shape::Text)));
    }

    #[test]
    fn columns_have_the_shape_of_the_json_that_postgres_makes_of_them() {
        for (sql_type, base_type, expected) in [
            ("integer", "int4", Shape::Integer),
            ("bigint", "", Shape::Integer),
            ("character varying(3)", "varchar", Shape::Text),
            ("character varying(3)", "", Shape::Text),
            ("boolean", "bool", Shape::Boolean),
            ("jsonb", "jsonb", Shape::Unknown),
            ("text[]", "_text", Shape::array(Shape::Text)),
            ("text[]", "", Shape::array(Shape::Text)),
            ("email_address", "text", Shape::Text),
            ("int4range", "int4range", Shape::Text),
            ("tstzmultirange[]", "_tstzmultirange", Shape::array(Shape::Text)),
            ("macaddr8", "", Shape::Text),
            ("tsquery", "tsquery", Shape::Text),
            ("pg_lsn", "pg_lsn", Shape::Text),
            ("point", "point", Shape::Text),
            ("a_composite", "a_composite", Shape::Unknown),
        ] {
            assert_eq!(of_column(&column(sql_type, base_type, &[])), expected, "{sql_type}");
        }
    }

    #[test]
    fn an_enum_keeps_its_name_and_labels() {
        let Shape::Enum(found) = of_column(&column("mood", "mood", &["sad", "ok"])) else { panic!("no enum") };
        assert_eq!((found.name.as_str(), found.labels.len()), ("mood", 2));
        let shape = of_column(&column("mood[]", "_mood", &["sad"]));
        assert!(matches!(shape, Shape::Array(item) if matches!(item.members()[0], Shape::Enum(_))));
    }
}
