//! `/auth/v1`: sign-up, password and refresh-token log-in, log-out and the own account, in the shapes of Supabase's GoTrue.
//! It is for development: no mail is sent, every address counts as confirmed, nothing limits the rate.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Shared, bearer};
use crate::accounts::{Refusal, Sessions, SignedIn, User};
use crate::tokens::{ACCESS_SECONDS, AccessClaims};

const SHORTEST_PASSWORD: usize = 6;
/// As long as GoTrue's; also a bound on the work of hashing.
const LONGEST_PASSWORD: usize = 72;

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    data: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct RefreshRequest {
    #[serde(default)]
    refresh_token: String,
}

#[derive(Deserialize)]
pub(super) struct Grant {
    grant_type: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Scope {
    scope: Option<String>,
}

/// An error in GoTrue's shape.
struct AuthError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

fn error(status: StatusCode, code: &'static str, message: impl Into<String>) -> AuthError {
    AuthError { status, code, message: message.into() }
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        let mut body = json!({ "code": self.status.as_u16(), "error_code": self.code, "msg": self.message });
        if self.code == "weak_password" {
            body["weak_password"] = json!({ "reasons": ["length"] });
        }
        (self.status, Json(body)).into_response()
    }
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> AuthError {
        let (status, code, message) = match refusal {
            Refusal::UserExists => {
                (StatusCode::UNPROCESSABLE_ENTITY, "user_already_exists", "User already registered")
            }
            Refusal::WrongCredentials => {
                (StatusCode::BAD_REQUEST, "invalid_credentials", "Invalid login credentials")
            }
            Refusal::UnknownRefreshToken => (
                StatusCode::BAD_REQUEST,
                "refresh_token_not_found",
                "Invalid Refresh Token: Refresh Token Not Found",
            ),
            Refusal::UsedRefreshToken => {
                (StatusCode::BAD_REQUEST, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
            }
            Refusal::NoSession => (
                StatusCode::FORBIDDEN,
                "session_not_found",
                "Session from session_id claim in JWT does not exist",
            ),
            Refusal::NoUser => {
                (StatusCode::FORBIDDEN, "user_not_found", "User from sub claim in JWT does not exist")
            }
            Refusal::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "unexpected_failure",
                "Unexpected failure, please check server",
            ),
        };
        error(status, code, message)
    }
}

pub(super) async fn sign_up(State(gateway): State<Shared>, body: Bytes) -> Response {
    let outcome = async {
        let asked: Credentials = parse(&body)?;
        if asked.email.is_empty() {
            let message = "Anonymous sign-ins are disabled";
            return Err(error(StatusCode::UNPROCESSABLE_ENTITY, "anonymous_provider_disabled", message));
        }
        let email = email(&asked.email)?;
        check_password(&asked.password)?;
        let data = Value::Object(asked.data.unwrap_or_default());
        let signed_in = gateway.accounts.sign_up(&email, asked.password, data).await?;
        session(&gateway, &signed_in)
    };
    respond(outcome.await)
}

pub(super) async fn token(
    State(gateway): State<Shared>,
    Query(grant): Query<Grant>,
    body: Bytes,
) -> Response {
    let outcome = async {
        let signed_in = match grant.grant_type.as_deref() {
            Some("password") => {
                let asked: Credentials = parse(&body)?;
                gateway.accounts.sign_in(&asked.email.trim().to_lowercase(), asked.password).await?
            }
            Some("refresh_token") => {
                let asked: RefreshRequest = parse(&body)?;
                if asked.refresh_token.is_empty() {
                    return Err(error(
                        StatusCode::BAD_REQUEST,
                        "validation_failed",
                        "refresh_token required",
                    ));
                }
                gateway.accounts.refresh(&asked.refresh_token).await?
            }
            _ => return Err(error(StatusCode::BAD_REQUEST, "invalid_credentials", "unsupported_grant_type")),
        };
        session(&gateway, &signed_in)
    };
    respond(outcome.await)
}

/// Ends sessions: `scope` is `global` (the default), `local` or `others`. Access tokens live on until they expire, as on
/// Supabase.
pub(super) async fn log_out(
    State(gateway): State<Shared>,
    Query(scope): Query<Scope>,
    headers: HeaderMap,
) -> Response {
    let outcome = async {
        let claims = claims(&gateway, &headers)?;
        let which = match (scope.scope.as_deref(), claims.session_id) {
            (None | Some("global"), _) => Sessions::All,
            (Some("local"), Some(id)) => Sessions::One(id),
            (Some("others"), Some(id)) => Sessions::AllBut(id),
            (Some("local" | "others"), None) => return Err(Refusal::NoSession.into()),
            (Some(other), _) => {
                let message = format!("Unsupported logout scope \"{other}\"");
                return Err(error(StatusCode::BAD_REQUEST, "validation_failed", message));
            }
        };
        gateway.accounts.sign_out(claims.sub, which).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    outcome.await.unwrap_or_else(AuthError::into_response)
}

pub(super) async fn user(State(gateway): State<Shared>, headers: HeaderMap) -> Response {
    let outcome = async {
        let claims = claims(&gateway, &headers)?;
        let user = gateway.accounts.user(claims.sub, claims.session_id).await?;
        Ok(show(&user))
    };
    respond(outcome.await)
}

fn respond(outcome: Result<Value, AuthError>) -> Response {
    match outcome {
        Ok(body) => Json(body).into_response(),
        Err(error) => error.into_response(),
    }
}

fn parse<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, AuthError> {
    serde_json::from_slice(body).map_err(|problem| {
        // Only the place: the parser quotes what it read, and that may be a password.
        let place = format!("line {}, column {}", problem.line(), problem.column());
        error(StatusCode::BAD_REQUEST, "bad_json", format!("Could not parse request body as JSON: {place}"))
    })
}

fn email(text: &str) -> Result<String, AuthError> {
    let email = text.trim().to_lowercase();
    let sound = email.len() <= 255
        && !email.chars().any(|it| it.is_whitespace() || it.is_control())
        && email.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty()
                && host.contains('.')
                && !host.contains('@')
                && !host.starts_with('.')
                && !host.ends_with('.')
        });
    let message = "Unable to validate email address: invalid format";
    sound.then_some(email).ok_or_else(|| error(StatusCode::BAD_REQUEST, "validation_failed", message))
}

fn check_password(password: &str) -> Result<(), AuthError> {
    if password.is_empty() {
        let message = "Signup requires a valid password";
        return Err(error(StatusCode::BAD_REQUEST, "validation_failed", message));
    }
    if password.chars().count() < SHORTEST_PASSWORD {
        let message = format!("Password should be at least {SHORTEST_PASSWORD} characters.");
        return Err(error(StatusCode::UNPROCESSABLE_ENTITY, "weak_password", message));
    }
    if password.len() > LONGEST_PASSWORD {
        let message = format!("Password cannot be longer than {LONGEST_PASSWORD} characters");
        return Err(error(StatusCode::BAD_REQUEST, "validation_failed", message));
    }
    Ok(())
}

fn claims(gateway: &Shared, headers: &HeaderMap) -> Result<AccessClaims, AuthError> {
    let message = "This endpoint requires a valid Bearer token";
    let token =
        bearer(headers).ok_or_else(|| error(StatusCode::UNAUTHORIZED, "no_authorization", message))?;
    let message = "invalid JWT: unable to parse or verify signature, or it has expired";
    gateway.tokens.check(token).ok_or_else(|| error(StatusCode::FORBIDDEN, "bad_jwt", message))
}

fn session(gateway: &Shared, signed_in: &SignedIn) -> Result<Value, AuthError> {
    let user = &signed_in.user;
    let token = gateway.tokens.access(user.id, Some(&user.email), Some(signed_in.session_id), ACCESS_SECONDS);
    let token = token.map_err(|_| AuthError::from(Refusal::Internal))?;
    Ok(json!({
        "access_token": token.text,
        "token_type": "bearer",
        "expires_in": ACCESS_SECONDS,
        "expires_at": token.expires_at,
        "refresh_token": signed_in.refresh_token,
        "user": show(user),
    }))
}

fn show(user: &User) -> Value {
    json!({
        "id": user.id,
        "aud": "authenticated",
        "role": "authenticated",
        "email": user.email,
        "email_confirmed_at": user.created_at,
        "phone": "",
        "confirmed_at": user.created_at,
        "last_sign_in_at": user.last_sign_in_at,
        "app_metadata": { "provider": "email", "providers": ["email"] },
        "user_metadata": user.metadata,
        "identities": [],
        "created_at": user.created_at,
        "updated_at": user.last_sign_in_at,
        "is_anonymous": false,
    })
}
