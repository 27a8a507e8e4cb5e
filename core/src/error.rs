//! Every error a caller of the engine can meet, grouped by whose fault it is.
//!
//! No variant carries a learner's data, a token or a file's content; each message says what to do next.

use thiserror::Error as ThisError;

/// What went wrong. [`Error::code`] is stable and the same in Rust, JavaScript, C and on the command line.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The caller's input: nothing was written.
    #[error("{field}: {problem}")]
    InvalidInput {
        /// The field that was refused, as the caller named it.
        field: &'static str,
        /// What is wrong with it, and what is allowed.
        problem: String,
    },
    /// The caller's input for a mirrored table: nothing was written.
    #[error("{table}{}{column}: {problem}", if column.is_empty() { "" } else { "." })]
    InvalidValue {
        /// The table.
        table: String,
        /// The column; empty where it is the row as a whole.
        column: String,
        /// What is wrong with it, and what is allowed.
        problem: String,
    },
    /// No mirrored table has this name.
    #[error(
        "there is no mirrored table {table:?} here; pass the schema that has it, or sync once if it is learned from the server"
    )]
    UnknownTable {
        /// The name.
        table: String,
    },
    /// The mirror belongs to another user.
    #[error("this mirror belongs to another user; open one file per user")]
    WrongUser,
    /// Only an account has this, and nobody has signed in.
    #[error("{what}: needs an account; sign in, then open the mirror with its user id")]
    NeedsAccount {
        /// What was asked for.
        what: &'static str,
    },
    /// Another process or tab holds the mirror.
    #[error("the mirror is in use by another tab or program; close it there, then try again")]
    MirrorLocked,
    /// The mirror was written by a newer program. It was left as it is.
    #[error("the mirror has schema {found}, this program knows up to {known}; update the program")]
    MirrorNewer {
        /// The file's schema version.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// The file is not a mirror, or it is damaged. It was left as it is.
    #[error(
        "the mirror's file is damaged or is not a Marea mirror; it was left untouched, move it away to start anew"
    )]
    MirrorCorrupt,
    /// The device is full. The write was refused whole.
    #[error("the device has no room left; the write was refused whole, free some space and try again")]
    StorageFull,
    /// The files of this device may take no more room. What the file belongs to was recorded.
    #[error(
        "the files on this device take all the room that they may; the export was recorded without its file: upload or delete others, then attach it"
    )]
    FilesFull,
    /// The file that the export had is still to be deleted at the server. Nothing was written.
    #[error(
        "the file that this export had is still being deleted at the server; attach the file again once that is done, which needs a network"
    )]
    FileLeaving,
    /// The storage failed. The write was refused whole.
    #[error("the device's storage failed ({code}); the write was refused whole, try again")]
    StorageFailed {
        /// SQLite's extended result code.
        code: i32,
    },
    /// The source of randomness failed.
    #[error("the system's source of randomness failed; try again")]
    NoEntropy,
    /// An answer for a request that is not under way (late, or repeated). It was dropped.
    #[error("this answer belongs to no request that is under way; it was dropped")]
    StaleTicket,
    /// A query does, or reads, what no query may.
    #[error("{problem}")]
    QueryRefused {
        /// What is not allowed, and what is.
        problem: String,
    },
    /// A query needs more than a query may take. It gave nothing.
    #[error("the query needs more than {}{limit}; narrow it down", MostOf(*most))]
    QueryLimit {
        /// What there would be too much of.
        limit: &'static str,
        /// How much a query may take; 0 where that is no number.
        most: u64,
    },
    /// The sealed keys: what the learner has to do.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A rule that Marea itself must keep does not hold. A bug.
    #[error("internal: {0}; please report this")]
    Internal(&'static str),
}

/// A number and a blank, or that there is less of it than was asked for.
struct MostOf(u64);

impl std::fmt::Display for MostOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => f.write_str("the allowed "),
            most => write!(f, "{most} "),
        }
    }
}

/// Why the vault did not do what was asked. None says more than the learner needs to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum VaultError {
    /// There is no vault yet.
    #[error("no passphrase has been chosen yet; set up the vault first")]
    NotSetUp,
    /// There is a vault already, of this device or of another.
    #[error(
        "a passphrase has been chosen already; unlock with it, or reset the vault, which gives up the keys in it"
    )]
    AlreadySetUp,
    /// The passphrase is needed.
    #[error("the vault is locked; unlock it with the passphrase")]
    Locked,
    /// The passphrase (or the recovery code) opens nothing here.
    #[error("the passphrase does not open the vault; check it, then try again")]
    WrongPassphrase,
    /// This key was sealed under another passphrase, on a device that did not know of this one.
    #[error(
        "this key was sealed under another passphrase; unlock once more with that one, then both are one vault"
    )]
    OtherPassphrase,
    /// The sealed key is not what some device sealed for this place.
    #[error(
        "the sealed key is damaged, in the wrong place or of a newer version of the app; put the key in anew"
    )]
    Damaged,
    /// There is no key of this provider.
    #[error("there is no key for this provider; put one in first")]
    NoKey,
    /// What the device remembered opens nothing any more: the vault's key was changed since.
    #[error("what this device remembered no longer opens the vault; unlock with the passphrase")]
    Forgotten,
    /// Too many wrong passphrases in a row.
    #[error("too many wrong passphrases; try again in {} s", retry_after_ms.div_ceil(1000))]
    TooManyGuesses {
        /// How long to wait, in milliseconds.
        retry_after_ms: u64,
    },
}

impl VaultError {
    fn code(self) -> &'static str {
        match self {
            VaultError::NotSetUp => "vault_not_set_up",
            VaultError::AlreadySetUp => "vault_set_up",
            VaultError::Locked => "vault_locked",
            VaultError::WrongPassphrase => "wrong_passphrase",
            VaultError::OtherPassphrase => "other_passphrase",
            VaultError::Damaged => "key_damaged",
            VaultError::NoKey => "no_key",
            VaultError::Forgotten => "vault_forgotten",
            VaultError::TooManyGuesses { .. } => "too_many_guesses",
        }
    }
}

impl Error {
    /// The stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::InvalidInput { .. } | Error::InvalidValue { .. } => "invalid_input",
            Error::UnknownTable { .. } => "unknown_table",
            Error::WrongUser => "wrong_user",
            Error::NeedsAccount { .. } => "needs_account",
            Error::MirrorLocked => "mirror_locked",
            Error::MirrorNewer { .. } => "mirror_newer",
            Error::MirrorCorrupt => "mirror_corrupt",
            Error::StorageFull | Error::FilesFull => "storage_full",
            Error::FileLeaving => "file_leaving",
            Error::StorageFailed { .. } => "storage_failed",
            Error::NoEntropy => "no_entropy",
            Error::StaleTicket => "stale_ticket",
            Error::QueryRefused { .. } => "query_refused",
            Error::QueryLimit { .. } => "query_limit",
            Error::Vault(error) => error.code(),
            Error::Internal(_) => "internal",
        }
    }

    /// Whether the same call may succeed later without a change.
    pub fn may_retry(&self) -> bool {
        matches!(
            self,
            Error::MirrorLocked
                | Error::StorageFull
                | Error::FilesFull
                | Error::FileLeaving
                | Error::StorageFailed { .. }
                | Error::NoEntropy
                | Error::Vault(VaultError::TooManyGuesses { .. })
        )
    }

    pub(crate) fn refused(problem: impl Into<String>) -> Error {
        Error::QueryRefused { problem: problem.into() }
    }

    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Error {
        Error::InvalidInput { field, problem: problem.into() }
    }
}
