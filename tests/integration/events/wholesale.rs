//! catalog/wholesale.toml: invitations, and orders in both of their shapes.

use serde_json::{Value, json};

use super::{
    cast::{BUYER_1, BUYER_3, BUYER_4, Group, SELLER_1, SELLER_3},
    row::{Row, row},
};

pub fn rows() -> Vec<Row> {
    [invitations(), orders(), payments_of_orders(), shipping_of_orders(), wholesale_orders(), wholesale_payments()]
        .concat()
}

fn invitations() -> Vec<Row> {
    let insert = |email: &str, status: &str| {
        format!(
            "insert into wholesale_invitations (id, seller_id, buyer_email, buyer_name, status)
             values ('invitation-9', 'seller-1', '{email}', 'Chidi', '{status}')"
        )
    };
    let data = |email: &str, more: Value| {
        let mut data = json!({ "invitationId": "invitation-9", "sellerId": "seller-1", "buyerEmail": email });
        for (key, value) in more.as_object().expect("an object") {
            data[key] = value.clone();
        }
        data
    };
    let becomes = |name: &str, email: &str, status: &str| {
        row(name, format!("update wholesale_invitations set status = '{status}' where id = 'invitation-9'"))
            .given(insert(email, "pending"))
    };
    const CHIDI: &str = "buyer-3@example.com";
    const STRANGER: &str = "cafe@example.org";
    vec![
        row("a seller invites a buyer, who hears of it by e-mail", insert(CHIDI, "pending")).heard(
            "wholesale:invitation_sent",
            &[SELLER_1],
            data(CHIDI, json!({ "buyerName": "Chidi" })),
        ),
        becomes("a buyer accepts an invitation", CHIDI, "accepted").heard(
            "wholesale:invitation_accepted",
            &[SELLER_1, BUYER_3],
            data(CHIDI, json!({ "buyerId": "buyer-3" })),
        ),
        becomes("somebody without an account accepts an invitation", STRANGER, "accepted").heard(
            "wholesale:invitation_accepted",
            &[SELLER_1],
            data(STRANGER, json!({ "buyerId": null })),
        ),
        row("an invitation is inserted as accepted", insert(CHIDI, "accepted"))
            .heard("wholesale:invitation_sent", &[SELLER_1], data(CHIDI, json!({ "buyerName": "Chidi" })))
            .heard("wholesale:invitation_accepted", &[SELLER_1, BUYER_3], data(CHIDI, json!({ "buyerId": "buyer-3" }))),
        becomes("a buyer rejects an invitation", CHIDI, "rejected").heard(
            "wholesale:invitation_rejected",
            &[SELLER_1],
            data(CHIDI, json!({})),
        ),
        becomes("a buyer declines an invitation", CHIDI, "declined").heard(
            "wholesale:invitation_rejected",
            &[SELLER_1],
            data(CHIDI, json!({})),
        ),
        becomes("an invitation expires", CHIDI, "expired"),
        row(
            "an invitation gets other terms",
            "update wholesale_invitations set wholesale_terms = '{}' where id = 'invitation-1'",
        ),
        row(
            "an accepted invitation stays accepted",
            "update wholesale_invitations set status = 'accepted' where id = 'invitation-1'",
        ),
        row("an invitation is deleted", "delete from wholesale_invitations where id = 'invitation-1'"),
    ]
}

/// A wholesale order as a row of `orders`: what its columns are, unless a row of the table says otherwise.
#[derive(Clone, Copy)]
struct Order {
    buyer: Option<&'static str>,
    status: &'static str,
    payment: &'static str,
    fulfillment: &'static str,
}

const ORDER: Order =
    Order { buyer: Some("buyer-1"), status: "pending", payment: "pending", fulfillment: "unfulfilled" };
const BOTH: &[Group] = &[SELLER_1, BUYER_1];

impl Order {
    fn insert(self) -> String {
        let Self { status, payment, fulfillment, .. } = self;
        let buyer = self.buyer.map_or("null".to_owned(), |id| format!("'{id}'"));
        format!(
            "insert into orders
               (id, user_id, seller_id, order_type, customer_name, customer_email, total, payment_type, status,
                payment_status, fulfillment_status, deposit_amount_cents, balance_due_cents, shipping_carrier,
                created_at)
             values
               ('order-9', {buyer}, 'seller-1', 'wholesale', 'Ada', 'buyer-1@example.com', 1240, 'deposit', '{status}',
                '{payment}', '{fulfillment}', 37200, 86805, 'Overland', '2026-01-15T10:00:00.000Z')"
        )
    }

    /// An update of this order; `set` is what it sets.
    fn update(self, name: &str, set: &str) -> Row {
        row(name, format!("update orders set {set} where id = 'order-9'")).given(self.insert())
    }

    fn data(self, more: Value) -> Value {
        let mut data = json!({ "orderId": "order-9", "sellerId": "seller-1", "buyerId": self.buyer });
        for (key, value) in more.as_object().expect("an object") {
            data[key] = value.clone();
        }
        data
    }

    fn created(self) -> Value {
        let Self { status, payment, fulfillment, .. } = self;
        self.data(json!({
            "action": "created", "status": status, "paymentStatus": payment, "fulfillmentStatus": fulfillment,
            "total": "1240.00",
        }))
    }

    fn placed(self) -> Value {
        self.data(json!({
            "total": "1240.00", "depositAmount": "372.00", "balanceAmount": "868.05", "paymentTerms": "deposit",
        }))
    }

    /// `order:updated`, which wholesale orders have like all others, once this order has become `new`.
    fn updated(self, new: Self) -> Value {
        self.data(json!({
            "action": "fulfillment", "total": "1240.00", "oldTotal": "1240.00",
            "status": new.status, "oldStatus": self.status,
            "paymentStatus": new.payment, "oldPaymentStatus": self.payment,
            "fulfillmentStatus": new.fulfillment, "oldFulfillmentStatus": self.fulfillment,
        }))
    }

    /// A change of the status, with the two events that it always has.
    fn becomes(self, name: &str, status: &'static str, hearers: &[Group]) -> Row {
        self.update(name, &format!("status = '{status}'"))
            .heard("order:updated", hearers, self.updated(Self { status, ..self }))
            .heard("wholesale:order_updated", hearers, self.data(json!({ "status": status, "oldStatus": self.status })))
    }

    fn shipped(self, tracking: Option<&str>) -> Value {
        json!({ "orderId": "order-9", "buyerId": self.buyer, "trackingNumber": tracking, "carrier": "Overland" })
    }
}

fn orders() -> Vec<Row> {
    let (guest, paid) =
        (Order { buyer: None, ..ORDER }, Order { status: "deposit_paid", payment: "deposit_paid", ..ORDER });
    vec![
        row("a buyer places a wholesale order", ORDER.insert()).heard("order:updated", BOTH, ORDER.created()).heard(
            "wholesale:order_placed",
            BOTH,
            ORDER.placed(),
        ),
        row("a wholesale order is placed for somebody without an account", guest.insert())
            .heard("order:updated", &[SELLER_1], guest.created())
            .heard("wholesale:order_placed", &[SELLER_1], guest.placed()),
        row("a wholesale order is inserted with its deposit paid", paid.insert())
            .heard("order:updated", BOTH, paid.created())
            .heard("wholesale:order_placed", BOTH, paid.placed())
            .heard("wholesale:deposit_paid", BOTH, paid.data(json!({ "amount": "372.00" }))),
        ORDER.becomes("a wholesale order is worked on", "processing", BOTH),
        ORDER.becomes("a wholesale order is made", "in_production", BOTH),
        guest.becomes("a wholesale order of nobody is worked on", "processing", &[SELLER_1]),
        ORDER.update("a wholesale order's address is corrected", "customer_address = '2 Mill Lane'"),
    ]
}

fn payments_of_orders() -> Vec<Row> {
    let paid = |amount: &str| ORDER.data(json!({ "amount": amount }));
    let deposited = Order { payment: "deposit_paid", ..ORDER };
    let awaiting = Order { status: "awaiting_balance", payment: "deposit_paid", ..ORDER };
    vec![
        ORDER.update("the payment status says that the deposit is paid", "payment_status = 'deposit_paid'").heard(
            "wholesale:deposit_paid",
            BOTH,
            paid("372.00"),
        ),
        ORDER.becomes("the status says that the deposit is paid", "deposit_paid", BOTH).heard(
            "wholesale:deposit_paid",
            BOTH,
            paid("372.00"),
        ),
        deposited.becomes("the status says so too, later", "deposit_paid", BOTH),
        deposited.update("the payment status says that the balance is paid", "payment_status = 'fully_paid'").heard(
            "wholesale:balance_paid",
            BOTH,
            paid("868.05"),
        ),
        awaiting.becomes("the status says that all is paid", "paid", BOTH).heard(
            "wholesale:balance_paid",
            BOTH,
            paid("868.05"),
        ),
        deposited
            .update(
                "the balance is booked, and nothing is due any more",
                "payment_status = 'fully_paid', balance_paid_at = now(), balance_due_cents = 0",
            )
            .heard("wholesale:balance_paid", BOTH, paid("868.05")),
        ORDER
            .update("deposit and balance are paid at once", "payment_status = 'fully_paid'")
            .heard("wholesale:deposit_paid", BOTH, paid("372.00"))
            .heard("wholesale:balance_paid", BOTH, paid("868.05")),
        Order { status: "in_production", ..ORDER }
            .update("the deposit is paid of what is in production already", "payment_status = 'deposit_paid'")
            .heard("wholesale:deposit_paid", BOTH, paid("372.00")),
        Order { status: "fulfilled", ..ORDER }
            .update("all is paid of what is fulfilled already", "payment_status = 'fully_paid'")
            .heard("wholesale:deposit_paid", BOTH, paid("372.00"))
            .heard("wholesale:balance_paid", BOTH, paid("868.05")),
        Order { status: "fulfilled", ..ORDER }
            .update("an order without a deposit is paid after it was fulfilled", "payment_status = 'fully_paid'")
            .given(format!(
                "{}; update orders set payment_type = 'full', deposit_amount_cents = null, balance_due_cents = 50000",
                Order { status: "fulfilled", ..ORDER }.insert()
            ))
            .heard("wholesale:balance_paid", BOTH, paid("500.00")),
        Order { status: "fulfilled", payment: "deposit_paid", ..ORDER }
            .update("the balance is paid of what is fulfilled already", "balance_paid_at = now()")
            .heard("wholesale:balance_paid", BOTH, paid("868.05")),
        ORDER
            .update("a deposit is paid of which nobody knows the amount", "payment_status = 'deposit_paid'")
            .given(format!("{}; update orders set deposit_amount_cents = null", ORDER.insert()))
            .heard("wholesale:deposit_paid", BOTH, ORDER.data(json!({ "amount": null }))),
        Order { payment: "fully_paid", ..ORDER }
            .update("the day is noted when the paid balance was paid", "balance_paid_at = now()"),
        ORDER.update("an order without a balance is paid", "payment_status = 'fully_paid'").given(format!(
            "{}; update orders set payment_type = 'full', deposit_amount_cents = null, balance_due_cents = null",
            ORDER.insert()
        )),
        row(
            "a retail order is paid like a wholesale one",
            "update orders set payment_status = 'deposit_paid' where id = 'order-2'",
        ),
    ]
}

fn shipping_of_orders() -> Vec<Row> {
    let guest = Order { buyer: None, ..ORDER };
    let shipped = Order { status: "shipped", ..ORDER };
    let fulfilled = Order { fulfillment: "fulfilled", ..ORDER };
    vec![
        ORDER.becomes("a wholesale order is shipped", "shipped", BOTH).heard(
            "wholesale:order_shipped",
            &[BUYER_1],
            ORDER.shipped(None),
        ),
        ORDER.becomes("a wholesale order is fulfilled", "fulfilled", BOTH).heard(
            "wholesale:order_shipped",
            &[BUYER_1],
            ORDER.shipped(None),
        ),
        ORDER
            .update("a wholesale order's fulfilment is complete", "fulfillment_status = 'fulfilled'")
            .heard("order:updated", BOTH, ORDER.updated(fulfilled))
            .heard("wholesale:order_shipped", &[BUYER_1], ORDER.shipped(None)),
        ORDER
            .update("a wholesale order gets a tracking number", "tracking_number = 'T-1'")
            .heard("order:updated", BOTH, ORDER.updated(ORDER))
            .heard("wholesale:order_shipped", &[BUYER_1], ORDER.shipped(Some("T-1"))),
        ORDER.update("a wholesale order gets an empty tracking number", "tracking_number = ''").heard(
            "order:updated",
            BOTH,
            ORDER.updated(ORDER),
        ),
        ORDER
            .update("a wholesale order's tracking number is corrected", "tracking_number = 'T-2'")
            .given(format!("{}; update orders set tracking_number = 'T-1' where id = 'order-9'", ORDER.insert()))
            .heard("order:updated", BOTH, ORDER.updated(ORDER)),
        shipped.becomes("a shipped wholesale order is delivered", "delivered", BOTH),
        Order { status: "fulfilled", ..ORDER }.becomes("a fulfilled wholesale order is delivered", "delivered", BOTH),
        guest.becomes("a wholesale order of nobody is shipped", "shipped", &[SELLER_1]),
        row("a wholesale order is inserted as shipped", shipped.insert())
            .heard("order:updated", BOTH, shipped.created())
            .heard("wholesale:order_placed", BOTH, shipped.placed())
            .heard("wholesale:order_shipped", &[BUYER_1], shipped.shipped(None)),
    ]
}

const TRACKED: &str = "alter table wholesale_orders add column tracking_number text, add column shipping_carrier text";

/// `wholesale_orders`: wholesale-1 is what buyer-4 ordered from seller-3.
fn wholesale_orders() -> Vec<Row> {
    const PARTIES: &[Group] = &[SELLER_3, BUYER_4];
    let insert = |status: &str| {
        format!(
            "insert into wholesale_orders
               (id, order_number, seller_id, buyer_id, status, subtotal_cents, total_cents,
                deposit_amount_cents, balance_amount_cents)
             values ('wholesale-9', 'W-9', 'seller-3', 'buyer-4', '{status}', 50000, 50005, 0, 50005)"
        )
    };
    let placed = json!({
        "orderId": "wholesale-9", "sellerId": "seller-3", "buyerId": "buyer-4", "total": "500.05",
        "depositAmount": "0.00", "balanceAmount": "500.05", "paymentTerms": "Net 30",
    });
    let shipped = |id: &str| json!({ "orderId": id, "buyerId": "buyer-4", "trackingNumber": null, "carrier": null });
    let becomes = |name: &str, status: &str| {
        row(
            name,
            format!("update wholesale_orders set status = '{status}', updated_at = now() where id = 'wholesale-1'"),
        )
        .heard(
            "wholesale:order_updated",
            PARTIES,
            json!({
                "orderId": "wholesale-1", "sellerId": "seller-3", "buyerId": "buyer-4",
                "status": status, "oldStatus": "pending",
            }),
        )
    };
    vec![
        row("an order is placed in wholesale_orders", insert("pending")).heard(
            "wholesale:order_placed",
            PARTIES,
            placed.clone(),
        ),
        row("an order is inserted into wholesale_orders as fulfilled", insert("fulfilled"))
            .heard("wholesale:order_placed", PARTIES, placed)
            .heard("wholesale:order_shipped", &[BUYER_4], shipped("wholesale-9")),
        becomes("an order in wholesale_orders is made", "in_production"),
        // The payment's own row says that it is paid.
        becomes("an order in wholesale_orders has its deposit", "deposit_paid"),
        becomes("an order in wholesale_orders is fulfilled", "fulfilled").heard(
            "wholesale:order_shipped",
            &[BUYER_4],
            shipped("wholesale-1"),
        ),
        row(
            "an order in wholesale_orders gets a tracking number, in a version that has one",
            "update wholesale_orders set tracking_number = 'T-1', shipping_carrier = 'Overland' where id = 'wholesale-1'",
        )
        .given(TRACKED)
        .heard(
            "wholesale:order_shipped",
            &[BUYER_4],
            json!({ "orderId": "wholesale-1", "buyerId": "buyer-4", "trackingNumber": "T-1", "carrier": "Overland" }),
        ),
        row(
            "the tracking number of an order in wholesale_orders is corrected",
            "update wholesale_orders set tracking_number = 'T-2' where id = 'wholesale-1'",
        )
        .given(format!("{TRACKED}; update wholesale_orders set tracking_number = 'T-1'")),
        row(
            "an order in wholesale_orders is touched",
            "update wholesale_orders set updated_at = now() where id = 'wholesale-1'",
        ),
    ]
}

fn wholesale_payments() -> Vec<Row> {
    const PARTIES: &[Group] = &[SELLER_3, BUYER_4];
    let paid = |amount: &str| {
        json!({
            "orderId": "wholesale-1", "sellerId": "seller-3", "buyerId": "buyer-4", "amount": amount,
        })
    };
    let becomes = |name: &str, payment: &str, status: &str| {
        row(name, format!("update wholesale_payments set status = '{status}' where id = '{payment}'"))
    };
    vec![
        becomes("the payment of a deposit is paid", "payment-1", "paid").heard(
            "wholesale:deposit_paid",
            PARTIES,
            paid("372.00"),
        ),
        becomes("the payment of a deposit is paid, just after the order went to another buyer", "payment-1", "paid")
            .given("update wholesale_orders set buyer_id = 'buyer-3'")
            .heard(
                "wholesale:deposit_paid",
                &[SELLER_3, BUYER_3],
                json!({
                    "orderId": "wholesale-1", "sellerId": "seller-3", "buyerId": "buyer-3", "amount": "372.00",
                }),
            ),
        becomes("the payment of a balance is paid", "payment-2", "paid").heard(
            "wholesale:balance_paid",
            PARTIES,
            paid("868.00"),
        ),
        row(
            "a payment is inserted as paid",
            "insert into wholesale_payments (wholesale_order_id, payment_type, status, amount_cents)
             values ('wholesale-1', 'deposit', 'paid', 5)",
        )
        .heard("wholesale:deposit_paid", PARTIES, paid("0.05")),
        becomes("a payment is requested", "payment-2", "requested"),
        becomes("a payment fails", "payment-1", "failed"),
        row(
            "a payment that is paid gets its date",
            "update wholesale_payments set paid_at = now() where id = 'payment-1'",
        )
        .given("update wholesale_payments set status = 'paid' where id = 'payment-1'"),
    ]
}
