//! HTTP on the desktop, through reqwest: ring for TLS, the system's certificates, the system's resolver, no redirects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Url};
use rustls::crypto::CryptoProvider;

use super::MAX_ANSWER_BYTES;
use super::address::{self, PlainHttp, is_loopback_name};
use super::unreached::{NameNotFound, why_unreached};
use crate::error::Error;
use crate::model::UnixMillis;
use crate::sync::Failure;

/// How long a connection is kept for the next conversation. Several follow each other quickly while somebody writes; later, one that
/// is kept would only wake an idle program when the server closes it, and may have been cut without a word meanwhile.
const KEPT: Duration = Duration::from_secs(5);

/// The one way in which HTTP clients are made on the desktop, so that all of them fail in the same words.
///
/// TLS is done by ring, unless the program has installed another provider for rustls already.
pub fn http_client_builder() -> ClientBuilder {
    if CryptoProvider::get_default().is_none() {
        // Somebody may be faster; then there is a provider all the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    // A redirect is a captive portal's answer, not PostgREST's; following it would hand a token to a stranger.
    Client::builder().redirect(Policy::none()).pool_idle_timeout(KEPT).dns_resolver(Arc::new(SystemResolver))
}

/// The system's resolver, with an error of a type of its own. Names that are this machine's are not asked for: somebody else might
/// answer.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        if is_loopback_name(name.as_str()) {
            let here = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
            let addresses: Addrs = Box::new(here.into_iter().map(|address| SocketAddr::new(address, 0)));
            return Box::pin(std::future::ready(Ok(addresses)));
        }
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NameNotFound)?;
            let addresses: Addrs = Box::new(found.collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}

/// Checks what a client is to be opened with, and gives the address back as it is understood.
///
/// # Errors
/// [`Error::InvalidInput`] for the field `url`: one that is no http or https address, that holds a password, a query or a
/// fragment, or that names one of the services behind the server instead of the server; for the field `publishable_key`: one that is
/// empty or that no HTTP header can hold. Also an `http://` address of another machine: [`check_server_allowing_http`] takes it.
pub fn check_server(url: &str, publishable_key: &str) -> Result<Url, Error> {
    parsed(&address::check(url, publishable_key, PlainHttp::Refused)?)
}

/// As [`check_server`], where somebody has asked for `http://` to another machine by name.
///
/// # Errors
/// As [`check_server`].
pub fn check_server_allowing_http(url: &str, publishable_key: &str) -> Result<Url, Error> {
    parsed(&address::check(url, publishable_key, PlainHttp::Allowed)?)
}

fn parsed(checked: &str) -> Result<Url, Error> {
    Url::parse(checked).map_err(|_| Error::Internal("the address of a checked server is none"))
}

/// One endpoint, and a client for it.
pub(super) struct Http {
    pub(super) client: Client,
    pub(super) endpoint: Url,
    pub(super) publishable_key: HeaderValue,
}

impl Http {
    pub(super) fn new(endpoint: &str, publishable_key: &str) -> Result<Http, Error> {
        let client = http_client_builder();
        let client = client.build().map_err(|_| Error::Internal("the HTTP client could not be made"))?;
        let publishable_key =
            secret(publishable_key).ok_or(Error::Internal("a checked API key fits into no header"))?;
        Ok(Http { client, endpoint: parsed(endpoint)?, publishable_key })
    }

    #[cfg(test)]
    pub(super) fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }

    /// Posts JSON, and waits for the answer's headers. `timeout_ms` bounds its body too.
    pub(super) async fn post(
        &self,
        bearer: &str,
        body: Vec<u8>,
        timeout_ms: u64,
    ) -> Result<Response, Failure> {
        let json = HeaderValue::from_static("application/json");
        let bearer =
            secret(bearer).ok_or_else(|| Failure::Unauthorized { code: "malformed_token".to_owned() })?;
        let headers = HeaderMap::from_iter([
            (ACCEPT, json.clone()),
            (CONTENT_TYPE, json),
            (AUTHORIZATION, bearer),
            (HeaderName::from_static("apikey"), self.publishable_key.clone()),
        ]);
        let request = self.client.post(self.endpoint.clone()).timeout(Duration::from_millis(timeout_ms));
        let sent = request.headers(headers).body(body).send().await;
        sent.map(Response).map_err(|error| why_unreached(&error))
    }
}

/// A date of HTTP (RFC 9110, 5.6.7), in any of its three forms.
pub(super) fn http_date(text: &str) -> Option<UnixMillis> {
    let since_1970 = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(UnixMillis(i64::try_from(since_1970.as_millis()).ok()?))
}

/// A header that nothing prints.
pub(super) fn secret(value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(value).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// An answer whose body has not been read.
pub(super) struct Response(reqwest::Response);

impl Response {
    pub(super) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.0.headers().get(name)?.to_str().ok().map(str::to_owned)
    }

    /// Reads a body up to the bound. A connection cut in the middle leaves the server's work in doubt, like a timeout.
    pub(super) async fn read(mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = self.0.chunk().await.map_err(|error| why_unreached(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Failure::AnswerTooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_printed() {
        assert_eq!(format!("{:?}", secret("Bearer hunter2").unwrap()), "Sensitive");
        assert!(secret("a\nb").is_none());
    }
}
