//! The tokens of this backend: signing and checking HS256 JWTs as Supabase issues them. Who may have one is decided in
//! `accounts.rs`.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{Error, clock};

/// How long an access token is good for, as on Supabase.
pub(crate) const ACCESS_SECONDS: i64 = 3600;
/// The two API keys carry fixed times, so that the same secret always gives the same keys.
const KEYS_ISSUED_AT: i64 = 1_767_225_600; // 2026-01-01
const KEYS_EXPIRE_AT: i64 = 2_082_758_400; // 2036-01-01

/// Signs and checks. It has no `Debug`: it is made of secrets.
#[derive(Clone)]
pub(crate) struct Tokens {
    secret: String,
    anon_key: String,
    service_key: String,
}

#[derive(Serialize)]
struct KeyClaims {
    iss: &'static str,
    role: &'static str,
    iat: i64,
    exp: i64,
}

/// What an access token says.
#[derive(Serialize, Deserialize)]
pub(crate) struct AccessClaims {
    pub(crate) sub: Uuid,
    pub(crate) role: String,
    pub(crate) aud: String,
    #[serde(default)]
    pub(crate) email: Option<String>,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    #[serde(default)]
    pub(crate) session_id: Option<Uuid>,
}

/// A token of an account and when it ends.
pub(crate) struct AccessToken {
    pub(crate) text: String,
    pub(crate) expires_at: i64,
}

impl Tokens {
    pub(crate) fn new(secret: String) -> Result<Tokens, Error> {
        let key = |role| {
            let claims = KeyClaims { iss: "marea-backend", role, iat: KEYS_ISSUED_AT, exp: KEYS_EXPIRE_AT };
            sign(&secret, &claims)
        };
        let (anon_key, service_key) = (key("anon")?, key("service_role")?);
        Ok(Tokens { secret, anon_key, service_key })
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    pub(crate) fn anon_key(&self) -> &str {
        &self.anon_key
    }

    pub(crate) fn service_key(&self) -> &str {
        &self.service_key
    }

    /// A token for `user_id`; a negative `ttl_seconds` makes one that has already expired.
    pub(crate) fn access(
        &self,
        user_id: Uuid,
        email: Option<&str>,
        session_id: Option<Uuid>,
        ttl_seconds: i64,
    ) -> Result<AccessToken, Error> {
        let now = clock::unix_seconds();
        let expires_at = now + ttl_seconds;
        let claims = AccessClaims {
            sub: user_id,
            role: "authenticated".to_owned(),
            aud: "authenticated".to_owned(),
            email: email.map(str::to_owned),
            // An expired one was issued before it expired.
            iat: now.min(expires_at),
            exp: expires_at,
            session_id,
        };
        Ok(AccessToken { text: sign(&self.secret, &claims)?, expires_at })
    }

    /// The claims of an access token that is ours and has not expired.
    pub(crate) fn check(&self, token: &str) -> Option<AccessClaims> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&["authenticated"]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        // Exactly the stated second: a test that waits for an expiry waits for this one.
        validation.leeway = 0;
        let key = DecodingKey::from_secret(self.secret.as_bytes());
        decode::<AccessClaims>(token, &key, &validation).ok().map(|it| it.claims)
    }

    /// The claims of whatever this backend has signed and has not expired: an access token, an API key, a link. The error is
    /// what Supabase's Storage says, for people.
    pub(crate) fn claims(&self, token: &str) -> Result<Value, String> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_aud = false;
        validation.leeway = 0;
        let key = DecodingKey::from_secret(self.secret.as_bytes());
        decode::<Value>(token, &key, &validation).map(|it| it.claims).map_err(|problem| {
            match problem.kind() {
                ErrorKind::ExpiredSignature => "\"exp\" claim timestamp check failed".to_owned(),
                ErrorKind::InvalidSignature => "signature verification failed".to_owned(),
                _ => "Invalid Compact JWS".to_owned(),
            }
        })
    }

    /// A token of other claims, as of a link.
    pub(crate) fn sign<T: Serialize>(&self, claims: &T) -> Result<String, Error> {
        sign(&self.secret, claims)
    }
}

fn sign<T: Serialize>(secret: &str, claims: &T) -> Result<String, Error> {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).map_err(|_| Error::Cryptography)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(secret: &str) -> Tokens {
        Tokens::new(secret.to_owned()).unwrap()
    }

    #[test]
    fn one_secret_gives_one_pair_of_keys() {
        let (one, again, other) = (tokens("a"), tokens("a"), tokens("b"));
        assert_eq!(one.anon_key(), again.anon_key());
        assert_eq!(one.service_key(), again.service_key());
        assert_ne!(one.anon_key(), other.anon_key());
        assert_ne!(one.anon_key(), one.service_key());
    }

    #[test]
    fn only_a_living_token_of_ours_is_good() {
        let ours = tokens("a");
        let user = Uuid::from_u128(7);
        let token = ours.access(user, None, None, 60).unwrap().text;
        assert_eq!(ours.check(&token).unwrap().sub, user);
        assert!(ours.check(&ours.access(user, None, None, -1).unwrap().text).is_none());
        assert!(tokens("b").check(&token).is_none());
        assert!(ours.check(ours.anon_key()).is_none(), "an API key is nobody's access token");
        assert!(ours.check("").is_none());
    }
}
