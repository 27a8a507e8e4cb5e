//! Instants, days, and the host's clock reading. No function here asks what time it is.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::calendar;
use crate::error::Error;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This instant moved by some milliseconds, within the range of the type.
    pub fn plus_ms(self, millis: u64) -> Self {
        Self(self.0.saturating_add_unsigned(millis))
    }
}

/// The host's reading of its clock, passed into every call that needs the time.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The instant.
    pub unix_ms: UnixMillis,
    /// The learner's offset from UTC at that instant, in minutes; east is positive.
    pub utc_offset_minutes: i32,
}

impl Now {
    /// This instant as a [`Timestamp`].
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_millis(self.unix_ms)
    }

    /// The learner's local day.
    pub fn local_date(self) -> LocalDate {
        self.timestamp().local_date(self.utc_offset_minutes)
    }
}

/// An instant with microseconds, always UTC. Its text, `2026-11-23T12:00:00.000000Z`, sorts as the instants do.
///
/// One that was read from a text remembers the offset that stands in it, for the learner's day; that makes no other instant of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Timestamp(#[cfg_attr(feature = "tsify", tsify(type = "string"))] Instant);

/// Microseconds since 1970, and the offset from UTC in minutes as it was written.
#[derive(Clone, Copy, Debug)]
struct Instant {
    micros: i64,
    written: Option<i16>,
}

impl PartialEq for Instant {
    fn eq(&self, other: &Instant) -> bool {
        self.micros == other.micros
    }
}

impl Eq for Instant {}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Instant) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Instant) -> Ordering {
        self.micros.cmp(&other.micros)
    }
}

impl Hash for Instant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.micros.hash(state);
    }
}

/// Microseconds of the first and the last second with a four-digit year: others would not sort as text. What may be written is
/// narrower: see `limits.rs`.
const BOUNDS: (i64, i64) = (-62_167_219_200_000_000, 253_402_300_799_999_999);
const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

impl Timestamp {
    /// The earliest that may be written.
    pub(crate) const FIRST: Timestamp = Timestamp::of_micros(0);
    /// The earliest that can be read.
    pub(crate) const EARLIEST: Timestamp = Timestamp::of_micros(BOUNDS.0);

    const fn of_micros(micros: i64) -> Self {
        Self(Instant { micros, written: None })
    }

    /// From Unix milliseconds; values outside the years 0000 to 9999 are brought to the nearest bound.
    pub fn from_millis(millis: UnixMillis) -> Self {
        let micros = millis.0.saturating_mul(1000).clamp(BOUNDS.0, BOUNDS.1 / 1_000_000 * 1_000_000);
        Self::of_micros(micros)
    }

    /// Unix milliseconds, rounded towards the past.
    pub fn as_millis(self) -> UnixMillis {
        UnixMillis(self.0.micros.div_euclid(1000))
    }

    /// The calendar day at an offset from UTC in minutes (clamped to +-18 hours).
    pub fn local_date(self, utc_offset_minutes: i32) -> LocalDate {
        let offset = i64::from(utc_offset_minutes.clamp(-18 * 60, 18 * 60)) * MINUTE;
        LocalDate(((self.0.micros + offset).div_euclid(DAY) as i32).clamp(FIRST_DAY, LAST_DAY))
    }

    /// The year in UTC.
    pub(crate) fn year(self) -> i64 {
        calendar::civil_of(self.0.micros.div_euclid(DAY)).0
    }

    /// The offset from UTC in minutes that stood in the text that this instant was read from; `None` for `Z`, which says nothing
    /// about the clocks of the place, and where there was no text.
    pub fn written_offset_minutes(self) -> Option<i32> {
        self.0.written.map(i32::from)
    }

    /// This instant less some minutes.
    pub(crate) fn minus_minutes(self, minutes: i32) -> Self {
        Self::of_micros((self.0.micros - i64::from(minutes) * MINUTE).clamp(BOUNDS.0, BOUNDS.1))
    }

    /// Whole minutes from `earlier` to this instant, at least 0.
    pub(crate) fn minutes_since(self, earlier: Timestamp) -> i64 {
        ((self.0.micros - earlier.0.micros) / MINUTE).max(0)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::invalid("timestamp", "expected RFC 3339 with an offset, like 2026-11-23T12:00:00Z");
        let (micros, written) = calendar::parse_instant(text).ok_or_else(wrong)?;
        if !(BOUNDS.0..=BOUNDS.1).contains(&micros) {
            return Err(wrong());
        }
        // Of seconds there was something before there was standard time: minutes will do for a day.
        let written = written.and_then(|seconds| i16::try_from(seconds.div_euclid(60)).ok());
        Ok(Self(Instant { micros, written }))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, micros) = (self.0.micros.div_euclid(DAY), self.0.micros.rem_euclid(DAY));
        let (year, month, day) = calendar::civil_of(days);
        let (minutes, micros) = (micros / MINUTE, micros % MINUTE);
        let (hour, minute, second, micros) =
            (minutes / 60, minutes % 60, micros / 1_000_000, micros % 1_000_000);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        put_date(&mut text, (year, month, day));
        put_digits(&mut text[11..13], hour);
        put_digits(&mut text[14..16], minute);
        put_digits(&mut text[17..19], second);
        put_digits(&mut text[20..26], micros);
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

// A first sync and each session write several of these, and `write!` takes ten times as long.

fn put_date(text: &mut [u8], (year, month, day): (i64, u32, u32)) {
    put_digits(&mut text[..4], year);
    put_digits(&mut text[5..7], month.into());
    put_digits(&mut text[8..10], day.into());
}

/// Fills a place with the last digits of a number that is not negative.
fn put_digits(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// A calendar day of the learner, `YYYY-MM-DD`, kept as the days since 1970-01-01. It reads the years 0000 to 9999, because a clock
/// that was wrong has written days before 1970; sessions and awards count for days from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct LocalDate(#[cfg_attr(feature = "tsify", tsify(type = "string"))] i32);

/// 0000-01-01 and 9999-12-31.
const FIRST_DAY: i32 = -719_528;
const LAST_DAY: i32 = 2_932_896;

impl LocalDate {
    /// The earliest that may be written.
    pub(crate) const FIRST: LocalDate = LocalDate(0);

    /// The day that a text names, if a session or an award may count for it.
    pub(crate) fn written(text: &str) -> Option<LocalDate> {
        text.parse().ok().filter(|day| *day >= LocalDate::FIRST)
    }

    /// Its year.
    pub(crate) fn year(self) -> i64 {
        calendar::civil_of(self.0.into()).0
    }
    /// The last day that there is.
    pub(crate) const LAST: LocalDate = LocalDate(LAST_DAY);

    /// The day after; the last day stays itself.
    pub fn next(self) -> Self {
        Self((self.0 + 1).min(LAST_DAY))
    }

    /// Noon of it in UTC: on this day nearly everywhere.
    pub(crate) fn noon_utc(self) -> Timestamp {
        Timestamp::from_millis(UnixMillis((i64::from(self.0) * 24 + 12) * 3_600_000))
    }

    /// The day before; the first day stays itself.
    pub fn previous(self) -> Self {
        Self((self.0 - 1).max(FIRST_DAY))
    }
}

impl FromStr for LocalDate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::invalid("local_date", "expected a calendar day like 2026-11-23");
        // No looser form of ISO 8601: Postgres would read it differently.
        let civil = calendar::parse_day(text).ok_or_else(wrong)?;
        Ok(Self(calendar::days_of(civil) as i32))
    }
}

impl fmt::Display for LocalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = calendar::civil_of(self.0.into());
        let mut text = *b"0000-00-00";
        put_date(&mut text, (year, month, day));
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(Timestamp, LocalDate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_one_text_form() {
        for (input, canonical) in [
            ("2026-11-23T12:00:00Z", "2026-11-23T12:00:00.000000Z"),
            ("2026-11-23T12:00:00.123456789Z", "2026-11-23T12:00:00.123456Z"),
            ("2026-11-23T12:00:00+05:30", "2026-11-23T06:30:00.000000Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z"),
        ] {
            assert_eq!(input.parse::<Timestamp>().unwrap().to_string(), canonical, "{input}");
        }
        for wrong in ["", "2026-11-23", "2026-11-23T12:00:00", "yesterday", "-000001-01-01T00:00:00Z"] {
            assert!(wrong.parse::<Timestamp>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_instant_remembers_the_offset_that_was_written_and_is_the_same_instant() {
        let [here, there] = ["2026-11-23T23:30:00+05:30", "2026-11-23T18:00:00Z"]
            .map(|text| text.parse::<Timestamp>().unwrap());
        assert_eq!((here, here.to_string()), (there, there.to_string()));
        assert_eq!((here.written_offset_minutes(), there.written_offset_minutes()), (Some(330), None));
        let kept: Timestamp = serde_json::from_value(serde_json::json!(here)).unwrap();
        assert_eq!(kept.written_offset_minutes(), None);
    }

    #[test]
    fn the_local_day_follows_the_offset() {
        let instant: Timestamp = "2026-11-23T23:30:00Z".parse().unwrap();
        assert_eq!(instant.local_date(0).to_string(), "2026-11-23");
        assert_eq!(instant.local_date(60).to_string(), "2026-11-24");
        assert_eq!(instant.local_date(-600).to_string(), "2026-11-23");
    }

    #[test]
    fn days_are_strict() {
        assert_eq!("2024-02-29".parse::<LocalDate>().unwrap().next().to_string(), "2024-03-01");
        for wrong in ["2023-02-29", "2026-1-1", "20261123", "10000-01-01", "2026-11-23T00:00", "+02026-11-2"]
        {
            assert!(wrong.parse::<LocalDate>().is_err(), "{wrong}");
        }
    }
    /// One that printed what it did not read made a mirror unreadable.
    #[test]
    fn whatever_a_type_can_hold_it_prints_as_it_reads_it() {
        for millis in [i64::MIN, -62_167_219_200_000, -1, 0, 1_763_899_200_000, 253_402_300_799_999, i64::MAX]
        {
            let at = Timestamp::from_millis(UnixMillis(millis));
            assert_eq!(at.to_string().parse::<Timestamp>().unwrap(), at);
            for offset in [i32::MIN, -720, 0, 1, 840, i32::MAX] {
                let day = at.local_date(offset);
                assert_eq!(day.to_string().parse::<LocalDate>().unwrap(), day, "{at} {offset}");
            }
            for minutes in [i32::MIN, 0, i32::MAX] {
                let earlier = at.minus_minutes(minutes);
                assert_eq!(earlier.to_string().parse::<Timestamp>().unwrap(), earlier);
            }
        }
        for (day, may_be_written) in [("0000-01-01", false), ("1969-12-31", false), ("1970-01-01", true)] {
            assert_eq!(day.parse::<LocalDate>().unwrap().to_string(), day);
            assert_eq!(LocalDate::written(day).is_some(), may_be_written, "{day}");
        }
    }
}
