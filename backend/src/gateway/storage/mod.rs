//! `/storage/v1`: the routes of Supabase's Storage that its clients use for private buckets, and how a refusal looks there.
//! Who may do what is Postgres's affair, through `crate::storage`.

mod objects;
mod reading;
mod resumable;
mod signed;

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Shared, bearer};
use crate::storage::{Caller, StorageError};
use crate::tokens::Tokens;

pub(super) use objects::route;
pub(super) use resumable::{at_upload, create};

/// A refusal as the object routes show it: 400 for nearly everything, the real status in the body.
impl IntoResponse for StorageError {
    fn into_response(self) -> Response {
        let status =
            if self.status == 500 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::BAD_REQUEST };
        let body = json!({
            "statusCode": self.status.to_string(),
            "error": self.error,
            "code": self.code,
            "message": self.message,
        });
        (status, Json(body)).into_response()
    }
}

/// Who calls, by the token.
fn caller(gateway: &Shared, headers: &HeaderMap) -> Result<Caller, StorageError> {
    if !headers.contains_key(header::AUTHORIZATION) {
        let message = "headers must have required property 'authorization'";
        return Err(StorageError::new(400, "InvalidRequest", "Error", message));
    }
    let token = bearer(headers).unwrap_or_default();
    caller_of(&gateway.tokens, token).map_err(StorageError::denied).map(|(caller, _)| caller)
}

/// Whom a token stands for, and its claims. The error is for people.
pub(crate) fn caller_of(tokens: &Tokens, token: &str) -> Result<(Caller, Value), String> {
    let claims = tokens.claims(token)?;
    let text = |name: &str| claims[name].as_str();
    let caller = Caller {
        role: match text("role") {
            Some(role @ ("authenticated" | "service_role")) => role.to_owned(),
            _ => "anon".to_owned(),
        },
        owner: text("sub").and_then(|sub| sub.parse().ok()),
        claims: claims.to_string(),
    };
    Ok((caller, claims))
}

fn text_header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
