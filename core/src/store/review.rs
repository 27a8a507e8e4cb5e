//! The queue as people see it: what waits, what was refused, and what they decide about it.

use rusqlite::Row;

use crate::error::Error;
use crate::model::{MutationId, MutationView, Op, Refusal, Table, Timestamp, UnixMillis};
use crate::store::{Rows, stored};

/// One state at a time: for all of them at once SQLite would sort the whole queue.
const FIRST_WAITING: &str = "
    SELECT id, table_name, op, row_key, value_json, recorded_ms, reject_code, reject_message, settled_ms
    FROM mutations WHERE seq IN (
      SELECT seq FROM (SELECT seq FROM mutations WHERE state = 'pending' ORDER BY seq LIMIT ?1)
      UNION ALL
      SELECT seq FROM (SELECT seq FROM mutations WHERE state = 'in_doubt' ORDER BY seq LIMIT ?1)
      UNION ALL
      SELECT seq FROM (SELECT seq FROM mutations WHERE state = 'resend' ORDER BY seq LIMIT ?1))
    ORDER BY seq LIMIT ?1";

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

    /// The first of what waits, oldest first.
    pub(crate) fn first_waiting(self, limit: u32) -> Result<Vec<MutationView>, Error> {
        self.views(FIRST_WAITING, limit)
    }

    /// The first of what the server refused, oldest first.
    pub(crate) fn first_refused(self, limit: u32) -> Result<Vec<MutationView>, Error> {
        self.refused(limit)
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
            let all = store.read().waiting(limit).unwrap();
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
