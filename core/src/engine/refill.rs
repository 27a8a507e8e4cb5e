//! The server's past was replaced: everything is pulled anew, and what this device keeps is sent once more.

use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use crate::catalogue::{MirroredTable, Rule};
use crate::engine::{registers, sessions};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::model::{Hlc, Mutation, MutationId, MutationState, Op, RegisterRow, Table, UnixMillis};
use crate::planted::{self, Fault};
use crate::queue;
use crate::store::{Meta, Rows};

/// Begins to pull everything again because the server's past was replaced. The confirmed rows stay until all new ones have come.
/// Returns the rows on which writes lie again.
pub(super) fn begin(rows: Rows<'_>) -> Result<Vec<(Table, String)>, Error> {
    let laid = rows.register_rows_in(MutationState::Reflected)?;
    for (table, key) in &laid {
        let table = *table;
        match rows.register(table, key)? {
            Some(_) if planted::is(Fault::ReflectedNotShadowed) => {}
            None if is_whole(rows, table)? => forget_gone(rows, table, key)?,
            _ => registers::keep_shadow(rows, table, key)?,
        }
    }
    let states = [MutationState::Acknowledged, MutationState::Reflected];
    for state in states.into_iter().filter(|_| !planted::is(Fault::ResetForgetsKept)) {
        rows.move_all(state, queue::after_reset(state))?;
    }
    for (table, key) in rows.changed_but_not_made()? {
        if rows.register(table, &key)?.is_none() && is_whole(rows, table)? {
            forget_gone(rows, table, &key)?;
        }
    }
    begin_again(rows)?;
    rows.set_meta(Meta::Refilling, LOST)?;
    Ok(laid)
}

/// Whether this mirror has all rows of a table, so that one which it has not was deleted: not where the app's catalogue does not
/// describe the table, nor while the rows of a table that is new in it are still to come.
fn is_whole(rows: Rows<'_>, table: Table) -> Result<bool, Error> {
    Ok(rows.shapes().get(table).is_some() && rows.meta(Meta::Refilling)?.is_none_or(|why| why != AGAIN))
}

/// What was deleted stays deleted, and whatever was to become of it with it; a deletion made here is sent once more, to a server
/// that may have the row again.
fn forget_gone(rows: Rows<'_>, table: Table, key: &str) -> Result<(), Error> {
    let was_deleted_here = rows.keeps_deletion(table, key)? && !planted::is(Fault::DeletionsNotHealed);
    if table == Table::Sessions && rows.has_confirmed()? {
        // With its shadow goes what the confirmed rows contain of it.
        sessions::note_counted(rows, key, true)?;
    }
    rows.forget_writes(table, key, was_deleted_here)?;
    if was_deleted_here { registers::keep_shadow(rows, table, key) } else { Ok(()) }
}

/// Of a refill: the server has lost its past, or only this device must have everything once more.
const LOST: &str = "1";
const AGAIN: &str = "again";

/// Begins to pull everything again from a server that has lost nothing.
pub(super) fn begin_again(rows: Rows<'_>) -> Result<(), Error> {
    rows.clear_arrived()?;
    rows.clear_meta(Meta::LeftOutBefore)?;
    rows.clear_refilled()?;
    rows.clear_meta(Meta::Unreadable)?;
    if rows.meta(Meta::Refilling)?.is_none() {
        rows.set_meta(Meta::Refilling, AGAIN)?;
    }
    Ok(())
}

/// Whether [`bring_back`] is to be called before a request.
pub(super) fn must_bring_back(rows: Rows<'_>) -> Result<bool, Error> {
    let lost = rows.meta(Meta::Refilling)?.is_some_and(|why| why != AGAIN);
    Ok(lost && !planted::is(Fault::ExportsNotBroughtBack))
}

/// Changes to a row that another device made, or that was made too long ago for its insert to be kept, would be refused should
/// the server have lost the row. So it is inserted again, before all else, as it is seen here; where the server has it,
/// this changes nothing. Before each request, because until everything has come a row that is lost can be changed.
pub(super) fn bring_back(rows: Rows<'_>, entropy: &mut dyn Entropy, now: UnixMillis) -> Result<(), Error> {
    for (table, key) in rows.changed_but_not_made()? {
        let (Some(row), Some(shape)) = (rows.register(table, &key)?, rows.shapes().get(table)) else {
            continue;
        };
        let id = match (table, key.parse()) {
            (Table::ExportHistory | Table::Sessions, Ok(id)) => id,
            (Table::ExportHistory | Table::Sessions, Err(_)) => continue,
            _ => MutationId::make(now, entropy)?,
        };
        let mut values = inserted(rows, &shape.table, &key, row)?;
        if table == Table::Sessions && !sessions::can_be_inserted(&mut values, id) {
            continue;
        }
        let mutation = Mutation {
            id,
            // Before every clock: whoever wrote a column still has the last word on it, and whoever deleted the row on that.
            hlc: Hlc::ZERO,
            table,
            op: Op::Insert,
            values: to_raw_value(&values).map_err(|_| Error::Internal("a row is not JSON"))?,
            key,
            batch: None,
        };
        rows.insert_first(&mutation)?;
    }
    Ok(())
}

/// The columns that a device may insert, as far as they hold something.
fn inserted(
    rows: Rows<'_>,
    table: &MirroredTable,
    key: &str,
    row: RegisterRow,
) -> Result<Map<String, Value>, Error> {
    let mut values = Map::new();
    let confirmed = rows.shadow(table.table, key)?.and_then(|shadow| shadow.row).unwrap_or_default();
    let additions = rows.resent_additions(table.table, key)?;
    for (name, value) in row.values {
        let Some(column) = table.column(&name) else { continue };
        let value = match column.rule {
            Rule::Server => continue,
            // An export has its id among its columns.
            Rule::Key if table.table != Table::ExportHistory => continue,
            // The additions that are sent once more are contained in what is confirmed.
            Rule::Counter if planted::is(Fault::HealedCountersCountTwice) => value,
            Rule::Counter => {
                let standing = confirmed.values.get(&name).cloned().unwrap_or(value);
                let mine = additions.iter().filter_map(|values| values.get(&name));
                mine.fold(standing, |left, delta| column.added(&left, &column.negated(delta)))
            }
            _ if column.kind.is_json_text() => {
                value.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
            }
            _ => value,
        };
        if !value.is_null() {
            values.insert(name, value);
        }
    }
    Ok(values)
}
