//! Mutations that are facts: a session or an award, which lies on no row of the mirror and is found by its id. And the rows that only
//! the server makes.

use crate::error::Error;
use crate::model::{Mutation, Table};
use crate::store::Rows;

/// A condition on mutations: all but the inserts of facts. Word for word that of the index by row.
macro_rules! lies_on_a_row {
    () => {
        "(table_name NOT IN ('sessions', 'progress_events') OR op <> 'insert')"
    };
}
pub(super) use lies_on_a_row;

impl Rows<'_> {
    /// The rows that mutations to be sent lie on, and whose insert this mirror does not have. Of the one row of a user no device
    /// makes an insert.
    pub(crate) fn changed_but_not_made(self) -> Result<Vec<(Table, String)>, Error> {
        self.rows_named(
            "SELECT DISTINCT table_name, row_key FROM mutations AS m
             WHERE state IN ('pending', 'in_doubt', 'resend') AND op NOT IN ('insert', 'delete') AND table_name <> 'user_api_keys'
               AND NOT EXISTS (SELECT 1 FROM mutations AS made
                 WHERE made.table_name = m.table_name AND made.row_key = m.row_key AND made.op = 'insert'
                   AND made.table_name NOT IN ('sessions', 'progress_events') AND made.state <> 'rejected')
               AND NOT EXISTS (SELECT 1 FROM mutations AS made
                 WHERE made.id = m.row_key AND made.table_name = m.table_name AND made.op = 'insert' AND made.state <> 'rejected')",
        )
    }

    /// The facts that the visible rows add to the confirmed ones, oldest first.
    pub(crate) fn unreflected_facts(self) -> Result<Vec<Mutation>, Error> {
        let sql = format!(
            "SELECT id, hlc, table_name, op, row_key, value_json, batch FROM mutations
             WHERE state IN ('pending', 'in_doubt', 'acknowledged') AND table_name IN ({}) AND op = 'insert'
             ORDER BY seq LIMIT ?1",
            self.facts_only()
        );
        self.mutations(&sql, i64::MAX as usize)
    }

    /// The awards of this device that are kept, whatever has become of them, but for the refused ones.
    pub(crate) fn kept_awards(self) -> Result<Vec<Mutation>, Error> {
        let sql = "SELECT id, hlc, table_name, op, row_key, value_json, batch FROM mutations
                   WHERE table_name = 'progress_events' AND state <> 'rejected' LIMIT ?1";
        self.mutations(sql, i64::MAX as usize)
    }

    /// The tables whose mutations are facts and lie on no row: sessions too, unless they are mirrored.
    pub(super) fn facts_only(self) -> &'static str {
        if self.shapes.get(Table::Sessions).is_some() {
            "'progress_events'"
        } else {
            "'sessions', 'progress_events'"
        }
    }
}
