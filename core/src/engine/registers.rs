//! Keeps visible register rows equal to what the server has with the unreflected writes on top.
//!
//! A row with writes on it has a shadow: what the server has of it. A row without is its own shadow. So 100,000 rows
//! that nobody touches cost nothing twice.

use std::collections::BTreeSet;

use crate::error::Error;
use crate::merge::overlay;
use crate::model::{Hlc, RegisterRow, Table, UnixMillis};
use crate::planted::{self, Fault};
use crate::store::{Meta, Rows};

/// Register rows whose visible form has to be worked out again.
pub(super) type Dirty = BTreeSet<(Table, String)>;

/// Makes sure that a row has a shadow, before the first write lies on it.
pub(super) fn keep_shadow(rows: Rows<'_>, table: Table, key: &str) -> Result<(), Error> {
    if rows.shadow(table, key)?.is_none() {
        let visible = rows.register(table, key)?;
        rows.put_shadow(table, key, visible.as_ref())?;
    }
    Ok(())
}

/// Works out the visible row, and drops the shadow when no write is left.
pub(super) fn refresh(rows: Rows<'_>, table: Table, key: &str, client: &str) -> Result<(), Error> {
    let Some(confirmed) = rows.shadow(table, key)? else { return Ok(()) };
    let writes = rows.writes_on(table, key, client)?;
    if writes.is_empty() {
        rows.put_register(table, key, confirmed.as_ref())?;
        return rows.remove_shadow(table, key);
    }
    let mut visible = overlay(table, confirmed, writes);
    if let (Table::UserApiKeys, Some(row)) = (table, &mut visible) {
        row.values.entry("user_id").or_insert_with(|| key.into());
    }
    rows.put_register(table, key, visible.as_ref())
}

/// Takes a row as the server has it, or its absence.
pub(super) fn arrive(
    rows: Rows<'_>,
    table: Table,
    key: &str,
    row: Option<&RegisterRow>,
    dirty: &mut Dirty,
) -> Result<(), Error> {
    if rows.shadow(table, key)?.is_some() && !planted::is(Fault::ShadowLost) {
        rows.put_shadow(table, key, row)?;
        dirty.insert((table, key.to_owned()));
        return Ok(());
    }
    rows.put_register(table, key, row)
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
