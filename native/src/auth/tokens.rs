//! An account's tokens in the system's keychain: one secret an account and folder.

use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Account, Secret};
use crate::{Error, keychain};

#[derive(Serialize, Deserialize)]
struct Tokens {
    access_token: Secret,
    refresh_token: Secret,
}

/// Folders do not share: each has a refresh token of its own, which is good for one use.
fn name(dir: &Path, account: &Account) -> String {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    format!("sign-in of {} at {} in {}", account.user_id, account.url, dir.display())
}

/// Puts the tokens into the keychain, and gives back what the file may hold.
pub(super) fn hide(dir: &Path, account: Account) -> Result<Account, Error> {
    let tokens =
        Tokens { access_token: account.access_token.clone(), refresh_token: account.refresh_token.clone() };
    let failed = |_| Error::KeychainUnavailable { problem: "the tokens cannot be written as JSON" };
    let secret = serde_json::to_vec(&tokens).map(Zeroizing::new).map_err(failed)?;
    keychain::store(&name(dir, &account), secret)?;
    Ok(Account { access_token: Secret::new(""), refresh_token: Secret::new(""), ..account })
}

/// Puts the tokens back in. An account whose tokens somebody has deleted has to sign in again.
pub(super) fn reveal(dir: &Path, account: Account) -> Result<Account, Error> {
    let secret = keychain::load(&name(dir, &account))?.ok_or(Error::SignInEnded)?;
    let tokens: Tokens = serde_json::from_slice(&secret).map_err(|_| Error::SignInEnded)?;
    Ok(Account { access_token: tokens.access_token, refresh_token: tokens.refresh_token, ..account })
}

/// Takes the tokens out of the keychain; none are as good.
pub(super) fn forget(dir: &Path, account: &Account) -> Result<(), Error> {
    keychain::forget(&name(dir, account)).map(drop)
}

/// Stores something and forgets it.
pub(super) fn try_keychain(dir: &Path) -> Result<(), Error> {
    let name = format!("trial in {}", dir.display());
    keychain::store(&name, Zeroizing::new(b"trial".to_vec()))?;
    keychain::forget(&name).map(drop)
}
