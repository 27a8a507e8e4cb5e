//! Links that open one object for whoever has them, for a while.

use axum::Json;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::objects::body;
use super::{caller, reading};
use crate::clock;
use crate::gateway::Shared;
use crate::storage::{ObjectName, StorageError};

const SCOPE: &str = "download";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    expires_in: i64,
    paths: Option<Vec<String>>,
}

/// What a link's token says.
#[derive(Serialize, Deserialize)]
struct Link {
    url: String,
    scope: String,
    iat: i64,
    exp: i64,
}

pub(super) async fn sign(gateway: &Shared, path: &str, request: Request) -> Result<Response, StorageError> {
    let caller = caller(gateway, request.headers())?;
    let asked: Asked = body(request).await?;
    if asked.expires_in < 1 {
        return Err(StorageError::request("body/expiresIn must be >= 1"));
    }
    let Some(paths) = asked.paths else {
        let name = ObjectName::from_path(path)?;
        gateway.storage.find(&caller, &name).await?;
        return Ok(Json(json!({ "signedURL": link(gateway, &name, asked.expires_in)? })).into_response());
    };
    let mut links = Vec::with_capacity(paths.len());
    for key in paths {
        let found = match ObjectName::new(path, &key) {
            Ok(name) => gateway.storage.find(&caller, &name).await.map(|_| name),
            Err(refused) => Err(refused),
        };
        links.push(match found {
            Ok(name) => {
                json!({ "error": null, "path": key, "signedURL": link(gateway, &name, asked.expires_in)? })
            }
            Err(_) => {
                let error = "Either the object does not exist or you do not have access to it";
                json!({ "error": error, "path": key, "signedURL": null })
            }
        });
    }
    Ok(Json(links).into_response())
}

fn link(gateway: &Shared, name: &ObjectName, expires_in: i64) -> Result<String, StorageError> {
    let now = clock::unix_seconds();
    let claims =
        Link { url: name.path(), scope: SCOPE.to_owned(), iat: now, exp: now.saturating_add(expires_in) };
    let token = gateway.tokens.sign(&claims).map_err(|_| StorageError::internal())?;
    Ok(format!("/object/sign/{}?token={token}", name.path()))
}

pub(super) async fn open(gateway: &Shared, path: &str, request: &Parts) -> Result<Response, StorageError> {
    let name = ObjectName::from_path(path)?;
    let query = request.uri.query().unwrap_or_default();
    let token = query.split('&').find_map(|it| it.strip_prefix("token=")).unwrap_or_default();
    let invalid = |message: &str| StorageError::new(400, "InvalidJWT", "InvalidJWT", message);
    let claims = gateway.tokens.claims(token).map_err(|message| invalid(&message))?;
    let link: Link = serde_json::from_value(claims).map_err(|_| invalid("Invalid JWT"))?;
    if link.scope != SCOPE || link.url != name.path() {
        let message = "The url do not match the signature";
        return Err(StorageError::new(400, "InvalidSignature", "InvalidSignature", message));
    }
    let found = gateway.storage.find_signed(&name).await?;
    reading::serve(gateway, &found, request).await
}
