//! Mirrored sessions beside the rows that they are: what the confirmed rows of progress contain of them, and the latest times.

use rusqlite::{OptionalExtension, params};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::{MutationId, MutationState, Op, RegisterRow, Table, Timestamp, UnixMillis};
use crate::store::facts::lies_on_a_row;
use crate::store::{Rows, stored};

/// The latest end of all sessions, as far as they count already, and of those with descriptions, with questions and with words. Ends that are no time of a clock
/// (`infinity`) are not folded.
const LATEST: &str = "SELECT max(ended_at), max(ended_at) FILTER (WHERE descriptions_generated > 0),
    max(ended_at) FILTER (WHERE qa_attempts > 0), max(ended_at) FILTER (WHERE vocabulary_learned > 0)
  FROM sessions WHERE ended_at LIKE '____-__-__T%Z'
    AND (id NOT IN (SELECT row_key FROM confirmed_rows WHERE table_name = 'sessions')
      OR id IN (SELECT row_key FROM shadow_rows WHERE table_name = 'sessions'))";

impl Rows<'_> {
    /// Notes what the confirmed rows contain of a session, before another row of it comes; the first note stands.
    pub(crate) fn note_counted(self, key: &str, row: Option<&RegisterRow>) -> Result<(), Error> {
        let sql = "INSERT OR IGNORE INTO confirmed_rows (table_name, row_key, value_json) VALUES ('sessions', ?1, ?2)";
        let json = stored(serde_json::to_string(&row.map(|row| &row.values)).ok())?;
        self.connection.prepare_cached(sql)?.execute(params![key, json])?;
        Ok(())
    }

    /// What was noted of a session; the outer `None`: nothing.
    pub(crate) fn counted(self, key: &str) -> Result<Option<Option<RegisterRow>>, Error> {
        let sql = "SELECT value_json FROM confirmed_rows WHERE table_name = 'sessions' AND row_key = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found: Option<String> = statement.query_row([key], |row| row.get(0)).optional()?;
        let Some(json) = found else { return Ok(None) };
        let values: Option<Map<String, Value>> = stored(serde_json::from_str(&json).ok())?;
        Ok(Some(values.map(|values| RegisterRow { values, ..RegisterRow::default() })))
    }

    pub(crate) fn clear_counted(self) -> Result<(), Error> {
        self.connection.execute("DELETE FROM confirmed_rows WHERE table_name = 'sessions'", [])?;
        Ok(())
    }

    /// Whether there are confirmed rows of progress at all.
    pub(crate) fn has_confirmed(self) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM confirmed_rows WHERE table_name <> 'sessions')";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// What the confirmed rows contain of sessions that no local write lies on, where the server's row is another one by now.
    pub(crate) fn counted_elsewhere(self) -> Result<Vec<RegisterRow>, Error> {
        let sql =
            "SELECT value_json FROM confirmed_rows WHERE table_name = 'sessions' AND value_json <> 'null'
                   AND row_key NOT IN (SELECT row_key FROM shadow_rows WHERE table_name = 'sessions')";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let json: String = row.get(0)?;
            found.push(RegisterRow {
                values: stored(serde_json::from_str(&json).ok())?,
                ..RegisterRow::default()
            });
        }
        Ok(found)
    }

    /// The latest times of the visible sessions, in the order of `Fold::set_latest`.
    pub(crate) fn latest_of_sessions(self) -> Result<[Option<Timestamp>; 4], Error> {
        let mut statement = self.connection.prepare_cached(LATEST)?;
        let found: [Option<String>; 4] =
            statement.query_row([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?;
        Ok(found.map(|text| text.and_then(|text| text.parse().ok())))
    }

    /// The sessions that this device has recorded and that wait in no state: the server has them.
    pub(crate) fn kept_sessions(self) -> Result<Vec<String>, Error> {
        let sql = "SELECT id FROM mutations WHERE table_name = 'sessions' AND op = 'insert' AND state IN ('reflected', 'resend')";
        let mut statement = self.connection.prepare(sql)?;
        let keys = statement.query_map([], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Takes an insert that nobody has been sent out of the queue, with everything that was written to its row since; says how many
    /// mutations those were. 0: it may have been sent, or it belongs to a batch.
    pub(crate) fn take_back(self, table: Table, key: &str, sent: &[MutationId]) -> Result<i32, Error> {
        let sql = concat!(
            "SELECT id, state, op, batch IS NOT NULL FROM mutations
             WHERE table_name = ?1 AND state <> 'rejected' AND (id = ?2 OR (row_key = ?2 AND ",
            lies_on_a_row!(),
            "))"
        );
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([table.name(), key])?;
        let (mut ids, mut begins) = (Vec::new(), false);
        while let Some(row) = rows.next()? {
            let (id, state, op): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let is_sent = sent.iter().any(|sent| sent.to_string() == id);
            if is_sent || row.get(3)? || state != MutationState::Pending.name() {
                return Ok(0);
            }
            begins |= op == Op::Insert.name();
            ids.push(id);
        }
        if !begins {
            return Ok(0);
        }
        for id in &ids {
            self.connection.prepare_cached("DELETE FROM mutations WHERE id = ?1")?.execute([id])?;
        }
        Ok(i32::try_from(ids.len()).unwrap_or(i32::MAX))
    }

    /// Whether deletions of rows of a table are kept.
    pub(crate) fn keeps_deletions_of(self, table: Table) -> Result<bool, Error> {
        let sql = concat!(
            "SELECT EXISTS (SELECT 1 FROM mutations WHERE table_name = ?1 AND op = 'delete' AND ",
            lies_on_a_row!(),
            ")"
        );
        Ok(self.connection.prepare_cached(sql)?.query_row([table.name()], |row| row.get(0))?)
    }

    /// Keeps a mutation that was just recorded as one that is done, and need not be sent.
    pub(crate) fn keep_unsent(self, id: MutationId) -> Result<(), Error> {
        let sql = "UPDATE mutations SET state = 'reflected' WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute([id.to_string()])?;
        Ok(())
    }

    /// Deletions that nobody was sent, because the insert was taken back, of rows that came all the same: a copy of this file had sent
    /// the insert, or its request was on the way when the program died. They are sent now.
    pub(crate) fn send_deletion(self, table: Table, key: &str) -> Result<(), Error> {
        let sql = "UPDATE mutations SET state = 'pending', settled_ms = NULL
                   WHERE table_name = ?1 AND row_key = ?2 AND op = 'delete' AND state = 'reflected'";
        self.connection.prepare_cached(sql)?.execute([table.name(), key])?;
        Ok(())
    }

    /// Gives the deletions that were never sent the server's time, by which they are forgotten like all others.
    pub(crate) fn date_deletions(self, now: UnixMillis) -> Result<(), Error> {
        let sql = "UPDATE mutations SET settled_ms = ?1 WHERE state = 'reflected' AND settled_ms IS NULL";
        self.connection.prepare_cached(sql)?.execute([now.0])?;
        Ok(())
    }
}
