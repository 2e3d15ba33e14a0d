//! What the clock brings: figures of the open dashboards, and quotations whose time runs out.

use serde_json::{Value, json};

use super::{
    cast::{BUYER_2, BUYER_3, DASHBOARD_1, DASHBOARD_2, DASHBOARD_3, SELLER_1},
    row::{Of, Row, row},
};

pub fn rows() -> Vec<Row> {
    [figures(), expired()].concat()
}

/// The figures of the sample have been told: those that the row before had are no news any more.
const SAMPLE_IS_TOLD: &str = "
    select count(*) = 3 and bool_and(
      (told.row ->> 'total_orders')::bigint = (select count(*) from orders where seller_id = told.key)
      and (told.row ->> 'total_products')::bigint = (select count(*) from products where seller_id = told.key)
      and (told.row ->> 'total_revenue')::numeric
        = (select coalesce(sum(amount_paid), 0) from orders where seller_id = told.key))
    from rowcast.told where schedule = 'store_metrics' and key in ('seller-1', 'seller-2', 'seller-3')";

fn figures() -> Vec<Row> {
    const UPDATE: Of = Of::Consequence { table: "rowcast.store_metrics", op: "UPDATE" };
    let figures = |name: &str, statement: &str| {
        row(name, statement).speaking_of(&["analytics:metrics_updated"]).once(SAMPLE_IS_TOLD).awaited()
    };
    let data = |seller: &str, orders: u32, revenue: &str, products: u32, average: &str| {
        json!({
            "sellerId": seller,
            "metrics": {
                "totalOrders": orders, "totalRevenue": revenue, "totalProducts": products,
                "averageOrderValue": average,
            },
        })
    };
    vec![
        figures(
            "a store sells something, and its dashboard is open",
            "insert into orders (seller_id, customer_name, customer_email, total, amount_paid, created_at)
             values ('seller-1', 'Ada', 'ada@example.com', 24.01, 4, 'long ago')",
        )
        .heard_of(
            "analytics:metrics_updated",
            &[DASHBOARD_1],
            // (48.00 + 24.01) / 2, rounded to cents away from zero
            data("seller-1", 2, "52.00", 5, "36.01"),
            UPDATE,
        ),
        figures(
            "a store adds a product, and its dashboard is open",
            "insert into products (seller_id, name, price) values ('seller-2', 'Shawl', 80)",
        )
        .heard_of("analytics:metrics_updated", &[DASHBOARD_2], data("seller-2", 1, "0.00", 6, "38.00"), UPDATE),
        figures(
            "an order is fulfilled, and so paid, where no payment status says otherwise",
            "update orders set status = 'fulfilled' where id = 'order-2'",
        )
        .given("update orders set payment_status = null where id = 'order-2'")
        .heard_of(
            "analytics:metrics_updated",
            &[DASHBOARD_2],
            data("seller-2", 1, "38.00", 5, "38.00"),
            UPDATE,
        ),
        figures(
            "the deposit of a wholesale order is paid, which is revenue as it is that of the day",
            "update wholesale_payments set status = 'paid', paid_at = now() where id = 'payment-1'",
        )
        .heard_of(
            "analytics:metrics_updated",
            &[DASHBOARD_3],
            data("seller-3", 0, "372.00", 4, "0.00"),
            UPDATE,
        ),
        figures("an order is paid", "update orders set payment_status = 'fully_paid' where id = 'order-2'").heard_of(
            "analytics:metrics_updated",
            &[DASHBOARD_2],
            data("seller-2", 1, "38.00", 5, "38.00"),
            UPDATE,
        ),
    ]
}

fn expired() -> Vec<Row> {
    const BY_THE_CLOCK: Of = Of::Consequence { table: "rowcast.quotation_expired", op: "INSERT" };
    let runs_out = |name: &str, quotation: &str| {
        row(
            name,
            format!("update trade_quotations set valid_until = now() - interval '1 second' where id = '{quotation}'"),
        )
        .speaking_of(&["quotation:expired"])
        .awaited()
    };
    let data = |quotation: &str, buyer: &str, number: &str| -> Value {
        json!({ "quotationId": quotation, "sellerId": "seller-1", "buyerId": buyer, "quotationNumber": number })
    };
    vec![
        runs_out("the time of a quotation that was sent runs out", "quotation-1").heard_of(
            "quotation:expired",
            &[SELLER_1, BUYER_2],
            data("quotation-1", "buyer-2", "Q-1001"),
            BY_THE_CLOCK,
        ),
        runs_out("the time of a quotation runs out that was sent to an e-mail and viewed", "quotation-2")
            .given("update trade_quotations set status = 'viewed' where id = 'quotation-2'")
            .heard_of(
                "quotation:expired",
                &[SELLER_1, BUYER_3],
                data("quotation-2", "buyer-3", "Q-1002"),
                BY_THE_CLOCK,
            ),
    ]
}
