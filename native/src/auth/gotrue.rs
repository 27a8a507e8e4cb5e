//! The two requests of GoTrue that a device needs: a password for a session, a refresh token for the next one.
//!
//! It keeps nothing and repeats nothing of what the server wrote: an answer is a session or one of a few errors.

use std::time::Duration;

use marea_core::{Failure, UserId, http_client_builder, why_unreached};
use reqwest::header::HeaderValue;
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::accounts::normal_url;
use super::{Account, Accounts, Secret};
use crate::{Error, clock};

/// A sign-in is one small round trip. Ten seconds stand a bad mobile network and are short enough to wait for at a prompt.
const TIMEOUT_MS: u64 = 10_000;
/// A session is a few kilobytes; more would only fill the memory.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

#[derive(Serialize)]
struct PasswordGrant<'a> {
    email: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
struct RefreshGrant<'a> {
    refresh_token: &'a str,
}

#[derive(Deserialize)]
struct Session {
    access_token: Secret,
    refresh_token: Secret,
    /// Seconds from now. The server's own `expires_at` is of no use to a device whose clock is off.
    expires_in: i64,
    user: SessionUser,
}

#[derive(Deserialize)]
struct SessionUser {
    id: UserId,
}

/// Signs in with an email and a password. Ends within ten seconds, whatever the server does.
///
/// # Errors
///
/// [`Error::Offline`] when the server cannot be reached in time, [`Error::SignInRefused`] when it does not accept the password,
/// [`Error::SignInFailed`] when its answer is not a session, [`Error::InvalidServer`] for an address or key that cannot be used.
pub async fn sign_in(url: &str, anon_key: &str, email: &str, password: &Secret) -> Result<Account, Error> {
    let grant = PasswordGrant { email, password: password.expose() };
    let session = request(url, anon_key, "password", &grant, || Error::SignInRefused).await?;
    Ok(account_of(session, url, anon_key, email))
}

/// Spends the account's refresh token on a new session. GoTrue accepts each refresh token once.
pub(super) async fn refresh(account: &Account) -> Result<Account, Error> {
    let grant = RefreshGrant { refresh_token: account.refresh_token.expose() };
    let (url, anon_key) = (&account.url, &account.anon_key);
    let session = request(url, anon_key, "refresh_token", &grant, || Error::SignInEnded).await?;
    if session.user.id != account.user_id {
        // Another user's tokens must never send this user's queue.
        return Err(Error::SignInEnded);
    }
    Ok(account_of(session, url, anon_key, &account.email))
}

/// Ends the account's session: at the server, when it can be reached, and in the file of `dir` in any case. The mirror and the
/// queue stay, for the next sign-in of the same user; [`Client::erase`](crate::Client::erase) removes them.
///
/// Says whether the server has heard of it. If not, the refresh token there ends by itself or with a password change.
///
/// # Errors
///
/// [`Error::Files`] and [`Error::AccountsUnreadable`] when the account could not be forgotten on this device.
pub async fn sign_out(dir: &std::path::Path, account: &Account) -> Result<bool, Error> {
    // The tokens end the session at the server: they are asked for before they are forgotten.
    let accounts = Accounts::load(dir)?;
    let (folder, known) = (dir.to_owned(), account.clone());
    let revealed = crate::keychain::off_thread(move || accounts.with_tokens(&folder, known)).await;
    let (folder, url, user_id) = (dir.to_owned(), account.url.clone(), account.user_id);
    crate::keychain::off_thread(move || Accounts::forget(&folder, &url, user_id)).await?;
    let account = &revealed.unwrap_or_else(|_| account.clone());
    Ok(end_session(account).await.is_some_and(|status| status.is_success()))
}

async fn end_session(account: &Account) -> Option<StatusCode> {
    let client = http_client_builder().timeout(Duration::from_millis(TIMEOUT_MS)).build().ok()?;
    // Only this device's session: the others stay signed in.
    let address = format!("{}/auth/v1/logout?scope=local", normal_url(&account.url));
    let call =
        client.post(address).header("apikey", &account.anon_key).bearer_auth(account.access_token.expose());
    Some(call.send().await.ok()?.status())
}

fn account_of(session: Session, url: &str, anon_key: &str, email: &str) -> Account {
    Account {
        url: normal_url(url).to_owned(),
        anon_key: anon_key.to_owned(),
        email: email.to_owned(),
        user_id: session.user.id,
        access_token: session.access_token,
        refresh_token: session.refresh_token,
        expires_at: clock::unix_seconds().saturating_add(session.expires_in.max(0)),
    }
}

async fn request(
    url: &str,
    anon_key: &str,
    grant_type: &str,
    grant: &impl Serialize,
    refused: fn() -> Error,
) -> Result<Session, Error> {
    let mut key = HeaderValue::from_str(anon_key).map_err(|_| Error::InvalidServer { what: "anon key" })?;
    key.set_sensitive(true);
    // It follows no redirect: a password must not.
    let client = http_client_builder()
        .timeout(Duration::from_millis(TIMEOUT_MS))
        .build()
        .map_err(|_| Error::InvalidServer { what: "address" })?;
    let address = format!("{}/auth/v1/token?grant_type={grant_type}", normal_url(url));
    let answer = client
        .post(address)
        .header("apikey", key)
        .json(grant)
        .send()
        .await
        .map_err(|error| failure(&error))?;
    let status = answer.status();
    match status {
        StatusCode::OK => {
            serde_json::from_slice(&read(answer).await?).map_err(|_| Error::SignInFailed { status: 200 })
        }
        // GoTrue says 400 for a wrong password and for a spent refresh token, later versions also 401, 403 and 422.
        StatusCode::BAD_REQUEST
        | StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::UNPROCESSABLE_ENTITY => Err(refused()),
        // What a proxy says when the server behind it is away.
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Err(Error::Offline { reason: Failure::Server { status: status.as_u16(), retry_after_ms: None } })
        }
        _ if status.is_redirection() || status == StatusCode::NETWORK_AUTHENTICATION_REQUIRED => {
            Err(Error::Offline { reason: Failure::CaptivePortal })
        }
        _ => Err(Error::SignInFailed { status: status.as_u16() }),
    }
}

/// Reads the body up to the bound. A connection that breaks in the middle is no network, whatever was promised before.
async fn read(mut answer: Response) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Error::SignInFailed { status: 200 });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn failure(error: &reqwest::Error) -> Error {
    if error.is_builder() {
        Error::InvalidServer { what: "address" }
    } else {
        Error::Offline { reason: why_unreached(error) }
    }
}
