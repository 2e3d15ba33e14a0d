//! The demo page, in development mode: its files, which the binary carries, and what the database holds at present.

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Json},
    routing::get,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

/// Nothing from elsewhere but product images; no other page may frame it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: https:; object-src 'none'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, content type, content.
type File = (&'static str, &'static str, &'static [u8]);

/// The files with these names, each at the path of its name below `static/`.
macro_rules! files {
    ($($name:literal: $content_type:ident),* $(,)?) => {
        [$((concat!("/", $name), $content_type, include_bytes!(concat!("../../static/", $name)).as_slice())),*]
    };
}

const START: File = ("/", HTML, include_bytes!("../../static/index.html"));

const FILES: [File; 28] = files! {
    "demo.css": CSS,
    "inbox.css": CSS,
    "socket.io.min.js": SCRIPT,
    "demo/attention.js": SCRIPT,
    "demo/buyer.js": SCRIPT,
    "demo/cart.js": SCRIPT,
    "demo/dashboard.js": SCRIPT,
    "demo/dom.js": SCRIPT,
    "demo/feed.js": SCRIPT,
    "demo/figures.js": SCRIPT,
    "demo/format.js": SCRIPT,
    "demo/inbox.js": SCRIPT,
    "demo/json.js": SCRIPT,
    "demo/letters.js": SCRIPT,
    "demo/listen.js": SCRIPT,
    "demo/main.js": SCRIPT,
    "demo/orders.js": SCRIPT,
    "demo/path.js": SCRIPT,
    "demo/people.js": SCRIPT,
    "demo/product.js": SCRIPT,
    "demo/recent.js": SCRIPT,
    "demo/rows.js": SCRIPT,
    "demo/seller.js": SCRIPT,
    "demo/side.js": SCRIPT,
    "demo/state.js": SCRIPT,
    "demo/storefront.js": SCRIPT,
    "demo/takings.js": SCRIPT,
    "demo/toast.js": SCRIPT,
};

pub fn routes(pool: PgPool) -> Router {
    FILES
        .into_iter()
        .chain([START])
        .fold(Router::new(), |router, (path, content_type, content)| {
            router.route(path, get(async move || file(content_type, content)))
        })
        .route("/demo/state", get(state).with_state(pool))
}

fn file(content_type: &'static str, content: &'static [u8]) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        // A new build is seen at once.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}

/// What a table contributes to the page. Rows are read as JSON, so a column that the table lacks is null and no error.
struct Excerpt {
    key: &'static str,
    /// The table whose rows are `r`, and one whose rows are `s` where it needs a second; without one of them it is empty.
    tables: &'static [&'static str],
    columns: &'static str,
    /// What follows the tables' names.
    rest: &'static str,
}

const NAME: &str = "'id', r->'id', 'email', r->'email',
                    'name', coalesce(r->>'username', r->>'name', r->>'email', r->>'id')";

const EXCERPTS: [Excerpt; 10] = [
    Excerpt {
        key: "sellers",
        tables: &["users"],
        columns: NAME,
        // Administrators of the platform have no store of their own.
        rest: "where (r->>'role' in ('seller', 'owner') or r->>'user_type' = 'seller')
                 and coalesce(r->>'is_platform_admin', '') not in ('1', 'true') order by r->>'id' limit 50",
    },
    Excerpt {
        key: "buyers",
        tables: &["users"],
        columns: NAME,
        rest: "where coalesce(r->>'role', '') not in ('seller', 'owner') and coalesce(r->>'user_type', '') <> 'seller'
                 and coalesce(r->>'seller_id', '') = '' order by r->>'id' limit 50",
    },
    Excerpt {
        key: "products",
        tables: &["products"],
        columns: "'id', r->'id', 'seller_id', r->'seller_id', 'name', r->'name', 'price', r->>'price',
                  'stock', r->'stock', 'status', r->'status', 'promotion_active', r->'promotion_active',
                  'discount_percentage', r->'discount_percentage'",
        rest: "order by (r->>'status' = 'active') desc nulls last, r->>'seller_id', r->>'name', r->>'id' limit 60",
    },
    Excerpt {
        key: "carts",
        tables: &["carts"],
        columns: "'id', r->'id', 'seller_id', r->'seller_id', 'buyer_id', r->'buyer_id', 'status', r->'status',
                  'items', r->'items'",
        rest: "where r->>'buyer_id' <> '' order by r->>'id' limit 200",
    },
    Excerpt {
        key: "orders",
        tables: &["orders"],
        columns: "'id', r->'id', 'seller_id', r->'seller_id', 'user_id', r->'user_id', 'status', r->'status',
                  'payment_status', r->'payment_status', 'fulfillment_status', r->'fulfillment_status',
                  'order_type', r->'order_type', 'total', r->>'total', 'tracking_number', r->'tracking_number',
                  'customer_name', r->'customer_name', 'items', r->'items', 'created_at', r->'created_at'",
        rest: "order by r->>'created_at' desc nulls last limit 60",
    },
    Excerpt {
        key: "quotations",
        tables: &["trade_quotations"],
        columns: "'id', r->'id', 'seller_id', r->'seller_id', 'buyer_id', r->'buyer_id',
                  'buyer_email', r->'buyer_email', 'quotation_number', r->'quotation_number', 'status', r->'status', 'total', r->>'total',
                  'created_at', r->'created_at'",
        rest: "order by r->>'created_at' desc nulls last limit 40",
    },
    Excerpt {
        key: "invitations",
        tables: &["wholesale_invitations"],
        columns: "'id', r->'id', 'seller_id', r->'seller_id', 'buyer_email', r->'buyer_email',
                  'buyer_name', r->'buyer_name', 'status', r->'status', 'created_at', r->'created_at'",
        rest: "order by r->>'created_at' desc nulls last limit 40",
    },
    Excerpt {
        key: "wholesale",
        tables: &["wholesale_orders"],
        columns: "'id', r->'id', 'seller_id', r->'seller_id', 'buyer_id', r->'buyer_id', 'status', r->'status',
                  'total', round((r->>'total_cents')::numeric / 100, 2)::text, 'created_at', r->'created_at'",
        rest: "order by r->>'created_at' desc nulls last limit 40",
    },
    // What has been paid of an order is defined in catalog/analytics.toml; a day is one in UTC.
    Excerpt {
        key: "figures",
        tables: &["orders"],
        columns: "'seller_id', r->'seller_id', 'total_orders', count(*),
                  'average_order_value', round(avg((r->>'total')::numeric), 2)::text,
                  'total_revenue', round(sum(paid.amount), 2)::text,
                  'revenue_today', round(coalesce(sum(paid.amount) filter (
                      where left(r->>'created_at', 10) = to_char(now() at time zone 'UTC', 'YYYY-MM-DD')), 0), 2)::text",
        rest: "cross join lateral (select case
                   when (r->>'amount_paid')::numeric > 0
                       and (r->>'payment_status' in ('refunded', 'partially_refunded')
                            or r->>'status' in ('refunded', 'partially_refunded')) then (r->>'amount_paid')::numeric
                   when r->>'payment_status' in ('fully_paid', 'paid') or r->>'status' in ('fully_paid', 'paid')
                       or r->>'balance_paid_at' is not null
                       then greatest((r->>'amount_paid')::numeric, (r->>'total')::numeric)
                   when (r->>'amount_paid')::numeric > 0 then (r->>'amount_paid')::numeric
                   when r->>'payment_status' = 'deposit_paid' or r->>'status' = 'deposit_paid'
                       then (r->>'deposit_amount_cents')::numeric / 100
                   when r->>'payment_status' <> '' then 0
                   when r->>'status' in ('fulfilled', 'completed') then (r->>'total')::numeric
                   when r->>'status' in ('awaiting_balance', 'balance_overdue')
                       then (r->>'deposit_amount_cents')::numeric / 100
                   when r->>'status' in ('in_production', 'ready_to_ship') then coalesce(
                       nullif((r->>'deposit_amount_cents')::numeric, 0) / 100, (r->>'total')::numeric)
                   else 0 end as amount) as paid
               where r->>'seller_id' <> '' group by r->'seller_id'",
    },
    Excerpt {
        key: "wholesale_revenue",
        tables: &["wholesale_payments", "wholesale_orders"],
        columns: "'seller_id', s->'seller_id',
                  'total_revenue', round(sum((r->>'amount_cents')::numeric) / 100, 2)::text,
                  'revenue_today', round(coalesce(sum((r->>'amount_cents')::numeric) filter (
                      where (r->>'paid_at')::timestamptz at time zone 'UTC'
                          >= date_trunc('day', now() at time zone 'UTC')), 0) / 100, 2)::text",
        rest: "where s->>'id' = r->>'wholesale_order_id' and r->>'status' = 'paid' group by s->'seller_id'",
    },
];

async fn state(State(pool): State<PgPool>) -> Json<Value> {
    let mut state = serde_json::Map::new();
    for excerpt in &EXCERPTS {
        let rows = read(&pool, excerpt).await.unwrap_or_else(|error| {
            tracing::warn!(tables = ?excerpt.tables, %error, "the demo page could not read a table");
            Value::Array(Vec::new())
        });
        state.insert(excerpt.key.to_owned(), rows);
    }
    Json(Value::Object(state))
}

async fn read(pool: &PgPool, excerpt: &Excerpt) -> Result<Value, sqlx::Error> {
    let Excerpt { tables, columns, rest, .. } = excerpt;
    let exist: bool =
        sqlx::query_scalar("select bool_and(to_regclass(name) is not null) from unnest($1::text[]) as t (name)")
            .bind(*tables)
            .fetch_one(pool)
            .await?;
    if !exist {
        return Ok(Value::Array(Vec::new()));
    }
    let rows: Vec<String> = tables
        .iter()
        .zip(["r", "s"])
        .map(|(table, row)| format!("(select to_jsonb(t) as {row} from {table} as t) as of_{table}"))
        .collect();
    // Of the constants above alone, hence safe.
    let sql = format!(
        "select coalesce(json_agg(row), '[]') from (select json_build_object({columns}) as row from {rows} {rest}) as chosen",
        rows = rows.join(" cross join "),
    );
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await
}

#[cfg(test)]
mod tests {
    use super::EXCERPTS;

    /// Each definition of what has been paid of an order, without spaces and casts.
    fn definitions(text: &str) -> Vec<String> {
        let text: String = text.lines().map(|line| line.trim_start_matches('#')).collect::<Vec<_>>().join(" ");
        let cases = text.split("case ").filter(|case| case.trim_start().starts_with("when"));
        let paid = cases.filter(|case| case.contains("amount_paid")).map(|case| case.split(" end").next().unwrap());
        paid.map(|case| {
            let plain =
                case.replace("r->>'", "o.").replace("::numeric", "").replace("::text", "").replace("100.0", "100");
            plain.chars().filter(|c| !c.is_whitespace() && !"()'".contains(*c)).collect()
        })
        .collect()
    }

    #[test]
    fn what_has_been_paid_is_defined_as_in_the_catalog() {
        let of_catalog = definitions(include_str!("../../catalog/analytics.toml"));
        assert_eq!(of_catalog.len(), 5, "in words at its head, and in four sums");
        let figures = EXCERPTS.iter().find(|excerpt| excerpt.key == "figures").unwrap();
        let of_page = definitions(figures.rest);
        assert_eq!(of_page.len(), 1);
        assert!(of_catalog.iter().all(|definition| *definition == of_page[0]), "{of_catalog:#?}\n{of_page:#?}");
    }
}
