//! Writes as a page hands them in: each with the id of its mutation, made by the tab that asked, so that a write that
//! is handed to two leaders is done once.

use marea_core::{Change, EventInput, ExportChange, ExportInput, MutationId, SessionInput};
use serde::Deserialize;
use tsify::Tsify;

/// One write.
#[derive(Deserialize, Tsify)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
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
}

impl Write {
    /// The mutation's id, and the change.
    pub(crate) fn into_change(self) -> (MutationId, Change) {
        match self {
            Write::RecordSession { id, input } => {
                (id, Change::RecordSession(SessionInput { id: Some(id), ..input }))
            }
            Write::RecordEvent { id, input } => {
                (id, Change::RecordEvent(EventInput { id: Some(id), ..input }))
            }
            Write::CreateExport { id, input } => {
                (id, Change::CreateExport(ExportInput { id: Some(id), ..input }))
            }
            Write::UpdateExport { id, export, change } => (id, Change::UpdateExport { id: export, change }),
        }
    }
}
