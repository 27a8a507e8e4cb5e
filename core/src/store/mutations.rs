//! The rows of `mutations`.

use rusqlite::{OptionalExtension, Row, params};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::model::{Mutation, MutationId, MutationState, Op, QueuedMutation, Table, UnixMillis};
use crate::store::{Rows, stored};

/// A mutation to be kept.
#[derive(Debug)]
pub(crate) struct NewMutation<'a> {
    pub(crate) mutation: &'a Mutation,
    pub(crate) recorded: UnixMillis,
}

impl Rows<'_> {
    pub(crate) fn insert_mutation(self, new: &NewMutation<'_>) -> Result<(), Error> {
        let m = new.mutation;
        let sql = "INSERT INTO mutations (id, hlc, table_name, op, row_key, value_json, state, recorded_ms)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7)";
        self.connection.prepare_cached(sql)?.execute(params![
            m.id.to_string(),
            m.hlc.to_string(),
            m.table.name(),
            m.op.name(),
            m.key,
            m.values.get(),
            new.recorded.0,
        ])?;
        Ok(())
    }

    /// The state of a mutation; `None` when this mirror never had it, or no longer keeps it.
    pub(crate) fn mutation_state(self, id: MutationId) -> Result<Option<MutationState>, Error> {
        let mut statement = self.connection.prepare_cached("SELECT state FROM mutations WHERE id = ?1")?;
        let name: Option<String> = statement.query_row([id.to_string()], |row| row.get(0)).optional()?;
        name.map(|name| stored(MutationState::from_name(&name))).transpose()
    }

    /// The oldest mutations to be sent.
    pub(crate) fn open_mutations(self, limit: usize) -> Result<Vec<QueuedMutation>, Error> {
        self.mutations(
            "SELECT id, hlc, table_name, op, row_key, value_json, state FROM mutations
             WHERE state IN ('pending', 'in_doubt', 'resend') ORDER BY seq LIMIT ?1",
            limit,
        )
    }

    /// What the visible rows add to the confirmed ones, oldest first.
    pub(crate) fn unreflected_mutations(self) -> Result<Vec<QueuedMutation>, Error> {
        self.mutations(
            "SELECT id, hlc, table_name, op, row_key, value_json, state FROM mutations
             WHERE state IN ('pending', 'in_doubt', 'acknowledged') ORDER BY seq LIMIT ?1",
            i64::MAX as usize,
        )
    }

    fn mutations(self, sql: &str, limit: usize) -> Result<Vec<QueuedMutation>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    pub(crate) fn set_mutation_state(self, id: MutationId, state: MutationState) -> Result<(), Error> {
        let sql = "UPDATE mutations SET state = ?2 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute([&id.to_string(), state.name()])?;
        Ok(())
    }

    /// Notes that the server acknowledged a mutation.
    pub(crate) fn settle(self, id: MutationId, state: MutationState, now: UnixMillis) -> Result<(), Error> {
        let sql = "UPDATE mutations SET state = ?2, settled_ms = ?3 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute(params![id.to_string(), state.name(), now.0])?;
        Ok(())
    }

    /// Notes that the server refused a mutation, and why.
    pub(crate) fn reject(
        self,
        id: MutationId,
        code: &str,
        message: &str,
        now: UnixMillis,
    ) -> Result<(), Error> {
        let sql =
            "UPDATE mutations SET state = 'rejected', settled_ms = ?2, reject_code = ?3, reject_message = ?4
                   WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute(params![id.to_string(), now.0, code, message])?;
        Ok(())
    }

    /// Moves every mutation of one state to another.
    pub(crate) fn move_all(self, from: MutationState, to: MutationState) -> Result<usize, Error> {
        let sql = "UPDATE mutations SET state = ?2 WHERE state = ?1";
        Ok(self.connection.prepare_cached(sql)?.execute([from.name(), to.name()])?)
    }

    pub(crate) fn count_pending(self) -> Result<u32, Error> {
        self.count("SELECT count(*) FROM mutations WHERE state IN ('pending', 'in_doubt', 'resend')")
    }

    pub(crate) fn count_rejected(self) -> Result<u32, Error> {
        self.count("SELECT count(*) FROM mutations WHERE state = 'rejected'")
    }

    /// How many mutations make newly arrived fold rows ambiguous.
    pub(crate) fn count_uncertain(self) -> Result<u32, Error> {
        self.count("SELECT count(*) FROM mutations WHERE state IN ('in_doubt', 'resend')")
    }

    fn count(self, sql: &str) -> Result<u32, Error> {
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Forgets reflected mutations that settled before a time.
    pub(crate) fn prune_reflected(self, before: UnixMillis) -> Result<usize, Error> {
        let sql = "DELETE FROM mutations WHERE state = 'reflected' AND settled_ms < ?1";
        Ok(self.connection.prepare_cached(sql)?.execute([before.0])?)
    }
}

fn read(row: &Row<'_>) -> Result<QueuedMutation, Error> {
    let text = |index: usize| row.get_ref(index).ok().and_then(|value| value.as_str().ok());
    Ok(QueuedMutation {
        mutation: Mutation {
            id: stored(text(0).and_then(|id| id.parse().ok()))?,
            hlc: stored(text(1).and_then(|hlc| hlc.parse().ok()))?,
            table: stored(text(2).and_then(Table::from_name))?,
            op: stored(text(3).and_then(Op::from_name))?,
            key: stored(text(4))?.to_owned(),
            values: stored(text(5).and_then(|json| RawValue::from_string(json.to_owned()).ok()))?,
        },
        state: stored(text(6).and_then(MutationState::from_name))?,
    })
}
