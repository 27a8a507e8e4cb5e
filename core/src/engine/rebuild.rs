//! The visible rows from nothing, for tests: what the engine keeps up step by step must equal this.

use crate::engine::changed::Changed;
use crate::engine::{Engine, registers, visible};
use crate::error::Error;

impl Engine {
    /// Makes every visible row anew from the confirmed rows and the queue.
    ///
    /// # Errors
    /// The storage errors.
    pub fn rebuild_visible(&mut self) -> Result<(), Error> {
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        self.store.write_beside_queue(|rows| {
            registers::lay_all(rows, &client)?;
            visible::rebuild(rows, user_id, &mut Changed::default())
        })
    }
}
