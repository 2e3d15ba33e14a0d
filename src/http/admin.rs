//! What only who runs the service may see: on an address of its own, by default this machine's.

use std::{io, num::NonZeroUsize, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Json, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use super::{own_names, server};
use crate::{
    gateway::{Connections, Limits, LimitsConfig, Listener},
    journal::{Answer, Journal, Question},
    metrics::Metrics,
    readiness::Readiness,
};

/// Few ask here, and these may all come from one address.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// What the routes of the admin address need.
pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub readiness: watch::Receiver<Readiness>,
    pub journal: Arc<Journal>,
}

/// Serves metrics and readiness until `shutdown` resolves.
///
/// # Errors
///
/// If the listener has no address.
pub async fn serve_admin(listener: TcpListener, admin: Admin, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let config = LimitsConfig { connections: CONNECTIONS, connections_per_address: CONNECTIONS, ..Default::default() };
    let limits = Limits::new(config, admin.metrics.clone());
    let is_loopback = listener.local_addr()?.ip().is_loopback();
    let router = routes(admin);
    let router = if is_loopback { own_names::only(router) } else { router };
    let listener = Listener::new(listener, Arc::new(Connections::default()), limits.clone());
    server::accept(listener, limits, router, shutdown).await;
    Ok(())
}

fn routes(admin: Admin) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(super::healthy))
        .route("/readyz", get(ready).with_state(admin.readiness))
        .route("/metrics", get(scrape).with_state(admin.metrics))
        .route("/journal", post(tell).with_state(admin.journal))
}

async fn index() -> &'static str {
    "rowcast, for those who run it.\n\n\
     /metrics    for Prometheus\n\
     /readyz     200 while it does its work, else 503 and the whole reason\n\
     /healthz    200 while the process runs\n\
     /journal    for rowcast trace\n"
}

/// What is remembered of a change, an event or a user. By POST with JSON, which no page of another site can send.
async fn tell(State(journal): State<Arc<Journal>>, Json(question): Json<Question>) -> Json<Answer> {
    Json(journal.answer(&question))
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
