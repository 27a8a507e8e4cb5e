//! The app's own SQL, read only: one statement, the mirrored tables and nothing else, within bounds.
//!
//! SQLite's authorizer decides what a statement may read, statement by statement and column by column, and is part of the
//! connection from its opening on (`gate.rs`). What kind of statement it is, `statement.rs` looks at before SQLite does.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rusqlite::limits::Limit;
use rusqlite::types::{Value as Bound, ValueRef};
use rusqlite::{Connection, ErrorCode, Statement};
use serde::Serialize;
use serde_json::{Number, Value};

use crate::error::Error;
use crate::model::{Table, json_text};
use crate::store::Store;
use crate::store::gate::{Gate, Reading, SharedGate};
use crate::store::shapes::{Shape, quoted};
use crate::store::statement;

/// Integers beyond this do not survive JavaScript's numbers: they come as text.
const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// How many steps of SQLite's machine lie between two looks at the bounds: few, because a row costs a dozen and may be large.
const STEPS_A_LOOK: i32 = 100;

/// What SQLite itself bounds while a query runs. The greatest text or row is that of the whole result. The others keep its
/// recursive parts within the stack of a browser's worker, and a pattern from being looked for in a long text for minutes.
const SQLITE_LIMITS: [(Limit, i32); 6] = [
    (Limit::SQLITE_LIMIT_LENGTH, 16 << 20),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (Limit::SQLITE_LIMIT_PARSER_DEPTH, 200),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    (Limit::SQLITE_LIMIT_VDBE_OP, 100_000),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
];

/// What one query may cost. A query that needs more ends with [`Error::QueryLimit`], and gives nothing.
pub struct QueryLimits {
    /// Rows of the result.
    pub rows: u32,
    /// Bytes of the result's values.
    pub bytes: u64,
    /// Steps of SQLite's machine, a few dozen of which make a row: the engine has no clock.
    pub steps: u64,
    /// Bytes that SQLite may use beyond what it had: what it sorts, or gathers to find equal rows.
    pub memory: u64,
    /// Asked every hundred steps whether the query's time is over. Of a host, which has a clock.
    pub expired: Option<Box<dyn FnMut() -> bool + Send>>,
}

impl Default for QueryLimits {
    /// 10,000 rows, 16 MiB, 128 MiB to work with, and what takes one to some seconds; no clock.
    fn default() -> QueryLimits {
        QueryLimits { rows: 10_000, bytes: 16 << 20, steps: 100_000_000, memory: 128 << 20, expired: None }
    }
}

impl std::fmt::Debug for QueryLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut limits = f.debug_struct("QueryLimits");
        limits.field("rows", &self.rows).field("bytes", &self.bytes).field("steps", &self.steps);
        limits.finish_non_exhaustive()
    }
}

/// What a query has found.
#[derive(Clone, PartialEq, Serialize)]
pub struct QueryResult {
    /// The columns' names, as the statement gives them: there may be equal ones.
    pub columns: Vec<String>,
    /// The rows, each with a value for each column: null, numbers and texts. Integers beyond 2^53 are texts of digits, bytes
    /// are texts in base64, infinities are `"Infinity"` and `"-Infinity"`.
    pub rows: Vec<Vec<Value>>,
    /// The tables that were read, sorted: when one of them changes, the result may be another one.
    pub tables: Vec<String>,
}

impl std::fmt::Debug for QueryResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut result = f.debug_struct("QueryResult");
        result.field("columns", &self.columns).field("rows", &self.rows.len()).field("tables", &self.tables);
        result.finish()
    }
}

impl Store {
    /// Runs one read-only statement.
    pub(crate) fn query(
        &mut self,
        sql: &str,
        params: &[Value],
        limits: QueryLimits,
    ) -> Result<QueryResult, Error> {
        let sql = statement::only(sql)?;
        let exports = self.shapes.get(Table::ExportHistory);
        let sql = exports.map_or(sql.into(), |exports| exports.with_text_keys(sql));
        let own = [Table::UserProgress, Table::DailyActivity, Table::ExportHistory];
        let readable = own.into_iter().chain(self.shapes.mirrored()).map(Table::name).collect();
        let (rows, bytes) = (limits.rows, limits.bytes);
        let guard = Guard::close(&mut self.connection, &self.gate, Reading::new(readable, limits))?;
        let gate = guard.gate;
        let (columns, rows) = run(guard.connection, gate, &sql, params, rows, bytes)?;
        Ok(QueryResult { columns, rows, tables: gate.tables() })
    }
}

impl Shape {
    /// A statement in which the ids of the table are texts, as everywhere else: in the file only their bytes are. The file's own table
    /// is what a name with a schema means.
    fn with_text_keys<'s>(&self, sql: &'s str) -> Cow<'s, str> {
        let name = self.table.table.name();
        if !sql.to_ascii_lowercase().contains(name) || statement::defines(sql, name) {
            return sql.into();
        }
        let key = quoted(&self.table.key().name);
        let columns = self.columns.split_once(", ").map_or("", |(_, others)| others);
        let part = |from: u32, length: u32| format!("substr(hex({key}), {from}, {length})");
        let parts = [part(1, 8), part(9, 4), part(13, 4), part(17, 4), part(21, 12)].join(" || '-' || ");
        let rows = format!("{name} AS (SELECT lower({parts}) AS {key}, {columns} FROM main.{name})");
        statement::with(sql, &rows).into()
    }
}

/// While it lives the connection's gate is closed, and SQLite's limits are those of a query.
struct Guard<'c> {
    connection: &'c mut Connection,
    gate: &'c Gate,
    before: Vec<(Limit, i32)>,
}

impl<'c> Guard<'c> {
    fn close(
        connection: &'c mut Connection,
        gate: &'c SharedGate,
        reading: Reading,
    ) -> Result<Guard<'c>, Error> {
        let mut guard = Guard { connection, gate, before: Vec::new() };
        guard.keep_in_memory(true)?;
        for (limit, most) in SQLITE_LIMITS {
            guard.before.push((limit, guard.connection.set_limit(limit, most)?));
        }
        let watching = SharedGate::clone(gate);
        let before = memory_used();
        let look = move || watching.is_over(STEPS_A_LOOK, memory_used().saturating_sub(before));
        guard.connection.progress_handler(STEPS_A_LOOK, Some(look))?;
        gate.close(reading);
        Ok(guard)
    }

    /// What a query sorts is bounded with the memory, and no learner's row comes into a temporary file. (The browser's SQLite has
    /// none anyway.) The engine's own statements keep the files: for making room, when memory may be short.
    fn keep_in_memory(&self, in_memory: bool) -> Result<(), Error> {
        if cfg!(not(target_family = "wasm")) {
            let place = if in_memory { "MEMORY" } else { "DEFAULT" };
            self.connection.pragma_update(None, "temp_store", place)?;
        }
        Ok(())
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // None of these can fail on a connection that is open.
        let _ = self.connection.progress_handler(0, None::<fn() -> bool>);
        for (limit, before) in &self.before {
            let _ = self.connection.set_limit(*limit, *before);
        }
        self.gate.open();
        let _ = self.keep_in_memory(false);
    }
}

/// The bytes that SQLite uses in this program.
#[allow(unsafe_code)]
fn memory_used() -> u64 {
    // SAFETY: takes nothing, and may be called at any time from any thread.
    unsafe { rusqlite::ffi::sqlite3_memory_used() }.unsigned_abs()
}

type Found = (Vec<String>, Vec<Vec<Value>>);

fn run(
    connection: &Connection,
    gate: &Gate,
    sql: &str,
    params: &[Value],
    most_rows: u32,
    most_bytes: u64,
) -> Result<Found, Error> {
    let mut statement = connection.prepare(sql).map_err(|error| of_statement(error, gate))?;
    if !statement.readonly() {
        return Err(Error::refused("a query only reads"));
    }
    gate.runs(connection)?;
    bind(&mut statement, params)?;
    let named = statement.column_names().enumerate();
    let (places, columns): (Vec<usize>, Vec<String>) =
        named.filter(|(_, name)| !gate.hides(name)).map(|(place, name)| (place, name.to_owned())).unzip();
    let mut rows = Vec::new();
    let mut bytes = 0;
    let mut cursor = statement.raw_query();
    while let Some(row) = cursor.next().map_err(|error| of_run(error, gate))? {
        if rows.len() >= most_rows as usize {
            return Err(Error::QueryLimit { limit: "rows", most: most_rows.into() });
        }
        let mut values = Vec::with_capacity(columns.len());
        for column in &places {
            let value = row.get_ref(*column)?;
            bytes += weight(value);
            if bytes > most_bytes {
                return Err(Error::QueryLimit { limit: "bytes", most: most_bytes });
            }
            values.push(to_json(value));
        }
        rows.push(values);
    }
    Ok((columns, rows))
}

fn bind(statement: &mut Statement<'_>, params: &[Value]) -> Result<(), Error> {
    let wanted = statement.parameter_count();
    if wanted != params.len() {
        let problem = format!("the statement has {wanted} parameters, and {} were given", params.len());
        return Err(Error::invalid("params", problem));
    }
    for (place, param) in params.iter().enumerate() {
        let too_long = |_| Error::invalid("params", "a text is too long");
        statement.raw_bind_parameter(place + 1, to_bound(param)?).map_err(too_long)?;
    }
    Ok(())
}

/// A list or an object is bound as its JSON text, for `json_each(?)`.
fn to_bound(param: &Value) -> Result<Bound, Error> {
    Ok(match param {
        Value::Null => Bound::Null,
        Value::Bool(value) => Bound::Integer(i64::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Bound::Integer(integer),
            // A whole number beyond 64 bits would silently become another one.
            (None, Some(_)) if number.is_u64() => {
                return Err(Error::invalid(
                    "params",
                    "a whole number must fit in 64 bits; give it as a text",
                ));
            }
            (None, Some(real)) => Bound::Real(real),
            (None, None) => return Err(Error::invalid("params", "a number must fit in 64 bits")),
        },
        Value::String(text) => Bound::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Bound::Text(json_text(param)),
    })
}

/// About what a value weighs in the result.
fn weight(value: ValueRef<'_>) -> u64 {
    8 + match value {
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 0,
        ValueRef::Text(text) => text.len() as u64,
        ValueRef::Blob(blob) => blob.len() as u64 / 3 * 4,
    }
}

fn to_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) if integer.unsigned_abs() <= MAX_SAFE_INTEGER as u64 => integer.into(),
        ValueRef::Integer(integer) => integer.to_string().into(),
        ValueRef::Real(real) => match Number::from_f64(real) {
            Some(number) => Value::Number(number),
            None if real > 0.0 => "Infinity".into(),
            None => "-Infinity".into(),
        },
        // `CAST(x AS TEXT)` can make a text of any bytes.
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(blob) => BASE64.encode(blob).into(),
    }
}

/// Why SQLite did not take the statement: its message quotes nothing but the statement.
fn of_statement(error: rusqlite::Error, gate: &Gate) -> Error {
    let message = match &error {
        rusqlite::Error::SqlInputError { msg, .. } => Some(msg.clone()),
        rusqlite::Error::SqliteFailure(_, msg) => msg.clone(),
        _ => None,
    };
    of_sqlite(error, message, gate)
}

/// Why it ended. What SQLite puts behind a colon may be a learner's: the path that was looked for in a JSON value, say.
fn of_run(error: rusqlite::Error, gate: &Gate) -> Error {
    let message = match &error {
        rusqlite::Error::SqliteFailure(_, Some(msg)) => msg.split([':', '\'', '"']).next().map(str::to_owned),
        _ => None,
    };
    of_sqlite(error, message, gate)
}

fn of_sqlite(error: rusqlite::Error, message: Option<String>, gate: &Gate) -> Error {
    if let Some(why) = gate.why() {
        return why;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::TooBig) => {
            Error::QueryLimit { limit: "bytes of a value", most: SQLITE_LIMITS[0].1 as u64 }
        }
        Some(ErrorCode::OutOfMemory) => Error::QueryLimit { limit: "memory", most: 0 },
        // SQLite's code for whatever has none of its own: syntax, names, types.
        Some(ErrorCode::Unknown | ErrorCode::TypeMismatch) | None => {
            let message = message.filter(|message| !message.trim().is_empty());
            Error::invalid("sql", message.unwrap_or_else(|| "SQLite does not take this statement".to_owned()))
        }
        Some(_) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_weighs_what_its_json_does() {
        for (value, expected) in [
            (ValueRef::Null, 8),
            (ValueRef::Integer(1), 8),
            (ValueRef::Text(b"abc"), 11),
            (ValueRef::Blob(&[0; 30]), 48),
        ] {
            assert_eq!(weight(value), expected, "{value:?}");
        }
    }
}
