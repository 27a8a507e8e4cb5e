//! The routes below `/storage/v1/object`: upload, delete and list. Reading is in `reading.rs`, links are in `signed.rs`.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{caller, reading, signed, text_header};
use crate::gateway::{Shared, proxy};
use crate::secrets;
use crate::storage::{ListQuery, NewObject, ObjectName, StorageError};

const PREFIX: &str = "/storage/v1/object/";
const MOST_DELETED: usize = 1000;

pub(in crate::gateway) async fn route(State(gateway): State<Shared>, request: Request) -> Response {
    dispatch(&gateway, request).await.unwrap_or_else(StorageError::into_response)
}

async fn dispatch(gateway: &Shared, request: Request) -> Result<Response, StorageError> {
    // The path as it came: a router would decode it before anybody could refuse it.
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let (first, rest) = path.split_once('/').unwrap_or((&path, ""));
    match (request.method().as_str(), first, rest) {
        ("POST", "sign", _) => signed::sign(gateway, rest, request).await,
        ("GET" | "HEAD", "sign", _) => signed::open(gateway, rest, &request.into_parts().0).await,
        ("POST", "list", _) => list(gateway, rest, request).await,
        ("GET" | "HEAD", "authenticated", _) => reading::read(gateway, rest, &request.into_parts().0).await,
        ("GET", "info", _) => {
            let name = rest.strip_prefix("authenticated/").unwrap_or(rest);
            reading::info(gateway, name, &request.into_parts().0).await
        }
        ("POST" | "PUT", _, _) => upload(gateway, &path, request).await,
        ("DELETE", _, "") => delete_many(gateway, first, request).await,
        ("DELETE", _, _) => delete(gateway, &path, &request.into_parts().0.headers).await,
        ("GET" | "HEAD", _, _) => reading::read(gateway, &path, &request.into_parts().0).await,
        _ => {
            let message = format!("Route {}:{} not found", request.method(), request.uri().path());
            Err(StorageError::new(404, "InvalidRequest", "Not Found", message))
        }
    }
}

async fn upload(gateway: &Shared, path: &str, request: Request) -> Result<Response, StorageError> {
    let caller = caller(gateway, request.headers())?;
    let name = ObjectName::from_path(path)?;
    let headers = request.headers();
    let text = |name| text_header(headers, name).map(str::to_owned);
    let mut object = NewObject {
        version: secrets::make_uuid().map_err(|_| StorageError::internal())?,
        owner: caller.owner,
        content_type: text("content-type").unwrap_or_else(|| "application/octet-stream".to_owned()),
        cache_control: text("cache-control").unwrap_or_else(|| "no-cache".to_owned()),
        user_metadata: text("x-metadata").and_then(|it| metadata_header(&it)),
        announced: text("content-length").and_then(|it| it.parse().ok()),
        upsert: request.method() == Method::PUT || text("x-upsert").as_deref() == Some("true"),
        name,
    };
    let key = object.name.path();
    let is_form = object.content_type.starts_with("multipart/form-data");
    let storage = gateway.storage.clone();
    // On a task of its own: what has come is judged even when the client goes away.
    let work = async move {
        if !is_form {
            return storage.put(&caller, object, request.into_body().into_data_stream()).await;
        }
        object.announced = None;
        let form = Multipart::from_request(request, &()).await;
        let (mut form, broken) = (form.map_err(|_| no_content())?, |_| no_content());
        while let Some(field) = form.next_field().await.map_err(broken)? {
            match field.name() {
                Some("cacheControl") => {
                    object.cache_control = format!("max-age={}", field.text().await.map_err(broken)?);
                }
                Some("metadata") => {
                    object.user_metadata = serde_json::from_str(&field.text().await.map_err(broken)?).ok();
                }
                _ => {
                    object.content_type =
                        field.content_type().unwrap_or("application/octet-stream").to_owned();
                    // The form cannot be lent to a stream that must live on: a field is handed on through a channel.
                    return put_field(&storage, &caller, object, field).await;
                }
            }
        }
        Err(no_content())
    };
    let id = tokio::spawn(work).await.map_err(|_| StorageError::internal())??;
    Ok(Json(json!({ "Id": id, "Key": key })).into_response())
}

async fn put_field(
    storage: &crate::storage::Storage,
    caller: &crate::storage::Caller,
    object: NewObject,
    mut field: axum::extract::multipart::Field<'_>,
) -> Result<uuid::Uuid, StorageError> {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, axum::Error>>(1);
    let chunks = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let feeding = async move {
        while let Some(chunk) = field.chunk().await.transpose() {
            if sender.send(chunk.map_err(axum::Error::new)).await.is_err() {
                break;
            }
        }
    };
    let (put, ()) = tokio::join!(storage.put(caller, object, Box::pin(chunks)), feeding);
    put
}

fn no_content() -> StorageError {
    StorageError::request("No content provided")
}

fn metadata_header(text: &str) -> Option<Value> {
    serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()
}

async fn delete(gateway: &Shared, path: &str, headers: &HeaderMap) -> Result<Response, StorageError> {
    let caller = caller(gateway, headers)?;
    gateway.storage.delete(&caller, &ObjectName::from_path(path)?).await?;
    Ok(Json(json!({ "message": "Successfully deleted" })).into_response())
}

#[derive(Deserialize)]
struct Names {
    prefixes: Vec<String>,
}

async fn delete_many(gateway: &Shared, bucket: &str, request: Request) -> Result<Response, StorageError> {
    let caller = caller(gateway, request.headers())?;
    let Names { prefixes } = body(request).await?;
    if prefixes.is_empty() || prefixes.len() > MOST_DELETED {
        return Err(StorageError::request(format!(
            "Bulk object requests are limited to {MOST_DELETED} objects per request."
        )));
    }
    let deleted = gateway.storage.delete_many(&caller, bucket, &prefixes).await?;
    Ok(Json(deleted).into_response())
}

async fn list(gateway: &Shared, bucket: &str, request: Request) -> Result<Response, StorageError> {
    let caller = caller(gateway, request.headers())?;
    let query: ListQuery = body(request).await?;
    Ok(Json(gateway.storage.list(&caller, bucket, &query).await?).into_response())
}

/// A JSON body, whole.
pub(super) async fn body<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, StorageError> {
    let bytes = proxy::read_bounded(request.into_body()).await.ok_or_else(StorageError::too_large)?;
    // Only the place: the parser quotes what it read.
    serde_json::from_slice(&bytes).map_err(|problem| {
        StorageError::request(format!("body is not as it has to be, at column {}", problem.column()))
    })
}

/// An answer with a body of bytes and its headers.
pub(super) fn answer(status: StatusCode, headers: HeaderMap, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response.headers_mut().insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
    response
}
