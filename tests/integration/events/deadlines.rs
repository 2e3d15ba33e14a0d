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

/// A day that has ended in every time zone, and the one before it. Columns of each type take them.
const ENDED: &str = "(now() at time zone 'UTC')::date - 1";
const ENDED_BEFORE: &str = "(now() at time zone 'UTC')::date - 2";

/// What an application may have given `valid_until`.
const TYPES: [&str; 3] = ["date", "timestamp", "timestamptz"];

/// The next to expire is this one, and it is the clock that says so.
async fn expires(client: &mut Client, quotation: &str) {
    expires_by(client, "rowcast.quotation_expired", quotation).await;
}

async fn expires_by(client: &mut Client, table: &str, quotation: &str) {
    let event = client.event_named("quotation:expired").await;
    assert_eq!(event["quotationId"], quotation, "{event}");
    assert_eq!(event["metadata"]["table"], table, "{event}");
}

/// Two quotations that have been sent, and no time yet, in a column of this type.
async fn with_times_of(column_type: &str) -> Database {
    let database = Database::marketplace().await;
    database
        .run(&format!(
            "alter table trade_quotations alter valid_until type {column_type} using null::{column_type};
             update trade_quotations set status = 'sent' where id in ('quotation-1', 'quotation-2')"
        ))
        .await;
    database
}

/// How often a notification said that it expired.
async fn notified(database: &Database, quotation: &str, user: &str) -> i64 {
    let written = format!(
        "select count(*) from rowcast.notification where subject ->> 'id' = '{quotation}' and kind = 'quotation'
         and user_id = '{user}' and title = 'Quotation expired'"
    );
    database.count(&written).await
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

    heard_so_far(&database, "seller-1", &mut seller).await;
    assert_eq!(notified(&database, "quotation-1", "buyer-2").await, 2, "one for each time");
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

#[tokio::test(flavor = "multi_thread")]
async fn what_the_clock_has_told_the_application_does_not_tell_again_whatever_type_the_time_has() {
    for column_type in TYPES {
        let database = with_times_of(column_type).await;
        let catalog = impatient_catalog();
        let service = Service::start_with(&database, impatient(&catalog)).await;
        let mut seller = service.connect("seller-1").await;
        let mut buyer = service.connect("buyer-2").await;

        database.run(&format!("update trade_quotations set valid_until = {ENDED} where id = 'quotation-1'")).await;
        expires(&mut seller, "quotation-1").await;
        expires(&mut buyer, "quotation-1").await;

        database.run("update trade_quotations set status = 'expired' where id = 'quotation-1'").await;
        for (user, client) in [("seller-1", &mut seller), ("buyer-2", &mut buyer)] {
            let heard = heard_so_far(&database, user, client).await;
            assert_eq!(named(&heard, "quotation:expired"), Vec::<&Value>::new(), "{column_type}: {user}");
        }
        for user in ["seller-1", "buyer-2"] {
            assert_eq!(notified(&database, "quotation-1", user).await, 1, "{column_type}: {user}");
        }
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_has_told_the_clock_does_not_tell_again_whatever_type_the_time_has() {
    for column_type in TYPES {
        let database = with_times_of(column_type).await;
        let catalog = impatient_catalog();
        let service = Service::start_with(&database, impatient(&catalog)).await;
        let mut seller = service.connect("seller-1").await;

        // In one transaction, between whose statements the clock sees nothing.
        database
            .run(&format!(
                "begin;
                 update trade_quotations set valid_until = {ENDED} where id = 'quotation-2';
                 update trade_quotations set status = 'expired' where id = 'quotation-2';
                 commit"
            ))
            .await;
        expires_by(&mut seller, "trade_quotations", "quotation-2").await;

        // It is sent once more, and the same time has run out. That the clock has looked since, another one shows.
        database
            .run(&format!(
                "update trade_quotations set status = 'sent' where id = 'quotation-2';
                 update trade_quotations set valid_until = {ENDED_BEFORE} where id = 'quotation-1'"
            ))
            .await;
        expires(&mut seller, "quotation-1").await;
        let heard = heard_so_far(&database, "seller-1", &mut seller).await;
        assert_eq!(named(&heard, "quotation:expired"), Vec::<&Value>::new(), "{column_type}");
        for user in ["seller-1", "buyer-3"] {
            assert_eq!(notified(&database, "quotation-2", user).await, 1, "{column_type}: {user}");
        }
        service.stop().await;
    }
}

#[tokio::test]
async fn a_date_is_taken_as_midnight_in_utc_whatever_the_time_zone_of_the_session() {
    let database = with_times_of("date").await;
    let (_, file) = rowcast::catalog::Catalog::built_in_files()
        .find(|(name, _)| *name == "quotations.toml")
        .expect("the catalog of quotations");
    let file: toml::Table = file.parse().expect("TOML");
    let clock = file["schedule"][0]["sql"].as_str().expect("one form");

    // At any hour, the day has begun for the one of these zones and not for the other.
    for zone in ["Etc/GMT+12", "Pacific/Kiritimati"] {
        // In one transaction it is always the same time.
        database
            .run(&format!(
                "begin; set local time zone '{zone}';
                 update trade_quotations set valid_until = (now() at time zone 'UTC')::date where id = 'quotation-1';
                 update trade_quotations set valid_until = (now() at time zone 'UTC')::date + 1
                 where id = 'quotation-2'"
            ))
            .await;
        let today: String = database.row("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD')", &[]).await.get(0);
        let found = database.client.query(clock, &[]).await.expect("the schedule's SQL");
        let keys: Vec<String> = found.iter().map(|row| row.get("key")).collect();
        assert_eq!(keys, [format!("quotation-1@{today}")], "{zone}");
        database.run("rollback").await;
    }
}
