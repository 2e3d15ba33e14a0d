//! The marketplace's tables, rows of them, and what the catalog that comes with rowcast makes of their changes.

use std::sync::LazyLock;

use super::*;
use crate::catalog::evaluate::Evaluated;

pub(super) const PRODUCT: &[&str] =
    &["id", "seller_id", "name", "price", "stock", "status", "sku", "deposit_amount", "cost"];
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
    "currency",
    "items",
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
    "currency",
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
const CART: &[&str] = &["id", "seller_id", "buyer_id", "items", "status"];
const NOTIFICATION: &[&str] =
    &["id", "user_id", "audience", "seller_id", "kind", "title", "body", "subject", "read_at"];

/// A quotation whose time the clock has told of ran out then; of any other time it knows nothing.
pub(super) const TOLD_TIME: &str = "1969-12-30T12:00:00.000Z";
pub(super) const OTHER_TIME: &str = "1969-12-31T12:00:00.123456Z";

/// All tables, watched, and lookups that know one row of each: the store `s` with the product `p`, and its buyer `b`.
pub(super) fn marketplace() -> Engine {
    let tables = tables(&[
        ("products", PRODUCT),
        ("orders", ORDER),
        ("wholesale_invitations", INVITATION),
        ("wholesale_orders", WHOLESALE_ORDER),
        ("wholesale_payments", PAYMENT),
        ("trade_quotations", QUOTATION),
        ("carts", CART),
        ("rowcast.notification", NOTIFICATION),
    ]);
    // Compiled once for all tests: it takes a while in a debug build.
    static CATALOG: LazyLock<Arc<Catalog>> =
        LazyLock::new(|| Arc::new(Catalog::built_in(&Settings::new()).unwrap_or_else(|faults| panic!("{faults}"))));
    let mut engine = engine(CATALOG.clone(), &tables);
    for (lookup, key, rows) in [
        ("cart_holders", "p", r#"[{"key":"p","user_id":"holder"}]"#),
        ("cart_holders", "q", "[]"),
        ("product_seller", "p", r#"[{"key":"p","seller_id":"s"}]"#),
        ("product_seller", "gone", "[]"),
        ("restock_waiting", "1970-01-01T00:00:00.000000Z@p", r#"[{"user_id":"waiting"},{"user_id":"holder"}]"#),
        ("user_by_email", "nobody@x", "[]"),
        ("user_by_email", "b@x", r#"[{"key":"b@x","user_id":"b"}]"#),
        ("wholesale_order", "w", r#"[{"key":"w","seller_id":"s","buyer_id":"b","currency":"EUR"}]"#),
        ("revenue_of_day", "1970-01-01@store@s", r#"[{"seller_id":"s","total":"148.00"}]"#),
        ("revenue_of_day", "1970-01-01@wholesale_order@w", r#"[{"seller_id":"s","total":"520.05"}]"#),
        ("unread_count", "b", r#"[{"key":"b","unread":3}]"#),
        ("unread_count", "s", "[]"),
        ("partners", "b", r#"[{"user_id":"s","seller_id":"s"}]"#),
        ("partners", "s", r#"[{"user_id":"b","seller_id":null},{"user_id":"b2","seller_id":null}]"#),
    ] {
        let rows: Vec<Box<RawValue>> = serde_json::from_str(rows).unwrap();
        engine.remember(lookup, key, rows.iter().map(|json| row(json.get())).collect());
    }
    let told = format!("q@{TOLD_TIME}");
    engine.remember("expiry_told", &told, vec![row(&format!("{{\"key\":\"{told}\"}}"))]);
    engine.remember("expiry_told", &format!("q@{OTHER_TIME}"), vec![]);
    engine
}

/// A row of the table: `defaults` with `values` put over them, and null for the other columns.
pub(super) fn full(columns: &[&str], defaults: &str, values: &str) -> String {
    let mut row: BTreeMap<String, Box<RawValue>> =
        columns.iter().map(|column| ((*column).to_owned(), RawValue::from_string("null".into()).unwrap())).collect();
    for json in [defaults, values] {
        let json: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&format!("{{{json}}}")).unwrap();
        row.extend(json);
    }
    serde_json::to_string(&row).unwrap()
}

pub(super) fn defaults(table: &str) -> (&'static [&'static str], &'static str) {
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
        "carts" => (CART, r#""id":"c","seller_id":"s","buyer_id":"b","items":[],"status":"active""#),
        "rowcast.notification" => (
            NOTIFICATION,
            r#""id":"n","user_id":"b","kind":"order","title":"T","body":"B","subject":{"type":"order","id":"o"}"#,
        ),
        "rowcast.quotation_expired" => (
            &["key", "id", "seller_id", "buyer_id", "buyer_email", "quotation_number", "valid_until"],
            r#""key":"q@t","id":"q","seller_id":"s","buyer_email":"b@x","quotation_number":"Q-1""#,
        ),
        "rowcast.store_metrics" => (
            &["key", "total_orders", "total_revenue", "total_products", "average_order_value"],
            r#""key":"s","total_orders":2,"total_revenue":"48.00","total_products":5,"average_order_value":"43.00""#,
        ),
        "rowcast.online" => (&["user_id"], r#""user_id":"b""#),
        "rowcast.room" => (
            &["room", "kind", "id", "people", "visits"],
            r#""room":"product:p","kind":"product","id":"p","people":2,"visits":5"#,
        ),
        other => panic!("no defaults for {other}"),
    }
}

/// What one change comes to; both sides are differences from the defaults.
pub(super) async fn evaluated(table: &str, old: Option<&str>, new: Option<&str>) -> Evaluated {
    let (columns, base) = defaults(table);
    let side = |values: Option<&str>| values.map(|values| full(columns, base, values)).unwrap_or_default();
    let evaluated = marketplace().evaluate(&page(vec![change(table, &side(old), &side(new))])).await.unwrap();
    assert_eq!(evaluated.failures, []);
    evaluated
}

/// Events of one change as `event rooms | rooms`, in order.
pub(super) async fn heard(table: &str, old: Option<&str>, new: Option<&str>) -> (Vec<String>, Vec<Event>) {
    let events = evaluated(table, old, new).await.events;
    let lines = events.iter().map(|event| {
        let rooms: Vec<_> = audiences(event).into_iter().map(|(rooms, _)| rooms).collect();
        format!("{} {}", event.kind, rooms.join(" | "))
    });
    (lines.collect(), events)
}

/// Notifications of one change as `kind room: title: body`, in order.
pub(super) async fn notified(table: &str, old: Option<&str>, new: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    for event in evaluated(table, old, new).await.inbox {
        for audience in &event.audiences {
            let text = |key: &str| -> String {
                let value = audience.data.iter().find(|(name, _)| &**name == key).unwrap_or_else(|| panic!("no {key}"));
                serde_json::from_str(value.1.get()).unwrap()
            };
            let (title, body) = (text("title"), text("body"));
            lines
                .extend(audience.rooms.iter().map(|room| format!("{} {}: {title}: {body}", event.kind, room.as_str())));
        }
    }
    lines
}

/// The data of an event's audiences, with their rooms.
pub(super) fn data(events: &[Event], kind: &str) -> Vec<(String, String)> {
    audiences(events.iter().find(|event| *event.kind == *kind).unwrap_or_else(|| panic!("no {kind}")))
}
