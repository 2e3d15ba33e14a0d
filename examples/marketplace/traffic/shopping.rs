//! Buyers: carts, orders, payments.

use fastrand::Rng;
use serde_json::{Value, json};
use tokio_postgres::{Client, Error, Transaction};

use crate::cast::{Cast, Person};

/// SQL for the present time as the application writes it: `orders.created_at` is text.
pub const NOW_AS_TEXT: &str = r#"to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"#;

const LARGEST_CART: usize = 4;

struct Line {
    product_id: String,
    quantity: i32,
}

/// Adds an item to a cart, changes one, or removes one.
pub async fn fill_cart(db: &mut Client, cast: &Cast, rng: &mut Rng) -> Result<(), Error> {
    let (buyer, seller) = (cast.buyer(rng), cast.seller(rng));
    let tx = db.transaction().await?;
    let mut items = cart(&tx, buyer, seller).await?;
    match rng.u32(..10) {
        0 | 1 if !items.is_empty() => {
            items.swap_remove(rng.usize(..items.len()));
        }
        2..=4 if !items.is_empty() => {
            let place = rng.usize(..items.len());
            items[place]["quantity"] = json!(rng.i32(1..=3));
        }
        _ if items.len() < LARGEST_CART => {
            let Some(product_id) = on_sale(&tx, seller).await? else { return Ok(()) };
            match items.iter_mut().find(|item| item["productId"] == product_id.as_str()) {
                Some(item) => item["quantity"] = json!(item["quantity"].as_i64().unwrap_or(0) % 3 + 1),
                None => items.push(json!({"productId": product_id, "quantity": 1})),
            }
        }
        _ => items.clear(),
    }
    set_cart(&tx, buyer, seller, items).await?;
    tx.commit().await
}

/// Orders what the cart holds, or a single product. One in twelve fails at the payment and rolls everything back,
/// as does an order for more than there is.
pub async fn order(db: &mut Client, cast: &Cast, rng: &mut Rng) -> Result<(), Error> {
    let (buyer, seller) = (cast.buyer(rng), cast.seller(rng));
    let declined = rng.u32(..12) == 0;
    let tx = db.transaction().await?;
    let items = cart(&tx, buyer, seller).await?;
    let lines = if items.is_empty() {
        let Some(product_id) = on_sale(&tx, seller).await? else { return Ok(()) };
        vec![Line { product_id, quantity: rng.i32(1..=3) }]
    } else {
        lines(&items)
    };

    let order_id: String = tx
        .query_one(
            &format!(
                "INSERT INTO orders (user_id, seller_id, customer_name, customer_email, customer_address, total, created_at)
                 VALUES ($1, $2, $3, $4, $5, 0, {NOW_AS_TEXT}) RETURNING id"
            ),
            &[&buyer.id, &seller.id, &buyer.name, &buyer.email, &format!("{} Mill Lane", rng.u32(1..90))],
        )
        .await?
        .get(0);
    for line in &lines {
        if !take(&tx, &order_id, line).await? {
            set_cart(&tx, buyer, seller, Vec::new()).await?;
            tx.rollback().await?;
            return forget(db, buyer, seller).await;
        }
    }
    if declined {
        return tx.rollback().await;
    }
    tx.execute(
        "UPDATE orders SET items = (SELECT jsonb_agg(jsonb_build_object('productId', product_id, 'quantity', quantity))::text
                                    FROM order_items WHERE order_id = $1),
                           total = (SELECT sum(subtotal) FROM order_items WHERE order_id = $1)
         WHERE id = $1",
        &[&order_id],
    )
    .await?;
    if !items.is_empty() {
        set_cart(&tx, buyer, seller, Vec::new()).await?;
    }
    tx.commit().await
}

/// The oldest unpaid retail order is paid, and work on it starts.
pub async fn pay(db: &mut Client) -> Result<(), Error> {
    db.execute(
        "UPDATE orders SET payment_status = 'fully_paid', amount_paid = total, remaining_balance = 0, status = 'processing'
         WHERE id = (SELECT id FROM orders
                     WHERE status = 'pending' AND order_type = 'retail'
                     ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)",
        &[],
    )
    .await?;
    Ok(())
}

/// Takes the stock for one line and writes the order's item. False: there is not enough.
async fn take(tx: &Transaction<'_>, order_id: &str, line: &Line) -> Result<bool, Error> {
    let taken = tx
        .execute(
            "WITH sold AS (
                 UPDATE products SET stock = stock - $3
                 WHERE id = $2 AND stock >= $3 AND status = 'active'
                 RETURNING id, name,
                     round(price * (100 - CASE WHEN promotion_active = 1 THEN coalesce(discount_percentage, 0) ELSE 0 END) / 100, 2) AS price
             )
             INSERT INTO order_items (order_id, product_id, product_name, quantity, price, subtotal)
             SELECT $1, id, name, $3, price, price * $3 FROM sold",
            &[&order_id, &line.product_id, &line.quantity],
        )
        .await?;
    Ok(taken == 1)
}

/// Empties a cart that could not be ordered: something in it is sold out.
async fn forget(db: &mut Client, buyer: &Person, seller: &Person) -> Result<(), Error> {
    db.execute(
        "UPDATE carts SET items = '[]', updated_at = now() WHERE buyer_id = $1 AND seller_id = $2 AND items <> '[]'",
        &[&buyer.id, &seller.id],
    )
    .await?;
    Ok(())
}

/// The cart's lines in the order of product ids, so that two orders lock products in the same order.
fn lines(items: &[Value]) -> Vec<Line> {
    let mut lines: Vec<_> = items
        .iter()
        .filter_map(|item| {
            Some(Line {
                product_id: item["productId"].as_str()?.to_owned(),
                quantity: item["quantity"].as_i64()?.clamp(1, 5) as i32,
            })
        })
        .collect();
    lines.sort_by(|a, b| a.product_id.cmp(&b.product_id));
    lines
}

async fn on_sale(tx: &Transaction<'_>, seller: &Person) -> Result<Option<String>, Error> {
    let row = tx
        .query_opt(
            "SELECT id FROM products WHERE seller_id = $1 AND status = 'active' AND product_type <> 'wholesale'
             ORDER BY random() LIMIT 1",
            &[&seller.id],
        )
        .await?;
    Ok(row.map(|row| row.get(0)))
}

async fn cart(tx: &Transaction<'_>, buyer: &Person, seller: &Person) -> Result<Vec<Value>, Error> {
    let row = tx
        .query_opt(
            "SELECT items FROM carts WHERE buyer_id = $1 AND seller_id = $2 FOR UPDATE",
            &[&buyer.id, &seller.id],
        )
        .await?;
    Ok(match row.map(|row| row.get(0)) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    })
}

async fn set_cart(tx: &Transaction<'_>, buyer: &Person, seller: &Person, items: Vec<Value>) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO carts (buyer_id, seller_id, items) VALUES ($1, $2, $3)
         ON CONFLICT (buyer_id, seller_id) DO UPDATE SET items = excluded.items, updated_at = now()",
        &[&buyer.id, &seller.id, &Value::Array(items)],
    )
    .await?;
    Ok(())
}
