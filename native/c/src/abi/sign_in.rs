//! Signing in, for apps that have no session of their own, and who has done so on a folder.

use std::ffi::c_char;
use std::path::Path;

use marea_native::auth::{self, Account, Accounts, Secret};
use marea_native::{Error, users_of};
use serde::Serialize;

use super::edge::{clear, give, give_json, guard, parsed, text};
use crate::code::MareaCode;
use crate::problem::Problem;

/// An account without its tokens.
#[derive(Serialize)]
struct Shown<'a> {
    user_id: String,
    email: &'a str,
    url: &'a str,
    publishable_key: &'a str,
    /// The older name, which goes on being there.
    anon_key: &'a str,
}

impl Shown<'_> {
    fn of(account: &Account) -> Shown<'_> {
        Shown {
            user_id: account.user_id.to_string(),
            email: &account.email,
            url: &account.url,
            publishable_key: &account.anon_key,
            anon_key: &account.anon_key,
        }
    }
}

/// One conversation with the sign-in service, on this thread.
fn wait_for<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(Problem::NoResources)?.block_on(call)?)
}

/// Signs in with an email and a password, and remembers the sign-in (never the password) in the data folder `dir`. Ends within ten
/// seconds, whatever the server does. `account` gets `{"user_id", "email", "url", "publishable_key"}`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_sign_in(
    dir: *const c_char,
    url: *const c_char,
    publishable_key: *const c_char,
    email: *const c_char,
    password: *const c_char,
    account: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    // SAFETY: the header's rules, here and in all entries below.
    unsafe {
        clear(account);
        guard(error, || {
            let dir = Path::new(text(dir, "dir")?);
            let (url, key) = (text(url, "url")?, text(publishable_key, "publishable_key")?);
            let password = Secret::new(text(password, "password")?);
            let signed_in = wait_for(auth::sign_in(url, key, text(email, "email")?, &password))?;
            Accounts::remember(dir, signed_in.clone())?;
            give_json(account, &Shown::of(&signed_in))
        })
    }
}

/// As `marea_sign_in`, where the server may be another machine by `http://`: everybody on the way can then read the password and the
/// tokens. The sign-in remembers it. This machine itself (`localhost`, `127.0.0.0/8`, `[::1]`) needs no leave.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_sign_in_allowing_http(
    dir: *const c_char,
    url: *const c_char,
    publishable_key: *const c_char,
    email: *const c_char,
    password: *const c_char,
    account: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(account);
        guard(error, || {
            let dir = Path::new(text(dir, "dir")?);
            let (url, key) = (text(url, "url")?, text(publishable_key, "publishable_key")?);
            let (email, password) = (text(email, "email")?, Secret::new(text(password, "password")?));
            let signed_in = wait_for(auth::sign_in_allowing_http(url, key, email, &password))?;
            Accounts::remember(dir, signed_in.clone())?;
            give_json(account, &Shown::of(&signed_in))
        })
    }
}

/// Forgets a sign-in, and ends it at the server when that can be reached: `told` says whether it has heard. Mirror and queue stay,
/// for the next sign-in of the same user; `marea_erase` removes them. MAREA_CODE_UNAUTHORIZED when there is no such sign-in.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_sign_out(
    dir: *const c_char,
    url: *const c_char,
    user_id: *const c_char,
    told: *mut bool,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        give(told, false);
        guard(error, || {
            let dir = Path::new(text(dir, "dir")?);
            let (url, user_id) = (text(url, "url")?.trim_end_matches('/'), parsed(user_id, "user_id")?);
            let accounts = Accounts::load(dir)?;
            let known = accounts.all().iter().find(|known| known.url == url && known.user_id == user_id);
            let known = known.ok_or(Error::SignInEnded)?;
            give(told, wait_for(auth::sign_out(dir, known))?);
            Ok(())
        })
    }
}

/// Who has signed in on a data folder, the latest first: a JSON array of what `marea_sign_in` gives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_accounts(
    dir: *const c_char,
    accounts: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(accounts);
        guard(error, || {
            let loaded = Accounts::load(Path::new(text(dir, "dir")?))?;
            give_json(accounts, &loaded.all().iter().map(Shown::of).collect::<Vec<_>>())
        })
    }
}

/// Moves the tokens of the sign-ins on a data folder, later ones too, from its file `session.json` into the system's keychain, or
/// back. MAREA_CODE_KEYCHAIN_UNAVAILABLE when there is none; then they stay where they are.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_keep_tokens_in_keychain(
    dir: *const c_char,
    keep: bool,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        guard(error, || {
            let dir = Path::new(text(dir, "dir")?);
            Ok(if keep { Accounts::move_to_keychain(dir) } else { Accounts::move_to_file(dir) }?)
        })
    }
}

/// Whose mirrors lie in a data folder, signed in or not: a JSON array of UUIDs. Opens none of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn marea_users(
    dir: *const c_char,
    users: *mut *mut c_char,
    error: *mut *mut c_char,
) -> MareaCode {
    unsafe {
        clear(users);
        guard(error, || give_json(users, &users_of(Path::new(text(dir, "dir")?))?))
    }
}
