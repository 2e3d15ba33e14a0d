//! Every kind of identity, in every kind of room, against every event: allowed or denied as the tables of
//! docs/security.md say, which are read from there.
//!
//! For each identity and each room there is a socket that asks for this one room and has left all that it was given. Then
//! a story is played in which every event happens, between one store and one buyer. What is heard is compared with the
//! tables: who may be in a room, and which rooms hear an event. A light that all sockets see (a change of a product whose
//! room they are all in) ends the wait: whoever has seen it without having heard an event will not hear it later. That
//! those who are denied would have heard it is proved by those who are allowed and do.

mod sign_in;
mod story;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroU32,
    path::Path,
};

use rowcast::catalog::{Catalog, Settings};
use serde_json::{Value, json};

use self::{sign_in::Way, tables::Table};
use crate::{
    cli::Files,
    events::stage::{impatient_catalog, made_impatient},
    sign_in::secret,
    support::{
        client::{Client, PATIENCE},
        database::Database,
        service::{Service, url},
    },
};

/// Kinds of identities, as the table calls them, each with the user of the sample.
const IDENTITIES: [(&str, Option<&str>); 8] = [
    ("visitor", None),
    ("buyer", Some("buyer-1")),
    ("other buyer", Some("buyer-5")),
    ("seller", Some("seller-1")),
    ("other seller", Some("seller-3")),
    ("collaborator", Some("helper-1")),
    ("former collaborator", Some("helper-2")),
    ("admin", Some("admin-1")),
];

/// The rooms, as the tables call them.
const ROOMS: [(&str, &str); 8] = [
    ("`user:{id}` of the buyer", "user:buyer-1"),
    ("`user:{id}` of the seller", "user:seller-1"),
    ("`seller:{id}`", "seller:seller-1"),
    ("`storefront:{id}`", "storefront:seller-1"),
    ("`product:{id}`", "product:product-1"),
    ("`product:{id}` of a draft", "product:product-13"),
    ("`sellers`", "sellers"),
    ("`buyers`", "buyers"),
];

const LIGHTHOUSE: &str = "lighthouse";

/// One identity's socket for one room.
struct Seat {
    identity: &'static str,
    room: &'static str,
    client: Client,
}

fn may_join() -> Table {
    Table::under("## Who may be in which room")
}

fn hears() -> Table {
    Table::under("## Which rooms hear which event")
}

#[test]
fn the_tables_of_the_docs_speak_of_every_room_identity_and_event() {
    let catalog = Catalog::built_in(&Settings::new()).expect("no faults");
    let labels: Vec<&str> = ROOMS.iter().map(|(label, _)| *label).collect();
    let (may_join, hears) = (may_join(), hears());
    assert_eq!(may_join.rows(), labels);
    assert_eq!(may_join.columns(), IDENTITIES.map(|(identity, _)| identity));
    assert_eq!(hears.columns(), labels);
    let told: BTreeSet<&str> = labels.iter().map(|label| label.split('`').nth(1).expect("a pattern")).collect();
    assert_eq!(told, catalog.described_rooms().map(|room| room.pattern).collect());
    let mut events: BTreeSet<String> = catalog.event_kinds().into_iter().map(|event| format!("`{event}`")).collect();
    events.insert("`chat:typing`".to_owned());
    assert_eq!(hears.rows().into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), events);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_hear_an_event_hears_it_and_nobody_else_does() {
    for way in Way::ALL {
        let mut matrix = Matrix::open(way).await;
        let faults = matrix.play().await;
        matrix.service.stop().await;
        assert!(faults.is_empty(), "signed in by {way:?}:\n{}", faults.join("\n"));
    }
}

/// Who was heard to be told of what: identity, room, event.
type Heard = BTreeSet<(&'static str, &'static str, String)>;

struct Matrix {
    database: Database,
    service: Service,
    way: Way,
    seats: Vec<Seat>,
    lit: u32,
    _files: [Files; 2],
}

impl Matrix {
    /// Seats everybody; whoever may not be in a room is told so.
    async fn open(way: Way) -> Self {
        let database = Database::marketplace().await;
        database.run(story::BEFORE).await;
        for user in IDENTITIES.iter().filter_map(|(_, user)| *user).chain(story::PARTNERS) {
            way.prepare(&database, user).await;
        }
        let (catalog, secret) = (impatient_catalog(), secret());
        let mut config = made_impatient(way.configuration(&secret), &catalog);
        // One user has eight sockets here, and much to say at once.
        config.limits.messages_per_minute = NonZeroU32::MAX;
        let service = Service::start_with(&database, config).await;
        let table = may_join();
        let mut seats = Vec::new();
        for (identity, user) in IDENTITIES {
            for (label, room) in ROOMS {
                let client = seat(&service, way, user).await;
                let answer = client.emit_with_ack("join", json!({ "room": room })).await;
                let allowed = table.says(label, identity);
                assert_eq!(answer["success"], allowed, "{way:?} {identity} {label}: {answer}");
                if !allowed {
                    assert_eq!(answer["error"], format!("there is no room {room:?} that you may join"));
                }
                let lighthouse = client.emit_with_ack("join:product", json!({ "productId": LIGHTHOUSE })).await;
                assert_eq!(lighthouse["success"], true, "{lighthouse}");
                seats.push(Seat { identity, room: label, client });
            }
        }
        let mut matrix = Self { database, service, way, seats, lit: 0, _files: [catalog, secret] };
        // What came of everybody's coming is no part of the story.
        matrix.heard_until_now().await;
        matrix
    }

    async fn play(&mut self) -> Vec<String> {
        let expected = expected();
        let _partners = self.tell_story().await;
        let (mut heard, mut of_drafts) = (Heard::new(), Vec::new());
        // Some of it comes when the clock says so. The product goes last, since with it goes what the others rest on.
        let goes = |event: &str| event == "`product:deleted`";
        let before = expected.iter().filter(|(.., event)| !goes(event)).cloned().collect();
        self.await_all(&before, &mut heard, &mut of_drafts).await;
        self.database.run(story::END).await;
        self.await_all(&expected, &mut heard, &mut of_drafts).await;
        // What follows from what was heard is written by then, and told by the time of the next light.
        for _ in 0..3 {
            self.listen(&mut heard, &mut of_drafts).await;
        }
        let line = |what: &str, (identity, room, event): &(&str, &str, String)| {
            format!("{what}: {event} by {identity} in {room}")
        };
        let missing = expected.difference(&heard).map(|triple| line("not heard", triple));
        let leaked = heard.difference(&expected).map(|triple| line("heard, though denied", triple));
        missing.chain(leaked).chain(of_drafts).collect()
    }

    /// Listens until all of it was heard, or for as long as anything may take.
    async fn await_all(&mut self, expected: &Heard, heard: &mut Heard, of_drafts: &mut Vec<String>) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !expected.is_subset(heard) && tokio::time::Instant::now() < deadline {
            self.listen(heard, of_drafts).await;
        }
    }

    /// Gives those who came in the course of it: they are there as long as they are kept.
    async fn tell_story(&mut self) -> Vec<Client> {
        for statement in story::STATEMENTS {
            self.database.run(statement).await;
        }
        self.database.run(story::OF_A_DRAFT).await;
        for (label, identities) in story::TYPING {
            for identity in identities {
                let seat = self.seats.iter().find(|seat| seat.room == label && seat.identity == identity);
                let room = ROOMS.iter().find(|(known, _)| *known == label).expect("a room").1;
                let typing = seat.expect("a seat").client.emit_with_ack("chat:typing", json!({ "room": room })).await;
                assert_eq!(typing["success"], true, "{identity} types in {room}: {typing}");
            }
        }
        // Those who have an open quotation with the seller, and with the buyer, come.
        let mut partners = Vec::new();
        for partner in story::PARTNERS {
            partners.push(self.way.connect(&url(self.service.address), Some(partner)).await);
        }
        // Somebody comes to look at the products.
        let viewer = self.way.connect(&url(self.service.address), None).await;
        for product in ["product-1", "product-13"] {
            let joined = viewer.emit_with_ack("join:product", json!({ "productId": product })).await;
            assert_eq!(joined["success"], true, "{joined}");
        }
        partners.push(viewer);
        partners
    }

    /// Notes who hears which event, until everybody has seen the light.
    async fn listen(&mut self, heard: &mut Heard, of_drafts: &mut Vec<String>) {
        for (identity, room, event) in self.heard_until_now().await {
            let kind = event["type"].as_str().expect("a type").to_owned();
            let of_the_room = ["presence:viewers", "chat:typing"].contains(&kind.as_str());
            let public = room.starts_with("`storefront") || room.starts_with("`product");
            if event["data"]["productId"] == "product-13" && public && !of_the_room {
                of_drafts.push(format!("a draft is told of: {event} to {identity} in {room}"));
            }
            heard.insert((identity, room, format!("`{kind}`")));
        }
    }

    /// Lights the light, and gives what everybody has heard before they see it.
    async fn heard_until_now(&mut self) -> Vec<(&'static str, &'static str, Value)> {
        self.lit += 1;
        let light = format!("{}.00", self.lit);
        self.database.run(&format!("update products set price = {light} where id = '{LIGHTHOUSE}'")).await;
        let mut all = Vec::new();
        for Seat { identity, room, client } in &mut self.seats {
            loop {
                let Some((kind, event)) = client.next_event(PATIENCE).await else {
                    panic!("{identity} for {room} does not see the light; connected: {}", client.is_connected());
                };
                if event["productId"] != LIGHTHOUSE {
                    all.push((*identity, *room, event));
                } else if kind == "product:price_changed" && event["data"]["newPrice"] == light {
                    break;
                }
            }
        }
        all
    }
}

/// A socket in no room.
async fn seat(service: &Service, way: Way, user: Option<&str>) -> Client {
    let client = way.connect(&url(service.address), user).await;
    let mut own = BTreeMap::from([("user", user.map(str::to_owned)), ("seller", user.map(str::to_owned))]);
    if user == Some("helper-1") {
        own.insert("the store", Some("seller-1".to_owned()));
    }
    let rooms = own.into_iter().filter_map(|(kind, id)| {
        let kind = if kind == "user" { "user" } else { "seller" };
        Some(format!("{kind}:{}", id?))
    });
    for room in rooms.chain(["sellers".to_owned(), "buyers".to_owned()]) {
        let left = client.emit_with_ack("leave", json!({ "room": room })).await;
        assert_eq!(left["success"], true, "{left}");
    }
    client
}

/// Whoever may be in a room that hears an event hears it.
fn expected() -> Heard {
    let (may_join, hears) = (may_join(), hears());
    let mut expected = Heard::new();
    for (identity, _) in IDENTITIES {
        for (room, _) in ROOMS.iter().filter(|(room, _)| may_join.says(room, identity)) {
            let events = hears.rows().into_iter().filter(|event| hears.says(event, room)).map(str::to_owned);
            expected.extend(events.map(|event| (identity, *room, event)));
        }
    }
    expected
}

/// A word in backticks that can only be a test's name, or a path, names something that is there.
#[test]
fn the_tests_that_the_page_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    let mut folders = vec![root.join("src"), root.join("tests/integration")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push_str(&fs::read_to_string(path).expect("text"));
            }
        }
    }
    let named: Vec<&str> = tables::PAGE.split('`').skip(1).step_by(2).collect();
    let missing = named.iter().filter(|word| match () {
        () if word.contains('/') && word.contains('.') => !root.join(word).exists(),
        () => word.matches('_').count() >= 4 && !sources.contains(&format!("fn {word}(")),
    });
    assert_eq!(missing.collect::<Vec<_>>(), [] as [&&str; 0]);
}
