//! The catalog that comes with rowcast, against changes of the marketplace's tables.

use std::sync::LazyLock;

use super::*;

const PRODUCT: &[&str] = &["id", "seller_id", "name", "price", "stock", "status", "sku", "deposit_amount", "cost"];
const ORDER: &[&str] = &[
    "id",
    "user_id",
    "seller_id",
    "order_type",
    "total",
    "amount_paid",
    "remaining_balance",
    "payment_type",
    "payment_status",
    "status",
    "fulfillment_status",
    "tracking_number",
    "tracking_link",
    "shipping_carrier",
    "deposit_amount_cents",
    "balance_due_cents",
    "balance_paid_at",
];
const INVITATION: &[&str] = &["id", "seller_id", "buyer_email", "buyer_name", "status"];
const WHOLESALE_ORDER: &[&str] = &[
    "id",
    "seller_id",
    "buyer_id",
    "status",
    "total_cents",
    "deposit_amount_cents",
    "balance_amount_cents",
    "payment_terms",
];
const PAYMENT: &[&str] = &["id", "wholesale_order_id", "payment_type", "status", "amount_cents"];
const QUOTATION: &[&str] = &[
    "id",
    "seller_id",
    "buyer_email",
    "buyer_id",
    "quotation_number",
    "total",
    "status",
    "valid_until",
    "metadata",
    "updated_at",
];

/// All tables, watched, and lookups that know one cart holder, one user and one order.
fn marketplace() -> Engine {
    let tables = tables(&[
        ("products", PRODUCT),
        ("orders", ORDER),
        ("wholesale_invitations", INVITATION),
        ("wholesale_orders", WHOLESALE_ORDER),
        ("wholesale_payments", PAYMENT),
        ("trade_quotations", QUOTATION),
    ]);
    // Compiled once for all tests: it takes a while in a debug build.
    static CATALOG: LazyLock<Arc<Catalog>> =
        LazyLock::new(|| Arc::new(Catalog::built_in(&Settings::new()).unwrap_or_else(|faults| panic!("{faults}"))));
    let mut engine = engine(CATALOG.clone(), &tables);
    engine.remember("cart_holders", "p", vec![row(r#"{"key":"p","user_id":"holder"}"#)]);
    engine.remember("cart_holders", "q", vec![]);
    engine.remember("user_by_email", "b@x", vec![row(r#"{"key":"b@x","user_id":"b"}"#)]);
    engine.remember("wholesale_order", "w", vec![row(r#"{"key":"w","seller_id":"s","buyer_id":"b"}"#)]);
    engine
}

/// A row of the table: `defaults` with `values` put over them, and null for the other columns.
fn full(columns: &[&str], defaults: &str, values: &str) -> String {
    let mut row: BTreeMap<String, Box<RawValue>> =
        columns.iter().map(|column| ((*column).to_owned(), RawValue::from_string("null".into()).unwrap())).collect();
    for json in [defaults, values] {
        let json: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&format!("{{{json}}}")).unwrap();
        row.extend(json);
    }
    serde_json::to_string(&row).unwrap()
}

fn defaults(table: &str) -> (&'static [&'static str], &'static str) {
    match table {
        "products" => (
            PRODUCT,
            r#""id":"p","seller_id":"s","name":"Mug","price":"24.00","stock":18,"status":"active","sku":"SECRET""#,
        ),
        "orders" => (
            ORDER,
            r#""id":"o","user_id":"b","seller_id":"s","order_type":"retail","total":"48.00","amount_paid":"0.00",
               "remaining_balance":"0.00","payment_type":"full","payment_status":"pending","status":"pending",
               "fulfillment_status":"unfulfilled""#,
        ),
        "wholesale_invitations" => {
            (INVITATION, r#""id":"i","seller_id":"s","buyer_email":"b@x","buyer_name":"B","status":"pending""#)
        }
        "wholesale_orders" => (
            WHOLESALE_ORDER,
            r#""id":"w","seller_id":"s","buyer_id":"b","status":"pending","total_cents":124000,
               "deposit_amount_cents":37200,"balance_amount_cents":86800,"payment_terms":"Net 30""#,
        ),
        "wholesale_payments" => (
            PAYMENT,
            r#""id":"y","wholesale_order_id":"w","payment_type":"deposit","status":"pending","amount_cents":37205"#,
        ),
        "trade_quotations" => (
            QUOTATION,
            r#""id":"q","seller_id":"s","buyer_email":"b@x","quotation_number":"Q-1","total":"500.00","status":"draft""#,
        ),
        other => panic!("no defaults for {other}"),
    }
}

/// Events of one change as `event rooms | rooms`, in order.
async fn heard(table: &str, old: Option<&str>, new: Option<&str>) -> (Vec<String>, Vec<Event>) {
    let (columns, base) = defaults(table);
    let side = |values: Option<&str>| values.map(|values| full(columns, base, values)).unwrap_or_default();
    let mut engine = marketplace();
    let evaluated = engine.evaluate(&page(vec![change(table, &side(old), &side(new))])).await.unwrap();
    assert_eq!(evaluated.failures, []);
    let lines = evaluated.events.iter().map(|event| {
        let rooms: Vec<_> = audiences(event).into_iter().map(|(rooms, _)| rooms).collect();
        format!("{} {}", event.kind, rooms.join(" | "))
    });
    (lines.collect(), evaluated.events)
}

fn data(events: &[Event], kind: &str) -> Vec<(String, String)> {
    audiences(events.iter().find(|event| *event.kind == *kind).unwrap_or_else(|| panic!("no {kind}")))
}

#[test]
fn the_catalog_has_every_event_of_its_modules() {
    let catalog = Catalog::built_in(&Settings::new()).unwrap_or_else(|faults| panic!("{faults}"));
    let kinds: Vec<_> = catalog.event_kinds().into_iter().collect();
    assert_eq!(
        kinds,
        [
            "order:updated",
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
    assert_eq!(catalog.tables().len(), 6);
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
    assert_eq!(data(&events, "product:updated")[1].1, r#"productId="p" sellerId="s" changes={"status":"draft"}"#);
}

#[tokio::test]
async fn viewers_of_the_old_id_hear_that_it_changed() {
    let (lines, events) = heard("products", Some(r#""id":"p0""#), Some("")).await;
    assert_eq!(lines, ["product:updated seller:s user:s | product:p product:p0 storefront:s"]);
    assert_eq!(data(&events, "product:updated")[1].1, r#"productId="p" sellerId="s" changes={"id":"p"}"#);
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
            ],
        ),
        (
            "orders",
            Some(order(r#""payment_status":"deposit_paid""#)),
            Some(order(r#""payment_status":"fully_paid","balance_due_cents":0"#)),
            vec![format!("wholesale:balance_paid {seller} user:b")],
        ),
        (
            "orders",
            Some(order(r#""payment_status":"deposit_paid""#)),
            Some(order(r#""payment_status":"deposit_paid","balance_paid_at":"2026-01-01T00:00:00Z""#)),
            vec![format!("wholesale:balance_paid {seller} user:b")],
        ),
        (
            "orders",
            Some(r#""order_type":"wholesale""#.into()),
            Some(r#""order_type":"wholesale","payment_status":"fully_paid""#.into()),
            vec![],
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
            vec![format!("wholesale:order_updated {seller} user:b"), format!("order:updated user:b {seller}")],
        ),
        (
            "orders",
            Some(String::new()),
            Some(r#""payment_status":"refunded","status":"refunded""#.into()),
            vec![format!("order:updated user:b {seller}")],
        ),
        ("orders", Some(String::new()), Some(r#""amount_paid":"48.00""#.into()), vec![]),
        ("wholesale_orders", None, Some(String::new()), vec![format!("wholesale:order_placed {seller} user:b")]),
        (
            "wholesale_orders",
            Some(String::new()),
            Some(r#""status":"fulfilled""#.into()),
            vec![format!("wholesale:order_updated {seller} user:b"), "wholesale:order_shipped user:b".into()],
        ),
        (
            "wholesale_payments",
            Some(String::new()),
            Some(r#""status":"paid""#.into()),
            vec![format!("wholesale:deposit_paid {seller} user:b")],
        ),
        (
            "wholesale_payments",
            None,
            Some(r#""status":"paid","payment_type":"balance""#.into()),
            vec![format!("wholesale:balance_paid {seller} user:b")],
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
