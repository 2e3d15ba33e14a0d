//! catalog/orders.toml: order-1 is what buyer-1 bought from seller-1.

use serde_json::{Value, json};

use super::{
    cast::{BUYER_1, Group, SELLER_1},
    row::{Row, row},
};

pub fn rows() -> Vec<Row> {
    [created(), fulfillment(), refund(), silent()].concat()
}

const BOTH: &[Group] = &[SELLER_1, BUYER_1];

/// Order-1 as the sample has it.
const SAMPLE: [(&str, &str); 3] =
    [("status", "processing"), ("paymentStatus", "fully_paid"), ("fulfillmentStatus", "unfulfilled")];

/// The data of an update of order-1; `new` names the statuses that changed.
fn updated(action: &str, new: &[(&str, &str)]) -> Value {
    let mut data = json!({
        "orderId": "order-1", "sellerId": "seller-1", "buyerId": "buyer-1", "action": action,
        "total": "48.00", "oldTotal": "48.00",
    });
    for (key, old) in SAMPLE {
        let new = new.iter().find(|(changed, _)| *changed == key).map_or(old, |(_, new)| new);
        data[key] = new.into();
        data[format!("old{}{}", key[..1].to_uppercase(), &key[1..])] = old.into();
    }
    data
}

fn created() -> Vec<Row> {
    vec![
        row(
            "a buyer orders",
            "insert into orders (id, user_id, seller_id, customer_name, customer_email, total, created_at)
             values ('order-9', 'buyer-1', 'seller-1', 'Ada', 'buyer-1@example.com', 24, '2026-01-15T10:00:00.000Z')",
        )
        .done_by("buyer-1")
        .heard(
            "order:updated",
            BOTH,
            json!({
                "orderId": "order-9", "sellerId": "seller-1", "buyerId": "buyer-1", "action": "created",
                "status": "pending", "paymentStatus": "pending", "fulfillmentStatus": "unfulfilled", "total": "24.00",
            }),
        ),
        // The address is what the guest typed: it is no sign-in, so the account that has it hears nothing.
        row(
            "a guest orders, with the e-mail of somebody who has an account",
            "insert into orders (id, seller_id, customer_name, customer_email, total, created_at)
             values ('order-9', 'seller-1', 'Ada', 'buyer-1@example.com', 24, '2026-01-15T10:00:00.000Z')",
        )
        .heard(
            "order:updated",
            &[SELLER_1],
            json!({
                "orderId": "order-9", "sellerId": "seller-1", "buyerId": null, "action": "created",
                "status": "pending", "paymentStatus": "pending", "fulfillmentStatus": "unfulfilled", "total": "24.00",
            }),
        ),
        row(
            "an order is inserted as shipped and refunded, which is all one",
            "insert into orders
               (id, user_id, seller_id, customer_name, customer_email, total, status, payment_status, created_at)
             values
               ('order-9', 'buyer-1', 'seller-1', 'Ada', 'buyer-1@example.com', 24, 'shipped', 'refunded', 'long ago')",
        )
        .heard(
            "order:updated",
            BOTH,
            json!({
                "orderId": "order-9", "sellerId": "seller-1", "buyerId": "buyer-1", "action": "created",
                "status": "shipped", "paymentStatus": "refunded", "fulfillmentStatus": "unfulfilled", "total": "24.00",
            }),
        ),
    ]
}

fn fulfillment() -> Vec<Row> {
    let mut rows = Vec::new();
    // The statuses of both versions of the application.
    for status in
        ["shipped", "delivered", "cancelled", "fulfilled", "paid", "awaiting_balance", "in_production", "ready_to_ship"]
    {
        rows.push(
            row(
                &format!("an order becomes {status}"),
                format!("update orders set status = '{status}' where id = 'order-1'"),
            )
            .heard("order:updated", BOTH, updated("fulfillment", &[("status", status)])),
        );
    }
    rows.extend([
        row(
            "a part of an order is fulfilled",
            "update orders set fulfillment_status = 'partially_fulfilled' where id = 'order-1'",
        )
        .heard("order:updated", BOTH, updated("fulfillment", &[("fulfillmentStatus", "partially_fulfilled")])),
        row("an order gets a tracking number", "update orders set tracking_number = 'T-1' where id = 'order-1'").heard(
            "order:updated",
            BOTH,
            updated("fulfillment", &[]),
        ),
        row(
            "an order gets a tracking link",
            "update orders set tracking_link = 'https://example.com/T-1' where id = 'order-1'",
        )
        .heard("order:updated", BOTH, updated("fulfillment", &[])),
        row("a guest's order is shipped", "update orders set status = 'shipped' where id = 'order-1'")
            .given("update orders set user_id = null where id = 'order-1'")
            .heard("order:updated", &[SELLER_1], {
                let mut data = updated("fulfillment", &[("status", "shipped")]);
                data["buyerId"] = Value::Null;
                data
            }),
    ]);
    rows
}

fn refund() -> Vec<Row> {
    vec![
        row("a payment is refunded", "update orders set payment_status = 'refunded' where id = 'order-1'").heard(
            "order:updated",
            BOTH,
            updated("refund", &[("paymentStatus", "refunded")]),
        ),
        row(
            "a part of a payment is refunded",
            "update orders set payment_status = 'partially_refunded' where id = 'order-1'",
        )
        .heard("order:updated", BOTH, updated("refund", &[("paymentStatus", "partially_refunded")])),
        row("an order's status says that it is refunded", "update orders set status = 'refunded' where id = 'order-1'")
            .heard("order:updated", BOTH, updated("refund", &[("status", "refunded")])),
        row(
            "the status says what the payment status said, which is another status and no second refund",
            "update orders set status = 'refunded' where id = 'order-1'",
        )
        .given("update orders set payment_status = 'refunded' where id = 'order-1'")
        .heard("order:updated", BOTH, {
            let mut data = updated("fulfillment", &[("status", "refunded"), ("paymentStatus", "refunded")]);
            data["oldPaymentStatus"] = "refunded".into();
            data
        }),
        row(
            "an order is cancelled and refunded in one update",
            "update orders set status = 'cancelled', payment_status = 'refunded' where id = 'order-1'",
        )
        .heard("order:updated", BOTH, updated("fulfillment", &[("status", "cancelled"), ("paymentStatus", "refunded")]))
        .heard(
            "order:updated",
            BOTH,
            updated("refund", &[("status", "cancelled"), ("paymentStatus", "refunded")]),
        ),
    ]
}

fn silent() -> Vec<Row> {
    vec![
        row(
            "the payment status says what the status said: a refund is told once",
            "update orders set payment_status = 'refunded' where id = 'order-1'",
        )
        .given("update orders set status = 'refunded' where id = 'order-1'"),
        row("an order is written as it was", "update orders set status = status where id = 'order-1'"),
        row(
            "an order's address is corrected",
            "update orders set customer_address = '2 Mill Lane' where id = 'order-1'",
        ),
        row("an order is paid", "update orders set payment_status = 'deposit_paid' where id = 'order-1'"),
        row("an order is deleted", "delete from orders where id = 'order-1'"),
    ]
}
