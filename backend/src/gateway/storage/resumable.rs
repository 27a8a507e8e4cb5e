//! `/storage/v1/upload/resumable`: TUS 1.0.0 as Supabase serves it (creation, creation with upload, termination, expiration).
//! Its refusals are plain text with the real status, unlike those of the object routes.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{caller, text_header};
use crate::gateway::Shared;
use crate::secrets;
use crate::storage::{NewObject, NewUpload, ObjectName, Received, StorageError};

const ROUTE: &str = "/storage/v1/upload/resumable";
const CONTENT: &str = "application/offset+octet-stream";
const EXTENSIONS: &str = "creation,creation-with-upload,termination,expiration";

/// `OPTIONS` and `POST` of the route itself.
pub(in crate::gateway) async fn create(State(gateway): State<Shared>, request: Request) -> Response {
    match *request.method() {
        Method::OPTIONS => options(),
        Method::POST => finish(begin(&gateway, request).await),
        _ => refused(StorageError::tus(404, "Not found\n")),
    }
}

/// What is asked of one upload.
pub(in crate::gateway) async fn at_upload(
    State(gateway): State<Shared>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    if request.method() == Method::OPTIONS {
        return options();
    }
    let outcome = async {
        let (name, id) =
            parse_id(&id).ok_or_else(|| StorageError::tus(404, "The file for this url was not found\n"))?;
        let method = asked_method(&request);
        match method.as_str() {
            "HEAD" => standing(&gateway, &name, id).await,
            "PATCH" => receive(&gateway, name, id, request).await,
            "DELETE" => {
                may_write(&gateway, &request)?;
                gateway.storage.terminate(&name, id).await?;
                Ok(reply(StatusCode::NO_CONTENT, &[]))
            }
            _ => Err(StorageError::tus(404, "Not found\n")),
        }
    };
    finish(outcome.await)
}

/// Some networks let only GET and POST through (TUS 1.0.0, X-HTTP-Method-Override).
fn asked_method(request: &Request) -> String {
    let named = text_header(request.headers(), "x-http-method-override");
    named.unwrap_or(request.method().as_str()).to_ascii_uppercase()
}

fn may_write(gateway: &Shared, request: &Request) -> Result<crate::storage::Caller, StorageError> {
    speaks(request.headers())?;
    caller(gateway, request.headers())
}

fn speaks(headers: &HeaderMap) -> Result<(), StorageError> {
    match text_header(headers, "tus-resumable") {
        Some("1.0.0") => Ok(()),
        _ => Err(StorageError::tus(412, "Tus-Resumable Required\n")),
    }
}

async fn begin(gateway: &Shared, request: Request) -> Result<Response, StorageError> {
    let caller = may_write(gateway, &request)?;
    let headers = request.headers().clone();
    let length = text_header(&headers, "upload-length").and_then(|it| it.parse::<u64>().ok());
    let length = length
        .ok_or_else(|| StorageError::tus(400, "Upload-Length or Upload-Defer-Length header required\n"))?;
    let metadata = Metadata::parse(text_header(&headers, "upload-metadata").unwrap_or_default())?;
    let object = NewObject {
        name: ObjectName::new(metadata.text("bucketName"), metadata.text("objectName"))?,
        version: secrets::make_uuid().map_err(|_| StorageError::internal())?,
        owner: caller.owner,
        content_type: match metadata.text("contentType") {
            "" => "application/octet-stream".to_owned(),
            found => found.to_owned(),
        },
        cache_control: match metadata.text("cacheControl").parse::<u64>() {
            Ok(seconds) => format!("max-age={seconds}"),
            Err(_) => "no-cache".to_owned(),
        },
        user_metadata: serde_json::from_str(metadata.text("metadata")).ok(),
        announced: Some(length),
        upsert: text_header(&headers, "x-upsert") == Some("true"),
    };
    let (name, id) = (object.name.clone(), object.version);
    gateway.storage.create_upload(&caller, &NewUpload { object, length }).await?;
    let address = format!(
        "http://{}{ROUTE}/{}",
        text_header(&headers, "host").unwrap_or("localhost"),
        URL_SAFE_NO_PAD.encode(format!("{}/{id}", name.path()))
    );
    let has_content = text_header(&headers, "content-type") == Some(CONTENT);
    let received = match has_content || length == 0 {
        true => take(gateway, caller, name, id, 0, request.into_body()).await?,
        false => {
            let upload = gateway.storage.upload(&name, id).await?;
            Received { offset: 0, is_complete: false, expires: upload.expires }
        }
    };
    let mut response = progress(StatusCode::CREATED, &received, has_content);
    if let Ok(address) = HeaderValue::from_str(&address) {
        response.headers_mut().insert(header::LOCATION, address);
    }
    Ok(response)
}

async fn receive(
    gateway: &Shared,
    name: ObjectName,
    id: Uuid,
    request: Request,
) -> Result<Response, StorageError> {
    let caller = may_write(gateway, &request)?;
    let headers = request.headers();
    if text_header(headers, "content-type") != Some(CONTENT) {
        return Err(StorageError::tus(415, "Content-Type header required\n"));
    }
    let offset = text_header(headers, "upload-offset").and_then(|it| it.parse().ok());
    let offset = offset.ok_or_else(|| StorageError::tus(403, "Upload-Offset header required\n"))?;
    let received = take(gateway, caller, name, id, offset, request.into_body()).await?;
    Ok(progress(StatusCode::NO_CONTENT, &received, true))
}

async fn take(
    gateway: &Shared,
    caller: crate::storage::Caller,
    name: ObjectName,
    id: Uuid,
    offset: u64,
    body: Body,
) -> Result<Received, StorageError> {
    let storage = gateway.storage.clone();
    // On a task of its own: what has come is kept even when the client goes away in the middle.
    let work = async move { storage.receive(&caller, &name, id, offset, body.into_data_stream()).await };
    tokio::spawn(work).await.map_err(|_| StorageError::internal())?
}

async fn standing(gateway: &Shared, name: &ObjectName, id: Uuid) -> Result<Response, StorageError> {
    let upload = gateway.storage.upload(name, id).await?;
    Ok(reply(
        StatusCode::OK,
        &[
            ("cache-control", "no-store"),
            ("upload-offset", &upload.offset.to_string()),
            ("upload-length", &upload.length.to_string()),
            ("upload-expires", &upload.expires),
        ],
    ))
}

fn progress(status: StatusCode, received: &Received, has_offset: bool) -> Response {
    let offset = received.offset.to_string();
    let mut headers = Vec::new();
    if has_offset {
        headers.push(("upload-offset", offset.as_str()));
    }
    match received.is_complete {
        true => headers.push(("tus-complete", "1")),
        false => headers.push(("upload-expires", received.expires.as_str())),
    }
    reply(status, &headers)
}

fn options() -> Response {
    reply(StatusCode::NO_CONTENT, &[("tus-version", "1.0.0"), ("tus-extension", EXTENSIONS)])
}

fn finish(outcome: Result<Response, StorageError>) -> Response {
    outcome.unwrap_or_else(refused)
}

fn refused(error: StorageError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, error.message).into_response();
    response.headers_mut().insert("tus-resumable", HeaderValue::from_static("1.0.0"));
    response
}

fn reply(status: StatusCode, headers: &[(&'static str, &str)]) -> Response {
    let mut response = status.into_response();
    response.headers_mut().insert("tus-resumable", HeaderValue::from_static("1.0.0"));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// `bucket/folder/file/upload`, as base64url.
fn parse_id(text: &str) -> Option<(ObjectName, Uuid)> {
    let path = String::from_utf8(URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?).ok()?;
    let (name, id) = path.rsplit_once('/')?;
    let (bucket, key) = name.split_once('/')?;
    Some((ObjectName::new(bucket, key).ok()?, id.parse().ok()?))
}

/// The `Upload-Metadata` of a request: names, each with a value in base64.
struct Metadata {
    pairs: Vec<(String, String)>,
}

impl Metadata {
    fn parse(text: &str) -> Result<Metadata, StorageError> {
        let refused = || StorageError::tus(400, "Invalid Upload-Metadata header");
        let mut pairs = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let value = STANDARD.decode(value.trim()).map_err(|_| refused())?;
            pairs.push((name.to_owned(), String::from_utf8(value).map_err(|_| refused())?));
        }
        Ok(Metadata { pairs })
    }

    fn text(&self, name: &str) -> &str {
        self.pairs.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}
