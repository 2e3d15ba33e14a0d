//! Routes that answer only to this machine's own names, and are no part of anybody else's page.
//!
//! A page from elsewhere whose name server points at this machine would otherwise read what stands on a loopback address,
//! as a page of the same origin.

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

use crate::gateway::loopback_host;

/// The same routes, for requests to `localhost`, `127.0.0.1` or `[::1]`, at whatever port they were forwarded from.
pub fn only(router: Router) -> Router {
    router.layer(middleware::from_fn(check))
}

async fn check(request: Request, next: Next) -> Response {
    if loopback_host(request.headers()).is_none() {
        let error = "this is served on localhost, 127.0.0.1 and [::1] only; the request's Host is another";
        return (StatusCode::MISDIRECTED_REQUEST, error).into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}
