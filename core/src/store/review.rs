//! The queue as people see it: what waits, what was refused, and what they decide about it.

use rusqlite::Row;

use crate::error::Error;
use crate::model::{MutationId, MutationView, Op, Refusal, Table, Timestamp, UnixMillis};
use crate::store::{Rows, stored};

impl Rows<'_> {
    /// What waits for the server, oldest first.
    pub(crate) fn waiting(self, limit: u32) -> Result<Vec<MutationView>, Error> {
        self.views(
            "SELECT id, table_name, op, row_key, value_json, recorded_ms, reject_code, reject_message, settled_ms
             FROM mutations WHERE state IN ('pending', 'in_doubt', 'resend') ORDER BY seq LIMIT ?1",
            limit,
        )
    }

    /// What the server refused, oldest first.
    pub(crate) fn refused(self, limit: u32) -> Result<Vec<MutationView>, Error> {
        self.views(
            "SELECT id, table_name, op, row_key, value_json, recorded_ms, reject_code, reject_message, settled_ms
             FROM mutations WHERE state = 'rejected' ORDER BY seq LIMIT ?1",
            limit,
        )
    }

    fn views(self, sql: &str, limit: u32) -> Result<Vec<MutationView>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([limit])?;
        let mut views = Vec::new();
        while let Some(row) = rows.next()? {
            views.push(read(row)?);
        }
        Ok(views)
    }

    /// Puts a refused mutation back where it was in the queue, to be sent again; says whether there was one.
    pub(crate) fn requeue(self, id: MutationId) -> Result<bool, Error> {
        let sql = "UPDATE mutations SET state = 'resend', settled_ms = NULL, reject_code = NULL, reject_message = NULL
                   WHERE id = ?1 AND state = 'rejected'";
        Ok(self.connection.prepare_cached(sql)?.execute([id.to_string()])? > 0)
    }

    /// Forgets a refused mutation; says whether there was one.
    pub(crate) fn forget_refused(self, id: MutationId) -> Result<bool, Error> {
        let sql = "DELETE FROM mutations WHERE id = ?1 AND state = 'rejected'";
        Ok(self.connection.prepare_cached(sql)?.execute([id.to_string()])? > 0)
    }
}

fn read(row: &Row<'_>) -> Result<MutationView, Error> {
    let text = |index: usize| -> Result<String, Error> { Ok(row.get(index)?) };
    let at = |index: usize| -> Result<Timestamp, Error> {
        Ok(Timestamp::from_millis(UnixMillis(row.get(index)?)))
    };
    let code: Option<String> = row.get(6)?;
    let refusal = match code {
        Some(code) => {
            let message: Option<String> = row.get(7)?;
            Some(Refusal { code, message: message.unwrap_or_default(), at: at(8)? })
        }
        None => None,
    };
    Ok(MutationView {
        id: stored(text(0)?.parse().ok())?,
        table: stored(Table::from_name(&text(1)?))?,
        op: stored(Op::from_name(&text(2)?))?,
        key: text(3)?,
        // Deeper than it can be read it may be of an older version: the mutation is listed all the same.
        values: serde_json::from_str(&text(4)?).unwrap_or_default(),
        recorded_at: at(5)?,
        refusal,
    })
}
