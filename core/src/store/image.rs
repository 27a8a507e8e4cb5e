//! A mirror in memory whose whole image is kept elsewhere, for browsers that give no file to keep it in.
//!
//! The image is handed to its keeper inside the transaction: only when it was kept is the transaction committed, and a
//! keeper that has no room leaves memory as it was. Nothing here knows where an image goes.

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, MAIN_DB};

use crate::error::Error;

/// Keeps the image of a mirror: the bytes of a SQLite file.
pub trait ImageKeeper: Send {
    /// The image that was kept last; `None` when there never was one.
    ///
    /// # Errors
    /// [`Error::MirrorCorrupt`] when what is there cannot be read. It must be left as it is.
    fn load(&mut self) -> Result<Option<Vec<u8>>, Error>;

    /// Keeps an image in place of the last one. When this returns, it is as durable as the place can make it.
    ///
    /// # Errors
    /// [`Error::StorageFull`] and [`Error::StorageFailed`]; the last image is still there.
    fn keep(&mut self, image: &[u8]) -> Result<(), Error>;

    /// Removes the image, which has been replaced by that of an empty database before; says whether it is gone.
    ///
    /// # Errors
    /// [`Error::StorageFailed`]; the empty one is still there.
    fn remove(&mut self) -> Result<bool, Error> {
        Ok(false)
    }
}

/// Fills an empty connection in memory from an image.
///
/// Copied and not deserialized in place: only of a database in SQLite's own pages, and not of a deserialized one, does
/// `sqlite3_serialize` show what the transaction under way has written.
pub(super) fn restore(image: &[u8], into: &mut Connection) -> Result<(), Error> {
    let mut kept = Connection::open_in_memory()?;
    kept.deserialize_read_exact(MAIN_DB, image, image.len(), true)?;
    let copied = Backup::new(&kept, into)?.step(-1)?;
    if copied == StepResult::Done {
        Ok(())
    } else {
        Err(Error::Internal("a mirror's image was not copied whole"))
    }
}

/// The image of the mirror, with what the transaction under way has written.
pub(super) fn image(connection: &mut Connection) -> Result<Vec<u8>, Error> {
    Ok(connection.serialize(MAIN_DB)?.to_vec())
}
