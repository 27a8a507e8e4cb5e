//! Rows that are written column by column: the visible ones, and the server's behind them (`shadow_rows`).

use rusqlite::types::{ToSqlOutput, Value as SqlValue};
use rusqlite::{OptionalExtension, Row, ToSql, params_from_iter};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::{RegisterRow, Table};
use crate::planted::{self, Fault};
use crate::store::shapes::Shape;
use crate::store::values::is_null;
use crate::store::{Rows, stored};

/// What the server has of a row that local writes lie on.
pub(crate) struct Shadow {
    /// `None`: the server has no such row.
    pub(crate) row: Option<RegisterRow>,
    /// Counters that arrived while it is not certain which additions they contain. Of a fact that the server has not: there where it has
    /// said that the fact is gone.
    pub(crate) held: Option<Map<String, Value>>,
}

impl Rows<'_> {
    /// Writes a visible row, or takes it away.
    pub(crate) fn put_register(
        self,
        table: Table,
        key: &str,
        row: Option<&RegisterRow>,
    ) -> Result<(), Error> {
        let Some(shape) = self.shapes.get(table) else { return Ok(()) };
        let Some(row) = row else {
            if let Some(key) = shape.key(key) {
                self.connection.prepare_cached(&shape.delete)?.execute([key])?;
            }
            return Ok(());
        };
        let clocks = ToSqlOutput::Owned(SqlValue::Text(stored(serde_json::to_string(&row.clocks).ok())?));
        // What an older version kept may not be what this one reads: that column is none then, and the row is there.
        let values = shape.table.columns.iter().map(|column| {
            let bound = column.kind.bind(row.values.get(&column.name));
            bound.filter(|bound| !is_null(bound)).unwrap_or_else(|| column.kind.none(shape.requires(column)))
        });
        let bound: Vec<ToSqlOutput<'_>> = values.chain([clocks]).collect();
        self.connection.prepare_cached(&shape.put)?.execute(params_from_iter(bound))?;
        Ok(())
    }

    /// A visible row.
    pub(crate) fn register(self, table: Table, key: &str) -> Result<Option<RegisterRow>, Error> {
        let Some(shape) = self.shapes.get(table) else { return Ok(None) };
        let Some(key) = shape.key(key) else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(&shape.get)?;
        statement.query_row([key], |row| Ok(read_register(shape, row))).optional()?.transpose()
    }

    /// What the server has of a row with unreflected mutations: `None` when there is no shadow.
    pub(crate) fn shadow(self, table: Table, key: &str) -> Result<Option<Shadow>, Error> {
        let sql = "SELECT value_json, clock_json, held_json FROM shadow_rows WHERE table_name = ?1 AND row_key = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found: Option<(Option<String>, String, Option<String>)> = statement
            .query_row([table.name(), key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((values, clocks, held)) = found else { return Ok(None) };
        let row = match values {
            None => None,
            Some(values) => Some(RegisterRow {
                values: stored(serde_json::from_str(&values).ok())?,
                clocks: stored(serde_json::from_str(&clocks).ok())?,
            }),
        };
        let held = held.map(|held| stored(serde_json::from_str(&held).ok())).transpose()?;
        Ok(Some(Shadow { row, held }))
    }

    pub(crate) fn put_shadow(self, table: Table, key: &str, shadow: &Shadow) -> Result<(), Error> {
        let sql =
            "INSERT OR REPLACE INTO shadow_rows (table_name, row_key, value_json, clock_json, held_json)
                   VALUES (?1, ?2, ?3, ?4, ?5)";
        let text = |values: &Map<String, Value>| stored(serde_json::to_string(values).ok());
        let values = shadow.row.as_ref().map(|row| text(&row.values)).transpose()?;
        let clocks = shadow.row.as_ref().map(|row| stored(serde_json::to_string(&row.clocks).ok()));
        let clocks = clocks.transpose()?.unwrap_or_else(|| "{}".to_owned());
        let held = shadow.held.as_ref().map(text).transpose()?;
        let bound: [&dyn ToSql; 5] = [&table.name(), &key, &values, &clocks, &held];
        self.connection.prepare_cached(sql)?.execute(bound)?;
        Ok(())
    }

    /// The rows that have a shadow.
    pub(crate) fn all_shadowed(self) -> Result<Vec<(Table, String)>, Error> {
        self.rows_named("SELECT table_name, row_key FROM shadow_rows")
    }

    /// The rows that a statement names, by table and key.
    pub(super) fn rows_named(self, sql: &str) -> Result<Vec<(Table, String)>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, key): (String, String) = (row.get(0)?, row.get(1)?);
            found.push((stored(Table::named(&name))?, key));
        }
        Ok(found)
    }

    pub(crate) fn remove_shadow(self, table: Table, key: &str) -> Result<(), Error> {
        let sql = "DELETE FROM shadow_rows WHERE table_name = ?1 AND row_key = ?2";
        self.connection.prepare_cached(sql)?.execute([table.name(), key])?;
        Ok(())
    }

    /// Notes that a register row has come while everything is pulled anew.
    pub(crate) fn mark_refilled(self, table: Table, key: &str) -> Result<(), Error> {
        let sql = "INSERT OR IGNORE INTO refilled_rows (table_name, row_key) VALUES (?1, ?2)";
        self.connection.prepare_cached(sql)?.execute([table.name(), key])?;
        Ok(())
    }

    pub(crate) fn clear_refilled(self) -> Result<(), Error> {
        self.connection.execute("DELETE FROM refilled_rows", [])?;
        Ok(())
    }

    /// Takes away the visible rows that have not come, and returns them; notes for shadowed ones that the server has them no more.
    pub(crate) fn sweep_registers(self) -> Result<Vec<(Table, String)>, Error> {
        let mut swept = Vec::new();
        for shape in self.shapes.iter() {
            let mut statement = self.connection.prepare(&shape.sweep)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let key = shape.table.key().kind.value(row.get_ref(0)?)?;
                if !planted::is(Fault::SweptNotTold) {
                    swept.push((shape.table.table, stored(key.as_str())?.to_owned()));
                }
            }
        }
        let sql = "UPDATE shadow_rows SET value_json = NULL, clock_json = '{}', held_json = NULL
                   WHERE NOT EXISTS (SELECT 1 FROM refilled_rows AS r
                     WHERE r.table_name = shadow_rows.table_name AND r.row_key = shadow_rows.row_key)";
        self.connection.execute(sql, [])?;
        Ok(swept)
    }
}

pub(super) fn read_register(shape: &Shape, row: &Row<'_>) -> Result<RegisterRow, Error> {
    let mut values = Map::new();
    for (index, column) in shape.table.columns.iter().enumerate() {
        values.insert(column.name.clone(), column.kind.value(row.get_ref(index)?)?);
    }
    let clocks: String = row.get(shape.table.columns.len())?;
    Ok(RegisterRow { values, clocks: stored(serde_json::from_str(&clocks).ok())? })
}
