//! analytics.toml.

use super::marketplace::heard;

/// The analytics that one change makes, each as `event data`; the store `s` alone hears of them.
async fn figures(table: &str, old: Option<&str>, new: Option<&str>) -> Vec<String> {
    let (_, events) = heard(table, old, new).await;
    let analytics = events.iter().filter(|event| event.kind.starts_with("analytics:"));
    analytics
        .map(|event| {
            let heard = super::audiences(event);
            assert_eq!(heard.iter().map(|(rooms, _)| rooms.as_str()).collect::<Vec<_>>(), ["seller:s"]);
            format!("{} {}", &event.kind["analytics:".len()..], heard[0].1)
        })
        .collect()
}

fn revenue(new: &str) -> Vec<String> {
    vec![format!(r#"revenue_updated sellerId="s" newRevenue="{new}" totalRevenue="148.00" period="today""#)]
}

#[tokio::test]
async fn a_sale_is_completed_once() {
    let sale = r#"sale_completed sellerId="s" orderId="o" amount="48.00" productId="p""#;
    let items = r#""amount_paid":"48.00","items":"[{\"productId\":\"p\"},{\"productId\":\"p\",\"quantity\":2}]""#;
    for (old, new, expected) in [
        (r#""status":"processing""#, r#""status":"delivered""#, vec![sale]),
        (r#""status":"processing""#, r#""status":"completed""#, vec![sale]),
        (r#""status":"shipped""#, r#""status":"shipped","fulfillment_status":"fulfilled""#, vec![sale]),
        (r#""fulfillment_status":"fulfilled""#, r#""fulfillment_status":"fulfilled","status":"delivered""#, vec![]),
        (r#""status":"fulfilled""#, r#""status":"delivered""#, vec![]),
        (r#""status":"processing""#, r#""status":"shipped""#, vec![]),
    ] {
        let (old, new) = (format!("{old},{items}"), format!("{new},{items}"));
        assert_eq!(figures("orders", Some(&old), Some(&new)).await, expected, "{old} to {new}");
    }
}

#[tokio::test]
async fn a_sale_of_several_products_names_none() {
    for items in [r#""[{\"productId\":\"p\"},{\"productId\":\"q\"}]""#, r#""[]""#, r#""two mugs""#, "null"] {
        let new = format!(r#""status":"delivered","items":{items}"#);
        let found = figures("orders", Some(""), Some(&new)).await;
        assert!(found[0].ends_with("productId=null"), "{items}: {found:?}");
    }
    assert_eq!(
        figures("wholesale_orders", Some(""), Some(r#""status":"fulfilled""#)).await,
        [r#"sale_completed sellerId="s" orderId="w" amount="1240.00" productId=null"#]
    );
}

#[tokio::test]
async fn revenue_is_what_more_has_been_paid_of_an_order() {
    let deposit = r#""payment_status":"deposit_paid","deposit_amount_cents":1500"#;
    for (old, new, expected) in [
        (r#""amount_paid":"0.00""#, r#""amount_paid":"48.00""#, revenue("48.00")),
        (r#""amount_paid":"15.00""#, r#""amount_paid":"48.00""#, revenue("33.00")),
        (r#""amount_paid":null"#, r#""amount_paid":null,"payment_status":"fully_paid""#, revenue("48.00")),
        ("", r#""status":"paid""#, revenue("48.00")),
        ("", deposit, revenue("15.00")),
        (deposit, r#""payment_status":"fully_paid","deposit_amount_cents":1500"#, revenue("33.00")),
        (deposit, r#""payment_status":"fully_paid","amount_paid":"48.00""#, revenue("33.00")),
        // A part was paid, and now it is said that all is.
        (r#""amount_paid":"15.00""#, r#""amount_paid":"15.00","payment_status":"fully_paid""#, revenue("33.00")),
        (
            r#""amount_paid":"15.00","payment_status":"deposit_paid""#,
            r#""amount_paid":"15.00","payment_status":"deposit_paid","balance_paid_at":"2026-01-01T00:00:00Z""#,
            revenue("33.00"),
        ),
        (
            r#""amount_paid":"50.00","payment_status":"fully_paid""#,
            r#""amount_paid":"30.00","payment_status":"partially_refunded""#,
            vec![],
        ),
        // The amount was there before the status said so.
        (r#""amount_paid":"48.00""#, r#""amount_paid":"48.00","payment_status":"fully_paid""#, vec![]),
        (r#""amount_paid":"48.00""#, r#""amount_paid":"48.00","payment_status":"refunded""#, vec![]),
        (r#""payment_status":"fully_paid""#, r#""payment_status":"refunded""#, vec![]),
        (r#""amount_paid":"48.00""#, r#""amount_paid":"10.00""#, vec![]),
        ("", r#""payment_status":"deposit_paid""#, vec![]),
        (r#""seller_id":null"#, r#""seller_id":null,"amount_paid":"48.00""#, vec![]),
    ] {
        assert_eq!(figures("orders", Some(old), Some(new)).await, expected, "{old} to {new}");
    }
    assert_eq!(figures("orders", None, Some(r#""amount_paid":"48.00""#)).await, revenue("48.00"));
    assert_eq!(figures("orders", None, Some("")).await, [] as [&str; 0]);
}

#[tokio::test]
async fn without_a_payment_status_what_was_paid_stays_paid_while_the_status_moves_on() {
    let of = |status: &str, more: &str| {
        let silent = if more.contains("payment_status") { "" } else { r#""payment_status":null,"# };
        format!(r#"{silent}"status":"{status}"{more}"#)
    };
    let deposit = r#","deposit_amount_cents":1500"#;
    for (old, new, expected) in [
        // Later statuses: no second payment, and none that is lost.
        (of("paid", ""), of("in_production", ""), vec![]),
        (of("in_production", ""), of("ready_to_ship", ""), vec![]),
        (of("ready_to_ship", ""), of("fulfilled", ""), vec![]),
        (of("fulfilled", ""), of("completed", ""), vec![]),
        (of("fulfilled", ""), of("fulfilled", r#","payment_status":"fully_paid""#), vec![]),
        (of("fulfilled", r#","payment_status":"""#), of("completed", r#","payment_status":"""#), vec![]),
        (of("deposit_paid", deposit), of("in_production", deposit), vec![]),
        (of("in_production", deposit), of("awaiting_balance", deposit), vec![]),
        (of("awaiting_balance", deposit), of("balance_overdue", deposit), vec![]),
        // What is still to be paid, and no more.
        (of("in_production", deposit), of("paid", deposit), revenue("33.00")),
        (of("balance_overdue", deposit), of("fulfilled", deposit), revenue("33.00")),
        (of("awaiting_balance", deposit), of("paid", &format!(r#"{deposit},"amount_paid":"48.00""#)), revenue("33.00")),
        (
            of("in_production", deposit),
            of("in_production", &format!(r#"{deposit},"balance_paid_at":"2026-01-01T00:00:00Z""#)),
            revenue("33.00"),
        ),
        (of("awaiting_payment", ""), of("fulfilled", ""), revenue("48.00")),
        (of("pending", r#","payment_status":"""#), of("fulfilled", r#","payment_status":"""#), revenue("48.00")),
        // These say nothing about money, and cash is paid on delivery.
        (of("pending", ""), of("shipped", ""), vec![]),
        (of("awaiting_payment", ""), of("cancelled", ""), vec![]),
        (of("pending", deposit), of("shipped", deposit), vec![]),
        // A payment status that says something is believed.
        (of("pending", r#","payment_status":"refunded""#), of("fulfilled", r#","payment_status":"refunded""#), vec![]),
        (
            of("pending", &format!(r#"{deposit},"payment_status":"deposit_paid""#)),
            of("fulfilled", &format!(r#"{deposit},"payment_status":"deposit_paid""#)),
            vec![],
        ),
    ] {
        let found: Vec<_> = figures("orders", Some(&old), Some(&new))
            .await
            .into_iter()
            .filter(|line| line.starts_with("revenue_updated"))
            .collect();
        assert_eq!(found, expected, "{old} to {new}");
    }
}

#[tokio::test]
async fn a_payment_status_of_pending_is_believed_and_what_is_paid_after_the_order_was_fulfilled_is_revenue() {
    let of = |status: &str, payment: &str| {
        format!(r#""status":"{status}","payment_status":"{payment}","deposit_amount_cents":1500"#)
    };
    for (old, new, expected) in [
        (of("pending", "pending"), of("fulfilled", "pending"), vec![]),
        (of("pending", "pending"), of("completed", "pending"), vec![]),
        (of("pending", "pending"), of("in_production", "pending"), vec![]),
        (of("in_production", "pending"), of("balance_overdue", "pending"), vec![]),
        (of("fulfilled", "pending"), of("fulfilled", "fully_paid"), revenue("48.00")),
        (of("completed", "pending"), of("completed", "deposit_paid"), revenue("15.00")),
        (of("in_production", "pending"), of("in_production", "deposit_paid"), revenue("15.00")),
        (of("fulfilled", "deposit_paid"), of("fulfilled", "fully_paid"), revenue("33.00")),
        // These say it in so many words.
        (of("pending", "pending"), of("paid", "pending"), revenue("48.00")),
        (of("pending", "pending"), of("deposit_paid", "pending"), revenue("15.00")),
    ] {
        let found: Vec<_> = figures("orders", Some(&old), Some(&new))
            .await
            .into_iter()
            .filter(|line| line.starts_with("revenue_updated"))
            .collect();
        assert_eq!(found, expected, "{old} to {new}");
    }
}

#[tokio::test]
async fn a_wholesale_payment_is_revenue_of_the_orders_store() {
    let paid = [r#"revenue_updated sellerId="s" newRevenue="372.05" totalRevenue="520.05" period="today""#];
    assert_eq!(figures("wholesale_payments", Some(""), Some(r#""status":"paid""#)).await, paid);
    assert_eq!(figures("wholesale_payments", None, Some(r#""status":"paid""#)).await, paid);
    assert_eq!(figures("wholesale_payments", Some(""), Some(r#""status":"requested""#)).await, [] as [&str; 0]);
    let (before, after) = (r#""status":"paid","amount_cents":1"#, r#""status":"paid""#);
    assert_eq!(figures("wholesale_payments", Some(before), Some(after)).await, [] as [&str; 0]);
}

#[tokio::test]
async fn inventory_alerts_say_whether_stock_is_low_or_out() {
    for (old, new, expected) in [
        (18, 11, None),
        (11, 9, Some("low")),
        (9, 8, None),
        (9, 0, Some("out")),
        (18, -2, Some("out")),
        (0, -1, None),
        (0, 5, None),
        (0, 50, None),
    ] {
        let found = figures("products", Some(&format!("\"stock\":{old}")), Some(&format!("\"stock\":{new}"))).await;
        let alert = |kind| {
            let product = r#"sellerId="s" productId="p" productName="Mug""#;
            format!(r#"inventory_alert {product} currentStock={new} alertType="{kind}""#)
        };
        assert_eq!(found, expected.map(alert).into_iter().collect::<Vec<_>>(), "{old} to {new}");
    }
}

#[tokio::test]
async fn visits_to_a_product_are_told_in_sum() {
    let viewed =
        |count: i64| vec![format!(r#"product_viewed sellerId="s" productId="p" viewCount={count} viewersNow=2"#)];
    assert_eq!(figures("rowcast.room", None, Some("")).await, viewed(5));
    assert_eq!(figures("rowcast.room", Some(""), Some(r#""visits":9"#)).await, viewed(4));
    let nobody = [] as [&str; 0];
    assert_eq!(figures("rowcast.room", Some(r#""people":1"#), Some("")).await, nobody);
    assert_eq!(figures("rowcast.room", None, Some(r#""visits":0"#)).await, nobody);
    assert_eq!(figures("rowcast.room", Some(""), None).await, nobody);
    assert_eq!(figures("rowcast.room", None, Some(r#""id":"gone""#)).await, nobody);
    assert_eq!(figures("rowcast.room", None, Some(r#""kind":"storefront","id":"s""#)).await, nobody);
}

#[tokio::test]
async fn a_dashboard_hears_its_figures() {
    let metrics = r#"{"averageOrderValue":"43.00","totalOrders":2,"totalProducts":5,"totalRevenue":"48.00"}"#;
    let expected = [format!(r#"metrics_updated sellerId="s" metrics={metrics}"#)];
    assert_eq!(figures("rowcast.store_metrics", None, Some("")).await, expected);
    assert_eq!(figures("rowcast.store_metrics", Some(r#""total_orders":1"#), Some("")).await, expected);
}
