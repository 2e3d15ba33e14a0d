//! presence.toml.

use super::marketplace::{data, heard};

#[tokio::test]
async fn whoever_has_a_quotation_with_a_user_hears_that_they_come_and_go() {
    let (lines, events) = heard("rowcast.online", None, Some("")).await;
    assert_eq!(lines, ["presence:changed user:s seller:s"]);
    assert_eq!(data(&events, "presence:changed")[0].1, r#"userId="b" online=true"#);
    assert_eq!(events[0].actor.as_deref(), Some("b"));

    let (lines, events) = heard("rowcast.online", Some(r#""user_id":"s""#), None).await;
    assert_eq!(lines, ["presence:changed user:b user:b2"]);
    assert_eq!(data(&events, "presence:changed")[0].1, r#"userId="s" online=false"#);
}

#[tokio::test]
async fn viewers_and_the_seller_hear_how_many_look_at_a_product() {
    let viewers = |old: Option<&'static str>, new: Option<&'static str>| async move {
        let (lines, events) = heard("rowcast.room", old, new).await;
        let said = lines.into_iter().find(|line| line.starts_with("presence:viewers"));
        said.map(|line| (line, data(&events, "presence:viewers")[0].1.clone()))
    };
    let rooms = "presence:viewers seller:s user:s | product:p".to_owned();
    let expected = |people: i64| Some((rooms.clone(), format!(r#"productId="p" viewers={people}"#)));
    assert_eq!(viewers(None, Some("")).await, expected(2));
    assert_eq!(viewers(Some(""), Some(r#""people":3"#)).await, expected(3));
    assert_eq!(viewers(Some(""), None).await, expected(0));
    assert_eq!(viewers(Some(""), Some(r#""visits":6"#)).await, None);
    assert_eq!(viewers(None, Some(r#""kind":"storefront""#)).await, None);
}
