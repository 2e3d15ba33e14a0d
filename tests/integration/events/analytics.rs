//! catalog/analytics.toml: what a store's dashboard hears, and nobody else. What the clock and the gateway bring is in
//! `dashboards` and `presence`.

use serde_json::{Value, json};

use super::{
    cast::{DASHBOARD_1, DASHBOARD_2, DASHBOARD_3, Group},
    row::{Row, row},
};

const OF_SALES: &[&str] = &["analytics:sale_completed", "analytics:revenue_updated", "analytics:inventory_alert"];

pub fn rows() -> Vec<Row> {
    let rows = [completed(), paid(), stock()].concat();
    rows.into_iter().map(|row| row.speaking_of(OF_SALES)).collect()
}

/// Not yet asked what it speaks of.
fn of_sales(name: &str, statement: impl Into<String>) -> Row {
    row(name, statement).speaking_of(OF_SALES)
}

/// Order-1: seller-1 sold two of product-1, paid in full, on a day long gone.
fn becomes(name: &str, set: &str) -> Row {
    of_sales(name, format!("update orders set {set} where id = 'order-1'"))
}

fn completed() -> Vec<Row> {
    let sale = |row: Row, by: Group, data: Value| row.heard("analytics:sale_completed", &[by], data);
    let of_mugs = |product: Value| -> Value {
        json!({ "sellerId": "seller-1", "orderId": "order-1", "amount": "48.00", "productId": product })
    };
    let two_products =
        r#"update orders set items = '[{"productId": "product-1"}, {"productId": "product-2"}]' where id = 'order-1'"#;
    let mut rows: Vec<Row> = ["completed", "fulfilled", "delivered"]
        .map(|status| {
            let row = becomes(&format!("a sale is {status}"), &format!("status = '{status}'"));
            sale(row, DASHBOARD_1, of_mugs(json!("product-1")))
        })
        .into();
    rows.extend([
        sale(
            becomes("a sale is fulfilled, as another column says", "fulfillment_status = 'fulfilled'"),
            DASHBOARD_1,
            of_mugs(json!("product-1")),
        ),
        sale(
            becomes("a sale of several products is completed", "status = 'completed'").given(two_products),
            DASHBOARD_1,
            of_mugs(json!(null)),
        ),
        sale(
            becomes("a sale is completed whose items nobody can read", "status = 'completed'")
                .given("update orders set items = 'two mugs' where id = 'order-1'"),
            DASHBOARD_1,
            of_mugs(json!(null)),
        ),
        sale(
            of_sales(
                "a guest's sale at another store is completed",
                "update orders set status = 'completed' where id = 'order-2'",
            )
            .given("update orders set user_id = null, amount_paid = 38 where id = 'order-2'"),
            DASHBOARD_2,
            json!({ "sellerId": "seller-2", "orderId": "order-2", "amount": "38.00", "productId": "product-7" }),
        ),
        sale(
            of_sales(
                "a sale is inserted as completed",
                "insert into orders (id, seller_id, customer_name, customer_email, total, status, payment_status, created_at)
                 values ('order-9', 'seller-2', 'Ada', 'ada@example.com', 24, 'completed', null, '2026-01-15')",
            ),
            DASHBOARD_2,
            json!({ "sellerId": "seller-2", "orderId": "order-9", "amount": "24.00", "productId": null }),
        )
        // What is completed has been paid, where no payment status knows better.
        .heard(
            "analytics:revenue_updated",
            &[DASHBOARD_2],
            json!({ "sellerId": "seller-2", "newRevenue": "24.00", "totalRevenue": "0.00", "period": "today" }),
        ),
        sale(
            of_sales(
                "an order in wholesale_orders is fulfilled",
                "update wholesale_orders set status = 'fulfilled' where id = 'wholesale-1'",
            ),
            DASHBOARD_3,
            json!({ "sellerId": "seller-3", "orderId": "wholesale-1", "amount": "1240.00", "productId": null }),
        ),
        becomes("a sale is shipped, and not completed", "status = 'shipped'"),
        becomes("a sale is cancelled", "status = 'cancelled'"),
        becomes("a fulfilled sale is delivered, which is no second sale", "status = 'delivered'")
            .given("update orders set fulfillment_status = 'fulfilled' where id = 'order-1'"),
        becomes("a delivered sale is completed, which is no second sale", "status = 'completed'")
            .given("update orders set status = 'delivered' where id = 'order-1'"),
        becomes("a completed sale is written again", "status = 'completed', tracking_number = 'T-1'")
            .given("update orders set status = 'completed' where id = 'order-1'"),
        of_sales("a completed sale is deleted", "delete from orders where id = 'order-1'")
            .given("update orders set status = 'completed' where id = 'order-1'"),
    ]);
    rows
}

/// An order of seller-1 that is placed today.
fn placed(columns: &str, values: &str) -> String {
    format!(
        r#"insert into orders (id, seller_id, customer_name, customer_email, total, created_at{columns})
           values ('order-9', 'seller-1', 'Ada', 'ada@example.com', 124,
                   to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'){values})"#
    )
}

fn paid() -> Vec<Row> {
    let revenue = |row: Row, by: Group, seller: &str, new: &str, total: &str| {
        let data = json!({ "sellerId": seller, "newRevenue": new, "totalRevenue": total, "period": "today" });
        row.heard("analytics:revenue_updated", &[by], data)
    };
    let today = |row: Row, new: &str, total: &str| revenue(row, DASHBOARD_1, "seller-1", new, total);
    let update = |name: &str, set: &str| of_sales(name, format!("update orders set {set} where id = 'order-9'"));
    vec![
        today(
            of_sales("an order is placed and paid", placed(", amount_paid, payment_status", ", 124, 'fully_paid'")),
            "124.00",
            "124.00",
        ),
        of_sales("an order is placed", placed("", "")),
        today(
            update("a first part is paid", "amount_paid = 24.5, payment_status = 'deposit_paid'").given(placed("", "")),
            "24.50",
            "24.50",
        ),
        today(
            update("the rest is paid", "amount_paid = 124, payment_status = 'fully_paid'")
                .given(placed(", amount_paid, payment_status", ", 24.5, 'deposit_paid'")),
            "99.50",
            "124.00",
        ),
        today(
            update("the status alone says that it is paid", "payment_status = 'fully_paid'").given(placed("", "")),
            "124.00",
            "124.00",
        ),
        today(
            update("the status alone says that the deposit is paid", "payment_status = 'deposit_paid'")
                .given(placed(", deposit_amount_cents", ", 3005")),
            "30.05",
            "30.05",
        ),
        today(
            update("an order's payment comes on top of another's", "amount_paid = 0.1").given(format!(
                "{}; update orders set created_at = (select created_at from orders where id = 'order-9')
                 where id = 'order-1'",
                placed("", "")
            )),
            "0.10",
            "48.10",
        ),
        revenue(
            of_sales(
                "what is paid today for an order of another day is no revenue of today's orders",
                "update orders set amount_paid = 38, payment_status = 'fully_paid' where id = 'order-2'",
            ),
            DASHBOARD_2,
            "seller-2",
            "38.00",
            "0.00",
        ),
        revenue(
            of_sales(
                "the payment of a deposit is paid",
                "update wholesale_payments set status = 'paid', paid_at = now() where id = 'payment-1'",
            ),
            DASHBOARD_3,
            "seller-3",
            "372.00",
            "372.00",
        ),
        today(
            update("what was paid of other orders stays paid, whatever their status is by now", "amount_paid = 0.1")
                .given(format!(
                    "{}; insert into orders (id, seller_id, customer_name, customer_email, total, deposit_amount_cents,
                                           status, payment_status, balance_paid_at, created_at)
                     select 'later-' || n, 'seller-1', 'Ada', 'ada@example.com', total, deposit, later.status,
                            payment, paid_at::timestamptz, (select created_at from orders where id = 'order-9')
                     from (values
                       (1, 1000.00, null, 'fulfilled', '', null),
                       (2, 200.00, 50, 'completed', null, null),
                       (3, 30.00, null, 'in_production', null, null),
                       (4, 9.00, 400, 'ready_to_ship', null, null),
                       (5, 0.90, 50, 'awaiting_balance', null, null),
                       (6, 0.09, 6, 'balance_overdue', '', null),
                       (7, 20000.00, 50, 'ready_to_ship', 'pending', now()),
                       (8, 0.88, 1, 'fulfilled', 'deposit_paid', null),
                       (9, 0.77, null, 'fulfilled', 'refunded', null),
                       (10, 0.77, 50, 'shipped', 'pending', null),
                       (11, 0.77, null, 'delivered', 'pending', null),
                       (12, 0.77, null, 'awaiting_payment', null, null),
                       (13, 0.77, null, 'awaiting_balance', null, null),
                       (14, 0.77, null, 'fulfilled', 'pending', null),
                       (15, 0.77, 50, 'completed', 'pending', null),
                       (16, 0.77, 50, 'in_production', 'pending', null),
                       (17, 0.77, 50, 'balance_overdue', 'pending', null)
                     ) as later (n, total, deposit, status, payment, paid_at)",
                    placed("", "")
                )),
            "0.10",
            // 20000 + 1000 + 200 + 30 + 4 + 0.50 + 0.06 + 0.01 + 0.10
            "21234.67",
        ),
        today(
            update("the balance is paid of what is in production", "status = 'paid'")
                .given(placed(", deposit_amount_cents, status, payment_status", ", 3005, 'in_production', null")),
            "93.95",
            "124.00",
        ),
        today(
            update("what was fulfilled first is paid, which was no revenue before", "payment_status = 'fully_paid'")
                .given(placed(", status, balance_due_cents, order_type", ", 'fulfilled', 12400, 'wholesale'")),
            "124.00",
            "124.00",
        ),
        update("what is not paid is fulfilled, and the payment status says so", "status = 'fulfilled'")
            .given(placed(", balance_due_cents, order_type", ", 12400, 'wholesale'"))
            .heard(
                "analytics:sale_completed",
                &[DASHBOARD_1],
                json!({ "sellerId": "seller-1", "orderId": "order-9", "amount": "124.00", "productId": null }),
            ),
        today(
            update("a part was paid, and now all of it, as the status alone says", "payment_status = 'fully_paid'")
                .given(placed(", amount_paid, payment_status", ", 24.5, 'deposit_paid'")),
            "99.50",
            "124.00",
        ),
        update("what is paid is made", "status = 'in_production'").given(placed(", status", ", 'paid'")),
        update("what is paid is fulfilled, which is a sale and no payment", "status = 'fulfilled'")
            .given(placed(", status", ", 'paid'"))
            .heard(
                "analytics:sale_completed",
                &[DASHBOARD_1],
                json!({ "sellerId": "seller-1", "orderId": "order-9", "amount": "124.00", "productId": null }),
            ),
        update("what is not paid is shipped", "status = 'shipped'").given(placed("", "")),
        update("the status says what the amount said", "payment_status = 'fully_paid', status = 'paid'")
            .given(placed(", amount_paid", ", 124")),
        becomes("a payment is refunded", "payment_status = 'refunded'"),
        becomes("a payment is corrected downwards", "amount_paid = 40"),
        update("an order of no store is paid", "amount_paid = 124")
            .given(format!("{}; update orders set seller_id = null where id = 'order-9'", placed("", ""))),
        of_sales("a payment is requested", "update wholesale_payments set status = 'requested' where id = 'payment-2'"),
    ]
}

fn stock() -> Vec<Row> {
    let changes = |name: &str, from: Value, to: i32| {
        of_sales(name, format!("update products set stock = {to} where id = 'product-1'"))
            .given(format!("update products set stock = {from} where id = 'product-1'"))
    };
    let alerted = |row: Row, stock: i32, kind: &str| {
        row.heard(
            "analytics:inventory_alert",
            &[DASHBOARD_1],
            json!({
                "sellerId": "seller-1", "productId": "product-1", "productName": "Stoneware mug, speckled",
                "currentStock": stock, "alertType": kind,
            }),
        )
    };
    vec![
        alerted(changes("stock crosses below the threshold, at the dashboard", json!(10), 9), 9, "low"),
        alerted(changes("the last piece is sold, at the dashboard", json!(1), 0), 0, "out"),
        alerted(changes("everything is sold at once, which is one alert", json!(18), 0), 0, "out"),
        alerted(changes("stock becomes known, and is low, at the dashboard", json!(null), 5), 5, "low"),
        changes("stock falls to the threshold, at the dashboard", json!(11), 10),
        changes("low stock falls further, at the dashboard", json!(9), 8),
        changes("more is sold of what is out, at the dashboard", json!(0), -1),
        changes("a product is there again, though few, at the dashboard", json!(0), 5),
    ]
}
