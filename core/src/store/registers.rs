//! Register rows: the visible ones (`export_history`, `user_api_keys`) and the server's behind them (`shadow_rows`).

use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{OptionalExtension, Row, ToSql, params, params_from_iter};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::Error;
use crate::model::{KeyEnvelope, RegisterRow, Table, Timestamp};
use crate::planted::{self, Fault};
use crate::store::{Rows, stored};

/// How a column's JSON value is kept in SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A UUID.
    Id,
    /// A UUID, of which the bytes are kept.
    IdBytes,
    /// An instant. `infinity` is none: always and never have no date.
    Instant,
    /// A sealed key.
    Envelope,
    Integer,
    /// Text on the wire, because a JavaScript number cannot hold it; an integer here.
    BigInt,
    Json,
}

/// A register table's columns, key first, `clocks` left out.
pub(super) struct Shape {
    pub(super) columns: &'static [(&'static str, Kind)],
    pub(super) put: &'static str,
    get: &'static str,
    delete: &'static str,
    sweep: &'static str,
}

const EXPORTS: Shape = Shape {
    columns: &[
        ("id", Kind::IdBytes),
        ("export_type", Kind::Text),
        ("export_format", Kind::Text),
        ("status", Kind::Text),
        ("records_count", Kind::Integer),
        ("file_size_bytes", Kind::BigInt),
        ("file_url", Kind::Text),
        ("filters", Kind::Json),
        ("data", Kind::Json),
        ("error_message", Kind::Text),
        ("retry_count", Kind::Integer),
        ("started_at", Kind::Instant),
        ("completed_at", Kind::Instant),
        ("processing_time_seconds", Kind::Integer),
        ("expires_at", Kind::Instant),
        ("created_at", Kind::Instant),
        ("updated_at", Kind::Instant),
    ],
    put: "INSERT OR REPLACE INTO export_history (id, export_type, export_format, status, records_count,
            file_size_bytes, file_url, filters, data, error_message, retry_count, started_at, completed_at,
            processing_time_seconds, expires_at, created_at, updated_at, clocks)
          VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    get: "SELECT id, export_type, export_format, status, records_count, file_size_bytes, file_url, filters, data,
            error_message, retry_count, started_at, completed_at, processing_time_seconds, expires_at, created_at,
            updated_at, clocks
          FROM export_history WHERE id = ?1",
    delete: "DELETE FROM export_history WHERE id = ?1",
    sweep: "DELETE FROM export_history
            WHERE id NOT IN (SELECT unhex(row_key, '-') FROM refilled_rows WHERE table_name = 'export_history')
              AND id NOT IN (SELECT unhex(row_key, '-') FROM shadow_rows WHERE table_name = 'export_history')
            RETURNING id",
};

const KEYS: Shape = Shape {
    columns: &[
        ("user_id", Kind::Id),
        ("id", Kind::Text),
        ("openai_api_key", Kind::Envelope),
        ("unsplash_api_key", Kind::Envelope),
        ("anthropic_api_key", Kind::Envelope),
        ("last_validated_at", Kind::Instant),
        ("created_at", Kind::Instant),
        ("updated_at", Kind::Instant),
    ],
    put: "INSERT OR REPLACE INTO user_api_keys (user_id, id, openai_api_key, unsplash_api_key, anthropic_api_key,
            last_validated_at, created_at, updated_at, clocks)
          VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    get: "SELECT user_id, id, openai_api_key, unsplash_api_key, anthropic_api_key, last_validated_at, created_at,
            updated_at, clocks
          FROM user_api_keys WHERE user_id = ?1",
    delete: "DELETE FROM user_api_keys WHERE user_id = ?1",
    sweep: "DELETE FROM user_api_keys
            WHERE NOT EXISTS (SELECT 1 FROM refilled_rows WHERE table_name = 'user_api_keys' AND row_key = user_id)
              AND NOT EXISTS (SELECT 1 FROM shadow_rows WHERE table_name = 'user_api_keys' AND row_key = user_id)
            RETURNING user_id",
};

impl Shape {
    /// A row's key for SQLite; `None` when no row can have it.
    fn key<'k>(&self, key: &'k str) -> Option<ToSqlOutput<'k>> {
        let (_, kind) = self.columns.first()?;
        kind.bind_text(key)
    }
}

/// The shape of a register table; others never get here.
pub(super) fn shape(table: Table) -> Result<&'static Shape, Error> {
    match table {
        Table::ExportHistory => Ok(&EXPORTS),
        Table::UserApiKeys => Ok(&KEYS),
        _ => Err(Error::Internal("a table without registers was asked for its registers")),
    }
}

impl Kind {
    /// The value for SQLite; `None` when the JSON does not fit the column.
    pub(super) fn bind(self, value: Option<&Value>) -> Option<ToSqlOutput<'_>> {
        let owned = |value: SqlValue| ToSqlOutput::Owned(value);
        match (self, value) {
            (_, None | Some(Value::Null)) => Some(owned(SqlValue::Null)),
            (kind, Some(Value::String(text))) => kind.bind_text(text),
            (Kind::Integer | Kind::BigInt, Some(Value::Number(number))) => {
                number.as_i64().map(|n| owned(SqlValue::Integer(n)))
            }
            (Kind::Json, Some(json)) => Some(owned(SqlValue::Text(json.to_string()))),
            _ => None,
        }
    }

    /// The value for SQLite of a text; `None` when it does not read as what the column holds.
    pub(super) fn bind_text(self, text: &str) -> Option<ToSqlOutput<'_>> {
        let as_it_is = ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()));
        let owned = match self {
            Kind::Text => return Some(as_it_is),
            Kind::Id => return uuid(text).map(|_| as_it_is),
            Kind::IdBytes => SqlValue::Blob(uuid(text)?.as_bytes().to_vec()),
            Kind::Envelope => return text.parse::<KeyEnvelope>().is_ok().then_some(as_it_is),
            Kind::Instant if matches!(text, "infinity" | "-infinity") => SqlValue::Null,
            Kind::Instant => SqlValue::Text(text.parse::<Timestamp>().ok()?.to_string()),
            Kind::BigInt => SqlValue::Integer(text.parse().ok()?),
            Kind::Json => SqlValue::Text(Value::from(text).to_string()),
            Kind::Integer => return None,
        };
        Some(ToSqlOutput::Owned(owned))
    }

    /// What stands in a column that has no value: nothing, or in a required one what comes before all else.
    pub(super) fn none(self, is_required: bool) -> ToSqlOutput<'static> {
        ToSqlOutput::Owned(match self {
            Kind::Text if is_required => SqlValue::Text(String::new()),
            Kind::Instant if is_required => SqlValue::Text(Timestamp::EARLIEST.to_string()),
            _ => SqlValue::Null,
        })
    }

    /// The JSON value of what SQLite holds.
    pub(super) fn value(self, kept: ValueRef<'_>) -> Result<Value, Error> {
        Ok(match (self, kept) {
            (_, ValueRef::Null) => Value::Null,
            (Kind::BigInt, ValueRef::Integer(number)) => Value::from(number.to_string()),
            (_, ValueRef::Integer(number)) => Value::from(number),
            (Kind::Json, ValueRef::Text(text)) => stored(serde_json::from_slice(text).ok())?,
            (_, ValueRef::Text(text)) => Value::from(stored(std::str::from_utf8(text).ok())?),
            (Kind::IdBytes, ValueRef::Blob(bytes)) => {
                Value::from(stored(Uuid::from_slice(bytes).ok())?.to_string())
            }
            _ => return Err(Error::Internal("the mirror holds a value that it cannot hold")),
        })
    }
}

/// A UUID, if it is written as Postgres writes it: as one text it would be another key.
fn uuid(text: &str) -> Option<Uuid> {
    text.parse::<Uuid>().ok().filter(|id| id.to_string() == text)
}

/// What is bound for SQLite, as it will be read.
pub(super) fn ends<'v>(value: &'v ToSqlOutput<'_>) -> ValueRef<'v> {
    match value {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(value) => value.into(),
        _ => ValueRef::Null,
    }
}

pub(super) fn is_null(value: &ToSqlOutput<'_>) -> bool {
    ends(value) == ValueRef::Null
}

/// The columns that every row has a value in.
pub(super) fn required(table: Table) -> &'static [&'static str] {
    match table {
        Table::ExportHistory => &["id", "export_type", "export_format", "status", "created_at"],
        _ => &["user_id"],
    }
}

impl Rows<'_> {
    /// Writes a visible row, or takes it away.
    pub(crate) fn put_register(
        self,
        table: Table,
        key: &str,
        row: Option<&RegisterRow>,
    ) -> Result<(), Error> {
        let shape = shape(table)?;
        let Some(row) = row else {
            if let Some(key) = shape.key(key) {
                self.connection.prepare_cached(shape.delete)?.execute([key])?;
            }
            return Ok(());
        };
        let clocks = ToSqlOutput::Owned(SqlValue::Text(stored(serde_json::to_string(&row.clocks).ok())?));
        // What an older version kept may not be what this one reads: that column is none then, and the row is there.
        let values = shape.columns.iter().map(|(name, kind)| {
            let bound = kind.bind(row.values.get(*name));
            bound.filter(|bound| !is_null(bound)).unwrap_or_else(|| kind.none(required(table).contains(name)))
        });
        let bound: Vec<ToSqlOutput<'_>> = values.chain([clocks]).collect();
        self.connection.prepare_cached(shape.put)?.execute(params_from_iter(bound))?;
        Ok(())
    }

    /// A visible row.
    pub(crate) fn register(self, table: Table, key: &str) -> Result<Option<RegisterRow>, Error> {
        let shape = shape(table)?;
        let Some(key) = shape.key(key) else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(shape.get)?;
        statement.query_row([key], |row| Ok(read_register(shape, row))).optional()?.transpose()
    }

    /// A page of visible exports, newest first, after a key.
    pub(crate) fn exports(
        self,
        status: Option<&str>,
        export_type: Option<&str>,
        after: Option<(&str, &str)>,
        limit: u32,
    ) -> Result<Vec<Map<String, Value>>, Error> {
        let sql = "SELECT id, export_type, export_format, status, records_count, file_size_bytes, file_url, filters,
                     data, error_message, retry_count, started_at, completed_at, processing_time_seconds, expires_at,
                     created_at, updated_at, clocks
                   FROM export_history
                   WHERE (created_at, id) < (coalesce(?1, '~'), ?2)
                     AND (?3 IS NULL OR status = ?3) AND (?4 IS NULL OR export_type = ?4)
                   ORDER BY created_at DESC, id DESC LIMIT ?5";
        let (created_at, id) = after.unzip();
        let id = id.and_then(|id| EXPORTS.key(id));
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![created_at, id, status, export_type, limit])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read_register(&EXPORTS, row)?.values);
        }
        Ok(found)
    }

    /// What the server has of a row with unreflected mutations: `None` when there is no shadow, `Some(None)` when the
    /// server has no such row.
    pub(crate) fn shadow(self, table: Table, key: &str) -> Result<Option<Option<RegisterRow>>, Error> {
        let sql = "SELECT value_json, clock_json FROM shadow_rows WHERE table_name = ?1 AND row_key = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found: Option<(Option<String>, String)> =
            statement.query_row([table.name(), key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        found
            .map(|(values, clocks)| match values {
                None => Ok(None),
                Some(values) => Ok(Some(RegisterRow {
                    values: stored(serde_json::from_str(&values).ok())?,
                    clocks: stored(serde_json::from_str(&clocks).ok())?,
                })),
            })
            .transpose()
    }

    pub(crate) fn put_shadow(self, table: Table, key: &str, row: Option<&RegisterRow>) -> Result<(), Error> {
        let sql = "INSERT OR REPLACE INTO shadow_rows (table_name, row_key, value_json, clock_json) VALUES (?1, ?2, ?3, ?4)";
        let values = row.map(|row| Value::from(row.values.clone()).to_string());
        let clocks = stored(serde_json::to_string(&row.map(|row| &row.clocks)).ok())?;
        let clocks = if row.is_some() { clocks } else { "{}".to_owned() };
        let bound: [&dyn ToSql; 4] = [&table.name(), &key, &values, &clocks];
        self.connection.prepare_cached(sql)?.execute(bound)?;
        Ok(())
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

    /// Takes away the visible rows that have not come, and notes for shadowed ones that the server has them no more.
    /// Returns both.
    pub(crate) fn sweep_registers(self) -> Result<Vec<(Table, String)>, Error> {
        let mut swept = Vec::new();
        for table in [Table::ExportHistory, Table::UserApiKeys] {
            let shape = shape(table)?;
            let mut statement = self.connection.prepare(shape.sweep)?;
            let mut rows = statement.query([])?;
            while let (Some(row), Some((_, key))) = (rows.next()?, shape.columns.first()) {
                let key = key.value(row.get_ref(0)?)?;
                if !planted::is(Fault::SweptNotTold) {
                    swept.push((table, stored(key.as_str())?.to_owned()));
                }
            }
        }
        let sql = "UPDATE shadow_rows SET value_json = NULL, clock_json = '{}'
                   WHERE NOT EXISTS (SELECT 1 FROM refilled_rows AS r
                     WHERE r.table_name = shadow_rows.table_name AND r.row_key = shadow_rows.row_key)
                   RETURNING table_name, row_key";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (name, key): (String, String) = (row.get(0)?, row.get(1)?);
            swept.push((stored(Table::from_name(&name))?, key));
        }
        Ok(swept)
    }
}

fn read_register(shape: &Shape, row: &Row<'_>) -> Result<RegisterRow, Error> {
    let mut values = Map::new();
    for (index, (name, kind)) in shape.columns.iter().enumerate() {
        values.insert((*name).to_owned(), kind.value(row.get_ref(index)?)?);
    }
    let clocks: String = row.get(shape.columns.len())?;
    Ok(RegisterRow { values, clocks: stored(serde_json::from_str(&clocks).ok())? })
}
