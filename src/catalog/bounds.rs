//! How large an expression may be. CEL's parser and evaluator recurse, and a `let` may double what it is made of: without
//! bounds a file could end the process rather than be told what is wrong with it.

use std::collections::BTreeMap;

use cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr},
};

use super::expression::parts;

/// Characters of one expression.
const LONGEST: usize = 16 * 1024;
/// Opening brackets in one expression: the parser's stack grows with those that are nested, by some 170 kB each in a debug
/// build. See [`STACK`].
const MOST_BRACKETS: usize = 256;
/// How deep the parts of an expression may be nested, what a `let` stands for included. It is evaluated on the stack of
/// whoever evaluates it.
const DEEPEST: usize = 64;
/// Parts of one expression, with what each `let` stands for.
const MOST_PARTS: usize = 10_000;

/// The stack of the thread that compiles a catalog: enough for [`MOST_BRACKETS`] brackets and [`LONGEST`] characters.
pub(super) const STACK: usize = 128 * 1024 * 1024;

/// Whether the parser can take it.
pub(super) fn check_source(source: &str) -> Result<(), String> {
    if source.len() > LONGEST {
        return Err(format!("has {} bytes, {LONGEST} are allowed", source.len()));
    }
    let brackets = source.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count();
    if brackets > MOST_BRACKETS {
        return Err(format!(
            "has {brackets} opening brackets, {MOST_BRACKETS} are allowed: take some of it into a `let`"
        ));
    }
    Ok(())
}

/// Whether it can be evaluated, once each name in `lets` has become what it stands for.
pub(super) fn check_parts(expression: &IdedExpr, lets: &BTreeMap<String, IdedExpr>) -> Result<(), String> {
    let sizes: BTreeMap<&str, Size> =
        lets.iter().map(|(name, meaning)| (name.as_str(), size(meaning, &|_| None))).collect();
    let Size { parts, depth } = size(expression, &|name| sizes.get(name).copied());
    if depth > DEEPEST {
        return Err(format!("is nested {depth} deep, {DEEPEST} are allowed"));
    }
    if parts > MOST_PARTS {
        return Err(format!("has {parts} parts with all that its names stand for, {MOST_PARTS} are allowed"));
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Size {
    parts: usize,
    depth: usize,
}

/// `known` gives the size of what a name stands for.
fn size(expression: &IdedExpr, known: &dyn Fn(&str) -> Option<Size>) -> Size {
    let mut whole = Size { parts: 0, depth: 0 };
    // Not by recursion: how deep it goes is the question.
    let mut left = vec![(expression, 1)];
    while let Some((expression, depth)) = left.pop() {
        let own = match &expression.expr {
            Expr::Ident(name) => known(name).unwrap_or(Size { parts: 1, depth: 1 }),
            _ => Size { parts: 1, depth: 1 },
        };
        whole.parts += own.parts;
        whole.depth = whole.depth.max(depth - 1 + own.depth);
        left.extend(parts(expression).into_iter().map(|part| (part, depth + 1)));
        left.extend(inside(expression).into_iter().map(|part| (part, depth + 1)));
    }
    whole
}

/// The parts of what expressions can't be, and are refused as: they are looked through nevertheless.
fn inside(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Comprehension(loops) => {
            vec![&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result]
        }
        Expr::Struct(message) => message
            .entries
            .iter()
            .flat_map(|entry| match &entry.expr {
                EntryExpr::StructField(field) => vec![&field.value],
                EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
            })
            .collect(),
        _ => Vec::new(),
    }
}
