//! Writes as a page hands them in: each with the id of its mutation, made by the tab that asked, so that a write that
//! is handed to two leaders is done once.

use marea_core::{
    Asked, Change, Error, EventInput, ExportChange, ExportInput, MutationId, Recorded, SessionInput,
};
use tsify::Tsify;
use wasm_bindgen::prelude::*;

use crate::convert::{parse_with, to_js};
use crate::engine::MareaEngine;
use crate::error::from_core;
use crate::host::now;

/// One write of a built-in table. Those of mirrored tables are described in TypeScript (`wasm/js/types.ts`).
#[derive(Tsify)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Write {
    /// A completed session.
    RecordSession {
        /// The mutation's id, which is the session's.
        id: MutationId,
        /// The session.
        input: SessionInput,
    },
    /// An award that belongs to no session.
    RecordEvent {
        /// The mutation's id, which is the event's.
        id: MutationId,
        /// The award.
        input: EventInput,
    },
    /// A new export.
    CreateExport {
        /// The mutation's id, which is the export's.
        id: MutationId,
        /// What is exported.
        input: ExportInput,
    },
    /// What became of an export.
    UpdateExport {
        /// The mutation's id.
        id: MutationId,
        /// The export.
        export: MutationId,
        /// The columns to set.
        change: ExportChange,
    },
    /// An export is to be gone.
    DeleteExport {
        /// The mutation's id.
        id: MutationId,
        /// The export.
        export: MutationId,
    },
}

#[wasm_bindgen]
impl MareaEngine {
    /// Carries out writes, in order. Those that stand beside each other share a transaction; a batch has one of its own. When this
    /// returns, they are durable on the device. The answer holds for each what became of it: a `Recorded` (of a batch the last
    /// one), or the error that it was refused with.
    pub fn write(
        &self,
        #[wasm_bindgen(unchecked_param_type = "object[]")] writes: Vec<JsValue>,
    ) -> Result<Vec<JsValue>, JsValue> {
        let mut outcomes = Vec::with_capacity(writes.len());
        let mut run = Vec::new();
        for write in &writes {
            match parse_with(write, Asked::from_json) {
                Ok(Asked::One(id, change)) => run.push((Some(id), change)),
                Ok(Asked::Batch(id, changes)) => {
                    outcomes.extend(self.carry_out(std::mem::take(&mut run))?);
                    let done = self.host.call(|engine| Ok(engine.mutate_batch(Some(id), changes, now())))?;
                    let last = done.and_then(|mut all| all.pop().ok_or(Error::Internal("an empty batch")));
                    outcomes.push(outcome(last)?);
                }
                Err(refused) => {
                    outcomes.extend(self.carry_out(std::mem::take(&mut run))?);
                    outcomes.push(refused);
                }
            }
        }
        outcomes.extend(self.carry_out(run)?);
        Ok(outcomes)
    }

    fn carry_out(&self, run: Vec<(Option<MutationId>, Change)>) -> Result<Vec<JsValue>, JsValue> {
        if run.is_empty() {
            return Ok(Vec::new());
        }
        let count = run.len();
        match self.host.call(|engine| Ok(engine.mutate_all(run, now())))? {
            Ok(all) => all.into_iter().map(outcome).collect(),
            // What came before it is done.
            Err(error) => outcome(Err(error)).map(|refused| vec![refused; count]),
        }
    }
}

/// What a caller is told. A mirror that another has come to own answers nothing: that one is asked again.
fn outcome(done: Result<Recorded, Error>) -> Result<JsValue, JsValue> {
    match done {
        Ok(recorded) => Ok(to_js(&recorded)?.js_value()),
        Err(error @ Error::MirrorLocked) => Err(from_core(&error)),
        Err(error) => Ok(from_core(&error)),
    }
}
