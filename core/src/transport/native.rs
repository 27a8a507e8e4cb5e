//! The HTTP client of the desktop: ring for TLS, the system's certificates, the system's resolver, no redirects.

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use rustls::crypto::CryptoProvider;

use super::unreached::NameNotFound;

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

/// The system's resolver, with an error of a type of its own.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NameNotFound)?;
            let addresses: Addrs = Box::new(found.collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}
