//! Tells an account that was deleted on the server from one that the app has not made there yet. Decides nothing about when
//! to try again.

use crate::engine::Engine;
use crate::store::Meta;
use crate::sync::Failure;

impl Engine {
    /// Puts [`Failure::AccountDeleted`] in the place of [`Failure::UserMissing`] where this mirror knows that the server once had
    /// the user. Where the mirror cannot be read the failure stays: that is not its own trouble to tell.
    pub(crate) fn name_deleted_account(&self, failure: &mut Failure) {
        let is_known = || matches!(self.store.read().meta(Meta::KnownUser), Ok(Some(_)));
        if *failure == Failure::UserMissing && is_known() {
            *failure = Failure::AccountDeleted;
        }
    }
}
