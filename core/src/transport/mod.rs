//! Carries one request to PostgREST and says what came back. Takes no decision: that is `sync`.

mod address;
mod gateway;
#[cfg(not(target_family = "wasm"))]
mod native;
mod refusal;
#[cfg(not(target_family = "wasm"))]
mod unreached;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, Url};

use crate::error::Error;
use crate::model::UserId;
use crate::sync::Failure;
use crate::wire::{SyncAnswer, SyncRequest};

use refusal::{Refusal, is_page, starts_like_a_page};

pub use address::check_server;
pub use gateway::refuses_api_key;
#[cfg(not(target_family = "wasm"))]
pub use native::http_client_builder;
#[cfg(not(target_family = "wasm"))]
pub use unreached::why_unreached;

/// The only function that the client calls.
const PATH: &str = "rest/v1/rpc/marea_sync";
/// A page of a server that bounds them by bytes stays far below; more would only fill the memory.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A server's address and its public key.
pub struct Transport {
    client: Client,
    endpoint: Url,
    anon_key: HeaderValue,
}

/// What carrying one request came to.
#[derive(Debug)]
pub struct Carried {
    /// The answer, or what came instead. [`Failure::OtherUser`] before anything was sent when the token is not the
    /// mirror's user's.
    pub outcome: Result<SyncAnswer, Failure>,
    /// The request's body in bytes; 0 when nothing was sent.
    pub bytes_sent: u64,
    /// The answer's body in bytes; 0 when none came whole.
    pub bytes_received: u64,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Transport {
    /// Prepares the way to `url` (as Supabase gives it: scheme and host) with the project's public `anon_key`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`], as [`check_server`] says.
    pub fn new(url: &str, anon_key: &str) -> Result<Transport, Error> {
        let base = check_server(url, anon_key)?;
        let endpoint = Url::parse(&format!("{}/{PATH}", base.as_str().trim_end_matches('/')))
            .map_err(|_| Error::Internal("the address of a checked server is none"))?;
        let mut anon_key = HeaderValue::from_str(anon_key)
            .map_err(|_| Error::Internal("a checked API key fits into no header"))?;
        anon_key.set_sensitive(true);
        let client =
            client_builder().build().map_err(|_| Error::Internal("the HTTP client could not be made"))?;
        Ok(Transport { client, endpoint, anon_key })
    }

    /// Sends one request and waits for its answer, `timeout_ms` milliseconds at most.
    pub async fn post(
        &self,
        request: &SyncRequest,
        user_id: UserId,
        token: &str,
        timeout_ms: u64,
    ) -> Carried {
        let (mut bytes_sent, mut bytes_received) = (0, 0);
        let carry = self.carry(request, user_id, token, timeout_ms, &mut bytes_sent, &mut bytes_received);
        let outcome = carry.await;
        Carried { outcome, bytes_sent, bytes_received }
    }

    async fn carry(
        &self,
        request: &SyncRequest,
        user_id: UserId,
        token: &str,
        timeout_ms: u64,
        bytes_sent: &mut u64,
        bytes_received: &mut u64,
    ) -> Result<SyncAnswer, Failure> {
        let bearer = bearer(token, user_id)?;
        let body = serde_json::to_vec(&serde_json::json!({ "request": request }))
            .map_err(|_| Failure::Unintelligible)?;
        *bytes_sent = body.len() as u64;
        let response = self
            .client
            .post(self.endpoint.clone())
            .timeout(Duration::from_millis(timeout_ms))
            .headers(self.headers(bearer))
            .body(body)
            .send()
            .await
            .map_err(|error| why_unreached(&error))?;
        if !response.status().is_success() {
            let refusal = Refusal::of(&response);
            let body = read(response).await.unwrap_or_default();
            return Err(Refusal { body, ..refusal }.failure());
        }
        if is_page(&response) {
            return Err(Failure::CaptivePortal);
        }
        let body = read(response).await?;
        *bytes_received = body.len() as u64;
        serde_json::from_slice(&body).map_err(|_| match starts_like_a_page(&body) {
            true => Failure::CaptivePortal,
            false => Failure::Unintelligible,
        })
    }

    fn headers(&self, bearer: HeaderValue) -> HeaderMap {
        let json = HeaderValue::from_static("application/json");
        HeaderMap::from_iter([
            (ACCEPT, json.clone()),
            (CONTENT_TYPE, json),
            (AUTHORIZATION, bearer),
            (reqwest::header::HeaderName::from_static("apikey"), self.anon_key.clone()),
        ])
    }
}

#[cfg(not(target_family = "wasm"))]
use native::http_client_builder as client_builder;

#[cfg(target_family = "wasm")]
fn client_builder() -> reqwest::ClientBuilder {
    Client::builder()
}

/// The header for a token, once it is sure whose it is: one learner's queue must never go to another's account.
fn bearer(token: &str, user_id: UserId) -> Result<HeaderValue, Failure> {
    let malformed = || Failure::Unauthorized { code: "malformed_token".to_owned() };
    let subject = subject_of(token).ok_or_else(malformed)?;
    if subject != user_id {
        return Err(Failure::OtherUser);
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| malformed())?;
    header.set_sensitive(true);
    Ok(header)
}

/// The `sub` of a JSON Web Token (RFC 7519, 4.1.2). Not verified: the server does that.
fn subject_of(token: &str) -> Option<UserId> {
    #[derive(serde::Deserialize)]
    struct Claims {
        sub: UserId,
    }
    let payload = token.split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Claims>(&bytes).ok().map(|claims| claims.sub)
}

/// `fetch` says of a failure only that there was one.
#[cfg(target_family = "wasm")]
fn why_unreached(error: &reqwest::Error) -> Failure {
    if error.is_timeout() { Failure::Timeout } else { Failure::Offline }
}

/// Reads a body up to the bound. A connection cut in the middle leaves the server's work in doubt, like a timeout.
#[cfg(not(target_family = "wasm"))]
async fn read(mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| why_unreached(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failure::AnswerTooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads a body. `fetch` hands it over whole, so the bound can only be checked afterwards.
#[cfg(target_family = "wasm")]
async fn read(response: Response) -> Result<Vec<u8>, Failure> {
    let body = response.bytes().await.map_err(|error| why_unreached(&error))?;
    if body.len() > MAX_ANSWER_BYTES { Err(Failure::AnswerTooLarge) } else { Ok(body.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_is_below_the_servers_address() {
        for url in ["https://x.supabase.co", "https://x.supabase.co/", "http://127.0.0.1:3000"] {
            let transport = Transport::new(url, "key").unwrap();
            assert!(transport.endpoint.path().ends_with("/rest/v1/rpc/marea_sync"), "{url}");
        }
        assert_eq!(Transport::new("x.supabase.co", "key").unwrap_err().code(), "invalid_input");
    }

    #[test]
    fn a_token_of_another_user_is_never_sent() {
        let sub = "018f9d3e-7a00-7000-8000-0123456789ab";
        let token = format!("e30.{}.x", URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"{sub}\"}}")));
        let other = UserId::from(uuid::Uuid::nil());
        assert!(bearer(&token, sub.parse().unwrap()).unwrap().is_sensitive());
        assert_eq!(bearer(&token, other), Err(Failure::OtherUser));
        for garbage in ["", "a.b", "a.e30.c", "\u{1}.\u{2}.\u{3}"] {
            assert!(matches!(bearer(garbage, other), Err(Failure::Unauthorized { .. })), "{garbage}");
        }
    }
}
