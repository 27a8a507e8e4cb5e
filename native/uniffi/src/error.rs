//! The one error: a stable code to branch on, a message for people, and whether the same call may succeed later.

use std::fmt;

/// What went wrong.
#[derive(Debug, uniffi::Error)]
pub enum MareaError {
    /// As in every face of Marea's.
    Failed {
        /// A stable word to branch on: `invalid_input`, `storage_full`, ...
        code: String,
        /// For people. Holds no secret, and nothing that a learner wrote.
        reason: String,
        /// Whether the same call may succeed later without a change.
        retry: bool,
    },
}

impl fmt::Display for MareaError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MareaError::Failed { code, reason, .. } = self;
        write!(formatter, "{code}: {reason}")
    }
}

impl From<marea_native::Error> for MareaError {
    fn from(error: marea_native::Error) -> MareaError {
        MareaError::Failed {
            code: error.code().to_owned(),
            reason: error.to_string(),
            retry: error.may_retry(),
        }
    }
}

/// What an app's own code has thrown, and why, is its own affair: it may name the user.
impl From<uniffi::UnexpectedUniFFICallbackError> for MareaError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> MareaError {
        MareaError::Failed {
            code: "token_unavailable".to_owned(),
            reason: "the app could not say".to_owned(),
            retry: true,
        }
    }
}

/// An answer that these bindings cannot read.
pub(crate) fn unreadable() -> MareaError {
    MareaError::Failed {
        code: "internal".to_owned(),
        reason: "an answer was not understood".to_owned(),
        retry: false,
    }
}
