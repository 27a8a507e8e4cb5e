//! The gateway: what Supabase puts in front of PostgREST. Routes, the `apikey` check, and the order in which a call meets
//! faults, routes and CORS. It reads no row and decides nothing about sync; it logs nothing, so no token can get into a log.

mod auth;
mod cors;
pub(crate) mod faults;
mod proxy;
mod realtime;
mod server;
mod storage;
mod turns;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::watch;

use crate::accounts::Accounts;
use crate::realtime::Realtime;
use crate::storage::Storage;
use crate::tokens::Tokens;
use faults::Faults;

pub(crate) use server::Server;

/// What every call may use.
pub(crate) struct Gateway {
    pub(crate) accounts: Accounts,
    pub(crate) tokens: Tokens,
    pub(crate) faults: Faults,
    pub(crate) upstream: Upstream,
    pub(crate) turns: Turns,
    pub(crate) storage: Arc<Storage>,
    pub(crate) realtime: Arc<Realtime>,
    /// Told at the end: sockets outlive the connection that they began on.
    pub(crate) stopping: watch::Sender<bool>,
}

pub(crate) use proxy::Upstream;
pub(crate) use storage::caller_of;
pub(crate) use turns::Turns;

type Shared = Arc<Gateway>;

fn routes(gateway: Shared) -> Router {
    let behind_key = Router::new()
        .route("/auth/v1/signup", post(auth::sign_up))
        .route("/auth/v1/token", post(auth::token))
        .route("/auth/v1/logout", post(auth::log_out))
        .route("/auth/v1/user", get(auth::user))
        .route("/rest/v1", any(proxy::forward))
        .route("/rest/v1/", any(proxy::forward))
        .route("/rest/v1/{*path}", any(proxy::forward))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&gateway), require_key));
    let control = Router::new()
        .route("/_marea/faults", get(faults::show).post(faults::add).delete(faults::remove))
        .route("/_marea/sockets", get(realtime::joined).delete(realtime::cut))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&gateway), require_service));
    // No `apikey` here, as on Supabase: a link that was signed is opened without one.
    let storage = Router::new()
        .route("/storage/v1/object/{*path}", any(storage::route))
        .route("/storage/v1/upload/resumable", any(storage::create))
        .route("/storage/v1/upload/resumable/", any(storage::create))
        .route("/storage/v1/upload/resumable/{id}", any(storage::at_upload))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .route_layer(middleware::from_fn_with_state(Arc::clone(&gateway), take_key));
    Router::new()
        .route("/health", get(health))
        .route("/auth/v1/.well-known/jwks.json", get(jwks))
        // A browser cannot send headers with it: the key is in the URL.
        .route("/realtime/v1/websocket", any(realtime::open))
        .merge(behind_key)
        .merge(storage)
        .merge(control)
        .fallback(no_route)
        .with_state(gateway)
}

async fn no_route() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "message": "no Route matched with those values" }))).into_response()
}

/// What tokens can be checked with. Public, so no key is asked for.
async fn jwks(State(gateway): State<Shared>) -> Response {
    Json(gateway.tokens.signing().jwks()).into_response()
}

/// 200 while PostgREST answers.
async fn health(State(gateway): State<Shared>) -> Response {
    let (status, word) = match gateway.upstream.is_alive().await {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "PostgREST does not answer"),
    };
    (status, Json(json!({ "status": word }))).into_response()
}

/// As Supabase's gateway: `apikey` has to be one of the keys.
async fn require_key(State(gateway): State<Shared>, mut request: Request, next: Next) -> Response {
    let (message, hint) = match request.headers().get("apikey") {
        None => ("No API key found in request", "No `apikey` request header or url param was found."),
        Some(key) if key.to_str().is_ok_and(|key| gateway.tokens.jwt_of_key(key).is_some()) => {
            stand_in(&gateway, request.headers_mut());
            return next.run(request).await;
        }
        Some(_) => ("Invalid API key", "Double check your Supabase `anon` or `service_role` API key."),
    };
    (StatusCode::UNAUTHORIZED, Json(json!({ "message": message, "hint": hint }))).into_response()
}

/// Where no key is asked for, it stands in for nothing that is missing.
async fn take_key(State(gateway): State<Shared>, mut request: Request, next: Next) -> Response {
    if request.headers().contains_key(header::AUTHORIZATION) {
        stand_in(&gateway, request.headers_mut());
    }
    next.run(request).await
}

/// A key stands in for a missing bearer token. One of the form `sb_...` is no token: where it is sent as one, the token that it
/// stands for goes on in its place.
fn stand_in(gateway: &Shared, headers: &mut HeaderMap) {
    let key = headers.get("apikey").and_then(|key| key.to_str().ok());
    let given = match headers.contains_key(header::AUTHORIZATION) {
        false => key,
        true => bearer(headers).filter(|token| Some(*token) == key),
    };
    let token = given.and_then(|key| gateway.tokens.jwt_of_key(key));
    if let Some(Ok(value)) = token.map(|jwt| header::HeaderValue::from_str(&format!("Bearer {jwt}"))) {
        headers.insert(header::AUTHORIZATION, value);
    }
}

async fn require_service(State(gateway): State<Shared>, request: Request, next: Next) -> Response {
    match bearer(request.headers()) {
        Some(token) if gateway.tokens.jwt_of_key(token) == Some(gateway.tokens.service_key()) => {
            next.run(request).await
        }
        _ => {
            let message = "the fault switches want `Authorization: Bearer <service_key>`";
            (StatusCode::UNAUTHORIZED, Json(json!({ "message": message }))).into_response()
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
