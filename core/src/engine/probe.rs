//! What `marea doctor` looks at: the request that this mirror would send next, without what waits in it, and whether the answer
//! could be taken. Changes nothing.

use crate::engine::page::Page;
use crate::engine::{Engine, apply};
use crate::error::Error;
use crate::model::SyncLimits;
use crate::wire::{SyncAnswer, SyncRequest};

impl Engine {
    /// The next request, from this mirror's own cursor and with its own limits, but with nothing to push.
    ///
    /// # Errors
    /// The storage errors.
    pub fn probe(&self) -> Result<SyncRequest, Error> {
        Ok(self.request(apply::cursor(self.store.read())?, Vec::new()))
    }

    /// Whether this engine could take an answer to [`Engine::probe`].
    pub fn can_read(&self, answer: &SyncAnswer) -> bool {
        Page::read(answer, &[], self.user_id, self.store.shapes()).is_some()
    }

    pub(super) fn sync_limits(&self) -> SyncLimits {
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        SyncLimits {
            mutations: small(self.limits.mutations()),
            batch_bytes: small(self.limits.bytes()),
            page_rows: self.limits.page_rows(),
            page_bytes: self.limits.page_bytes(),
        }
    }
}
