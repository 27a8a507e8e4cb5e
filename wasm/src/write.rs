//! Writes as a page hands them in: each with the id of its mutation, made by the tab that asked, so that a write that
//! is handed to two leaders is done once.

use marea_core::{
    Change, Error, EventInput, ExportChange, ExportInput, MutationId, Recorded, SessionInput, from_json,
};
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::value::RawValue;
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

/// What a write asks the engine for.
pub(crate) enum Asked {
    /// A change, with the id of its mutation.
    One(MutationId, Change),
    /// Changes that are done all or none, with the id of their batch.
    Batch(MutationId, Vec<Change>),
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

/// A write of any kind, its input still text. Serde reads a tagged enum by way of a buffer of its own, whose code weighs 20 kB.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    kind: Kind,
    /// Absent in a batch: its mutations have ids that follow from the batch's.
    id: Option<MutationId>,
    export: Option<MutationId>,
    table: Option<String>,
    key: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    change: Option<&'a RawValue>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
    #[serde(borrow)]
    changes: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    RecordSession,
    RecordEvent,
    CreateExport,
    UpdateExport,
    DeleteExport,
    Insert,
    Update,
    Add,
    Delete,
    Batch,
}

impl Asked {
    /// Reads a write from JSON.
    pub(crate) fn from_json(text: &str) -> Result<Asked, serde_json::Error> {
        let sent: Sent<'_> = from_json(text)?;
        let id = given(sent.id, "id")?;
        if let Kind::Batch = sent.kind {
            let changes: Vec<&RawValue> = part(sent.changes)?;
            let changes =
                changes.into_iter().map(|change| from_json::<Sent<'_>>(change.get())?.into_change(None));
            return Ok(Asked::Batch(id, changes.collect::<Result<_, _>>()?));
        }
        Ok(Asked::One(id, sent.into_change(Some(id))?))
    }
}

impl Sent<'_> {
    fn into_change(self, id: Option<MutationId>) -> Result<Change, serde_json::Error> {
        Ok(match self.kind {
            Kind::RecordSession => Change::RecordSession(SessionInput { id, ..part(self.input)? }),
            Kind::RecordEvent => Change::RecordEvent(EventInput { id, ..part(self.input)? }),
            Kind::CreateExport => Change::CreateExport(ExportInput { id, ..part(self.input)? }),
            Kind::UpdateExport => {
                Change::UpdateExport { id: given(self.export, "export")?, change: part(self.change)? }
            }
            Kind::DeleteExport => Change::DeleteExport { id: given(self.export, "export")? },
            Kind::Insert => Change::Insert {
                table: given(self.table, "table")?,
                key: self.key,
                values: part(self.values)?,
            },
            Kind::Update => Change::Update {
                table: given(self.table, "table")?,
                key: given(self.key, "key")?,
                values: part(self.values)?,
            },
            Kind::Add => Change::Add {
                table: given(self.table, "table")?,
                key: given(self.key, "key")?,
                values: part(self.values)?,
            },
            Kind::Delete => {
                Change::Delete { table: given(self.table, "table")?, key: given(self.key, "key")? }
            }
            Kind::Batch => return Err(serde_json::Error::custom("a batch holds no batch")),
        })
    }
}

fn given<T>(part: Option<T>, name: &'static str) -> Result<T, serde_json::Error> {
    part.ok_or_else(|| serde_json::Error::missing_field(name))
}

fn part<'a, T: Deserialize<'a>>(text: Option<&'a RawValue>) -> Result<T, serde_json::Error> {
    from_json(text.map_or("null", RawValue::get))
}
