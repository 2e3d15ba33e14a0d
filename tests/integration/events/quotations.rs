//! catalog/quotations.toml: quotation-1 is sent, to buyer-2; quotation-2 is a draft, for whoever has the e-mail of
//! buyer-3. Both are of seller-1.

use serde_json::{Value, json};

use super::{
    cast::{BUYER_1, BUYER_2, BUYER_3, BUYER_4, SELLER_1, SELLER_2},
    row::{Row, row},
};

pub fn rows() -> Vec<Row> {
    [created(), updated(), sent(), viewed(), accepted(), rejected(), expired(), silent()].concat()
}

const TO_BUYER_2: [&str; 3] = ["quotation-1", "buyer-2", "Q-1001"];
const TO_BUYER_3: [&str; 3] = ["quotation-2", "buyer-3", "Q-1002"];

fn becomes(name: &str, [id, ..]: [&str; 3], status: &str) -> Row {
    row(name, format!("update trade_quotations set status = '{status}', updated_at = now() where id = '{id}'"))
}

fn was([id, ..]: [&str; 3], status: &str) -> String {
    format!("update trade_quotations set status = '{status}' where id = '{id}'")
}

/// The data that all but `created` and `updated` have: the quotation and its parties, and what else there is.
fn data([id, buyer, number]: [&str; 3], more: Value) -> Value {
    let mut data = json!({ "quotationId": id, "sellerId": "seller-1", "buyerId": buyer, "quotationNumber": number });
    merge(&mut data, more);
    data
}

fn without_buyer([id, _, number]: [&str; 3], more: Value) -> Value {
    let mut data = json!({ "quotationId": id, "sellerId": "seller-1", "quotationNumber": number });
    merge(&mut data, more);
    data
}

fn merge(data: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("expected an object, found {more}") };
    data.as_object_mut().expect("an object").extend(more);
}

fn created() -> Vec<Row> {
    let new = ["quotation-9", "buyer-1", "Q-9"];
    let insert = |status: &str| {
        format!(
            "insert into trade_quotations (id, seller_id, buyer_email, buyer_id, quotation_number, total, status)
             values ('quotation-9', 'seller-1', 'buyer-1@example.com', 'buyer-1', 'Q-9', 80, '{status}')"
        )
    };
    let started = without_buyer(new, json!({ "buyerEmail": "buyer-1@example.com", "total": "80.00" }));
    vec![
        row("a seller starts a quotation", insert("draft")).heard("quotation:created", &[SELLER_1], started.clone()),
        row("a quotation is inserted as sent", insert("sent"))
            .heard("quotation:created", &[SELLER_1], started.clone())
            .heard("quotation:sent", &[BUYER_1], data(new, json!({ "buyerEmail": "buyer-1@example.com" }))),
        row("a quotation is inserted as accepted", insert("accepted"))
            .heard("quotation:created", &[SELLER_1], started)
            .heard("quotation:accepted", &[SELLER_1], data(new, json!({ "total": "80.00" }))),
    ]
}

fn updated() -> Vec<Row> {
    vec![
        row(
            "a draft is edited",
            r#"update trade_quotations
               set total = 300, metadata = '{"note": "old friend"}', updated_at = now() where id = 'quotation-2'"#,
        )
        .heard(
            "quotation:updated",
            &[SELLER_1],
            without_buyer(
                TO_BUYER_3,
                json!({
                    "changes": { "pricing": { "total": "300.00" }, "terms": { "metadata": { "note": "old friend" } } },
                }),
            ),
        ),
        row(
            "what was sent is edited, and the seller's notes are the seller's",
            r#"update trade_quotations
               set total = 520, shipping_amount = 40, deposit_percentage = 25, metadata = '{"note": "haggles"}'
               where id = 'quotation-1'"#,
        )
        .heard(
            "quotation:updated",
            &[SELLER_1],
            without_buyer(
                TO_BUYER_2,
                json!({
                    "changes": {
                        "pricing": { "total": "520.00", "shippingAmount": "40.00" },
                        "terms": { "depositPercentage": "25.00", "metadata": { "note": "haggles" } },
                    },
                }),
            ),
        )
        .heard(
            "quotation:updated",
            &[BUYER_2],
            without_buyer(
                TO_BUYER_2,
                json!({
                    "changes": {
                        "pricing": { "total": "520.00", "shippingAmount": "40.00" },
                        "terms": { "depositPercentage": "25.00" },
                    },
                }),
            ),
        ),
        row(
            "what was sent to an e-mail is edited",
            "update trade_quotations set tax_amount = 10 where id = 'quotation-2'",
        )
        .given(was(TO_BUYER_3, "viewed"))
        .heard(
            "quotation:updated",
            &[SELLER_1, BUYER_3],
            without_buyer(TO_BUYER_3, json!({ "changes": { "pricing": { "taxAmount": "10.00" } } })),
        ),
        row(
            "a draft is edited and sent in one update",
            "update trade_quotations set status = 'sent', total = 300 where id = 'quotation-2'",
        )
        .heard(
            "quotation:updated",
            &[SELLER_1, BUYER_3],
            without_buyer(TO_BUYER_3, json!({ "changes": { "pricing": { "total": "300.00" } } })),
        )
        .heard("quotation:sent", &[BUYER_3], data(TO_BUYER_3, json!({ "buyerEmail": "buyer-3@example.com" }))),
    ]
}

fn sent() -> Vec<Row> {
    vec![
        becomes("a quotation is sent to a buyer", TO_BUYER_2, "sent").given(was(TO_BUYER_2, "draft")).heard(
            "quotation:sent",
            &[BUYER_2],
            data(TO_BUYER_2, json!({ "buyerEmail": "buyer-2@example.com" })),
        ),
        becomes("a quotation is sent to an e-mail", TO_BUYER_3, "sent").heard(
            "quotation:sent",
            &[BUYER_3],
            data(TO_BUYER_3, json!({ "buyerEmail": "buyer-3@example.com" })),
        ),
        becomes("a quotation is sent to an e-mail, written with capitals", TO_BUYER_3, "sent")
            .given("update trade_quotations set buyer_email = 'Buyer-3@Example.com' where id = 'quotation-2'")
            .heard("quotation:sent", &[BUYER_3], data(TO_BUYER_3, json!({ "buyerEmail": "Buyer-3@Example.com" }))),
        becomes("a quotation is sent to an e-mail that nobody here has", TO_BUYER_3, "sent")
            .given("update trade_quotations set buyer_email = 'nobody@example.org' where id = 'quotation-2'"),
        row("another seller sends a quotation", "update trade_quotations set status = 'sent' where id = 'quotation-3'")
            .heard(
                "quotation:sent",
                &[BUYER_4],
                json!({
                    "quotationId": "quotation-3", "sellerId": "seller-2", "buyerId": "buyer-4",
                    "buyerEmail": "buyer-4@example.com", "quotationNumber": "Q-1003",
                }),
            ),
    ]
}

fn viewed() -> Vec<Row> {
    vec![
        becomes("a buyer opens a quotation", TO_BUYER_2, "viewed").heard(
            "quotation:viewed",
            &[SELLER_1],
            without_buyer(TO_BUYER_2, json!({ "viewedBy": "buyer-2" })),
        ),
        becomes("somebody known by e-mail opens a quotation", TO_BUYER_3, "viewed")
            .given(was(TO_BUYER_3, "sent"))
            .heard(
                "quotation:viewed",
                &[SELLER_1],
                without_buyer(TO_BUYER_3, json!({ "viewedBy": "buyer-3@example.com" })),
            ),
        row(
            "a buyer opens another seller's quotation",
            "update trade_quotations set status = 'viewed' where id = 'quotation-3'",
        )
        .heard(
            "quotation:viewed",
            &[SELLER_2],
            json!({
                "quotationId": "quotation-3", "sellerId": "seller-2", "quotationNumber": "Q-1003",
                "viewedBy": "buyer-4",
            }),
        ),
    ]
}

fn accepted() -> Vec<Row> {
    vec![
        becomes("a buyer accepts a quotation", TO_BUYER_2, "accepted").heard(
            "quotation:accepted",
            &[SELLER_1],
            data(TO_BUYER_2, json!({ "total": "500.00" })),
        ),
        becomes("somebody known by e-mail accepts a quotation", TO_BUYER_3, "accepted")
            .given(was(TO_BUYER_3, "viewed"))
            .heard("quotation:accepted", &[SELLER_1], data(TO_BUYER_3, json!({ "total": "272.00" }))),
    ]
}

fn rejected() -> Vec<Row> {
    vec![
        becomes("a buyer rejects a quotation, and says why", TO_BUYER_2, "rejected")
            .given(r#"update trade_quotations set metadata = '{"reason": "too dear"}' where id = 'quotation-1'"#)
            .heard("quotation:rejected", &[SELLER_1], data(TO_BUYER_2, json!({ "reason": "too dear" }))),
        becomes("a quotation is cancelled after it was sent, and nobody says why", TO_BUYER_2, "cancelled").heard(
            "quotation:rejected",
            &[SELLER_1],
            data(TO_BUYER_2, json!({ "reason": null })),
        ),
        becomes("a quotation is cancelled after somebody known by e-mail opened it", TO_BUYER_3, "cancelled")
            .given(was(TO_BUYER_3, "viewed"))
            .heard("quotation:rejected", &[SELLER_1], data(TO_BUYER_3, json!({ "reason": null }))),
        becomes("a draft is cancelled", TO_BUYER_3, "cancelled"),
        becomes("what was accepted is cancelled", TO_BUYER_2, "cancelled").given(was(TO_BUYER_2, "accepted")),
    ]
}

fn expired() -> Vec<Row> {
    vec![
        becomes("a quotation expires", TO_BUYER_2, "expired").heard(
            "quotation:expired",
            &[SELLER_1, BUYER_2],
            data(TO_BUYER_2, json!({})),
        ),
        becomes("a quotation to an e-mail expires", TO_BUYER_3, "expired").given(was(TO_BUYER_3, "sent")).heard(
            "quotation:expired",
            &[SELLER_1, BUYER_3],
            data(TO_BUYER_3, json!({})),
        ),
        row(
            "a quotation is inserted as expired, of which the buyer never heard",
            "insert into trade_quotations (id, seller_id, buyer_id, buyer_email, quotation_number, total, status)
             values ('quotation-9', 'seller-1', 'buyer-2', 'buyer-2@example.com', 'Q-9', 10, 'expired')",
        )
        .heard(
            "quotation:created",
            &[SELLER_1],
            json!({
                "quotationId": "quotation-9", "sellerId": "seller-1", "quotationNumber": "Q-9",
                "buyerEmail": "buyer-2@example.com", "total": "10.00",
            }),
        )
        .heard(
            "quotation:expired",
            &[SELLER_1],
            json!({
                "quotationId": "quotation-9", "sellerId": "seller-1", "buyerId": "buyer-2", "quotationNumber": "Q-9",
            }),
        ),
        becomes("a draft expires, of which the buyer never heard", TO_BUYER_3, "expired").heard(
            "quotation:expired",
            &[SELLER_1],
            data(TO_BUYER_3, json!({})),
        ),
    ]
}

fn silent() -> Vec<Row> {
    vec![
        row("a quotation is touched", "update trade_quotations set updated_at = now() where id = 'quotation-1'"),
        becomes("a quotation stays sent", TO_BUYER_2, "sent"),
        becomes("an accepted quotation goes its way", TO_BUYER_2, "deposit_paid").given(was(TO_BUYER_2, "accepted")),
        row("a quotation is deleted", "delete from trade_quotations where id = 'quotation-3'"),
    ]
}
