//! The proleptic Gregorian calendar and RFC 3339, as far as the mirror and the wire need them: a few dozen lines, where a
//! whole library of dates would be 20 kB of every learner's download. Tests compare every function with `jiff`.

/// Seconds of a day.
const DAY: i64 = 86_400;

/// A day of the calendar as year, month (1 to 12) and day (1 to 31).
pub(super) type Civil = (i64, u32, u32);

/// The days from 1970-01-01 to a day of the calendar. (Howard Hinnant, "chrono-compatible low-level date algorithms".)
pub(super) fn days_of((year, month, day): Civil) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = i64::from((153 * ((month + 9) % 12) + 2) / 5 + day) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The day of the calendar that is so many days after 1970-01-01.
pub(super) fn civil_of(days: i64) -> Civil {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Reads `YYYY-MM-DD`, a day that the calendar has.
pub(super) fn parse_day(text: &str) -> Option<Civil> {
    let mut rest = Rest(text.as_bytes());
    let day = rest.day()?;
    rest.0.is_empty().then_some(day)
}

/// Reads an instant: RFC 3339, and what Postgres prints (a blank for the `T`, an offset without minutes). Microseconds since
/// 1970; what is finer is cut off towards the past. With it the offset from UTC in seconds, where one is written: `Z` and
/// `-00:00` name an instant, and say nothing about the clocks of the place (RFC 3339, 4.3).
pub(super) fn parse_instant(text: &str) -> Option<(i64, Option<i32>)> {
    let mut rest = Rest(text.as_bytes());
    let day = days_of(rest.day()?);
    rest.one_of(b"Tt ")?;
    let (hour, minute) = (rest.number(2, 23)?, rest.sign(b':').and_then(|()| rest.number(2, 59))?);
    // A leap second is the second before it: neither Unix time nor Postgres knows another.
    let second = rest.sign(b':').and_then(|()| rest.number(2, 60))?.min(59);
    let micros = if rest.sign(b'.').is_some() { rest.fraction()? } else { 0 };
    let written = rest.offset_seconds()?;
    if !rest.0.is_empty() {
        return None;
    }
    let offset = i64::from(written.unwrap_or(0));
    Some(((day * DAY + hour * 3600 + minute * 60 + second - offset) * 1_000_000 + micros, written))
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn day(&mut self) -> Option<Civil> {
        let year = self.number(4, 9999)?;
        self.sign(b'-')?;
        let month = self.number(2, 12)? as u32;
        self.sign(b'-')?;
        let civil = (year, month, self.number(2, 31)? as u32);
        (civil_of(days_of(civil)) == civil).then_some(civil)
    }

    /// Exactly `digits` digits, at most `most`.
    fn number(&mut self, digits: usize, most: i64) -> Option<i64> {
        let (number, rest) = self.0.split_at_checked(digits)?;
        let mut value = 0;
        for digit in number {
            value = value * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        self.0 = rest;
        (value <= most).then_some(value)
    }

    /// One to nine digits behind the point, as microseconds.
    fn fraction(&mut self) -> Option<i64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        let nanos = self.number(digits, 999_999_999)? * 10_i64.pow(9 - digits as u32);
        Some(nanos / 1000)
    }

    /// `Z`, or a signed offset, in seconds. Before there was standard time, Postgres writes offsets with seconds.
    fn offset_seconds(&mut self) -> Option<Option<i32>> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Some(None),
        };
        let hours = self.number(2, 23)?;
        let colon = self.sign(b':').is_some();
        let minutes = if colon || !self.0.is_empty() { self.number(2, 59)? } else { 0 };
        let seconds = if colon && self.sign(b':').is_some() { self.number(2, 59)? } else { 0 };
        let offset = (hours * 3600 + minutes * 60 + seconds) as i32;
        Some((sign > 0 || offset > 0).then_some(sign * offset))
    }

    fn sign(&mut self, byte: u8) -> Option<()> {
        self.one_of(&[byte]).map(drop)
    }

    fn one_of(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_day_is_jiffs(days in -719_528_i64..=2_932_896) {
            let date = Date::constant(1970, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
            let (year, month, day) = civil_of(days);
            prop_assert_eq!((year, month, day), (date.year().into(), date.month() as u32, date.day() as u32));
            prop_assert_eq!(days_of((year, month, day)), days);
            prop_assert_eq!(parse_day(&date.to_string()), Some((year, month, day)));
        }

        #[test]
        fn every_instant_is_jiffs(
            seconds in -62_167_219_200_i64..=253_402_300_799,
            nanos in 0_i32..1_000_000_000,
            offset in -23 * 60..=23_i32 * 60,
        ) {
            let instant = jiff::Timestamp::new(seconds, nanos).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            let micros = instant.as_nanosecond().div_euclid(1000) as i64;
            prop_assert_eq!(parse_instant(&instant.to_string()), Some((micros, None)));
            let there = instant.display_with_offset(jiff::tz::Offset::from_seconds(offset * 60).unwrap()).to_string();
            // Years outside of four digits have no form in RFC 3339.
            if there.as_bytes()[4] == b'-' && !there.starts_with('-') {
                let written = Some(offset * 60).filter(|_| !there.ends_with('Z'));
                prop_assert_eq!(parse_instant(&there), Some((micros, written)), "{}", there);
            }
        }

        /// What is not read by both is not read at all: nothing slips through that a library would refuse.
        #[test]
        fn no_more_than_jiff_is_read(text in "[0-9]{4}-[0-9]{2}-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?") {
            if let Some((micros, _)) = parse_instant(&text) {
                let jiffs: jiff::Timestamp = text.parse().unwrap();
                prop_assert_eq!(jiffs.as_nanosecond().div_euclid(1000) as i64, micros, "{}", text);
            }
        }
    }

    #[test]
    fn what_postgres_prints_is_read() {
        let noon = 1_795_435_200_000_000;
        for (same, written) in [
            ("2026-11-23T12:00:00Z", None),
            ("2026-11-23T12:00:00-00:00", None),
            ("2026-11-23 12:00:00+00", Some(0)),
            ("2026-11-23 17:30:00+05:30", Some(19_800)),
            ("2026-11-23t06:30:00.000-0530", Some(-19_800)),
        ] {
            assert_eq!(parse_instant(same), Some((noon, written)), "{same}");
        }
        let of_old = parse_instant("1800-01-01T00:00:00-00:14:44").unwrap();
        assert_eq!((of_old.0, None), parse_instant("1800-01-01T00:14:44Z").unwrap());
        assert_eq!(of_old.1, Some(-884));
    }

    #[test]
    fn what_is_no_instant_is_not_read() {
        for wrong in [
            "2026-11-23T12:00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T12:00:00.Z",
            "2026-11-23T12:00:00Z ",
            "2026-11-23T12:00:00+5",
            "2026-11-23T12:00:00+24:00",
            "é",
        ] {
            assert_eq!(parse_instant(wrong), None, "{wrong}");
        }
    }
}
