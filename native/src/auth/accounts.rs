//! The accounts that have signed in on this device: one small JSON file, read whole, replaced whole.
//!
//! Writers take a lock file first, so that two processes never lose each other's refresh token. It talks to no network.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use marea_core::UserId;
use serde::{Deserialize, Serialize};

use super::{Secret, tokens};
use crate::Error;
use crate::files::{FileLock, make_dir, make_private};

/// The file's name in the data folder.
pub(crate) const FILE_NAME: &str = "session.json";
const NEW_FILE_NAME: &str = "session.json.new";
const LOCK_NAME: &str = "session.lock";
/// The shape of the file. A greater one was written by a newer program and is left alone.
const FORMAT: u32 = 2;
/// What a file without anything in the keychain is written as, so that older programs go on reading it.
const FORMAT_WITHOUT_KEYCHAIN: u32 = 1;
/// More people than ever share one device; the file stays small whatever happens.
const ACCOUNTS_MAX: usize = 100;

/// One signed-in account on one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The server's address, without a slash at its end.
    pub url: String,
    /// The project's publishable key, or the anon key of a project from before: public, kept so that later commands need only the folder.
    pub anon_key: String,
    /// As it was given at sign-in.
    pub email: String,
    /// Whose mirror it is.
    pub user_id: UserId,
    /// The last access token.
    pub access_token: Secret,
    /// What the next one is bought with.
    pub refresh_token: Secret,
    /// When the access token ends, in seconds since 1970 by *this device's* clock.
    pub expires_at: i64,
    /// Whether the server may be another machine without TLS: the sign-in asked for that by name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
}

/// The remembered accounts of one data folder, the latest to sign in first.
#[derive(Debug)]
pub struct Accounts {
    list: Vec<Account>,
    in_keychain: bool,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    format: u32,
    /// The tokens are in the system's keychain, and empty here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    in_keychain: bool,
    accounts: Vec<Account>,
}

/// Held while the file is read, changed and written.
pub(super) struct WriteLock(#[expect(dead_code, reason = "held, never read")] FileLock);

impl Accounts {
    /// Reads the accounts of a data folder. None when nobody has signed in there. Tokens that are in the keychain stay there: they
    /// are empty in what is read.
    ///
    /// # Errors
    ///
    /// [`Error::Files`] when the file cannot be read, [`Error::AccountsUnreadable`] when it is not understood.
    pub fn load(dir: &Path) -> Result<Accounts, Error> {
        let path = dir.join(FILE_NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Accounts { list: Vec::new(), in_keychain: false });
            }
            Err(source) => return Err(Error::Files { action: "read", path, source }),
        };
        // The parser's own message may quote the file, and the file holds tokens.
        let Ok(on_disk) = serde_json::from_slice::<OnDisk>(&text) else {
            return Err(Error::AccountsUnreadable { path, problem: "it is not the JSON that marea writes" });
        };
        if on_disk.format > FORMAT {
            return Err(Error::AccountsUnreadable { path, problem: "a newer marea has written it" });
        }
        Ok(Accounts { list: on_disk.accounts, in_keychain: on_disk.in_keychain })
    }

    /// The account to use: the latest to sign in of those that match what is given. Emails match whatever their case.
    pub fn find(&self, url: Option<&str>, email: Option<&str>) -> Option<&Account> {
        self.list.iter().find(|account| {
            url.is_none_or(|url| account.url == normal_url(url))
                && email.is_none_or(|email| account.email.to_lowercase() == email.to_lowercase())
        })
    }

    pub(super) fn find_user(&self, url: &str, user_id: UserId) -> Option<&Account> {
        self.list.iter().find(|account| account.url == url && account.user_id == user_id)
    }

    /// All of them, the latest to sign in first.
    pub fn all(&self) -> &[Account] {
        &self.list
    }

    /// Forgets an account; says whether there was one. Its mirror and its queue stay, and nobody else can open them by it.
    ///
    /// # Errors
    ///
    /// As [`Accounts::remember`].
    pub fn forget(dir: &Path, url: &str, user_id: UserId) -> Result<bool, Error> {
        let _lock = lock(dir)?;
        let mut accounts = Accounts::load(dir)?;
        let is_it = |known: &Account| (known.url.as_str(), known.user_id) == (normal_url(url), user_id);
        let Some(at) = accounts.list.iter().position(is_it) else { return Ok(false) };
        let account = accounts.list.remove(at);
        replace(dir, &accounts)?;
        if accounts.in_keychain {
            tokens::forget(dir, &account)?;
        }
        Ok(true)
    }

    /// Whether the tokens are in the system's keychain, and not in the file.
    pub fn are_in_keychain(&self) -> bool {
        self.in_keychain
    }

    /// Moves the tokens of a data folder into the system's keychain, those of later sign-ins too; the file keeps who has signed
    /// in where. From then on syncing needs the keychain; recording and reading do not.
    ///
    /// # Errors
    ///
    /// [`Error::KeychainUnavailable`], and as [`Accounts::remember`]; then the tokens stay where they are.
    pub fn move_to_keychain(dir: &Path) -> Result<(), Error> {
        let _lock = lock(dir)?;
        let mut accounts = Accounts::load(dir)?;
        if accounts.in_keychain {
            return Ok(());
        }
        // Also without an account: later sign-ins rely on it.
        tokens::try_keychain(dir)?;
        accounts.list =
            accounts.list.into_iter().map(|account| tokens::hide(dir, account)).collect::<Result<_, _>>()?;
        accounts.in_keychain = true;
        replace(dir, &accounts)
    }

    /// Moves the tokens back into the file.
    ///
    /// # Errors
    ///
    /// As [`Accounts::move_to_keychain`].
    pub fn move_to_file(dir: &Path) -> Result<(), Error> {
        let _lock = lock(dir)?;
        let hidden = Accounts::load(dir)?;
        if !hidden.in_keychain {
            return Ok(());
        }
        let list = hidden.list.iter().map(|account| tokens::reveal(dir, account.clone()));
        replace(dir, &Accounts { list: list.collect::<Result<_, _>>()?, in_keychain: false })?;
        hidden.list.iter().try_for_each(|account| tokens::forget(dir, account))
    }

    /// An account with its tokens, wherever they are.
    pub(super) fn with_tokens(&self, dir: &Path, account: Account) -> Result<Account, Error> {
        if self.in_keychain { tokens::reveal(dir, account) } else { Ok(account) }
    }

    /// Remembers an account in a data folder, in the place of an older sign-in of the same user, and as the latest.
    ///
    /// # Errors
    ///
    /// As [`Accounts::load`], and [`Error::Files`] when the file cannot be written. The old file stays whole then.
    pub fn remember(dir: &Path, account: Account) -> Result<(), Error> {
        let _lock = lock(dir)?;
        remember_locked(dir, account)
    }
}

/// Waits for the other process that is changing the file, if there is one.
pub(super) fn lock(dir: &Path) -> Result<WriteLock, Error> {
    make_dir(dir)?;
    Ok(WriteLock(FileLock::wait_for(&dir.join(LOCK_NAME))?))
}

/// As [`Accounts::remember`], where the caller holds the lock.
pub(super) fn remember_locked(dir: &Path, account: Account) -> Result<(), Error> {
    let mut accounts = Accounts::load(dir)?;
    accounts.list.retain(|known| (&known.url, known.user_id) != (&account.url, account.user_id));
    // Into the keychain first: a crash in between leaves a newer token there, which is a good one.
    let account = if accounts.in_keychain { tokens::hide(dir, account)? } else { account };
    accounts.list.insert(0, account);
    let dropped = accounts.list.split_off(accounts.list.len().min(ACCOUNTS_MAX));
    replace(dir, &accounts)?;
    match accounts.in_keychain {
        true => dropped.iter().try_for_each(|account| tokens::forget(dir, account)),
        false => Ok(()),
    }
}

/// Written beside the file, synced, then renamed over it: a crash leaves the old one or the new one, never half of one.
fn replace(dir: &Path, accounts: &Accounts) -> Result<(), Error> {
    let (path, new_path) = (dir.join(FILE_NAME), dir.join(NEW_FILE_NAME));
    let format = if accounts.in_keychain { FORMAT } else { FORMAT_WITHOUT_KEYCHAIN };
    let contents = OnDisk { format, in_keychain: accounts.in_keychain, accounts: accounts.list.clone() };
    let write = || -> io::Result<()> {
        // A leftover of a crash is removed, not reused: its permissions are not to be trusted.
        match fs::remove_file(&new_path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = make_private(&new_path)?;
        file.write_all(&serde_json::to_vec_pretty(&contents).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&new_path, &path)
    };
    write().map_err(|source| Error::Files { action: "write", path, source })
}

/// One spelling for one server.
pub(super) fn normal_url(url: &str) -> &str {
    url.trim().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(email: &str, user: u8) -> Account {
        Account {
            url: "http://localhost:1".into(),
            anon_key: "anon".into(),
            email: email.into(),
            user_id: format!("00000000-0000-4000-8000-0000000000{user:02x}").parse().unwrap(),
            access_token: Secret::new("access-secret"),
            refresh_token: Secret::new("refresh-secret"),
            expires_at: 1,
            allow_http: false,
        }
    }

    #[test]
    fn the_latest_comes_first_and_each_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Accounts::load(dir.path()).unwrap().find(None, None).is_none());
        Accounts::remember(dir.path(), account("ada@example.com", 1)).unwrap();
        Accounts::remember(dir.path(), account("ben@example.com", 2)).unwrap();
        let accounts = Accounts::load(dir.path()).unwrap();
        assert_eq!(accounts.find(None, None).unwrap().email, "ben@example.com");
        assert_eq!(accounts.find(None, Some("ADA@example.com")).unwrap().email, "ada@example.com");
        assert_eq!(accounts.find(Some("http://localhost:1/"), None).unwrap().email, "ben@example.com");
        assert!(accounts.find(Some("http://localhost:2"), None).is_none());
    }

    #[test]
    fn signing_in_again_takes_the_old_ones_place() {
        let dir = tempfile::tempdir().unwrap();
        Accounts::remember(dir.path(), account("ada@example.com", 1)).unwrap();
        let newer = Account { expires_at: 2, ..account("ada@example.com", 1) };
        Accounts::remember(dir.path(), newer.clone()).unwrap();
        assert_eq!(Accounts::load(dir.path()).unwrap().list, [newer]);
    }

    #[test]
    fn a_forgotten_account_is_gone_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (ada, ben) = (account("ada@example.com", 1), account("ben@example.com", 2));
        Accounts::remember(dir.path(), ada.clone()).unwrap();
        Accounts::remember(dir.path(), ben.clone()).unwrap();
        assert!(Accounts::forget(dir.path(), "http://localhost:1/", ada.user_id).unwrap());
        assert!(!Accounts::forget(dir.path(), "http://localhost:1", ada.user_id).unwrap());
        assert_eq!(Accounts::load(dir.path()).unwrap().all(), [ben]);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_alone_even_after_a_crash_left_a_loose_one() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("made/by/marea");
        make_dir(&dir).unwrap();
        fs::write(dir.join(NEW_FILE_NAME), "half").unwrap();
        fs::set_permissions(dir.join(NEW_FILE_NAME), fs::Permissions::from_mode(0o666)).unwrap();
        Accounts::remember(&dir, account("ada@example.com", 1)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.join(FILE_NAME)), 0o600);
        assert_eq!(mode(&dir), 0o700);
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_alone_and_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        for text in
            ["refresh-secret", r#"{"format":3,"accounts":[]}"#, r#"{"format":1,"accounts":"refresh-secret"}"#]
        {
            fs::write(dir.path().join(FILE_NAME), text).unwrap();
            let error = Accounts::load(dir.path()).unwrap_err();
            assert_eq!(error.code(), "sign_in_unreadable");
            assert!(!format!("{error} {error:?}").contains("refresh-secret"), "{error:?}");
            assert!(Accounts::remember(dir.path(), account("ada@example.com", 1)).is_err());
            assert_eq!(fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(), text);
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let text = format!("{:?}", account("ada@example.com", 1));
        assert!(!text.contains("secret"), "{text}");
    }
}
