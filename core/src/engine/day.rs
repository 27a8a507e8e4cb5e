//! When the learner's day begins: at midnight, or some hours later for those who are up late.
//!
//! A day is fixed when something is recorded, and travels with it. So this is the device's own: no server and no fact has to know
//! of it, and to begin days at another hour changes no day that there is.

use crate::engine::Engine;
use crate::error::Error;
use crate::model::{LocalDate, Now, Table};
use crate::store::Meta;

/// Minutes after midnight at which a day may begin at the latest: by then everybody has slept.
const LATEST: u16 = 6 * 60;

impl Engine {
    /// The learner's day now.
    pub fn today(&self, now: Now) -> LocalDate {
        now.timestamp().local_date(now.utc_offset_minutes - i32::from(self.day_starts_at))
    }

    /// At which minute after midnight the learner's day begins.
    pub fn day_starts_at(&self) -> u16 {
        self.day_starts_at
    }

    /// Says at which minute after midnight the learner's day begins, by the clock on the wall: what is recorded before counts for the
    /// day before, and a streak lives until then. Kept in the mirror. Whoever names a day is taken at their word, as ever.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for more than 360, six in the morning; the storage errors.
    pub fn set_day_start(&mut self, minutes: u16) -> Result<(), Error> {
        if minutes > LATEST {
            return Err(Error::invalid(
                "day_starts_at",
                format!("must be 0 to {LATEST} minutes after midnight"),
            ));
        }
        if self.day_starts_at != minutes {
            self.store.write_beside_queue(|rows| rows.set_meta(Meta::DayStartsAt, &minutes.to_string()))?;
            self.day_starts_at = minutes;
            self.announce(&[Table::UserProgress, Table::DailyActivity]);
        }
        Ok(())
    }
}
