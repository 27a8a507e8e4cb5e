//! Room in a mirror whose image is kept in a small place: the oldest exports are left out, which the server has too.
//!
//! What a learner did here and what is unsent is never left out. What is left out stays so until everything is pulled again.

use crate::error::Error;
use crate::store::{Meta, Rows, Store, image};

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
