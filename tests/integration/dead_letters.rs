//! Changes that a rule failed on: kept with the reason, tried again once the rule is mended, or dropped.

use rowcast::config::Config;
use serde_json::{Value, json};

use crate::{
    cli::Files,
    support::{
        command::{Ran, rowcast},
        database::Database,
        eventually,
        service::Service,
    },
};

const ROOMS: &str = r#"
[[room]]
room = "shelf"
join = "true"
"#;

/// Fails where the column is null.
const FAILS: &str = r#"
[[rule]]
event = "thing:scarce"
table = "things"
on = ["insert"]
when = "new.stock < 10"
data = { id = "row.id" }
to = [{ rooms = ["shelf"] }]

[[rule]]
event = "thing:new"
table = "things"
on = ["insert"]
data = { id = "row.id" }
to = [{ rooms = ["shelf"] }]
"#;

fn mended() -> String {
    FAILS.replace("new.stock < 10", "new.stock == null || new.stock < 10")
}

struct Stage {
    database: Database,
    files: Files,
    service: Service,
}

impl Stage {
    async fn set() -> Self {
        let database = Database::empty().await;
        database.run("create table things (id text primary key, stock integer)").await;
        database.migrate().await;
        database.run("select rowcast.watch('things')").await;
        let files = Files::new(&[("rooms.toml", ROOMS), ("things.toml", FAILS)]);
        let service = serve(&database, &files).await;
        Self { database, files, service }
    }

    /// The same with the mended rule.
    async fn mend(self) -> Self {
        let Self { database, files, service } = self;
        service.stop().await;
        std::fs::write(format!("{}/things.toml", files.path()), mended()).expect("a writable directory");
        let service = serve(&database, &files).await;
        Self { database, files, service }
    }

    async fn letters(&self, arguments: &[&str]) -> Ran {
        rowcast(&self.database.url, &[&["dead-letter"], arguments].concat()).await
    }

    async fn listed(&self) -> Vec<Value> {
        let listed = self.letters(&["list", "--json"]).await.succeeded();
        serde_json::from_str(&listed.stdout).expect("JSON")
    }

    async fn buried(&self, letters: f64) {
        eventually("the changes are buried", async || {
            self.service.metric("rowcast_dead_letters_total").await == letters
        })
        .await;
    }
}

async fn serve(database: &Database, files: &Files) -> Service {
    let mut config = Config::default();
    config.catalog.dir = Some(files.path().into());
    Service::start_with(database, config).await
}

fn things(heard: &[(String, Value)]) -> Vec<String> {
    heard.iter().map(|(name, event)| format!("{name} {}", event["data"]["id"].as_str().unwrap_or_default())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_fails_keeps_the_change_and_the_rest_goes_on_in_order() {
    let stage = Stage::set().await;
    let mut client = stage.service.visit().await;
    client.emit_with_ack("join", json!({ "room": "shelf" })).await;
    stage.database.run("insert into things values ('a', 3); insert into things values ('b', null)").await;
    stage.database.run("insert into things values ('c', 4)").await;
    let heard = client.events_until(|name, event| name == "thing:new" && event["data"]["id"] == "c").await;
    assert_eq!(
        things(&heard),
        ["thing:scarce a", "thing:new a", "thing:new b", "thing:scarce c", "thing:new c"],
        "without the one that failed"
    );
    let letters = stage.listed().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["rule"], "thing:scarce");
    assert_eq!(letters[0]["change"]["new"], json!({ "id": "b", "stock": null }));
    assert_eq!((&letters[0]["attempts"], &letters[0]["waits"]), (&json!(1), &json!(false)));

    let text = stage.letters(&["list"]).await.succeeded().stdout;
    assert!(text.contains("thing:scarce") && text.contains("insert things") && text.contains("null"), "{text}");
    let none = stage.letters(&["list", "--rule", "thing:new"]).await.succeeded().stdout;
    assert_eq!(none, "there are none\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_told_once_the_rule_is_mended_to_who_is_here_and_to_who_comes_back() {
    let stage = Stage::set().await;
    let client = stage.service.visit().await;
    let since = client.emit_with_ack("join", json!({ "room": "shelf" })).await["position"].clone();
    drop(client);
    stage.database.run("insert into things values ('b', null)").await;
    stage.buried(1.0).await;
    let [letter] = &stage.listed().await[..] else { panic!("one letter") };
    let id = letter["id"].to_string();

    let again = stage.letters(&["retry", &id]).await;
    assert_eq!(again.code, 1, "{}", again.stdout);
    assert!(again.stdout.starts_with(&format!("failed  {id}  thing:scarce: ")), "{}", again.stdout);
    assert!(again.stderr.contains("mended catalog"), "{}", again.stderr);
    assert_eq!(stage.listed().await[0]["attempts"], 2);

    let stage = stage.mend().await;
    let mut client = stage.service.visit().await;
    client.emit_with_ack("join", json!({ "room": "shelf" })).await;
    let again = stage.letters(&["retry", "--all"]).await.succeeded();
    assert_eq!(again.stdout, format!("done    {id}\n"));
    let event = client.event_named("thing:scarce").await;
    assert_eq!(event["data"], json!({ "id": "b" }));
    let event_id = event["metadata"]["id"].as_str().expect("an id").to_owned();
    assert!(event_id.starts_with(&format!("{}-", letter["changeId"])), "the id that it would have had: {event_id}");
    assert!(stage.listed().await.is_empty());

    let mut back = stage.service.visit().await;
    back.emit_with_ack("join", json!({ "room": "shelf", "since": since })).await;
    let heard = back.events_until(|name, _| name == "rowcast:resumed").await;
    assert!(
        heard.iter().any(|(name, event)| name == "thing:scarce" && event["metadata"]["id"] == *event_id),
        "{heard:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_dropped_when_somebody_says_so_and_unknown_ones_are_named() {
    let stage = Stage::set().await;
    stage.database.run("insert into things values ('b', null), ('c', null)").await;
    stage.buried(2.0).await;
    let first = stage.listed().await[1]["id"].to_string();

    let unsure = stage.letters(&["drop", &first]).await;
    assert_eq!(unsure.code, 11, "{}", unsure.stderr);
    let dropped = stage.letters(&["drop", &first, "999", "--yes"]).await.succeeded();
    assert_eq!(dropped.stdout, "dropped  1\n");
    assert!(dropped.stderr.contains("there is no dead letter 999"), "{}", dropped.stderr);
    assert_eq!(stage.listed().await.len(), 1);
    for arguments in [&["retry", "999"][..], &["drop", "999", "--yes"], &["retry"]] {
        let refused = stage.letters(arguments).await;
        assert_eq!(refused.code, 2, "{arguments:?}: {}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_service_a_letter_waits_and_is_tried_when_there_is_one() {
    let stage = Stage::set().await;
    stage.database.run("insert into things values ('b', null)").await;
    stage.buried(1.0).await;
    let Stage { database, files, service } = stage;
    service.stop().await;
    let waits = rowcast(&database.url, &["dead-letter", "retry", "--all"]).await;
    assert_eq!(waits.code, 1, "{}", waits.stdout);
    assert!(waits.stderr.contains("Is `rowcast serve` running?"), "{}", waits.stderr);

    std::fs::write(format!("{}/things.toml", files.path()), mended()).expect("a writable directory");
    let service = serve(&database, &files).await;
    let stage = Stage { database, files, service };
    eventually("it was tried", async || stage.listed().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_the_database_refuses_again_stays_and_is_written_once_it_takes_it() {
    const NOTIFIES: &str = r#"
[[rule]]
inbox = "thing"
name = "inbox:thing"
table = "things"
on = ["insert"]
to = [{ rooms = ["user:u1"], data = { title = "'New'" } }]
"#;
    const USERS: &str = r#"
[[room]]
room = "user:{id}"
join = "auth.user_id == id"
"#;
    let database = Database::empty().await;
    database.run("create table things (id text primary key, stock integer)").await;
    database.migrate().await;
    database.run("select rowcast.watch('things')").await;
    let refuse = "alter table rowcast.notification add constraint refuses check (title <> 'New')";
    database.run(refuse).await;
    let files = Files::new(&[("rooms.toml", USERS), ("things.toml", NOTIFIES)]);
    let service = serve(&database, &files).await;
    let stage = Stage { database, files, service };
    stage.database.run("insert into things values ('a', 1)").await;
    stage.buried(1.0).await;

    let again = stage.letters(&["retry", "--all"]).await;
    assert_eq!(again.code, 1, "{}", again.stdout);
    assert_eq!(stage.listed().await[0]["attempts"], 2);

    stage.database.run("alter table rowcast.notification drop constraint refuses").await;
    stage.letters(&["retry", "--all"]).await.succeeded();
    assert!(stage.listed().await.is_empty());
    assert_eq!(stage.database.count("select count(*) from rowcast.notification").await, 1);
}
