//! Names of types, made from those of events, messages and enums of the database.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Contract, Shape,
    shape::{Enumeration, Field},
};

/// The names that types have; no two have the same.
#[derive(Debug)]
pub struct Names {
    taken: BTreeSet<String>,
    /// By the enum's name in the database, with its labels: two schemas may each have one of the same name.
    enums: BTreeMap<String, (String, Arc<Enumeration>)>,
}

impl Names {
    /// Keeps clear of `reserved`, and names every enum of the contract.
    pub fn new(contract: &Contract, reserved: &[&str]) -> Self {
        let mut names =
            Self { taken: reserved.iter().map(|name| (*name).to_owned()).collect(), enums: BTreeMap::new() };
        let mut found = BTreeMap::new();
        for event in &contract.events {
            for field in event.payloads.iter().flat_map(|payload| &payload.data) {
                enums_in(&field.shape, &mut found);
            }
        }
        for (name, enumeration) in found {
            let fresh = names.fresh(&name, "");
            names.enums.insert(name, (fresh, enumeration));
        }
        names
    }

    /// `ProductStockChanged` of `product:stock_changed`, with the suffix; followed by a number where it is taken.
    pub fn fresh(&mut self, name: &str, suffix: &str) -> String {
        let base = format!("{}{suffix}", pascal(name));
        let numbered = (2..).map(|number| format!("{base}{number}"));
        let fresh = std::iter::once(base.clone()).chain(numbered).find(|name| !self.taken.contains(name));
        let fresh = fresh.expect("there are numbers enough");
        self.taken.insert(fresh.clone());
        fresh
    }

    pub fn of_enum(&self, enumeration: &Enumeration) -> &str {
        self.enums.get(&enumeration.name).map_or("string", |(name, _)| name)
    }

    /// Each with its name, in alphabetical order.
    pub fn enums(&self) -> impl Iterator<Item = (&str, &Enumeration)> {
        self.enums.values().map(|(name, enumeration)| (name.as_str(), &**enumeration))
    }
}

fn enums_in(shape: &Shape, found: &mut BTreeMap<String, Arc<Enumeration>>) {
    match shape {
        Shape::Enum(enumeration) => {
            found.entry(enumeration.name.clone()).or_insert_with(|| enumeration.clone());
        }
        Shape::Array(item) => enums_in(item, found),
        Shape::Object(fields) => fields.iter().for_each(|Field { shape, .. }| enums_in(shape, found)),
        Shape::Union(members) => members.iter().for_each(|member| enums_in(member, found)),
        _ => {}
    }
}

/// Words run together, each with a capital; what is no letter or digit parts words.
fn pascal(name: &str) -> String {
    let mut pascal = String::with_capacity(name.len());
    for word in name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        pascal.push_str(&first.to_ascii_uppercase());
        pascal.push_str(rest);
    }
    if pascal.is_empty() || pascal.starts_with(|first: char| first.is_ascii_digit()) {
        pascal.insert_str(0, "Type");
    }
    pascal
}

#[cfg(test)]
mod tests {
    use super::pascal;

    #[test]
    fn names_are_made_of_the_words_of_a_name() {
        for (name, expected) in [
            ("product:stock_changed", "ProductStockChanged"),
            ("shop.order-status", "ShopOrderStatus"),
            ("notification:read", "NotificationRead"),
            ("2fast", "Type2fast"),
            ("ä:ö", "Type"),
        ] {
            assert_eq!(pascal(name), expected);
        }
    }
}
