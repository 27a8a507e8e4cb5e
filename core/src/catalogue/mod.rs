//! What the mirrored tables are: columns, types, merge rules, keys. One description, from Postgres; statements, checks and merges
//! are derived from it. Pure: no database, no clock.
//!
//! Deliberately absent: the fold (`merge/fold.rs`), which is code on both sides.

mod builtin;
mod check;
mod decimal;
mod parse;
mod table;
mod text_forms;

use crate::error::Error;
use crate::model::FewMap;

pub(crate) use builtin::builtin;
pub(crate) use decimal::{add_decimals, compare_decimals};
pub use parse::RESERVED_NAMES;
pub use table::Rule;
pub(crate) use table::{Column, ColumnType, MirroredTable};
pub(crate) use text_forms::timestamp_text;

/// The description of the mirrored tables, as `public.marea_catalogue()` gives it and `marea.schema.json` holds it.
#[derive(Clone)]
pub struct Catalogue {
    hash: String,
    json: String,
    tables: Vec<MirroredTable>,
    /// What enums of built-in tables may hold, by `table.column`.
    labels: FewMap<String, Vec<String>>,
}

impl Catalogue {
    /// Reads a catalogue. Tables and columns that this version does not know how to mirror, and tables that it has code of its
    /// own for, are left out.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for the field `schema`: what is not a catalogue, with the reason.
    pub fn parse(json: &str) -> Result<Catalogue, Error> {
        parse::parse(json)
    }

    /// Names the catalogue's content. Computed by the server; only compared.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The names of the tables, sorted.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|table| table.table.name())
    }

    /// The document that it was read from.
    pub fn to_json(&self) -> &str {
        &self.json
    }

    /// What a column of a built-in table may hold; `None` where that is not told: it is no enum, or the server is an older one.
    pub(crate) fn labels_of(&self, column: &str) -> Option<&[String]> {
        self.labels.get(column).map(Vec::as_slice).filter(|labels| !labels.is_empty())
    }

    pub(crate) fn mirrored(&self) -> &[MirroredTable] {
        &self.tables
    }

    /// The table of this name, if it is in the catalogue.
    #[cfg(feature = "planted-faults")]
    pub(crate) fn table(&self, table: crate::model::Table) -> Option<&MirroredTable> {
        self.tables.iter().find(|mirrored| mirrored.table == table)
    }
}

impl PartialEq for Catalogue {
    fn eq(&self, other: &Catalogue) -> bool {
        self.hash == other.hash && self.tables == other.tables
    }
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalogue").field("hash", &self.hash).finish_non_exhaustive()
    }
}
