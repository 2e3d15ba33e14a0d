//! Accepting connections, and carrying requests from them to the routes.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use crate::gateway::{Connection, Limits, Listener};

/// The longest head of a request, in bytes: a session's cookie and a long token fit well.
const MAX_HEAD: usize = 64 * 1024;

/// How long a connection may take for its next request. Above the 60 s for which load balancers keep a connection that is
/// idle: they would send a request just when it is closed.
const BETWEEN_REQUESTS: Duration = Duration::from_secs(75);

/// Accepts until `shutdown` resolves, and returns when the last request was answered.
///
/// A task for each connection, all awaited here; one ends when its client closes, takes too long for a request, or is told
/// to by `shutdown`. A WebSocket leaves its task, and belongs to Engine.IO.
pub async fn accept(mut listener: Listener, limits: Arc<Limits>, router: Router, shutdown: impl Future<Output = ()>) {
    let (carriers, stop) = (TaskTracker::new(), CancellationToken::new());
    let mut shutdown = pin!(shutdown);
    loop {
        let connection = tokio::select! {
            biased;
            () = &mut shutdown => break,
            connection = listener.accept() => connection,
        };
        carriers.spawn(carry(connection, limits.clone(), router.clone(), stop.clone()));
    }
    drop(listener);
    stop.cancel();
    carriers.close();
    carriers.wait().await;
}

async fn carry(connection: Connection, limits: Arc<Limits>, router: Router, stop: CancellationToken) {
    let peer = connection.peer();
    let address = peer.address().ip();
    let has_asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let has_asked = has_asked.clone();
        move |request: hyper::Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer.clone()));
            router.clone().oneshot(request)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(BETWEEN_REQUESTS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(connection), service);
    let mut serving = pin!(serving.with_upgrades());
    let first_request = tokio::time::sleep(limits.handshake_timeout());
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stop.cancelled() => {}
        () = first_request => {
            if !has_asked.load(Ordering::Relaxed) {
                limits.note("handshake_timeout", Some(address));
                return;
            }
            tokio::select! {
                _ = serving.as_mut() => return,
                () = stop.cancelled() => {}
            }
        }
    }
    // Nobody waits for a first request that may never come.
    if has_asked.load(Ordering::Relaxed) {
        serving.as_mut().graceful_shutdown();
        serving.await.ok();
    }
}
