//! Carries one request about a file, and reads one. What an answer means is `transfer`'s affair.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder};

use super::native::{Http, secret};
use super::{PATH, Transport, bearer, why_unreached};
use crate::error::Error;
use crate::model::UserId;
use crate::sync::Failure;
use crate::transfer::{TransferAnswer, TransferRequest};

/// What is read of a refusal: Storage's are a line.
const REFUSAL_BYTES: usize = 16 * 1024;

/// A file on its way here: an answer whose body is read chunk by chunk.
pub struct Arriving {
    answer: reqwest::Response,
}

impl Arriving {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.answer.status().as_u16()
    }

    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// What cut it off.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let chunk = self.answer.chunk().await.map_err(|error| why_unreached(&error))?;
        Ok(chunk.map(|chunk| chunk.to_vec()))
    }
}

impl std::fmt::Debug for Arriving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arriving").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Transport {
    /// Sends one request about a file, with the bytes that it names, and waits for the answer.
    ///
    /// # Errors
    /// What came instead of an answer. [`Failure::OtherUser`] before anything was sent when the token is not the user's.
    pub async fn transfer(
        &self,
        request: &TransferRequest,
        bytes: Vec<u8>,
        user_id: UserId,
        token: &str,
        timeout_ms: u64,
    ) -> Result<TransferAnswer, Failure> {
        let bearer = bearer(token, user_id)?;
        let call =
            self.http.below(request.method, &request.path, &bearer).map_err(|_| Failure::Unintelligible)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let sent = call.headers(headers).body(bytes).timeout(Duration::from_millis(timeout_ms)).send().await;
        let mut answer = sent.map_err(|error| why_unreached(&error))?;
        let header =
            |name: &str| answer.headers().get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let mut found = TransferAnswer {
            status: answer.status().as_u16(),
            location: header("location"),
            upload_offset: header("upload-offset").and_then(|it| it.parse().ok()),
            retry_after_ms: header("retry-after")
                .and_then(|it| it.parse::<u64>().ok())
                .map(|it| it.saturating_mul(1000)),
            body: String::new(),
        };
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| why_unreached(&error))? {
            if body.len() < REFUSAL_BYTES {
                body.extend_from_slice(&chunk[..chunk.len().min(REFUSAL_BYTES - body.len())]);
            }
        }
        found.body = String::from_utf8_lossy(&body).into_owned();
        Ok(found)
    }

    /// Asks for something below the server's address: a file, or with a body of JSON a link to one.
    ///
    /// # Errors
    /// What came instead of an answer.
    pub async fn fetch(
        &self,
        path: &str,
        json: Option<String>,
        user_id: UserId,
        token: &str,
    ) -> Result<Arriving, Failure> {
        let bearer = bearer(token, user_id)?;
        let method = if json.is_some() { "POST" } else { "GET" };
        let mut call = self.http.below(method, path, &bearer).map_err(|_| Failure::Unintelligible)?;
        if let Some(json) = json {
            call = call.header("content-type", "application/json").body(json);
        }
        // It may be large: what bounds it is that something has to come now and then.
        let answer = call.send().await.map_err(|error| why_unreached(&error))?;
        Ok(Arriving { answer })
    }
}

impl Http {
    fn below(&self, method: &str, path: &str, bearer: &str) -> Result<RequestBuilder, Error> {
        let refused = |_| Error::Internal("a request about a file cannot be made");
        let endpoint = self.endpoint.as_str();
        let base = endpoint.strip_suffix(PATH).unwrap_or(endpoint).trim_end_matches('/');
        let url = reqwest::Url::parse(&format!("{base}{path}")).map_err(|_| refused(()))?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| refused(()))?;
        let bearer = secret(bearer).ok_or_else(|| refused(()))?;
        let call = self.client.request(method, url).header(AUTHORIZATION, bearer);
        Ok(call.header("apikey", self.publishable_key.clone()))
    }
}
