//! How a test knows that nothing more will come: a light for what the database brings, where a test has a story of its
//! own rather than a row of the table, and a bell for what the gateway brings.

use serde_json::{Value, json};

use crate::support::{client::Client, database::Database};

/// What this user's client has heard of all that was caused so far, its consequences included: see
/// [`super::stage::Stage`] for why it takes three lights. A light is a notification, so it needs somebody who is signed
/// in.
pub async fn heard_so_far(database: &Database, user: &str, client: &mut Client) -> Vec<(String, Value)> {
    let mut heard = Vec::new();
    for _ in 0..3 {
        let sql = "insert into rowcast.notification (user_id, title, read_at) values ($1, 'light', null) returning id";
        let id: String = database.row(sql, &[&user]).await.get(0);
        let mut events = client.events_until(|_, event| event["notificationId"] == id).await;
        events.pop();
        heard.extend(events);
        database.client.execute("delete from rowcast.notification where id = $1", &[&id]).await.expect("deleted");
    }
    heard.retain(|(_, event)| event["type"] != "notification:deleted" && event["data"]["title"] != "light");
    heard
}

/// Those events of this name.
pub fn named<'h>(heard: &'h [(String, Value)], wanted: &str) -> Vec<&'h Value> {
    heard.iter().filter(|(name, _)| name == wanted).map(|(_, event)| &event["data"]).collect()
}

/// What the gateway sees it tells in the order in which it sees it: when somebody who comes to a room at last, of a
/// product that is not there, is told how many people are in it, all before has been told. The number is another each
/// time.
pub async fn all_seen_is_told(bell: &mut Client, number: u32) {
    let room = json!({ "productId": format!("bell-{number}") });
    let joined = bell.emit_with_ack("join:product", room.clone()).await;
    assert_eq!(joined["success"], true, "{joined}");
    while bell.event_named("presence:viewers").await["productId"] != room["productId"] {}
    let left = bell.emit_with_ack("leave:product", room).await;
    assert_eq!(left["success"], true, "{left}");
}
