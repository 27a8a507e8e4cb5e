//! The tables that Marea mirrors or pushes to: those with code of their own, and those of the catalogue, by name.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A table that Marea mirrors or pushes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Table {
    /// The app's sessions (pushed, never pulled).
    Sessions,
    /// Awards that belong to no session (pushed, never pulled).
    ProgressEvents,
    /// One row per user.
    UserProgress,
    /// One row per user and local day.
    DailyActivity,
    /// Exports that the learner asked for.
    ExportHistory,
    /// Sealed API keys, one row per user.
    UserApiKeys,
    /// One of the catalogue.
    Mirrored(TableName),
}

#[cfg(feature = "tsify")]
#[wasm_bindgen::prelude::wasm_bindgen(typescript_custom_section)]
const TABLE_TYPE: &str = r#"
/** A table that Marea mirrors or pushes to: one with a place of its own in this API, or one of the catalogue, by its name. */
export type Table = "sessions" | "progress_events" | "user_progress" | "daily_activity" | "export_history" | "user_api_keys" | (string & {});
"#;

/// The name of a table of the catalogue: 1 to 63 of `a` to `z`, `0` to `9` and `_`, no digit first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName(&'static str);

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How a table's rows come to be, which decides how what the server sends is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableKind {
    /// Rows are facts: pushed, and mirrored as registers only where the catalogue has their table.
    Events,
    /// Rows are computed from facts.
    Fold,
    /// Rows are written column by column.
    Registers,
}

/// Names are kept for as long as the program runs, so that a table is as small as a number. A server that made up names without
/// end would fill the memory: more than this are not taken.
const MAX_NAMES: usize = 20_000;

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

impl Table {
    const BUILTIN: [Table; 6] = [
        Table::Sessions,
        Table::ProgressEvents,
        Table::UserProgress,
        Table::DailyActivity,
        Table::ExportHistory,
        Table::UserApiKeys,
    ];

    /// The name on the wire and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Table::Sessions => "sessions",
            Table::ProgressEvents => "progress_events",
            Table::UserProgress => "user_progress",
            Table::DailyActivity => "daily_activity",
            Table::ExportHistory => "export_history",
            Table::UserApiKeys => "user_api_keys",
            Table::Mirrored(TableName(name)) => name,
        }
    }

    /// The built-in table of a name; `None` for one that this version has no code for.
    pub fn from_name(name: &str) -> Option<Table> {
        Table::BUILTIN.into_iter().find(|table| table.name() == name)
    }

    /// The table of a name, built-in or not; `None` where no table can have it.
    pub fn named(name: &str) -> Option<Table> {
        Table::from_name(name).or_else(|| intern(name).map(Table::Mirrored))
    }

    /// Whether its rows are mirrored only where a catalogue describes them.
    pub(crate) fn is_of_catalogue(self) -> bool {
        matches!(self, Table::Sessions | Table::Mirrored(_))
    }

    /// Of a table that is not mirrored, or is built in: see `Shapes::kind`.
    pub(crate) fn kind(self) -> TableKind {
        match self {
            Table::Sessions | Table::ProgressEvents => TableKind::Events,
            Table::UserProgress | Table::DailyActivity => TableKind::Fold,
            Table::ExportHistory | Table::UserApiKeys | Table::Mirrored(_) => TableKind::Registers,
        }
    }
}

fn intern(name: &str) -> Option<TableName> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let is_name = name.bytes().next().is_some_and(is_letter)
        && name.len() <= 63
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit());
    if !is_name {
        return None;
    }
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Some(TableName(known));
    }
    if names.len() >= MAX_NAMES {
        return None;
    }
    let kept: &'static str = Box::leak(name.into());
    names.insert(kept);
    Some(TableName(kept))
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Table::named(&name).ok_or_else(|| de::Error::custom("no table can have this name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_its_name() {
        for name in ["sessions", "vocabulary_items", "_a1"] {
            let table = Table::named(name).unwrap();
            assert_eq!((table.name(), Table::named(name)), (name, Some(table)));
            let json = serde_json::to_string(&table).unwrap();
            assert_eq!(
                (json.clone(), serde_json::from_str(&json).ok()),
                (format!("\"{name}\""), Some(table))
            );
        }
        assert!(matches!(Table::named("vocabulary_items"), Some(Table::Mirrored(_))));
        assert_eq!(Table::named("export_history"), Some(Table::ExportHistory));
        for wrong in ["", "Words", "1a", "a b", "a\"b", &"a".repeat(64)] {
            assert_eq!(Table::named(wrong), None, "{wrong}");
        }
    }
}
