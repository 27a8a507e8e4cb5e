//! What an app kept before it had Marea, item by item, as its own JSON; and what became of it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::{EventInput, SessionInput, from_json};

/// Items of one import at most.
const MAX_ITEMS: usize = 100_000;

/// One thing that an app kept before. Written as JSON it has exactly one of `session`, `event` and `table`.
pub struct ImportItem {
    /// What makes the item the same one on every device and in every call. Without one that is what it says: of two items that
    /// say the same both come in, and an item that is brought again does not.
    pub(crate) key: Option<String>,
    /// What it says: its fields, without those that are as if they were not there. So a field that a later version adds makes no
    /// other item of it.
    pub(crate) says: String,
    /// What it is.
    pub(crate) what: ImportKind,
}

/// What an item is.
pub(crate) enum ImportKind {
    /// A completed session. It says when it was: `ended_at`, `started_at` or `local_date`.
    Session(SessionInput),
    /// An award. It says when it was: `occurred_at` or `local_date`.
    Event(EventInput),
    /// A row of a mirrored table. The item's key is the row's.
    Row {
        /// The table's name.
        table: String,
        /// The columns, as on the wire.
        values: Map<String, Value>,
    },
}

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Imported {
    /// Items that came in now.
    pub imported: u32,
    /// Items that were here already: an earlier call has brought them.
    pub known: u32,
    /// Items that did not come in. Keep them: once they are put right, the same call brings them and nothing twice.
    pub refused: Vec<RefusedItem>,
}

/// An item that did not come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct RefusedItem {
    /// Its place in the list, from 0.
    pub index: u32,
    /// What is wrong with it, by the name of the field. Nothing of what the learner wrote.
    pub message: String,
}

impl Imported {
    /// The same as JSON.
    pub fn to_json(&self) -> String {
        let refused = self.refused.iter().map(|RefusedItem { index, message }| {
            format!("{{\"index\":{index},\"message\":{}}}", Value::from(message.as_str()))
        });
        let refused = refused.collect::<Vec<_>>().join(",");
        format!("{{\"imported\":{},\"known\":{},\"refused\":[{refused}]}}", self.imported, self.known)
    }
}

redacted_debug!(ImportItem);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    key: Option<String>,
    #[serde(borrow)]
    session: Option<&'a RawValue>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    table: Option<String>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
}

impl ImportItem {
    /// Reads a JSON list of items. Each is read alone: one that is wrong keeps no other out.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] where it is no list, or one of more than 100,000.
    pub fn list(json: &str) -> Result<Vec<Result<ImportItem, Error>>, Error> {
        let items: Vec<&RawValue> =
            serde_json::from_str(json).map_err(|_| Error::invalid("items", "must be a JSON list"))?;
        if items.len() > MAX_ITEMS {
            return Err(Error::invalid("items", format!("must be at most {MAX_ITEMS}; make two imports")));
        }
        Ok(items.into_iter().map(|item| ImportItem::read(item.get())).collect())
    }

    fn read(json: &str) -> Result<ImportItem, Error> {
        let written: Written<'_> = from_json(json).map_err(|error| unreadable("item", &error))?;
        let (says, what) = match written {
            Written { session: Some(session), event: None, table: None, values: None, .. } => {
                let read = from_json(session.get()).map_err(|error| unreadable("session", &error))?;
                (said_by(session.get())?, ImportKind::Session(read))
            }
            Written { session: None, event: Some(event), table: None, values: None, .. } => {
                let read = from_json(event.get()).map_err(|error| unreadable("event", &error))?;
                (said_by(event.get())?, ImportKind::Event(read))
            }
            Written { session: None, event: None, table: Some(table), values: Some(values), .. } => {
                let values =
                    serde_json::from_str(values.get()).map_err(|error| unreadable("values", &error))?;
                (String::new(), ImportKind::Row { table, values })
            }
            _ => {
                let problem = "must have one of session, event, and table with values";
                return Err(Error::invalid("item", problem));
            }
        };
        Ok(ImportItem { key: written.key, says, what })
    }
}

fn said_by(json: &str) -> Result<String, Error> {
    let mut fields: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let is_said = |value: &Value| {
        let is_empty = value.as_array().is_some_and(Vec::is_empty);
        !(value.is_null() || *value == 0 || *value == false || is_empty)
    };
    // Removed one by one: a tree's `retain` comes with each closure once more.
    let unsaid = fields.iter().filter(|(name, value)| *name == "id" || !is_said(value));
    let unsaid: Vec<String> = unsaid.map(|(name, _)| name.clone()).collect();
    for name in unsaid {
        fields.remove(&name);
    }
    serde_json::to_string(&fields).map_err(|_| Error::Internal("an import is not JSON"))
}

/// The parser's own words quote what was written: only names of fields are repeated.
fn unreadable(part: &'static str, error: &serde_json::Error) -> Error {
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(words, _)| words);
    let names_a_field = ["unknown field", "missing field", "duplicate field"];
    if names_a_field.iter().any(|kind| said.starts_with(kind)) {
        Error::invalid(part, said)
    } else {
        Error::invalid(part, "has a value of the wrong kind")
    }
}
