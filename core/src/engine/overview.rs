//! The queue at a glance: how much there is, and the beginning of it. For those who look again after each change.
//!
//! What it costs does not grow with the queue.

use crate::engine::Engine;
use crate::error::Error;
use crate::model::QueueView;

/// As many as one look may show.
const MOST_SHOWN: u32 = 1_000;

impl Engine {
    /// How much waits and how much was refused, and the first `limit` (1 to 1,000) of each, oldest first.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for another `limit`, and the storage errors.
    pub fn queue(&self, limit: u32) -> Result<QueueView, Error> {
        if !(1..=MOST_SHOWN).contains(&limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {MOST_SHOWN}")));
        }
        let rows = self.store.read();
        Ok(QueueView {
            pending_count: self.store.pending()?,
            rejected_count: self.store.rejected()?,
            pending: rows.first_waiting(limit)?,
            rejected: rows.first_refused(limit)?,
        })
    }
}
