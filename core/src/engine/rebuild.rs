//! The visible rows from nothing, for tests: what the engine keeps up step by step must equal this.

use crate::engine::changed::Changed;
use crate::engine::{Engine, registers, visible};
use crate::error::Error;
use crate::model::MutationState;

impl Engine {
    /// Makes every visible row anew from the confirmed rows and the queue.
    ///
    /// # Errors
    /// The storage errors.
    pub fn rebuild_visible(&mut self) -> Result<(), Error> {
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        self.store.write_beside_queue(|rows| {
            visible::rebuild(rows, user_id, &mut Changed::default())?;
            for state in [
                MutationState::Pending,
                MutationState::InDoubt,
                MutationState::Acknowledged,
                MutationState::Resend,
            ] {
                for (table, key) in rows.register_rows_in(state)? {
                    registers::refresh(rows, table, &key, &client)?;
                }
            }
            Ok(())
        })
    }
}
