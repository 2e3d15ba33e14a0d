//! Quotations: drafted, sent, viewed, then accepted and paid, or rejected, or left to expire.

use fastrand::Rng;
use tokio_postgres::{Client, Error, Transaction};

use crate::cast::Cast;

/// A seller drafts a quotation. One buyer in four is known by the e-mail address alone, and one quotation in six is valid
/// for so short a time that it may expire before anybody answers.
pub async fn draft(db: &mut Client, cast: &Cast, rng: &mut Rng) -> Result<(), Error> {
    let (seller, buyer) = (cast.seller(rng), cast.buyer(rng));
    let buyer_id = (rng.u32(..4) > 0).then_some(&buyer.id);
    let seconds_valid = if rng.u32(..6) == 0 { 40.0 } else { 14.0 * 86_400.0 };
    let tx = db.transaction().await?;
    let quotation_id: String = tx
        .query_one(
            "WITH offered AS MATERIALIZED (
                 SELECT row_number() OVER () AS line, id, name, round(price * 0.85, 2) AS price, 6 + (random() * 30)::integer AS quantity
                 FROM (SELECT id, name, price FROM products WHERE seller_id = $1 AND status = 'active' ORDER BY random() LIMIT 2) AS goods
             ), sums AS (
                 SELECT goods, round(goods * 0.1, 2) AS tax, round((goods * 1.1 + 20) * 0.3, 2) AS deposit
                 FROM (SELECT coalesce(sum(price * quantity), 0) AS goods FROM offered) AS summed
             ), quotation AS (
                 INSERT INTO trade_quotations (seller_id, buyer_email, buyer_id, quotation_number, valid_until, subtotal, tax_amount,
                                               shipping_amount, total, deposit_percentage, deposit_amount, balance_amount)
                 SELECT $1, $2, $3, 'Q-' || upper(left(md5(gen_random_uuid()::text), 6)), now() + make_interval(secs => $4), goods, tax,
                        20, goods + tax + 20, 30, deposit, goods + tax + 20 - deposit
                 FROM sums
                 RETURNING id
             ), items AS (
                 INSERT INTO trade_quotation_items (quotation_id, line_number, description, product_id, unit_price, quantity, line_total)
                 SELECT quotation.id, line, name, offered.id, price, quantity, price * quantity FROM offered, quotation
             )
             SELECT id FROM quotation",
            &[&seller.id, &buyer.email, &buyer_id, &seconds_valid],
        )
        .await?
        .get(0);
    note(&tx, &quotation_id, "created", Some(&seller.id)).await?;
    tx.commit().await
}

/// The next step of some quotation that is not at its end.
pub async fn advance(db: &mut Client, rng: &mut Rng) -> Result<(), Error> {
    let tx = db.transaction().await?;
    let open = tx
        .query_opt(
            "SELECT id, status::text, seller_id, buyer_id, coalesce(valid_until < now(), false) AS stale FROM trade_quotations
             WHERE status IN ('draft', 'sent', 'viewed', 'accepted', 'deposit_paid', 'balance_due', 'fully_paid')
             ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED",
            &[],
        )
        .await?;
    let Some(row) = open else { return Ok(()) };
    let quotation_id: String = row.get("id");
    let status: String = row.get("status");
    let actor: Option<String> = match status.as_str() {
        "draft" | "fully_paid" => row.get("seller_id"),
        _ => row.get("buyer_id"),
    };
    match next_step(&status, row.get("stale"), rng) {
        Step::Revise => {
            tx.execute(
                "UPDATE trade_quotation_items SET unit_price = round(unit_price * 0.95, 2), line_total = round(unit_price * 0.95, 2) * quantity
                 WHERE quotation_id = $1 AND line_number = 1",
                &[&quotation_id],
            )
            .await?;
            total_up(&tx, &quotation_id).await?;
            note(&tx, &quotation_id, "revised", actor.as_deref()).await?;
        }
        Step::Become(next) => {
            tx.execute(
                "UPDATE trade_quotations SET status = $2::text::trade_quotation_status, updated_at = now() WHERE id = $1",
                &[&quotation_id, &next],
            )
            .await?;
            note(&tx, &quotation_id, next, actor.as_deref()).await?;
        }
    }
    tx.commit().await
}

enum Step {
    Revise,
    Become(&'static str),
}

fn next_step(status: &str, stale: bool, rng: &mut Rng) -> Step {
    if stale && matches!(status, "draft" | "sent" | "viewed") {
        return Step::Become("expired");
    }
    match status {
        "draft" | "sent" if rng.u32(..5) == 0 => Step::Revise,
        "draft" => Step::Become("sent"),
        "sent" => Step::Become("viewed"),
        "viewed" if rng.u32(..3) == 0 => Step::Become("rejected"),
        "viewed" => Step::Become("accepted"),
        "accepted" => Step::Become("deposit_paid"),
        "deposit_paid" => Step::Become("balance_due"),
        "balance_due" => Step::Become("fully_paid"),
        _ => Step::Become("completed"),
    }
}

async fn total_up(tx: &Transaction<'_>, quotation_id: &str) -> Result<(), Error> {
    tx.execute(
        "UPDATE trade_quotations
         SET subtotal = goods, tax_amount = round(goods * 0.1, 2), shipping_amount = 20, total = round(goods * 1.1, 2) + 20,
             deposit_amount = round((goods * 1.1 + 20) * 0.3, 2),
             balance_amount = round(goods * 1.1, 2) + 20 - round((goods * 1.1 + 20) * 0.3, 2), updated_at = now()
         FROM (SELECT coalesce(sum(line_total), 0) AS goods FROM trade_quotation_items WHERE quotation_id = $1) AS items
         WHERE id = $1",
        &[&quotation_id],
    )
    .await?;
    Ok(())
}

async fn note(tx: &Transaction<'_>, quotation_id: &str, event: &str, actor: Option<&str>) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO trade_quotation_events (quotation_id, event_type, performed_by) VALUES ($1, $2, $3)",
        &[&quotation_id, &event, &actor],
    )
    .await?;
    Ok(())
}
