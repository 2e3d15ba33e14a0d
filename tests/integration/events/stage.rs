//! The database, the service and the cast; plays a row and tells what everybody heard.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{cast::CAST, row::Row};
use crate::support::{
    client::{Client, PATIENCE},
    database::{Database, SEED},
    service::Service,
};

/// A product that everybody in the cast looks at, of a seller who is nobody. Its price is the light.
const LIGHTHOUSE: &str = "lighthouse";

/// Puts the sample back without a word: a replica's session fires no triggers. What is said at the end makes the
/// service forget what it has looked up.
const RESET: &str = "
    alter table products drop column if exists low_stock_threshold, drop column if exists cost;
    alter table wholesale_orders drop column if exists tracking_number, drop column if exists shipping_carrier;
    set session_replication_role = replica;
    delete from trade_quotation_events; delete from trade_quotation_items; delete from trade_quotations;
    delete from wholesale_payments; delete from wholesale_orders; delete from wholesale_invitations;
    delete from order_items; delete from orders; delete from carts; delete from products;
    delete from user_store_memberships; delete from users;";
const AFTER_SEED: &str = "
    insert into products (id, seller_id, name, price, status)
    values ('lighthouse', 'keeper', 'Lighthouse', 0, 'active');
    set session_replication_role = origin;
    update carts set updated_at = updated_at + interval '1 second';
    update wholesale_orders set updated_at = updated_at + interval '1 second';";

/// Sends a message, which is to succeed.
async fn send(client: &Client, name: &str, message: &str, payload: Value) {
    let answer = client.emit_with_ack(message, payload).await;
    assert_eq!(answer["success"], true, "{name}: {message}: {answer}");
}

pub struct Stage {
    database: Database,
    writer: tokio_postgres::Client,
    service: Service,
    clients: Vec<(&'static str, Client)>,
    lit: u32,
}

/// What came of a row.
pub struct Played {
    /// The id of the transaction that ran the statement.
    pub txid: String,
    pub heard: BTreeMap<&'static str, Vec<Value>>,
}

impl Stage {
    pub async fn open() -> Self {
        let database = Database::marketplace().await;
        let writer = database.connect().await;
        let service = Service::start(&database).await;
        let mut clients = Vec::new();
        for member in CAST {
            let client = match member.user {
                Some(user) => service.connect(user).await,
                None => service.visit().await,
            };
            let joins_lighthouse = ("join:product", "productId", LIGHTHOUSE);
            for (message, key, id) in member.sends.iter().chain([&joins_lighthouse]) {
                send(&client, member.name, message, json!({ *key: id })).await;
            }
            clients.push((member.name, client));
        }
        Self { database, writer, service, clients, lit: 0 }
    }

    pub async fn play(&mut self, row: &Row) -> Played {
        self.database.run(&format!("begin; {RESET} {SEED} {AFTER_SEED} commit; {}", row.given)).await;
        self.heard_until_now().await;

        let transaction = self.writer.transaction().await.expect("begin");
        let actor = row.actor.unwrap_or_default();
        transaction.execute("select set_config('rowcast.actor', $1, true)", &[&actor]).await.expect("set_config");
        let changed = transaction.execute(&row.statement, &[]).await;
        let changed = changed.unwrap_or_else(|error| panic!("{}: {}: {error:?}", row.name, row.statement));
        assert_eq!(changed, 1, "{}: a row of the table writes one row: {}", row.name, row.statement);
        let txid = transaction.query_one("select pg_current_xact_id()::text", &[]).await.expect("an id").get(0);
        transaction.commit().await.expect("commit");
        Played { txid, heard: self.heard_until_now().await }
    }

    /// Lights the light, and waits until everybody has seen it.
    async fn heard_until_now(&mut self) -> BTreeMap<&'static str, Vec<Value>> {
        self.lit += 1;
        let light = format!("{}.00", self.lit);
        self.database.run(&format!("update products set price = {light} where id = '{LIGHTHOUSE}'")).await;
        let mut heard = BTreeMap::new();
        for (name, client) in &mut self.clients {
            let mut events = Vec::new();
            loop {
                let Some((kind, event)) = client.next_event(PATIENCE).await else {
                    panic!("{name} does not see the light any more; connected: {}", client.is_connected());
                };
                assert_eq!(event["type"], kind, "the event's name and its type are one");
                if event["productId"] != LIGHTHOUSE {
                    events.push(event);
                } else if kind == "product:price_changed" && event["data"]["newPrice"] == light {
                    break;
                }
            }
            heard.insert(*name, events);
        }
        heard
    }

    /// Rules that failed on a change.
    pub async fn dead_letters(&self) -> Vec<String> {
        let letters = self.database.client.query("select rule, error from rowcast.dead_letter order by 1", &[]).await;
        let letters = letters.expect("rowcast.dead_letter");
        letters.iter().map(|row| format!("{}: failed: {}", row.get::<_, &str>(0), row.get::<_, &str>(1))).collect()
    }

    pub async fn close(self) {
        self.service.stop().await;
    }
}
