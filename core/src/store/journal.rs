//! The last syncs, for support: counts and codes, nothing of what was synced.

use rusqlite::params;

use crate::error::Error;
use crate::store::Rows;

/// How many are kept.
const KEEP: i64 = 200;

/// One exchange with the server.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct JournalEntry {
    /// When the answer or the failure came, device's clock, Unix milliseconds.
    pub(crate) at_ms: i64,
    /// `ok`, or the failure's code.
    pub(crate) code: String,
    pub(crate) pushed: u32,
    pub(crate) rejected: u32,
    pub(crate) pulled: u32,
    pub(crate) pending: u32,
}

impl Rows<'_> {
    pub(crate) fn add_to_journal(self, e: &JournalEntry) -> Result<(), Error> {
        let sql = "INSERT INTO journal (at_ms, code, pushed, rejected, pulled, pending) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let values = params![e.at_ms, e.code, e.pushed, e.rejected, e.pulled, e.pending];
        self.connection.prepare_cached(sql)?.execute(values)?;
        let newest = self.connection.last_insert_rowid();
        self.connection.prepare_cached("DELETE FROM journal WHERE seq <= ?1")?.execute([newest - KEEP])?;
        Ok(())
    }

    /// Oldest first.
    pub(crate) fn journal(self) -> Result<Vec<JournalEntry>, Error> {
        let sql = "SELECT at_ms, code, pushed, rejected, pulled, pending FROM journal ORDER BY seq";
        let mut statement = self.connection.prepare_cached(sql)?;
        let entries = statement.query_map([], |row| {
            Ok(JournalEntry {
                at_ms: row.get(0)?,
                code: row.get(1)?,
                pushed: row.get(2)?,
                rejected: row.get(3)?,
                pulled: row.get(4)?,
                pending: row.get(5)?,
            })
        })?;
        Ok(entries.collect::<Result<_, _>>()?)
    }
}
