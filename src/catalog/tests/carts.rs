//! carts.toml.

use super::marketplace::{data, evaluated, heard};
use super::*;

fn items(list: &str) -> String {
    format!(r#""items":{list}"#)
}

/// The events of a cart whose items become others, each as `action changed`.
async fn changes(before: Option<&str>, after: Option<&str>) -> Vec<String> {
    let (before, after) = (before.map(items), after.map(items));
    let (_, events) = heard("carts", before.as_deref(), after.as_deref()).await;
    let value = |event: &Event, key: &str| -> String {
        let data = &event.audiences[0].data;
        data.iter().find(|(name, _)| &**name == key).expect("in the data").1.get().trim_matches('"').to_owned()
    };
    events.iter().map(|event| format!("{} {}", value(event, "action"), value(event, "changed"))).collect()
}

#[tokio::test]
async fn the_buyer_hears_of_each_item_that_changes() {
    let one = r#"[{"productId":"p","quantity":1}]"#;
    let two = r#"[{"productId":"p","quantity":2},{"productId":"q","quantity":1,"variant":{"size":"S"}}]"#;
    let added_q = r#"added {"productId":"q","quantity":1,"variant":{"size":"S"}}"#;
    for (before, after, expected) in [
        (None, Some("[]"), vec![]),
        (None, Some(one), vec![r#"added {"productId":"p","quantity":1}"#]),
        (Some(one), Some(two), vec![r#"updated {"productId":"p","quantity":2}"#, added_q]),
        (
            Some(two),
            Some(one),
            vec![
                r#"updated {"productId":"p","quantity":1}"#,
                r#"removed {"productId":"q","quantity":0,"variant":{"size":"S"}}"#,
            ],
        ),
        (Some(two), Some("[]"), vec!["cleared null"]),
        (Some(two), Some("null"), vec!["cleared null"]),
        (Some(two), None, vec!["cleared null"]),
        (Some("[]"), None, vec![]),
        (Some(one), Some(r#"[{"quantity":1,"productId":"p","note":"gift"}]"#), vec![]),
    ] {
        assert_eq!(changes(before, after).await, expected, "{before:?} to {after:?}");
    }
}

#[tokio::test]
async fn an_event_says_whose_cart_it_is_and_what_is_in_it_now() {
    let item = r#"[{"productId":"p","quantity":1}]"#;
    let (lines, events) = heard("carts", Some(""), Some(&items(item))).await;
    assert_eq!(lines, ["cart:updated user:b"]);
    let changed = r#"changed={"productId":"p","quantity":1}"#;
    let expected = format!(r#"cartId="c" sellerId="s" action="added" items={item} {changed}"#);
    assert_eq!(data(&events, "cart:updated")[0].1, expected);
    assert_eq!(events[0].id, "7-900-cart:updated.0");

    let (_, events) = heard("carts", Some(&items(item)), None).await;
    let expected = r#"cartId="c" sellerId="s" action="cleared" items=[] changed=null"#;
    assert_eq!(data(&events, "cart:updated")[0].1, expected);
}

#[tokio::test]
async fn of_a_guests_cart_nobody_hears() {
    let guest = |list: &str| format!(r#""buyer_id":null,{}"#, items(list));
    let (lines, _) = heard("carts", Some(&guest("[]")), Some(&guest(r#"[{"productId":"p"}]"#))).await;
    assert_eq!(lines, [] as [&str; 0]);
}

#[tokio::test]
async fn who_gets_a_cart_hears_of_everything_in_it() {
    let cart = |buyer: &str, list: &str| format!(r#""buyer_id":{buyer},{}"#, items(list));
    let (one, two) = (r#"[{"productId":"p","quantity":2}]"#, r#"[{"productId":"p","quantity":2},{"productId":"q"}]"#);
    for (old, new, expected) in [
        (cart("null", one), cart(r#""b""#, one), vec!["cart:updated user:b"]),
        (cart("null", one), cart(r#""b""#, two), vec!["cart:updated user:b"; 2]),
        (cart("null", "[]"), cart(r#""b""#, "[]"), vec![]),
    ] {
        let (lines, events) = heard("carts", Some(&old), Some(&new)).await;
        assert_eq!(lines, expected, "{old} to {new}");
        assert!(events.iter().all(|event| audiences(event)[0].1.contains(r#"action="added""#)), "{old} to {new}");
    }
}

#[tokio::test]
async fn to_who_had_a_cart_it_is_cleared_and_what_becomes_of_it_is_not_told() {
    let cart = |buyer: &str, more: &str| format!(r#""buyer_id":{buyer},{more}"#);
    let had = items(r#"[{"productId":"p","quantity":2},{"productId":"q"}]"#);
    let has = items(r#"[{"productId":"r"}]"#);
    let (gone, new) = ("cart:updated user:b", "cart:updated user:b2");
    for (old, new, expected) in [
        (cart(r#""b""#, &had), cart(r#""b2""#, &had), vec![new, new, gone]),
        (cart(r#""b""#, &had), cart(r#""b2""#, &format!(r#"{has},"seller_id":"s2""#)), vec![new, gone]),
        (cart(r#""b""#, &had), cart("null", &has), vec![gone]),
        (cart(r#""b""#, &had), cart("\"\"", &has), vec![gone]),
        (cart(r#""b""#, &items("[]")), cart(r#""b2""#, &has), vec![new]),
        (cart("\"\"", &had), cart("null", &has), vec![]),
    ] {
        let (lines, events) = heard("carts", Some(&old), Some(&new)).await;
        assert_eq!(lines, expected, "{old} to {new}");
        if expected.contains(&gone) {
            let cleared = r#"cartId="c" sellerId="s" action="cleared" items=[] changed=null"#;
            assert_eq!(audiences(events.last().expect("it is told"))[0].1, cleared, "{old} to {new}");
        }
    }
}

#[tokio::test]
async fn items_may_be_text_and_hold_anything() {
    let text = r#""[{\"productId\":\"p\",\"quantity\":2}]""#;
    assert_eq!(changes(Some("[]"), Some(text)).await, [r#"added {"productId":"p","quantity":2}"#]);
    let odd = r#"["p",{"quantity":1},{"productId":"p","quantity":"many"},null]"#;
    assert_eq!(changes(Some("[]"), Some(odd)).await, [r#"added {"productId":"p","quantity":1}"#]);
    for nothing in ["\"gone\"", "17", r#"{"productId":"p"}"#] {
        assert_eq!(changes(Some("[]"), Some(nothing)).await, [] as [&str; 0], "{nothing}");
        assert_eq!(changes(Some(odd), Some(nothing)).await, ["cleared null"], "{nothing}");
    }
}

#[tokio::test]
async fn a_cart_that_is_ordered_with_the_same_items_makes_no_event() {
    let item = items(r#"[{"productId":"p"}]"#);
    let ordered = format!(r#"{item},"status":"ordered""#);
    let evaluated = evaluated("carts", Some(&item), Some(&ordered)).await;
    assert!(evaluated.events.is_empty() && evaluated.inbox.is_empty());
}
