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

/// Path, content type, content.
const FILES: [(&str, &str, &[u8]); 4] = [
    ("/", "text/html; charset=utf-8", include_bytes!("../../static/index.html")),
    ("/demo.js", "text/javascript; charset=utf-8", include_bytes!("../../static/demo.js")),
    ("/demo.css", "text/css; charset=utf-8", include_bytes!("../../static/demo.css")),
    ("/socket.io.min.js", "text/javascript; charset=utf-8", include_bytes!("../../static/socket.io.min.js")),
];

pub fn routes(pool: PgPool) -> Router {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, content_type, content)| {
            router.route(path, get(async move || file(content_type, content)))
        })
        .route("/demo/state", get(state).with_state(pool))
}

fn file(content_type: &'static str, content: &'static [u8]) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A new build is seen at once.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}

/// What a table contributes to the page. Rows are read as JSON, so a column that the table lacks is null and no error.
struct Excerpt {
    key: &'static str,
    table: &'static str,
    columns: &'static str,
    /// What follows the table's name; `r` is the row as JSON.
    rest: &'static str,
}

const NAME: &str = "'id', r->'id', 'name', coalesce(r->>'username', r->>'name', r->>'email', r->>'id')";

const EXCERPTS: [Excerpt; 5] = [
    Excerpt {
        key: "sellers",
        table: "users",
        columns: NAME,
        // Administrators of the platform have no store of their own.
        rest: "where (r->>'role' in ('seller', 'owner') or r->>'user_type' = 'seller')
                 and coalesce(r->>'is_platform_admin', '') not in ('1', 'true') order by r->>'id' limit 50",
    },
    Excerpt {
        key: "buyers",
        table: "users",
        columns: NAME,
        rest: "where coalesce(r->>'role', '') not in ('seller', 'owner') and coalesce(r->>'user_type', '') <> 'seller'
                 and coalesce(r->>'seller_id', '') = '' order by r->>'id' limit 50",
    },
    Excerpt {
        key: "products",
        table: "products",
        columns: "'id', r->'id', 'seller_id', r->'seller_id', 'name', r->'name', 'price', r->>'price',
                  'stock', r->'stock', 'status', r->'status', 'image', r->'image'",
        rest: "order by (r->>'status' = 'active') desc nulls last, r->>'seller_id', r->>'name', r->>'id' limit 60",
    },
    Excerpt {
        key: "orders",
        table: "orders",
        columns: "'id', r->'id', 'seller_id', r->'seller_id', 'user_id', r->'user_id', 'status', r->'status',
                  'payment_status', r->'payment_status', 'fulfillment_status', r->'fulfillment_status',
                  'order_type', r->'order_type', 'total', r->>'total', 'tracking_number', r->'tracking_number',
                  'customer_name', r->'customer_name', 'created_at', r->'created_at'",
        rest: "order by r->>'created_at' desc nulls last limit 20",
    },
    Excerpt {
        key: "quotations",
        table: "trade_quotations",
        columns: "'id', r->'id', 'seller_id', r->'seller_id', 'buyer_id', r->'buyer_id',
                  'buyer_email', r->'buyer_email', 'quotation_number', r->'quotation_number', 'status', r->'status', 'total', r->>'total',
                  'created_at', r->'created_at'",
        rest: "order by r->>'created_at' desc nulls last limit 20",
    },
];

async fn state(State(pool): State<PgPool>) -> Json<Value> {
    let mut state = serde_json::Map::new();
    for excerpt in &EXCERPTS {
        let rows = read(&pool, excerpt).await.unwrap_or_else(|error| {
            tracing::warn!(table = excerpt.table, %error, "the demo page could not read a table");
            Value::Array(Vec::new())
        });
        state.insert(excerpt.key.to_owned(), rows);
    }
    Json(Value::Object(state))
}

async fn read(pool: &PgPool, excerpt: &Excerpt) -> Result<Value, sqlx::Error> {
    let Excerpt { table, columns, rest, .. } = excerpt;
    let exists: bool = sqlx::query_scalar("select to_regclass($1) is not null").bind(table).fetch_one(pool).await?;
    if !exists {
        return Ok(Value::Array(Vec::new()));
    }
    // Of the constants above alone, hence safe.
    let sql = format!(
        "select coalesce(json_agg(row), '[]') from (
             select json_build_object({columns}) as row from (select to_jsonb(t) as r from {table} t) rows {rest}
         ) chosen"
    );
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await
}
