//! The function `itemChanges`: what happened to a list of objects, such as a cart's items, between two rows.

use std::{collections::HashMap, sync::Arc};

use bigdecimal::{BigDecimal, Zero};
use cel::{
    ExecutionError, Value,
    objects::{Key, Map},
};

use super::{
    functions::{decimal, unsuitable},
    value::plain_list,
};

/// The objects of one key: the key's parts, and the sum of their amounts.
struct Entry {
    parts: Vec<Value>,
    amount: BigDecimal,
}

/// Entries in the order in which their keys appear first, and where each key's is. The keys are JSON.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    places: HashMap<String, usize>,
}

impl Entries {
    fn of(&self, key: &str) -> Option<&Entry> {
        self.places.get(key).map(|place| &self.list[*place])
    }

    /// In order, with their keys.
    fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let mut keys: Vec<(&str, usize)> = self.places.iter().map(|(key, place)| (key.as_str(), *place)).collect();
        keys.sort_by_key(|(_, place)| *place);
        keys.into_iter().map(|(key, place)| (key, &self.list[place]))
    }
}

/// What happened, as a list of objects with the `keys`, the `amount` that is there now, and an `action`: `added`, `updated`
/// (another amount) or `removed`; or `cleared` alone, with null in every other key, if nothing is left. Objects with the
/// same key count as one, with the sum of their amounts.
///
/// The lists are somebody's JSON and may hold anything, so nothing in them is an error: an amount that is missing or no
/// number counts 1, one of 0 or less is nothing, and what is no object with the first of the `keys` is passed over.
pub(super) fn item_changes(
    before: Value,
    after: Value,
    keys: Arc<Vec<Value>>,
    amount: Arc<String>,
) -> Result<Value, ExecutionError> {
    let names = keys.iter().map(|key| match key {
        Value::String(name) => Ok(name.clone()),
        other => Err(unsuitable("itemChanges", "a list of keys", other)),
    });
    let names: Vec<Arc<String>> = names.collect::<Result<_, _>>()?;
    let (before, after) = (entries(&before, &names, &amount)?, entries(&after, &names, &amount)?);
    if after.list.is_empty() && !before.list.is_empty() {
        let nothing: Vec<Value> = names.iter().map(|_| Value::Null).collect();
        return Ok(vec![object("cleared", &names, &nothing, &amount, Value::Null)].into());
    }
    let mut changes = Vec::new();
    for (key, entry) in after.iter() {
        let action = match before.of(key) {
            None => "added",
            Some(former) if former.amount != entry.amount => "updated",
            Some(_) => continue,
        };
        changes.push(object(action, &names, &entry.parts, &amount, number(&entry.amount)));
    }
    for (_, entry) in before.iter().filter(|(key, _)| after.of(key).is_none()) {
        changes.push(object("removed", &names, &entry.parts, &amount, Value::Int(0)));
    }
    Ok(changes.into())
}

fn entries(items: &Value, names: &[Arc<String>], amount: &Arc<String>) -> Result<Entries, ExecutionError> {
    let mut entries = Entries::default();
    let Value::List(items) = items else { return Ok(entries) };
    for item in items.iter() {
        let Value::Map(item) = item else { continue };
        let get = |key: &Arc<String>| item.map.get(&Key::String(key.clone())).cloned().unwrap_or(Value::Null);
        let parts: Vec<Value> = names.iter().map(get).collect();
        let counted = decimal("itemChanges", &get(amount)).unwrap_or_else(|_| BigDecimal::from(1));
        if parts.first() == Some(&Value::Null) || counted <= BigDecimal::zero() {
            continue;
        }
        let key = plain_list(&parts).map_err(|_| unsuitable("itemChanges", "keys of JSON", &Value::Null))?;
        match entries.places.get(&key) {
            Some(place) => entries.list[*place].amount += counted,
            None => {
                entries.places.insert(key, entries.list.len());
                entries.list.push(Entry { parts, amount: counted });
            }
        }
    }
    Ok(entries)
}

fn object(action: &str, names: &[Arc<String>], parts: &[Value], amount: &Arc<String>, now: Value) -> Value {
    let mut entries: HashMap<Key, Value> = HashMap::new();
    entries.extend(names.iter().zip(parts).map(|(name, part)| (Key::String(name.clone()), part.clone())));
    entries.insert(Key::String(amount.clone()), now);
    entries.insert(Key::String(Arc::new("action".to_owned())), action.into());
    Value::Map(Map { map: Arc::new(entries) })
}

/// As an integer where it is one, else with its digits.
fn number(amount: &BigDecimal) -> Value {
    let plain = amount.normalized().to_plain_string();
    plain.parse().map_or_else(|_| plain.into(), Value::Int)
}

#[cfg(test)]
mod tests {
    use cel::Program;

    use super::super::{functions, value};

    /// What `itemChanges` gives for two lists, by productId, variant and quantity.
    fn changes(before: &str, after: &str) -> String {
        let source = format!("itemChanges({before}, {after}, ['productId', 'variant'], 'quantity')");
        let context = functions::context();
        let found = Program::compile(&source).unwrap().execute(&context).unwrap_or_else(|error| panic!("{error}"));
        let found: Box<dyn cel::common::value::Val> = found.try_into().unwrap();
        value::to_json(&*found).unwrap().get().to_owned()
    }

    fn item(action: &str, product: &str, quantity: i64, variant: &str) -> String {
        format!(r#"{{"action":"{action}","productId":"{product}","quantity":{quantity},"variant":{variant}}}"#)
    }

    #[test]
    fn each_item_that_came_went_or_has_another_amount_is_told_once() {
        let before = "[{'productId': 'a', 'quantity': 1}, {'productId': 'b', 'quantity': 2}, {'productId': 'c'}]";
        let after = "[{'productId': 'd', 'quantity': 4}, {'productId': 'b', 'quantity': 3}, {'productId': 'c'}]";
        let expected =
            [item("added", "d", 4, "null"), item("updated", "b", 3, "null"), item("removed", "a", 0, "null")];
        assert_eq!(changes(before, after), format!("[{}]", expected.join(",")));
        assert_eq!(changes(after, after), "[]");
    }

    #[test]
    fn variants_are_items_of_their_own_and_repeats_are_added_up() {
        let before = "[{'productId': 'a', 'variant': {'size': 'S'}}]";
        let after = "[{'productId': 'a', 'variant': {'size': 'S'}}, {'productId': 'a', 'variant': {'size': 'M'}}, \
                     {'productId': 'a', 'variant': {'size': 'S'}, 'quantity': 2}]";
        let expected = [item("updated", "a", 3, r#"{"size":"S"}"#), item("added", "a", 1, r#"{"size":"M"}"#)];
        assert_eq!(changes(before, after), format!("[{}]", expected.join(",")));
    }

    #[test]
    fn a_list_that_is_emptied_is_cleared_however_many_items_it_had() {
        let cleared = r#"[{"action":"cleared","productId":null,"quantity":null,"variant":null}]"#;
        for nothing in ["[]", "null", "'sold'", "[{'productId': 'a', 'quantity': 0}]"] {
            assert_eq!(changes("[{'productId': 'a'}, {'productId': 'b'}]", nothing), cleared, "{nothing}");
            assert_eq!(changes(nothing, nothing), "[]", "{nothing}");
        }
    }

    #[test]
    fn whatever_stands_in_the_lists_is_no_error() {
        for (odd, told) in [
            ("[1, 'a', null, [{'productId': 'a'}], {'id': 'a'}, {'productId': null}]", None),
            ("{'productId': 'a'}", None),
            ("[{'productId': 'a', 'quantity': -2}]", None),
            ("[{'productId': 'a', 'quantity': '2'}]", Some(2)),
            ("[{'productId': 'a', 'quantity': 2.0}]", Some(2)),
            ("[{'productId': 'a', 'quantity': 'two'}]", Some(1)),
            ("[{'productId': 'a', 'quantity': '1e999999'}]", Some(1)),
            ("[{'productId': 'a', 'quantity': {'n': 2}}]", Some(1)),
            ("[{'productId': 'a', 'quantity': true}]", Some(1)),
        ] {
            let expected = told.map_or_else(String::new, |quantity| item("added", "a", quantity, "null"));
            assert_eq!(changes("[]", odd), format!("[{expected}]"), "{odd}");
        }
    }
}
