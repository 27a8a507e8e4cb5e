//! Writes as a page hands them in: each with the id of its mutation, made by the tab that asked, so that a write that
//! is handed to two leaders is done once.

use marea_core::{Change, EventInput, ExportChange, ExportInput, MutationId, SessionInput};
use serde::Deserialize;
use serde_json::value::RawValue;
use tsify::Tsify;

/// One write.
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
}

/// A write of any kind, its input still text. Serde reads a tagged enum by way of a buffer of its own, whose code weighs 20 kB.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent<'a> {
    kind: Kind,
    id: MutationId,
    export: Option<MutationId>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    change: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    RecordSession,
    RecordEvent,
    CreateExport,
    UpdateExport,
}

impl Write {
    /// Reads a write from JSON.
    pub(crate) fn from_json(text: &str) -> Result<Write, serde_json::Error> {
        let Sent { kind, id, export, input, change } = serde_json::from_str(text)?;
        Ok(match kind {
            Kind::RecordSession => Write::RecordSession { id, input: part(input)? },
            Kind::RecordEvent => Write::RecordEvent { id, input: part(input)? },
            Kind::CreateExport => Write::CreateExport { id, input: part(input)? },
            Kind::UpdateExport => match export {
                Some(export) => Write::UpdateExport { id, export, change: part(change)? },
                None => return Err(serde::de::Error::missing_field("export")),
            },
        })
    }

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

fn part<'a, T: Deserialize<'a>>(text: Option<&'a RawValue>) -> Result<T, serde_json::Error> {
    serde_json::from_str(text.map_or("null", RawValue::get))
}
