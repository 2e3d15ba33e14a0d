//! What an answer to `join` tells of a room that one may not be in, or of a product: nothing, neither by its words nor by
//! the time that it takes.

use std::time::{Duration, Instant};

use crate::support::{database::Database, raw::Raw, service::Service};

/// The acknowledgement's text with the room's name and the position, which moves on by itself, taken out.
fn anonymous(answer: &str, room: &str) -> String {
    let answer = answer.replace(room, "ROOM");
    match answer.split_once("\"position\":\"") {
        Some((before, rest)) => format!("{before}POSITION{}", rest.split_once('"').expect("its end").1),
        None => answer,
    }
}

/// Asks for each of the rooms, with a message that may go before, and expects one and the same answer.
async fn assert_alike(client: &mut Raw, rooms: &[&str], beginning: &str) {
    let mut answers = Vec::new();
    for (id, room) in rooms.iter().enumerate() {
        let answer = client.acknowledged(id as u32, &format!("[\"join\",{{\"room\":\"{room}\"}}]")).await;
        answers.push(anonymous(&answer, room));
    }
    assert!(answers[0].starts_with(beginning), "{}", answers[0]);
    for (room, answer) in rooms.iter().zip(&answers) {
        assert_eq!(*answer, answers[0], "{room} is answered otherwise than {}", rooms[0]);
    }
}

const DENIED: &str = "[{\"success\":false,\"error\":\"there is no room \\\"ROOM\\\" that you may join\"}]";

/// Of people who are there, who are not, of a store that is there, and of a kind that does not exist.
const CLOSED: [&str; 7] =
    ["user:seller-1", "user:nobody", "seller:seller-1", "seller:nobody", "sellers", "vault:1", "nothing"];
/// Public, a draft, archived, and one that does not exist.
const PRODUCTS: [&str; 4] = ["product:product-1", "product:product-13", "product:product-14", "product:nothing"];

async fn marketplace() -> Database {
    let database = Database::marketplace().await;
    database.run("update products set status = 'archived' where id = 'product-14'").await;
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_tells_nothing_of_what_there_is() {
    let database = marketplace().await;
    let service = Service::start(&database).await;
    for auth in ["", "{\"userId\":\"buyer-5\"}"] {
        let mut client = Raw::connect(service.address, auth).await.expect("connected");
        assert_alike(&mut client, &CLOSED, DENIED).await;
        assert_alike(&mut client, &PRODUCTS, "[{\"success\":true,\"room\":\"ROOM\",POSITION").await;
        // The same by the messages that name the kind.
        let mut answers = Vec::new();
        for (id, seller) in ["seller-1", "nobody"].into_iter().enumerate() {
            let message = format!("[\"join:seller\",{{\"sellerId\":\"{seller}\"}}]");
            answers.push(anonymous(&client.acknowledged(100 + id as u32, &message).await, &format!("seller:{seller}")));
        }
        assert_eq!(answers, [DENIED, DENIED]);
    }
    service.stop().await;
}

/// With every table of the application locked, whatever asked the database would wait.
#[tokio::test(flavor = "multi_thread")]
async fn no_database_is_asked_who_joins_a_room() {
    let database = marketplace().await;
    let service = Service::start(&database).await;
    let mut visitor = Raw::connect(service.address, "").await.expect("connected");
    let mut buyer = Raw::connect(service.address, "{\"userId\":\"buyer-5\"}").await.expect("connected");
    let locker = database.connect().await;
    let tables = "products, users, user_store_memberships, orders, carts, trade_quotations";
    locker.batch_execute(&format!("begin; lock table {tables} in access exclusive mode")).await.expect("locked");
    let started = Instant::now();
    for client in [&mut visitor, &mut buyer] {
        assert_alike(client, &CLOSED, DENIED).await;
        assert_alike(client, &PRODUCTS, "[{\"success\":true").await;
    }
    // All the answers together, on a busy machine; sign-in waits for two seconds, and queries for longer.
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    locker.batch_execute("rollback").await.expect("unlocked");
    service.stop().await;
}
