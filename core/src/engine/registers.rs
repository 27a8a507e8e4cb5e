//! Keeps visible register rows equal to what the server has with the unreflected writes on top.
//!
//! A row with writes on it has a shadow: what the server has of it. A row without is its own shadow. So 100,000 rows
//! that nobody touches cost nothing twice.

use std::collections::BTreeSet;

use serde_json::Map;

use crate::error::Error;
use crate::merge::overlay;
use crate::model::{FewMap, Hlc, MutationState, Op, RegisterRow, Table, TableKind, UnixMillis};
use crate::planted::{self, Fault};
use crate::store::{Meta, Rows, Shadow, Shape};

/// Register rows whose visible form has to be worked out again: keys by table.
#[derive(Default)]
pub(super) struct Dirty(FewMap<Table, BTreeSet<String>>);

impl Dirty {
    pub(super) fn insert(&mut self, (table, key): (Table, String)) {
        self.0.get_or_insert(table, BTreeSet::new).insert(key);
    }

    /// The keys of one table's rows.
    pub(super) fn of(&self, table: Table) -> impl Iterator<Item = &String> {
        self.0.get(&table).into_iter().flatten()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Table, &String)> {
        self.0.iter().flat_map(|(table, keys)| keys.iter().map(move |key| (table, key)))
    }
}

impl Extend<(Table, String)> for Dirty {
    fn extend<I: IntoIterator<Item = (Table, String)>>(&mut self, rows: I) {
        rows.into_iter().for_each(|row| self.insert(row));
    }
}

/// Makes sure that a row has a shadow, before the first write lies on it. Of a table that is not mirrored (any more) there is
/// nothing to keep.
pub(super) fn keep_shadow(rows: Rows<'_>, table: Table, key: &str) -> Result<(), Error> {
    if rows.shapes().get(table).is_some() && rows.shadow(table, key)?.is_none() {
        let row = rows.register(table, key)?;
        rows.put_shadow(table, key, &Shadow { row, held: None })?;
    }
    Ok(())
}

/// Works out the visible row, and drops the shadow when no write is left.
pub(super) fn refresh(rows: Rows<'_>, table: Table, key: &str, client: &str) -> Result<(), Error> {
    let Some(shape) = rows.shapes().get(table) else { return Ok(()) };
    let Some(shadow) = rows.shadow(table, key)? else { return Ok(()) };
    let writes = rows.writes_on(table, key, client)?;
    if writes.is_empty() {
        rows.put_register(table, key, released(shadow).as_ref())?;
        return rows.remove_shadow(table, key);
    }
    if is_fact(shape) && shadow.row.is_none() && shadow.held.is_some() {
        return rows.put_register(table, key, None);
    }
    let mut confirmed = shadow.row;
    if let (Some(row), Some(held)) = (&mut confirmed, shadow.held)
        && !writes.iter().any(|write| write.op == Op::Insert)
    {
        // What began them here was refused meanwhile: nothing else stands that could be shown.
        for (name, value) in held {
            let standing = row.values.entry(name).or_insert(serde_json::Value::Null);
            *standing = if standing.is_null() { value } else { standing.take() };
        }
    }
    let mut visible = overlay(&shape.table, confirmed, writes);
    if let Some(row) = &mut visible {
        row.values.entry(shape.table.key().name.as_str()).or_insert_with(|| key.into());
    }
    rows.put_register(table, key, visible.as_ref())
}

/// Takes a row as the server has it, or its absence. While it is not certain which of this device's additions its counters
/// contain, they wait: see `apply.rs`.
pub(super) fn arrive(
    rows: Rows<'_>,
    table: Table,
    key: &str,
    row: Option<RegisterRow>,
    client: &str,
    dirty: &mut Dirty,
) -> Result<(), Error> {
    let Some(shape) = rows.shapes().get(table) else { return Ok(()) };
    let Some(before) = rows.shadow(table, key)?.filter(|_| !planted::is(Fault::ShadowLost)) else {
        return rows.put_register(table, key, row.as_ref());
    };
    dirty.insert((table, key.to_owned()));
    // A fact that is gone does not come back: what waits to insert it once more changes nothing.
    let held = (row.is_none() && is_fact(shape)).then(Map::new);
    let mut shadow = Shadow { row, held };
    let counts = shape.table.counters().next().is_some() && !planted::is(Fault::CountersNotHeld);
    if let Some(row) = shadow.row.as_mut().filter(|_| counts)
        && rows.has_uncertain_additions(table, key)?
    {
        let writes = rows.writes_on(table, key, client)?;
        let begins_here = writes.iter().any(|write| write.op == Op::Insert);
        let mut standing = before.row.unwrap_or_default().values;
        let mut held = Map::new();
        for counter in shape.table.counters() {
            // Of a column that is new here nothing stands that could be shown meanwhile.
            let stands = standing.remove_entry(&counter.name).filter(|(_, value)| !value.is_null());
            if stands.is_some() || begins_here {
                held.extend(row.values.remove_entry(&counter.name));
                row.values.extend(stands);
            }
        }
        shadow.held = Some(held);
    }
    rows.put_shadow(table, key, &shadow)
}

/// Whether its rows are facts: mirrored sessions.
fn is_fact(shape: &Shape) -> bool {
    shape.table.table.kind() == TableKind::Events
}

/// The row with the counters that waited, now that every addition is in them.
fn released(shadow: Shadow) -> Option<RegisterRow> {
    let mut row = shadow.row?;
    if !planted::is(Fault::HeldCountersForgotten) {
        row.values.extend(shadow.held.unwrap_or_default());
    }
    Some(row)
}

/// Lays the writes that the queue holds over the rows of tables that were not there before.
pub(super) fn lay_all(rows: Rows<'_>, client: &str) -> Result<(), Error> {
    for state in MutationState::LAID {
        for (table, key) in rows.register_rows_in(state)? {
            keep_shadow(rows, table, &key)?;
            refresh(rows, table, &key, client)?;
        }
    }
    Ok(())
}

pub(super) fn refresh_all(rows: Rows<'_>, dirty: &Dirty, client: &str) -> Result<(), Error> {
    dirty.iter().try_for_each(|(table, key)| refresh(rows, *table, key, client))
}

/// How far ahead of the server's clock another device's may be; the server pulls later ones back to its own.
const MAX_AHEAD_MS: u64 = 5 * 60 * 1000;

/// The greatest believable clock among rows from the server: the next local write must come after what the learner has
/// seen. A clock from the far future is not believed, else nobody could write after it.
pub(super) fn observe(rows: Rows<'_>, seen: Option<Hlc>, server_time: UnixMillis) -> Result<(), Error> {
    let limit = Hlc::ZERO.tick(server_time.plus_ms(MAX_AHEAD_MS));
    let Some(seen) = seen.filter(|seen| *seen <= limit) else { return Ok(()) };
    if seen > rows.clock()? && !planted::is(Fault::RemoteClocksUnheeded) {
        rows.set_meta(Meta::Hlc, &seen.to_string())
    } else {
        Ok(())
    }
}
