//! The system's keychain: the Keychain of macOS, the Credential Manager of Windows, the Secret Service elsewhere (GNOME Keyring,
//! KWallet, KeePassXC). Small secrets under names; it knows not what they are.
//!
//! A keychain may ask its owner something first, so each use has a thread of its own and a bound, and happens only when somebody
//! wants a secret: never when a mirror is opened, read or written.

use std::time::Duration;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::Error;

/// Long enough for a person to find the prompt and type a password.
const PATIENCE: Duration = Duration::from_secs(60);

/// A secret, wiped when dropped.
pub(crate) type Bytes = Zeroizing<Vec<u8>>;

/// Keeps a secret under a name, in place of the last one.
pub(crate) fn store(name: &str, secret: Bytes) -> Result<(), Error> {
    bounded(name, move |name| system::store(name, &secret))
}

/// The secret of a name; `None` when there is none.
pub(crate) fn load(name: &str) -> Result<Option<Bytes>, Error> {
    bounded(name, system::load)
}

/// Forgets a name; says whether there was a secret.
pub(crate) fn forget(name: &str) -> Result<bool, Error> {
    bounded(name, system::forget)
}

/// Any of these, without holding up the caller's runtime.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    spawn(move || drop(done.send(work())))?;
    answer.await.map_err(|_| Error::Closed)?
}

fn bounded<T: Send + 'static>(
    name: &str,
    work: impl FnOnce(&str) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, answer) = std::sync::mpsc::channel();
    let name = name.to_owned();
    // Who has stopped waiting does not want to know; what was stored stays stored.
    spawn(move || drop(done.send(work(&name))))?;
    let unanswered =
        Error::KeychainUnavailable { problem: "nobody has answered its question within a minute" };
    answer.recv_timeout(PATIENCE).unwrap_or(Err(unanswered))
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let thread = std::thread::Builder::new().name("marea-keychain".to_owned());
    thread.spawn(work).map(drop).map_err(|source| Error::NoResources { source })
}

#[cfg(feature = "keychain")]
mod system {
    use keyring::Entry;

    use super::Bytes;
    use crate::Error;

    /// What the keychain's own window calls it.
    const SERVICE: &str = "marea";

    pub(super) fn store(name: &str, secret: &[u8]) -> Result<(), Error> {
        entry(name)?.set_secret(secret).map_err(unavailable)
    }

    pub(super) fn load(name: &str) -> Result<Option<Bytes>, Error> {
        match entry(name)?.get_secret() {
            Ok(secret) => Ok(Some(Bytes::new(secret))),
            Err(keyring::Error::NoEntry) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    pub(super) fn forget(name: &str) -> Result<bool, Error> {
        match entry(name)?.delete_credential() {
            Ok(()) => Ok(true),
            Err(keyring::Error::NoEntry) => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn entry(name: &str) -> Result<Entry, Error> {
        Entry::new(SERVICE, name).map_err(unavailable)
    }

    /// Its own words may hold what was stored: they are not repeated.
    fn unavailable(error: keyring::Error) -> Error {
        let problem = match error {
            keyring::Error::NoDefaultStore => "there is none on this system, or none in this session",
            keyring::Error::NoStorageAccess(_) => "it is locked, or access was refused",
            _ => "it failed",
        };
        Error::KeychainUnavailable { problem }
    }
}

#[cfg(not(feature = "keychain"))]
mod system {
    use super::Bytes;
    use crate::Error;

    const ABSENT: Error = Error::KeychainUnavailable { problem: "this program was built without one" };

    pub(super) fn store(_: &str, _: &[u8]) -> Result<(), Error> {
        Err(ABSENT)
    }

    pub(super) fn load(_: &str) -> Result<Option<Bytes>, Error> {
        Err(ABSENT)
    }

    pub(super) fn forget(_: &str) -> Result<bool, Error> {
        Err(ABSENT)
    }
}
