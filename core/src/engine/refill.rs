//! The server's past was replaced: everything is pulled anew, and what this device keeps is sent once more.

use serde_json::value::to_raw_value;

use crate::engine::registers;
use crate::error::Error;
use crate::model::{Hlc, Mutation, MutationState, Op, RegisterRow, Table};
use crate::planted::{self, Fault};
use crate::queue;
use crate::store::{Meta, Rows};

/// Begins to pull anew. The confirmed rows stay until all new ones have come.
pub(super) fn begin(rows: Rows<'_>) -> Result<(), Error> {
    for (table, key) in rows.register_rows_in(MutationState::Reflected)? {
        match rows.register(table, &key)? {
            Some(_) if planted::is(Fault::ReflectedNotShadowed) => {}
            Some(_) => registers::keep_shadow(rows, table, &key)?,
            // What was deleted stays deleted, and whatever was to become of it with it.
            None => rows.forget_writes(table, &key)?,
        }
    }
    let states = [MutationState::Acknowledged, MutationState::Reflected];
    for state in states.into_iter().filter(|_| !planted::is(Fault::ResetForgetsKept)) {
        rows.move_all(state, queue::after_reset(state))?;
    }
    for key in rows.exports_changed_but_not_made()? {
        if rows.register(Table::ExportHistory, &key)?.is_none() {
            rows.forget_writes(Table::ExportHistory, &key)?;
        }
    }
    rows.clear_arrived()?;
    rows.clear_meta(Meta::LeftOutBefore)?;
    rows.clear_refilled()?;
    rows.clear_meta(Meta::Unreadable)?;
    rows.set_meta(Meta::Refilling, "1")
}

/// Whether [`bring_back_exports`] is to be called before a request.
pub(super) fn must_bring_back(rows: Rows<'_>) -> Result<bool, Error> {
    Ok(rows.meta(Meta::Refilling)?.is_some() && !planted::is(Fault::ExportsNotBroughtBack))
}

/// Changes to an export that another device made, or that was made too long ago to be kept, would be refused should the
/// server have lost the export. So it is inserted again, before all else, as it is seen here; where the server has it,
/// this changes nothing. Before each request, because until everything has come an export that is lost can be changed.
pub(super) fn bring_back_exports(rows: Rows<'_>) -> Result<(), Error> {
    for key in rows.exports_changed_but_not_made()? {
        let Some(row) = rows.register(Table::ExportHistory, &key)? else { continue };
        let Ok(id) = key.parse() else { continue };
        let mutation = Mutation {
            id,
            // Before every clock: whoever wrote a column still has the last word on it.
            hlc: Hlc::ZERO,
            table: Table::ExportHistory,
            op: Op::Insert,
            key,
            values: to_raw_value(&inserted(row)).map_err(|_| Error::Internal("a row is not JSON"))?,
        };
        rows.insert_first(&mutation)?;
    }
    Ok(())
}

/// The columns that a device may insert, as far as they hold something.
fn inserted(mut row: RegisterRow) -> serde_json::Map<String, serde_json::Value> {
    row.values.retain(|column, value| column != "updated_at" && !value.is_null());
    row.values
}
