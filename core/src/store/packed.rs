//! Rows as a first sync brings them: column by column, bound for SQLite straight from the JSON they came in.
//!
//! A page has 2,000 of them. A map of columns for each would cost more than writing the row.
//!
//! A value that does not fit its column costs only itself, here and where rows come by their columns' names: it is none, and it
//! is named. Only a row whose key cannot be read is left out. One value of one row once kept a user's devices from ever syncing.

use std::borrow::Cow;
use std::collections::BTreeSet;

use rusqlite::params_from_iter;
use rusqlite::types::{ToSqlOutput, Value as SqlValue};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::catalogue::Column;
use crate::error::Error;
use crate::model::{Clocks, FewMap, RegisterRow, Table};
use crate::store::Rows;
use crate::store::shapes::Shape;
use crate::store::values::{ends, is_null, unquoted};

/// Rows of one table, column by column: as many values of each. What `clocks` holds are the rows' register clocks. A name with a quote in
/// it stands escaped in the answer, and cannot be borrowed from there.
pub(crate) type PackedRows<'a> = FewMap<String, Vec<&'a RawValue>>;

/// The columns of a mirrored table, as far as they came.
pub(crate) struct Packing<'p, 'a> {
    shape: &'p Shape,
    /// As many as the table has columns.
    values: Vec<Option<&'p [&'a RawValue]>>,
}

/// A row that fits the mirror, ready to be written. Its values lie in the answer.
pub(crate) struct PackedRow<'a> {
    key: Cow<'a, str>,
    bound: Vec<ToSqlOutput<'a>>,
    pub(crate) clocks: Clocks,
}

impl<'p, 'a> Packing<'p, 'a> {
    /// `None` when one column has more values than another.
    pub(crate) fn new(shape: &'p Shape, came: &'p PackedRows<'a>) -> Option<Packing<'p, 'a>> {
        let rows = came.values().next().map_or(0, Vec::len);
        if came.values().any(|values| values.len() != rows) {
            return None;
        }
        let values = shape.table.columns.iter().map(|column| came.get(&column.name).map(Vec::as_slice));
        Some(Packing { shape, values: values.collect() })
    }

    /// Binds one row. `None` when it has no key that can be read. The columns that cannot be read are added to `unreadable`.
    pub(crate) fn bind(
        &self,
        row: usize,
        clocks: Clocks,
        unreadable: &mut Vec<String>,
    ) -> Option<PackedRow<'a>> {
        let (first, rest) = self.values.split_first()?;
        let (key_column, columns) = self.shape.table.columns.split_first()?;
        let json = first.as_ref()?.get(row)?.get();
        let key = text_of(json)?;
        let mut bound = Vec::with_capacity(self.values.len() + 1);
        bound.push(key_column.kind.bind_raw(json).filter(|value| !is_null(value))?);
        for (column, values) in columns.iter().zip(rest) {
            let raw = values.and_then(|values| values.get(row)).map(|raw| raw.get());
            bound.push(self.shape.bind_or_none(column, raw, unreadable));
        }
        let stamps = if clocks.is_empty() { "{}".to_owned() } else { serde_json::to_string(&clocks).ok()? };
        bound.push(ToSqlOutput::Owned(SqlValue::Text(stamps)));
        Some(PackedRow { key, bound, clocks })
    }
}

/// Reads a row that came by its columns' names: its key, its columns, and those that cannot be read. `None` when it has
/// no key.
pub(crate) fn read_register(
    shape: &Shape,
    came: &FewMap<String, &RawValue>,
) -> Option<(String, Map<String, Value>, Vec<String>)> {
    let key_column = shape.table.key();
    let key = text_of(came.get(&key_column.name)?.get())?;
    key_column.kind.bind_text(&key)?;
    let (mut values, mut unreadable) = (Map::new(), Vec::new());
    for column in &shape.table.columns {
        let raw = came.get(&column.name).map(|raw| raw.get());
        let bound = shape.bind_or_none(column, raw, &mut unreadable);
        values.insert(column.name.clone(), column.kind.value(ends(&bound)).ok()?);
    }
    Some((key.into_owned(), values, unreadable))
}

impl Shape {
    /// What cannot be read, or is missing where a value is required, is none and named.
    fn bind_or_none<'j>(
        &self,
        column: &Column,
        json: Option<&'j str>,
        unreadable: &mut Vec<String>,
    ) -> ToSqlOutput<'j> {
        let (kind, is_required) = (column.kind, self.requires(column));
        let bound = json.map_or(Some(kind.none(false)), |json| kind.bind_raw(json));
        match bound {
            Some(bound) if !(is_required && is_null(&bound)) => bound,
            _ => {
                unreadable.push(column.name.clone());
                kind.none(is_required)
            }
        }
    }
}

/// The text that a JSON string holds.
fn text_of(json: &str) -> Option<Cow<'_, str>> {
    match unquoted(json) {
        Some(plain) => Some(Cow::Borrowed(plain)),
        None => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
    }
}

impl PackedRow<'_> {
    /// The row's key: the first column.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The row with its columns' names, for the few that local writes lie on.
    pub(crate) fn to_register(&self, shape: &Shape) -> Result<RegisterRow, Error> {
        let columns = shape.table.columns.iter().zip(&self.bound);
        let named = columns.map(|(column, value)| Ok((column.name.clone(), column.kind.value(ends(value))?)));
        Ok(RegisterRow { values: named.collect::<Result<_, Error>>()?, clocks: self.clocks.clone() })
    }
}

impl Rows<'_> {
    /// Writes a visible row that no local write lies on.
    pub(crate) fn put_packed(self, shape: &Shape, row: &PackedRow<'_>) -> Result<(), Error> {
        self.connection.prepare_cached(&shape.put)?.execute(params_from_iter(&row.bound))?;
        Ok(())
    }

    /// The rows of a table that local writes lie on.
    pub(crate) fn shadowed(self, table: Table) -> Result<BTreeSet<String>, Error> {
        let sql = "SELECT row_key FROM shadow_rows WHERE table_name = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let keys = statement.query_map([table.name()], |row| row.get(0))?;
        // Put in one by one: collecting would bring a sort along (docs/adr/0050-what-the-browser-downloads.md).
        let mut found = BTreeSet::new();
        for key in keys {
            found.insert(key?);
        }
        Ok(found)
    }
}
