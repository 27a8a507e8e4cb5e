//! The numbers that entries return, one for each of the stable codes that the Rust API and the command line use.
//!
//! A number never changes its meaning; new ones are added within their group.

/// How a call ended. 0 is success; everything else is a reason, with the same names that the `marea` command prints.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MareaCode {
    /// Done.
    Ok = 0,

    /// A pointer that must not be NULL is NULL. The message names the argument.
    NullArgument = 1,
    /// A text is not UTF-8. The message names the argument.
    InvalidUtf8 = 2,
    /// A value cannot be used. The message names the field and says what it should be.
    InvalidInput = 3,
    /// The client was closed. What was acknowledged is safe.
    Closed = 4,
    /// The mirror belongs to another user.
    WrongUser = 5,
    /// The catalogue has no such table.
    UnknownTable = 6,
    /// A query does, or reads, what no query may. The message says what.
    QueryRefused = 7,
    /// A query needs more rows, bytes, steps or time than one may take. The message says of what.
    QueryLimit = 8,
    /// Only an account has this, and nobody has signed in.
    NeedsAccount = 9,

    /// Another program holds the mirror.
    MirrorLocked = 10,
    /// A newer version of Marea has written the mirror. It is left as it is.
    MirrorNewer = 11,
    /// The file is another program's database, or a damaged mirror that another program has open. It is left as it is. (A damaged
    /// mirror that nobody else has open is set aside when it is opened, and its queue goes into a fresh one.)
    MirrorCorrupt = 12,
    /// The disk is full. Nothing was written.
    StorageFull = 13,
    /// A file or folder cannot be used. Nothing was written.
    StorageFailed = 14,
    /// The file that the export had is still being deleted at the server. Nothing was written; attach it again later.
    FileLeaving = 15,

    /// The server does not accept the sign-in, or it has ended. The queue is kept.
    Unauthorized = 20,
    /// The server cannot be reached. (A sync reports that as its outcome, not as a code.)
    Offline = 21,
    /// The sign-in service failed; try again later.
    ServerFailed = 22,
    /// The file of remembered sign-ins cannot be understood. It is left as it is.
    SignInUnreadable = 23,
    /// The system's keychain cannot be used. What was to be kept there is kept nowhere.
    KeychainUnavailable = 24,

    /// Another program has been syncing this mirror all the while.
    SyncBusy = 25,

    /// The server's gateway refuses the API key (publishable or anon key): it is wrong, of another project, or retired. The sign-in is kept.
    ApiKeyRefused = 26,
    /// The account no longer exists on the server. What was recorded is kept on this device.
    AccountDeleted = 27,

    /// No passphrase was chosen yet.
    VaultNotSetUp = 30,
    /// A passphrase was chosen already.
    VaultSetUp = 31,
    /// The vault is locked: unlock it first.
    VaultLocked = 32,
    /// The passphrase or the recovery code is another one.
    WrongPassphrase = 33,
    /// The key was sealed under another passphrase: unlock once more with that one.
    OtherPassphrase = 34,
    /// The key is damaged: put it in anew.
    KeyDamaged = 35,
    /// There is no key of this provider.
    NoKey = 36,
    /// What this device remembered opens nothing any more: ask for the passphrase.
    VaultForgotten = 37,
    /// Too many wrong guesses: the message says how long to wait.
    TooManyGuesses = 38,

    /// The system gave no randomness.
    NoEntropy = 90,
    /// The system gave no thread, or none of what a thread needs.
    NoResources = 91,
    /// A defect of this library. What was acknowledged is safe; open the client anew.
    Internal = 99,
}

/// Every number and its name.
const NAMES: [(MareaCode, &str); 37] = [
    (MareaCode::Ok, "ok\0"),
    (MareaCode::NullArgument, "null_argument\0"),
    (MareaCode::InvalidUtf8, "invalid_utf8\0"),
    (MareaCode::InvalidInput, "invalid_input\0"),
    (MareaCode::Closed, "closed\0"),
    (MareaCode::WrongUser, "wrong_user\0"),
    (MareaCode::UnknownTable, "unknown_table\0"),
    (MareaCode::QueryRefused, "query_refused\0"),
    (MareaCode::QueryLimit, "query_limit\0"),
    (MareaCode::NeedsAccount, "needs_account\0"),
    (MareaCode::MirrorLocked, "mirror_locked\0"),
    (MareaCode::MirrorNewer, "mirror_newer\0"),
    (MareaCode::MirrorCorrupt, "mirror_corrupt\0"),
    (MareaCode::StorageFull, "storage_full\0"),
    (MareaCode::StorageFailed, "storage_failed\0"),
    (MareaCode::FileLeaving, "file_leaving\0"),
    (MareaCode::Unauthorized, "unauthorized\0"),
    (MareaCode::Offline, "offline\0"),
    (MareaCode::ServerFailed, "server_failed\0"),
    (MareaCode::SignInUnreadable, "sign_in_unreadable\0"),
    (MareaCode::KeychainUnavailable, "keychain_unavailable\0"),
    (MareaCode::SyncBusy, "sync_busy\0"),
    (MareaCode::ApiKeyRefused, "api_key_refused\0"),
    (MareaCode::AccountDeleted, "account_deleted\0"),
    (MareaCode::VaultNotSetUp, "vault_not_set_up\0"),
    (MareaCode::VaultSetUp, "vault_set_up\0"),
    (MareaCode::VaultLocked, "vault_locked\0"),
    (MareaCode::WrongPassphrase, "wrong_passphrase\0"),
    (MareaCode::OtherPassphrase, "other_passphrase\0"),
    (MareaCode::KeyDamaged, "key_damaged\0"),
    (MareaCode::NoKey, "no_key\0"),
    (MareaCode::VaultForgotten, "vault_forgotten\0"),
    (MareaCode::TooManyGuesses, "too_many_guesses\0"),
    (MareaCode::NoEntropy, "no_entropy\0"),
    (MareaCode::NoResources, "no_resources\0"),
    (MareaCode::Internal, "internal\0"),
    // Of the engine's own loop; no call of a host gets it.
    (MareaCode::Internal, "stale_ticket\0"),
];

impl MareaCode {
    /// The number of a stable name.
    pub(crate) fn of_name(name: &str) -> MareaCode {
        let found = NAMES.iter().find(|(_, known)| known.trim_end_matches('\0') == name);
        found.map_or(MareaCode::Internal, |(code, _)| *code)
    }

    /// The name of a number, ended with a NUL; `unknown` for a number of a newer library.
    pub(crate) fn name_of(number: i32) -> &'static str {
        NAMES.iter().find(|(code, _)| *code as i32 == number).map_or("unknown\0", |(_, name)| name)
    }

    pub(crate) fn name(self) -> &'static str {
        MareaCode::name_of(self as i32).trim_end_matches('\0')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every literal that follows `=>` in the two tables of codes.
    fn codes_of(source: &str) -> Vec<&str> {
        let table =
            source.split("fn code(").skip(1).map(|body| body.split("\n    }\n").next().unwrap_or(body));
        let literals = table.flat_map(|body| body.split('"').skip(1).step_by(2));
        literals.filter(|literal| literal.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect()
    }

    #[test]
    fn every_code_of_the_rust_apis_has_a_number() {
        let sources = [include_str!("../../../core/src/error.rs"), include_str!("../../src/error.rs")];
        let codes: Vec<_> = sources.iter().flat_map(|source| codes_of(source)).collect();
        assert!(codes.len() > 25, "{codes:?}");
        for code in codes {
            assert!(
                NAMES.iter().any(|(_, name)| name.trim_end_matches('\0') == code),
                "{code} has no number"
            );
        }
    }

    #[test]
    fn numbers_and_names_lead_to_each_other() {
        for (code, name) in NAMES {
            assert_eq!(MareaCode::of_name(name.trim_end_matches('\0')), code);
        }
        assert_eq!(MareaCode::name_of(13), "storage_full\0");
        assert_eq!(MareaCode::name_of(-1), "unknown\0");
        assert_eq!(MareaCode::of_name("of a newer engine"), MareaCode::Internal);
    }
}
