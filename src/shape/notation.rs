//! Shapes as a catalog's `[rule.types]` writes them: the part of TypeScript's notation that JSON Schema can say too.
//!
//! ```text
//! { productId: string, quantity: number, variant?: Json }[] | null
//! ```

use super::{Field, Literal, Shape};

/// The names, with what they stand for.
const NAMES: [(&str, Shape); 8] = [
    ("string", Shape::Text),
    ("number", Shape::Number),
    ("integer", Shape::Integer),
    ("boolean", Shape::Boolean),
    ("null", Shape::Null),
    ("Decimal", Shape::Decimal),
    ("Timestamp", Shape::Timestamp),
    ("Json", Shape::Unknown),
];

/// How deep brackets may stand in each other.
const DEPTH: usize = 20;

/// Reads a shape.
///
/// # Errors
///
/// What was expected, and what stands there.
pub fn parse(text: &str) -> Result<Shape, String> {
    let mut reader = Reader { rest: text, depth: 0 };
    let shape = reader.union()?;
    match reader.rest.trim_start().is_empty() {
        true => Ok(shape),
        false => Err(reader.expected("the end, | or []")),
    }
}

struct Reader<'t> {
    rest: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn union(&mut self) -> Result<Shape, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("a type has brackets in brackets, {DEPTH} deep at most"));
        }
        self.takes("|");
        let mut members = vec![self.member()?];
        while self.takes("|") {
            members.push(self.member()?);
        }
        self.depth -= 1;
        Ok(Shape::union(members))
    }

    /// One of a union, with the `[]` behind it.
    fn member(&mut self) -> Result<Shape, String> {
        let mut shape = self.single()?;
        while self.takes("[]") {
            shape = Shape::array(shape);
        }
        Ok(shape)
    }

    fn single(&mut self) -> Result<Shape, String> {
        if self.takes("(") {
            let shape = self.union()?;
            return if self.takes(")") { Ok(shape) } else { Err(self.expected(")")) };
        }
        if self.takes("{") {
            return self.fields();
        }
        if let Some(text) = self.quoted()? {
            return Ok(Shape::text(text));
        }
        let before = self.rest;
        let word = self.word();
        if let Some((_, shape)) = NAMES.iter().find(|(name, _)| *name == word) {
            return Ok(shape.clone());
        }
        match word {
            "true" => return Ok(Shape::Literal(Literal::Boolean(true))),
            "false" => return Ok(Shape::Literal(Literal::Boolean(false))),
            _ => {}
        }
        if let Ok(number) = word.parse() {
            return Ok(Shape::Literal(Literal::Integer(number)));
        }
        self.rest = before;
        let names = NAMES.map(|(name, _)| name).join(", ");
        Err(self.expected(&format!("a type: {names}, 'text', {{ key: type, key?: type }}, type[] or type | type")))
    }

    /// What stands after `{`.
    fn fields(&mut self) -> Result<Shape, String> {
        let mut fields: Vec<Field> = Vec::new();
        while !self.takes("}") {
            let key = match self.quoted()? {
                Some(key) => key,
                None => self.word(),
            };
            if key.is_empty() {
                return Err(self.expected("a key or }"));
            }
            if fields.iter().any(|field| field.key == key) {
                return Err(format!("the key {key:?} stands there twice"));
            }
            let optional = self.takes("?");
            if !self.takes(":") {
                return Err(self.expected(":"));
            }
            fields.push(Field { key: key.to_owned(), shape: self.union()?, optional });
            if !self.takes(",") && !self.takes(";") && !self.rest.trim_start().starts_with('}') {
                return Err(self.expected(", or }"));
            }
        }
        Ok(Shape::Object(fields))
    }

    fn takes(&mut self, token: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    /// A text in either kind of quotes; none holds a quote.
    fn quoted(&mut self) -> Result<Option<&'t str>, String> {
        let Some(quote) = ["'", "\""].into_iter().find(|quote| self.takes(quote)) else { return Ok(None) };
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| format!("a {quote} is not closed"))?;
        self.rest = rest;
        Ok(Some(text))
    }

    fn word(&mut self) -> &'t str {
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && !['_', '$', '-'].contains(&c)).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        word
    }

    fn expected(&self, expected: &str) -> String {
        let found = self.rest.trim();
        let found = if found.is_empty() { "nothing".to_owned() } else { format!("{found:?}") };
        format!("expected {expected}; found {found}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_read_from_typescripts_notation() {
        let subject = vec![Field::new("type", Shape::Text), Field::new("id", Shape::Text)];
        for (text, expected) in [
            ("string", Shape::Text),
            (" Decimal | null ", Shape::Decimal.or_null()),
            ("null | integer", Shape::Integer.or_null()),
            ("Json", Shape::Unknown),
            ("'low' | \"out\"", Shape::union([Shape::text("low"), Shape::text("out")])),
            ("-1 | 0", Shape::union([-1, 0].map(|value| Shape::Literal(Literal::Integer(value))))),
            ("true", Shape::Literal(Literal::Boolean(true))),
            ("number[][]", Shape::array(Shape::array(Shape::Number))),
            ("(Timestamp | null)[]", Shape::array(Shape::Timestamp.or_null())),
            ("{}", Shape::Object(vec![])),
            ("{ type: string, id: string } | null", Shape::Object(subject).or_null()),
            (
                "\n{ id: string; 'two words'?: { n: number, }[] }\n",
                Shape::Object(vec![
                    Field::new("id", Shape::Text),
                    Field::optional("two words", Shape::array(Shape::Object(vec![Field::new("n", Shape::Number)]))),
                ]),
            ),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_shape_is_refused_with_what_was_expected() {
        for (text, expected) in [
            ("", "expected a type: string, number"),
            ("text", "found \"text\""),
            ("string |", "found nothing"),
            ("string null", "expected the end, | or []; found \"null\""),
            ("{ id string }", "expected :; found \"string }\""),
            ("{ id: string name: string }", "expected , or }"),
            ("{ id: string, id: number }", "the key \"id\" stands there twice"),
            ("{ id: string", "expected , or }; found nothing"),
            ("(string", "expected ); found nothing"),
            ("'open", "a ' is not closed"),
            (&"(".repeat(1000), "20 deep at most"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: expected {expected:?} in {error:?}");
        }
    }
}
