//! The queue as people see it: what waits, what was refused, and what they decide about it.

use std::ops::ControlFlow;

use rusqlite::{Params, Row};

use crate::error::Error;
use crate::model::{MutationId, MutationView, Op, Refusal, Table, Timestamp, UnixMillis};
use crate::planted::{self, Fault};
use crate::store::{Rows, stored};

/// One state at a time: for all of them at once SQLite would sort the whole queue.
const FIRST_WAITING: &str = "
    SELECT id, table_name, op, row_key, value_json, recorded_ms, reject_code, reject_message, settled_ms,
      batch
    FROM mutations WHERE seq IN (
      SELECT seq FROM (SELECT seq FROM mutations WHERE state = 'pending' ORDER BY seq LIMIT ?1)
      UNION ALL
      SELECT seq FROM (SELECT seq FROM mutations WHERE state = 'in_doubt' ORDER BY seq LIMIT ?1)
      UNION ALL
      SELECT seq FROM (SELECT seq FROM mutations WHERE state = 'resend' ORDER BY seq LIMIT ?1))
    ORDER BY seq LIMIT ?1";

impl Rows<'_> {
    /// Hands over what waits for the server, oldest first, one by one: however long the queue is, one of it is in memory. Ends
    /// early when `take` breaks off.
    pub(crate) fn each_waiting(self, take: impl FnMut(MutationView) -> ControlFlow<()>) -> Result<(), Error> {
        // Without the plus SQLite would go by the index on the state, and sort.
        self.each(
            "SELECT id, table_name, op, row_key, value_json, recorded_ms, reject_code, reject_message, settled_ms,
      batch
             FROM mutations WHERE +state IN ('pending', 'in_doubt', 'resend') ORDER BY seq",
            [],
            take,
        )
    }

    /// The same of what the server refused.
    pub(crate) fn each_refused(self, take: impl FnMut(MutationView) -> ControlFlow<()>) -> Result<(), Error> {
        self.each(
            "SELECT id, table_name, op, row_key, value_json, recorded_ms, reject_code, reject_message, settled_ms,
      batch
             FROM mutations WHERE state = 'rejected' ORDER BY seq",
            [],
            take,
        )
    }

    /// All that waits for the server, oldest first.
    pub(crate) fn waiting(self) -> Result<Vec<MutationView>, Error> {
        collected(u32::MAX, |take| self.each_waiting(take))
    }

    /// All that the server refused, oldest first.
    pub(crate) fn refused(self) -> Result<Vec<MutationView>, Error> {
        collected(u32::MAX, |take| self.each_refused(take))
    }

    /// The first of what waits, oldest first.
    pub(crate) fn first_waiting(self, limit: u32) -> Result<Vec<MutationView>, Error> {
        collected(limit, |take| self.each(FIRST_WAITING, [limit], take))
    }

    /// The first of what the server refused, oldest first.
    pub(crate) fn first_refused(self, limit: u32) -> Result<Vec<MutationView>, Error> {
        collected(limit, |take| self.each_refused(take))
    }

    fn each(
        self,
        sql: &str,
        bounds: impl Params,
        mut take: impl FnMut(MutationView) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(bounds)?;
        while let Some(row) = rows.next()? {
            if take(read(row)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The refused mutations by id, table and key, oldest first: all, or the one of this id if it is among them, with its batch.
    pub(crate) fn refused_keys(
        self,
        only: Option<MutationId>,
    ) -> Result<Vec<(MutationId, Table, String)>, Error> {
        let sql = "SELECT id, table_name, row_key FROM mutations
                   WHERE state = 'rejected'
                     AND (?1 IS NULL OR id = ?1 OR batch = (SELECT batch FROM mutations WHERE id = ?1)) ORDER BY seq";
        let with_batch = " OR batch = (SELECT batch FROM mutations WHERE id = ?1)";
        let sql = planted::without(Fault::BatchDecidedInPart, with_batch, sql);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([only.map(|id| id.to_string())])?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, table): (String, String) = (row.get(0)?, row.get(1)?);
            keys.push((stored(id.parse().ok())?, stored(Table::named(&table))?, row.get(2)?));
        }
        Ok(keys)
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

/// The first so many of what is handed over.
fn collected(
    limit: u32,
    each: impl FnOnce(&mut dyn FnMut(MutationView) -> ControlFlow<()>) -> Result<(), Error>,
) -> Result<Vec<MutationView>, Error> {
    let mut views = Vec::new();
    each(&mut |view| {
        views.push(view);
        let is_enough = views.len() >= limit as usize;
        if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(views)
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
        table: stored(Table::named(&text(1)?))?,
        op: stored(Op::from_name(&text(2)?))?,
        key: text(3)?,
        // Deeper than it can be read it may be of an older version: the mutation is listed all the same.
        values: serde_json::from_str(&text(4)?).unwrap_or_default(),
        recorded_at: at(5)?,
        refusal,
        batch: row.get::<_, Option<String>>(9)?.and_then(|batch| batch.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::{Location, Store};

    fn queue(length: u32) -> Store {
        let store = Store::open(&Location::Memory).unwrap();
        let sql = "INSERT INTO mutations (id, hlc, table_name, op, row_key, value_json, state, recorded_ms)
                   VALUES (?1, '', 'sessions', 'insert', '', '{}', ?2, 0)";
        for index in 0..length {
            let id = format!("019a9d3e-7a00-7000-8000-{index:012x}");
            let state = ["pending", "in_doubt", "resend", "rejected", "reflected"][index as usize % 5];
            store.connection.execute(sql, [id.as_str(), state]).unwrap();
        }
        store
    }

    #[test]
    fn the_first_of_the_queue_are_the_oldest_whatever_their_state() {
        let store = queue(500);
        for limit in [1, 2, 7, 100, 500] {
            let mut all = store.read().waiting().unwrap();
            all.truncate(limit as usize);
            assert!(store.read().first_waiting(limit).unwrap() == all && !all.is_empty(), "{limit}");
        }
    }

    #[test]
    fn the_first_of_a_long_queue_cost_what_those_of_a_short_one_do() {
        let steps = |length| {
            let store = queue(length);
            let mut statement = store.connection.prepare(FIRST_WAITING).unwrap();
            assert_eq!(statement.query_map([20], |_| Ok(())).unwrap().count(), 20);
            statement.get_status(StatementStatus::VmStep)
        };
        assert_eq!(steps(200), steps(5_000));
    }
}
