//! The tokens and API keys of this backend, as Supabase issues them: access tokens in ES256, and HS256 goes on counting; keys in
//! both forms, `sb_...` and JWTs. Who may have a token is decided in `accounts.rs`.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::signing::SigningKey;
use crate::{Error, clock, secrets};

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
    publishable_key: String,
    secret_key: String,
    signing: SigningKey,
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

impl AccessClaims {
    fn of(user_id: Uuid, email: Option<&str>, session_id: Option<Uuid>, ttl_seconds: i64) -> AccessClaims {
        let now = clock::unix_seconds();
        let expires_at = now + ttl_seconds;
        AccessClaims {
            sub: user_id,
            role: "authenticated".to_owned(),
            aud: "authenticated".to_owned(),
            email: email.map(str::to_owned),
            // An expired one was issued before it expired.
            iat: now.min(expires_at),
            exp: expires_at,
            session_id,
        }
    }
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
        // As long as Supabase's, and made of the secret too.
        let opaque = |kind: &str| {
            let digest = secrets::derive_digest(format!("{kind} {secret}").as_bytes());
            format!(
                "sb_{kind}_{}_{}",
                digest.get(..22).unwrap_or_default(),
                digest.get(22..30).unwrap_or_default()
            )
        };
        let (publishable_key, secret_key) = (opaque("publishable"), opaque("secret"));
        let signing = SigningKey::derive(&secret)?;
        Ok(Tokens { secret, anon_key, service_key, publishable_key, secret_key, signing })
    }

    pub(crate) fn publishable_key(&self) -> &str {
        &self.publishable_key
    }

    pub(crate) fn secret_key(&self) -> &str {
        &self.secret_key
    }

    pub(crate) fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The JWT that an `apikey` stands for: itself, or what a key of the new form is changed into at the gateway.
    pub(crate) fn jwt_of_key(&self, key: &str) -> Option<&str> {
        if key == self.anon_key || key == self.publishable_key {
            Some(&self.anon_key)
        } else if key == self.service_key || key == self.secret_key {
            Some(&self.service_key)
        } else {
            None
        }
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

    /// A token for `user_id`, as a sign-in gives it; a negative `ttl_seconds` makes one that has already expired.
    pub(crate) fn access(
        &self,
        user_id: Uuid,
        email: Option<&str>,
        session_id: Option<Uuid>,
        ttl_seconds: i64,
    ) -> Result<AccessToken, Error> {
        let claims = AccessClaims::of(user_id, email, session_id, ttl_seconds);
        let header = Header { kid: Some(self.signing.kid().to_owned()), ..Header::new(Algorithm::ES256) };
        let text = encode(&header, &claims, self.signing.encoding()).map_err(|_| Error::Cryptography)?;
        Ok(AccessToken { text, expires_at: claims.exp })
    }

    /// The same with the shared secret, as projects from before have them.
    pub(crate) fn access_by_secret(&self, user_id: Uuid, ttl_seconds: i64) -> Result<AccessToken, Error> {
        let claims = AccessClaims::of(user_id, None, None, ttl_seconds);
        Ok(AccessToken { text: sign(&self.secret, &claims)?, expires_at: claims.exp })
    }

    /// The claims of an access token that is ours and has not expired.
    pub(crate) fn check(&self, token: &str) -> Option<AccessClaims> {
        let (algorithm, key) = self.key_for(token)?;
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["authenticated"]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        // Exactly the stated second: a test that waits for an expiry waits for this one.
        validation.leeway = 0;
        decode::<AccessClaims>(token, &key, &validation).ok().map(|it| it.claims)
    }

    /// The claims of whatever this backend has signed and has not expired: an access token, an API key, a link. The error is
    /// what Supabase's Storage says, for people.
    pub(crate) fn claims(&self, token: &str) -> Result<Value, String> {
        let (algorithm, key) = self.key_for(token).ok_or_else(|| "Invalid Compact JWS".to_owned())?;
        let mut validation = Validation::new(algorithm);
        validation.validate_aud = false;
        validation.leeway = 0;
        decode::<Value>(token, &key, &validation).map(|it| it.claims).map_err(|problem| {
            match problem.kind() {
                ErrorKind::ExpiredSignature => "\"exp\" claim timestamp check failed".to_owned(),
                ErrorKind::InvalidSignature => "signature verification failed".to_owned(),
                _ => "Invalid Compact JWS".to_owned(),
            }
        })
    }

    /// Whose token this is, by a signature of this backend. Whether it has expired is for others to say, each by a clock of its own.
    pub(crate) fn subject(&self, token: &str) -> Option<String> {
        let (algorithm, key) = self.key_for(token)?;
        let mut validation = Validation::new(algorithm);
        validation.validate_aud = false;
        validation.validate_exp = false;
        let claims = decode::<Value>(token, &key, &validation).ok()?.claims;
        claims["sub"].as_str().map(str::to_owned)
    }

    /// What a token's signature is checked with, by what it says of itself. Each algorithm has a key of its own kind.
    fn key_for(&self, token: &str) -> Option<(Algorithm, DecodingKey)> {
        match decode_header(token).ok()?.alg {
            Algorithm::ES256 => Some((Algorithm::ES256, self.signing.decoding().clone())),
            Algorithm::HS256 => Some((Algorithm::HS256, DecodingKey::from_secret(self.secret.as_bytes()))),
            _ => None,
        }
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
        assert_eq!(one.publishable_key(), again.publishable_key());
        assert_ne!(one.publishable_key(), other.publishable_key());
        assert_eq!(one.signing().jwks(), again.signing().jwks());
        assert_ne!(one.signing().jwks(), other.signing().jwks());
        for (key, jwt) in [
            (one.anon_key(), one.anon_key()),
            (one.publishable_key(), one.anon_key()),
            (one.service_key(), one.service_key()),
            (one.secret_key(), one.service_key()),
        ] {
            assert_eq!(one.jwt_of_key(key), Some(jwt));
            assert_eq!(other.jwt_of_key(key), None);
        }
    }

    #[test]
    fn only_a_living_token_of_ours_is_good() {
        let ours = tokens("a");
        let user = Uuid::from_u128(7);
        for (good, expired) in [
            (ours.access(user, None, None, 60), ours.access(user, None, None, -1)),
            (ours.access_by_secret(user, 60), ours.access_by_secret(user, -1)),
        ] {
            let token = good.unwrap().text;
            assert_eq!(ours.check(&token).unwrap().sub, user);
            assert!(ours.check(&expired.unwrap().text).is_none());
            assert!(tokens("b").check(&token).is_none());
        }
        assert!(ours.check(ours.anon_key()).is_none(), "an API key is nobody's access token");
        assert!(ours.check("").is_none());
    }
}
