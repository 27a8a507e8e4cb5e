//! The two requests of GoTrue that a device needs: a password for a session, a refresh token for the next one.
//!
//! It keeps nothing and repeats nothing of what the server wrote: an answer is a session or one of a few errors.

use std::time::Duration;

use marea_core::{Failure, UserId, http_client_builder, refuses_api_key, why_unreached};
use reqwest::header::HeaderValue;
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::accounts::normal_url;
use super::{Account, Accounts, Secret};
use crate::config::check_server;
use crate::{Error, clock};

/// A sign-in is one small round trip. Ten seconds stand a bad mobile network and are short enough to wait for at a prompt.
const TIMEOUT_MS: u64 = 10_000;
/// A session is a few kilobytes; more would only fill the memory.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// GoTrue's longest code has about 40 letters.
const CODE_CHARS_MAX: usize = 64;

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
/// [`Error::SignInNotAllowed`] when it lets this account not in, [`Error::ApiKeyRefused`] when its gateway does not know the
/// key, [`Error::SignInFailed`] when its answer is not a session; `invalid_input` for an address or key that cannot be one.
pub async fn sign_in(
    url: &str,
    publishable_key: &str,
    email: &str,
    password: &Secret,
) -> Result<Account, Error> {
    sign_in_to(Server { url, publishable_key, allow_http: false }, email, password).await
}

/// As [`sign_in`], where somebody has asked for `http://` to another machine by name. The account remembers that.
///
/// # Errors
///
/// As [`sign_in`].
pub async fn sign_in_allowing_http(
    url: &str,
    publishable_key: &str,
    email: &str,
    password: &Secret,
) -> Result<Account, Error> {
    sign_in_to(Server { url, publishable_key, allow_http: true }, email, password).await
}

/// Where the service is, and how it may be spoken to.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    url: &'a str,
    publishable_key: &'a str,
    allow_http: bool,
}

impl Server<'_> {
    pub(super) fn of(account: &Account) -> Server<'_> {
        Server { url: &account.url, publishable_key: &account.anon_key, allow_http: account.allow_http }
    }
}

pub(super) async fn sign_in_to(server: Server<'_>, email: &str, password: &Secret) -> Result<Account, Error> {
    let grant = PasswordGrant { email, password: password.expose() };
    let session = request(server, "password", &grant, password_refused).await?;
    Ok(account_of(session, server, email))
}

/// Spends the account's refresh token on a new session. GoTrue accepts each refresh token once.
pub(super) async fn refresh(account: &Account) -> Result<Account, Error> {
    let grant = RefreshGrant { refresh_token: account.refresh_token.expose() };
    let server = Server::of(account);
    if account.refresh_token.expose().is_empty() {
        return Err(Error::SignInEnded);
    }
    let session = match request(server, "refresh_token", &grant, refresh_refused).await {
        // An account's sessions go with it: the service says the same of a session that somebody has ended.
        Err(Error::SignInEnded) if is_deleted(account).await => return Err(Error::AccountDeleted),
        session => session?,
    };
    if session.user.id != account.user_id {
        // Another user's tokens must never send this user's queue.
        return Err(Error::SignInEnded);
    }
    Ok(account_of(session, server, &account.email))
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
    check_server(&account.url, &account.anon_key, account.allow_http).ok()?;
    let client = http_client_builder().timeout(Duration::from_millis(TIMEOUT_MS)).build().ok()?;
    // Only this device's session: the others stay signed in.
    let address = format!("{}/auth/v1/logout?scope=local", normal_url(&account.url));
    let call =
        client.post(address).header("apikey", &account.anon_key).bearer_auth(account.access_token.expose());
    Some(call.send().await.ok()?.status())
}

/// Whether the service says so, as long as the access token is good. In doubt, no.
async fn is_deleted(account: &Account) -> bool {
    let Ok(client) = http_client_builder().timeout(Duration::from_millis(TIMEOUT_MS)).build() else {
        return false;
    };
    let address = format!("{}/auth/v1/user", normal_url(&account.url));
    let call =
        client.get(address).header("apikey", &account.anon_key).bearer_auth(account.access_token.expose());
    match call.send().await {
        Ok(answer) if answer.status().is_client_error() => {
            let body = read(answer).await.unwrap_or_default();
            refusal_code(&body).is_some_and(|code| code == "user_not_found")
        }
        _ => false,
    }
}

fn account_of(
    session: Session,
    Server { url, publishable_key, allow_http }: Server<'_>,
    email: &str,
) -> Account {
    Account {
        url: normal_url(url).to_owned(),
        anon_key: publishable_key.to_owned(),
        email: email.to_owned(),
        user_id: session.user.id,
        access_token: session.access_token,
        refresh_token: session.refresh_token,
        expires_at: clock::unix_seconds().saturating_add(session.expires_in.max(0)),
        allow_http,
    }
}

async fn request(
    Server { url, publishable_key, allow_http }: Server<'_>,
    grant_type: &str,
    grant: &impl Serialize,
    refused: fn(StatusCode, String) -> Error,
) -> Result<Session, Error> {
    check_server(url, publishable_key, allow_http)?;
    let mut key = HeaderValue::from_str(publishable_key)
        .map_err(|_| Error::InvalidServer { what: "publishable key" })?;
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
        _ if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
            let body = read(answer).await.unwrap_or_default();
            Err(match refusal_code(&body) {
                Some(code) => refused(status, code),
                None if refuses_api_key(&body) => Error::ApiKeyRefused,
                // Somebody else has answered: a proxy, another server. That is no verdict about the sign-in.
                None => Error::SignInFailed { status: status.as_u16() },
            })
        }
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

/// What GoTrue itself calls its refusal: `error_code`, in later versions of its API `code`, in OAuth's shape `error`. Versions
/// without codes say it in words. `None` for what is not its own.
fn refusal_code(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        error_code: Option<String>,
        code: Option<serde_json::Value>,
        error: Option<String>,
        msg: Option<String>,
    }
    let refusal: Refusal = serde_json::from_slice(body).ok()?;
    let code = refusal.code.and_then(|code| code.as_str().map(str::to_owned));
    let said = match refusal.msg.unwrap_or_default() {
        text if text.starts_with("Invalid Refresh Token") => Some("refresh_token_not_found".to_owned()),
        text if text.starts_with("Invalid login credentials") => Some("invalid_credentials".to_owned()),
        _ => None,
    };
    let is_code = |code: &String| {
        (1..=CODE_CHARS_MAX).contains(&code.len())
            && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    refusal.error_code.or(code).or(refusal.error).or(said).filter(is_code)
}

fn password_refused(_: StatusCode, code: String) -> Error {
    match code.as_str() {
        "invalid_credentials" | "invalid_grant" | "user_not_found" => Error::SignInRefused,
        _ if may_pass(&code) => Error::SignInFailed { status: 400 },
        _ => Error::SignInNotAllowed { code },
    }
}

/// Only what is about the refresh token, its session or its user ends a sign-in.
fn refresh_refused(status: StatusCode, code: String) -> Error {
    match code.as_str() {
        // A word of OAuth, which a proxy that wants a sign-in of its own says too, with another status.
        "invalid_grant" if status != StatusCode::BAD_REQUEST => {
            Error::SignInFailed { status: status.as_u16() }
        }
        "refresh_token_not_found"
        | "refresh_token_already_used"
        | "session_not_found"
        | "session_expired"
        | "invalid_grant"
        | "user_banned" => Error::SignInEnded,
        "user_not_found" => Error::AccountDeleted,
        _ => Error::SignInFailed { status: status.as_u16() },
    }
}

/// Refusals of the moment.
fn may_pass(code: &str) -> bool {
    matches!(code, "conflict" | "request_timeout" | "unexpected_failure" | "hook_timeout")
        || code.starts_with("over_")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sign_in_services_own_word_is_a_verdict() {
        for (body, code) in [
            (
                r#"{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token"}"#,
                Some("refresh_token_not_found"),
            ),
            (
                r#"{"code":"session_expired","message":"Invalid Refresh Token: Session Expired"}"#,
                Some("session_expired"),
            ),
            (
                r#"{"error":"invalid_grant","error_description":"Invalid Refresh Token"}"#,
                Some("invalid_grant"),
            ),
            (r#"{"code":400,"msg":"Invalid Refresh Token: Already Used"}"#, Some("refresh_token_not_found")),
            (r#"{"code":400,"msg":"Invalid login credentials"}"#, Some("invalid_credentials")),
            (r#"{"message":"Invalid API key"}"#, None),
            (r#"{"error":"Access denied by the proxy"}"#, None),
            ("<html>400</html>", None),
            ("", None),
        ] {
            assert_eq!(refusal_code(body.as_bytes()).as_deref(), code, "{body}");
        }
    }

    #[test]
    fn only_what_is_about_the_refresh_token_ends_a_sign_in() {
        let refused =
            |status, code: &str| refresh_refused(StatusCode::from_u16(status).unwrap(), code.into());
        for code in [
            "refresh_token_not_found",
            "refresh_token_already_used",
            "session_not_found",
            "session_expired",
            "user_banned",
            "invalid_grant",
        ] {
            assert!(matches!(refused(400, code), Error::SignInEnded), "{code}");
        }
        assert!(matches!(refused(400, "user_not_found"), Error::AccountDeleted));
        for (status, code) in [
            (400, "validation_failed"),
            (400, "over_request_rate_limit"),
            (400, "captcha_failed"),
            (401, "bad_jwt"),
            (401, "invalid_grant"),
            (403, "invalid_grant"),
            (422, "hook_timeout"),
        ] {
            assert!(refused(status, code).may_retry(), "{status} {code}");
        }
        let password_refused = |code: &str| password_refused(StatusCode::BAD_REQUEST, code.into());
        let unconfirmed = password_refused("email_not_confirmed");
        assert!(unconfirmed.to_string().contains("email_not_confirmed") && !unconfirmed.may_retry());
        assert!(password_refused("over_request_rate_limit").may_retry());
    }
}
