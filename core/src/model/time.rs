//! Instants, days, and the host's clock reading. No function here asks what time it is.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Timestamp(#[cfg_attr(feature = "tsify", tsify(type = "string"))] jiff::Timestamp);

/// The last instant with a four-digit year: later ones would not sort as text.
const LAST_SECOND: i64 = 253_402_300_799;

impl Timestamp {
    /// From Unix milliseconds; values outside the years 0000 to 9999 are brought to the nearest bound.
    pub fn from_millis(millis: UnixMillis) -> Self {
        let clamped = millis.0.clamp(-62_167_219_200_000, LAST_SECOND * 1000);
        Self(jiff::Timestamp::from_millisecond(clamped).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Unix milliseconds, rounded towards the past.
    pub fn as_millis(self) -> UnixMillis {
        UnixMillis(self.0.as_microsecond().div_euclid(1000))
    }

    /// The calendar day at an offset from UTC in minutes (clamped to +-18 hours).
    pub fn local_date(self, utc_offset_minutes: i32) -> LocalDate {
        let seconds = utc_offset_minutes.clamp(-18 * 60, 18 * 60) * 60;
        let offset = Offset::from_seconds(seconds).unwrap_or(Offset::UTC);
        LocalDate(offset.to_datetime(self.0).date())
    }

    /// This instant less some minutes.
    pub(crate) fn minus_minutes(self, minutes: i32) -> Self {
        Self::from_millis(UnixMillis(self.as_millis().0 - i64::from(minutes) * 60_000))
    }

    /// Whole minutes from `earlier` to this instant, at least 0.
    pub(crate) fn minutes_since(self, earlier: Timestamp) -> i64 {
        ((self.0.as_microsecond() - earlier.0.as_microsecond()) / 60_000_000).max(0)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::invalid("timestamp", "expected RFC 3339 with an offset, like 2026-11-23T12:00:00Z");
        let parsed: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        if !(0..=9999).contains(&Offset::UTC.to_datetime(parsed).year()) {
            return Err(wrong());
        }
        let micros = parsed.as_microsecond();
        jiff::Timestamp::from_microsecond(micros).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

/// A calendar day of the learner, `YYYY-MM-DD`, years 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct LocalDate(#[cfg_attr(feature = "tsify", tsify(type = "string"))] Date);

impl LocalDate {
    /// The day after; the last day stays itself.
    pub fn next(self) -> Self {
        Self(self.0.tomorrow().unwrap_or(self.0))
    }

    /// The day before; the first day stays itself.
    pub fn previous(self) -> Self {
        Self(self.0.yesterday().unwrap_or(self.0))
    }
}

impl FromStr for LocalDate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::invalid("local_date", "expected a calendar day like 2026-11-23");
        // The length check keeps out the looser forms of ISO 8601, which Postgres would read differently.
        let shaped = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
        let date: Date = if shaped { text.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
        if date.year() < 1970 { Err(wrong()) } else { Ok(Self(date)) }
    }
}

impl fmt::Display for LocalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
    fn the_local_day_follows_the_offset() {
        let instant: Timestamp = "2026-11-23T23:30:00Z".parse().unwrap();
        assert_eq!(instant.local_date(0).to_string(), "2026-11-23");
        assert_eq!(instant.local_date(60).to_string(), "2026-11-24");
        assert_eq!(instant.local_date(-600).to_string(), "2026-11-23");
    }

    #[test]
    fn days_are_strict() {
        assert_eq!("2024-02-29".parse::<LocalDate>().unwrap().next().to_string(), "2024-03-01");
        for wrong in ["2023-02-29", "2026-1-1", "20261123", "1969-12-31", "2026-11-23T00:00", "+02026-11-2"] {
            assert!(wrong.parse::<LocalDate>().is_err(), "{wrong}");
        }
    }
}
