//! The one place of the backend that reads the wall clock. It does not measure durations: waits are bounded by Tokio's
//! timer.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, for `iat` and `exp` of tokens.
#[expect(clippy::disallowed_methods, reason = "the backend is a host: this is its marked place")]
pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// How long ago a file time was; zero when it lies in the future.
#[expect(clippy::disallowed_methods, reason = "the backend is a host: this is its marked place")]
pub(crate) fn seconds_since(time: SystemTime) -> u64 {
    SystemTime::now().duration_since(time).unwrap_or_default().as_secs()
}
