//! `analytics:product_viewed`: views in sum.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{database::Database, service::Service};

#[tokio::test(flavor = "multi_thread")]
async fn views_within_a_few_seconds_are_told_in_sum() {
    const VISITORS: u64 = 20;
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut seller = service.connect("seller-2").await;
    let visitors = join_all((0..VISITORS).map(|_| service.visit())).await;
    let page = json!({ "productId": "product-5" });
    for ack in join_all(visitors.iter().map(|visitor| visitor.emit_with_ack("join:product", page.clone()))).await {
        assert_eq!(ack["success"], true, "{ack}");
    }
    let (mut views, mut events) = (0, 0);
    while views < VISITORS {
        let event = seller.event_named("analytics:product_viewed").await;
        views += event["data"]["viewCount"].as_u64().expect("a number");
        events += 1;
        assert_eq!(event["data"]["productId"], "product-5");
        assert_eq!(event["data"]["viewersNow"].as_u64(), Some(views), "nobody has left");
    }
    assert_eq!(views, VISITORS);
    assert!(events <= 3, "{VISITORS} views within two seconds made {events} events");
    service.stop().await;
}
