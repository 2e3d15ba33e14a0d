//! Which HTTP requests get to Socket.IO, and which TCP connection becomes a socket's.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use socketioxide::socket::Sid;

use super::{Gateway, Origin, Peer};

/// The address that a request came from, as an extension of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// What Engine.IO answers for a session that it doesn't know; clients then connect anew.
const UNKNOWN_SESSION: &str = r#"{"code":"1","message":"Session ID unknown"}"#;

/// A middleware (`axum::middleware::from_fn_with_state(admission, Admission::check)`) around the Socket.IO layer.
#[derive(Debug, Clone)]
pub struct Admission {
    gateway: Gateway,
    origins: Arc<[Origin]>,
}

impl Admission {
    pub fn new(gateway: Gateway, origins: &[Origin]) -> Self {
        Self { gateway, origins: origins.into() }
    }

    /// Turns away pages that may not connect (CORS does not protect WebSockets), and sockets that were cut.
    pub async fn check(State(admission): State<Self>, mut request: Request, next: Next) -> Response {
        let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|ConnectInfo(peer)| peer.clone());
        if let Some(peer) = &peer {
            request.extensions_mut().insert(ClientAddress(peer.address().ip()));
        }
        if !request.uri().path().starts_with("/socket.io") {
            return next.run(request).await;
        }
        if admission.gateway.is_standing_by() {
            let error = "this instance stands by; another one serves";
            return (StatusCode::SERVICE_UNAVAILABLE, error).into_response();
        }
        if !admission.is_welcome(request.headers()) {
            let error = "this page's origin may not connect; add it to allowed_origins in [gateway]";
            return (StatusCode::FORBIDDEN, error).into_response();
        }
        let Some(sid) = query(&request, "sid").and_then(|sid| sid.parse::<Sid>().ok()) else {
            return next.run(request).await;
        };
        let connections = admission.gateway.connections();
        if connections.is_cut(sid) {
            let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            return (StatusCode::BAD_REQUEST, json, UNKNOWN_SESSION).into_response();
        }
        let response = next.run(request).await;
        if let (Some(peer), StatusCode::SWITCHING_PROTOCOLS) = (peer, response.status()) {
            peer.carry(sid);
        }
        response
    }

    /// A program without an origin, a page of this server, or a page of an allowed origin.
    fn is_welcome(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let own_host = headers.get(header::HOST).map(HeaderValue::as_bytes);
        let origin_host =
            origin.as_bytes().splitn(2, |byte| *byte == b':').nth(1).and_then(|rest| rest.strip_prefix(b"//"));
        (own_host.is_some() && origin_host == own_host)
            || self.origins.iter().any(|allowed| allowed.as_header() == origin)
    }
}

fn query<'a>(request: &'a Request, key: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key).map(|(_, value)| value)
}
