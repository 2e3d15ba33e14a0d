//! The HTTP server: Socket.IO, health, readiness, and the demo page of the development mode; and apart from it, for those
//! who run the service, metrics.

mod admin;
mod demo;
mod own_names;
mod server;

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Json, Response},
    routing::get,
};
use serde_json::json;
use socketioxide::layer::SocketIoLayer;
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::watch};
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use self::admin::{Admin, serve_admin};
use crate::{
    gateway::{Admission, Gateway, Listener, Origins},
    readiness::Readiness,
};

/// What the routes need.
pub struct Http {
    pub gateway: Gateway,
    /// The layer that came with the gateway.
    pub socket_io: SocketIoLayer,
    /// `[gateway]`'s `allowed_origins`.
    pub allowed_origins: Origins,
    pub readiness: watch::Receiver<Readiness>,
    /// In development mode the database that the demo page shows; otherwise there is no such page.
    pub demo: Option<PgPool>,
}

/// Every route that clients reach.
pub fn router(http: Http) -> Router {
    let Http { gateway, socket_io, allowed_origins, readiness, demo } = http;
    let pages = match demo {
        Some(pool) => own_names::only(demo::routes(pool)),
        None => Router::new().route("/", get(endpoints)),
    };
    let admission = Admission::new(gateway, allowed_origins.clone());
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready).with_state(readiness))
        .merge(pages)
        .layer(socket_io)
        .layer(middleware::from_fn_with_state(admission, Admission::check))
        .layer(cors(allowed_origins))
}

/// Serves until `shutdown` resolves; then accepts nothing more, and returns when the last request was answered.
///
/// Clients that poll are answered when the gateway is drained, so drain it meanwhile.
pub async fn serve(listener: TcpListener, gateway: &Gateway, router: Router, shutdown: impl Future<Output = ()>) {
    let limits = gateway.limits().clone();
    let listener = Listener::new(listener, gateway.connections(), limits.clone());
    server::accept(listener, limits, router, shutdown).await;
}

async fn healthy() -> &'static str {
    "ok\n"
}

async fn ready(State(readiness): State<watch::Receiver<Readiness>>) -> Response {
    match readiness.borrow().word() {
        None => Json(json!({ "ready": true })).into_response(),
        Some(word) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "reason": word }))).into_response()
        }
    }
}

async fn endpoints() -> &'static str {
    "rowcast: committed row changes as Socket.IO events.\n\n\
     /socket.io  for Socket.IO clients\n\
     /healthz    200 while the process runs\n\
     /readyz     200 while it does its work, else 503\n"
}

fn cors(origins: Origins) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION]);
    match origins {
        Origins::Any => layer.allow_origin(AllowOrigin::any()),
        listed => {
            layer.allow_origin(AllowOrigin::predicate(move |origin, _| listed.contain(origin))).allow_credentials(true)
        }
    }
}
