//! What a client reads of an access token: whose it is and until when. Not verified: the server does that.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{UserId, from_json};

/// Claims of a JSON Web Token (RFC 7519, 4.1.2 and 4.1.4).
#[derive(Deserialize)]
pub(crate) struct Claims {
    /// Whose it is.
    pub(crate) sub: UserId,
    #[serde(default)]
    exp: Value,
}

impl Claims {
    /// Reads them; `None` for what is no such token.
    pub(crate) fn of(token: &str) -> Option<Claims> {
        let payload = token.split('.').nth(1)?;
        let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        from_json(std::str::from_utf8(&bytes).ok()?).ok()
    }

    /// When it ends, in milliseconds of Unix time; `None` where it does not say so.
    pub(crate) fn ends_ms(&self) -> Option<i64> {
        self.exp.as_f64().map(|seconds| (seconds * 1000.0) as i64)
    }
}
