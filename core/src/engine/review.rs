//! The queue as people meet it, and what support asks for.

use serde::Serialize;

use crate::engine::changed::Changed;
use crate::engine::{Engine, registers, visible};
use crate::error::Error;
use crate::model::{MutationId, MutationView, Now, Status, TableKind};
use crate::planted::{self, Fault};
use crate::store::{JournalEntry, MIRROR_VERSION};

/// How many mutations one listing shows at most.
const MAX_LISTED: u32 = 10_000;

/// The state and the last syncs, for support. Codes, counts and times; nothing of what was synced.
#[derive(Clone, Debug, Serialize)]
struct Diagnostics {
    marea: &'static str,
    mirror_version: u32,
    status: Status,
    journal: Vec<JournalEntry>,
}

impl Engine {
    /// What waits for the server, oldest first, at most 10,000.
    ///
    /// # Errors
    /// The storage errors.
    pub fn pending(&self) -> Result<Vec<MutationView>, Error> {
        self.store.read().waiting(MAX_LISTED)
    }

    /// What the server refused, oldest first, at most 10,000, each with the reason and what it would have changed.
    ///
    /// # Errors
    /// The storage errors.
    pub fn rejected(&self) -> Result<Vec<MutationView>, Error> {
        self.store.read().refused(MAX_LISTED)
    }

    /// Queues a refused mutation again; says whether there was one with this id. A session or award counts again once
    /// the server has taken it.
    ///
    /// # Errors
    /// The storage errors.
    pub fn retry(&mut self, id: MutationId) -> Result<bool, Error> {
        self.settle_refused(id, |rows| rows.requeue(id))
    }

    /// Forgets a refused mutation for good; says whether there was one with this id.
    ///
    /// # Errors
    /// The storage errors.
    pub fn discard(&mut self, id: MutationId) -> Result<bool, Error> {
        self.settle_refused(id, |rows| rows.forget_refused(id))
    }

    fn settle_refused(
        &mut self,
        id: MutationId,
        decide: impl FnOnce(crate::store::Rows<'_>) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        let mut changed = Changed::default();
        let was_refused = self.store.write(|rows| {
            let Some(refused) = rows.sent_mutation(id)? else { return Ok(false) };
            if refused.table.kind() == TableKind::Registers {
                registers::keep_shadow(rows, refused.table, &refused.key)?;
            }
            if !decide(rows)? {
                return Ok(false);
            }
            registers::refresh(rows, refused.table, &refused.key, &client)?;
            match refused.table.kind() {
                TableKind::Registers if planted::is(Fault::DecisionsNotTold) => {}
                TableKind::Registers => changed.row(refused.table, refused.key),
                _ => visible::rebuild(rows, user_id, &mut changed)?,
            }
            Ok(true)
        })?;
        self.announce_rows(&changed);
        Ok(was_refused)
    }

    /// Reads the whole mirror and says whether its file is in order.
    ///
    /// # Errors
    /// [`Error::MirrorCorrupt`] when it is not, and the other storage errors.
    pub fn check(&self) -> Result<(), Error> {
        self.store.read().check()
    }

    /// State and last syncs as one JSON document for support: no learner's data, no secret.
    ///
    /// # Errors
    /// The storage errors.
    pub fn diagnostics(&self, now: Now) -> Result<String, Error> {
        let diagnostics = Diagnostics {
            marea: env!("CARGO_PKG_VERSION"),
            mirror_version: MIRROR_VERSION,
            status: self.status(now)?,
            journal: self.store.read().journal()?,
        };
        serde_json::to_string_pretty(&diagnostics).map_err(|_| Error::Internal("diagnostics are not JSON"))
    }
}
