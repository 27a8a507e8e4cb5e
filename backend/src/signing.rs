//! The key that access tokens are signed with, as Supabase projects have one since 2025: ES256, its public half in a JWKS. It is
//! derived from the backend's one secret, so that a data folder always has the same.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::pkcs8::EncodePrivateKey;
use ring::{digest, hmac};
use serde_json::{Value, json};

use crate::Error;

/// An ES256 key pair. It has no `Debug`: half of it is a secret.
#[derive(Clone)]
pub(crate) struct SigningKey {
    kid: String,
    x: String,
    y: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl SigningKey {
    pub(crate) fn derive(secret: &str) -> Result<SigningKey, Error> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        // Nearly every 32 bytes are a private key of P-256; another attempt where they are not.
        let private = (0..=u8::MAX)
            .find_map(|attempt| SecretKey::from_slice(hmac::sign(&key, &[attempt]).as_ref()).ok())
            .ok_or(Error::Cryptography)?;
        let point = private.public_key().to_encoded_point(false);
        let part = |bytes: Option<&p256::FieldBytes>| bytes.map(|it| URL_SAFE_NO_PAD.encode(it));
        let (x, y) = part(point.x()).zip(part(point.y())).ok_or(Error::Cryptography)?;
        let pkcs8 = private.to_pkcs8_der().map_err(|_| Error::Cryptography)?;
        let print = digest::digest(&digest::SHA256, point.as_bytes());
        Ok(SigningKey {
            kid: URL_SAFE_NO_PAD.encode(print.as_ref().get(..16).unwrap_or_default()),
            encoding: EncodingKey::from_ec_der(pkcs8.as_bytes()),
            decoding: DecodingKey::from_ec_components(&x, &y).map_err(|_| Error::Cryptography)?,
            x,
            y,
        })
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }

    pub(crate) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    /// What everybody may see, as `/auth/v1/.well-known/jwks.json` answers it.
    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// What PostgREST checks tokens with: this key, and the shared secret of HS256 beside it.
    pub(crate) fn jwks_with(&self, secret: &str) -> Value {
        let shared = json!({ "kty": "oct", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(secret) });
        json!({ "keys": [self.jwk(), shared] })
    }

    fn jwk(&self) -> Value {
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "key_ops": ["verify"], "kid": self.kid,
                "x": self.x, "y": self.y })
    }
}
