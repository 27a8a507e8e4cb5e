//! Tells apart why a request brought no answer: a name that is not found, a closed port, TLS, a cut connection, silence.
//!
//! By types in the chain of causes, never by the text of a message. Takes no decision: that is `sync`.

use std::error::Error as StdError;
use std::io::{Error as IoError, ErrorKind};

use crate::sync::{Failure, TlsProblem};

/// The name of the server was not found, or nobody could be asked.
#[derive(Debug)]
pub(super) struct NameNotFound;

impl std::fmt::Display for NameNotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name was not found")
    }
}

impl StdError for NameNotFound {}

/// What stood between a request and its answer.
pub fn why_unreached(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    if has::<NameNotFound>(error) {
        return Failure::NameNotFound;
    }
    if let Some(problem) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return Failure::Tls { problem: tls_problem(problem) };
    }
    let is_tls = error.url().is_some_and(|url| url.scheme() == "https");
    let kinds: Vec<ErrorKind> =
        causes(error).filter_map(|cause| cause.downcast_ref::<IoError>()).map(IoError::kind).collect();
    if !error.is_connect() {
        return Failure::ConnectionLost;
    }
    if kinds.contains(&ErrorKind::ConnectionRefused) {
        return Failure::ConnectionRefused;
    }
    // The port took the connection and hung up when it was greeted.
    let hung_up = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    if is_tls && kinds.iter().any(|kind| hung_up.contains(kind)) {
        return Failure::Tls { problem: TlsProblem::Handshake };
    }
    Failure::Offline
}

fn has<T: StdError + 'static>(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| cause.is::<T>())
}

/// The error and all that it came from; an I/O error hides its cause where `source` does not show it.
fn causes<'e>(error: &'e reqwest::Error) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let first: &'e (dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |&cause| match cause.downcast_ref::<IoError>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => cause.source(),
    })
}

fn tls_problem(error: &rustls::Error) -> TlsProblem {
    use rustls::CertificateError as Certificate;
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => TlsProblem::NotInItsTime,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                TlsProblem::OtherName
            }
            _ => TlsProblem::Untrusted,
        },
        _ => TlsProblem::Handshake,
    }
}
