//! A write as a face of the package hands it in, in JSON: its kind, the id of its mutation, and what that kind needs.
//!
//! One form for all hosts: the leader's worker in a browser, and a process that has the mirror's file open itself.

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::value::RawValue;

use super::plan::Change;
use crate::model::{EventInput, ExportInput, MutationId, SessionInput, from_json};

/// What a write asks the engine for.
pub enum Asked {
    /// A change, with the id of its mutation.
    One(MutationId, Change),
    /// Changes that are done all or none, with the id of their batch.
    Batch(MutationId, Vec<Change>),
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
    ///
    /// # Errors
    /// What is no such write.
    pub fn from_json(text: &str) -> Result<Asked, serde_json::Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_has_the_id_that_it_came_with() {
        let id: MutationId = "00000000-0000-7000-8000-000000000005".parse().unwrap();
        for (kind, input) in [
            ("record_session", r#"{"session_type": "qa"}"#),
            ("record_event", r#"{"points": 1}"#),
            ("create_export", r#"{"export_type": "words", "export_format": "csv"}"#),
        ] {
            let asked = format!(r#"{{"kind": "{kind}", "id": "{id}", "input": {input}}}"#);
            match Asked::from_json(&asked).unwrap() {
                Asked::One(of, change) => assert_eq!((of, change.given_id()), (id, Some(id)), "{kind}"),
                Asked::Batch(..) => panic!("{kind} is no batch"),
            }
        }
    }
}
