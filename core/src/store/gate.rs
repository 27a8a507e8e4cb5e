//! What a connection may read while the app's own SQL runs on it, and for how long. The engine's own statements pass.
//!
//! SQLite asks while it prepares a statement. The asking is never switched on or off, because that would have SQLite parse
//! every statement of the engine once more: the gate is closed or open.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::error::Error;
use crate::model::sort_few;
use crate::store::query::QueryLimits;

/// SQLite's functions that do more than compute, or that tell of the program and the file rather than of the rows.
const REFUSED_FUNCTIONS: [&str; 19] = [
    "changes",
    "fts3_tokenizer",
    "fts5",
    "fts5_get_locale",
    "fts5_insttoken",
    "fts5_locale",
    "fts5_source_id",
    "last_insert_rowid",
    "load_extension",
    "matchinfo",
    "offsets",
    "optimize",
    "rtreecheck",
    "rtreedepth",
    "rtreenode",
    "sqlite_log",
    "sqlite_offset",
    "subtype",
    "total_changes",
];

/// Tables that are functions: they give what they are given.
const TABLE_FUNCTIONS: [&str; 4] = ["json_each", "json_tree", "jsonb_each", "jsonb_tree"];

/// Tables that SQLite makes as they are named, and that tell of the file.
const TABLES_ABOUT_THE_FILE: [&str; 2] = ["dbstat", "fts3tokenize"];

/// Preparing costs more than running for each of SQLite's looks.
const PREPARING_WEIGHT: u64 = 100;

/// The store's own columns of tables that have one: they read as NULL, and no result has a column of the name.
const HIDDEN_COLUMNS: [&str; 2] = ["clocks", "marea_clocks"];

/// One query that is under way.
pub(crate) struct Reading {
    /// The tables that may be read.
    readable: Vec<&'static str>,
    limits: QueryLimits,
    steps: u64,
    preparing: bool,
    tables: BTreeSet<String>,
    /// Names from which no column is read (`count(*)`): of a table, or of what the statement itself defines.
    unresolved: Vec<String>,
    /// A column of the store's own was named, or meant by `*`.
    hides: bool,
    /// What was refused first, or which limit was met.
    why: Option<Error>,
}

impl Reading {
    pub(crate) fn new(readable: Vec<&'static str>, limits: QueryLimits) -> Reading {
        Reading {
            readable,
            limits,
            steps: 0,
            preparing: true,
            tables: BTreeSet::new(),
            unresolved: Vec::new(),
            hides: false,
            why: None,
        }
    }

    fn may(&mut self, action: AuthAction<'_>) -> Authorization {
        let problem = match action {
            AuthAction::Select | AuthAction::Recursive => return Authorization::Allow,
            AuthAction::Read { table_name, column_name } => match self.read(table_name, column_name) {
                None if HIDDEN_COLUMNS.contains(&column_name) => {
                    self.hides = true;
                    return Authorization::Ignore;
                }
                None => return Authorization::Allow,
                Some(problem) => problem,
            },
            AuthAction::Function { function_name } => {
                if !REFUSED_FUNCTIONS.contains(&function_name.to_ascii_lowercase().as_str()) {
                    return Authorization::Allow;
                }
                format!("the function {function_name} is not for queries")
            }
            _ => "a query only reads: one SELECT, WITH or VALUES".to_owned(),
        };
        self.why.get_or_insert_with(|| Error::refused(problem));
        Authorization::Deny
    }

    /// Why this table may not be read, if it may not.
    fn read(&mut self, table: &str, column: &str) -> Option<String> {
        // As the statement writes it, where no column is read.
        let table = table.to_ascii_lowercase();
        if self.readable.contains(&table.as_str()) {
            self.tables.insert(table);
        } else if column.is_empty() && !is_about_the_file(&table) {
            self.unresolved.push(table);
        } else if !TABLE_FUNCTIONS.contains(&table.as_str()) {
            return Some(self.refusal(&table));
        }
        None
    }

    fn refusal(&self, table: &str) -> String {
        let mut readable = self.readable.clone();
        sort_few(&mut readable, |one, other| one < other);
        let readable = readable.join(", ");
        format!("the table {table} cannot be read; these can: {readable}")
    }

    fn is_over(&mut self, steps: i32, memory: u64) -> bool {
        let weight = if self.preparing { PREPARING_WEIGHT } else { 1 };
        self.steps += steps.unsigned_abs() as u64 * weight;
        if self.steps >= self.limits.steps {
            self.why = Some(Error::QueryLimit { limit: "steps", most: self.limits.steps });
        } else if memory > self.limits.memory {
            self.why = Some(Error::QueryLimit { limit: "bytes of memory", most: self.limits.memory });
        } else if self.limits.expired.as_mut().is_some_and(|expired| expired()) {
            self.why = Some(Error::QueryLimit { limit: "time", most: 0 });
        } else {
            return false;
        }
        true
    }
}

fn is_about_the_file(table: &str) -> bool {
    table.starts_with("pragma_") || table.starts_with("sqlite_") || TABLES_ABOUT_THE_FILE.contains(&table)
}

/// Closed while a query runs.
#[derive(Default)]
pub(crate) struct Gate(Mutex<Option<Reading>>);

/// A gate, as the store and SQLite hold it.
pub(crate) type SharedGate = Arc<Gate>;

impl Gate {
    /// Puts a gate before a connection; it is open.
    pub(crate) fn before(connection: &mut Connection) -> Result<SharedGate, Error> {
        let gate = SharedGate::default();
        let asked = SharedGate::clone(&gate);
        connection.authorizer(Some(move |context: AuthContext<'_>| match asked.reading().as_mut() {
            Some(reading) => reading.may(context.action),
            None => Authorization::Allow,
        }))?;
        Ok(gate)
    }

    pub(crate) fn close(&self, reading: Reading) {
        *self.reading() = Some(reading);
    }

    pub(crate) fn open(&self) {
        *self.reading() = None;
    }

    /// From now on the statement runs: SQLite has asked about all of it. Refuses a table of the file from which no column is read.
    pub(crate) fn runs(&self, connection: &Connection) -> Result<(), Error> {
        let mut reading = self.reading();
        let Some(reading) = reading.as_mut() else { return Ok(()) };
        for table in &reading.unresolved {
            if connection.table_exists(None, table.as_str())? {
                return Err(Error::refused(reading.refusal(table)));
            }
        }
        reading.preparing = false;
        Ok(())
    }

    /// Whether a limit was met, after so many more steps and with so many bytes of memory.
    pub(crate) fn is_over(&self, steps: i32, memory: u64) -> bool {
        self.reading().as_mut().is_some_and(|reading| reading.is_over(steps, memory))
    }

    /// What was refused, or which limit was met.
    pub(crate) fn why(&self) -> Option<Error> {
        self.reading().as_mut().and_then(|reading| reading.why.take())
    }

    /// Whether a result's column is the store's own.
    pub(crate) fn hides(&self, column: &str) -> bool {
        self.reading().as_ref().is_some_and(|reading| reading.hides) && HIDDEN_COLUMNS.contains(&column)
    }

    /// The tables that the statement reads.
    pub(crate) fn tables(&self) -> Vec<String> {
        self.reading().iter().flat_map(|reading| reading.tables.iter().cloned()).collect()
    }

    fn reading(&self) -> MutexGuard<'_, Option<Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_preparing_weighs_as_a_hundred_and_each_bound_may_be_reached_but_not_passed() {
        let gate = Gate::default();
        let limits = || QueryLimits { steps: 1_000, memory: 10, ..QueryLimits::default() };
        gate.close(Reading::new(Vec::new(), limits()));
        assert!(!gate.is_over(9, 0));
        gate.runs(&Connection::open_in_memory().unwrap()).unwrap();
        assert!(!gate.is_over(99, 10));
        assert!(gate.is_over(1, 0));
        assert!(matches!(gate.why(), Some(Error::QueryLimit { limit: "steps", most: 1_000 })));
        gate.close(Reading::new(Vec::new(), limits()));
        assert!(gate.is_over(0, 11));
        assert!(matches!(gate.why(), Some(Error::QueryLimit { limit: "bytes of memory", most: 10 })));
    }
}
