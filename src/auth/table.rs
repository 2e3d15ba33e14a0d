//! A table's name, as the configuration writes it.

use std::fmt;

use serde::Deserialize;

use crate::change::TableName;

/// `sessions`, `shop.sessions`, `"My shop"."Sessions"`: letter for letter, whether or not it is quoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct TableRef {
    schema: Option<String>,
    name: String,
}

impl TableRef {
    /// A table that is found by the search path.
    pub fn named(name: &str) -> Self {
        Self { schema: None, name: name.to_owned() }
    }

    /// For SQL, quoted.
    pub fn to_sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&self.name)),
            None => quoted(&self.name),
        }
    }

    /// As changes name it; without a schema it is in `public`.
    pub fn to_name(&self) -> TableName {
        TableName::new(self.schema.as_deref().unwrap_or("public"), &self.name)
    }
}

impl TryFrom<String> for TableRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let expected =
            || format!("{text:?} is no table: expected such as sessions, shop.sessions or \"My shop\".\"T\"");
        let (first, rest) = part(&text).ok_or_else(expected)?;
        let Some(rest) = rest.strip_prefix('.') else {
            return if rest.is_empty() { Ok(Self { schema: None, name: first }) } else { Err(expected()) };
        };
        match part(rest) {
            Some((name, "")) => Ok(Self { schema: Some(first), name }),
            _ => Err(expected()),
        }
    }
}

/// The first part of a name, and what comes after it.
fn part(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (part, rest) = text.split_at(end);
        return (!part.is_empty() && !part.contains(['"', '\0'])).then(|| (part.to_owned(), rest));
    };
    let mut part = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        rest = after;
        // Two quotes are one.
        match rest.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => break,
        }
    }
    (!part.is_empty() && !part.contains('\0')).then_some((part, rest))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl fmt::Display for TableRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_sql())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_quoted_and_have_a_schema_and_keeps_its_letters() {
        for (text, sql) in [
            ("sessions", r#""sessions""#),
            ("Session", r#""Session""#),
            ("shop.sessions", r#""shop"."sessions""#),
            (r#""my.shop"."a ""b""""#, r#""my.shop"."a ""b""""#),
            (r#"x"; drop table users; --"#, ""),
            ("", ""),
            (".sessions", ""),
            ("shop.", ""),
            ("a.b.c", ""),
            (r#""open"#, ""),
            (r#""a"b"#, ""),
            (r#""""#, ""),
        ] {
            let parsed = TableRef::try_from(text.to_owned());
            assert_eq!(parsed.map(|table| table.to_sql()).unwrap_or_default(), sql, "{text}");
        }
    }
}
