//! Plays the sample marketplace's application: shoppers, sellers and trade partners who do nothing but SQL.
//!
//!     cargo run --example traffic -- --database-url URL --load examples/marketplace/schema.sql --load examples/marketplace/seed.sql
//!     cargo run --example traffic -- --database-url URL
//!
//! It knows nothing of rowcast. It runs for days: old rows are deleted, stock and prices swing around fixed values.

#[path = "traffic/cast.rs"]
mod cast;
#[path = "traffic/fulfilment.rs"]
mod fulfilment;
#[path = "traffic/players.rs"]
mod players;
#[path = "traffic/shopping.rs"]
mod shopping;
#[path = "traffic/stockroom.rs"]
mod stockroom;
#[path = "traffic/tidy.rs"]
mod tidy;
#[path = "traffic/trade.rs"]
mod trade;
#[path = "traffic/wholesale.rs"]
mod wholesale;

use std::{future::Future, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_postgres::{Client, Config, NoTls};

use cast::Cast;
use players::{Player, Role};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Plays the sample marketplace's application with plain SQL, until it is interrupted.
#[derive(Parser)]
#[command(name = "traffic")]
struct Options {
    /// The database to play in, such as postgres://user@localhost:5432/marketplace
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,

    /// Execute this SQL file, then exit without playing; may be given several times, in order
    #[arg(long, value_name = "FILE", num_args = 1..)]
    load: Vec<PathBuf>,

    /// Actions a second, all players together
    #[arg(long, default_value_t = 6.0, value_name = "N", value_parser = parse_rate)]
    rate: f64,

    /// Makes the players' choices repeatable
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("expected a number of actions a second from 0.01 to 1000".into()),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("traffic: {err:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let database: Config = options
        .database_url
        .parse()
        .context("--database-url is not a Postgres URL; expected postgres://user@host:port/database")?;
    let interrupted = interrupted()?;
    tokio::select! {
        done = async {
            if options.load.is_empty() {
                play(&database, options.rate, options.seed.unwrap_or_else(|| fastrand::u64(..))).await
            } else {
                load(&database, &options.load).await
            }
        } => done,
        () = interrupted => {
            println!("traffic: stopped");
            Ok(())
        }
    }
}

/// Resolves on the first SIGINT or SIGTERM. The handlers stand before this returns.
fn interrupted() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    })
}

async fn connect(database: &Config) -> Result<Client> {
    let mut database = database.clone();
    database.application_name("marketplace traffic");
    let (client, connection) = timeout(CONNECT_TIMEOUT, database.connect(NoTls))
        .await
        .with_context(|| format!("no answer from the database within {CONNECT_TIMEOUT:?}; is the address right?"))?
        .context("cannot connect to the database; is it running, and is --database-url right?")?;
    // Ends with the connection; a statement on the client then fails, and its player reports that.
    tokio::spawn(connection);
    Ok(client)
}

async fn load(database: &Config, files: &[PathBuf]) -> Result<()> {
    let client = connect(database).await?;
    for file in files {
        let name = file.display();
        let sql = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
        client.batch_execute(&sql).await.map_err(|err| anyhow::anyhow!("{name} failed: {}", players::reason(&err)))?;
        println!("traffic: loaded {name}");
    }
    Ok(())
}

async fn play(database: &Config, rate: f64, seed: u64) -> Result<()> {
    let cast = Arc::new(Cast::find(&connect(database).await?).await?);
    println!(
        "traffic: {} sellers, {} buyers, {} products; {rate} actions a second, seed {seed}; Ctrl-C stops it",
        cast.sellers.len(),
        cast.buyers.len(),
        cast.prices.len(),
    );

    let mut players = tokio::task::JoinSet::new();
    for (number, role) in Role::CREW.into_iter().enumerate() {
        let player = Player {
            db: connect(database).await?,
            cast: cast.clone(),
            rng: fastrand::Rng::with_seed(seed.wrapping_add(number as u64)),
            role,
            pause: Duration::from_secs_f64(1.0 / (rate * role.share())),
        };
        players.spawn(player.play());
    }
    match players.join_next().await {
        Some(Ok(Err(err))) => Err(err),
        Some(Err(panic)) => Err(panic).context("a player stopped unexpectedly"),
        Some(Ok(Ok(never))) => match never {},
        None => bail!("there are no players"),
    }
}
