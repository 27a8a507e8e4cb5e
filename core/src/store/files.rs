//! The table `files`: which files there are and how they stand. Their bytes are the host's affair.

use rusqlite::{OptionalExtension, Row, params};

use crate::error::Error;
use crate::model::{FileInput, FileRecord, FileState, MutationId, StatusError, Timestamp, UnixMillis};
use crate::store::{Rows, stored};

const COLUMNS: &str =
    "export_id, sha256, extension, content_type, size, state, has_bytes, tried, upload_id, paused,
    failure_code, failure_message";

/// An export that the server has: its row is here, and its insertion waits no more. One that was refused has no file to send
/// until somebody has decided about it.
const ACKNOWLEDGED: &str = "EXISTS (SELECT 1 FROM export_history WHERE id = unhex(export_id, '-'))
    AND NOT EXISTS (SELECT 1 FROM mutations WHERE table_name = 'export_history' AND row_key = export_id
      AND op = 'insert' AND state IN ('pending', 'in_doubt', 'resend', 'rejected'))";

/// A file whose export is deleted or has expired. An export that is not there may also be one that was refused, or is being
/// brought back: its file waits.
const RETIRED: &str = "state <> 'gone' AND (
    EXISTS (SELECT 1 FROM export_history WHERE id = unhex(export_id, '-') AND (status = 'expired' OR expires_at <= ?1))
    OR NOT EXISTS (SELECT 1 FROM export_history WHERE id = unhex(export_id, '-'))
      AND NOT EXISTS (SELECT 1 FROM mutations WHERE table_name = 'export_history' AND row_key = export_id
        AND op = 'insert' AND state IN ('pending', 'in_doubt', 'resend', 'rejected')))";

impl Rows<'_> {
    pub(crate) fn add_file(self, record: &FileRecord, now: UnixMillis) -> Result<(), Error> {
        let sql = format!(
            "INSERT OR REPLACE INTO files ({COLUMNS}, added_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        );
        let FileRecord { input, failure, .. } = record;
        self.connection.prepare_cached(&sql)?.execute(params![
            record.export_id.to_string(),
            input.sha256,
            input.extension,
            input.content_type,
            signed(input.size),
            record.state.name(),
            record.has_bytes,
            record.tried,
            record.upload_id,
            record.paused,
            failure.as_ref().map(|it| it.code.as_str()),
            failure.as_ref().map(|it| it.message.as_str()),
            now.0,
        ])?;
        Ok(())
    }

    pub(crate) fn file(self, export_id: MutationId) -> Result<Option<FileRecord>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM files WHERE export_id = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        statement.query_row([export_id.to_string()], |row| Ok(read(row))).optional()?.transpose()
    }

    /// All of them, the one that was added first at the front.
    pub(crate) fn files(self) -> Result<Vec<FileRecord>, Error> {
        self.list_files("TRUE")
    }

    /// Those about which something is to be asked of the server: deletions first.
    pub(crate) fn files_to_move(self) -> Result<Vec<FileRecord>, Error> {
        self.list_files(&format!(
            "(state = 'gone' AND tried) OR (state IN ('waiting', 'uploading') AND NOT paused AND {ACKNOWLEDGED})"
        ))
    }

    fn list_files(self, condition: &str) -> Result<Vec<FileRecord>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM files WHERE {condition} ORDER BY state <> 'gone', added_ms, export_id"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let found = statement.query_map([], |row| Ok(read(row)))?;
        found.map(|record| record?).collect()
    }

    /// Files whose export is deleted or has expired become `gone`; those of which the server never heard are forgotten. Says
    /// whether there were any.
    pub(crate) fn retire_files(self, now: Timestamp) -> Result<bool, Error> {
        let sql = format!("UPDATE files SET state = 'gone' WHERE {RETIRED}");
        let retired = self.connection.prepare_cached(&sql)?.execute([now.to_string()])?;
        let forgotten = "DELETE FROM files WHERE state = 'gone' AND NOT tried";
        Ok(retired + self.connection.prepare_cached(forgotten)?.execute([])? > 0)
    }

    /// Whether [`Rows::retire_files`] would change anything, without a transaction.
    pub(crate) fn must_retire_files(self, now: Timestamp) -> Result<bool, Error> {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM files WHERE {RETIRED})");
        Ok(self.connection.prepare_cached(&sql)?.query_row([now.to_string()], |row| row.get(0))?)
    }

    /// Whether there are any.
    pub(crate) fn has_files(self) -> Result<bool, Error> {
        let mut statement = self.connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM files)")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    pub(crate) fn set_file_state(self, export_id: MutationId, state: FileState) -> Result<(), Error> {
        let sql =
            "UPDATE files SET state = ?2, failure_code = NULL, failure_message = NULL WHERE export_id = ?1";
        self.connection.prepare_cached(sql)?.execute([export_id.to_string().as_str(), state.name()])?;
        Ok(())
    }

    pub(crate) fn refuse_file(self, export_id: MutationId, why: &StatusError) -> Result<(), Error> {
        let sql =
            "UPDATE files SET state = 'refused', upload_id = NULL, failure_code = ?2, failure_message = ?3
                   WHERE export_id = ?1 AND state <> 'gone'";
        let id = export_id.to_string();
        self.connection.prepare_cached(sql)?.execute([
            id.as_str(),
            why.code.as_str(),
            why.message.as_str(),
        ])?;
        Ok(())
    }

    pub(crate) fn file_was_tried(self, export_id: MutationId) -> Result<(), Error> {
        let sql = "UPDATE files SET tried = 1 WHERE export_id = ?1";
        self.connection.prepare_cached(sql)?.execute([export_id.to_string()])?;
        Ok(())
    }

    pub(crate) fn set_upload(self, export_id: MutationId, upload_id: Option<&str>) -> Result<(), Error> {
        let sql = "UPDATE files SET upload_id = ?2, state = CASE WHEN state = 'gone' THEN 'gone' WHEN ?2 IS NULL THEN 'waiting' ELSE 'uploading' END
                   WHERE export_id = ?1";
        self.connection.prepare_cached(sql)?.execute(params![export_id.to_string(), upload_id])?;
        Ok(())
    }

    pub(crate) fn pause_file(self, export_id: MutationId, paused: bool) -> Result<bool, Error> {
        let sql = "UPDATE files SET paused = ?2 WHERE export_id = ?1";
        Ok(self.connection.prepare_cached(sql)?.execute(params![export_id.to_string(), paused])? > 0)
    }

    /// The bytes are no longer here.
    pub(crate) fn drop_bytes(self, export_id: MutationId) -> Result<(), Error> {
        let sql = "UPDATE files SET has_bytes = 0 WHERE export_id = ?1";
        self.connection.prepare_cached(sql)?.execute([export_id.to_string()])?;
        Ok(())
    }

    pub(crate) fn forget_file(self, export_id: MutationId) -> Result<(), Error> {
        self.connection
            .prepare_cached("DELETE FROM files WHERE export_id = ?1")?
            .execute([export_id.to_string()])?;
        Ok(())
    }

    /// Bytes that files take on this device.
    pub(crate) fn bytes_of_files(self) -> Result<u64, Error> {
        let sql = "SELECT coalesce(sum(size), 0) FROM files WHERE has_bytes";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
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
    })
}
