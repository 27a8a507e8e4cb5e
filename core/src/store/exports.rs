//! Exports: a page of them, newest first, and which are left out where there is no room for all.

use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::{StatusError, Table, Timestamp};
use crate::store::registers::read_register;
use crate::store::{Meta, Rows};

/// Each time, one of so many exports goes.
const SHARE: u32 = 8;

impl Rows<'_> {
    /// A page of visible exports, newest first, after a key.
    pub(crate) fn exports(
        self,
        status: Option<&str>,
        export_type: Option<&str>,
        after: Option<(&str, &str)>,
        limit: u32,
    ) -> Result<Vec<Map<String, Value>>, Error> {
        let shape = self.shapes.get(Table::ExportHistory).ok_or(Error::Internal("exports have no shape"))?;
        let sql = format!(
            "SELECT {} FROM export_history
             WHERE (created_at, id) < (coalesce(?1, '~'), ?2)
               AND (?3 IS NULL OR status = ?3) AND (?4 IS NULL OR export_type = ?4)
             ORDER BY created_at DESC, id DESC LIMIT ?5",
            shape.columns
        );
        let (created_at, id) = after.unzip();
        let id = id.and_then(|id| shape.key(id));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![created_at, id, status, export_type, limit])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read_register(shape, row)?.values);
        }
        Ok(found)
    }

    /// Leaves out a part of the exports, oldest first; says whether there were any that can be.
    pub(super) fn leave_out_some(self) -> Result<bool, Error> {
        let exports: u32 =
            self.connection.query_row("SELECT count(*) FROM export_history", [], |row| row.get(0))?;
        let sql = "SELECT created_at FROM export_history
                   WHERE id NOT IN (SELECT unhex(row_key, '-') FROM shadow_rows WHERE table_name = 'export_history')
                   ORDER BY created_at LIMIT 1 OFFSET ?1";
        let newest_to_go = |skipped: u32| -> Result<Option<String>, Error> {
            Ok(self.connection.query_row(sql, [skipped], |row| row.get(0)).optional()?)
        };
        // Some of the oldest may have to stay.
        let before = match newest_to_go(exports / SHARE)? {
            None => newest_to_go(0)?,
            found => found,
        };
        let Some(before) = before else { return Ok(false) };
        let known = self.meta(Meta::LeftOutBefore)?;
        self.set_meta(Meta::LeftOutBefore, &known.max(Some(before.clone())).unwrap_or_default())?;
        Ok(self.leave_out(&before)? > 0)
    }

    /// Takes away the exports that are no newer than an instant and that no local write lies on.
    pub(super) fn leave_out(self, before: &str) -> Result<usize, Error> {
        let sql = "DELETE FROM export_history WHERE created_at <= ?1
                   AND id NOT IN (SELECT unhex(row_key, '-') FROM shadow_rows WHERE table_name = 'export_history')";
        Ok(self.connection.prepare_cached(sql)?.execute([before])?)
    }

    /// For the status: that exports are left out, and which.
    pub(crate) fn left_out(self) -> Result<Option<StatusError>, Error> {
        let before = self.meta(Meta::LeftOutBefore)?.and_then(|text| text.parse::<Timestamp>().ok());
        Ok(before.map(|before| StatusError {
            code: Error::StorageFull.code().to_owned(),
            message: format!(
                "this browser has no room for all exports: those made up to {before} are on the server only; everything else is here"
            ),
        }))
    }
}
