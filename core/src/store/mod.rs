//! The mirror: SQLite, and nothing but SQLite. The only module that knows `rusqlite`.
//!
//! It keeps rows and takes no decision: what a state becomes is in `queue`, what a row becomes in `merge`.

mod bare_sql;
mod catalogue;
mod confirmed;
mod erase;
mod exports;
mod facts;
mod files;
mod gate;
mod image;
mod image_change;
mod journal;
mod list;
mod log;
mod meta;
mod mutations;
mod open;
mod packed;
#[cfg(test)]
pub(crate) mod probe;
mod progress;
mod query;
mod registers;
pub(crate) mod rescue;
mod review;
mod room;
mod sessions;
mod shapes;
mod statement;
#[cfg(test)]
mod tests;
mod values;

use std::cell::RefCell;
use std::path::PathBuf;

use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rusqlite::{Connection, ErrorCode};

use crate::error::Error;
use crate::model::{ActivityDay, Hlc, Progress};
use crate::planted::{self, Fault};

pub use image::ImageKeeper;
pub use image_change::{apply_image_change, image_change};
pub(crate) use journal::JournalEntry;
pub(crate) use meta::Meta;
pub(crate) use mutations::{NewMutation, SentMutation};
pub use open::MIRROR_VERSION;
pub(crate) use packed::{PackedRow, PackedRows, Packing, read_register};
pub(crate) use progress::ServerColumns;
pub use query::{QueryLimits, QueryResult};
pub(crate) use registers::Shadow;
pub(crate) use shapes::{Shape, Shapes};

/// For tests that make mirrors of their own.
#[cfg(feature = "planted-faults")]
pub const MIRROR_MIGRATIONS: &[&str] = open::MIGRATIONS;

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
pub(crate) struct Store {
    connection: Connection,
    /// Of a mirror in a file of the desktop.
    path: Option<PathBuf>,
    /// Of a mirror in memory: who keeps its image.
    keeper: Option<Box<dyn ImageKeeper>>,
    known: RefCell<Option<Known>>,
    /// The mirrored tables, as this file has them.
    shapes: Shapes,
    /// What the app's own SQL may read.
    gate: gate::SharedGate,
    /// Exports were left out to make room, and nobody has been told.
    left_out: bool,
}

/// What the last transaction of this process has left, and SQLite's `data_version` as of it: as long as that stays, no other
/// process has changed it.
struct Known {
    version: i64,
    /// How many mutations wait, so that a long queue is not counted after each: see [`Store::pending`].
    pending: u32,
    /// How many were refused, once that has been asked.
    rejected: Option<u32>,
    newest: Option<Newest>,
}

/// What the newest fact has left, so that the next one need not read it.
pub(crate) struct Newest {
    pub(crate) progress: Progress,
    pub(crate) day: ActivityDay,
    /// See [`Rows::clock`].
    pub(crate) clock: Hlc,
}

/// The mirror's rows, inside or outside of a transaction.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'c> {
    connection: &'c Connection,
    shapes: &'c Shapes,
}

impl<'c> Rows<'c> {
    /// The mirrored tables.
    pub(crate) fn shapes(self) -> &'c Shapes {
        self.shapes
    }
}

impl Store {
    /// Opens the mirror, makes it or brings it to [`MIRROR_VERSION`].
    pub(crate) fn open(location: &Location) -> Result<Store, Error> {
        let path = match location {
            Location::File(path) => Some(path.clone()),
            Location::Vfs(_) | Location::Memory => None,
        };
        Store::over(open::open(location)?, path, None)
    }

    /// Opens a mirror in memory from the image that was kept of it, or makes it.
    pub(crate) fn open_image(mut keeper: Box<dyn ImageKeeper>) -> Result<Store, Error> {
        let connection = open::open_image(keeper.load()?.as_deref())?;
        Store::over(connection, None, Some(keeper))
    }

    fn over(
        mut connection: Connection,
        path: Option<PathBuf>,
        keeper: Option<Box<dyn ImageKeeper>>,
    ) -> Result<Store, Error> {
        let shapes = catalogue::kept(&connection)?;
        let gate = gate::Gate::before(&mut connection)?;
        Ok(Store { connection, path, keeper, known: RefCell::default(), shapes, gate, left_out: false })
    }

    /// The mirrored tables.
    pub(crate) fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// Reads; each statement sees the newest committed state.
    pub(crate) fn read(&self) -> Rows<'_> {
        Rows { connection: &self.connection, shapes: &self.shapes }
    }

    /// Reads several things as of one moment, whatever another process commits meanwhile.
    pub(crate) fn snapshot<T>(
        &mut self,
        work: impl FnOnce(Rows<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let transaction = self.connection.transaction()?;
        work(Rows { connection: &transaction, shapes: &self.shapes })
    }

    /// Runs `work` in one transaction that is durable when this returns, or changes nothing.
    pub(crate) fn write<T>(&mut self, work: impl FnOnce(Rows<'_>) -> Result<T, Error>) -> Result<T, Error> {
        self.transact(|rows| {
            rows.keep_clock()?;
            work(rows)
        })
    }

    fn transact<T>(&mut self, work: impl FnOnce(Rows<'_>) -> Result<T, Error>) -> Result<T, Error> {
        self.known.take();
        if planted::is(Fault::WriteNotAtomic) {
            return work(self.read());
        }
        let transaction = Begun::immediate(&mut self.connection)?;
        let value = work(Rows { connection: transaction.connection, shapes: &self.shapes })?;
        transaction.end(self.keeper.as_deref_mut())?;
        Ok(value)
    }

    /// As [`Store::write`], for work that does not touch the queue. It need not note the clock.
    pub(crate) fn write_beside_queue<T>(
        &mut self,
        work: impl FnOnce(Rows<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let forgetting = |rows: Rows<'_>, newest: &mut Option<Newest>| {
            *newest = None;
            Ok((work(rows)?, 0))
        };
        self.write_queueing(forgetting).map(|(value, _)| value)
    }

    /// As [`Store::write_beside_queue`], but compiled once for all such work: of files there is much, and a browser downloads it.
    pub(crate) fn change(
        &mut self,
        work: &mut dyn FnMut(Rows<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.write_beside_queue(work)
    }

    /// As [`Store::write`], for work that does nothing to the queue but to lengthen it, in the order of the clock, or to take from it
    /// what waits: by how much it is longer then, `work` says beside its value. It is given what the newest fact has left, where that is known, and puts there what its own
    /// newest leaves. Returns how many mutations wait then.
    pub(crate) fn write_queueing<T>(
        &mut self,
        work: impl FnOnce(Rows<'_>, &mut Option<Newest>) -> Result<(T, i32), Error>,
    ) -> Result<(T, u32), Error> {
        let before = self.known.take();
        let (value, known) = self.transact(|rows| {
            let version = rows.data_version()?;
            let (pending, rejected, mut newest) = match before.filter(|before| before.version == version) {
                Some(before) => (Some(before.pending), before.rejected, before.newest),
                None => (None, None, None),
            };
            let (value, more) = work(rows, &mut newest)?;
            let pending = pending
                .map_or_else(|| rows.count_pending(), |pending| Ok(pending.saturating_add_signed(more)))?;
            Ok((value, Known { version, pending, rejected, newest }))
        })?;
        let pending = known.pending;
        self.known.replace(Some(known));
        Ok((value, pending))
    }

    /// How many mutations wait.
    pub(crate) fn pending(&self) -> Result<u32, Error> {
        // Read first: should another process commit in between, the count does not hold for this version.
        let version = self.read().data_version()?;
        if let Some(known) = self.known.borrow().as_ref().filter(|known| known.version == version) {
            return Ok(known.pending);
        }
        let pending = self.read().count_pending()?;
        self.known.replace(Some(Known { version, pending, rejected: None, newest: None }));
        Ok(pending)
    }

    /// How many mutations the server has refused.
    pub(crate) fn rejected(&self) -> Result<u32, Error> {
        let version = self.read().data_version()?;
        let known = |known: &Known| known.rejected.filter(|_| known.version == version);
        if let Some(rejected) = self.known.borrow().as_ref().and_then(known) {
            return Ok(rejected);
        }
        let rejected = self.read().count_rejected()?;
        if let Some(known) = self.known.borrow_mut().as_mut().filter(|known| known.version == version) {
            known.rejected = Some(rejected);
        }
        Ok(rejected)
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

/// A transaction whose two statements SQLite has parsed once; taken back when it is dropped.
struct Begun<'c> {
    connection: &'c mut Connection,
}

impl<'c> Begun<'c> {
    // Neither this nor `end` is written once for each caller of `Store::write`: a browser downloads them.
    #[inline(never)]
    fn immediate(connection: &'c mut Connection) -> Result<Begun<'c>, Error> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Begun { connection })
    }

    #[inline(never)]
    fn end(self, keeper: Option<&mut (dyn ImageKeeper + 'static)>) -> Result<(), Error> {
        if let Some(keeper) = keeper {
            // In memory it is kept first and committed afterwards, which cannot fail there.
            keeper.keep(&image::image(self.connection)?)?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.connection.is_autocommit() {
            // SQLite may have taken it back by itself, and then says so.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
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
            // SQLite makes room for the log's index when it opens one, and finds none.
            _ if failure.extended_code == SQLITE_IOERR_SHMSIZE => Error::StorageFull,
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Error::MirrorCorrupt,
            _ => Error::StorageFailed { code: failure.extended_code },
        }
    }
}

/// Reads a value that only the engine writes.
fn stored<T>(parsed: Option<T>) -> Result<T, Error> {
    parsed.ok_or(Error::Internal("the mirror holds a value that it cannot hold"))
}
