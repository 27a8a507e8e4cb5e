//! What a client reads of an access token: whose it is and until when. Not verified: the server does that.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::model::{UserId, from_json};

/// How deep a claim may stand: `app_metadata.marea.user_id`.
const LEVELS: u8 = 3;

/// Claims of a JSON Web Token (RFC 7519, 4.1.2 and 4.1.4).
pub(crate) struct Claims(Value);

impl Claims {
    /// Reads them; `None` for what is no such token, or has no `sub`.
    pub(crate) fn of(token: &str) -> Option<Claims> {
        let payload = token.split('.').nth(1)?;
        let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
        let claims: Value = from_json(std::str::from_utf8(&bytes).ok()?).ok()?;
        claims.get("sub")?.as_str()?;
        Some(Claims(claims))
    }

    /// Whether it is this user's: by its `sub` where that is a UUID, else (another service's id) by any claim that has the
    /// user's. What users write themselves counts for nothing.
    pub(crate) fn is_of(&self, user_id: UserId) -> bool {
        let subject = self.0.get("sub").and_then(Value::as_str).unwrap_or_default();
        match subject.parse::<UserId>() {
            Ok(subject) => subject == user_id,
            Err(_) => has(&self.0, &user_id.to_string(), LEVELS),
        }
    }

    /// When it ends, in milliseconds of Unix time; `None` where it does not say so.
    pub(crate) fn ends_ms(&self) -> Option<i64> {
        self.0.get("exp")?.as_f64().map(|seconds| (seconds * 1000.0) as i64)
    }
}

fn has(claims: &Value, wanted: &str, levels: u8) -> bool {
    match claims {
        Value::String(claim) => claim.eq_ignore_ascii_case(wanted),
        Value::Object(inner) if levels > 0 => inner.iter().any(|(name, claim)| {
            !matches!(name.as_str(), "user_metadata" | "unsafe_metadata") && has(claim, wanted, levels - 1)
        }),
        _ => false,
    }
}
