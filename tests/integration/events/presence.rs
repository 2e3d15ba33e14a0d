//! catalog/presence.toml, `analytics:product_viewed` and `chat:typing`: what happens in the gateway. These rows follow
//! one on another: who came in one is there in the next.

use serde_json::{Value, json};

use super::{
    cast::{BUYER_4, DASHBOARD_2, Group, SELLER_1, SELLER_2, VISITORS_OF_2},
    row::{Act, Of, Row, acts, is_refused, sends},
};

const OF_THE_GATEWAY: &[&str] = &["presence:", "chat:", "analytics:product_viewed"];

pub fn rows() -> Vec<Row> {
    [viewers(), online(), typing()].concat()
}

fn happens(name: &str, what: Vec<Act>) -> Row {
    acts(name, what).speaking_of(OF_THE_GATEWAY)
}

/// Nobody of the cast looks at product-5, which is seller-2's, when this begins.
fn viewers() -> Vec<Row> {
    let page = || json!({ "productId": "product-5" });
    let of = |op: &'static str| Of::Consequence { table: "rowcast.room", op };
    let now = |row: Row, by: &[Group], viewers: u32, op: &'static str| {
        row.heard_of("presence:viewers", by, json!({ "productId": "product-5", "viewers": viewers }), of(op))
    };
    let viewed = |row: Row, viewers: u32, op: &'static str| {
        let data = json!({ "sellerId": "seller-2", "productId": "product-5", "viewCount": 1, "viewersNow": viewers });
        row.heard_of("analytics:product_viewed", &[DASHBOARD_2], data, of(op))
    };
    let comes = |name: &str, member: &'static str| happens(name, vec![sends(member, "join:product", page())]);
    let goes = |name: &str, member: &'static str| happens(name, vec![sends(member, "leave:product", page())]);
    let (first, second) = (
        comes("a buyer looks at a product", "buyer-4"),
        comes("somebody who is not signed in looks at it too", "a visitor of seller-2"),
    );
    vec![
        viewed(now(first, &[SELLER_2, BUYER_4], 1, "INSERT"), 1, "INSERT"),
        comes("a buyer says again that they look at it", "buyer-4"),
        viewed(now(second, &[SELLER_2, BUYER_4, VISITORS_OF_2], 2, "UPDATE"), 2, "UPDATE"),
        now(goes("the buyer goes to another page", "buyer-4"), &[SELLER_2, VISITORS_OF_2], 1, "UPDATE"),
        now(goes("the last one goes", "a visitor of seller-2"), &[SELLER_2], 0, "DELETE"),
    ]
}

/// Quotation-1 is open between seller-1 and buyer-2. Quotation-2 has buyer-3's e-mail only, quotation-3 is between
/// seller-2 and buyer-4; both are drafts, which are not open.
fn online() -> Vec<Row> {
    let changed = |row: Row, by: &[Group], user: &str, online: bool| {
        let op = if online { "INSERT" } else { "DELETE" };
        let data = json!({ "userId": user, "online": online });
        row.heard_of("presence:changed", by, data, Of::Consequence { table: "rowcast.online", op })
    };
    let goes =
        |name: &str, members: &[&'static str]| happens(name, members.iter().map(|member| Act::Leave(member)).collect());
    let comes = |name: &str, members: &[&'static str]| {
        happens(name, members.iter().map(|member| Act::Return(member)).collect())
    };
    const SENT_TO_3: &str = "update trade_quotations set status = 'sent' where id = 'quotation-2'";
    const SENT_TO_4: &str = "update trade_quotations set status = 'sent' where id = 'quotation-3'";
    const SENT_TO_1: &str = "insert into trade_quotations (seller_id, buyer_email, buyer_id, quotation_number, status)
        values ('seller-1', 'buyer-1@example.com', 'buyer-1', 'Q-9', 'viewed')";
    vec![
        changed(goes("a buyer with an open quotation goes", &["buyer-2"]), &[SELLER_1], "buyer-2", false),
        changed(comes("the buyer comes again", &["buyer-2"]), &[SELLER_1], "buyer-2", true),
        changed(
            goes("a buyer who is known by e-mail goes", &["buyer-3"]).given(SENT_TO_3),
            &[SELLER_1],
            "buyer-3",
            false,
        ),
        changed(
            comes("the buyer who is known by e-mail comes again", &["buyer-3"]).given(SENT_TO_3),
            &[SELLER_1],
            "buyer-3",
            true,
        ),
        changed(
            goes("a seller with an open quotation goes", &["seller-2"]).given(SENT_TO_4),
            &[BUYER_4],
            "seller-2",
            false,
        ),
        changed(comes("the seller comes again", &["seller-2"]).given(SENT_TO_4), &[BUYER_4], "seller-2", true),
        goes("a buyer goes who has only a draft", &["buyer-4"]),
        comes("the buyer who has only a draft comes again", &["buyer-4"]),
        goes("one of a buyer's two devices goes", &["buyer-1 on the phone"]).given(SENT_TO_1),
        comes("the buyer's second device comes again", &["buyer-1 on the phone"]).given(SENT_TO_1),
    ]
}

/// In a room that they share, the others hear it: not the other devices of who types.
fn typing() -> Vec<Row> {
    const PAGE: &str = "product:product-1";
    const DASHBOARD: &str = "seller:seller-1";
    let types = |room: &str, flag: bool| json!({ "room": room, "typing": flag });
    let typing =
        |name: &str, member: &'static str, payload: Value| happens(name, vec![sends(member, "chat:typing", payload)]);
    let told = |row: Row, by: &[Group], room: &str, user: &str, flag: bool| {
        let op = if flag { "INSERT" } else { "DELETE" };
        let data = json!({ "room": room, "userId": user, "typing": flag });
        row.heard_of("chat:typing", by, data, Of::Consequence { table: "rowcast.typing", op })
    };
    const OTHERS_ON_THE_PAGE: Group = &["seller-1 on product-1's page", "a viewer of product-1"];
    const OTHERS_AT_THE_DASHBOARD: Group =
        &["seller-1", "seller-1 on product-1's page", "admin-1 at seller-1's dashboard"];
    let (buyer, helper) = ("buyer-1 on product-1's page", "helper-1");
    vec![
        told(
            typing("a buyer types on a product's page", buyer, json!({ "room": PAGE })),
            &[OTHERS_ON_THE_PAGE],
            PAGE,
            "buyer-1",
            true,
        ),
        typing("the buyer goes on typing", buyer, types(PAGE, true)),
        told(
            typing("the buyer stops typing", buyer, types(PAGE, false)),
            &[OTHERS_ON_THE_PAGE],
            PAGE,
            "buyer-1",
            false,
        ),
        told(
            typing("a helper types at the dashboard", helper, types(DASHBOARD, true)),
            &[OTHERS_AT_THE_DASHBOARD],
            DASHBOARD,
            "helper-1",
            true,
        ),
        told(
            happens("the helper has typed nothing for a while", vec![]).awaited(),
            &[OTHERS_AT_THE_DASHBOARD],
            DASHBOARD,
            "helper-1",
            false,
        ),
        happens(
            "nobody types in a room where they are not, and no stranger anywhere",
            vec![
                is_refused("buyer-2", "chat:typing", types(PAGE, true)),
                is_refused("seller-2", "chat:typing", types(DASHBOARD, true)),
                is_refused("a viewer of product-1", "chat:typing", types(PAGE, true)),
            ],
        ),
    ]
}
