//! Wholesale: invitations, and orders with a deposit and a balance, both as `orders` rows and in tables of their own.

use fastrand::Rng;
use tokio_postgres::{Client, Error, Transaction};

use crate::{cast::Cast, shopping::NOW_AS_TEXT};

const SHOPS: [&str; 6] = ["Corner Café", "Maison Blanche", "Kita Store", "Øst Interiør", "The Pantry", "Casa Verde"];

pub async fn invite(db: &mut Client, cast: &Cast, rng: &mut Rng) -> Result<(), Error> {
    let seller = cast.seller(rng);
    let buyer = cast.buyer(rng);
    let (name, email) = if rng.bool() {
        (buyer.name.clone(), buyer.email.clone())
    } else {
        let shop = rng.usize(..SHOPS.len());
        (SHOPS[shop].to_owned(), format!("shop-{shop}@example.org"))
    };
    let percent = rng.i32(2..=6) * 5;
    db.execute(
        "INSERT INTO wholesale_invitations (seller_id, buyer_email, buyer_name, wholesale_terms, expires_at)
         VALUES ($1, $2, $3, jsonb_build_object('minimumOrder', '300.00', 'discountPercentage', $4::integer), now() + interval '30 days')",
        &[&seller.id, &email, &name, &percent],
    )
    .await?;
    Ok(())
}

#[derive(Clone, Copy)]
pub enum InvitationAnswer {
    Accept,
    Reject,
}

impl InvitationAnswer {
    pub fn choose(rng: &mut Rng) -> Self {
        if rng.u32(..3) == 0 { Self::Reject } else { Self::Accept }
    }
}

/// The oldest open invitation is answered.
pub async fn answer(db: &mut Client, answer: InvitationAnswer) -> Result<(), Error> {
    let status = match answer {
        InvitationAnswer::Accept => "accepted",
        InvitationAnswer::Reject => "rejected",
    };
    db.execute(
        "UPDATE wholesale_invitations SET status = $1, accepted_at = CASE WHEN $1 = 'accepted' THEN now() END
         WHERE id = (SELECT id FROM wholesale_invitations WHERE status = 'pending'
                     ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)",
        &[&status],
    )
    .await?;
    Ok(())
}

/// A wholesale order comes in: half of them as a row of `orders`, half in the wholesale tables.
pub async fn order(db: &mut Client, cast: &Cast, rng: &mut Rng) -> Result<(), Error> {
    let (seller, buyer) = (cast.seller(rng), cast.buyer(rng));
    let cents = rng.i32(40..=220) * 1000;
    let (deposit, balance) = (cents * 3 / 10, cents - cents * 3 / 10);
    if rng.bool() {
        db.execute(
            &format!(
                "INSERT INTO orders (user_id, seller_id, order_type, customer_name, customer_email, total, remaining_balance,
                                     payment_type, deposit_amount_cents, balance_due_cents, created_at)
                 VALUES ($1, $2, 'wholesale', $3, $4, $5::integer / 100.0, $5::integer / 100.0, 'deposit', $6, $7, {NOW_AS_TEXT})"
            ),
            &[&buyer.id, &seller.id, &buyer.name, &buyer.email, &cents, &deposit, &balance],
        )
        .await?;
        return Ok(());
    }
    let tx = db.transaction().await?;
    let order_id: String = tx
        .query_one(
            "INSERT INTO wholesale_orders (order_number, seller_id, buyer_id, subtotal_cents, total_cents,
                                           deposit_amount_cents, balance_amount_cents, buyer_email)
             VALUES ('W-' || upper(left(md5(gen_random_uuid()::text), 6)), $1, $2, $3, $3, $4, $5, $6) RETURNING id",
            &[&seller.id, &buyer.id, &cents, &deposit, &balance, &buyer.email],
        )
        .await?
        .get(0);
    tx.execute(
        "INSERT INTO wholesale_payments (wholesale_order_id, payment_type, status, amount_cents)
         VALUES ($1, 'deposit', 'requested', $2), ($1, 'balance', 'pending', $3)",
        &[&order_id, &deposit, &balance],
    )
    .await?;
    tx.commit().await
}

/// The next step of a wholesale order, of either kind.
pub async fn advance(db: &mut Client, rng: &mut Rng) -> Result<(), Error> {
    if rng.bool() { advance_order_row(db, rng).await } else { advance_wholesale_row(db).await }
}

async fn advance_order_row(db: &mut Client, rng: &mut Rng) -> Result<(), Error> {
    let tracking = format!("W{:09}", rng.u32(..1_000_000_000));
    // Deposit, production, balance, shipping, arrival: each update does the one step that is due.
    db.execute(
        "UPDATE orders SET
             payment_status = CASE
                 WHEN payment_status = 'pending' THEN 'deposit_paid'
                 WHEN status = 'processing' THEN 'fully_paid' ELSE payment_status END,
             amount_paid = CASE
                 WHEN payment_status = 'pending' THEN deposit_amount_cents / 100.0
                 WHEN status = 'processing' THEN total ELSE amount_paid END,
             remaining_balance = CASE
                 WHEN payment_status = 'pending' THEN balance_due_cents / 100.0
                 WHEN status = 'processing' THEN 0 ELSE remaining_balance END,
             balance_paid_at = CASE
                 WHEN payment_status = 'deposit_paid' AND status = 'processing' THEN now() ELSE balance_paid_at END,
             tracking_number = CASE
                 WHEN payment_status = 'fully_paid' AND status = 'processing' THEN $1 ELSE tracking_number END,
             shipping_carrier = CASE
                 WHEN payment_status = 'fully_paid' AND status = 'processing' THEN 'Harbour Freight' ELSE shipping_carrier END,
             fulfillment_status = CASE WHEN status = 'shipped' THEN 'fulfilled' ELSE fulfillment_status END,
             status = CASE
                 WHEN payment_status = 'deposit_paid' AND status = 'pending' THEN 'processing'
                 WHEN payment_status = 'fully_paid' AND status = 'processing' THEN 'shipped'
                 WHEN status = 'shipped' THEN 'delivered' ELSE status END
         WHERE id = (SELECT id FROM orders WHERE order_type = 'wholesale' AND status IN ('pending', 'processing', 'shipped')
                     ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)",
        &[&tracking],
    )
    .await?;
    Ok(())
}

async fn advance_wholesale_row(db: &mut Client) -> Result<(), Error> {
    let tx = db.transaction().await?;
    let open = tx
        .query_opt(
            "SELECT id, status::text FROM wholesale_orders WHERE status NOT IN ('fulfilled', 'cancelled')
             ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED",
            &[],
        )
        .await?;
    let Some(row) = open else { return Ok(()) };
    let (order_id, status): (String, String) = (row.get(0), row.get(1));
    let next = match status.as_str() {
        "pending" => {
            set_payment(&tx, &order_id, "deposit", "paid").await?;
            "deposit_paid"
        }
        "deposit_paid" => "in_production",
        "in_production" => {
            set_payment(&tx, &order_id, "balance", "requested").await?;
            "awaiting_balance"
        }
        "awaiting_balance" | "balance_overdue" => {
            set_payment(&tx, &order_id, "balance", "paid").await?;
            "ready_to_release"
        }
        _ => "fulfilled",
    };
    tx.execute(
        "UPDATE wholesale_orders SET status = $2::text::wholesale_order_status, updated_at = now() WHERE id = $1",
        &[&order_id, &next],
    )
    .await?;
    tx.commit().await
}

async fn set_payment(tx: &Transaction<'_>, order_id: &str, payment: &str, status: &str) -> Result<(), Error> {
    tx.execute(
        "UPDATE wholesale_payments
         SET status = $3::text::wholesale_payment_status, paid_at = CASE WHEN $3::text = 'paid' THEN now() END
         WHERE wholesale_order_id = $1 AND payment_type = $2::text::wholesale_payment_type",
        &[&order_id, &payment, &status],
    )
    .await?;
    Ok(())
}
