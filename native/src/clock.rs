//! The clock: the one place in the desktop client that asks the machine what time it is.
//!
//! Everything else is given a [`Now`]. Nothing here corrects a clock that is wrong; the engine is built to stand it.

use jiff::tz::TimeZone;
use marea_core::{Now, UnixMillis};

/// Reads the machine's clock and the local offset from UTC in the system's time zone.
pub(crate) fn now() -> Now {
    let instant = jiff::Timestamp::now();
    let offset_seconds = TimeZone::system().to_offset(instant).seconds();
    Now { unix_ms: UnixMillis(instant.as_millisecond()), utc_offset_minutes: offset_seconds.div_euclid(60) }
}

/// The same reading in whole seconds since 1970, the unit of a token's expiry.
pub(crate) fn unix_seconds() -> i64 {
    now().unix_ms.0.div_euclid(1000)
}
