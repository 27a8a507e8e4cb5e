//! Exports as a first sync brings them: column by column, bound for SQLite straight from the JSON they came in.
//!
//! A page has 2,000 of them. A map of columns for each would cost more than writing the row.

use std::collections::{BTreeMap, HashSet};

use rusqlite::params_from_iter;
use rusqlite::types::{ToSqlOutput, Value as SqlValue};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::model::{Clocks, RegisterRow, Table};
use crate::store::Rows;
use crate::store::registers::{Kind, ends, is_null, required, shape};

/// Rows of one table, column by column: as many values of each. What `clocks` holds are the rows' register clocks.
pub(crate) type PackedRows<'a> = BTreeMap<&'a str, Vec<&'a RawValue>>;

/// The columns of a mirrored table, as far as they came.
pub(crate) struct Packing<'p, 'a> {
    columns: Vec<Column<'p, 'a>>,
}

struct Column<'p, 'a> {
    kind: Kind,
    is_required: bool,
    values: Option<&'p [&'a RawValue]>,
}

/// A row that fits the mirror, ready to be written. Its values lie in the answer.
pub(crate) struct PackedRow<'a> {
    key: &'a str,
    bound: Vec<ToSqlOutput<'a>>,
    pub(crate) clocks: Clocks,
}

impl<'p, 'a> Packing<'p, 'a> {
    /// `None` when one column has more values than another, or the table has no registers.
    pub(crate) fn new(table: Table, came: &'p PackedRows<'a>) -> Option<Packing<'p, 'a>> {
        let rows = came.values().next().map_or(0, Vec::len);
        if came.values().any(|values| values.len() != rows) {
            return None;
        }
        let columns = shape(table).ok()?.columns.iter().map(|(name, kind)| Column {
            kind: *kind,
            is_required: required(table).contains(name),
            values: came.get(name).map(Vec::as_slice),
        });
        Some(Packing { columns: columns.collect() })
    }

    /// Binds one row. `None` when a value does not fit its column, or a required one is missing.
    pub(crate) fn bind(&self, row: usize, clocks: Clocks) -> Option<PackedRow<'a>> {
        let key = unquoted(self.columns.first()?.values?.get(row)?.get())?;
        let mut bound = Vec::with_capacity(self.columns.len() + 1);
        for Column { kind, is_required, values } in &self.columns {
            let value = match values {
                Some(values) => kind.bind_raw(values.get(row)?.get())?,
                None => ToSqlOutput::Owned(SqlValue::Null),
            };
            if *is_required && is_null(&value) {
                return None;
            }
            bound.push(value);
        }
        let stamps = if clocks.is_empty() { "{}".to_owned() } else { serde_json::to_string(&clocks).ok()? };
        bound.push(ToSqlOutput::Owned(SqlValue::Text(stamps)));
        Some(PackedRow { key, bound, clocks })
    }
}

impl Kind {
    /// As `bind`, from JSON text.
    fn bind_raw(self, json: &str) -> Option<ToSqlOutput<'_>> {
        if json == "null" {
            return Some(ToSqlOutput::Owned(SqlValue::Null));
        }
        if let Some(plain) = unquoted(json) {
            return self.bind_text(plain);
        }
        let value: Value = serde_json::from_str(json).ok()?;
        Some(match self.bind(Some(&value))? {
            ToSqlOutput::Owned(value) => ToSqlOutput::Owned(value),
            ToSqlOutput::Borrowed(value) => ToSqlOutput::Owned(value.try_into().ok()?),
            _ => return None,
        })
    }
}

/// The text that a JSON string holds, if it is written as it is.
fn unquoted(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"').filter(|plain| !plain.contains('\\'))
}

impl PackedRow<'_> {
    /// The row's key: the first column.
    pub(crate) fn key(&self) -> &str {
        self.key
    }

    /// The row with its columns' names, for the few that local writes lie on.
    pub(crate) fn to_register(&self, table: Table) -> Result<RegisterRow, Error> {
        let shape = shape(table)?;
        let columns = shape.columns.iter().zip(&self.bound);
        let named = columns.map(|((name, kind), value)| Ok(((*name).to_owned(), kind.value(ends(value))?)));
        Ok(RegisterRow { values: named.collect::<Result<_, Error>>()?, clocks: self.clocks.clone() })
    }
}

impl Rows<'_> {
    /// Writes a visible row that no local write lies on.
    pub(crate) fn put_packed(self, table: Table, row: &PackedRow<'_>) -> Result<(), Error> {
        self.connection.prepare_cached(shape(table)?.put)?.execute(params_from_iter(&row.bound))?;
        Ok(())
    }

    /// The rows of a table that local writes lie on.
    pub(crate) fn shadowed(self, table: Table) -> Result<HashSet<String>, Error> {
        let sql = "SELECT row_key FROM shadow_rows WHERE table_name = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let keys = statement.query_map([table.name()], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }
}
