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

struct Sold {
    line: Line,
    name: String,
    /// Decimal, as Postgres writes it.
    price: String,
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

    let mut sold = Vec::with_capacity(lines.len());
    for line in lines {
        match take(&tx, line).await? {
            Some(taken) => sold.push(taken),
            None => {
                tx.rollback().await?;
                return forget(db, buyer, seller).await;
            }
        }
    }
    place(&tx, buyer, seller, &sold, &format!("{} Mill Lane", rng.u32(1..90))).await?;
    if declined {
        return tx.rollback().await;
    }
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

/// Takes the stock for one line, at the price of the moment. None: there is not enough.
async fn take(tx: &Transaction<'_>, line: Line) -> Result<Option<Sold>, Error> {
    let row = tx
        .query_opt(
            "UPDATE products SET stock = stock - $2
             WHERE id = $1 AND stock >= $2 AND status = 'active'
             RETURNING name, round(price * (100 - CASE WHEN promotion_active = 1 THEN coalesce(discount_percentage, 0) ELSE 0 END) / 100, 2)::text",
            &[&line.product_id, &line.quantity],
        )
        .await?;
    Ok(row.map(|row| Sold { line, name: row.get(0), price: row.get(1) }))
}

/// Writes the order and its items.
async fn place(
    tx: &Transaction<'_>,
    buyer: &Person,
    seller: &Person,
    sold: &[Sold],
    address: &str,
) -> Result<(), Error> {
    let items: Vec<_> = sold
        .iter()
        .map(|sold| json!({"productId": sold.line.product_id, "quantity": sold.line.quantity, "price": sold.price}))
        .collect();
    let order_id: String = tx
        .query_one(
            &format!(
                "INSERT INTO orders (user_id, seller_id, customer_name, customer_email, customer_address, items, total, created_at)
                 SELECT $1, $2, $3, $4, $5, $6::jsonb::text, sum((item->>'price')::numeric * (item->>'quantity')::integer), {NOW_AS_TEXT}
                 FROM jsonb_array_elements($6) AS item
                 RETURNING id"
            ),
            &[&buyer.id, &seller.id, &buyer.name, &buyer.email, &address, &Value::Array(items)],
        )
        .await?
        .get(0);
    for Sold { line, name, price } in sold {
        tx.execute(
            "INSERT INTO order_items (order_id, product_id, product_name, quantity, price, subtotal)
             VALUES ($1, $2, $3, $4::integer, $5::text::numeric, $5::text::numeric * $4::integer)",
            &[&order_id, &line.product_id, name, &line.quantity, price],
        )
        .await?;
    }
    Ok(())
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
