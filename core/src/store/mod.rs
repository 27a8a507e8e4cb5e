//! The mirror: SQLite, and nothing but SQLite. The only module that knows `rusqlite`.
//!
//! It keeps rows and takes no decision: what a state becomes is in `queue`, what a row becomes in `merge`.

mod confirmed;
mod journal;
mod meta;
mod mutations;
mod open;
mod progress;
mod registers;
mod review;

use std::path::PathBuf;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::error::Error;
use crate::planted::{self, Fault};

pub(crate) use journal::JournalEntry;
pub(crate) use meta::Meta;
pub(crate) use mutations::NewMutation;
pub use open::MIRROR_VERSION;
pub(crate) use progress::ServerColumns;
pub(crate) use registers::fits;

/// Where a mirror lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of the desktop. Its folder must exist.
    File(PathBuf),
    /// A name in the default virtual file system: in the browser, a file of the OPFS pool.
    Vfs(String),
    /// In memory: gone when it is closed. For tests.
    Memory,
}

/// An open mirror.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
}

/// The mirror's rows, inside or outside of a transaction.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'c> {
    connection: &'c Connection,
}

impl Store {
    /// Opens the mirror, makes it or brings it to [`MIRROR_VERSION`].
    pub(crate) fn open(location: &Location) -> Result<Store, Error> {
        Ok(Store { connection: open::open(location)? })
    }

    /// Reads; each statement sees the newest committed state.
    pub(crate) fn read(&self) -> Rows<'_> {
        Rows { connection: &self.connection }
    }

    /// Runs `work` in one transaction that is durable when this returns, or changes nothing.
    pub(crate) fn write<T>(&mut self, work: impl FnOnce(Rows<'_>) -> Result<T, Error>) -> Result<T, Error> {
        if planted::is(Fault::WriteNotAtomic) {
            let value = work(Rows { connection: &self.connection })?;
            return if planted::is_cut_off() { Err(Error::StorageFailed { code: 0 }) } else { Ok(value) };
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(Rows { connection: &transaction })?;
        if planted::is_cut_off() {
            return Err(Error::StorageFailed { code: 0 });
        }
        transaction.commit()?;
        Ok(value)
    }

    /// How many rows a table has, for tests.
    #[cfg(test)]
    pub(crate) fn count_rows(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    /// Closes the file.
    pub(crate) fn close(self) -> Result<(), Error> {
        self.connection.close().map_err(|(_, error)| error.into())
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Error {
        let rusqlite::Error::SqliteFailure(failure, _) = error else {
            // A statement that does not fit the schema, or a value that no mirror of ours holds.
            return Error::Internal("the mirror holds a value that it cannot hold");
        };
        match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                Error::MirrorLocked
            }
            ErrorCode::DiskFull => Error::StorageFull,
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Error::MirrorCorrupt,
            _ => Error::StorageFailed { code: failure.extended_code },
        }
    }
}

/// Reads a value that only the engine writes.
fn stored<T>(parsed: Option<T>) -> Result<T, Error> {
    parsed.ok_or(Error::Internal("the mirror holds a value that it cannot hold"))
}
