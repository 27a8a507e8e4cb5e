//! The rows of `mutations`.

use rusqlite::{OptionalExtension, Row, params};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::model::{Mutation, MutationId, MutationState, Op, RegisterWrite, Stamp, Table, UnixMillis};
use crate::planted::{self, Fault};
use crate::store::facts::lies_on_a_row;
use crate::store::{Rows, stored};

/// What a planted fault forgets of a list of states.
const IN_DOUBT: &str = "'in_doubt', ";

/// The mutations of a row: a fact's insert is found by its id.
const OF_ROW: &str = concat!(
    "seq IN (SELECT seq FROM mutations WHERE table_name = ?1 AND row_key = ?2 AND ",
    lies_on_a_row!(),
    " UNION ALL SELECT seq FROM mutations WHERE id = ?2 AND row_key = ?2 AND table_name = ?1)"
);

/// Bytes that are kept of what a server says of a refusal. It says no more either; another one might quote a whole value.
const MESSAGE_BYTES: usize = 500;

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
    pub(crate) op: Op,
}

impl Rows<'_> {
    pub(crate) fn insert_mutation(self, new: &NewMutation<'_>) -> Result<(), Error> {
        let m = new.mutation;
        let sql =
            "INSERT INTO mutations (id, hlc, table_name, op, row_key, value_json, state, recorded_ms, batch)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7, ?8)";
        self.connection.prepare_cached(sql)?.execute(params![
            m.id.to_string(),
            m.hlc.to_string(),
            m.table.name(),
            m.op.name(),
            m.key,
            m.values.get(),
            new.recorded.0,
            m.batch.map(|batch| batch.to_string()),
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

    /// Whether a deletion of a row is among the mutations that are kept.
    pub(crate) fn keeps_deletion(self, table: Table, key: &str) -> Result<bool, Error> {
        let sql = concat!(
            "SELECT EXISTS (SELECT 1 FROM mutations WHERE table_name = ?1 AND row_key = ?2 AND op = 'delete'
               AND state <> 'rejected' AND ",
            lies_on_a_row!(),
            ")"
        );
        Ok(self.connection.prepare_cached(sql)?.query_row([table.name(), key], |row| row.get(0))?)
    }

    /// The additions to a row that are to be sent once more, and that the confirmed row contains.
    pub(crate) fn resent_additions(self, table: Table, key: &str) -> Result<Vec<Map<String, Value>>, Error> {
        let sql = concat!(
            "SELECT value_json FROM mutations WHERE table_name = ?1 AND row_key = ?2 AND op = 'add' AND state = 'resend' AND ",
            lies_on_a_row!()
        );
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([table.name(), key])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let json: String = row.get(0)?;
            found.push(stored(serde_json::from_str(&json).ok())?);
        }
        Ok(found)
    }

    /// Whether additions to a row are kept that its arrived counters may contain or not.
    pub(crate) fn has_uncertain_additions(self, table: Table, key: &str) -> Result<bool, Error> {
        let sql = concat!(
            "SELECT EXISTS (SELECT 1 FROM mutations WHERE table_name = ?1 AND row_key = ?2 AND op = 'add'
               AND state IN ('pending', 'in_doubt', 'acknowledged', 'resend') AND ",
            lies_on_a_row!(),
            ")"
        );
        Ok(self.connection.prepare_cached(sql)?.query_row([table.name(), key], |row| row.get(0))?)
    }

    /// The rest of a batch that the oldest mutations to be sent end with.
    pub(crate) fn open_rest_of(self, batch: MutationId, after: MutationId) -> Result<Vec<Mutation>, Error> {
        let sql = "SELECT id, hlc, table_name, op, row_key, value_json, batch FROM mutations
                   WHERE batch = ?1 AND batch IS NOT NULL AND state IN ('pending', 'in_doubt', 'resend')
                     AND seq > (SELECT seq FROM mutations WHERE id = ?2) ORDER BY seq";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([batch.to_string(), after.to_string()])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// Forgets the mutations of a register row, but for the refused ones, about which the app decides.
    pub(crate) fn forget_writes(self, table: Table, key: &str, but_deletions: bool) -> Result<(), Error> {
        let sql = format!(
            "DELETE FROM mutations WHERE {OF_ROW} AND state <> 'rejected' AND (op <> 'delete' OR NOT ?3)
             AND table_name NOT IN ({})",
            self.facts_only()
        );
        self.connection.prepare_cached(&sql)?.execute(params![table.name(), key, but_deletions])?;
        self.remove_shadow(table, key)
    }

    /// Forgets a mutation for good, whatever has become of it.
    pub(crate) fn forget_mutation(self, id: MutationId) -> Result<(), Error> {
        self.connection.prepare_cached("DELETE FROM mutations WHERE id = ?1")?.execute([id.to_string()])?;
        Ok(())
    }

    /// Where a mutation stands; `None` when this mirror never had it, or no longer keeps it.
    pub(crate) fn sent_mutation(self, id: MutationId) -> Result<Option<SentMutation>, Error> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT state, table_name, row_key, op FROM mutations WHERE id = ?1")?;
        let found: Option<(String, String, String, String)> = statement
            .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((state, table, key, op)) = found else { return Ok(None) };
        Ok(Some(SentMutation {
            state: stored(MutationState::from_name(&state))?,
            table: stored(Table::named(&table))?,
            key,
            op: stored(Op::from_name(&op))?,
        }))
    }

    /// A mutation by its id, in whatever state.
    pub(crate) fn mutation(self, id: MutationId) -> Result<Option<Mutation>, Error> {
        let sql = "SELECT id, hlc, table_name, op, row_key, value_json, batch FROM mutations WHERE id = ?1";
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
        let sql = format!(
            "SELECT id, hlc, table_name, op, row_key, value_json, batch, state FROM mutations
             WHERE {OF_ROW} AND state IN ('pending', 'in_doubt', 'acknowledged', 'resend')
               AND table_name NOT IN ({}) ORDER BY seq",
            self.facts_only()
        );
        let sql = planted::without(Fault::InDoubtNotShown, IN_DOUBT, &sql);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([table.name(), key])?;
        let mut writes = Vec::new();
        while let Some(row) = rows.next()? {
            let mutation = read(row)?;
            let counts = row.get_ref(7)?.as_str().is_ok_and(|state| state != "resend")
                || planted::is(Fault::ResentAdditionsShown);
            writes.push(RegisterWrite { counts, ..self.write_of(&mutation, client)? });
        }
        Ok(writes)
    }

    /// A mutation as it lies on its row.
    pub(crate) fn write_of(self, mutation: &Mutation, client: &str) -> Result<RegisterWrite, Error> {
        Ok(RegisterWrite {
            counts: true,
            op: mutation.op,
            stamp: Stamp(mutation.hlc, client.to_owned()),
            values: stored(serde_json::from_str(mutation.values.get()).ok())?,
        })
    }

    /// The register rows that mutations of one state concern.
    pub(crate) fn register_rows_in(self, state: MutationState) -> Result<Vec<(Table, String)>, Error> {
        self.rows_named(&format!(
            "SELECT DISTINCT table_name, row_key FROM mutations WHERE state = '{}' AND table_name NOT IN ({})",
            state.name(),
            self.facts_only()
        ))
    }

    /// The oldest mutations to be sent.
    pub(crate) fn open_mutations(self, limit: usize) -> Result<Vec<Mutation>, Error> {
        self.mutations(
            "SELECT id, hlc, table_name, op, row_key, value_json, batch FROM mutations
             WHERE seq IN (SELECT seq FROM mutations WHERE state IN ('pending', 'in_doubt', 'resend') ORDER BY seq LIMIT ?1)
             ORDER BY seq",
            limit,
        )
    }

    pub(super) fn mutations(self, sql: &str, limit: usize) -> Result<Vec<Mutation>, Error> {
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
        self.connection.prepare_cached(sql)?.execute(params![
            id.to_string(),
            now.0,
            code,
            bounded(message)
        ])?;
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

fn bounded(message: &str) -> &str {
    let mut end = MESSAGE_BYTES.min(message.len());
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

fn read(row: &Row<'_>) -> Result<Mutation, Error> {
    let text = |index: usize| row.get_ref(index).ok().and_then(|value| value.as_str().ok());
    Ok(Mutation {
        id: stored(text(0).and_then(|id| id.parse().ok()))?,
        hlc: stored(text(1).and_then(|hlc| hlc.parse().ok()))?,
        table: stored(text(2).and_then(Table::named))?,
        op: stored(text(3).and_then(Op::from_name))?,
        key: stored(text(4))?.to_owned(),
        values: stored(text(5).and_then(|json| RawValue::from_string(json.to_owned()).ok()))?,
        batch: text(6).and_then(|batch| batch.parse().ok()),
    })
}
