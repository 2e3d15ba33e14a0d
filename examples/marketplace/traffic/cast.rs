//! Who plays, and with what: read once, at the start.

use std::collections::HashMap;

use anyhow::{Result, bail};
use fastrand::Rng;
use tokio_postgres::Client;

use crate::players::reason;

pub struct Person {
    pub id: String,
    pub name: String,
    pub email: String,
}

pub struct Cast {
    pub sellers: Vec<Person>,
    pub buyers: Vec<Person>,
    /// Product id to the price, in cents, that its price swings around.
    pub prices: HashMap<String, i64>,
}

impl Cast {
    pub async fn find(db: &Client) -> Result<Self> {
        let cast = Self {
            sellers: people(db, "seller").await?,
            buyers: people(db, "buyer").await?,
            prices: prices(db).await?,
        };
        if cast.sellers.is_empty() || cast.buyers.is_empty() || cast.prices.is_empty() {
            bail!(
                "expected sellers, buyers and products, found {}, {} and {}; load seed.sql first, with --load",
                cast.sellers.len(),
                cast.buyers.len(),
                cast.prices.len()
            );
        }
        Ok(cast)
    }

    pub fn seller(&self, rng: &mut Rng) -> &Person {
        &self.sellers[rng.usize(..self.sellers.len())]
    }

    pub fn buyer(&self, rng: &mut Rng) -> &Person {
        &self.buyers[rng.usize(..self.buyers.len())]
    }
}

async fn people(db: &Client, kind: &str) -> Result<Vec<Person>> {
    let rows = db
        .query(
            "SELECT id, coalesce(username, id) AS name, email FROM users WHERE user_type::text = $1 ORDER BY id",
            &[&kind],
        )
        .await
        .map_err(unexpected_schema)?;
    Ok(rows.iter().map(|row| Person { id: row.get("id"), name: row.get("name"), email: row.get("email") }).collect())
}

async fn prices(db: &Client) -> Result<HashMap<String, i64>> {
    let rows =
        db.query("SELECT id, (price * 100)::bigint AS cents FROM products", &[]).await.map_err(unexpected_schema)?;
    Ok(rows.iter().map(|row| (row.get("id"), row.get("cents"))).collect())
}

fn unexpected_schema(err: tokio_postgres::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "this database does not hold the sample marketplace ({}); load schema.sql and seed.sql first, with --load",
        reason(&err)
    )
}
