//! The HTTP server: health, readiness, metrics, Socket.IO, and the demo page of the development mode.

mod demo;

use std::{io, sync::Arc};

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

use crate::{
    gateway::{Admission, Gateway, Listener, Origin, Peer},
    metrics::Metrics,
    readiness::Readiness,
};

/// What the routes need.
pub struct Http {
    pub gateway: Gateway,
    /// The layer that came with the gateway.
    pub socket_io: SocketIoLayer,
    /// `[gateway]`'s `allowed_origins`.
    pub allowed_origins: Vec<Origin>,
    pub metrics: Arc<Metrics>,
    pub readiness: watch::Receiver<Readiness>,
    /// In development mode the database that the demo page shows; otherwise there is no such page.
    pub demo: Option<PgPool>,
}

/// Every route of the service.
pub fn router(http: Http) -> Router {
    let Http { gateway, socket_io, allowed_origins, metrics, readiness, demo } = http;
    let pages = match demo {
        Some(pool) => demo::routes(pool),
        None => Router::new().route("/", get(endpoints)),
    };
    let admission = Admission::new(gateway, &allowed_origins);
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(scrape).with_state(metrics))
        .merge(pages)
        .layer(socket_io)
        .layer(middleware::from_fn_with_state(admission, Admission::check))
        .layer(cors(&allowed_origins))
}

/// Serves until `shutdown` resolves; then accepts nothing more, and returns when the last request was answered.
///
/// Clients that poll are answered when the gateway is drained, so drain it meanwhile.
///
/// # Errors
///
/// If the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    gateway: &Gateway,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = Listener::new(listener, gateway.connections());
    axum::serve(listener, router.into_make_service_with_connect_info::<Peer>()).with_graceful_shutdown(shutdown).await
}

async fn ready(State(readiness): State<watch::Receiver<Readiness>>) -> Response {
    match &*readiness.borrow() {
        Readiness::Ready => Json(json!({ "ready": true })).into_response(),
        Readiness::NotReady(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "ready": false, "reason": reason }))).into_response()
        }
    }
}

async fn scrape(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.encode())
}

async fn endpoints() -> &'static str {
    "rowcast: committed row changes as Socket.IO events.\n\n\
     /socket.io  for Socket.IO clients\n\
     /healthz    200 while the process runs\n\
     /readyz     200 while it does its work, else 503 and the reason\n\
     /metrics    for Prometheus\n"
}

fn cors(origins: &[Origin]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().map(|origin| origin.as_header().clone())))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION])
}
