//! What the public hears of products that it may not see: nothing depends on them.

use super::{marketplace::evaluated, *};

const PUBLIC: [&str; 4] = ["active", "coming-soon", "out-of-stock", "paused"];
const HIDDEN: [&str; 3] = ["\"draft\"", "\"archived\"", "null"];

/// Ways in which a row of `products` may differ: in ids, stock that is none, low or enough, and columns of all kinds.
const VARIANTS: [&str; 8] = [
    r#""stock":18"#,
    r#""stock":0"#,
    r#""stock":3,"price":"99.00""#,
    r#""stock":null,"name":"Working title""#,
    r#""stock":40,"sku":"OTHER","deposit_amount":"5.00","cost":"1.00""#,
    r#""id":"q","stock":0,"price":"1.00""#,
    r#""seller_id":"another","stock":18"#,
    r#""name":"Jug","price":"3.00","stock":-2"#,
];

/// What is heard in public rooms: the event, the rooms, the data, and what stands in the envelope.
async fn heard_in_public(old: Option<&str>, new: Option<&str>) -> Vec<String> {
    let events = evaluated("products", old, new).await.events;
    let mut heard = Vec::new();
    for event in &events {
        for (rooms, data) in audiences(event) {
            if rooms.contains("product:") || rooms.contains("storefront:") {
                heard.push(format!("{} {rooms} {data} {:?}", event.kind, event.subject));
            }
        }
    }
    heard
}

fn with_status(variant: &str, status: &str) -> String {
    format!("{variant},\"status\":{status}")
}

#[tokio::test]
async fn of_a_product_that_is_hidden_and_stays_so_public_rooms_hear_nothing() {
    for (before, after) in HIDDEN.iter().flat_map(|before| HIDDEN.map(|after| (*before, after))) {
        for old in VARIANTS {
            for new in VARIANTS {
                let (old, new) = (with_status(old, before), with_status(new, after));
                assert_eq!(heard_in_public(Some(&old), Some(&new)).await, [] as [&str; 0], "{old} -> {new}");
            }
        }
    }
    for (variant, status) in VARIANTS.iter().flat_map(|variant| HIDDEN.map(|status| (*variant, status))) {
        let row = with_status(variant, status);
        assert_eq!(heard_in_public(None, Some(&row)).await, [] as [&str; 0], "inserted: {row}");
        assert_eq!(heard_in_public(Some(&row), None).await, [] as [&str; 0], "deleted: {row}");
    }
}

/// Were anything of the draft told, or told by what arrives and what doesn't, two drafts could be told apart.
#[tokio::test]
async fn what_public_rooms_hear_when_a_product_is_published_is_the_same_whatever_the_draft_was() {
    for (status, new) in PUBLIC.iter().flat_map(|status| VARIANTS.map(|new| (*status, new))) {
        let new = with_status(new, &format!("{status:?}"));
        let mut told = BTreeSet::new();
        for old in HIDDEN.iter().flat_map(|hidden| VARIANTS.map(|old| with_status(old, hidden))) {
            told.insert(heard_in_public(Some(&old), Some(&new)).await);
        }
        assert_eq!(told.len(), 1, "{new}: {told:#?}");
        let told = told.pop_first().unwrap();
        assert!(told.len() == 1 && told[0].contains(&format!("changes={{\"status\":{status:?}}}")), "{new}: {told:?}");
    }
}

#[tokio::test]
async fn what_public_rooms_hear_when_a_product_is_hidden_is_the_same_whatever_becomes_of_it() {
    for (status, old) in PUBLIC.iter().flat_map(|status| VARIANTS.map(|old| (*status, old))) {
        let old = with_status(old, &format!("{status:?}"));
        let mut told = BTreeSet::new();
        for new in HIDDEN.iter().flat_map(|hidden| VARIANTS.map(|new| with_status(new, hidden))) {
            told.insert(heard_in_public(Some(&old), Some(&new)).await);
        }
        assert_eq!(told.len(), 1, "{old}: {told:#?}");
        let told = told.pop_first().unwrap();
        assert!(told.len() == 1 && told[0].contains(r#"changes={"status":"hidden"}"#), "{old}: {told:?}");
    }
}

#[tokio::test]
async fn columns_that_shoppers_do_not_see_change_nothing_of_what_public_rooms_hear() {
    const SECRET: [&str; 3] = [
        r#""sku":"A","deposit_amount":"1.00","cost":"1.00""#,
        r#""sku":"B","deposit_amount":"2.00","cost":"2.00""#,
        r#""sku":null,"deposit_amount":null,"cost":null"#,
    ];
    for (old, new) in [(18, 18), (18, 3), (3, 0), (0, 20)] {
        let mut told = BTreeSet::new();
        for (before, after) in SECRET.iter().flat_map(|before| SECRET.map(|after| (*before, after))) {
            let (old, new) = (format!("\"stock\":{old},{before}"), format!("\"stock\":{new},{after}"));
            told.insert(heard_in_public(Some(&old), Some(&new)).await);
        }
        assert_eq!(told.len(), 1, "{old} -> {new}: {told:#?}");
    }
}
