//! Plays a case on a database of its own, and compares what the client believes with what Postgres has.

use std::{path::Path, time::Duration};

use rowcast::config::Config;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    case::{CONNECTIONS, Case, Step},
    model::Model,
};
use crate::{
    cli::Files,
    support::{
        client::PATIENCE,
        database::Database,
        frontend::{Frontend, Heard},
        service::{Service, url},
    },
};

/// A statement that has not ended by then waits for a lock, and the others go on.
const BLOCKED: Duration = Duration::from_millis(5);

const ROOMS: &str = "[[room]]\nroom = \"oracle:{table}\"\njoin = \"true\"\n";
const MARKER: &str = "
[[rule]]
event = \"marker:set\"
table = \"marker\"
on = [\"insert\"]
data = { n = \"row.n\" }
to = [{ rooms = [\"oracle:t0\"] }]
";

/// What a connection is told to do.
enum Order {
    Run(String),
    Begin,
    Savepoint,
    RollbackTo,
    End { commit: bool },
}

/// A connection that writes: it does one thing after the other, and may have to wait for another one's lock.
struct Writer {
    orders: mpsc::UnboundedSender<(Order, oneshot::Sender<()>)>,
    task: JoinHandle<()>,
}

impl Writer {
    async fn start(database: &Database) -> Self {
        let client = database.connect().await;
        client.batch_execute("set deadlock_timeout = '20ms'; set statement_timeout = '20s'").await.expect("settings");
        let (orders, mut received) = mpsc::unbounded_channel::<(Order, oneshot::Sender<()>)>();
        let task = tokio::spawn(async move {
            let (mut open, mut savepoint) = (false, false);
            while let Some((order, done)) = received.recv().await {
                let sql = match order {
                    Order::Run(sql) => sql,
                    Order::Begin if !open => "begin".into(),
                    Order::Savepoint if open => "savepoint s".into(),
                    Order::RollbackTo if savepoint => "rollback to s".into(),
                    Order::End { commit } if open => if commit { "commit" } else { "rollback" }.into(),
                    _ => continue,
                };
                let failed = client.batch_execute(&sql).await.is_err();
                match sql.as_str() {
                    "begin" => open = true,
                    "savepoint s" => savepoint = true,
                    "commit" | "rollback" => (open, savepoint) = (false, false),
                    // A key that is taken, or a deadlock: the transaction goes back to where it can go on.
                    _ if failed && savepoint => drop(client.batch_execute("rollback to s").await),
                    _ if failed && open => {
                        client.batch_execute("rollback").await.ok();
                        open = false;
                    }
                    _ => {}
                }
                done.send(()).ok();
            }
        });
        Self { orders, task }
    }

    fn give(&self, order: Order) -> oneshot::Receiver<()> {
        let (done, finished) = oneshot::channel();
        self.orders.send((order, done)).ok();
        finished
    }

    async fn give_and_wait_a_little(&self, order: Order) {
        tokio::time::timeout(BLOCKED, self.give(order)).await.ok();
    }
}

struct Stage<'c> {
    case: &'c Case,
    database: Database,
    config: Config,
    service: Option<Service>,
    frontend: Frontend,
    models: Vec<Model>,
    writers: Vec<Writer>,
    /// Events that were new to the client.
    heard: u64,
}

/// How many events the client heard; or what is wrong.
pub async fn play(case: &Case) -> Result<u64, String> {
    let database = Database::marketplace().await;
    database.run("create type mood as enum ('sad', 'very happy'); create table marker (n int)").await;
    let mut rules = String::from(MARKER);
    for (number, table) in case.tables.iter().enumerate() {
        database.run(&table.ddl()).await;
        rules += &table.rule(number);
    }
    let names = case.tables.iter().map(|table| (table.sql_name(), table.by_statement));
    for (name, by_statement) in names.chain([("marker".to_owned(), false)]) {
        database.row("select rowcast.watch($1::text::regclass, by_statement => $2)", &[&name, &by_statement]).await;
    }
    let files = Files::new(&[("rooms.toml", ROOMS), ("rules.toml", &rules)]);
    let mut config = Config::default();
    config.catalog.dir = Some(Path::new(files.path()).to_owned());
    let service = Service::start_with(&database, config.clone()).await;
    let inactive = service.metric("rowcast_rules_inactive").await;
    if inactive > 0.0 {
        return Err(format!("{inactive} rules are inactive"));
    }
    let mut writers = Vec::new();
    for _ in 0..CONNECTIONS {
        writers.push(Writer::start(&database).await);
    }
    let mut frontend = Frontend::new(None, (0..case.tables.len()).map(|table| format!("oracle:t{table}")));
    frontend.enter(&url(service.address)).await?;
    let models = case.tables.iter().map(Model::new).collect();
    let mut stage = Stage { case, database, config, service: Some(service), frontend, models, writers, heard: 0 };
    let outcome = stage.run().await;
    stage.frontend.leave();
    for writer in stage.writers.drain(..) {
        writer.task.abort();
    }
    if let Some(service) = stage.service.take() {
        service.stop().await;
    }
    outcome.map(|()| stage.heard)
}

impl Stage<'_> {
    async fn run(&mut self) -> Result<(), String> {
        for step in &self.case.steps {
            self.step(*step).await?;
        }
        // Each has its statement done once those that it waits for have ended.
        let endings = self.case.endings.iter();
        let ended: Vec<_> = endings
            .map(|(connection, commit)| self.writers[*connection].give(Order::End { commit: *commit }))
            .collect();
        for ended in ended {
            tokio::time::timeout(PATIENCE, ended).await.map_err(|_| "a transaction does not end")?.ok();
        }
        self.database.run("insert into marker values (1)").await;
        if !self.frontend.is_connected() {
            self.enter().await?;
        }
        let mut marked = false;
        // What was missed in one room may come behind the marker of another.
        while !marked || self.frontend.is_behind() {
            marked |= self.hear(PATIENCE).await?;
        }
        self.compare().await
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        let writer = |connection: usize| &self.writers[connection];
        match step {
            Step::Write { connection, table, write } => {
                let table = &self.case.tables[usize::from(table) % self.case.tables.len()];
                writer(connection).give_and_wait_a_little(Order::Run(table.statement(write))).await;
            }
            Step::Begin { connection } => writer(connection).give_and_wait_a_little(Order::Begin).await,
            Step::Savepoint { connection } => writer(connection).give_and_wait_a_little(Order::Savepoint).await,
            Step::RollbackTo { connection } => writer(connection).give_and_wait_a_little(Order::RollbackTo).await,
            Step::Commit { connection } => {
                writer(connection).give_and_wait_a_little(Order::End { commit: true }).await;
            }
            Step::Rollback { connection } => {
                writer(connection).give_and_wait_a_little(Order::End { commit: false }).await;
            }
            Step::Leave { having_read } => {
                while having_read && self.frontend.is_connected() && !self.hear_what_has_come().await? {}
                self.frontend.leave();
            }
            Step::Return if self.frontend.is_connected() => {}
            Step::Return => self.enter().await?,
            Step::Terminate => {
                let sql = "select pg_terminate_backend(pid) from pg_stat_activity
                           where datname = current_database() and application_name like 'rowcast %'";
                self.database.run(sql).await;
            }
            Step::Restart => {
                self.frontend.leave();
                self.service.take().expect("one runs").stop().await;
                self.service = Some(Service::start_with(&self.database, self.config.clone()).await);
            }
        }
        Ok(())
    }

    async fn enter(&mut self) -> Result<(), String> {
        let service = self.service.as_ref().expect("one runs");
        self.frontend.enter(&url(service.address)).await
    }

    /// True when nothing more has come.
    async fn hear_what_has_come(&mut self) -> Result<bool, String> {
        match self.frontend.next(Duration::ZERO).await? {
            Heard::Silence | Heard::Ended => Ok(true),
            heard => self.take(heard).map(|_| false),
        }
    }

    /// Hears one thing; true if it is the marker.
    async fn hear(&mut self, patience: Duration) -> Result<bool, String> {
        match self.frontend.next(patience).await? {
            Heard::Silence => Err("the marker does not come".to_owned()),
            Heard::Ended => self.enter().await.map(|()| false),
            heard => self.take(heard),
        }
    }

    fn take(&mut self, heard: Heard) -> Result<bool, String> {
        let event = match heard {
            Heard::Event(event) => event,
            Heard::Resync(reason) => return Err(format!("told to load anew: {reason}")),
            _ => return Ok(false),
        };
        let kind = event["type"].as_str().unwrap_or_default();
        if kind == "marker:set" {
            return Ok(true);
        }
        self.heard += 1;
        let number: usize = kind
            .strip_prefix('t')
            .and_then(|rest| rest.strip_suffix(":changed"))
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| format!("an event that no rule makes: {event}"))?;
        self.models[number].apply(&event["data"]).map_err(|error| format!("out of order or lost: {error}; {event}"))?;
        Ok(false)
    }

    async fn compare(&self) -> Result<(), String> {
        for (table, model) in self.case.tables.iter().zip(&self.models) {
            let rows =
                self.database.client.query(&table.rows_sql(), &[]).await.map_err(|error| format!("{error:?}"))?;
            let parse = |row: &tokio_postgres::Row| -> String {
                serde_json::from_str::<Value>(row.get(0)).expect("JSON").to_string()
            };
            let mut actual: Vec<String> = rows.iter().map(parse).collect();
            actual.sort();
            let believed = model.rows();
            if actual != believed {
                let state = json!({ "table": table.name, "postgres": actual, "client": believed });
                return Err(format!("the client ends with another state than Postgres: {state}"));
            }
        }
        Ok(())
    }
}
