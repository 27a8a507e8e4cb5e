//! Asks a server which tables it mirrors: what `marea schema` writes into a file. Names of tables and columns, no rows, and
//! nobody needs to be signed in.

use std::time::Duration;

use marea_core::{Catalogue, Failure, http_client_builder, refuses_api_key, why_unreached};
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::Error;
use crate::config::check_server;

const TIMEOUT_MS: u64 = 30_000;

/// Far beyond any catalogue.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The server's catalogue: for [`Config::schema`](crate::Config::schema), or to be kept in a file.
///
/// # Errors
///
/// `invalid_input` for an address or a key that cannot be one, `offline`, `api_key_refused`, and `server_failed` with what the
/// server lacks.
pub async fn fetch_catalogue(url: &str, publishable_key: &str) -> Result<Catalogue, Error> {
    fetch(url, publishable_key, false).await
}

/// As [`fetch_catalogue`], where somebody has asked for `http://` to another machine by name.
///
/// # Errors
///
/// As [`fetch_catalogue`].
pub async fn fetch_catalogue_allowing_http(url: &str, publishable_key: &str) -> Result<Catalogue, Error> {
    fetch(url, publishable_key, true).await
}

async fn fetch(url: &str, publishable_key: &str, allow_http: bool) -> Result<Catalogue, Error> {
    check_server(url, publishable_key, allow_http)?;
    let key = HeaderValue::from_str(publishable_key)
        .map_err(|_| Error::InvalidServer { what: "publishable key" })?;
    let client = http_client_builder()
        .timeout(Duration::from_millis(TIMEOUT_MS))
        .build()
        .map_err(|_| Error::InvalidServer { what: "address" })?;
    let address = format!("{}/rest/v1/rpc/marea_catalogue", url.trim_end_matches('/'));
    let asked = client.post(address).header("apikey", key).json(&serde_json::Map::new());
    let mut answer = asked.send().await.map_err(|error| unreached(&error))?;
    let status = answer.status();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unreached(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(none("its answer is too long for one"));
        }
    }
    if status == StatusCode::OK {
        let text = String::from_utf8(body).map_err(|_| none("its answer is no JSON"))?;
        return Catalogue::parse(&text).map_err(|_| none("its answer is none that this version can read"));
    }
    Err(refused(status, &body))
}

fn refused(status: StatusCode, body: &[u8]) -> Error {
    #[derive(Deserialize)]
    struct Refusal {
        code: Option<String>,
    }
    let code = serde_json::from_slice::<Refusal>(body).ok().and_then(|refusal| refusal.code);
    match (code.as_deref(), status) {
        (Some("PGRST202" | "42883"), _) => none(
            "it has no function marea_catalogue: run Marea's migrations, and NOTIFY pgrst, 'reload schema' if they were run already",
        ),
        (Some("42501"), _) => none("nobody may call marea_catalogue with this key"),
        _ if refuses_api_key(body) => Error::ApiKeyRefused,
        (_, StatusCode::NETWORK_AUTHENTICATION_REQUIRED) => Error::Offline { reason: Failure::CaptivePortal },
        _ if status.is_redirection() => Error::Offline { reason: Failure::CaptivePortal },
        (_, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
            Error::Offline { reason: Failure::Server { status: status.as_u16(), retry_after_ms: None } }
        }
        _ => none("it refused to give one; look whether the server's address is right"),
    }
}

fn none(problem: &'static str) -> Error {
    Error::NoCatalogue { problem }
}

fn unreached(error: &reqwest::Error) -> Error {
    if error.is_builder() {
        Error::InvalidServer { what: "address" }
    } else {
        Error::Offline { reason: why_unreached(error) }
    }
}
