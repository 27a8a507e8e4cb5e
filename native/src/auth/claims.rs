//! Reads who an access token speaks for. Verifies nothing: the server does that with every request, and a forged token only
//! opens a mirror that the machine's owner could open anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use marea_core::UserId;
use serde::Deserialize;

use crate::Error;

/// The one claim that is needed here (RFC 7519, section 4.1.2).
#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
}

/// The user that an access token was issued to: the `sub` of its payload.
///
/// # Errors
///
/// [`Error::NotAToken`] when the text is not a JWT, or has no user in it (an API key, for example).
pub fn user_of_token(token: &str) -> Result<UserId, Error> {
    let not = |problem| Error::NotAToken { problem };
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(not("it is not three parts with dots between"));
    };
    let payload = URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .map_err(|_| not("its second part is not base64url"))?;
    let claims: Claims =
        serde_json::from_slice(&payload).map_err(|_| not("its payload is not a JSON object"))?;
    let subject = claims.sub.ok_or_else(|| not("it names no user (no `sub`); an API key is not enough"))?;
    subject
        .parse()
        .map_err(|_| not("its `sub` is not a user id; give the id itself (user_id, --user, MAREA_USER)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn the_subject_is_the_user() {
        let user = "7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d";
        let found = user_of_token(&token(&format!(r#"{{"sub":"{user}","role":"authenticated"}}"#))).unwrap();
        assert_eq!(found.to_string(), user);
    }

    #[test]
    fn everything_else_is_told_apart_and_not_repeated() {
        for (text, problem) in [
            ("", "three parts"),
            ("a.b", "three parts"),
            ("a.b.c.d", "three parts"),
            ("e30.***.sig", "base64url"),
            (token("[]").as_str(), "JSON object"),
            (token(r#"{"role":"anon"}"#).as_str(), "names no user"),
            (token(r#"{"sub":"secret-name"}"#).as_str(), "not a user id"),
        ] {
            let message = user_of_token(text).unwrap_err().to_string();
            assert!(message.contains(problem), "{text:?} gave {message:?}");
            assert!(!message.contains("secret-name"), "{message}");
        }
    }
}
