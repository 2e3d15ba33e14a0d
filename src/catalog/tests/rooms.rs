use serde_json::json;

use super::*;

fn built_in() -> Catalog {
    Catalog::built_in(&Settings::new()).unwrap()
}

fn room(name: &str) -> Room {
    Room::new(name).unwrap()
}

fn seller() -> Identity {
    let stores = vec!["s1".to_owned(), "s2".to_owned()];
    Identity { user_id: Some("s1".to_owned()), roles: vec!["seller".to_owned()], stores, admin: false }
}

fn buyer() -> Identity {
    Identity { user_id: Some("b1".to_owned()), roles: vec!["buyer".to_owned()], ..Identity::default() }
}

fn admin() -> Identity {
    Identity { user_id: Some("a1".to_owned()), admin: true, ..Identity::default() }
}

#[test]
fn a_room_is_joined_by_those_whom_its_policy_lets_in() {
    let catalog = built_in();
    for (name, seller_may, buyer_may, admin_may, visitor_may) in [
        ("user:s1", true, false, false, false),
        ("user:b1", false, true, false, false),
        ("seller:s1", true, false, true, false),
        ("seller:s2", true, false, true, false),
        ("seller:s3", false, false, true, false),
        ("storefront:s3", true, true, true, true),
        ("product:p1", true, true, true, true),
        ("product:a:b", true, true, true, true),
        ("sellers", true, false, true, false),
        ("buyers", false, true, true, false),
        ("sellers:x", false, false, false, false),
        ("user:", false, false, false, false),
        ("user", false, false, false, false),
        ("unheard:of", false, false, false, false),
    ] {
        let may = [seller(), buyer(), admin(), Identity::default()].map(|who| catalog.may_join(&who, &room(name)));
        assert_eq!(may, [seller_may, buyer_may, admin_may, visitor_may], "{name}");
    }
}

#[test]
fn a_room_without_a_policy_or_with_one_that_fails_lets_nobody_in() {
    let catalog =
        catalog("[[room]]\nroom = \"a:{id}\"\n[[room]]\nroom = \"b:{id}\"\njoin = \"auth.user_id < 3\"\n").unwrap();
    assert!(!catalog.may_join(&admin(), &room("a:1")));
    assert!(!catalog.may_join(&Identity::default(), &room("b:1")));
}

/// The policy of a room with the parameter `id`, or of one without.
#[track_caller]
fn assert_public(room: &str, policy: &str, expected: bool) {
    let catalog = catalog(&format!("[settings]\nopen = [\"a\"]\n[[room]]\nroom = \"{room}\"\njoin = \"{policy}\"\n"));
    let catalog = catalog.unwrap_or_else(|faults| panic!("{faults}"));
    let public = catalog.described_rooms().next().unwrap().public;
    assert_eq!(public, expected, "{room}: {policy}");
}

#[test]
fn a_room_is_public_if_a_visitor_may_join_it_for_some_parameter() {
    for policy in [
        "true",
        "auth.user_id == null",
        "id != auth.user_id",
        "id.startsWith('open-') || id in auth.stores",
        "!(id in auth.stores)",
        "id in settings.open",
        "id == 'lobby'",
        "auth.admin ? false : id != ''",
        "auth.user_id < 3 || id == 'lobby'",
    ] {
        assert_public("a:{id}", policy, true);
    }
    for policy in [
        "false",
        "id == auth.user_id",
        "auth.user_id == id || auth.admin",
        "id in auth.stores || auth.admin",
        "auth.user_id != null && id.startsWith('open-')",
        "id == ''",
        "auth.admin && id == 'lobby'",
        "auth.user_id.startsWith(id) && false",
        "auth.user_id < 3 || auth.admin",
    ] {
        assert_public("a:{id}", policy, false);
    }
    assert_public("a", "'seller' in auth.roles || auth.admin", false);
    assert_public("a", "size(auth.roles) == 0", true);
}

#[test]
fn of_the_rooms_that_come_with_rowcast_storefronts_and_products_are_public() {
    let catalog = built_in();
    let public: Vec<&str> = catalog.described_rooms().filter(|room| room.public).map(|room| room.pattern).collect();
    assert_eq!(public, ["storefront:{id}", "product:{id}"]);
}

#[test]
fn own_rooms_are_the_user_the_stores_and_the_role() {
    let names =
        |who: &Identity| -> Vec<String> { built_in().own_rooms(who).iter().map(|room| room.to_string()).collect() };
    assert_eq!(names(&seller()), ["user:s1", "seller:s1", "seller:s2", "sellers"]);
    assert_eq!(names(&buyer()), ["user:b1", "buyers"]);
    assert_eq!(names(&Identity::default()), [] as [&str; 0]);
}

#[test]
fn client_messages_name_rooms() {
    let catalog = built_in();
    let ask = |who: &Identity, message: &str, payload| {
        catalog
            .room_for_message(who, message, &payload)
            .map(|rooms| rooms.iter().map(|room| room.to_string()).collect::<Vec<_>>().join(" "))
            .map_err(|error| error.to_string())
    };
    assert_eq!(ask(&buyer(), "join:product", json!({"productId": "p1"})), Ok("product:p1".to_owned()));
    assert_eq!(ask(&buyer(), "leave:product", json!({"productId": 12})), Ok("product:12".to_owned()));
    assert_eq!(ask(&buyer(), "join:storefront", json!({"sellerId": "s1"})), Ok("storefront:s1".to_owned()));
    assert_eq!(ask(&seller(), "join:seller", json!({})), Ok("seller:s1 seller:s2".to_owned()));
    assert_eq!(ask(&seller(), "join:seller", json!(null)), Ok("seller:s1 seller:s2".to_owned()));
    assert_eq!(ask(&seller(), "leave:seller", json!({"sellerId": "s2"})), Ok("seller:s2".to_owned()));

    let expected = "expected {\"productId\": \"…\"}, ";
    assert_eq!(ask(&buyer(), "join:product", json!({})), Err(format!("{expected}found none")));
    assert_eq!(ask(&buyer(), "join:product", json!("p1")), Err(format!("{expected}found none")));
    assert_eq!(
        ask(&buyer(), "join:product", json!({"productId": ""})),
        Err(format!("{expected}found an empty string"))
    );
    assert_eq!(
        ask(&buyer(), "join:product", json!({"productId": [1]})),
        Err(format!("{expected}found something else"))
    );
    let long = "x".repeat(300);
    let error = "the \"productId\" is too long, or holds control characters".to_owned();
    assert_eq!(ask(&buyer(), "join:product", json!({"productId": long})), Err(error));
    assert_eq!(ask(&buyer(), "join:kitchen", json!({})), Err("unknown message \"join:kitchen\"".to_owned()));
    assert!(ask(&buyer(), "join:seller", json!({})).unwrap_err().starts_with("no room of one's own"));
}
