//! The database, the service and the cast; plays a row and tells what everybody heard.

use std::{collections::BTreeMap, time::Duration};

use rowcast::{catalog::Catalog, config::Config};
use serde_json::{Value, json};

use super::{
    cast::{CAST, Member},
    light::all_seen_is_told,
    row::{Act, Row},
};
use crate::{
    cli::Files,
    support::{
        client::{Client, PATIENCE},
        database::{Database, SEED},
        eventually,
        service::Service,
    },
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
    delete from user_store_memberships; delete from users;
    delete from rowcast.notification; delete from rowcast.waiting;";
const AFTER_SEED: &str = "
    insert into products (id, seller_id, name, price, status)
    values ('lighthouse', 'keeper', 'Lighthouse', 0, 'active');
    set session_replication_role = origin;
    update carts set updated_at = updated_at + interval '1 second';
    update wholesale_orders set updated_at = updated_at + interval '1 second';";

/// The built-in catalog, with schedules that nobody has to wait for.
pub fn impatient_catalog() -> Files {
    let often = |line: &'static str| if line.starts_with("every = ") { "every = \"200ms\"" } else { line };
    let files: Vec<(&str, String)> = Catalog::built_in_files()
        .map(|(name, text)| (name, text.lines().map(often).collect::<Vec<_>>().join("\n")))
        .collect();
    Files::new(&files.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>())
}

/// A service that looks often at the clock, and at who is there.
pub fn impatient(catalog: &Files) -> Config {
    made_impatient(Config::default(), catalog)
}

/// The same, of another configuration.
pub fn made_impatient(mut config: Config, catalog: &Files) -> Config {
    config.catalog.dir = Some(catalog.path().into());
    config.gateway.presence_grace = Duration::ZERO;
    config.gateway.presence_interval = Duration::from_millis(100);
    config
}

/// Sends a message, which is to succeed.
async fn send(client: &Client, name: &str, message: &str, payload: Value) {
    let answer = client.emit_with_ack(message, payload).await;
    assert_eq!(answer["success"], true, "{name}: {message}: {answer}");
}

/// Connects a member, and joins what it looks at.
async fn enter(service: &Service, member: &Member) -> Client {
    let client = match member.user {
        Some(user) => service.connect(user).await,
        None => service.visit().await,
    };
    let joins_lighthouse = ("join:product", "productId", LIGHTHOUSE);
    for (message, key, id) in member.sends.iter().chain([&joins_lighthouse]) {
        send(&client, member.name, message, json!({ *key: id })).await;
    }
    client
}

pub struct Stage {
    database: Database,
    writer: tokio_postgres::Client,
    service: Service,
    /// Those who are away have no client.
    clients: Vec<(&'static Member, Option<Client>)>,
    /// See [`all_seen_is_told`].
    bell: Client,
    rung: u32,
    lit: u32,
    _catalog: Files,
}

type Heard = BTreeMap<&'static str, Vec<Value>>;

/// What came of a row.
pub struct Played {
    /// The id of the transaction that ran the statement; empty if there was none.
    pub txid: String,
    pub heard: Heard,
}

impl Stage {
    pub async fn open() -> Self {
        let database = Database::marketplace().await;
        let writer = database.connect().await;
        let catalog = impatient_catalog();
        let service = Service::start_with(&database, impatient(&catalog)).await;
        let mut clients = Vec::new();
        for member in &CAST {
            clients.push((member, Some(enter(&service, member).await)));
        }
        let bell = service.visit().await;
        Self { database, writer, service, clients, bell, rung: 0, lit: 0, _catalog: catalog }
    }

    pub async fn play(&mut self, row: &Row) -> Played {
        self.database.run(&format!("begin; {RESET} {SEED} {AFTER_SEED} commit; {}", row.given)).await;
        self.comes_true(row.once).await;
        self.everything_heard(row).await;

        let mut txid = String::new();
        for act in &row.acts {
            if let Some(written_by) = self.act(row, act).await {
                txid = written_by;
            }
        }
        let mut heard = Heard::new();
        if row.awaited {
            self.hear_what_is_awaited(row, &mut heard).await;
        }
        self.comes_true(row.until).await;
        for (name, events) in self.everything_heard(row).await {
            heard.entry(name).or_default().extend(events);
        }
        heard.values_mut().for_each(|events| events.retain(|event| row.is_about(name_of(event))));
        Played { txid, heard }
    }

    async fn comes_true(&self, question: &str) {
        if !question.is_empty() {
            eventually(question, async || self.database.row(question, &[]).await.get(0)).await;
        }
    }

    /// Gives the id of the transaction, of an act that writes.
    async fn act(&mut self, row: &Row, act: &Act) -> Option<String> {
        match act {
            Act::Write(statement) => return Some(self.write(row, statement).await),
            Act::Send { member, message, payload, succeeds } => {
                let client = self.client(member).as_ref().expect("who sends is here");
                let answer = client.emit_with_ack(message, payload.clone()).await;
                assert_eq!(answer["success"], *succeeds, "{}: {member}: {message}: {answer}", row.name);
            }
            Act::Leave(member) => {
                let before = self.service.metric("rowcast_sockets").await;
                drop(self.client(member).take().expect("who leaves is here"));
                eventually("the service knows that a member left", async || {
                    self.service.metric("rowcast_sockets").await < before
                })
                .await;
            }
            Act::Return(name) => {
                let member = CAST.iter().find(|member| member.name == *name).expect("one of the cast");
                *self.client(name) = Some(enter(&self.service, member).await);
            }
        }
        None
    }

    async fn write(&mut self, row: &Row, statement: &str) -> String {
        let transaction = self.writer.transaction().await.expect("begin");
        let actor = row.actor.unwrap_or_default();
        transaction.execute("select set_config('rowcast.actor', $1, true)", &[&actor]).await.expect("set_config");
        let changed = transaction.execute(statement, &[]).await;
        let changed = changed.unwrap_or_else(|error| panic!("{}: {statement}: {error:?}", row.name));
        assert_eq!(changed, 1, "{}: a row of the table writes one row: {statement}", row.name);
        let txid = transaction.query_one("select pg_current_xact_id()::text", &[]).await.expect("an id").get(0);
        transaction.commit().await.expect("commit");
        txid
    }

    fn client(&mut self, name: &str) -> &mut Option<Client> {
        let found = self.clients.iter_mut().find(|(member, _)| member.name == name);
        &mut found.unwrap_or_else(|| panic!("{name:?} is not in the cast")).1
    }

    /// Waits until everybody has heard as many events as the row says. A row that is wrong about this is told so by
    /// what was heard: after PATIENCE nothing more is waited for.
    async fn hear_what_is_awaited(&mut self, row: &Row, heard: &mut Heard) {
        let deadline = tokio::time::Instant::now() + PATIENCE / 2;
        for (member, client) in self.clients.iter_mut().filter_map(|(member, client)| Some((member, client.as_mut()?)))
        {
            let events = heard.entry(member.name).or_default();
            let mut missing = row.heard_by(member.name);
            while missing > 0 {
                let rest = deadline.saturating_duration_since(tokio::time::Instant::now());
                let Some((_, event)) = client.next_event(rest).await else { break };
                if event["productId"] == LIGHTHOUSE {
                    continue;
                }
                missing -= usize::from(row.is_about(name_of(&event)));
                events.push(event);
            }
        }
    }

    /// Everything that has been caused so far, its consequences included.
    ///
    /// Who sees the second light knows that the service is done with all that it swept together with the first, so the
    /// notifications about it are written. The third stands behind these in the log.
    async fn everything_heard(&mut self, row: &Row) -> Heard {
        if row.is_about("presence:") {
            self.rung += 1;
            all_seen_is_told(&mut self.bell, self.rung).await;
        }
        let mut heard = self.heard_until_now().await;
        for _ in 0..2 {
            for (name, events) in self.heard_until_now().await {
                heard.entry(name).or_default().extend(events);
            }
        }
        heard
    }

    /// Lights the light, and waits until everybody has seen it.
    async fn heard_until_now(&mut self) -> Heard {
        self.lit += 1;
        let light = format!("{}.00", self.lit);
        self.database.run(&format!("update products set price = {light} where id = '{LIGHTHOUSE}'")).await;
        let mut heard = Heard::new();
        for (member, client) in &mut self.clients {
            let mut events = Vec::new();
            while let Some(client) = client {
                let Some((kind, event)) = client.next_event(PATIENCE).await else {
                    panic!("{} does not see the light any more; connected: {}", member.name, client.is_connected());
                };
                assert_eq!(event["type"], kind, "the event's name and its type are one");
                if event["productId"] != LIGHTHOUSE {
                    events.push(event);
                } else if kind == "product:price_changed" && event["data"]["newPrice"] == light {
                    break;
                }
            }
            heard.insert(member.name, events);
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

fn name_of(event: &Value) -> &str {
    event["type"].as_str().expect("an event has a type")
}
