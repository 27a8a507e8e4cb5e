//! The last syncs, for support: counts and codes, nothing of what was synced.

use rusqlite::{OptionalExtension, Row, params};

use crate::error::Error;
use crate::store::Rows;

/// How many are kept.
const KEEP: i64 = 200;

/// One exchange with the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct JournalEntry {
    /// When the answer or the failure came, device's clock, Unix milliseconds.
    pub(crate) at_ms: i64,
    /// `ok`, or the failure's code.
    pub(crate) code: String,
    /// The failure in words; empty when ok.
    pub(crate) message: String,
    pub(crate) pushed: u32,
    pub(crate) rejected: u32,
    pub(crate) pulled: u32,
    pub(crate) pending: u32,
    /// Bytes of the request's body.
    pub(crate) bytes_sent: i64,
    /// Bytes of the answer's body.
    pub(crate) bytes_received: i64,
}

const COLUMNS: &str = "at_ms, code, message, pushed, rejected, pulled, pending, bytes_sent, bytes_received";

impl Rows<'_> {
    pub(crate) fn add_to_journal(self, e: &JournalEntry) -> Result<(), Error> {
        let sql = format!("INSERT INTO journal ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
        let JournalEntry { at_ms, code, message, pushed, rejected, pulled, pending, .. } = e;
        let values =
            params![at_ms, code, message, pushed, rejected, pulled, pending, e.bytes_sent, e.bytes_received];
        self.connection.prepare_cached(&sql)?.execute(values)?;
        let newest = self.connection.last_insert_rowid();
        self.connection.prepare_cached("DELETE FROM journal WHERE seq <= ?1")?.execute([newest - KEEP])?;
        Ok(())
    }

    /// Oldest first.
    pub(crate) fn journal(self) -> Result<Vec<JournalEntry>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM journal ORDER BY seq");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let entries = statement.query_map([], read)?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// The last exchange of whichever process.
    pub(crate) fn last_exchange(self) -> Result<Option<JournalEntry>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM journal ORDER BY seq DESC LIMIT 1");
        Ok(self.connection.prepare_cached(&sql)?.query_row([], read).optional()?)
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<JournalEntry> {
    Ok(JournalEntry {
        at_ms: row.get(0)?,
        code: row.get(1)?,
        message: row.get(2)?,
        pushed: row.get(3)?,
        rejected: row.get(4)?,
        pulled: row.get(5)?,
        pending: row.get(6)?,
        bytes_sent: row.get(7)?,
        bytes_received: row.get(8)?,
    })
}
