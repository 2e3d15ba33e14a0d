//! `presence:changed`: who comes back soon was never gone.

use std::time::Duration;

use rowcast::config::Config;
use serde_json::json;

use super::light::all_seen_is_told;
use crate::support::{database::Database, eventually, service::Service};

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_within_the_grace_was_never_gone() {
    let database = Database::marketplace().await;
    database.run("update trade_quotations set status = 'sent' where id = 'quotation-2'").await;
    let mut config = Config::default();
    config.gateway.presence_grace = Duration::from_secs(600);
    config.gateway.presence_interval = Duration::from_millis(100);
    let service = Service::start_with(&database, config).await;
    let mut seller = service.connect("seller-1").await;
    let buyer = service.connect("buyer-2").await;
    let event = seller.event_named("presence:changed").await;
    assert_eq!(event["data"], json!({ "userId": "buyer-2", "online": true }));

    drop(buyer);
    eventually("the service knows that the buyer left", async || service.metric("rowcast_sockets").await == 1.0).await;
    let mut bell = service.visit().await;
    all_seen_is_told(&mut bell, 1).await;
    let buyer = service.connect("buyer-2").await;
    all_seen_is_told(&mut bell, 2).await;
    // Whoever came later is told of later.
    let other = service.connect("buyer-3").await;
    let event = seller.event_named("presence:changed").await;
    assert_eq!(event["data"], json!({ "userId": "buyer-3", "online": true }), "nothing of buyer-2");
    drop((buyer, other));
    service.stop().await;
}
