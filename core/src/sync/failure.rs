//! What can come back instead of an answer, told apart by what the client should do next.

use thiserror::Error;

use crate::planted::{self, Fault};

const NO_TOKEN: &str = "no_token";

/// A request that fails after so long had begun to cross: its size may be the reason.
const LONG_MS: u64 = 5_000;

/// A request that brought no answer. Carries codes, never what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server could not be reached. A state, not an error.
    #[error("the server could not be reached; work goes on offline")]
    Offline,
    /// The server's name was not found, or no name server could be asked.
    #[error("the server's name was not found: there is no network, or the address has a typing error")]
    NameNotFound,
    /// The machine is there and nobody listens at the port.
    #[error("the server's machine refuses connections: the server is down, or the port is wrong")]
    ConnectionRefused,
    /// The connection was cut after the request had begun. The server may have done the work.
    #[error("the connection was cut in the middle; it will be tried again")]
    ConnectionLost,
    /// No trusted connection: nothing was sent.
    #[error("no secure connection ({problem}); nothing was sent, it will be tried again")]
    Tls {
        /// What was wrong.
        problem: TlsProblem,
    },
    /// A page for people came instead of an answer, or a redirect to one.
    #[error("this network answered with a page of its own: sign in to it in a browser, then it goes on")]
    CaptivePortal,
    /// No answer within the request's time limit. The server may have done the work.
    #[error("the server did not answer in time; it will be tried again")]
    Timeout,
    /// The token is missing, expired or refused.
    #[error("the access token was refused ({code}); sign in again or hand over a new token")]
    Unauthorized {
        /// What the server called it.
        code: String,
    },
    /// The host could not get an access token now: its sign-in service is away, or the app's own code failed. Nothing was
    /// sent, and whether somebody is signed in is not known.
    #[error("no access token could be had now; work goes on, and it is tried again")]
    TokenUnavailable,
    /// The gateway in front of the server does not know the app's API key: nobody's sign-in is to blame.
    #[error(
        "the server refuses the app's API key (publishable or anon key): it is wrong, of another project, or retired; give the app the project's current one, the sign-in and everything recorded are kept"
    )]
    ApiKeyRefused,
    /// The account was known to the server, and is no longer there.
    #[error(
        "the account no longer exists on the server; everything recorded is kept on this device, save what was not sent before you erase it"
    )]
    AccountDeleted,
    /// The token is another user's: nothing was sent.
    #[error("the access token belongs to another user; open that user's mirror instead")]
    OtherUser,
    /// The request is larger than the server takes: its own word (`PT413`), not that of something on the way.
    #[error("the request was too large for the server; it will be sent in smaller parts")]
    TooLarge,
    /// Something between here and the server takes no request of this size, or says so. Says nothing about a mutation.
    #[error(
        "something between this device and the server refuses requests of this size (HTTP 413); smaller ones are tried, and nothing is lost"
    )]
    ProxyTooLarge,
    /// The answer would have been larger than the server can make, or than a client takes.
    #[error("the answer was too large; a smaller part of it will be asked for")]
    AnswerTooLarge,
    /// The server gave up on the request because it took too long (`statement_timeout`).
    #[error("the server took too long over the request; a smaller one will be tried")]
    ServerTimeout,
    /// The app's database has no row for this user in `users`, to which everything else belongs.
    #[error(
        "the app has no row for this user in its users table yet; nothing is lost, it is sent as soon as the row is there"
    )]
    UserMissing,
    /// The user's data went to another server, which has an address.
    #[error(
        "this account's data is on another server now{}; nothing is lost, it is sent once the app opens it there",
        address.as_deref().map(|address| format!(" ({address})")).unwrap_or_default()
    )]
    UserMoved {
        /// Where it is, as the server says it: an address, or a name that the app understands.
        address: Option<String>,
    },
    /// The server says that there is more, again and again, and does not move on.
    #[error("the server says that there is more and does not move on; it will be tried again")]
    NoProgress,
    /// The server no longer speaks this protocol.
    #[error("the server asks for a newer version of the app; update it, nothing is lost")]
    UpgradeRequired,
    /// The server, or something in front of it, refuses the request itself.
    #[error(
        "the request was refused (HTTP {status}, {code}); nothing is lost, it is tried again, `marea doctor` says more"
    )]
    Refused {
        /// HTTP status.
        status: u16,
        /// The server's code.
        code: String,
    },
    /// The server is in trouble or asks for patience.
    #[error("the server could not answer now (HTTP {status}); it will be tried again")]
    Server {
        /// HTTP status.
        status: u16,
        /// How long the server asks to wait, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// Something answered, but not in this protocol: a proxy, another server, half a body.
    #[error("the answer was not one of Marea's (a proxy, or another server); it will be tried again")]
    Unintelligible,
}

/// Why there was no secure connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// Expired, or not valid yet. As often a wrong clock as a forgotten certificate.
    #[error("the certificate is not valid at this device's time; check the clock")]
    NotInItsTime,
    /// A certificate of another server.
    #[error("the certificate belongs to another name")]
    OtherName,
    /// Nobody whom this device trusts has signed it.
    #[error("the certificate is not trusted on this device")]
    Untrusted,
    /// The two did not agree on how to speak, or the other side does not speak TLS.
    #[error("the other side does not complete the TLS handshake")]
    Handshake,
}

/// The codes of the failures that the network, not the server, is to blame for.
pub(crate) const OFFLINE_CODES: [&str; 8] = [
    "offline",
    "dns_failed",
    "connection_refused",
    "connection_lost",
    "tls_failed",
    "captive_portal",
    "timeout",
    "unintelligible_answer",
];

impl Failure {
    /// The stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Failure::Offline => "offline",
            Failure::NameNotFound => "dns_failed",
            Failure::ConnectionRefused => "connection_refused",
            Failure::ConnectionLost => "connection_lost",
            Failure::Tls { .. } => "tls_failed",
            Failure::CaptivePortal => "captive_portal",
            Failure::Timeout => "timeout",
            Failure::Unauthorized { .. } => "unauthorized",
            Failure::TokenUnavailable => "token_unavailable",
            Failure::ApiKeyRefused => "api_key_refused",
            Failure::AccountDeleted => "account_deleted",
            Failure::OtherUser => "other_user",
            Failure::TooLarge => "too_large",
            Failure::ProxyTooLarge => "proxy_too_large",
            Failure::AnswerTooLarge => "answer_too_large",
            Failure::ServerTimeout => "server_timeout",
            Failure::UserMissing => "user_missing",
            Failure::UserMoved { .. } => "user_moved",
            Failure::NoProgress => "no_progress",
            Failure::UpgradeRequired => "upgrade_required",
            Failure::Refused { .. } => "refused",
            Failure::Server { .. } => "server_failed",
            Failure::Unintelligible => "unintelligible_answer",
        }
    }

    /// A token that the app could not give.
    pub fn no_token() -> Failure {
        Failure::Unauthorized { code: NO_TOKEN.to_owned() }
    }

    /// Whether the server itself said so.
    pub(crate) fn met_the_server(&self) -> bool {
        match self {
            Failure::OtherUser | Failure::TokenUnavailable => false,
            Failure::Unauthorized { code } => code != NO_TOKEN,
            failure => !failure.is_offline(),
        }
    }

    /// Whether a smaller request may fare better. `is_repeated`: the last one failed too; `took_ms`: how long this one took to
    /// fail. What fails at once and for the first time is not made smaller: a phone that goes offline would come back with a
    /// hundred small requests.
    pub(crate) fn may_be_size(&self, is_repeated: bool, took_ms: u64) -> bool {
        match self {
            Failure::TooLarge
            | Failure::ProxyTooLarge
            | Failure::AnswerTooLarge
            | Failure::ServerTimeout
            | Failure::Server { status: 408 | 504 | 524, .. } => true,
            Failure::Timeout => !planted::is(Fault::SlowLinesUnheeded),
            // Cut off, or out of memory.
            Failure::ConnectionLost | Failure::Unintelligible | Failure::Server { status: 500.., .. } => {
                is_repeated || took_ms >= LONG_MS
            }
            // A browser has no other word for a request that was cut off.
            Failure::Offline => took_ms >= LONG_MS,
            _ => false,
        }
    }

    /// Whether the network, not the server, stood in the way.
    pub fn is_offline(&self) -> bool {
        OFFLINE_CODES.contains(&self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_to_blame_for_what_never_met_the_server() {
        let network = [
            Failure::Offline,
            Failure::NameNotFound,
            Failure::ConnectionRefused,
            Failure::ConnectionLost,
            Failure::Tls { problem: TlsProblem::Untrusted },
            Failure::CaptivePortal,
            Failure::Timeout,
            Failure::Unintelligible,
        ];
        let codes: Vec<&str> = network.iter().map(Failure::code).collect();
        assert_eq!(codes, OFFLINE_CODES, "each has a code of its own");
        assert!(network.iter().all(|failure| failure.is_offline() && !failure.met_the_server()));
        let server = [
            Failure::TooLarge,
            Failure::ProxyTooLarge,
            Failure::AnswerTooLarge,
            Failure::ServerTimeout,
            Failure::UserMissing,
            Failure::UserMoved { address: None },
            Failure::NoProgress,
            Failure::OtherUser,
            Failure::UpgradeRequired,
            Failure::no_token(),
        ];
        assert!(server.iter().all(|failure| !failure.is_offline()));
    }

    #[test]
    fn only_what_may_be_a_matter_of_size_makes_requests_smaller() {
        let server = |status| Failure::Server { status, retry_after_ms: None };
        for (failure, at_once, repeated, after_long) in [
            (Failure::ProxyTooLarge, true, true, true),
            (Failure::Timeout, true, true, true),
            (server(504), true, true, true),
            (server(503), false, true, true),
            (Failure::ConnectionLost, false, true, true),
            (Failure::Offline, false, false, true),
            (server(429), false, false, false),
            (Failure::NameNotFound, false, false, false),
            (Failure::UserMissing, false, false, false),
            (Failure::UserMoved { address: None }, false, false, false),
            (Failure::CaptivePortal, false, false, false),
        ] {
            let found = [(false, 10), (true, 10), (false, 6_000)].map(|(r, ms)| failure.may_be_size(r, ms));
            assert_eq!(found, [at_once, repeated, after_long], "{failure:?}");
        }
    }
}
