//! Where the learner is, as far as days are concerned: the offset from UTC that the clocks of a place show at an instant.
//!
//! Deliberately absent: any rule of any zone. The host has them.

use crate::model::{LocalDate, Now, Timestamp};
use crate::planted::{self, Fault};

/// The time zone of the learner, as the host knows it. It may be another from one call to the next: people travel.
pub trait Zone {
    /// The offset from UTC at that instant in minutes; east is positive. In summer it is another than in winter.
    fn utc_offset_minutes(&self, at: Timestamp) -> i32;
}

/// The present, and the place.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    pub(crate) now: Now,
    /// `None`: a host that knows only the present offset.
    pub(crate) zone: Option<&'a (dyn Zone + Send)>,
    /// Minutes after midnight at which the learner's day begins.
    pub(crate) day_starts_at: i32,
}

impl Here<'_> {
    /// The learner's day at an instant: by the offset that the caller wrote into it, else by the zone's at that instant.
    pub(crate) fn local_date(self, at: Timestamp, written: Option<i32>) -> LocalDate {
        let of_zone = || match self.zone {
            Some(zone) if !planted::is(Fault::OffsetOfThePresent) => zone.utc_offset_minutes(at),
            _ => self.now.utc_offset_minutes,
        };
        // A zone that is behind UTC at the beginning of 1970 is in 1969.
        at.local_date(written.unwrap_or_else(of_zone) - self.day_starts_at).max(LocalDate::FIRST)
    }
}

#[cfg(test)]
impl From<Now> for Here<'static> {
    fn from(now: Now) -> Self {
        Here { now, zone: None, day_starts_at: 0 }
    }
}
