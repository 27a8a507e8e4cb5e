//! Removes a mirror: first its content, in one transaction and overwritten, then its files.
//!
//! In this order, because a file that is removed while another program has it open would go on taking that program's
//! writes and lose them; an emptied one refuses them.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use crate::error::Error;
use crate::store::open::mark;
use crate::store::{Rows, Shapes, Store, image};

/// What went with a mirror.
pub(crate) struct Erased {
    pub(crate) pending: u32,
    pub(crate) rejected: u32,
    pub(crate) removed: bool,
}

impl Store {
    /// Erases the mirror. `removed` says whether nothing at all is left of it.
    pub(crate) fn erase(mut self) -> Result<Erased, Error> {
        let (pending, rejected) = empty(&mut self.connection, &self.shapes)?;
        // Gives the overwritten pages back; of a file it also leaves nothing in the log.
        self.connection.execute_batch("VACUUM")?;
        let removed = match (&self.path, &mut self.keeper) {
            (Some(path), _) => remove_files(self.connection, path)?,
            (None, Some(keeper)) => {
                keeper.keep(&image::image(&mut self.connection)?)?;
                keeper.remove()?
            }
            (None, None) => false,
        };
        Ok(Erased { pending, rejected, removed })
    }
}

fn empty(connection: &mut Connection, shapes: &Shapes) -> Result<(u32, u32), Error> {
    connection.flush_prepared_statement_cache();
    connection.execute_batch("PRAGMA secure_delete = ON")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let rows = Rows { connection: &transaction, shapes };
    let counts = (rows.count_pending()?, rows.count_rejected()?);
    // Idle statements would hold the tables.
    transaction.flush_prepared_statement_cache();
    for table in tables(&transaction)? {
        transaction.execute_batch(&format!("DROP TABLE \"{table}\""))?;
    }
    mark(&transaction, 0, 0)?;
    transaction.commit()?;
    Ok(counts)
}

fn tables(connection: &Connection) -> Result<Vec<String>, Error> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// Removes the files, unless another connection has them open.
fn remove_files(connection: Connection, path: &Path) -> Result<bool, Error> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    // Leaving the log needs the file for oneself alone, so this tells whether anybody else has it.
    let alone = connection
        .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get::<_, String>(0))
        .is_ok_and(|mode| mode == "delete");
    connection.close().map_err(|(_, error)| Error::from(error))?;
    if !alone {
        return Ok(false);
    }
    // The mirror's own file last: a log without its file could be taken for the next one's.
    let removed = beside(path).iter().map(PathBuf::as_path).chain([path]).all(|file| {
        std::fs::remove_file(file)
            .map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |()| true)
    });
    Ok(removed)
}

/// The files that SQLite keeps beside a database.
pub(super) fn beside(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|ending| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    })
}
