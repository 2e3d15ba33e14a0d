//! The players: each has a connection of its own and a role, and does one thing after another.

use std::{collections::HashSet, convert::Infallible, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use fastrand::Rng;
use tokio_postgres::{Client, Error};

use crate::{
    cast::Cast,
    fulfilment, shopping, stockroom, tidy, trade,
    wholesale::{self, InvitationAnswer},
};

/// So many failures in a row mean that the database is not the one that these players know.
const FAILURES_IN_A_ROW: u32 = 25;

/// Different failures that a player tells of; a day of them would fill the terminal.
const FAILURES_REPORTED: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Shopper,
    Shopkeeper,
    Trader,
}

impl Role {
    pub const CREW: [Self; 6] =
        [Self::Shopper, Self::Shopper, Self::Shopper, Self::Shopkeeper, Self::Shopkeeper, Self::Trader];

    /// Its part of all actions. The parts of the crew add up to 1.
    pub const fn share(self) -> f64 {
        match self {
            Self::Shopper => 0.15,
            Self::Shopkeeper => 0.20,
            Self::Trader => 0.15,
        }
    }

    /// What it does, and how often of a hundred times.
    const fn habits(self) -> &'static [(u32, Action)] {
        match self {
            Self::Shopper => &[(40, Action::FillCart), (27, Action::Order), (33, Action::Pay)],
            Self::Shopkeeper => &[
                (30, Action::Ship),
                (30, Action::Deliver),
                (12, Action::Restock),
                (12, Action::Reprice),
                (6, Action::Promote),
                (3, Action::Refund),
                (2, Action::Cancel),
                (2, Action::LimitedEdition),
                (3, Action::Tidy),
            ],
            Self::Trader => &[
                (6, Action::DraftQuotation),
                (42, Action::AdvanceQuotation),
                (5, Action::Invite),
                (6, Action::AnswerInvitation),
                (5, Action::OrderWholesale),
                (34, Action::AdvanceWholesale),
                (2, Action::Tidy),
            ],
        }
    }

    fn choose(self, rng: &mut Rng) -> Action {
        let sum: u32 = self.habits().iter().map(|(weight, _)| weight).sum();
        let mut left = rng.u32(..sum);
        for (weight, action) in self.habits() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *action,
            }
        }
        unreachable!("the draw is below the sum of the weights")
    }
}

#[derive(Debug, Clone, Copy)]
enum Action {
    FillCart,
    Order,
    Pay,
    Ship,
    Deliver,
    Restock,
    Reprice,
    Promote,
    Refund,
    Cancel,
    LimitedEdition,
    DraftQuotation,
    AdvanceQuotation,
    Invite,
    AnswerInvitation,
    OrderWholesale,
    AdvanceWholesale,
    Tidy,
}

pub struct Player {
    pub db: Client,
    pub cast: Arc<Cast>,
    pub rng: Rng,
    pub role: Role,
    /// The mean time between two actions.
    pub pause: Duration,
}

impl Player {
    /// Plays until the database is gone.
    pub async fn play(mut self) -> Result<Infallible> {
        let mut failures = 0;
        let mut reported = HashSet::new();
        loop {
            tokio::time::sleep(self.pause.mul_f64(0.3 + 1.4 * self.rng.f64())).await;
            let action = self.role.choose(&mut self.rng);
            let Err(err) = self.act(action).await else {
                failures = 0;
                continue;
            };
            if self.db.is_closed() {
                bail!("the database closed the connection ({}); start it and run traffic again", reason(&err));
            }
            failures += 1;
            let failure = format!("{action:?} failed: {}", reason(&err));
            if reported.len() < FAILURES_REPORTED && reported.insert(failure.clone()) {
                eprintln!("traffic: {failure} (said once)");
            }
            if failures >= FAILURES_IN_A_ROW {
                bail!("{failures} failures in a row, the last: {}; is this the sample marketplace?", reason(&err));
            }
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), Error> {
        let Self { db, cast, rng, .. } = self;
        match action {
            Action::FillCart => shopping::fill_cart(db, cast, rng).await,
            Action::Order => shopping::order(db, cast, rng).await,
            Action::Pay => shopping::pay(db).await,
            Action::Ship => fulfilment::ship(db, rng).await,
            Action::Deliver => fulfilment::deliver(db).await,
            Action::Refund => fulfilment::refund(db, rng).await,
            Action::Cancel => fulfilment::cancel(db).await,
            Action::Restock => stockroom::restock(db, rng).await,
            Action::Reprice => stockroom::reprice(db, cast, rng).await,
            Action::Promote => stockroom::promote(db, rng).await,
            Action::LimitedEdition => stockroom::limited_edition(db, cast, rng).await,
            Action::DraftQuotation => trade::draft(db, cast, rng).await,
            Action::AdvanceQuotation => trade::advance(db, rng).await,
            Action::Invite => wholesale::invite(db, cast, rng).await,
            Action::AnswerInvitation => wholesale::answer(db, InvitationAnswer::choose(rng)).await,
            Action::OrderWholesale => wholesale::order(db, cast, rng).await,
            Action::AdvanceWholesale => wholesale::advance(db, rng).await,
            Action::Tidy => tidy::tidy(db).await,
        }
    }
}

/// What Postgres says, without the driver's wrapping.
pub fn reason(err: &Error) -> String {
    match err.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => err.to_string(),
    }
}
