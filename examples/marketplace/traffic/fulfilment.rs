//! Sellers: what becomes of a paid order.

use fastrand::Rng;
use tokio_postgres::{Client, Error};

const CARRIERS: [&str; 3] = ["Northern Post", "Swift Parcel", "Harbour Freight"];

/// The oldest order in work is shipped, with a tracking number.
pub async fn ship(db: &mut Client, rng: &mut Rng) -> Result<(), Error> {
    let carrier = CARRIERS[rng.usize(..CARRIERS.len())];
    let number = format!("{}{:09}", &carrier[..1], rng.u32(..1_000_000_000));
    db.execute(
        "UPDATE orders SET status = 'shipped', fulfillment_status = 'partially_fulfilled', shipping_carrier = $1,
                           tracking_number = $2, tracking_link = 'https://track.example/' || $2
         WHERE id = (SELECT id FROM orders WHERE status = 'processing' AND payment_status = 'fully_paid'
                     ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)",
        &[&carrier, &number],
    )
    .await?;
    Ok(())
}

/// The oldest order under way arrives.
pub async fn deliver(db: &mut Client) -> Result<(), Error> {
    db.execute(
        "WITH arrived AS (
             UPDATE orders SET status = 'delivered', fulfillment_status = 'fulfilled'
             WHERE id = (SELECT id FROM orders WHERE status = 'shipped' ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING id
         )
         UPDATE order_items SET item_status = 'delivered' FROM arrived WHERE order_id = arrived.id",
        &[],
    )
    .await?;
    Ok(())
}

/// A recent delivery is refunded, wholly or in part.
pub async fn refund(db: &mut Client, rng: &mut Rng) -> Result<(), Error> {
    let outcome = if rng.bool() { "refunded" } else { "partially_refunded" };
    db.execute(
        "UPDATE orders SET payment_status = $1
         WHERE id = (SELECT id FROM orders WHERE status = 'delivered' AND payment_status = 'fully_paid'
                     ORDER BY created_at DESC LIMIT 1 FOR UPDATE SKIP LOCKED)",
        &[&outcome],
    )
    .await?;
    Ok(())
}

/// An unpaid order is cancelled, and its goods go back to the shelf.
pub async fn cancel(db: &mut Client) -> Result<(), Error> {
    let tx = db.transaction().await?;
    let cancelled = tx
        .query_opt(
            "UPDATE orders SET status = 'cancelled'
             WHERE id = (SELECT id FROM orders WHERE status = 'pending' AND order_type = 'retail'
                         ORDER BY created_at DESC LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING id",
            &[],
        )
        .await?;
    let Some(order) = cancelled else { return Ok(()) };
    let order_id: String = order.get(0);
    let items = tx
        .query("SELECT product_id, quantity FROM order_items WHERE order_id = $1 ORDER BY product_id", &[&order_id])
        .await?;
    for item in items {
        let (product_id, quantity): (String, i32) = (item.get(0), item.get(1));
        tx.execute("UPDATE products SET stock = stock + $2 WHERE id = $1", &[&product_id, &quantity]).await?;
    }
    tx.commit().await
}
