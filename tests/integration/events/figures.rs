//! `analytics:metrics_updated`: for whom the figures are worked out, and that they are right.

use serde_json::{Value, json};

use super::{
    light::{heard_so_far, named},
    stage::{impatient, impatient_catalog},
};
use crate::support::{database::Database, service::Service};

/// As anybody would ask for them.
const FIGURES: &str = "
    select json_build_object(
      'totalOrders', (select count(*) from orders where seller_id = $1),
      'totalRevenue', (select coalesce(sum(amount_paid), 0.00)::text from orders where seller_id = $1),
      'totalProducts', (select count(*) from products where seller_id = $1),
      'averageOrderValue', (select round(coalesce(avg(total), 0), 2)::text from orders where seller_id = $1))::text";

async fn figures(database: &Database, seller: &str) -> Value {
    let text: String = database.row(FIGURES, &[&seller]).await.get(0);
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_those_of_sql_and_worked_out_only_for_dashboards_that_somebody_looks_at() {
    let database = Database::marketplace().await;
    let catalog = impatient_catalog();
    let service = Service::start_with(&database, impatient(&catalog)).await;
    let mut open = service.connect("seller-1").await;
    let mut closed = service.connect("seller-2").await;
    assert_eq!(closed.emit_with_ack("leave:seller", json!({})).await["success"], true);
    let event = open.event_named("analytics:metrics_updated").await;
    assert_eq!(event["data"]["metrics"], figures(&database, "seller-1").await, "the first figures");

    // A look at the clock that began before the dashboard was closed is over when this is told.
    database.run("insert into products (seller_id, name, price) values ('seller-1', 'Jug', 9)").await;
    open.event_named("analytics:metrics_updated").await;
    heard_so_far(&database, "seller-2", &mut closed).await;

    database
        .run(
            "insert into orders (seller_id, customer_name, customer_email, total, amount_paid, created_at)
             select seller, 'Ada', 'ada@example.com', n * 10.01, n * 3.33, 'long ago'
             from unnest(array['seller-1', 'seller-2']) as seller, generate_series(1, 7) as n",
        )
        .await;
    let event = open.event_named("analytics:metrics_updated").await;
    assert_eq!(event["data"], json!({ "sellerId": "seller-1", "metrics": figures(&database, "seller-1").await }));
    let of_closed = "select count(*) from rowcast.told
                     where schedule = 'store_metrics' and key = 'seller-2' and row ->> 'total_orders' = '8'";
    assert_eq!(database.count(of_closed).await, 0, "nobody looks at seller-2's dashboard");
    let heard = heard_so_far(&database, "seller-2", &mut closed).await;
    assert_eq!(named(&heard, "analytics:metrics_updated"), Vec::<&Value>::new(), "and another's is not for seller-2");

    // Opened again, it shows what has changed meanwhile.
    assert_eq!(closed.emit_with_ack("join:seller", json!({})).await["success"], true);
    let event = closed.event_named("analytics:metrics_updated").await;
    assert_eq!(event["data"], json!({ "sellerId": "seller-2", "metrics": figures(&database, "seller-2").await }));
    let open = heard_so_far(&database, "seller-1", &mut open).await;
    assert_eq!(named(&open, "analytics:metrics_updated"), Vec::<&Value>::new(), "nothing new, and not another's");
    service.stop().await;
}
