//! How a learner leaves a device: signed out, with everything kept for the return, or erased.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::Error;

/// What has not reached the server, and whether it is still here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Left {
    /// Mutations that the server has not acknowledged.
    pub pending: u32,
    /// Mutations that the server refused and about which nobody has decided.
    pub rejected: u32,
    /// Whether the mirror is gone with its file. False after signing out; after erasing it means that an empty file is
    /// left, because another program has it open or because only the host can remove it (a name of a virtual file
    /// system).
    pub removed: bool,
}

impl Engine {
    /// Closes the mirror of a learner who signs out, and says what is kept in it for the return: it opens again for the
    /// same user and for no other. An answer that is still under way will be dropped; what it belongs to is sent again.
    ///
    /// # Errors
    /// The storage errors; everything acknowledged is durable all the same.
    pub fn sign_out(self) -> Result<Left, Error> {
        let rows = self.store.read();
        let left = Left { pending: rows.count_pending()?, rejected: rows.count_rejected()?, removed: false };
        self.store.close()?;
        Ok(left)
    }

    /// Removes everything that this device keeps of the user, and says how much unsent work went with it. Ask
    /// [`Engine::status`] before, and the learner.
    ///
    /// # Errors
    /// The storage errors: either all is there still, or all is gone and only an empty file is left.
    pub fn erase(self) -> Result<Left, Error> {
        let erased = self.store.erase()?;
        Ok(Left { pending: erased.pending, rejected: erased.rejected, removed: erased.removed })
    }
}
