//! catalog/notifications.toml: what comes into whose inbox, and what is heard of it. Every inbox is empty at first.

use serde_json::{Value, json};

use super::{
    cast::{
        ADMIN_1, BUYER_1, BUYER_2, BUYER_3, BUYER_4, Group, HELPER_1, OTHERS_1, SELLER_1, SELLER_2, SELLER_3,
        USER_SELLER_1, USER_SELLER_3,
    },
    compare::GENERATED,
    row::{Row, row},
};

const OF_INBOXES: &[&str] = &["notification:"];

const ORDER: &str = "notification:order";
const PAYMENT: &str = "notification:payment";
const SHIPPING: &str = "notification:shipping";
const WHOLESALE: &str = "notification:wholesale";
const QUOTATION: &str = "notification:quotation";
const SYSTEM: &str = "notification:system";

pub fn rows() -> Vec<Row> {
    [
        orders(),
        payments(),
        shipping(),
        invitations(),
        wholesale_as_orders(),
        wholesale_orders(),
        quotations(),
        announcements(),
        written_by_hand(),
        read_and_deleted(),
    ]
    .concat()
}

/// A change, and what comes of it in the inboxes.
fn news(name: &str, statement: impl Into<String>) -> Row {
    row(name, statement).speaking_of(OF_INBOXES)
}

/// Order-1: seller-1 sold two mugs for 48.00 to buyer-1, and all of it is paid.
const ORDER_1: [&str; 2] = ["order", "order-1"];
/// Order-2: seller-2 sold a towel for 38.00 to buyer-2, and nothing of it is paid.
const ORDER_2: [&str; 2] = ["order", "order-2"];
const ORDER_9: [&str; 2] = ["order", "order-9"];

fn order_1(name: &str, set: &str) -> Row {
    news(name, format!("update orders set {set} where id = 'order-1'"))
}

fn order_2(name: &str, set: &str) -> Row {
    news(name, format!("update orders set {set} where id = 'order-2'"))
}

/// An order of buyer-1's at seller-1.
fn placed(columns: &str, values: &str) -> String {
    format!(
        "insert into orders (id, user_id, seller_id, customer_name, customer_email, total, created_at{columns})
         values ('order-9', 'buyer-1', 'seller-1', 'Ada', 'buyer-1@example.com', 24, '2026-01-15'{values})"
    )
}

fn orders() -> Vec<Row> {
    vec![
        news("a buyer orders, and both are notified", placed("", ""))
            .notified(ORDER, &[BUYER_1], ["Order placed", "Your order of 24.00 USD has been placed."], ORDER_9, 1)
            .notified(ORDER, &[SELLER_1], ["New order", "You have a new order of 24.00 USD from Ada."], ORDER_9, 1),
        news(
            "a guest orders, and the seller is notified",
            "insert into orders (id, seller_id, customer_name, customer_email, total, created_at)
             values ('order-9', 'seller-1', 'Ada', 'buyer-1@example.com', 24, '2026-01-15')",
        )
        .notified(ORDER, &[SELLER_1], ["New order", "You have a new order of 24.00 USD from Ada."], ORDER_9, 1),
        news("a buyer orders, who has something unread already", placed("", ""))
            .given(
                "insert into rowcast.notification (user_id, title) values ('buyer-1', 'One'), ('buyer-1', 'Two');
                 insert into rowcast.notification (user_id, title, read_at) values ('seller-1', 'Read', now())",
            )
            .notified(ORDER, &[BUYER_1], ["Order placed", "Your order of 24.00 USD has been placed."], ORDER_9, 3)
            .notified(ORDER, &[SELLER_1], ["New order", "You have a new order of 24.00 USD from Ada."], ORDER_9, 1),
        order_1("an order's status changes", "status = 'ready_to_release'")
            .notified(ORDER, &[BUYER_1], ["Order updated", "Your order of 48.00 USD is now ready to go."], ORDER_1, 1)
            .notified(ORDER, &[SELLER_1], ["Order updated", "An order of 48.00 USD is now ready to go."], ORDER_1, 1),
        order_1("an order's status of the other version changes", "status = 'awaiting_payment'")
            .notified(
                ORDER,
                &[BUYER_1],
                ["Order updated", "Your order of 48.00 USD is waiting for payment."],
                ORDER_1,
                1,
            )
            .notified(
                ORDER,
                &[SELLER_1],
                ["Order updated", "An order of 48.00 USD is waiting for payment."],
                ORDER_1,
                1,
            ),
        order_1("an order gets a status of several words that nobody has words for", "status = 'on_the_bench'")
            .notified(ORDER, &[BUYER_1], ["Order updated", "Your order of 48.00 USD has been updated."], ORDER_1, 1)
            .notified(ORDER, &[SELLER_1], ["Order updated", "An order of 48.00 USD has been updated."], ORDER_1, 1),
        order_1("an order gets a status that nobody has words for", "status = 'engraved'")
            .notified(ORDER, &[BUYER_1], ["Order updated", "Your order of 48.00 USD is now engraved."], ORDER_1, 1)
            .notified(ORDER, &[SELLER_1], ["Order updated", "An order of 48.00 USD is now engraved."], ORDER_1, 1),
        order_2("an order is cancelled", "status = 'cancelled'")
            .notified(ORDER, &[BUYER_2], ["Order cancelled", "Your order of 38.00 USD has been cancelled."], ORDER_2, 1)
            .notified(ORDER, &[SELLER_2], ["Order cancelled", "An order of 38.00 USD has been cancelled."], ORDER_2, 1),
        order_1("an order's address changes, which is no news", "customer_address = '2 Mill Lane'"),
        order_1("an order is written as it was, which is no news", "status = status"),
        news("an order is deleted, which is no news", "delete from orders where id = 'order-1'"),
    ]
}

fn payments() -> Vec<Row> {
    let received = |row: Row, what: &str, title: &str, amount: &str, unread: u32| {
        let to_buyer = format!("Your {what} of {amount} USD has been received. Thank you!");
        let to_seller = format!("A {what} of {amount} USD has been received.");
        row.notified(PAYMENT, &[BUYER_2], [title, &to_buyer], ORDER_2, unread).notified(
            PAYMENT,
            &[SELLER_2],
            [title, &to_seller],
            ORDER_2,
            unread,
        )
    };
    let refunded = |row: Row, how: &str| {
        let (to_buyer, to_seller) =
            (format!("Your order of 48.00 USD has been {how}."), format!("An order of 48.00 USD has been {how}."));
        row.notified(ORDER, &[BUYER_1], ["Order refunded", &to_buyer], ORDER_1, 2)
            .notified(ORDER, &[SELLER_1], ["Order refunded", &to_seller], ORDER_1, 2)
            .notified(PAYMENT, &[BUYER_1], ["Refund issued", &to_buyer], ORDER_1, 2)
            .notified(PAYMENT, &[SELLER_1], ["Refund issued", &to_seller], ORDER_1, 2)
    };
    const DEPOSIT: &str = "update orders set amount_paid = 8, payment_status = 'deposit_paid', payment_type = 'deposit'
        where id = 'order-2'";
    vec![
        received(
            order_2("an order is paid, and both are notified", "amount_paid = 38, payment_status = 'fully_paid'"),
            "payment",
            "Payment received",
            "38.00",
            1,
        ),
        received(
            order_2("a deposit is paid, and both are notified", "amount_paid = 8, payment_status = 'deposit_paid'"),
            "deposit",
            "Deposit received",
            "8.00",
            1,
        ),
        received(
            order_2("a balance is paid, and both are notified", "amount_paid = 38, payment_status = 'fully_paid'")
                .given(DEPOSIT),
            "balance",
            "Balance received",
            "30.00",
            // Each was notified of the deposit.
            2,
        ),
        refunded(order_1("an order is refunded, and both are notified", "payment_status = 'refunded'"), "refunded"),
        refunded(
            order_1("a part of an order is refunded", "payment_status = 'partially_refunded'"),
            "refunded in part",
        ),
        refunded(order_1("an order's status is refunded", "status = 'refunded'"), "refunded"),
    ]
}

fn shipping() -> Vec<Row> {
    let moved = |row: Row, now: &str, unread: u32| {
        let (to_buyer, to_seller) =
            (format!("Your order of 48.00 USD is now {now}."), format!("An order of 48.00 USD is now {now}."));
        row.notified(ORDER, &[BUYER_1], ["Order updated", &to_buyer], ORDER_1, unread).notified(
            ORDER,
            &[SELLER_1],
            ["Order updated", &to_seller],
            ORDER_1,
            1,
        )
    };
    vec![
        moved(order_1("a parcel is sent, and the buyer is notified", "status = 'shipped'"), "on its way", 2).notified(
            SHIPPING,
            &[BUYER_1],
            ["Order shipped", "Your order of 48.00 USD is on its way."],
            ORDER_1,
            2,
        ),
        {
            let row = order_1("a parcel is sent, as the other version says it", "status = 'fulfilled'");
            row.notified(ORDER, &[BUYER_1], ["Order updated", "Your order of 48.00 USD has been sent."], ORDER_1, 2)
                .notified(ORDER, &[SELLER_1], ["Order updated", "An order of 48.00 USD has been sent."], ORDER_1, 1)
                .notified(SHIPPING, &[BUYER_1], ["Order shipped", "Your order of 48.00 USD has been sent."], ORDER_1, 2)
        },
        order_1("a tracking number appears", "tracking_number = 'T-1', shipping_carrier = 'Overland'").notified(
            SHIPPING,
            &[BUYER_1],
            ["Tracking number added", "Your order of 48.00 USD can be followed with Overland, tracking number T-1."],
            ORDER_1,
            1,
        ),
        moved(order_1("a parcel is delivered", "status = 'delivered'"), "delivered", 2).notified(
            SHIPPING,
            &[BUYER_1],
            ["Order delivered", "Your order of 48.00 USD has been delivered."],
            ORDER_1,
            2,
        ),
        order_1("a tracking number is corrected, which is no news", "tracking_number = 'T-2'").given(
            "alter table orders disable trigger user; update orders set tracking_number = 'T-1' where id = 'order-1';
                    alter table orders enable trigger user",
        ),
    ]
}

fn invitations() -> Vec<Row> {
    let insert = |email: &str, name: &str| {
        format!(
            "insert into wholesale_invitations (id, seller_id, buyer_email, buyer_name)
             values ('invitation-9', 'seller-1', '{email}', {name})"
        )
    };
    const INVITATION: [&str; 2] = ["invitation", "invitation-9"];
    let becomes = |name: &str, status: &str| {
        news(name, format!("update wholesale_invitations set status = '{status}' where id = 'invitation-9'"))
            .given(insert("buyer-3@example.com", "'Chidi'"))
    };
    vec![
        news("an invitation is sent, and the seller is notified", insert("cafe@example.org", "null")).notified(
            WHOLESALE,
            &[SELLER_1],
            ["Invitation sent", "Your wholesale invitation to cafe@example.org has been sent."],
            INVITATION,
            1,
        ),
        news(
            "an invitation is sent to somebody with an account, and both are notified",
            insert("Buyer-3@Example.com", "'Chidi'"),
        )
        .notified(
            WHOLESALE,
            &[SELLER_1],
            ["Invitation sent", "Your wholesale invitation to Chidi has been sent."],
            INVITATION,
            1,
        )
        .notified(
            WHOLESALE,
            &[BUYER_3],
            ["Wholesale invitation", "You have been invited to order wholesale."],
            INVITATION,
            1,
        ),
        becomes("an invitation is accepted, and both are notified", "accepted")
            .notified(
                WHOLESALE,
                &[SELLER_1],
                ["Invitation accepted", "Chidi has accepted your wholesale invitation."],
                INVITATION,
                2,
            )
            .notified(
                WHOLESALE,
                &[BUYER_3],
                ["Welcome to wholesale", "You have accepted a wholesale invitation."],
                INVITATION,
                2,
            ),
        becomes("an invitation is declined, and both are notified", "declined")
            .notified(
                WHOLESALE,
                &[SELLER_1],
                ["Invitation declined", "Chidi has declined your wholesale invitation."],
                INVITATION,
                2,
            )
            .notified(
                WHOLESALE,
                &[BUYER_3],
                ["Invitation declined", "You have declined a wholesale invitation."],
                INVITATION,
                2,
            ),
        becomes("an invitation expires, which is no news", "expired"),
    ]
}

fn wholesale_as_orders() -> Vec<Row> {
    let terms = |status: &str| {
        placed(
            ", order_type, payment_type, deposit_amount_cents, balance_due_cents, payment_status",
            &format!(", 'wholesale', 'deposit', 800, 1600, '{status}'"),
        )
    };
    // Those of the order itself stand in the sample, silently: see `given` below.
    let update = |name: &str, payment_status: &str, set: &str| {
        news(name, format!("update orders set {set} where id = 'order-9'")).given(format!(
            "set session_replication_role = replica; {}; set session_replication_role = origin",
            terms(payment_status)
        ))
    };
    vec![
        news("a buyer orders wholesale, and both are notified of an order and of wholesale", terms("pending"))
            .notified(ORDER, &[BUYER_1], ["Order placed", "Your order of 24.00 USD has been placed."], ORDER_9, 2)
            .notified(ORDER, &[SELLER_1], ["New order", "You have a new order of 24.00 USD from Ada."], ORDER_9, 2)
            .notified(
                WHOLESALE,
                &[BUYER_1],
                ["Wholesale order placed", "Your wholesale order of 24.00 USD has been placed."],
                ORDER_9,
                2,
            )
            .notified(
                WHOLESALE,
                &[SELLER_1],
                ["New wholesale order", "You have a new wholesale order of 24.00 USD."],
                ORDER_9,
                2,
            ),
        update("the deposit of a wholesale order is paid", "pending", "payment_status = 'deposit_paid'")
            .notified(
                PAYMENT,
                &[BUYER_1],
                ["Deposit received", "Your deposit of 8.00 USD has been received. Thank you!"],
                ORDER_9,
                2,
            )
            .notified(
                PAYMENT,
                &[SELLER_1],
                ["Deposit received", "A deposit of 8.00 USD has been received."],
                ORDER_9,
                2,
            )
            .notified(
                WHOLESALE,
                &[BUYER_1],
                ["Deposit received", "The deposit of your wholesale order of 24.00 USD has been received."],
                ORDER_9,
                2,
            )
            .notified(
                WHOLESALE,
                &[SELLER_1],
                ["Deposit received", "The deposit of a wholesale order of 24.00 USD has been received."],
                ORDER_9,
                2,
            ),
        update("the balance of a wholesale order is paid", "deposit_paid", "payment_status = 'fully_paid'")
            .notified(
                PAYMENT,
                &[BUYER_1],
                ["Balance received", "Your balance of 16.00 USD has been received. Thank you!"],
                ORDER_9,
                2,
            )
            .notified(
                PAYMENT,
                &[SELLER_1],
                ["Balance received", "A balance of 16.00 USD has been received."],
                ORDER_9,
                2,
            )
            .notified(
                WHOLESALE,
                &[BUYER_1],
                ["Balance received", "The balance of your wholesale order of 24.00 USD has been received."],
                ORDER_9,
                2,
            )
            .notified(
                WHOLESALE,
                &[SELLER_1],
                ["Balance received", "The balance of a wholesale order of 24.00 USD has been received."],
                ORDER_9,
                2,
            ),
        update("a wholesale order is paid in full at once", "pending", "payment_status = 'fully_paid'")
            .notified(
                PAYMENT,
                &[BUYER_1],
                ["Payment received", "Your payment of 24.00 USD has been received. Thank you!"],
                ORDER_9,
                2,
            )
            .notified(
                PAYMENT,
                &[SELLER_1],
                ["Payment received", "A payment of 24.00 USD has been received."],
                ORDER_9,
                2,
            )
            .notified(
                WHOLESALE,
                &[BUYER_1],
                ["Payment received", "The payment of your wholesale order of 24.00 USD has been received."],
                ORDER_9,
                2,
            )
            .notified(
                WHOLESALE,
                &[SELLER_1],
                ["Payment received", "The payment of a wholesale order of 24.00 USD has been received."],
                ORDER_9,
                2,
            ),
        update("a wholesale order gets a tracking number, and both are notified", "pending", "tracking_number = 'T-1'")
            .notified(
                SHIPPING,
                &[BUYER_1],
                ["Tracking number added", "Your order of 24.00 USD can be followed, tracking number T-1."],
                ORDER_9,
                2,
            )
            .notified(
                WHOLESALE,
                &[BUYER_1],
                ["Wholesale order shipped", "Your wholesale order of 24.00 USD is on its way."],
                ORDER_9,
                2,
            )
            .notified(
                WHOLESALE,
                &[SELLER_1],
                ["Wholesale order shipped", "A wholesale order of 24.00 USD is on its way."],
                ORDER_9,
                1,
            ),
        update(
            "a wholesale order's fulfilment is complete, and both are notified",
            "pending",
            "fulfillment_status = 'fulfilled'",
        )
        .notified(
            WHOLESALE,
            &[SELLER_1],
            ["Wholesale order shipped", "A wholesale order of 24.00 USD is on its way."],
            ORDER_9,
            1,
        )
        .notified(SHIPPING, &[BUYER_1], ["Order shipped", "Your order of 24.00 USD is on its way."], ORDER_9, 2)
        .notified(
            WHOLESALE,
            &[BUYER_1],
            ["Wholesale order shipped", "Your wholesale order of 24.00 USD is on its way."],
            ORDER_9,
            2,
        ),
    ]
}

/// Wholesale-1: buyer-4 ordered for 1240.00 from seller-3.
fn wholesale_orders() -> Vec<Row> {
    const ORDER: [&str; 2] = ["wholesale_order", "wholesale-1"];
    const NEW: [&str; 2] = ["wholesale_order", "wholesale-9"];
    let paid = |name: &str, payment: &str, what: &str, amount: &str| {
        let title = format!("{}{} received", what[..1].to_uppercase(), &what[1..]);
        let row = news(name, format!("update wholesale_payments set status = 'paid' where id = '{payment}'"));
        row.notified(
            PAYMENT,
            &[BUYER_4],
            [&title, &format!("Your {what} of {amount} USD has been received. Thank you!")],
            ORDER,
            2,
        )
        .notified(PAYMENT, &[SELLER_3], [&title, &format!("A {what} of {amount} USD has been received.")], ORDER, 2)
        .notified(
            WHOLESALE,
            &[BUYER_4],
            [&title, &format!("The {what} of {amount} USD of your wholesale order has been received.")],
            ORDER,
            2,
        )
        .notified(
            WHOLESALE,
            &[SELLER_3],
            [&title, &format!("The {what} of {amount} USD of a wholesale order has been received.")],
            ORDER,
            2,
        )
    };
    vec![
        news(
            "an order is placed in wholesale_orders, and both are notified",
            "insert into wholesale_orders
               (id, order_number, seller_id, buyer_id, subtotal_cents, total_cents, deposit_amount_cents,
                balance_amount_cents)
             values ('wholesale-9', 'W-9', 'seller-3', 'buyer-4', 50000, 50005, 0, 50005)",
        )
        .notified(
            WHOLESALE,
            &[BUYER_4],
            ["Wholesale order placed", "Your wholesale order of 500.05 USD has been placed."],
            NEW,
            1,
        )
        .notified(
            WHOLESALE,
            &[SELLER_3],
            ["New wholesale order", "You have a new wholesale order of 500.05 USD."],
            NEW,
            1,
        ),
        news(
            "an order in wholesale_orders is made, and both are notified",
            "update wholesale_orders set status = 'in_production' where id = 'wholesale-1'",
        )
        .notified(
            WHOLESALE,
            &[BUYER_4],
            ["Wholesale order updated", "Your wholesale order of 1240.00 USD is now being made."],
            ORDER,
            1,
        )
        .notified(
            WHOLESALE,
            &[SELLER_3],
            ["Wholesale order updated", "A wholesale order of 1240.00 USD is now being made."],
            ORDER,
            1,
        ),
        news(
            "an order in wholesale_orders is fulfilled, and both are notified",
            "update wholesale_orders set status = 'fulfilled' where id = 'wholesale-1'",
        )
        .notified(
            SHIPPING,
            &[BUYER_4],
            ["Order shipped", "Your wholesale order of 1240.00 USD has been sent."],
            ORDER,
            2,
        )
        .notified(
            WHOLESALE,
            &[BUYER_4],
            ["Wholesale order shipped", "Your wholesale order of 1240.00 USD has been sent."],
            ORDER,
            2,
        )
        .notified(
            WHOLESALE,
            &[SELLER_3],
            ["Wholesale order updated", "A wholesale order of 1240.00 USD has been sent."],
            ORDER,
            1,
        ),
        news(
            "an order in wholesale_orders gets a tracking number, and both are notified",
            "update wholesale_orders set tracking_number = 'T-1' where id = 'wholesale-1'",
        )
        .given("alter table wholesale_orders add column tracking_number text")
        .notified(
            SHIPPING,
            &[BUYER_4],
            ["Order shipped", "Your wholesale order of 1240.00 USD is on its way, tracking number T-1."],
            ORDER,
            2,
        )
        .notified(
            WHOLESALE,
            &[BUYER_4],
            ["Wholesale order shipped", "Your wholesale order of 1240.00 USD is on its way."],
            ORDER,
            2,
        )
        .notified(
            WHOLESALE,
            &[SELLER_3],
            ["Wholesale order shipped", "A wholesale order of 1240.00 USD is on its way."],
            ORDER,
            1,
        ),
        paid("the payment of a deposit is paid, and both are notified", "payment-1", "deposit", "372.00"),
        paid("the payment of a balance is paid, and both are notified", "payment-2", "balance", "868.00"),
    ]
}

/// The side that did not act; of an expiry, both.
fn quotations() -> Vec<Row> {
    const OF_BUYER_2: [&str; 2] = ["quotation", "quotation-1"];
    const OF_BUYER_3: [&str; 2] = ["quotation", "quotation-2"];
    let becomes = |name: &str, [_, id]: [&str; 2], status: &str| {
        news(name, format!("update trade_quotations set status = '{status}' where id = '{id}'"))
    };
    let to_seller = |row: Row, title: &str, what: &str| {
        let body = format!("Your quotation Q-1001 has been {what}.");
        row.notified(QUOTATION, &[SELLER_1], [title, &body], OF_BUYER_2, 1)
    };
    let expired = |row: Row| {
        row.notified(QUOTATION, &[SELLER_1], ["Quotation expired", "Your quotation Q-1001 has expired."], OF_BUYER_2, 1)
            .notified(
                QUOTATION,
                &[BUYER_2],
                ["Quotation expired", "The quotation Q-1001 that you received has expired."],
                OF_BUYER_2,
                1,
            )
    };
    vec![
        becomes("a quotation is sent, and the buyer is notified, who is known by e-mail", OF_BUYER_3, "sent").notified(
            QUOTATION,
            &[BUYER_3],
            ["New quotation", "You have received quotation Q-1002 over 272.00 USD."],
            OF_BUYER_3,
            1,
        ),
        to_seller(
            becomes("a quotation is viewed, and the seller is notified", OF_BUYER_2, "viewed"),
            "Quotation viewed",
            "viewed by buyer-2@example.com",
        ),
        to_seller(
            becomes("a quotation is accepted, and the seller is notified", OF_BUYER_2, "accepted"),
            "Quotation accepted",
            "accepted by buyer-2@example.com",
        ),
        to_seller(
            becomes("a quotation is rejected, and the seller is notified", OF_BUYER_2, "rejected"),
            "Quotation declined",
            "declined by buyer-2@example.com",
        ),
        to_seller(
            becomes("a quotation is cancelled, whoever did it, and both are notified", OF_BUYER_2, "cancelled"),
            "Quotation cancelled",
            "cancelled",
        )
        .notified(
            QUOTATION,
            &[BUYER_2],
            ["Quotation cancelled", "The quotation Q-1001 that you received has been cancelled."],
            OF_BUYER_2,
            1,
        ),
        expired(becomes("a quotation expires, and both are notified", OF_BUYER_2, "expired")),
        expired(
            news(
                "the time of a quotation runs out, and both are notified",
                "update trade_quotations set valid_until = now() - interval '1 second' where id = 'quotation-1'",
            )
            .awaited(),
        ),
        becomes("a draft is cancelled, which is no news to anybody", OF_BUYER_3, "cancelled"),
        news(
            "a quotation is begun, which is no news to anybody",
            "insert into trade_quotations (seller_id, buyer_email, quotation_number)
             values ('seller-1', 'buyer-3@example.com', 'Q-9')",
        ),
    ]
}

/// All for whom an announcement is have theirs.
const ANNOUNCED: &str =
    "select coalesce(bool_and(told_at is not null), true) from rowcast.notification where audience is not null";

fn announcements() -> Vec<Row> {
    const SELLERS: &[Group] = &[USER_SELLER_1, HELPER_1, SELLER_2, USER_SELLER_3, ADMIN_1];
    const BUYERS: &[Group] = &[BUYER_1, BUYER_2, BUYER_3, BUYER_4];
    let announce = |name: &str, audience: &str, by: &[Group]| {
        news(
            name,
            format!(
                r#"insert into rowcast.notification (audience, title, body, subject)
                   values ('{audience}', 'Closed on Monday', 'Orders are sent on Tuesday.',
                           '{{"type": "page", "id": "closed"}}')"#
            ),
        )
        .until(ANNOUNCED)
        .notified(SYSTEM, by, ["Closed on Monday", "Orders are sent on Tuesday."], ["page", "closed"], 1)
    };
    vec![
        announce("all are told something", "all", &[SELLERS, BUYERS].concat()),
        announce("all sellers are told something, and those who work for them", "sellers", SELLERS),
        announce("all buyers are told something", "buyers", BUYERS),
    ]
}

fn written_by_hand() -> Vec<Row> {
    let data = json!({ "notificationId": GENERATED, "title": "Hello", "body": "", "subject": null, "unread": 1 });
    let mut rows: Vec<Row> = [ORDER, PAYMENT, SHIPPING, WHOLESALE, QUOTATION, SYSTEM]
        .map(|event| {
            let kind = event.split_once(':').expect("a kind").1;
            let insert = format!(
                "insert into rowcast.notification (user_id, kind, title) values ('buyer-1', '{kind}', 'Hello')"
            );
            news(&format!("a notification of the kind {kind} is written with SQL"), insert).heard(
                event,
                &[BUYER_1],
                data.clone(),
            )
        })
        .into();
    rows.extend([
        news(
            "a notification for a store is written with SQL, and all at its dashboard hear it",
            "insert into rowcast.notification (user_id, seller_id, title) values ('seller-1', 'seller-1', 'Hello')",
        )
        .heard(SYSTEM, &[USER_SELLER_1], data)
        .heard(
            SYSTEM,
            &[OTHERS_1],
            json!({ "notificationId": GENERATED, "title": "Hello", "body": "", "subject": null }),
        ),
        news(
            "a notification is written as read",
            "insert into rowcast.notification (user_id, title, read_at) values ('buyer-1', 'Hello', now())",
        ),
        news(
            "a notification of a kind that nobody knows is written",
            "insert into rowcast.notification (user_id, kind, title) values ('buyer-1', 'weather', 'Rain')",
        ),
    ]);
    rows
}

fn read_and_deleted() -> Vec<Row> {
    const THREE: &str = "
        insert into rowcast.notification (id, user_id, seller_id, title, read_at) values
          ('one', 'buyer-1', null, 'One', null), ('two', 'buyer-1', null, 'Two', null),
          ('old', 'buyer-1', null, 'Old', now()), ('of-2', 'buyer-2', null, 'Two', null),
          ('store', 'seller-1', 'seller-1', 'Store', null)";
    let data = |id: &str, unread: u32| json!({ "notificationId": id, "unread": unread });
    let reads = |name: &str, id: &str| {
        news(name, format!("update rowcast.notification set read_at = now() where id = '{id}'")).given(THREE)
    };
    let deletes =
        |name: &str, id: &str| news(name, format!("delete from rowcast.notification where id = '{id}'")).given(THREE);
    let heard = |row: Row, event: &'static str, by: Group, data: Value| row.heard(event, &[by], data);
    vec![
        heard(reads("a notification is marked as read with SQL", "one"), "notification:read", BUYER_1, data("one", 1)),
        heard(
            reads("a store's notification is marked as read, which is its owner's business", "store"),
            "notification:read",
            USER_SELLER_1,
            data("store", 0),
        ),
        reads("a notification is marked as read again", "old"),
        news("a notification is marked as unread", "update rowcast.notification set read_at = null where id = 'old'")
            .given(THREE),
        news("a notification's words change", "update rowcast.notification set title = 'Won' where id = 'one'")
            .given(THREE),
        heard(
            deletes("an unread notification is deleted with SQL", "one"),
            "notification:deleted",
            BUYER_1,
            data("one", 1),
        ),
        heard(
            deletes("a read notification is deleted with SQL", "old"),
            "notification:deleted",
            BUYER_1,
            data("old", 2),
        ),
        heard(
            deletes("another's notification is deleted with SQL", "of-2"),
            "notification:deleted",
            BUYER_2,
            data("of-2", 0),
        ),
        news(
            "an announcement is deleted, which was told by the rows that it made",
            "delete from rowcast.notification where audience = 'all'",
        )
        .given("insert into rowcast.notification (audience, title) values ('all', 'Hello')")
        .once(ANNOUNCED),
    ]
}
