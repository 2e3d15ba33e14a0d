//! Sellers: stock, prices, promotions, new and withdrawn products.

use fastrand::Rng;
use tokio_postgres::{Client, Error};

use crate::cast::Cast;

const EDITIONS: [(&str, i64); 6] = [
    ("Ash-glazed espresso cup", 1900),
    ("Indigo table runner", 6400),
    ("Anniversary roast, 500 g", 2250),
    ("Kiln seconds, box of four", 3900),
    ("Felted cup sleeve", 1250),
    ("Brass coffee scoop", 2800),
];

/// More limited editions than this at a time are not on sale: the oldest is archived, and later deleted.
const EDITIONS_ON_SALE: i64 = 2;

/// Goods arrive for a product that has run low. Mostly a seller waits until it is sold out.
pub async fn restock(db: &mut Client, rng: &mut Rng) -> Result<(), Error> {
    let low = [0, 0, 0, 4, 9][rng.usize(..5)];
    db.execute(
        "UPDATE products SET stock = stock + $2
         WHERE id = (SELECT id FROM products WHERE status = 'active' AND stock <= $1 ORDER BY random() LIMIT 1
                     FOR UPDATE SKIP LOCKED)",
        &[&low, &rng.i32(8..=22)],
    )
    .await?;
    Ok(())
}

/// A price moves, within a sixth of what it was at the start.
pub async fn reprice(db: &mut Client, cast: &Cast, rng: &mut Rng) -> Result<(), Error> {
    let row = db.query_opt("SELECT id FROM products WHERE status = 'active' ORDER BY random() LIMIT 1", &[]).await?;
    let Some(id) = row.map(|row| row.get::<_, String>(0)) else { return Ok(()) };
    let Some(usual) = cast.prices.get(&id) else { return Ok(()) };
    let cents = usual * rng.i64(84..=116) / 100 / 50 * 50;
    db.execute("UPDATE products SET price = $2::bigint / 100.0 WHERE id = $1", &[&id, &cents.max(50)]).await?;
    Ok(())
}

/// A promotion starts for a product, or the one that it has ends.
pub async fn promote(db: &mut Client, rng: &mut Rng) -> Result<(), Error> {
    let percent = [10, 15, 20, 25][rng.usize(..4)];
    db.execute(
        "UPDATE products
         SET promotion_active = 1 - coalesce(promotion_active, 0),
             discount_percentage = CASE WHEN promotion_active = 1 THEN NULL ELSE $1::integer END,
             promotion_end_date = CASE WHEN promotion_active = 1 THEN NULL ELSE now() + interval '2 days' END
         WHERE id = (SELECT id FROM products WHERE status = 'active'
                     ORDER BY coalesce(promotion_active, 0) * 2 * random() + random() DESC LIMIT 1 FOR UPDATE SKIP LOCKED)",
        &[&percent],
    )
    .await?;
    Ok(())
}

/// A limited edition goes on sale. The oldest one is withdrawn when there are enough, and one that was withdrawn before is
/// deleted.
pub async fn limited_edition(db: &mut Client, cast: &Cast, rng: &mut Rng) -> Result<(), Error> {
    let (name, cents) = EDITIONS[rng.usize(..EDITIONS.len())];
    let seller = cast.seller(rng);
    let tx = db.transaction().await?;
    tx.execute("DELETE FROM products WHERE sku LIKE 'LTD-%' AND status = 'archived'", &[]).await?;
    tx.execute(
        "UPDATE products SET status = 'archived'
         WHERE id IN (SELECT id FROM products WHERE sku LIKE 'LTD-%' AND status = 'active' ORDER BY sku DESC OFFSET $1)",
        &[&(EDITIONS_ON_SALE - 1)],
    )
    .await?;
    tx.execute(
        "INSERT INTO products (seller_id, name, description, price, sku, category, stock, status)
         SELECT $1, $2, 'A small run.', $3::bigint / 100.0, to_char(clock_timestamp(), '\"LTD-\"YYYYMMDDHH24MISSUS'),
                'Limited', $4, 'active'
         WHERE NOT EXISTS (SELECT 1 FROM products WHERE name = $2)",
        &[&seller.id, &name, &cents, &rng.i32(11..=14)],
    )
    .await?;
    tx.commit().await
}
