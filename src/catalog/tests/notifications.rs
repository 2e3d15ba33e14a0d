//! notifications.toml: what is written into inboxes, and what clients hear of it.

use super::marketplace::{OTHER_TIME, TOLD_TIME, data, evaluated, heard, notified};

const NOTHING: [&str; 0] = [];

async fn of_orders(old: &str, new: &str) -> Vec<String> {
    notified("orders", Some(old), Some(new)).await
}

/// The notifications of one kind.
fn only(kind: &str, lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| line.split(' ').next() == Some(kind)).collect()
}

#[tokio::test]
async fn an_order_is_told_to_its_buyer_and_its_seller() {
    let placed = r#""currency":"USD""#;
    assert_eq!(
        notified("orders", None, Some(placed)).await,
        [
            "order user:b: Order placed: Your order of 48.00 USD has been placed.",
            "order seller:s: New order: You have a new order of 48.00 USD.",
        ]
    );
    let named = r#""currency":null,"customer_name":"Ada","user_id":null"#;
    assert_eq!(
        notified("orders", None, Some(named)).await,
        ["order seller:s: New order: You have a new order of 48.00 from Ada."]
    );
}

#[tokio::test]
async fn a_change_of_an_order_makes_one_notification_of_a_kind_for_a_person() {
    for (old, new, expected) in [
        ("", r#""status":"processing""#, "Order updated: Your order of 48.00 is now being prepared."),
        ("", r#""status":"ready_for_pickup""#, "Order updated: Your order of 48.00 has been updated."),
        ("", r#""status":"engraved""#, "Order updated: Your order of 48.00 is now engraved."),
        ("", r#""status":"cancelled""#, "Order cancelled: Your order of 48.00 has been cancelled."),
        (
            "",
            r#""status":"cancelled","payment_status":"refunded""#,
            "Order cancelled: Your order of 48.00 has been cancelled.",
        ),
        (
            "",
            r#""status":"refunded","payment_status":"refunded""#,
            "Order refunded: Your order of 48.00 has been refunded.",
        ),
        (
            r#""payment_status":"partially_refunded""#,
            r#""payment_status":"refunded""#,
            "Order refunded: Your order of 48.00 has been refunded.",
        ),
        (
            "",
            r#""payment_status":"partially_refunded""#,
            "Order refunded: Your order of 48.00 has been refunded in part.",
        ),
    ] {
        let of_buyer: Vec<_> =
            only("order", of_orders(old, new).await).into_iter().filter(|line| line.contains(" user:b")).collect();
        assert_eq!(of_buyer, [format!("order user:b: {expected}")], "{old} to {new}");
    }
    // The second half of a refund that was told already, and what no buyer cares for.
    for (old, new) in [
        (r#""payment_status":"refunded""#, r#""payment_status":"refunded","status":"refunded""#),
        ("", r#""payment_status":"pending","tracking_link":"https://x""#),
        ("", r#""status":null"#),
    ] {
        assert_eq!(of_orders(old, new).await, NOTHING, "{old} to {new}");
    }
}

#[tokio::test]
async fn a_payment_is_called_by_what_it_is() {
    let deposit = r#""payment_type":"deposit","deposit_amount_cents":1500"#;
    for (old, new, expected) in [
        (
            r#""amount_paid":"0.00""#.to_owned(),
            r#""amount_paid":"48.00","currency":"USD""#.to_owned(),
            Some("payment of 48.00 USD"),
        ),
        (String::new(), r#""payment_status":"fully_paid""#.to_owned(), Some("payment of 48.00")),
        (deposit.to_owned(), format!(r#"{deposit},"payment_status":"deposit_paid""#), Some("deposit of 15.00")),
        (String::new(), r#""payment_status":"deposit_paid""#.to_owned(), Some("deposit")),
        (
            format!(r#"{deposit},"payment_status":"deposit_paid""#),
            format!(r#"{deposit},"payment_status":"fully_paid""#),
            Some("balance of 33.00"),
        ),
        (
            format!(r#"{deposit},"amount_paid":"15.00""#),
            format!(r#"{deposit},"amount_paid":"48.00","payment_status":"fully_paid""#),
            Some("balance of 33.00"),
        ),
        (
            format!(r#"{deposit},"amount_paid":"15.00","payment_status":"deposit_paid""#),
            format!(r#"{deposit},"amount_paid":"15.00","payment_status":"fully_paid""#),
            Some("balance of 33.00"),
        ),
        (
            format!(r#"{deposit},"payment_status":"deposit_paid""#),
            format!(r#"{deposit},"payment_status":"deposit_paid","balance_paid_at":"2026-01-01T00:00:00Z""#),
            Some("balance of 33.00"),
        ),
        (deposit.to_owned(), format!(r#"{deposit},"payment_status":"fully_paid""#), Some("payment of 48.00")),
        // Where the status alone speaks: what is still to be paid, and no second payment later.
        (
            format!(r#"{deposit},"payment_status":null,"status":"in_production""#),
            format!(r#"{deposit},"payment_status":null,"status":"paid""#),
            Some("balance of 33.00"),
        ),
        // A payment status is believed, whatever the status is by then.
        (
            r#""status":"in_production","payment_type":"deposit""#.to_owned(),
            r#""status":"in_production","payment_type":"deposit","payment_status":"deposit_paid""#.to_owned(),
            Some("deposit"),
        ),
        (
            r#""status":"fulfilled""#.to_owned(),
            r#""status":"fulfilled","payment_status":"fully_paid""#.to_owned(),
            Some("payment of 48.00"),
        ),
        (
            format!(r#"{deposit},"status":"fulfilled","payment_status":"deposit_paid""#),
            format!(r#"{deposit},"status":"fulfilled","payment_status":"fully_paid""#),
            Some("balance of 33.00"),
        ),
        (r#""status":"paid""#.to_owned(), r#""status":"in_production""#.to_owned(), None),
        // A later status is counted as paid, but nobody has said that money came in.
        (r#""status":"awaiting_payment""#.to_owned(), r#""status":"fulfilled""#.to_owned(), None),
        (deposit.to_owned(), format!(r#"{deposit},"status":"in_production""#), None),
        // The amount was told of when it came.
        (
            r#""amount_paid":"48.00""#.to_owned(),
            r#""amount_paid":"48.00","payment_status":"fully_paid""#.to_owned(),
            None,
        ),
        (
            format!(r#"{deposit},"amount_paid":"15.00""#),
            format!(r#"{deposit},"amount_paid":"15.00","payment_status":"deposit_paid""#),
            None,
        ),
    ] {
        let lines = only("payment", of_orders(&old, &new).await);
        let expected = expected.map_or(vec![], |what| {
            let word = what.split(' ').next().unwrap();
            let title = format!("{}{} received", word[..1].to_uppercase(), &word[1..]);
            vec![
                format!("payment user:b: {title}: Your {what} has been received. Thank you!"),
                format!("payment seller:s: {title}: A {what} has been received."),
            ]
        });
        assert_eq!(lines, expected, "{old} to {new}");
    }
    assert_eq!(
        only("payment", of_orders("", r#""amount_paid":"48.00","status":"refunded""#).await),
        [
            "payment user:b: Refund issued: Your order of 48.00 has been refunded.",
            "payment seller:s: Refund issued: An order of 48.00 has been refunded.",
        ]
    );
}

/// The second vocabulary, and what is said of each of its statuses.
const SECOND: [(&str, &str); 9] = [
    ("awaiting_payment", "is waiting for payment."),
    ("deposit_paid", "has its deposit paid."),
    ("in_production", "is now being made."),
    ("ready_to_ship", "is now ready to be sent."),
    ("awaiting_balance", "is waiting for the rest of its payment."),
    ("balance_overdue", "has an overdue balance."),
    ("paid", "has been paid in full."),
    ("fulfilled", "has been sent."),
    ("packed_and_waiting", "has been updated."),
];

#[tokio::test]
async fn statuses_are_told_in_plain_words_wherever_the_order_stands() {
    for (status, said) in SECOND {
        let new = format!(r#""status":"{status}""#);
        let order = only("order", of_orders("", &new).await);
        assert_eq!(
            order,
            [
                format!("order user:b: Order updated: Your order of 48.00 {said}"),
                format!("order seller:s: Order updated: An order of 48.00 {said}"),
            ]
        );
        // Told as what they are worth: a payment.
        if ["deposit_paid", "paid"].contains(&status) {
            continue;
        }
        let wholesale = only(
            "wholesale",
            of_orders(r#""order_type":"wholesale""#, &format!(r#""order_type":"wholesale",{new}"#)).await,
        );
        assert!(wholesale[0].ends_with(&format!("Your wholesale order of 48.00 {said}")), "{wholesale:?}");
        assert!(wholesale[1].ends_with(&format!("A wholesale order of 48.00 {said}")), "{wholesale:?}");
        let own_table = only("wholesale", notified("wholesale_orders", Some(""), Some(&new)).await);
        assert!(own_table[0].ends_with(&format!("Your wholesale order of 1240.00 {said}")), "{own_table:?}");
        assert!(own_table[1].ends_with(&format!("A wholesale order of 1240.00 {said}")), "{own_table:?}");
    }
}

#[tokio::test]
async fn what_is_fulfilled_has_been_sent_in_every_kind() {
    let fulfilled = r#""status":"fulfilled","shipping_carrier":"DHL""#;
    assert_eq!(
        only("shipping", of_orders("", fulfilled).await),
        ["shipping user:b: Order shipped: Your order of 48.00 has been sent with DHL."]
    );
    assert_eq!(
        only("shipping", notified("wholesale_orders", Some(""), Some(r#""status":"fulfilled""#)).await),
        ["shipping user:b: Order shipped: Your wholesale order of 1240.00 has been sent."]
    );
}

#[tokio::test]
async fn of_a_parcel_the_buyer_hears_alone() {
    let tracking = r#""tracking_number":"T1","shipping_carrier":"DHL""#;
    for (old, new, expected) in [
        (
            r#""status":"processing""#.to_owned(),
            format!(r#""status":"shipped",{tracking}"#),
            Some("Order shipped: Your order of 48.00 is on its way with DHL, tracking number T1."),
        ),
        (
            String::new(),
            r#""fulfillment_status":"fulfilled""#.to_owned(),
            Some("Order shipped: Your order of 48.00 is on its way."),
        ),
        (
            String::new(),
            tracking.to_owned(),
            Some("Tracking number added: Your order of 48.00 can be followed with DHL, tracking number T1."),
        ),
        (
            r#""status":"shipped""#.to_owned(),
            r#""status":"delivered""#.to_owned(),
            Some("Order delivered: Your order of 48.00 has been delivered."),
        ),
        (format!(r#""status":"shipped",{tracking}"#), format!(r#""status":"completed",{tracking}"#), None),
    ] {
        let expected: Vec<_> = expected.map(|said| format!("shipping user:b: {said}")).into_iter().collect();
        assert_eq!(only("shipping", of_orders(&old, &new).await), expected, "{old} to {new}");
    }
}

#[tokio::test]
async fn what_happens_to_a_wholesale_order_at_once_is_told_by_its_weightiest_part() {
    let order = |more: &str| {
        let terms = r#""order_type":"wholesale","payment_type":"deposit","deposit_amount_cents":1500"#;
        if more.is_empty() { terms.to_owned() } else { format!("{terms},{more}") }
    };
    for (old, new, buyer, seller) in [
        (
            "",
            r#""status":"processing""#,
            "Wholesale order updated: Your wholesale order of 48.00 is now being prepared.",
            Some("Wholesale order updated: A wholesale order of 48.00 is now being prepared."),
        ),
        (
            "",
            r#""status":"processing","payment_status":"deposit_paid""#,
            "Deposit received: The deposit of your wholesale order of 48.00 has been received.",
            Some("Deposit received: The deposit of a wholesale order of 48.00 has been received."),
        ),
        (
            r#""payment_status":"deposit_paid""#,
            r#""payment_status":"fully_paid","status":"shipped""#,
            "Wholesale order shipped: Your wholesale order of 48.00 is on its way.",
            Some("Balance received: The balance of a wholesale order of 48.00 has been received."),
        ),
        // The payment is told of as one; a deposit was never told of before.
        (
            "",
            r#""payment_status":"fully_paid""#,
            "Payment received: The payment of your wholesale order of 48.00 has been received.",
            Some("Payment received: The payment of a wholesale order of 48.00 has been received."),
        ),
        (
            r#""status":"in_production""#,
            r#""status":"paid""#,
            "Balance received: The balance of your wholesale order of 48.00 has been received.",
            Some("Balance received: The balance of a wholesale order of 48.00 has been received."),
        ),
        (
            r#""status":"shipped""#,
            r#""status":"shipped","tracking_number":"T1""#,
            "Wholesale order shipped: Your wholesale order of 48.00 is on its way.",
            Some("Wholesale order shipped: A wholesale order of 48.00 is on its way."),
        ),
        (
            "",
            r#""fulfillment_status":"fulfilled""#,
            "Wholesale order shipped: Your wholesale order of 48.00 is on its way.",
            Some("Wholesale order shipped: A wholesale order of 48.00 is on its way."),
        ),
        // Paid after it was sent.
        (
            r#""status":"fulfilled""#,
            r#""status":"fulfilled","payment_status":"fully_paid""#,
            "Payment received: The payment of your wholesale order of 48.00 has been received.",
            Some("Payment received: The payment of a wholesale order of 48.00 has been received."),
        ),
        (
            r#""status":"in_production""#,
            r#""status":"in_production","payment_status":"deposit_paid""#,
            "Deposit received: The deposit of your wholesale order of 48.00 has been received.",
            Some("Deposit received: The deposit of a wholesale order of 48.00 has been received."),
        ),
    ] {
        let expected: Vec<_> = [Some(("user:b", buyer)), seller.map(|said| ("seller:s", said))]
            .into_iter()
            .flatten()
            .map(|(room, said)| format!("wholesale {room}: {said}"))
            .collect();
        assert_eq!(only("wholesale", of_orders(&order(old), &order(new)).await), expected, "{old} to {new}");
    }
    assert_eq!(
        only("wholesale", notified("orders", None, Some(&order(""))).await),
        [
            "wholesale user:b: Wholesale order placed: Your wholesale order of 48.00 has been placed.",
            "wholesale seller:s: New wholesale order: You have a new wholesale order of 48.00.",
        ]
    );
    assert_eq!(only("wholesale", of_orders("", r#""status":"processing""#).await), NOTHING, "a retail order");
}

#[tokio::test]
async fn wholesale_orders_in_tables_of_their_own_are_told_of_alike() {
    for (table, old, new, expected) in [
        (
            "wholesale_orders",
            None,
            "",
            vec![
                "wholesale user:b: Wholesale order placed: Your wholesale order of 1240.00 has been placed.",
                "wholesale seller:s: New wholesale order: You have a new wholesale order of 1240.00.",
            ],
        ),
        (
            "wholesale_orders",
            Some(""),
            r#""status":"fulfilled","currency":"EUR""#,
            vec![
                "shipping user:b: Order shipped: Your wholesale order of 1240.00 EUR has been sent.",
                "wholesale user:b: Wholesale order shipped: Your wholesale order of 1240.00 EUR has been sent.",
                "wholesale seller:s: Wholesale order updated: A wholesale order of 1240.00 EUR has been sent.",
            ],
        ),
        (
            "wholesale_orders",
            Some(""),
            r#""status":"balance_overdue""#,
            vec![
                "wholesale user:b: Wholesale order updated: \
                 Your wholesale order of 1240.00 has an overdue balance.",
                "wholesale seller:s: Wholesale order updated: \
                 A wholesale order of 1240.00 has an overdue balance.",
            ],
        ),
        (
            "wholesale_payments",
            Some(""),
            r#""status":"paid""#,
            vec![
                "payment user:b: Deposit received: Your deposit of 372.05 EUR has been received. Thank you!",
                "payment seller:s: Deposit received: A deposit of 372.05 EUR has been received.",
                "wholesale user:b: Deposit received: \
                 The deposit of 372.05 EUR of your wholesale order has been received.",
                "wholesale seller:s: Deposit received: \
                 The deposit of 372.05 EUR of a wholesale order has been received.",
            ],
        ),
        ("wholesale_payments", Some(""), r#""status":"requested""#, vec![]),
        (
            "wholesale_invitations",
            None,
            "",
            vec![
                "wholesale seller:s: Invitation sent: Your wholesale invitation to B has been sent.",
                "wholesale user:b: Wholesale invitation: You have been invited to order wholesale.",
            ],
        ),
        (
            "wholesale_invitations",
            None,
            r#""buyer_email":"nobody@x""#,
            vec!["wholesale seller:s: Invitation sent: Your wholesale invitation to B has been sent."],
        ),
        (
            "wholesale_invitations",
            Some(""),
            r#""status":"accepted","buyer_name":null"#,
            vec![
                "wholesale seller:s: Invitation accepted: b@x has accepted your wholesale invitation.",
                "wholesale user:b: Welcome to wholesale: You have accepted a wholesale invitation.",
            ],
        ),
        (
            "wholesale_invitations",
            Some(""),
            r#""status":"declined""#,
            vec![
                "wholesale seller:s: Invitation declined: B has declined your wholesale invitation.",
                "wholesale user:b: Invitation declined: You have declined a wholesale invitation.",
            ],
        ),
    ] {
        assert_eq!(notified(table, old, Some(new)).await, expected, "{table}: {old:?} to {new}");
    }
}

#[tokio::test]
async fn of_a_quotation_the_side_hears_that_did_not_act() {
    let expired = [
        "quotation seller:s: Quotation expired: Your quotation Q-1 has expired.",
        "quotation user:b: Quotation expired: The quotation Q-1 that you received has expired.",
    ];
    let until = |status: &str, time: &str| format!(r#""status":"{status}","valid_until":"{time}""#);
    for (old, new, expected) in [
        (
            String::new(),
            r#""status":"sent""#.to_owned(),
            &["quotation user:b: New quotation: You have received quotation Q-1 over 500.00."][..],
        ),
        (
            r#""status":"sent""#.to_owned(),
            r#""status":"viewed""#.to_owned(),
            &["quotation seller:s: Quotation viewed: Your quotation Q-1 has been viewed by b@x."],
        ),
        (
            r#""status":"viewed""#.to_owned(),
            r#""status":"accepted""#.to_owned(),
            &["quotation seller:s: Quotation accepted: Your quotation Q-1 has been accepted by b@x."],
        ),
        (
            r#""status":"viewed""#.to_owned(),
            r#""status":"cancelled""#.to_owned(),
            &[
                "quotation seller:s: Quotation cancelled: Your quotation Q-1 has been cancelled.",
                "quotation user:b: Quotation cancelled: The quotation Q-1 that you received has been cancelled.",
            ],
        ),
        (
            r#""status":"viewed""#.to_owned(),
            r#""status":"rejected""#.to_owned(),
            &["quotation seller:s: Quotation declined: Your quotation Q-1 has been declined by b@x."],
        ),
        (r#""status":"accepted""#.to_owned(), r#""status":"expired""#.to_owned(), &expired),
        (until("sent", OTHER_TIME), until("expired", OTHER_TIME), &expired),
        (until("sent", TOLD_TIME), until("expired", TOLD_TIME), &[]),
        (String::new(), r#""status":"expired""#.to_owned(), &expired[..1]),
        (r#""status":"sent""#.to_owned(), r#""status":"sent","total":"1.00""#.to_owned(), &[]),
    ] {
        assert_eq!(notified("trade_quotations", Some(&old), Some(&new)).await, expected, "{old} to {new}");
    }
    assert_eq!(notified("rowcast.quotation_expired", None, Some("")).await, expired);
    let inserted = notified("trade_quotations", None, Some(r#""status":"expired""#)).await;
    assert_eq!(inserted, expired[..1], "what the buyer never received");
}

#[tokio::test]
async fn a_notification_says_what_it_is_about() {
    for (table, new, subject) in [
        ("orders", "", r#"{"id":"o","type":"order"}"#),
        ("wholesale_orders", "", r#"{"id":"w","type":"wholesale_order"}"#),
        ("wholesale_payments", r#""status":"paid""#, r#"{"id":"w","type":"wholesale_order"}"#),
        ("wholesale_invitations", "", r#"{"id":"i","type":"invitation"}"#),
        ("trade_quotations", r#""status":"sent""#, r#"{"id":"q","type":"quotation"}"#),
    ] {
        for event in evaluated(table, None, Some(new)).await.inbox {
            for audience in event.audiences {
                let found = audience.data.iter().find(|(key, _)| &**key == "subject").map(|(_, value)| value.get());
                assert_eq!(found, Some(subject), "{}", event.id);
            }
        }
    }
}

#[tokio::test]
async fn a_row_in_the_inbox_is_heard_on_every_device_of_its_user() {
    let said = r#"notificationId="n" title="T" body="B" subject={"type":"order","id":"o"} unread="#;
    for kind in ["order", "payment", "shipping", "wholesale", "quotation", "system"] {
        let (lines, events) = heard("rowcast.notification", None, Some(&format!(r#""kind":"{kind}""#))).await;
        assert_eq!(lines, [format!("notification:{kind} user:b")]);
        assert_eq!(data(&events, &events[0].kind)[0].1, format!("{said}3"));
    }
    let of_store = r#""user_id":"s","seller_id":"s""#;
    let (lines, events) = heard("rowcast.notification", None, Some(of_store)).await;
    assert_eq!(lines, ["notification:order user:s | seller:s"]);
    let told = data(&events, "notification:order");
    assert_eq!(told[0].1, format!("{said}0"));
    assert_eq!(told[1].1, said.trim_end_matches(" unread="), "the number is of the owner's inbox");

    for silent in [r#""kind":"birthday""#, r#""read_at":"2026-01-01T00:00:00.000Z""#] {
        assert_eq!(heard("rowcast.notification", None, Some(silent)).await.0, NOTHING, "{silent}");
    }
}

#[tokio::test]
async fn reading_and_deleting_are_heard_with_what_is_left() {
    let read = r#""read_at":"2026-01-01T00:00:00.000Z""#;
    let (lines, events) = heard("rowcast.notification", Some(""), Some(read)).await;
    assert_eq!(lines, ["notification:read user:b"]);
    assert_eq!(data(&events, "notification:read")[0].1, r#"notificationId="n" unread=3"#);
    assert_eq!(heard("rowcast.notification", Some(read), Some("")).await.0, NOTHING, "unread again");
    let later = r#""read_at":"2026-01-02T00:00:00.000Z""#;
    assert_eq!(heard("rowcast.notification", Some(read), Some(later)).await.0, NOTHING, "read already");

    let (lines, events) = heard("rowcast.notification", Some(""), None).await;
    assert_eq!(lines, ["notification:deleted user:b"]);
    assert_eq!(data(&events, "notification:deleted")[0].1, r#"notificationId="n" unread=3"#);
}

#[tokio::test]
async fn an_announcements_own_row_is_heard_by_nobody() {
    let announcement = r#""user_id":null,"audience":"buyers","kind":"system","title":"Sale","body":"On Monday.""#;
    let evaluated = evaluated("rowcast.notification", None, Some(announcement)).await;
    assert!(
        evaluated.events.is_empty() && evaluated.inbox.is_empty(),
        "it is told a little at a time, beside the rules"
    );
}
