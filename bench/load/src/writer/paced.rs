//! Changes at a given rate, each noted in the ledger.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use tokio::{runtime, task::JoinSet};

use super::{Way, app::Application, connect};
use crate::ledger::{Ledger, mark};

/// Connections to Postgres that take turns, so that a slow commit holds up no other change.
const CONNECTIONS: usize = 16;

/// The same to the application, whose answers may take seconds when it falls behind.
const APPLICATION_CONNECTIONS: usize = 1024;

/// What to write.
#[derive(Debug, Clone)]
pub struct Paced {
    /// By which way.
    pub way: Way,
    /// Changes a second.
    pub rate: f64,
    /// The rows, by their ids, each with the group of sockets that hears of it; the changes go round them.
    pub rows: Arc<Vec<(String, u32)>>,
}

/// Writes as many changes as the ledger has room for, on this thread, and returns when the last commit was answered.
/// Fails if the rate could not be kept: the figures would be of another one.
pub fn write_paced(paced: &Paced, ledger: &Arc<Ledger>) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let took = runtime.block_on(write(paced, ledger))?;
    let planned = ledger.len() as f64 / paced.rate;
    if took > planned * 1.1 + 0.2 {
        bail!(
            "expected {} changes to be sent in {planned:.1} s, it took {took:.1} s: Postgres, or this program, is too slow for {} a second",
            ledger.len(),
            paced.rate
        );
    }
    Ok(())
}

/// Seconds from the first change to the moment when the last one was sent.
async fn write(paced: &Paced, ledger: &Arc<Ledger>) -> Result<f64> {
    let most = if matches!(paced.way, Way::Postgres(_)) { CONNECTIONS } else { APPLICATION_CONNECTIONS };
    let mut hands = Vec::new();
    for _ in 0..most.min(ledger.len()) {
        hands.push(Hand::connect(&paced.way).await?);
    }
    let begin = Instant::now() + Duration::from_millis(20);
    let step = hands.len();
    let mut running = JoinSet::new();
    for (first, hand) in hands.into_iter().enumerate() {
        running.spawn(take_turns(hand, (first, step), begin, paced.clone(), ledger.clone()));
    }
    let mut last_sent = begin;
    while let Some(ended) = running.join_next().await {
        last_sent = last_sent.max(ended.map_err(|error| anyhow!("a writer panicked: {error}"))??);
    }
    Ok((last_sent - begin).as_secs_f64())
}

/// Writes every `step`th change from the `first` on, each when it is due. Gives the moment when the last one was sent.
async fn take_turns(
    mut hand: Hand,
    (first, step): (usize, usize),
    begin: Instant,
    paced: Paced,
    ledger: Arc<Ledger>,
) -> Result<Instant> {
    let mut last_sent = begin;
    for (place, number) in ledger.numbers().enumerate().skip(first).step_by(step) {
        let due = begin + Duration::from_secs_f64(place as f64 / paced.rate);
        tokio::time::sleep_until(due.into()).await;
        let (id, group) = &paced.rows[place % paced.rows.len()];
        let description = format!("Thrown by hand, holds 350 ml. {}", mark(number));
        last_sent = Instant::now();
        ledger.sending(number, *group);
        hand.write(id, &description).await.with_context(|| format!("change {number} failed"))?;
        ledger.answered(number);
    }
    Ok(last_sent)
}

enum Hand {
    Postgres { client: tokio_postgres::Client, update: tokio_postgres::Statement },
    Application(Application),
}

impl Hand {
    async fn connect(way: &Way) -> Result<Self> {
        match way {
            Way::Application(address) => Ok(Self::Application(Application::connect(address).await?)),
            Way::Postgres(url) => {
                let client = connect(url).await?;
                let update = client.prepare("update products set description = $1 where id = $2").await?;
                Ok(Self::Postgres { client, update })
            }
        }
    }

    async fn write(&mut self, id: &str, description: &str) -> Result<()> {
        match self {
            Self::Application(application) => application.describe(id, description).await,
            Self::Postgres { client, update } => match client.execute(&*update, &[&description, &id]).await? {
                1 => Ok(()),
                rows => bail!("expected to update one row with the id {id}, updated {rows}"),
            },
        }
    }
}
