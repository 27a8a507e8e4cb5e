//! Room in a mirror whose image is kept in a small place: the oldest exports are left out, which the server has too.
//!
//! What a learner did here and what is unsent is never left out. What is left out stays so until everything is pulled again.

use rusqlite::OptionalExtension;

use crate::error::Error;
use crate::model::{StatusError, Timestamp};
use crate::store::{Meta, Rows, Store, image};

/// Each time, one of so many exports goes.
const SHARE: u32 = 8;

impl Store {
    /// As [`Store::write`], for rows that the server can give again. Where an image has no room for them, the oldest exports make
    /// room, those of `work` among them.
    pub(crate) fn write_making_room<T>(
        &mut self,
        mut work: impl FnMut(Rows<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let is_image = self.is_image();
        loop {
            let written = self.write(|rows| {
                let value = work(rows)?;
                if is_image && let Some(before) = rows.meta(Meta::LeftOutBefore)? {
                    rows.leave_out(&before)?;
                }
                Ok(value)
            });
            match written {
                Err(Error::StorageFull) if self.make_room()? => {}
                done => return done,
            }
        }
    }

    /// Whether the mirror is in memory and its image is kept elsewhere.
    pub(crate) fn is_image(&self) -> bool {
        self.keeper.is_some()
    }

    /// Whether exports were left out since this was last asked.
    pub(crate) fn take_left_out(&mut self) -> bool {
        std::mem::take(&mut self.left_out)
    }

    /// Leaves the oldest exports out and keeps the smaller image. False when there is nothing to leave out.
    pub(crate) fn make_room(&mut self) -> Result<bool, Error> {
        if self.keeper.is_none() {
            return Ok(false);
        }
        self.known.take();
        let transaction = self.connection.transaction()?;
        let left_out = Rows { connection: &transaction, shapes: &self.shapes }.leave_out_some()?;
        transaction.commit()?;
        if !left_out {
            return Ok(false);
        }
        self.left_out = true;
        self.connection.flush_prepared_statement_cache();
        self.connection.execute_batch("VACUUM")?;
        let smaller = image::image(&mut self.connection)?;
        if let Some(keeper) = &mut self.keeper {
            keeper.keep(&smaller)?;
        }
        Ok(true)
    }
}

impl Rows<'_> {
    /// Leaves out a part of the exports, oldest first; says whether there were any that can be.
    fn leave_out_some(self) -> Result<bool, Error> {
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
    fn leave_out(self, before: &str) -> Result<usize, Error> {
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
