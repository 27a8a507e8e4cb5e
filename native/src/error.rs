//! What can go wrong on the desktop, grouped by who can mend it. Carries no token, no password and nothing a learner wrote.

use std::io;
use std::path::PathBuf;

use marea_core::Failure;

/// Why a call failed. [`Error::code`] is stable and meant for programs; the text says what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused the call or its mirror failed. Its code passes through.
    #[error(transparent)]
    Engine(#[from] marea_core::Error),

    /// A file or folder of the client could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Files {
        /// What was tried, as a verb: "read", "create".
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// What was to be written could not be written to where the caller wanted it. Nothing is lost: it is still in the mirror.
    #[error("cannot write the queue: {source}")]
    Output {
        /// What the system said.
        source: io::Error,
    },

    /// An export's file could not be had from the server.
    #[error("the file could not be fetched: {reason}")]
    FileFetch {
        /// What came instead.
        reason: Failure,
    },

    /// Other bytes came from the server than were uploaded. Nothing of them was kept.
    #[error("what the server gave is not the file that was uploaded; try again")]
    OtherFile,

    /// The file of remembered sign-ins is not one that this program can read. It is left as it is.
    #[error("{} cannot be understood ({problem}); move it away and sign in again", path.display())]
    AccountsUnreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// `sync` on a client that was opened without a server or without tokens.
    #[error("this client was opened without {missing}; give Config::{missing} to sync")]
    NotConfigured {
        /// The method of `Config` that was not called.
        missing: &'static str,
    },

    /// The text given as an access token has no user in it.
    #[error("the token is not an access token of a signed-in user: {problem}")]
    NotAToken {
        /// What is wrong with it. Never the token.
        problem: &'static str,
    },

    /// The address or the publishable key cannot be used in a request.
    #[error("the server's {what} cannot be used in a request; check it for typing errors")]
    InvalidServer {
        /// "address" or "publishable key".
        what: &'static str,
    },

    /// The client was shut down, or its engine has failed. What was acknowledged is safe.
    #[error("this client is closed; open it anew, nothing that was recorded is lost")]
    Closed,

    /// The system gave no thread, or none of what a thread needs.
    #[error("the system gave no thread to work on: {source}")]
    NoResources {
        /// What the system said.
        source: io::Error,
    },

    /// Another program has been talking to the server for this mirror all the while.
    #[error("another program is syncing this mirror and does not end; look whether it hangs, then try again")]
    SyncBusy,

    /// The system's keychain is of no use now. What was to be kept there is kept nowhere.
    #[error("the system's keychain cannot be used: {problem}")]
    KeychainUnavailable {
        /// Why. Nothing of what it holds.
        problem: &'static str,
    },

    /// The sign-in service could not be reached in time. Recorded work is safe; try again with a network.
    #[error("signing in needs the server, and it cannot be reached: {reason}")]
    Offline {
        /// What stood in the way.
        reason: Failure,
    },

    /// The sign-in service does not accept this email and password.
    #[error("the server does not accept this email and password; check both")]
    SignInRefused,

    /// The sign-in service knows the account and lets nobody in: the email is not confirmed, the account is banned, and so on.
    #[error("the server does not let this account sign in ({code})")]
    SignInNotAllowed {
        /// The service's own code, `email_not_confirmed` for one.
        code: String,
    },

    /// The remembered sign-in has ended (signed out elsewhere, unused for too long, or the account is gone). The queue is kept.
    #[error(
        "the sign-in of this device has ended; sign in again with the email and the password (the queue is kept)"
    )]
    SignInEnded,

    /// The account no longer exists on the server. What was recorded is kept on this device.
    #[error(
        "the account no longer exists on the server; everything recorded is kept on this device: `marea queue export` saves what was not sent"
    )]
    AccountDeleted,

    /// The server's gateway does not know the API key. The sign-in is kept.
    #[error(
        "the server refuses the API key (publishable or anon key): it is wrong, of another project, or retired; give the project's current one (the sign-in and the queue are kept)"
    )]
    ApiKeyRefused,

    /// The server gave no catalogue of its mirrored tables.
    #[error("the server gave no catalogue: {problem}")]
    NoCatalogue {
        /// What is wrong, and what to do.
        problem: &'static str,
    },

    /// The sign-in service answered with something that is not a session.
    #[error(
        "the sign-in service failed (HTTP status {status}); look whether the server's address is right, then try again later"
    )]
    SignInFailed {
        /// The HTTP status of its answer.
        status: u16,
    },
}

impl Error {
    pub(crate) fn of_files(action: &'static str, path: PathBuf, source: io::Error) -> Error {
        Error::Files { action, path, source }
    }

    /// A stable name for programs, from one table with the engine's codes.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Engine(error) => error.code(),
            Error::Files { .. } | Error::Output { .. } => "storage_failed",
            Error::AccountsUnreadable { .. } => "sign_in_unreadable",
            Error::NotConfigured { .. } | Error::NotAToken { .. } | Error::InvalidServer { .. } => {
                "invalid_input"
            }
            Error::KeychainUnavailable { .. } => "keychain_unavailable",
            Error::FileFetch { reason } => match reason {
                Failure::Unauthorized { .. } | Failure::OtherUser => "unauthorized",
                reason if reason.is_offline() => "offline",
                _ => "server_failed",
            },
            Error::SyncBusy => "sync_busy",
            Error::Closed => "closed",
            Error::NoResources { .. } => "no_resources",
            Error::Offline { .. } => "offline",
            Error::SignInRefused | Error::SignInNotAllowed { .. } | Error::SignInEnded => "unauthorized",
            Error::AccountDeleted => "account_deleted",
            Error::ApiKeyRefused => "api_key_refused",
            Error::OtherFile | Error::NoCatalogue { .. } | Error::SignInFailed { .. } => "server_failed",
        }
    }

    /// Whether the same call may succeed later without anything being changed by hand.
    pub fn may_retry(&self) -> bool {
        match self {
            Error::Engine(error) => error.may_retry(),
            Error::SyncBusy
            | Error::FileFetch { .. }
            | Error::OtherFile
            | Error::KeychainUnavailable { .. }
            | Error::NoResources { .. }
            | Error::Offline { .. }
            | Error::SignInFailed { .. } => true,
            _ => false,
        }
    }
}
