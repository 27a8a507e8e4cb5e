//! Reading an object: its bytes, a range of them, its headers, or what is known about it.

use std::ops::Range;

use axum::Json;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::objects::answer;
use super::{caller, text_header};
use crate::gateway::Shared;
use crate::storage::{Found, ObjectName, StorageError};

pub(super) async fn read(gateway: &Shared, path: &str, request: &Parts) -> Result<Response, StorageError> {
    let caller = caller(gateway, &request.headers)?;
    let found = gateway.storage.find(&caller, &ObjectName::from_path(path)?).await?;
    serve(gateway, &found, request).await
}

pub(super) async fn info(gateway: &Shared, path: &str, request: &Parts) -> Result<Response, StorageError> {
    let caller = caller(gateway, &request.headers)?;
    let found = gateway.storage.find(&caller, &ObjectName::from_path(path)?).await?;
    let body = json!({
        "id": found.id, "name": found.name, "version": found.version, "bucket_id": found.bucket_id,
        "size": found.size(), "content_type": found.text("mimetype"), "cache_control": found.text("cacheControl"),
        "etag": found.text("eTag"), "metadata": found.user_metadata, "last_modified": found.updated_at,
        "created_at": found.created_at,
    });
    Ok(Json(body).into_response())
}

/// The bytes of an object that may be read.
pub(super) async fn serve(
    gateway: &Shared,
    found: &Found,
    request: &Parts,
) -> Result<Response, StorageError> {
    let size = found.size();
    let range = text_header(&request.headers, "range").map(|text| range(text, size)).transpose()?;
    let mut headers = HeaderMap::new();
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    // As Supabase: a page that somebody kept is never shown as one of the project's own.
    let content_type = match found.text("mimetype") {
        html if html.contains("text/html") => "text/plain",
        other => other,
    };
    set(header::CONTENT_TYPE, content_type.to_owned());
    set(header::ETAG, found.text("eTag").to_owned());
    set(header::CACHE_CONTROL, found.text("cacheControl").to_owned());
    let length = range.as_ref().map_or(size, |range| range.end - range.start);
    set(header::CONTENT_LENGTH, length.to_string());
    let status = match &range {
        Some(range) => {
            set(header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1));
            StatusCode::PARTIAL_CONTENT
        }
        None => StatusCode::OK,
    };
    let body = match request.method {
        Method::HEAD => Body::empty(),
        _ if size == 0 => Body::empty(),
        _ => Body::from_stream(gateway.storage.bytes().get(found.version, range).await?),
    };
    Ok(answer(status, headers, body))
}

/// One range of bytes (RFC 9110, 14.1.2).
fn range(text: &str, size: u64) -> Result<Range<u64>, StorageError> {
    let refused = || StorageError::new(400, "InvalidRange", "invalid_range", "invalid range provided");
    let (from, to) = text.strip_prefix("bytes=").and_then(|it| it.split_once('-')).ok_or_else(refused)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| refused());
    let range = match (from, to) {
        ("", last) => size.saturating_sub(number(last)?)..size,
        (from, "") => number(from)?..size,
        (from, to) => number(from)?..number(to)?.saturating_add(1).min(size),
    };
    if range.start < range.end { Ok(range) } else { Err(refused()) }
}
