//! Which HTTP requests get to Socket.IO, and which TCP connection becomes a socket's.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use socketioxide::socket::Sid;

use super::{Gateway, Origins, Peer, limits::TurnedAway};

/// The client's own address, behind the proxies that are trusted, as an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// What Engine.IO answers for a session that it doesn't know; clients then connect anew.
const UNKNOWN_SESSION: &str = r#"{"code":"1","message":"Session ID unknown"}"#;

/// A middleware (`axum::middleware::from_fn_with_state(admission, Admission::check)`) around the Socket.IO layer.
#[derive(Debug, Clone)]
pub struct Admission {
    gateway: Gateway,
    origins: Arc<Origins>,
}

impl Admission {
    pub fn new(gateway: Gateway, origins: Origins) -> Self {
        Self { gateway, origins: Arc::new(origins) }
    }

    /// Turns away pages that may not connect, whoever takes more than the limits allow, and sockets that were cut.
    pub async fn check(State(admission): State<Self>, mut request: Request, next: Next) -> Response {
        let limits = admission.gateway.limits();
        let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.clone());
        let address = peer.as_ref().map(|peer| limits.client_address(peer.address().ip(), request.headers()));
        if let Some(address) = address {
            request.extensions_mut().insert(ClientAddress(address));
        }
        if !request.uri().path().starts_with("/socket.io") {
            return next.run(request).await;
        }
        if admission.gateway.is_standing_by() {
            let error = "this instance does not capture: it starts, or another one serves";
            return (StatusCode::SERVICE_UNAVAILABLE, error).into_response();
        }
        if !admission.origins.welcome(request.headers(), peer.as_ref().and_then(Peer::port)) {
            limits.note("allowed_origins", address);
            let error = "this page's origin may not connect; add it to allowed_origins in [gateway]";
            return (StatusCode::FORBIDDEN, error).into_response();
        }
        // Engine.IO keeps the request that a client came with, and the one of its WebSocket.
        if request.headers().contains_key(header::UPGRADE) || query(&request, "sid").is_none() {
            let_go_of_buffer(&mut request);
        }
        let Some(sid) = query(&request, "sid") else {
            return match address.map(|address| limits.open(address)).transpose() {
                Ok(place) => {
                    // Kept with the request, for as long as Engine.IO knows the client.
                    request.extensions_mut().insert(Arc::new(place));
                    next.run(request).await
                }
                Err(turned_away) => turned_away.into_response(),
            };
        };
        let sid = sid.parse::<Sid>().ok();
        if sid.is_some_and(|sid| admission.gateway.connections().is_cut(sid)) {
            let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            return (StatusCode::BAD_REQUEST, json, UNKNOWN_SESSION).into_response();
        }
        let response = if request.method() == Method::GET {
            // A poll is answered when there is something to say.
            next.run(request).await
        } else {
            match tokio::time::timeout(limits.handshake_timeout(), next.run(request)).await {
                Ok(response) => response,
                Err(_) => {
                    limits.note("handshake_timeout", address);
                    let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
                    (StatusCode::REQUEST_TIMEOUT, close, "the request's body did not arrive in time").into_response()
                }
            }
        };
        if let (Some(peer), Some(sid), StatusCode::SWITCHING_PROTOCOLS) = (peer, sid, response.status()) {
            peer.carry(sid);
        }
        response
    }
}

impl IntoResponse for TurnedAway {
    fn into_response(self) -> Response {
        (self.status, self.error).into_response()
    }
}

/// Copies what the request holds of the buffer that it was read into: it takes 8 KB, and would stay for as long as any part
/// of it does. (So would the copy of the address that axum makes with its feature `original-uri`, which is off.)
fn let_go_of_buffer(request: &mut Request) {
    if let Ok(uri) = Uri::try_from(request.uri().to_string()) {
        *request.uri_mut() = uri;
    }
    for value in request.headers_mut().values_mut() {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
}

fn query<'a>(request: &'a Request, key: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value)
}
