//! Inboxes: read and deleted by those whose they are, on every device; announcements; and that what is swept again is
//! not written again.

use std::time::Duration;

use rowcast::config::Config;
use serde_json::{Value, json};

use super::light::{heard_so_far, named};
use crate::support::{client::Client, command::rowcast, database::Database, eventually, service::Service};

async fn write(database: &Database, id: &str, user: &str) {
    let sql = "insert into rowcast.notification (id, user_id, kind, title) values ($1, $2, 'order', 'Hello')";
    database.client.execute(sql, &[&id, &user]).await.expect("a notification");
}

async fn hears(client: &mut Client, event: &str, id: &str, unread: u32) {
    let heard = client.event_named(event).await;
    assert_eq!((&heard["data"]["notificationId"], &heard["data"]["unread"]), (&json!(id), &json!(unread)), "{heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_device_reads_or_deletes_the_others_hear_and_nobody_else_can() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut devices = [service.connect("buyer-1").await, service.connect("buyer-1").await];
    let mut other = service.connect("buyer-2").await;
    let (seller, visitor) = (service.connect("seller-1").await, service.visit().await);
    for (number, id) in [(1, "first"), (2, "second"), (3, "third")] {
        write(&database, id, "buyer-1").await;
        for device in &mut devices {
            hears(device, "notification:order", id, number).await;
        }
    }

    let [phone, _] = &devices;
    let first = json!({ "notificationId": "first" });
    for stranger in [&other, &seller, &visitor] {
        for message in ["notification:read", "notification:delete"] {
            let answer = stranger.emit_with_ack(message, first.clone()).await;
            assert_eq!(answer["success"], false, "{message}: {answer}");
        }
    }
    assert_eq!(other.emit_with_ack("notification:read", json!({ "all": true })).await["unread"], 0);
    let untouched = "select count(*) from rowcast.notification where user_id = 'buyer-1' and read_at is null";
    assert_eq!(database.count(untouched).await, 3);

    let answer = phone.emit_with_ack("notification:read", first.clone()).await;
    assert_eq!(answer, json!({ "success": true, "unread": 2 }));
    for device in &mut devices {
        hears(device, "notification:read", "first", 2).await;
    }
    let [phone, _] = &devices;
    let answer = phone.emit_with_ack("notification:delete", json!({ "notificationId": "second" })).await;
    assert_eq!(answer, json!({ "success": true, "unread": 1 }));
    for device in &mut devices {
        hears(device, "notification:deleted", "second", 1).await;
    }
    let [phone, _] = &devices;
    let list = phone.emit_with_ack("notification:list", json!({})).await;
    let ids: Vec<&Value> =
        list["notifications"].as_array().expect("a list").iter().map(|one| &one["notificationId"]).collect();
    assert_eq!((ids, &list["unread"]), (vec![&json!("third"), &json!("first")], &json!(1)));
    assert_eq!(phone.emit_with_ack("notification:read", json!({ "all": true })).await["unread"], 0);
    for device in &mut devices {
        hears(device, "notification:read", "third", 0).await;
    }
    let heard = heard_so_far(&database, "buyer-2", &mut other).await;
    assert!(heard.iter().all(|(name, _)| !name.starts_with("notification:")), "another buyer heard {heard:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_comes_into_the_inbox_of_each_whom_it_is_for_also_of_those_who_are_away() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut everybody = Vec::new();
    for user in ["seller-1", "seller-2", "helper-1", "admin-1", "buyer-1", "buyer-2"] {
        everybody.push((user, service.connect(user).await));
    }
    let mut visitor = service.visit().await;
    let sellers = ["admin-1", "helper-1", "seller-1", "seller-2", "seller-3"];
    let buyers = ["buyer-1", "buyer-2", "buyer-3", "buyer-4", "buyer-5"];
    let mut all = [sellers, buyers].concat();
    all.sort_unstable();
    let announcements: [(&str, &str, &[&str]); 4] = [
        ("all", "To all", &all),
        ("sellers", "To sellers", &sellers),
        ("buyers", "To buyers", &buyers),
        ("user:buyer-2", "To one", &["buyer-2"]),
    ];
    for (to, title, expected) in announcements {
        let arguments = ["announce", "--to", to, "--title", title, "--body", "Soon.", "--subject", "page:news"];
        rowcast(&database.url, &arguments).await.succeeded();
        eventually(title, async || inboxes_with(&database, title).await == expected).await;
    }
    for (user, client) in &mut everybody {
        let heard = heard_so_far(&database, user, client).await;
        let heard = named(&heard, "notification:system");
        let mut expected = announcements.iter().filter(|(_, _, to)| to.contains(user));
        for (number, event) in heard.iter().enumerate() {
            let (_, title, _) = expected.next().unwrap_or_else(|| panic!("{user} heard {event}, which is not theirs"));
            assert_eq!((&event["title"], &event["body"]), (&json!(title), &json!("Soon.")), "{user}");
            assert_eq!(event["subject"], json!({ "type": "page", "id": "news" }), "{user}");
            assert_eq!(event["unread"].as_u64(), Some(number as u64 + 1), "{user}: {event}");
        }
        assert_eq!(expected.next(), None, "{user} did not hear it");
    }
    assert_eq!(named(&visitor.events_so_far().await, "notification:system"), Vec::<&Value>::new());
    for (_, title, expected) in announcements {
        assert_eq!(inboxes_with(&database, title).await, expected, "nobody else, and nobody twice");
    }
    service.stop().await;
}

/// In whose inboxes this lies.
async fn inboxes_with(database: &Database, title: &str) -> Vec<String> {
    let sql = "select coalesce(array_agg(user_id order by user_id), '{}') from rowcast.notification
               where title = $1 and user_id is not null";
    database.row(sql, &[&title]).await.get(0)
}

const PLACED: &str = "insert into orders (user_id, seller_id, customer_name, customer_email, total, created_at)
    values ('buyer-1', 'seller-1', 'Ada', 'buyer-1@example.com', 24, '2026-01-15')";
/// Ids of what lies in the inboxes.
const INBOXES: &str = "select coalesce(string_agg(id, ' ' order by id), '') from rowcast.notification";

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_are_swept_again_write_no_notification_again_not_even_one_that_was_deleted() {
    let database = Database::marketplace().await;
    let service = Service::start(&database).await;
    let mut buyer = service.connect("buyer-1").await;
    heard_so_far(&database, "buyer-1", &mut buyer).await;
    let before: String = database.row("select pg_current_snapshot()::text", &[]).await.get(0);
    database.run(PLACED).await;
    let first = buyer.event_named("notification:order").await;
    database.run(PLACED).await;
    buyer.event_named("notification:order").await;
    let id = first["notificationId"].as_str().expect("an id");
    let deleted = buyer.emit_with_ack("notification:delete", json!({ "notificationId": id })).await;
    assert_eq!(deleted["success"], true, "{deleted}");
    heard_so_far(&database, "buyer-1", &mut buyer).await;
    let inboxes: String = database.row(INBOXES, &[]).await.get(0);
    assert_eq!(inboxes.split(' ').count(), 3, "two for the seller, one for the buyer");
    service.stop().await;

    let moved = "update rowcast.cursor set snapshot = $1::text::pg_snapshot, target = null, page_id = null";
    assert_eq!(database.client.execute(moved, &[&before]).await.expect("the cursor is set back"), 1);
    let service = Service::start(&database).await;
    eventually("both orders are swept again", async || {
        service.metric("rowcast_changes_swept_total{op=\"INSERT\",table=\"orders\"}").await == 2.0
    })
    .await;
    let mut buyer = service.connect("buyer-1").await;
    let heard = heard_so_far(&database, "buyer-1", &mut buyer).await;
    assert_eq!(named(&heard, "notification:order"), Vec::<&Value>::new());
    assert_eq!(database.row(INBOXES, &[]).await.get::<_, String>(0), inboxes);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_waited_for_a_lock_for_too_long_is_written_when_the_lock_is_gone() {
    let database = Database::marketplace().await;
    let mut config = Config::default();
    config.lookups.statement_timeout = Duration::from_millis(300);
    let service = Service::start_with(&database, config).await;
    let mut buyer = service.connect("buyer-1").await;
    heard_so_far(&database, "buyer-1", &mut buyer).await;
    let mut other = database.connect().await;
    let lock = other.transaction().await.expect("begin");
    lock.batch_execute("lock table rowcast.notified in exclusive mode").await.expect("locked");
    database.run(PLACED).await;
    buyer.event_named("order:updated").await;
    let cancelled = "select count(*) from pg_stat_activity where query like '%rowcast.notified%'
                     and application_name like 'rowcast%' and wait_event_type = 'Lock'";
    for when in ["it waits", "it waits again, after it was cancelled"] {
        eventually(when, async || database.count(cancelled).await == 1).await;
        eventually("it is cancelled", async || database.count(cancelled).await == 0).await;
    }
    lock.rollback().await.expect("the lock is gone");
    buyer.event_named("notification:order").await;
    assert_eq!(database.count("select count(*) from rowcast.dead_letter").await, 0, "nothing was wrong with it");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_to_more_than_are_told_at_once_reaches_each_and_goes_on_where_it_was() {
    let database = Database::marketplace().await;
    database
        .run(
            "insert into users (id, email, username, role)
             select 'crowd-' || lpad(n::text, 5, '0'), 'crowd-' || n || '@example.com', 'Crowd', 'customer'
             from generate_series(1, 5200) as n",
        )
        .await;
    // One was broken off by a crash in the middle; and before both stands one that can't be told.
    database
        .run(
            "insert into rowcast.notification (id, audience, title, told_to, created_at) values
               ('broken', 'buyers', 'Never', null, now() - interval '3 min'),
               ('half', 'buyers', 'Half', 'crowd-05000', now() - interval '2 min'),
               ('whole', 'buyers', 'Whole', null, now() - interval '1 min');
             alter table rowcast.notification add constraint never check (title <> 'Never' or audience is not null)",
        )
        .await;
    let service = Service::start(&database).await;
    let told = async |id: &str| {
        let sql = "select count(*) from rowcast.notification where id = $1 and told_at is not null";
        database.row(sql, &[&id]).await.get::<_, i64>(0) == 1
    };
    eventually("the rest of the one that was broken off is told", async || told("half").await).await;
    eventually("the other is told", async || told("whole").await).await;
    assert!(!told("broken").await, "what is refused for ever holds up no other");
    let inboxes = async |id: &str| {
        let sql = "select count(distinct user_id), count(*), min(user_id) from rowcast.notification where source = $1";
        let row = database.row(sql, &[&id]).await;
        (row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, Option<String>>(2).unwrap_or_default())
    };
    assert_eq!(inboxes("half").await, (200, 200, "crowd-05001".to_owned()));
    assert_eq!(inboxes("whole").await, (5205, 5205, "buyer-1".to_owned()));
    let told_to: String = database.row("select told_to from rowcast.notification where id = 'whole'", &[]).await.get(0);
    assert_eq!(told_to, "crowd-04995", "the last of the first 5,000");
    service.stop().await;
}
