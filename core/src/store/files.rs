//! The table `files`: which files there are and how they stand. Their bytes are the host's affair.

use rusqlite::{Row, ToSql};

use crate::error::Error;
use crate::model::{FileInput, FileRecord, FileState, MutationId, StatusError, Timestamp, UnixMillis};
use crate::store::{Rows, stored};

const COLUMNS: &str =
    "export_id, sha256, extension, content_type, size, state, has_bytes, tried, upload_id, paused,
    failure_code, failure_message, added_ms";

/// An export that the server has: its row is here, and its insertion waits no more. One that was refused has no file to send
/// until somebody has decided about it.
const ACKNOWLEDGED: &str = "EXISTS (SELECT 1 FROM export_history WHERE id = unhex(export_id, '-'))
    AND NOT EXISTS (SELECT 1 FROM mutations WHERE table_name = 'export_history' AND row_key = export_id
      AND op = 'insert' AND state IN ('pending', 'in_doubt', 'resend', 'rejected'))";

/// A file whose export is deleted or has expired, by the server's clock: a device's may be years ahead. An export that is not
/// there may also be one that was refused, or is being brought back: its file waits. So it does while the server has not taken
/// the deletion or the change: it may refuse it, and the export that comes back needs its file.
const RETIRED: &str = "state <> 'gone'
    AND NOT EXISTS (SELECT 1 FROM mutations WHERE table_name = 'export_history' AND row_key = export_id
      AND op IN ('merge', 'delete') AND state IN ('pending', 'in_doubt', 'resend'))
    AND (EXISTS (SELECT 1 FROM export_history WHERE id = unhex(export_id, '-') AND (status = 'expired' OR expires_at <= ?1))
    OR NOT EXISTS (SELECT 1 FROM export_history WHERE id = unhex(export_id, '-'))
      AND NOT EXISTS (SELECT 1 FROM mutations WHERE table_name = 'export_history' AND row_key = export_id
        AND op = 'insert' AND state IN ('pending', 'in_doubt', 'resend', 'rejected')))";

impl Rows<'_> {
    /// Writes what is known of a file, in place of what was. One that is gone, and of which the server never heard, is forgotten.
    pub(crate) fn put_file(self, record: &FileRecord) -> Result<(), Error> {
        let FileRecord { input, failure, .. } = record;
        let id = record.export_id.to_string();
        if record.state == FileState::Gone && !record.tried {
            return self.change_files("DELETE FROM files WHERE export_id = ?1", &[&id]).map(|_| ());
        }
        let sql = format!(
            "INSERT OR REPLACE INTO files ({COLUMNS})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        );
        let values: [&dyn ToSql; 13] = [
            &id,
            &input.sha256,
            &input.extension,
            &input.content_type,
            &i64::try_from(input.size).unwrap_or(i64::MAX),
            &record.state.name(),
            &record.has_bytes,
            &record.tried,
            &record.upload_id,
            &record.paused,
            &failure.as_ref().map(|it| it.code.as_str()),
            &failure.as_ref().map(|it| it.message.as_str()),
            &record.added_ms.0,
        ];
        self.change_files(&sql, &values).map(|_| ())
    }

    pub(crate) fn file(self, export_id: MutationId) -> Result<Option<FileRecord>, Error> {
        Ok(self.list_files("export_id = ?1", &[&export_id.to_string()])?.pop())
    }

    /// All of them, the one that was added first at the front.
    pub(crate) fn files(self) -> Result<Vec<FileRecord>, Error> {
        self.list_files("TRUE", &[])
    }

    /// Those about which something is to be asked of the server: deletions first.
    pub(crate) fn files_to_move(self) -> Result<Vec<FileRecord>, Error> {
        self.list_files(&format!(
            "(state = 'gone' AND tried) OR (state IN ('waiting', 'uploading') AND NOT paused AND {ACKNOWLEDGED})"
        ), &[])
    }

    /// Those whose export is deleted or has expired, and that are not gone yet.
    /// `server_time`: as it was last heard; before that no export has expired that its row does not call so.
    pub(crate) fn files_to_retire(self, server_time: Option<Timestamp>) -> Result<Vec<FileRecord>, Error> {
        self.list_files(RETIRED, &[&server_time.map(|at| at.to_string())])
    }

    fn list_files(self, condition: &str, values: &[&dyn ToSql]) -> Result<Vec<FileRecord>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM files WHERE {condition} ORDER BY state <> 'gone', added_ms, export_id"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(values)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    fn change_files(self, sql: &str, values: &[&dyn ToSql]) -> Result<usize, Error> {
        Ok(self.connection.prepare_cached(sql)?.execute(values)?)
    }
}

fn read(row: &Row<'_>) -> Result<FileRecord, Error> {
    let text = |at: usize| row.get::<_, String>(at);
    let state = text(5)?;
    let code: Option<String> = row.get(10)?;
    let message: Option<String> = row.get(11)?;
    Ok(FileRecord {
        export_id: stored(text(0)?.parse().ok())?,
        input: FileInput {
            sha256: text(1)?,
            extension: text(2)?,
            content_type: text(3)?,
            size: row.get::<_, i64>(4)?.unsigned_abs(),
        },
        state: stored(FileState::ALL.into_iter().find(|it| it.name() == state))?,
        has_bytes: row.get(6)?,
        tried: row.get(7)?,
        upload_id: row.get(8)?,
        paused: row.get(9)?,
        failure: code.map(|code| StatusError { code, message: message.unwrap_or_default() }),
        added_ms: UnixMillis(row.get(12)?),
    })
}
