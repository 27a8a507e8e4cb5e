//! The rows of `mutations`.

use rusqlite::{OptionalExtension, Row, params};
use serde_json::value::RawValue;

use crate::error::Error;
use crate::model::{Mutation, MutationId, MutationState, Op, RegisterWrite, Stamp, Table, UnixMillis};
use crate::planted::{self, Fault};
use crate::store::{Rows, stored};

/// What a planted fault forgets of a list of states.
const IN_DOUBT: &str = "'in_doubt', ";

/// A mutation to be kept.
#[derive(Debug)]
pub(crate) struct NewMutation<'a> {
    pub(crate) mutation: &'a Mutation,
    pub(crate) recorded: UnixMillis,
}

/// Where a mutation stands, and which row it concerns.
#[derive(Clone, Debug)]
pub(crate) struct SentMutation {
    pub(crate) state: MutationState,
    pub(crate) table: Table,
    pub(crate) key: String,
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

    /// Keeps a mutation that is to be sent before all others.
    pub(crate) fn insert_first(self, m: &Mutation) -> Result<(), Error> {
        let sql = "INSERT INTO mutations (seq, id, hlc, table_name, op, row_key, value_json, state, recorded_ms)
                   SELECT min(0, coalesce(min(seq), 0)) - 1, ?1, ?2, ?3, ?4, ?5, ?6, 'resend', coalesce(min(recorded_ms), 0)
                   FROM mutations";
        self.connection.prepare_cached(sql)?.execute(params![
            m.id.to_string(),
            m.hlc.to_string(),
            m.table.name(),
            m.op.name(),
            m.key,
            m.values.get(),
        ])?;
        Ok(())
    }

    /// The exports that mutations to be sent lie on, and whose insert this mirror does not have.
    pub(crate) fn exports_changed_but_not_made(self) -> Result<Vec<String>, Error> {
        let sql = "SELECT DISTINCT row_key FROM mutations AS m
                   WHERE state IN ('pending', 'in_doubt', 'resend') AND table_name = 'export_history'
                     AND NOT EXISTS (SELECT 1 FROM mutations AS made WHERE made.id = m.row_key)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let keys = statement.query_map([], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Forgets the mutations of a register row, but for the refused ones, about which the app decides.
    pub(crate) fn forget_writes(self, table: Table, key: &str) -> Result<(), Error> {
        let sql = "DELETE FROM mutations WHERE table_name = ?1 AND row_key = ?2 AND state <> 'rejected'
                   AND table_name IN ('export_history', 'user_api_keys')";
        self.connection.prepare_cached(sql)?.execute([table.name(), key])?;
        self.remove_shadow(table, key)
    }

    /// Where a mutation stands; `None` when this mirror never had it, or no longer keeps it.
    pub(crate) fn sent_mutation(self, id: MutationId) -> Result<Option<SentMutation>, Error> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT state, table_name, row_key FROM mutations WHERE id = ?1")?;
        let found: Option<(String, String, String)> = statement
            .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((state, table, key)) = found else { return Ok(None) };
        Ok(Some(SentMutation {
            state: stored(MutationState::from_name(&state))?,
            table: stored(Table::from_name(&table))?,
            key,
        }))
    }

    /// A mutation by its id, in whatever state.
    pub(crate) fn mutation(self, id: MutationId) -> Result<Option<Mutation>, Error> {
        let sql = "SELECT id, hlc, table_name, op, row_key, value_json FROM mutations WHERE id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id.to_string()])?;
        rows.next()?.map(read).transpose()
    }

    /// The writes that lie on a register row, oldest first. Those to be sent again are among them: a register does not
    /// mind a repetition, and the server may have lost them.
    pub(crate) fn writes_on(
        self,
        table: Table,
        key: &str,
        client: &str,
    ) -> Result<Vec<RegisterWrite>, Error> {
        let sql = "SELECT id, hlc, table_name, op, row_key, value_json FROM mutations
                   WHERE table_name = ?1 AND row_key = ?2 AND table_name IN ('export_history', 'user_api_keys')
                     AND state IN ('pending', 'in_doubt', 'acknowledged', 'resend') ORDER BY seq";
        let sql = planted::without(Fault::InDoubtNotShown, IN_DOUBT, sql);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([table.name(), key])?;
        let mut writes = Vec::new();
        while let Some(row) = rows.next()? {
            let mutation = read(row)?;
            writes.push(RegisterWrite {
                op: mutation.op,
                stamp: Stamp(mutation.hlc, client.to_owned()),
                values: stored(serde_json::from_str(mutation.values.get()).ok())?,
            });
        }
        Ok(writes)
    }

    /// The register rows that mutations of one state concern.
    pub(crate) fn register_rows_in(self, state: MutationState) -> Result<Vec<(Table, String)>, Error> {
        let sql = format!(
            "SELECT DISTINCT table_name, row_key FROM mutations
             WHERE state = '{}' AND table_name IN ('export_history', 'user_api_keys')",
            state.name()
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (name, key): (String, String) = (row.get(0)?, row.get(1)?);
            found.push((stored(Table::from_name(&name))?, key));
        }
        Ok(found)
    }

    /// The oldest mutations to be sent.
    pub(crate) fn open_mutations(self, limit: usize) -> Result<Vec<Mutation>, Error> {
        self.mutations(
            "SELECT id, hlc, table_name, op, row_key, value_json FROM mutations
             WHERE seq IN (SELECT seq FROM mutations WHERE state IN ('pending', 'in_doubt', 'resend') ORDER BY seq LIMIT ?1)
             ORDER BY seq",
            limit,
        )
    }

    /// The facts that the visible rows add to the confirmed ones, oldest first.
    pub(crate) fn unreflected_facts(self) -> Result<Vec<Mutation>, Error> {
        let sql = "SELECT id, hlc, table_name, op, row_key, value_json FROM mutations
             WHERE state IN ('pending', 'in_doubt', 'acknowledged') AND table_name IN ('sessions', 'progress_events')
             ORDER BY seq LIMIT ?1";
        self.mutations(sql, i64::MAX as usize)
    }

    fn mutations(self, sql: &str, limit: usize) -> Result<Vec<Mutation>, Error> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Notes that the server acknowledged a mutation, by its own clock at `at`.
    pub(crate) fn settle(self, id: MutationId, state: MutationState, at: UnixMillis) -> Result<(), Error> {
        let sql = "UPDATE mutations SET state = ?2, settled_ms = ?3 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute(params![id.to_string(), state.name(), at.0])?;
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
        let sql = format!("UPDATE mutations SET state = '{}' WHERE state = '{}'", to.name(), from.name());
        Ok(self.connection.prepare_cached(&sql)?.execute([])?)
    }

    pub(crate) fn count_pending(self) -> Result<u32, Error> {
        let sql = "SELECT count(*) FROM mutations WHERE state IN ('pending', 'in_doubt', 'resend')";
        self.count(&planted::without(Fault::InDoubtNotWaiting, IN_DOUBT, sql))
    }

    pub(crate) fn count_rejected(self) -> Result<u32, Error> {
        self.count("SELECT count(*) FROM mutations WHERE state = 'rejected'")
    }

    fn count(self, sql: &str) -> Result<u32, Error> {
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Forgets reflected mutations that the server acknowledged before a time of its own clock.
    pub(crate) fn prune_reflected(self, before: UnixMillis) -> Result<usize, Error> {
        let sql = "DELETE FROM mutations WHERE state = 'reflected' AND settled_ms < ?1";
        Ok(self.connection.prepare_cached(sql)?.execute([before.0])?)
    }
}

fn read(row: &Row<'_>) -> Result<Mutation, Error> {
    let text = |index: usize| row.get_ref(index).ok().and_then(|value| value.as_str().ok());
    Ok(Mutation {
        id: stored(text(0).and_then(|id| id.parse().ok()))?,
        hlc: stored(text(1).and_then(|hlc| hlc.parse().ok()))?,
        table: stored(text(2).and_then(Table::from_name))?,
        op: stored(text(3).and_then(Op::from_name))?,
        key: stored(text(4))?.to_owned(),
        values: stored(text(5).and_then(|json| RawValue::from_string(json.to_owned()).ok()))?,
    })
}
