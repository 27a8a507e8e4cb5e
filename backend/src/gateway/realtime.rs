//! `/realtime/v1/websocket`: who may open a socket, and in which form its frames are. The rest is in `crate::realtime`.

use std::sync::Arc;

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use crate::realtime::{Version, serve};

#[derive(Deserialize)]
pub(super) struct Asked {
    apikey: Option<String>,
    vsn: Option<String>,
}

pub(super) async fn open(
    State(gateway): State<Shared>,
    Query(asked): Query<Asked>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Some(key) = asked.apikey.as_deref().and_then(|key| gateway.tokens.jwt_of_key(key)) else {
        return refuse(StatusCode::UNAUTHORIZED, "no valid `apikey` in the URL");
    };
    let Some(version) = Version::named(asked.vsn.as_deref()) else {
        return refuse(StatusCode::BAD_REQUEST, "`vsn` has to be 1.0.0 or 2.0.0");
    };
    let key = key.to_owned();
    upgrade.on_upgrade(move |socket| serve(socket, Arc::clone(&gateway), version, key))
}

/// How many have joined: for tests and measurements.
pub(super) async fn joined(State(gateway): State<Shared>) -> Response {
    Json(json!({ "joined": gateway.realtime.joined() })).into_response()
}

/// Breaks all sockets.
pub(super) async fn cut(State(gateway): State<Shared>) -> Response {
    gateway.realtime.cut_sockets();
    StatusCode::NO_CONTENT.into_response()
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
