//! Carries one request to PostgREST and says what came back. Takes no decision: that is `sync`.

mod address;
#[cfg(target_family = "wasm")]
mod fetch;
mod gateway;
#[cfg(not(target_family = "wasm"))]
mod native;
mod refusal;
#[cfg(not(target_family = "wasm"))]
mod transfer;
#[cfg(not(target_family = "wasm"))]
mod unreached;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::{self, Claims, UnixMillis, UserId};
use crate::sync::Failure;
use crate::wire::{SyncAnswer, SyncRequest};

use address::PlainHttp;
use refusal::{Refusal, is_page, starts_like_a_page};

pub use gateway::refuses_api_key;
#[cfg(not(target_family = "wasm"))]
pub use native::{check_server, check_server_allowing_http, http_client_builder};
pub use refusal::retry_after_ms;
#[cfg(not(target_family = "wasm"))]
pub use transfer::Arriving;
#[cfg(not(target_family = "wasm"))]
pub use unreached::why_unreached;

#[cfg(target_family = "wasm")]
use fetch::{Http, Response, http_date};
#[cfg(not(target_family = "wasm"))]
use native::{Http, Response, http_date};

/// The only function that the client calls.
const PATH: &str = "rest/v1/rpc/marea_sync";
/// A page of a server that bounds them by bytes stays far below; more would only fill the memory.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A server's address and its public key.
pub struct Transport {
    http: Http,
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
    /// Prepares the way to `url` (as Supabase gives it: scheme and host) with the project's public `publishable_key`.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the field `url` or `publishable_key`: one that cannot be a server's, and `http://` to another machine.
    pub fn new(url: &str, publishable_key: &str) -> Result<Transport, Error> {
        Transport::to(url, publishable_key, PlainHttp::Refused)
    }

    /// As [`Transport::new`], where somebody has asked for `http://` to another machine by name.
    ///
    /// # Errors
    /// As [`Transport::new`].
    pub fn allowing_http(url: &str, publishable_key: &str) -> Result<Transport, Error> {
        Transport::to(url, publishable_key, PlainHttp::Allowed)
    }

    fn to(url: &str, publishable_key: &str, plain_http: PlainHttp) -> Result<Transport, Error> {
        let base = address::check(url, publishable_key, plain_http)?;
        let endpoint = format!("{}/{PATH}", base.trim_end_matches('/'));
        Ok(Transport { http: Http::new(&endpoint, publishable_key)? })
    }

    /// Sends one request and waits for its answer, `timeout_ms` milliseconds at most.
    pub async fn post(
        &self,
        request: &SyncRequest,
        user_id: UserId,
        token: &str,
        timeout_ms: u64,
    ) -> Carried {
        self.send(request, user_id, token, timeout_ms, None).await
    }

    /// The same. `now`, by this device's clock, is what a date in `Retry-After` is compared with where the server does not say its own
    /// time beside it.
    pub async fn post_at(
        &self,
        request: &SyncRequest,
        user_id: UserId,
        token: &str,
        timeout_ms: u64,
        now: UnixMillis,
    ) -> Carried {
        self.send(request, user_id, token, timeout_ms, Some(now)).await
    }

    async fn send(
        &self,
        request: &SyncRequest,
        user_id: UserId,
        token: &str,
        timeout_ms: u64,
        now: Option<UnixMillis>,
    ) -> Carried {
        let (mut bytes_sent, mut bytes_received) = (0, 0);
        let sent = async {
            let bearer = bearer(token, user_id)?;
            let body = serde_json::to_vec(&Body { request }).map_err(|_| Failure::Unintelligible)?;
            bytes_sent = body.len() as u64;
            self.carry(&bearer, body, timeout_ms, now, &mut bytes_received).await
        };
        let outcome = sent.await;
        Carried { outcome, bytes_sent, bytes_received }
    }

    async fn carry(
        &self,
        bearer: &str,
        body: Vec<u8>,
        timeout_ms: u64,
        now: Option<UnixMillis>,
        bytes_received: &mut u64,
    ) -> Result<SyncAnswer, Failure> {
        let response = self.http.post(bearer, body, timeout_ms).await?;
        if !(200..300).contains(&response.status()) {
            let refusal = Refusal::of(&response, now);
            let body = response.read().await.unwrap_or_default();
            return Err(Refusal { body, ..refusal }.failure());
        }
        if is_page(&response) {
            return Err(Failure::CaptivePortal);
        }
        let body = response.read().await?;
        *bytes_received = body.len() as u64;
        from_json(&body).ok_or_else(|| match starts_like_a_page(&body) {
            true => Failure::CaptivePortal,
            false => Failure::Unintelligible,
        })
    }
}

/// The header `authorization` for a request about a file that the host sends itself, once it is sure that the token is this user's.
///
/// # Errors
/// [`Failure::OtherUser`], and [`Failure::Unauthorized`] for what is no token.
#[cfg(target_family = "wasm")]
pub fn authorization(token: &str, user_id: UserId) -> Result<String, Failure> {
    bearer(token, user_id)
}

/// What PostgREST wants: the arguments of the function by name.
#[derive(Serialize)]
struct Body<'r> {
    request: &'r SyncRequest,
}

/// JSON of bytes, by way of text: reading bytes would bring serde_json once more into what a browser downloads.
fn from_json<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Option<T> {
    model::from_json(std::str::from_utf8(body).ok()?).ok()
}

/// The `authorization` for a token, once it is sure whose it is: one learner's queue must never go to another's account.
fn bearer(token: &str, user_id: UserId) -> Result<String, Failure> {
    let malformed = || Failure::Unauthorized { code: "malformed_token".to_owned() };
    if !Claims::of(token).ok_or_else(malformed)?.is_of(user_id) {
        return Err(Failure::OtherUser);
    }
    if !address::fits_a_header(token) {
        return Err(malformed());
    }
    Ok(format!("Bearer {token}"))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn the_function_is_below_the_servers_address() {
        for url in ["https://x.supabase.co", "https://x.supabase.co/", "http://127.0.0.1:3000"] {
            let transport = Transport::new(url, "key").unwrap();
            assert!(transport.http.endpoint().ends_with("/rest/v1/rpc/marea_sync"), "{url}");
        }
        assert_eq!(Transport::new("x.supabase.co", "key").unwrap_err().code(), "invalid_input");
    }

    #[test]
    fn a_token_of_another_user_is_never_sent() {
        let sub = "018f9d3e-7a00-7000-8000-0123456789ab";
        let token = format!("e30.{}.x", URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"{sub}\"}}")));
        let other = UserId::from(uuid::Uuid::nil());
        assert_eq!(bearer(&token, sub.parse().unwrap()), Ok(format!("Bearer {token}")));
        assert_eq!(bearer(&token, other), Err(Failure::OtherUser));
        for garbage in ["", "a.b", "a.e30.c", "\u{1}.\u{2}.\u{3}"] {
            assert!(matches!(bearer(garbage, other), Err(Failure::Unauthorized { .. })), "{garbage}");
        }
    }

    #[test]
    fn a_token_of_another_service_names_the_user_in_a_claim() {
        let id = "018f9d3e-7a00-7000-8000-0123456789ab";
        let sent =
            |claims: &str| bearer(&format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims)), id.parse().unwrap());
        for claims in [
            format!(r#"{{"sub":"user_2abc","app_metadata":{{"user_id":"{id}"}}}}"#),
            format!(r#"{{"sub":"auth0|5f7c","https://example.com/user":"{}"}}"#, id.to_uppercase()),
        ] {
            assert!(sent(&claims).is_ok(), "{claims}");
        }
        for claims in [
            r#"{"sub":"user_2abc"}"#.to_owned(),
            format!(r#"{{"sub":"user_2abc","user_metadata":{{"user_id":"{id}"}}}}"#),
            format!(r#"{{"sub":"user_2abc","a":{{"b":{{"c":{{"d":"{id}"}}}}}}}}"#),
            format!(
                r#"{{"sub":"018f9d3e-7a00-7000-8000-000000000000","app_metadata":{{"invited_by":"{id}"}}}}"#
            ),
        ] {
            assert_eq!(sent(&claims), Err(Failure::OtherUser), "{claims}");
        }
    }
}
