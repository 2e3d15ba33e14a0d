//! Writers: they change rows of `products`, straight in Postgres or through the application's own HTTP interface.

mod app;
mod paced;
mod saturating;

pub use paced::{Paced, write_paced};
pub use saturating::{Saturated, write_saturating};

use anyhow::{Context, Result};
use tokio_postgres::NoTls;

/// Who writes the row.
#[derive(Debug, Clone)]
pub enum Way {
    /// This program, by SQL; the URL of the database.
    Postgres(String),
    /// The application, which is asked by HTTP; its address, as in `127.0.0.1:4000`.
    Application(String),
}

/// Connects, and keeps the connection going in the background of the present runtime.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.with_context(|| format!("cannot connect to {url}"))?;
    tokio::spawn(connection);
    Ok(client)
}
