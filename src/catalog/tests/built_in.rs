//! The catalog that comes with rowcast, against changes of the marketplace's tables.

use super::{
    marketplace::{OTHER_TIME, PRODUCT, TOLD_TIME, data, defaults, full, heard},
    *,
};

#[test]
fn the_catalog_has_every_event_of_its_modules() {
    let catalog = Catalog::built_in(&Settings::new()).unwrap_or_else(|faults| panic!("{faults}"));
    let kinds: Vec<_> = catalog.event_kinds().into_iter().collect();
    assert_eq!(
        kinds,
        [
            "analytics:inventory_alert",
            "analytics:metrics_updated",
            "analytics:product_viewed",
            "analytics:revenue_updated",
            "analytics:sale_completed",
            "cart:updated",
            "notification:deleted",
            "notification:order",
            "notification:payment",
            "notification:quotation",
            "notification:read",
            "notification:shipping",
            "notification:system",
            "notification:wholesale",
            "order:updated",
            "presence:changed",
            "presence:viewers",
            "product:created",
            "product:deleted",
            "product:low_stock",
            "product:price_changed",
            "product:stock_changed",
            "product:updated",
            "quotation:accepted",
            "quotation:created",
            "quotation:expired",
            "quotation:rejected",
            "quotation:sent",
            "quotation:updated",
            "quotation:viewed",
            "stock:low",
            "stock:out",
            "stock:restocked",
            "wholesale:balance_paid",
            "wholesale:deposit_paid",
            "wholesale:invitation_accepted",
            "wholesale:invitation_rejected",
            "wholesale:invitation_sent",
            "wholesale:order_placed",
            "wholesale:order_shipped",
            "wholesale:order_updated",
        ]
    );
    assert_eq!(catalog.tables().len(), 12);
    let nameless: Vec<_> = catalog.rules().iter().filter(|rule| rule.about.is_none()).map(|rule| &rule.name).collect();
    assert!(nameless.is_empty(), "rules that say nothing about themselves: {nameless:?}");
}

#[tokio::test]
async fn stock_alerts_come_on_the_crossing_and_only_then() {
    for (old, new, expected) in [
        ("18", "11", ""),
        ("11", "9", "product:low_stock stock:low"),
        ("10", "9", "product:low_stock stock:low"),
        ("9", "8", ""),
        ("9", "0", "stock:out"),
        ("18", "0", "product:low_stock stock:out"),
        ("18", "-2", "product:low_stock stock:out"),
        ("0", "-1", ""),
        ("0", "5", "stock:restocked"),
        ("-3", "50", "stock:restocked"),
        ("5", "50", ""),
        ("null", "5", "product:low_stock stock:low"),
        ("null", "0", "product:low_stock stock:out"),
        ("0", "null", ""),
        ("18", "null", ""),
        ("\"10.5\"", "\"9.99\"", "product:low_stock stock:low"),
    ] {
        let (old, new) = (format!("\"stock\":{old}"), format!("\"stock\":{new}"));
        let (_, events) = heard("products", Some(&old), Some(&new)).await;
        let alerts: Vec<_> = events
            .iter()
            .map(|event| &*event.kind)
            .filter(|kind| kind.starts_with("stock:") || *kind == "product:low_stock")
            .collect();
        assert_eq!(alerts.join(" "), expected, "{old} to {new}");
    }
}

#[tokio::test]
async fn a_threshold_of_the_products_own_comes_first() {
    let low = |column: &str, old: i64, new: i64| {
        let (column, sides) = (column.to_owned(), [old, new].map(|stock| format!("\"stock\":{stock},{column}")));
        async move {
            let (_, events) = heard("products", Some(&sides[0]), Some(&sides[1])).await;
            let low = events.iter().find(|event| &*event.kind == "product:low_stock");
            (column, low.map(|event| audiences(event)[0].1.rsplit_once(' ').unwrap().1.to_owned()))
        }
    };
    assert_eq!(low("\"low_stock_threshold\":3", 5, 2).await.1.as_deref(), Some("threshold=3"));
    assert_eq!(low("\"low_stock_threshold\":3", 12, 9).await.1, None);
    assert_eq!(low("\"low_stock_threshold\":null", 12, 9).await.1.as_deref(), Some("threshold=10"));
}

#[tokio::test]
async fn shoppers_hear_of_products_that_they_may_see_and_of_columns_made_for_them() {
    let old = r#""sku":"A","name":"Mug","cost":"3.00""#;
    let new = r#""sku":"B","name":"Cup","cost":"4.00""#;
    let (lines, events) = heard("products", Some(old), Some(new)).await;
    assert_eq!(lines, ["product:updated seller:s user:s | product:p storefront:s"]);
    let data = data(&events, "product:updated");
    assert_eq!(data[0].1, r#"productId="p" sellerId="s" changes={"cost":"4.00","name":"Cup","sku":"B"}"#);
    assert_eq!(data[1].1, r#"productId="p" sellerId="s" changes={"name":"Cup"}"#);

    let (lines, _) = heard("products", Some(r#""sku":"A""#), Some(r#""sku":"B""#)).await;
    assert_eq!(lines, ["product:updated seller:s user:s"], "nothing that shoppers see has changed");

    for hidden in ["\"status\":\"draft\"", "\"status\":\"archived\"", "\"status\":null"] {
        let (old, new) =
            (format!("{hidden},\"stock\":0,\"price\":\"1\""), format!("{hidden},\"stock\":3,\"price\":\"2\""));
        let (lines, _) = heard("products", Some(&old), Some(&new)).await;
        assert_eq!(
            lines,
            [
                "product:updated seller:s user:s",
                "product:stock_changed seller:s user:s | user:holder",
                "product:price_changed seller:s user:s | user:holder",
                "stock:restocked seller:s user:s",
            ],
            "{hidden}"
        );
    }
}

#[tokio::test]
async fn a_product_that_leaves_the_public_says_so_and_no_more() {
    let new = r#""status":"draft","name":"Working title""#;
    let (lines, events) = heard("products", Some(""), Some(new)).await;
    assert_eq!(lines, ["product:updated seller:s user:s | product:p storefront:s"]);
    assert_eq!(data(&events, "product:updated")[1].1, r#"productId="p" sellerId="s" changes={"status":"hidden"}"#);
}

#[tokio::test]
async fn viewers_of_the_old_id_hear_that_it_changed() {
    let (lines, events) = heard("products", Some(r#""id":"p0""#), Some("")).await;
    assert_eq!(lines, ["product:updated seller:s user:s | product:p product:p0 storefront:s"]);
    assert_eq!(data(&events, "product:updated")[1].1, r#"productId="p" sellerId="s" changes={"id":"p"}"#);
}

#[tokio::test]
async fn the_store_that_a_product_leaves_hears_that_it_has_gone_and_no_more() {
    let before = |status: &str| format!(r#""id":"p0","seller_id":"s0","name":"Cup","status":"{status}""#);
    let (left, new) = (r#"productId="p0" sellerId="s0" changes={"sellerId":"s"}"#, "product:updated seller:s user:s");
    for (was, is, rooms) in [
        ("active", "active", "product:p product:p0 storefront:s | seller:s0 user:s0 | storefront:s0"),
        ("active", "draft", "seller:s0 user:s0 | product:p0 storefront:s0"),
        ("draft", "active", "seller:s0 user:s0 | product:p storefront:s"),
        ("draft", "archived", "seller:s0 user:s0"),
    ] {
        let after = format!(r#""status":"{is}""#);
        let (lines, events) = heard("products", Some(&before(was)), Some(&after)).await;
        assert_eq!(lines, [format!("{new} | {rooms}")], "{was} to {is}");
        let told = data(&events, "product:updated");
        let (_, data) = told.iter().find(|(rooms, _)| rooms.contains("seller:s0")).expect("the seller that it leaves");
        assert_eq!(data, left, "{was} to {is}");
        let (_, data) = told.last().expect("somebody");
        match (was, is) {
            ("active", "active") => assert_eq!(data, left),
            ("active", "draft") => assert_eq!(data, r#"productId="p0" sellerId="s0" changes={"status":"hidden"}"#),
            _ => {}
        }
    }
}

/// Table, the row before and after as differences from the defaults, and the lines that are heard.
type Case = (&'static str, Option<String>, Option<String>, Vec<String>);

#[tokio::test]
async fn each_change_is_heard_in_its_rooms() {
    let wholesale =
        r#""order_type":"wholesale","payment_type":"deposit","deposit_amount_cents":1500,"balance_due_cents":3300"#;
    let order = |more: &str| format!("{wholesale},{more}");
    let seller = "seller:s user:s";
    let cases: Vec<Case> = vec![
        ("products", None, Some(String::new()), vec![format!("product:created {seller} | storefront:s")]),
        ("products", None, Some(r#""status":"draft""#.into()), vec![format!("product:created {seller}")]),
        ("products", Some(String::new()), None, vec![format!("product:deleted {seller} | user:holder | product:p")]),
        (
            "products",
            Some(String::new()),
            Some(r#""stock":12,"price":"20.00""#.into()),
            vec![
                format!("product:updated {seller} | product:p storefront:s"),
                format!("product:stock_changed {seller} | user:holder | product:p"),
                format!("product:price_changed {seller} | user:holder | product:p"),
            ],
        ),
        ("wholesale_invitations", None, Some(String::new()), vec![format!("wholesale:invitation_sent {seller}")]),
        (
            "wholesale_invitations",
            Some(String::new()),
            Some(r#""status":"accepted""#.into()),
            vec![format!("wholesale:invitation_accepted {seller} user:b")],
        ),
        (
            "wholesale_invitations",
            Some(String::new()),
            Some(r#""status":"declined""#.into()),
            vec![format!("wholesale:invitation_rejected {seller}")],
        ),
        ("orders", None, Some(String::new()), vec![format!("order:updated user:b {seller}")]),
        ("orders", None, Some(r#""user_id":null"#.into()), vec![format!("order:updated {seller}")]),
        (
            "orders",
            None,
            Some(wholesale.into()),
            vec![format!("wholesale:order_placed {seller} user:b"), format!("order:updated user:b {seller}")],
        ),
        (
            "orders",
            Some(order(r#""status":"pending""#)),
            Some(order(r#""payment_status":"deposit_paid","status":"processing""#)),
            vec![
                format!("wholesale:order_updated {seller} user:b"),
                format!("wholesale:deposit_paid {seller} user:b"),
                format!("order:updated user:b {seller}"),
                "analytics:revenue_updated seller:s".into(),
            ],
        ),
        (
            "orders",
            Some(order(r#""payment_status":"deposit_paid""#)),
            Some(order(r#""payment_status":"fully_paid","balance_due_cents":0"#)),
            vec![format!("wholesale:balance_paid {seller} user:b"), "analytics:revenue_updated seller:s".into()],
        ),
        (
            "orders",
            Some(order(r#""payment_status":"deposit_paid""#)),
            Some(order(r#""payment_status":"deposit_paid","balance_paid_at":"2026-01-01T00:00:00Z""#)),
            vec![format!("wholesale:balance_paid {seller} user:b"), "analytics:revenue_updated seller:s".into()],
        ),
        (
            "orders",
            Some(r#""order_type":"wholesale""#.into()),
            Some(r#""order_type":"wholesale","payment_status":"fully_paid""#.into()),
            vec!["analytics:revenue_updated seller:s".into()],
        ),
        (
            "orders",
            Some(order(r#""status":"processing""#)),
            Some(order(r#""status":"shipped","tracking_number":"T1""#)),
            vec![
                format!("wholesale:order_updated {seller} user:b"),
                "wholesale:order_shipped user:b".into(),
                format!("order:updated user:b {seller}"),
            ],
        ),
        (
            "orders",
            Some(order(r#""status":"shipped","tracking_number":"T1""#)),
            Some(order(r#""status":"delivered","tracking_number":"T1""#)),
            vec![
                format!("wholesale:order_updated {seller} user:b"),
                format!("order:updated user:b {seller}"),
                "analytics:sale_completed seller:s".into(),
            ],
        ),
        (
            "orders",
            Some(String::new()),
            Some(r#""payment_status":"refunded","status":"refunded""#.into()),
            vec![format!("order:updated user:b {seller}")],
        ),
        (
            "orders",
            Some(String::new()),
            Some(r#""amount_paid":"48.00""#.into()),
            vec!["analytics:revenue_updated seller:s".into()],
        ),
        ("wholesale_orders", None, Some(String::new()), vec![format!("wholesale:order_placed {seller} user:b")]),
        (
            "wholesale_orders",
            Some(String::new()),
            Some(r#""status":"fulfilled""#.into()),
            vec![
                format!("wholesale:order_updated {seller} user:b"),
                "wholesale:order_shipped user:b".into(),
                "analytics:sale_completed seller:s".into(),
            ],
        ),
        (
            "wholesale_payments",
            Some(String::new()),
            Some(r#""status":"paid""#.into()),
            vec![format!("wholesale:deposit_paid {seller} user:b"), "analytics:revenue_updated seller:s".into()],
        ),
        (
            "wholesale_payments",
            None,
            Some(r#""status":"paid","payment_type":"balance""#.into()),
            vec![format!("wholesale:balance_paid {seller} user:b"), "analytics:revenue_updated seller:s".into()],
        ),
        ("trade_quotations", None, Some(String::new()), vec![format!("quotation:created {seller}")]),
        (
            "trade_quotations",
            None,
            Some(r#""status":"sent""#.into()),
            vec![format!("quotation:created {seller}"), "quotation:sent user:b".into()],
        ),
        (
            "trade_quotations",
            Some(String::new()),
            Some(r#""status":"sent","updated_at":"2026-01-01T00:00:00Z""#.into()),
            vec!["quotation:sent user:b".into()],
        ),
        (
            "trade_quotations",
            Some(String::new()),
            Some(r#""total":"510.00""#.into()),
            vec![format!("quotation:updated {seller}")],
        ),
        (
            "trade_quotations",
            Some(r#""status":"sent""#.into()),
            Some(r#""status":"sent","total":"510.00""#.into()),
            vec![format!("quotation:updated {seller} | user:b")],
        ),
        (
            "trade_quotations",
            Some(r#""status":"sent","buyer_id":"b2""#.into()),
            Some(r#""status":"sent","buyer_id":"b2","metadata":{"note":"ours"}"#.into()),
            vec![format!("quotation:updated {seller}")],
        ),
        (
            "trade_quotations",
            Some(r#""status":"sent""#.into()),
            Some(r#""status":"viewed""#.into()),
            vec![format!("quotation:viewed {seller}")],
        ),
        (
            "trade_quotations",
            Some(r#""status":"viewed""#.into()),
            Some(r#""status":"accepted""#.into()),
            vec![format!("quotation:accepted {seller}")],
        ),
        (
            "trade_quotations",
            Some(r#""status":"viewed""#.into()),
            Some(r#""status":"rejected""#.into()),
            vec![format!("quotation:rejected {seller}")],
        ),
        (
            "trade_quotations",
            Some(r#""status":"sent""#.into()),
            Some(r#""status":"cancelled""#.into()),
            vec![format!("quotation:rejected {seller}")],
        ),
        ("trade_quotations", Some(String::new()), Some(r#""status":"cancelled""#.into()), vec![]),
        (
            "trade_quotations",
            Some(r#""status":"sent""#.into()),
            Some(r#""status":"expired""#.into()),
            vec![format!("quotation:expired {seller} | user:b")],
        ),
    ];
    for (table, old, new, expected) in cases {
        let (lines, _) = heard(table, old.as_deref(), new.as_deref()).await;
        assert_eq!(lines, expected, "{table}: {old:?} to {new:?}");
    }
}

#[tokio::test]
async fn those_who_looked_while_it_was_out_hear_of_a_restocking() {
    let (lines, _) = heard("products", Some(r#""stock":0"#), Some(r#""stock":50"#)).await;
    assert_eq!(lines[2], "stock:restocked seller:s user:s | product:p | user:waiting user:holder");
}

#[tokio::test]
async fn an_expiry_is_told_once_by_the_row_or_by_the_clock() {
    let expiry = |until: String| async move {
        let side = |status: &str| format!(r#""status":"{status}","valid_until":{until}"#);
        heard("trade_quotations", Some(&side("sent")), Some(&side("expired"))).await.0
    };
    let everybody = ["quotation:expired seller:s user:s | user:b"];
    assert_eq!(expiry("null".to_owned()).await, everybody);
    assert_eq!(expiry(format!("\"{OTHER_TIME}\"")).await, everybody);
    assert_eq!(expiry(format!("\"{TOLD_TIME}\"")).await, [] as [&str; 0]);
    // The clock told of the time that it had; that it gets another in the same update changes nothing.
    let before = format!(r#""status":"sent","valid_until":"{TOLD_TIME}""#);
    let after = format!(r#""status":"expired","valid_until":"{OTHER_TIME}""#);
    assert_eq!(heard("trade_quotations", Some(&before), Some(&after)).await.0, ["quotation:updated seller:s user:s"]);

    let (lines, events) = heard("rowcast.quotation_expired", None, Some("")).await;
    assert_eq!(lines, everybody);
    let expected = r#"quotationId="q" sellerId="s" buyerId="b" quotationNumber="Q-1""#;
    assert!(data(&events, "quotation:expired").iter().all(|(_, data)| data == expected));
    assert_eq!(heard("rowcast.quotation_expired", Some(""), None).await.0, [] as [&str; 0]);
}

#[tokio::test]
async fn amounts_and_reasons_are_told_as_the_contract_says() {
    let wholesale =
        r#""order_type":"wholesale","payment_type":"deposit","deposit_amount_cents":1500,"balance_due_cents":3305"#;
    let (_, events) = heard("orders", None, Some(wholesale)).await;
    assert_eq!(
        data(&events, "wholesale:order_placed")[0].1,
        r#"orderId="o" sellerId="s" buyerId="b" total="48.00" depositAmount="15.00" balanceAmount="33.05" paymentTerms="deposit""#
    );
    let paid = wholesale.replace("3305", "0");
    let (_, events) =
        heard("orders", Some(wholesale), Some(&format!("{paid},\"payment_status\":\"fully_paid\""))).await;
    assert_eq!(data(&events, "wholesale:balance_paid")[0].1, r#"orderId="o" sellerId="s" buyerId="b" amount="33.05""#);
    let (_, events) = heard("wholesale_payments", Some(""), Some("\"status\":\"paid\"")).await;
    assert_eq!(data(&events, "wholesale:deposit_paid")[0].1, r#"orderId="w" sellerId="s" buyerId="b" amount="372.05""#);
    let rejected = r#""status":"rejected","metadata":{"reason":"too late"}"#;
    let (_, events) = heard("trade_quotations", Some("\"status\":\"sent\""), Some(rejected)).await;
    assert_eq!(
        data(&events, "quotation:rejected")[0].1,
        r#"quotationId="q" sellerId="s" buyerId="b" quotationNumber="Q-1" reason="too late""#
    );
    let changed = r#""status":"sent","total":"1.10","valid_until":"2026-02-01T00:00:00Z","metadata":[1]"#;
    let (_, events) = heard("trade_quotations", Some("\"status\":\"sent\""), Some(changed)).await;
    let updated = data(&events, "quotation:updated");
    let pricing = r#"changes={"pricing":{"total":"1.10"},"terms":{"#;
    assert!(
        updated[0].1.ends_with(&format!(r#"{pricing}"metadata":[1],"validUntil":"2026-02-01T00:00:00Z"}}}}"#)),
        "{updated:?}"
    );
    assert!(updated[1].1.ends_with(&format!(r#"{pricing}"validUntil":"2026-02-01T00:00:00Z"}}}}"#)), "{updated:?}");
}

/// What of a wholesale order's deposit and balance is told, each as `event amount`.
async fn payments(terms: &str, old: &str, new: &str) -> Vec<String> {
    let side = |more: &str| format!(r#""order_type":"wholesale",{terms},{more}"#);
    let (_, events) = heard("orders", Some(&side(old)), Some(&side(new))).await;
    let told =
        events.iter().filter(|event| ["wholesale:deposit_paid", "wholesale:balance_paid"].contains(&&*event.kind));
    told.map(|event| format!("{} {}", event.kind, audiences(event)[0].1.rsplit_once("amount=").unwrap().1)).collect()
}

const DEPOSIT_TERMS: &str = r#""payment_type":"deposit","deposit_amount_cents":1500,"balance_due_cents":3300"#;

#[tokio::test]
async fn a_deposit_and_a_balance_are_told_once_whatever_the_status_is_by_then() {
    let both = [r#"wholesale:deposit_paid "15.00""#, r#"wholesale:balance_paid "33.00""#];
    for (old, new, expected) in [
        (
            r#""status":"in_production""#,
            r#""status":"in_production","payment_status":"deposit_paid""#,
            vec![r#"wholesale:deposit_paid "15.00""#],
        ),
        (r#""status":"awaiting_balance""#, r#""status":"deposit_paid""#, vec![]),
        (r#""status":"ready_to_ship""#, r#""status":"paid""#, vec![r#"wholesale:balance_paid "33.00""#]),
        (r#""status":"balance_overdue""#, r#""payment_status":"fully_paid""#, both.to_vec()),
        (r#""status":"fulfilled""#, r#""status":"fulfilled","payment_status":"fully_paid""#, both.to_vec()),
        (r#""status":"completed""#, r#""status":"completed","payment_status":"fully_paid""#, both.to_vec()),
        (
            r#""status":"fulfilled","payment_status":"deposit_paid""#,
            r#""status":"fulfilled","payment_status":"fully_paid""#,
            both[1..].to_vec(),
        ),
        (
            r#""status":"fulfilled","payment_status":"deposit_paid""#,
            r#""status":"completed","payment_status":"deposit_paid","balance_paid_at":"2026-01-01T00:00:00Z""#,
            both[1..].to_vec(),
        ),
        // Without a payment status the later ones have the money behind them.
        (
            r#""status":"fulfilled","payment_status":null"#,
            r#""status":"fulfilled","payment_status":null,"balance_paid_at":"2026-01-01T00:00:00Z""#,
            vec![],
        ),
        (r#""status":"paid""#, r#""status":"paid","payment_status":"fully_paid""#, vec![]),
        (r#""status":"fully_paid""#, r#""status":"paid""#, vec![]),
        (
            r#""status":"fulfilled""#,
            r#""status":"fulfilled","payment_status":"deposit_paid""#,
            vec![r#"wholesale:deposit_paid "15.00""#],
        ),
        (r#""status":"paid""#, r#""status":"fulfilled""#, vec![]),
    ] {
        assert_eq!(payments(DEPOSIT_TERMS, old, new).await, expected, "{old} to {new}");
    }
}

#[tokio::test]
async fn what_is_paid_in_full_at_once_is_a_deposit_and_a_balance() {
    let both = [r#"wholesale:deposit_paid "15.00""#, r#"wholesale:balance_paid "33.00""#];
    for new in
        [r#""payment_status":"fully_paid""#, r#""status":"paid""#, r#""payment_status":"paid","amount_paid":"48.00""#]
    {
        assert_eq!(payments(DEPOSIT_TERMS, r#""status":"pending""#, new).await, both, "{new}");
    }
    let noted = r#""balance_paid_at":"2026-01-01T00:00:00Z""#;
    assert_eq!(payments(DEPOSIT_TERMS, noted, &format!(r#"{noted},"status":"paid""#)).await, [] as [&str; 0]);
    let none = r#""payment_type":"balance","deposit_amount_cents":0,"balance_due_cents":3300"#;
    assert_eq!(payments(none, r#""status":"pending""#, r#""status":"paid""#).await, both[1..]);
}

#[tokio::test]
async fn a_deposit_of_which_no_amount_is_known_has_none() {
    let (pending, deposited) = (r#""status":"pending""#, r#""payment_status":"deposit_paid""#);
    for (terms, amount) in [
        (r#""deposit_amount_cents":null"#, "null"),
        (r#""deposit_amount_cents":0"#, "null"),
        (r#""deposit_amount_cents":null,"amount_paid":null"#, "null"),
        (r#""deposit_amount_cents":null,"amount_paid":"8.00""#, r#""8.00""#),
        (r#""deposit_amount_cents":0,"amount_paid":"8.00""#, r#""8.00""#),
        (r#""deposit_amount_cents":1500,"amount_paid":"8.00""#, r#""15.00""#),
    ] {
        assert_eq!(payments(terms, pending, deposited).await, [format!("wholesale:deposit_paid {amount}")], "{terms}");
    }
}

#[tokio::test]
async fn a_refund_is_told_once_and_no_status_goes_missing() {
    let side = |status: &str, payment: &str| format!(r#""status":"{status}","payment_status":"{payment}""#);
    for (old, new, expected) in [
        (side("paid", "pending"), side("paid", "refunded"), vec!["refund"]),
        (side("paid", "refunded"), side("refunded", "refunded"), vec!["fulfillment"]),
        (side("paid", "pending"), side("refunded", "pending"), vec!["refund"]),
        (side("refunded", "pending"), side("refunded", "refunded"), vec![]),
        (side("paid", "partially_refunded"), side("partially_refunded", "partially_refunded"), vec!["fulfillment"]),
        (side("paid", "partially_refunded"), side("refunded", "partially_refunded"), vec!["refund"]),
        (side("paid", "partially_refunded"), side("paid", "refunded"), vec!["refund"]),
        (side("paid", "pending"), side("refunded", "refunded"), vec!["refund"]),
        (side("paid", "pending"), side("cancelled", "refunded"), vec!["fulfillment", "refund"]),
        (side("paid", "refunded"), side("cancelled", "refunded"), vec!["fulfillment"]),
    ] {
        let (_, events) = heard("orders", Some(&old), Some(&new)).await;
        let orders = events.iter().filter(|event| &*event.kind == "order:updated");
        let actions: Vec<_> = orders
            .map(|event| {
                let data = &event.audiences[0].data;
                data.iter().find(|(key, _)| &**key == "action").unwrap().1.get().trim_matches('"').to_owned()
            })
            .collect();
        assert_eq!(actions, expected, "{old} to {new}");
    }
}

#[tokio::test]
async fn a_buyer_hears_of_the_expiry_of_what_was_received_and_of_nothing_else() {
    let (with_buyer, without) = (["quotation:expired seller:s user:s | user:b"], ["quotation:expired seller:s user:s"]);
    let expired = r#""status":"expired""#;
    for status in ["sent", "viewed", "accepted", "deposit_paid"] {
        let old = format!(r#""status":"{status}""#);
        assert_eq!(heard("trade_quotations", Some(&old), Some(expired)).await.0, with_buyer, "{status}");
    }
    assert_eq!(heard("trade_quotations", Some(""), Some(expired)).await.0, without, "a draft");
    let (lines, _) = heard("trade_quotations", None, Some(expired)).await;
    assert_eq!(lines, ["quotation:created seller:s user:s", without[0]], "inserted as expired");
}

#[tokio::test]
async fn a_setting_of_the_configuration_moves_the_threshold() {
    let settings = Settings::from([("low_stock_threshold".to_owned(), toml::Value::Integer(3))]);
    let mut engine = engine_for_products(Catalog::built_in(&settings).unwrap_or_else(|faults| panic!("{faults}")));
    engine.remember("cart_holders", "p", vec![]);
    let (columns, base) = defaults("products");
    let at = |stock: i64| full(columns, base, &format!("\"stock\":{stock}"));
    let evaluated = engine.evaluate(&page(vec![change("products", &at(5), &at(2))])).await.unwrap();
    let low = evaluated.events.iter().find(|event| &*event.kind == "stock:low").expect("below three");
    assert!(audiences(low)[0].1.ends_with("threshold=3"));
}

/// An engine that watches products alone: the other rules are inactive.
fn engine_for_products(catalog: Catalog) -> Engine {
    let pool = PgPoolOptions::new().connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
    let mut engine = Engine::new(Arc::new(catalog), pool);
    engine.bind_prepared(&tables(&[("products", PRODUCT)]), |_| Prepared::Unknown);
    engine
}
