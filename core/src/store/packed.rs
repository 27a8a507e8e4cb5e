//! Exports as a first sync brings them: column by column, bound for SQLite straight from the JSON they came in.
//!
//! A page has 2,000 of them. A map of columns for each would cost more than writing the row.
//!
//! A value that does not fit its column costs only itself, here and where rows come by their columns' names: it is none, and it
//! is named. Only a row whose key cannot be read is left out. One value of one row once kept a user's devices from ever syncing.

use std::collections::{BTreeMap, HashSet};

use rusqlite::params_from_iter;
use rusqlite::types::{ToSqlOutput, Value as SqlValue};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

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
    name: &'static str,
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
            name,
            kind: *kind,
            is_required: required(table).contains(name),
            values: came.get(name).map(Vec::as_slice),
        });
        Some(Packing { columns: columns.collect() })
    }

    /// Binds one row. `None` when it has no key that can be read. The columns that cannot be read are added to `unreadable`.
    pub(crate) fn bind(
        &self,
        row: usize,
        clocks: Clocks,
        unreadable: &mut Vec<&'static str>,
    ) -> Option<PackedRow<'a>> {
        let (key, rest) = self.columns.split_first()?;
        let json = key.values?.get(row)?.get();
        let mut bound = Vec::with_capacity(self.columns.len() + 1);
        bound.push(key.kind.bind_raw(json).filter(|value| !is_null(value))?);
        for Column { name, kind, is_required, values } in rest {
            let raw = values.and_then(|values| values.get(row)).map(|raw| raw.get());
            bound.push(kind.bind_or_none(name, *is_required, raw, unreadable));
        }
        let stamps = if clocks.is_empty() { "{}".to_owned() } else { serde_json::to_string(&clocks).ok()? };
        bound.push(ToSqlOutput::Owned(SqlValue::Text(stamps)));
        Some(PackedRow { key: unquoted(json)?, bound, clocks })
    }
}

/// The column that a register row is known by.
pub(crate) fn key_column(table: Table) -> &'static str {
    if table == Table::UserApiKeys { "user_id" } else { "id" }
}

/// Reads a register row that came by its columns' names: its key, its columns, and those that cannot be read. `None` when it has
/// no key.
pub(crate) fn read_register(
    table: Table,
    came: &BTreeMap<String, &RawValue>,
) -> Option<(String, Map<String, Value>, Vec<&'static str>)> {
    let shape = shape(table).ok()?;
    let (key_column, key_kind) = shape.columns.first()?;
    let json = came.get(*key_column)?.get();
    let key = unquoted(json).filter(|key| key_kind.bind_text(key).is_some())?;
    let (mut values, mut unreadable) = (Map::new(), Vec::new());
    for (name, kind) in shape.columns {
        let raw = came.get(*name).map(|raw| raw.get());
        let bound = kind.bind_or_none(name, required(table).contains(name), raw, &mut unreadable);
        values.insert((*name).to_owned(), kind.value(ends(&bound)).ok()?);
    }
    Some((key.to_owned(), values, unreadable))
}

impl Kind {
    /// As `bind_raw`; what cannot be read, or is missing where a value is required, is none and named.
    fn bind_or_none<'j>(
        self,
        name: &'static str,
        is_required: bool,
        json: Option<&'j str>,
        unreadable: &mut Vec<&'static str>,
    ) -> ToSqlOutput<'j> {
        let bound = json.map_or(Some(self.none(false)), |json| self.bind_raw(json));
        match bound {
            Some(bound) if !(is_required && is_null(&bound)) => bound,
            _ => {
                unreadable.push(name);
                self.none(is_required)
            }
        }
    }

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
