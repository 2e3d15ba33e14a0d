//! `quotation:expired` by the clock: once for each time that runs out.

use serde_json::Value;

use super::{
    light::{heard_so_far, named},
    stage::{impatient, impatient_catalog},
};
use crate::{
    cli::Files,
    support::{client::Client, database::Database, service::Service},
};

/// Nothing is written when this time comes.
const SOON: &str = "now() + interval '300 milliseconds'";

/// The next to expire is this one, and it is the clock that says so.
async fn expires(client: &mut Client, quotation: &str) {
    let event = client.event_named("quotation:expired").await;
    assert_eq!(event["quotationId"], quotation, "{event}");
    assert_eq!(event["metadata"]["table"], "rowcast.quotation_expired", "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quotation_expires_by_the_clock_once_for_each_time_that_runs_out() {
    let database = Database::marketplace().await;
    database.run("update trade_quotations set status = 'sent' where id in ('quotation-1', 'quotation-2')").await;
    let catalog = impatient_catalog();
    let service = Service::start_with(&database, impatient(&catalog)).await;
    let mut seller = service.connect("seller-1").await;
    let mut buyer = service.connect("buyer-2").await;

    database.run(&format!("update trade_quotations set valid_until = {SOON} where id = 'quotation-1'")).await;
    expires(&mut seller, "quotation-1").await;
    expires(&mut buyer, "quotation-1").await;

    // The clock is asked again and again, also by another process.
    service.stop().await;
    let service = Service::start_with(&database, impatient(&catalog)).await;
    let mut seller = service.connect("seller-1").await;
    let mut buyer = service.connect("buyer-2").await;
    database.run(&format!("update trade_quotations set valid_until = {SOON} where id = 'quotation-2'")).await;
    expires(&mut seller, "quotation-2").await;

    // The application finds out by itself.
    database.run("update trade_quotations set status = 'expired' where id = 'quotation-1'").await;
    for (user, client) in [("seller-1", &mut seller), ("buyer-2", &mut buyer)] {
        let heard = heard_so_far(&database, user, client).await;
        assert_eq!(named(&heard, "quotation:expired"), Vec::<&Value>::new(), "{user} was told already");
    }

    // More time is given, and that runs out too.
    database
        .run(&format!("update trade_quotations set status = 'sent', valid_until = {SOON} where id = 'quotation-1'"))
        .await;
    expires(&mut seller, "quotation-1").await;
    expires(&mut buyer, "quotation-1").await;

    let written = "select count(*) from rowcast.notification where subject ->> 'id' = 'quotation-1'
                   and kind = 'quotation' and user_id = 'buyer-2' and title = 'Quotation expired'";
    heard_so_far(&database, "seller-1", &mut seller).await;
    assert_eq!(database.count(written).await, 2, "one for each time");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_clock_has_read_and_not_told_when_the_application_says_that_it_expired_is_told_once() {
    let database = Database::marketplace().await;
    database
        .run(
            "update trade_quotations set status = 'sent', valid_until = now() - interval '1 second'
             where id = 'quotation-1'",
        )
        .await;
    // A clock that finds nothing: what it would tell is told by hand below.
    let found = "and quotation.status::text in ('sent', 'viewed')";
    let files: Vec<(&str, String)> = rowcast::catalog::Catalog::built_in_files()
        .map(|(name, text)| (name, text.replace(found, "and false")))
        .collect();
    let catalog = Files::new(&files.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>());
    let config = impatient(&catalog);
    let service = Service::start_with(&database, config).await;
    let mut seller = service.connect("seller-1").await;
    // What the schedule read a moment ago, as it would hand it to rowcast.tell.
    let read: (String, String) = {
        let row = database.row(
            "select quotation.id || '@' || regexp_replace(to_char(quotation.valid_until at time zone 'UTC',
                      'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '(\\.\\d{3})000$', '\\1') || 'Z',
                    json_build_object('key', '', 'id', quotation.id, 'seller_id', quotation.seller_id, 'buyer_id',
                      quotation.buyer_id, 'buyer_email', quotation.buyer_email, 'quotation_number',
                      quotation.quotation_number, 'valid_until', quotation.valid_until)::text
             from trade_quotations as quotation where id = 'quotation-1'",
            &[],
        );
        let row = row.await;
        (row.get(0), row.get(1))
    };
    database.run("update trade_quotations set status = 'expired' where id = 'quotation-1'").await;
    let event = seller.event_named("quotation:expired").await;
    assert_eq!(event["metadata"]["table"], "trade_quotations", "{event}");
    let tell = "select rowcast.tell('quotation_expired', array[$1], array[$2], null)";
    assert_eq!(database.row(tell, &[&read.0, &read.1]).await.get::<_, i32>(0), 0, "it was claimed");
    let heard = heard_so_far(&database, "seller-1", &mut seller).await;
    assert_eq!(named(&heard, "quotation:expired"), Vec::<&Value>::new(), "once");
    service.stop().await;
}
