//! Keeps every table bounded: the oldest rows go, so that the players can go on for days.

use tokio_postgres::{Client, Error};

/// Rows that stay, with the table and the order from newest to oldest. Items, payments and events go with their parents.
const KEPT: [(&str, &str, u32); 4] = [
    ("orders", "created_at", 150),
    ("wholesale_orders", "created_at", 40),
    ("wholesale_invitations", "created_at", 40),
    ("trade_quotations", "created_at", 60),
];

pub async fn tidy(db: &mut Client) -> Result<(), Error> {
    for (table, newest, kept) in KEPT {
        db.execute(
            &format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY {newest} DESC OFFSET {kept})"),
            &[],
        )
        .await?;
    }
    Ok(())
}
