//! What can come back instead of an answer, told apart by what the client should do next.

use thiserror::Error;

const NO_TOKEN: &str = "no_token";

/// A request that brought no answer. Carries codes, never what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server could not be reached. A state, not an error.
    #[error("the server could not be reached; work goes on offline")]
    Offline,
    /// No answer within the request's time limit. The server may have done the work.
    #[error("the server did not answer in time; it will be tried again")]
    Timeout,
    /// The token is missing, expired or refused.
    #[error("the access token was refused ({code}); sign in again or hand over a new token")]
    Unauthorized {
        /// What the server called it.
        code: String,
    },
    /// The token is another user's: nothing was sent.
    #[error("the access token belongs to another user; open that user's mirror instead")]
    OtherUser,
    /// The request is larger than the server takes.
    #[error("the request was too large for the server; it will be sent in smaller parts")]
    TooLarge,
    /// The server no longer speaks this protocol.
    #[error("the server asks for a newer version of the app; update it, nothing is lost")]
    UpgradeRequired,
    /// The server refuses the request itself; the same again would be refused again.
    #[error(
        "the server refused the request (HTTP {status}, {code}); nothing is lost, sync again once this is mended"
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
    /// Something answered, but not in this protocol: a captive portal, a proxy, half a body.
    #[error(
        "the answer was not one of Marea's (a captive portal, or a cut connection); it will be tried again"
    )]
    Unintelligible,
}

impl Failure {
    /// The stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Failure::Offline => "offline",
            Failure::Timeout => "timeout",
            Failure::Unauthorized { .. } => "unauthorized",
            Failure::OtherUser => "other_user",
            Failure::TooLarge => "too_large",
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
            Failure::OtherUser => false,
            Failure::Unauthorized { code } => code != NO_TOKEN,
            failure => !failure.is_offline(),
        }
    }

    /// Whether the network, not the server, stood in the way.
    pub fn is_offline(&self) -> bool {
        matches!(self, Failure::Offline | Failure::Timeout | Failure::Unintelligible)
    }
}
