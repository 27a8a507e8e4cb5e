//! The clock: the one place in the desktop client that asks the machine what time it is, and where it is.
//!
//! Everything else is given a [`Now`]. Nothing here corrects a clock that is wrong; the engine is built to stand it.

use jiff::tz::TimeZone;
use marea_core::{LocalDate, Now, Timestamp, UnixMillis, Zone};

/// The system's time zone, as it is when it is asked.
pub(crate) struct SystemZone;

impl Zone for SystemZone {
    fn utc_offset_minutes(&self, at: Timestamp) -> i32 {
        // Every time of the engine's is one of jiff's: both have the years 0 to 9999.
        let instant = jiff::Timestamp::from_millisecond(at.as_millis().0).unwrap_or_default();
        TimeZone::system().to_offset(instant).seconds().div_euclid(60)
    }
}

/// Reads the machine's clock and the local offset from UTC in the system's time zone.
pub(crate) fn now() -> Now {
    let unix_ms = UnixMillis(jiff::Timestamp::now().as_millisecond() + shift::ms());
    Now { unix_ms, utc_offset_minutes: SystemZone.utc_offset_minutes(Timestamp::from_millis(unix_ms)) }
}

/// The same reading in whole seconds since 1970, the unit of a token's expiry.
pub(crate) fn unix_seconds() -> i64 {
    now().unix_ms.0.div_euclid(1000)
}

/// The machine's clock since 1970, as the kernel's timers count it.
#[cfg(target_os = "linux")]
pub(crate) fn on_the_wall() -> std::time::Duration {
    jiff::Timestamp::now().as_duration().unsigned_abs()
}

/// What becomes true once so much time has gone by, whatever the clock is set to meanwhile.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(crate) fn expiry(after: std::time::Duration) -> Box<dyn FnMut() -> bool + Send> {
    let began = std::time::Instant::now();
    Box::new(move || began.elapsed() > after)
}

/// The learner's day, which begins so many minutes after midnight.
pub(crate) fn today(day_starts_at: u16) -> LocalDate {
    let now = now();
    now.timestamp().local_date(now.utc_offset_minutes - i32::from(day_starts_at))
}

/// How long it is until the learner's next day begins, and a little more, in milliseconds.
pub(crate) fn until_new_day_ms(day_starts_at: u16) -> u64 {
    let now = now();
    let minutes_ms = i64::from(day_starts_at) * 60_000;
    let since_midnight = (now.unix_ms.0 + i64::from(now.utc_offset_minutes) * 60_000).rem_euclid(DAY_MS);
    match minutes_ms - since_midnight {
        to_come @ 1.. => to_come.unsigned_abs() + 1,
        _ => until_tomorrow_ms() + minutes_ms.unsigned_abs(),
    }
}

/// How long it is until the next local day begins, and a little more, in milliseconds.
pub(crate) fn until_tomorrow_ms() -> u64 {
    let now = now();
    let zoned = jiff::Timestamp::from_millisecond(now.unix_ms.0)
        .unwrap_or_default()
        .to_zoned_datetime(TimeZone::system());
    let tomorrow = zoned.tomorrow().and_then(|tomorrow| tomorrow.start_of_day());
    let wait = tomorrow.map_or(DAY_MS, |tomorrow| tomorrow.timestamp().as_millisecond() - now.unix_ms.0);
    wait.clamp(0, DAY_MS + HOUR_MS).unsigned_abs() + 1
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

#[cfg(not(test))]
mod shift {
    pub(super) const fn ms() -> i64 {
        0
    }
}

/// In tests a thread may live at another time.
#[cfg(test)]
pub(crate) mod shift {
    use std::cell::Cell;

    thread_local! {
        static SHIFT_MS: Cell<i64> = const { Cell::new(0) };
    }

    pub(super) fn ms() -> i64 {
        SHIFT_MS.get()
    }

    /// Moves this thread's clock to some milliseconds before its next midnight.
    pub(crate) fn to_before_midnight(ms: i64) {
        SHIFT_MS.set(SHIFT_MS.get() + super::until_tomorrow_ms().cast_signed() - ms);
    }
}
