//! CORS for every origin, as Supabase answers it: the API is protected by keys and tokens, not by where a page came from.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS");
/// PostgREST answers ranges and preferences in headers, which a page may only read when they are named.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Content-Encoding, Content-Location, Content-Range, Content-Type, Date, Location, Preference-Applied, \
     Retry-After, Server, WWW-Authenticate, Accept-Ranges, Cache-Control, Content-Length, ETag, Tus-Complete, Tus-Extension, \
     Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset",
);
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Whether this is a browser asking for permission, and not a call.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Yes, to whatever was asked.
pub(super) fn preflight<B>(request: &Request<B>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow(headers);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    // Chromium asks this before a page from elsewhere may call the loopback interface.
    headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
    response
}

/// Marks an answer as readable by every page. PostgREST has an opinion of its own; two would make the browser refuse.
pub(super) fn allow(headers: &mut HeaderMap) {
    headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}
