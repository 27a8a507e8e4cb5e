//! Hybrid logical clocks (Kulkarni et al., 2014): the device's time, made to run only forwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::Error;
use crate::model::UnixMillis;

/// 13 digits of Unix milliseconds, `-`, 4 hexadecimal digits of counter. Its text sorts as the clocks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc {
    millis: u64,
    counter: u16,
}

/// What 13 digits can hold: the year 2286.
const MAX_MILLIS: u64 = 9_999_999_999_999;

impl Hlc {
    /// Before every other clock.
    pub const ZERO: Hlc = Hlc { millis: 0, counter: 0 };

    /// The clock of the next local mutation: at least the device's time, always after `self`.
    pub fn tick(self, now: UnixMillis) -> Hlc {
        let now = u64::try_from(now.0).unwrap_or(0).min(MAX_MILLIS);
        if now > self.millis {
            return Hlc { millis: now, counter: 0 };
        }
        match self.counter.checked_add(1) {
            Some(counter) => Hlc { millis: self.millis, counter },
            // At the very end of time it stands still.
            None if self.millis >= MAX_MILLIS => self,
            // 65,536 mutations in one millisecond: borrow from the next one.
            None => Hlc { millis: self.millis + 1, counter: 0 },
        }
    }
}

/// Counters of one value that is written and then rewritten.
const ROOM: u16 = 256;

impl Hlc {
    /// As [`Hlc::tick`], but so that rewrites of everything before it ([`Hlc::after`]) stay before it: the counter of
    /// what is new is a multiple of 256.
    pub(crate) fn tick_with_room(self, now: UnixMillis) -> Hlc {
        let next = self.tick(now);
        match next.counter.checked_next_multiple_of(ROOM) {
            Some(counter) => Hlc { millis: next.millis, counter },
            None => Hlc { millis: (next.millis + 1).min(MAX_MILLIS), counter: 0 },
        }
    }

    /// The Unix milliseconds.
    pub(crate) fn millis(self) -> u64 {
        self.millis
    }

    /// The clock of the same value in another form: after it, and before whatever is written by who has seen it.
    pub(crate) fn after(self) -> Hlc {
        self.tick(UnixMillis(0))
    }
}

impl FromStr for Hlc {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::invalid("hlc", "expected 13 digits, '-' and 4 lower-case hexadecimal digits");
        let bytes = text.as_bytes();
        let shaped = bytes.len() == 18
            && bytes[13] == b'-'
            && bytes[..13].iter().all(u8::is_ascii_digit)
            && bytes[14..].iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !shaped {
            return Err(wrong());
        }
        let millis = text[..13].parse().map_err(|_| wrong())?;
        let counter = u16::from_str_radix(&text[14..], 16).map_err(|_| wrong())?;
        Ok(Hlc { millis, counter })
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:013}-{:04x}", self.millis, self.counter)
    }
}

impl Serialize for Hlc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hlc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It went back by 65,535 steps: a later write would have lost against an earlier one.
    #[test]
    fn at_the_end_of_time_a_clock_stands_still() {
        let last: Hlc = "9999999999999-ffff".parse().unwrap();
        assert_eq!(last.tick(UnixMillis(i64::MAX)), last);
    }

    #[test]
    fn ticks_run_forwards_even_when_the_clock_does_not() {
        let first = Hlc::ZERO.tick(UnixMillis(1_700_000_000_000));
        let second = first.tick(UnixMillis(1_600_000_000_000));
        let third = second.tick(UnixMillis(1_700_000_000_001));
        assert_eq!(first.to_string(), "1700000000000-0000");
        assert_eq!(second.to_string(), "1700000000000-0001");
        assert_eq!(third.to_string(), "1700000000001-0000");
        assert!(first.to_string() < second.to_string() && second < third);
    }

    #[test]
    fn a_full_counter_borrows_from_the_next_millisecond() {
        let full: Hlc = "1700000000000-ffff".parse().unwrap();
        assert_eq!(full.tick(UnixMillis(0)).to_string(), "1700000000001-0000");
    }

    #[test]
    fn what_is_new_comes_after_every_rewrite_of_what_it_replaces() {
        let put = Hlc::ZERO.tick_with_room(UnixMillis(1_700_000_000_000));
        let rewritten = (0..200).fold(put, |hlc, _| hlc.after());
        // A device whose clock is behind has seen the first form only.
        let newer = put.tick_with_room(UnixMillis(0));
        assert!(put < rewritten && rewritten < newer);
        assert_eq!(newer.to_string(), "1700000000000-0100");
        let full: Hlc = "1700000000000-ff01".parse().unwrap();
        assert_eq!(full.tick_with_room(UnixMillis(0)).to_string(), "1700000000001-0000");
    }

    #[test]
    fn text_is_strict() {
        for wrong in
            ["", "1700000000000-00000", "1700000000000_0000", "170000000000a-0000", "1700000000000-00FF"]
        {
            assert!(wrong.parse::<Hlc>().is_err(), "{wrong}");
        }
    }
}
