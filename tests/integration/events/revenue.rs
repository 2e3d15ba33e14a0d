//! Revenue, to the cent.

use serde_json::{Value, json};

use crate::support::{
    client::Client,
    database::Database,
    service::{Service, url},
};

const TODAY: &str = r#"to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"#;

/// As anybody would ask for it: what was paid of today's orders, and the wholesale payments of today.
const SUM_OF_TODAY: &str = "
    select (
      (select sum(amount_paid) from orders
       where seller_id = 'seller-1' and created_at like to_char(now() at time zone 'UTC', 'YYYY-MM-DD') || '%')
      + (select sum(amount_cents) / 100.0 from wholesale_payments join wholesale_orders w on w.id = wholesale_order_id
         where seller_id = 'seller-1' and wholesale_payments.status = 'paid'
           and (paid_at at time zone 'UTC')::date = (now() at time zone 'UTC')::date)
    )::numeric(12, 2)::text";

async fn sum_of_today(database: &Database) -> String {
    database.row(SUM_OF_TODAY, &[]).await.get(0)
}

async fn sum_of(database: &Database, amounts: &[String]) -> String {
    database.row("select sum(amount::numeric)::text from unnest($1::text[]) as amount", &[&amounts]).await.get(0)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("money is text, found {value}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn revenue_is_what_sql_sums_up_when_many_orders_are_paid_at_once_and_after_a_restart() {
    let database = Database::marketplace().await;
    database
        .run(&format!(
            "insert into orders (id, seller_id, customer_name, customer_email, total, created_at)
             select 'today-' || n, 'seller-1', 'Ada', 'ada@example.com', n * 10.01 + 0.1, {TODAY}
             from generate_series(1, 7) as n;
             insert into orders (id, seller_id, customer_name, customer_email, total, created_at) values
               ('old-1', 'seller-1', 'Ada', 'ada@example.com', 19.99, '2026-01-02T10:00:00Z'),
               ('other-1', 'seller-2', 'Ada', 'ada@example.com', 5.55, {TODAY}),
               ('later', 'seller-1', 'Ada', 'ada@example.com', 33.33, {TODAY});
             set session_replication_role = replica;
             insert into wholesale_orders (id, order_number, seller_id, buyer_id, subtotal_cents, total_cents,
                                           deposit_amount_cents, balance_amount_cents)
             values ('wholesale-9', 'W-9', 'seller-1', 'buyer-4', 5000, 5000, 1234, 3766);
             insert into wholesale_payments (wholesale_order_id, payment_type, status, amount_cents, paid_at) values
               ('wholesale-9', 'deposit', 'paid', 1234, now()), ('wholesale-9', 'balance', 'paid', 3766, '2026-01-02'),
               ('wholesale-1', 'deposit', 'paid', 99, now());
             set session_replication_role = origin"
        ))
        .await;
    let service = Service::start(&database).await;
    let mut seller = service.connect("seller-1").await;

    database
        .run(
            "update orders set amount_paid = total, payment_status = 'fully_paid'
             where id similar to '(today|old|other)-%'",
        )
        .await;
    let total = sum_of_today(&database).await;
    let mut paid = Vec::new();
    let mut position = Value::Null;
    for _ in 0..8 {
        let event = seller.event_named("analytics:revenue_updated").await;
        assert_eq!(event["data"]["totalRevenue"], total, "{event}");
        assert_eq!(event["data"]["sellerId"], "seller-1", "{event}");
        paid.push(text(&event["data"]["newRevenue"]));
        position = event["metadata"]["position"].clone();
    }
    let sql = "select sum(total)::text from orders where id similar to '(today|old)-%'";
    assert_eq!(sum_of(&database, &paid).await, database.row(sql, &[]).await.get::<_, String>(0));

    service.stop().await;
    drop(seller);
    database.run("update orders set amount_paid = 11.12, payment_status = 'deposit_paid' where id = 'later'").await;
    let service = Service::start(&database).await;
    let auth = json!({ "userId": "seller-1", "since": position });
    let mut seller = Client::connect(&url(service.address), auth).await.expect("the seller connects again");
    let event = loop {
        // What was heard before comes again, with the ids that it had.
        let event = seller.event_named("analytics:revenue_updated").await;
        if event["data"]["newRevenue"] == "11.12" {
            break event;
        }
    };
    let after = sum_of_today(&database).await;
    assert_eq!(event["data"]["totalRevenue"], after);
    assert_eq!(sum_of(&database, &[total, "11.12".to_owned()]).await, after);
    service.stop().await;
}
