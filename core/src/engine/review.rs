//! The queue as people meet it, and what support asks for.

use std::io::{self, Write};
use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::json;

use crate::engine::changed::Changed;
use crate::engine::registers::Dirty;
use crate::engine::{Engine, registers, visible};
use crate::error::Error;
use crate::model::{MutationId, MutationView, Now, Status, Table, TableKind, indented, json_text};
use crate::planted::{self, Fault};
use crate::store::{JournalEntry, MIRROR_VERSION, Rows};

/// The state and the last syncs, for support. Codes, counts and times; nothing of what was synced.
#[derive(Clone, Debug, Serialize)]
struct Diagnostics {
    marea: &'static str,
    mirror_version: u32,
    status: Status,
    journal: Vec<JournalEntry>,
}

/// How many mutations were written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueCounts {
    /// Those that wait for the server.
    pub pending: u64,
    /// Those that the server refused.
    pub rejected: u64,
}

impl Engine {
    /// All that waits for the server, oldest first.
    ///
    /// # Errors
    /// The storage errors.
    pub fn pending(&self) -> Result<Vec<MutationView>, Error> {
        self.store.read().waiting()
    }

    /// All that the server refused, oldest first, each with the reason and what it would have changed.
    ///
    /// # Errors
    /// The storage errors.
    pub fn rejected(&self) -> Result<Vec<MutationView>, Error> {
        self.store.read().refused()
    }

    /// Writes down all that the server does not have, as one JSON document: `exported_at`, `user_id`, `pending` and `rejected`,
    /// oldest first, as of one moment. It is written as it is read, so that a queue of any length needs no more memory than
    /// its longest mutation. `between` stands between two of them.
    ///
    /// # Errors
    /// The storage errors; inside, what `out` said. Then the document is not whole.
    pub fn write_queue(
        &mut self,
        now: Now,
        out: &mut dyn Write,
        between: &str,
    ) -> Result<io::Result<QueueCounts>, Error> {
        let user_id = self.user_id;
        self.store.snapshot(|rows| {
            let mut document = Document { out, between, failed: None };
            let mut counts = QueueCounts::default();
            let (at, user) = (json!(now.timestamp()), json!(user_id));
            let part = |name: &str| format!("],{between}\"{name}\": [");
            document.text(&format!(
                "{{\"exported_at\": {at},{between}\"user_id\": {user},{between}\"pending\": ["
            ));
            rows.each_waiting(|view| document.mutation(&view, &mut counts.pending))?;
            document.text(&part("rejected"));
            rows.each_refused(|view| document.mutation(&view, &mut counts.rejected))?;
            document.text("]}\n");
            Ok(document.failed.map_or(Ok(counts), Err))
        })
    }

    /// Queues a refused mutation again; says whether there was one with this id. A session or award counts again once
    /// the server has taken it; a session that is mirrored is shown again at once, and counts.
    ///
    /// # Errors
    /// The storage errors.
    pub fn retry(&mut self, id: MutationId) -> Result<bool, Error> {
        Ok(!self.settle_refused(Some(id), |rows, id| rows.requeue(id))?.is_empty())
    }

    /// Queues all refused mutations again, in one transaction; gives their ids, oldest first.
    ///
    /// # Errors
    /// The storage errors.
    pub fn retry_all(&mut self) -> Result<Vec<MutationId>, Error> {
        self.settle_refused(None, |rows, id| rows.requeue(id))
    }

    /// Forgets a refused mutation for good; says whether there was one with this id.
    ///
    /// # Errors
    /// The storage errors.
    pub fn discard(&mut self, id: MutationId) -> Result<bool, Error> {
        Ok(!self.settle_refused(Some(id), |rows, id| rows.forget_refused(id))?.is_empty())
    }

    /// Forgets all refused mutations for good, in one transaction; gives their ids, oldest first.
    ///
    /// # Errors
    /// The storage errors.
    pub fn discard_all(&mut self) -> Result<Vec<MutationId>, Error> {
        self.settle_refused(None, |rows, id| rows.forget_refused(id))
    }

    /// Decides about the refused mutation of this id, if there is one, or about all of them. By a pointer, not once for each way
    /// to decide: it is large, and a browser downloads it.
    fn settle_refused(
        &mut self,
        only: Option<MutationId>,
        decide: fn(Rows<'_>, MutationId) -> Result<bool, Error>,
    ) -> Result<Vec<MutationId>, Error> {
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        let mut changed = Changed::default();
        let settled = self.store.write(|rows| {
            let refused = rows.refused_keys(only)?;
            let is_register = |table: &Table| rows.shapes().kind(*table) == TableKind::Registers;
            let mut concerned = Dirty::default();
            let keyed = refused.iter().filter(|(_, table, _)| is_register(table));
            concerned.extend(keyed.map(|(_, table, key)| (*table, key.clone())));
            for (table, key) in concerned.iter() {
                registers::keep_shadow(rows, *table, key)?;
            }
            for (id, ..) in &refused {
                decide(rows, *id)?;
            }
            for (table, key) in concerned.iter() {
                registers::refresh(rows, *table, key, &client)?;
                if !planted::is(Fault::DecisionsNotTold) {
                    changed.row(*table, key.as_str());
                }
            }
            if refused.iter().any(|(_, table, _)| table.kind() == TableKind::Events) {
                visible::rebuild(rows, user_id, &mut changed)?;
            }
            Ok(refused.into_iter().map(|(id, ..)| id).collect::<Vec<_>>())
        })?;
        self.announce_rows(&changed);
        Ok(settled)
    }

    /// Reads the whole mirror and says whether its file is in order.
    ///
    /// # Errors
    /// [`Error::MirrorCorrupt`] when it is not, and the other storage errors.
    pub fn check(&self) -> Result<(), Error> {
        self.store.read().check()
    }

    /// What the mirror's file holds that Marea has not made and does not run, by name: triggers, virtual tables. Somebody else has
    /// written into it.
    ///
    /// # Errors
    /// The storage errors.
    pub fn foreign_objects(&self) -> Result<Vec<String>, Error> {
        self.store.read().foreign_objects()
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
        Ok(indented(&json_text(&diagnostics)))
    }
}

/// A JSON document that is written piece by piece, up to the first piece that cannot be written.
struct Document<'a> {
    out: &'a mut dyn Write,
    between: &'a str,
    failed: Option<io::Error>,
}

impl Document<'_> {
    fn text(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = self.out.write_all(text.as_bytes()).err();
        }
    }

    /// Writes the next element of a list of which `before` are there.
    fn mutation(&mut self, view: &MutationView, before: &mut u64) -> ControlFlow<()> {
        self.text(if *before == 0 { "" } else { "," });
        self.text(self.between);
        match serde_json::to_string(view) {
            Ok(json) => self.text(&json),
            Err(error) => self.failed = self.failed.take().or(Some(error.into())),
        }
        *before += 1;
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
