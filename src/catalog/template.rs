//! Room templates: `seller:{row.seller_id}`.

use super::{
    expression::{Expression, Surroundings, Uses},
    rooms::Rooms,
    vocabulary::Vocabulary,
};
use crate::room::Room;

/// A room's name with expressions in it.
#[derive(Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Expression(Expression),
}

impl Template {
    /// Compiles a template, which must fit one of the declared kinds of room.
    pub fn compile(source: &str, vocabulary: &Vocabulary<'_>, rooms: &Rooms) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        if let Err(fault) = rooms.accepts_template(source) {
            faults.push(fault);
        }
        let mut parts = Vec::new();
        for part in split(source).map_err(|fault| vec![fault])? {
            match part {
                Piece::Text(text) => parts.push(Part::Text(text.to_owned())),
                Piece::Expression(inner) => match vocabulary.compile(inner) {
                    Ok(expression) => parts.push(Part::Expression(expression)),
                    Err(errors) => faults.extend(errors),
                },
            }
        }
        if faults.is_empty() { Ok(Self(parts)) } else { Err(faults) }
    }

    /// What stands before the first expression.
    pub fn text(&self) -> &str {
        match self.0.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The lookup without which there is no such room, by its place: a part of the name is a column of it and nothing else.
    pub fn hangs_on(&self) -> Option<usize> {
        self.expressions().find_map(Expression::plain_lookup)
    }

    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.0.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Text(_) => None,
        })
    }

    pub fn uses(&self) -> Uses {
        let mut uses = Uses::default();
        for part in &self.0 {
            if let Part::Expression(expression) = part {
                uses.add(&expression.uses);
            }
        }
        uses
    }

    /// As it is written.
    pub fn source(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Expression(expression) => format!("{{{}}}", expression.source()),
        };
        self.0.iter().map(part).collect()
    }

    /// The expressions that give null or "", so that no room is named.
    pub fn unnamed(&self, at: &Surroundings<'_>) -> Vec<&Expression> {
        let expressions = self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Expression(expression) => Some(expression),
        });
        expressions.filter(|expression| matches!(expression.name(at), Ok(None))).collect()
    }

    /// The room, or `None` if an expression gives null or "", or the name can't be a room's.
    pub fn room(&self, at: &Surroundings<'_>) -> Result<Option<Room>, String> {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Expression(expression) => match expression.name(at)? {
                    Some(text) => name.push_str(&text),
                    None => return Ok(None),
                },
            }
        }
        Ok(Room::new(&name))
    }
}

enum Piece<'a> {
    Text(&'a str),
    Expression(&'a str),
}

fn split(source: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find('{') {
        if start > 0 {
            pieces.push(Piece::Text(&rest[..start]));
        }
        let inner = &rest[start + 1..];
        let end = closing_brace(inner).ok_or_else(|| format!("room template {source:?}: `{{` without `}}`"))?;
        pieces.push(Piece::Expression(&inner[..end]));
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}
