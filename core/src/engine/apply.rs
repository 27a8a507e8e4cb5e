//! What an answer does to the mirror, in one transaction.
//!
//! The in-doubt rule: rows that are computed from events become confirmed only at a moment when it is certain which
//! of this device's mutations they contain: when none waits. Until then the rows wait in `arrived_rows`, counters beside the
//! shadows of their rows, and the visible rows stay right.

use crate::engine::changed::Changed;
use crate::engine::exchange::Applied;
use crate::engine::page::Page;
use crate::engine::registers::Dirty;
use crate::engine::{refill, registers, sessions, unreadable, visible};
use crate::error::Error;
use crate::model::{FewMap, MutationId, MutationState, Op, Table, TableKind, UnixMillis, UserId};
use crate::planted::{self, Fault};
use crate::queue;
use crate::store::{Meta, Rows, Shapes};
use crate::sync::Next;
use crate::wire::{Cursor, ResultStatus, SyncAnswer};

/// How long acknowledged mutations are kept to heal a server that was set back (30 days).
const KEEP_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// What `apply` has to know besides the answer.
pub(super) struct Context {
    pub(super) user_id: UserId,
    pub(super) client: String,
    pub(super) now: UnixMillis,
    /// The catalogue has changed under the request: everything is pulled again, from the beginning. Only the results count.
    pub(super) begins_again: bool,
}

/// What an answer moved.
#[derive(Default)]
struct Moved {
    pushed: u32,
    rejected: u32,
    /// The visible fold rows have to be made anew.
    folds: bool,
    registers: Dirty,
}

/// Applies an answer that was read as a whole.
pub(super) fn apply(
    rows: Rows<'_>,
    context: &Context,
    sent: &[MutationId],
    answer: &SyncAnswer,
    page: &Page<'_>,
    changed: &mut Changed,
) -> Result<Applied, Error> {
    let mut moved = Moved::default();
    if answer.reset && !planted::is(Fault::EpochUnheeded) {
        // The results do not count: what was sent may build on what is only now to be sent once more, before it.
        moved.registers.extend(refill::begin(rows)?);
    } else {
        apply_results(rows, sent, answer, context.now, &mut moved)?;
    }
    // Waiting for the sent ones would do, were there not copies of this file, which may have sent what this one has not.
    let has_more = answer.has_more || context.begins_again;
    let complete = !has_more || planted::is(Fault::MoreUnheeded);
    let promotes = complete && (rows.count_pending()? == 0 || planted::is(Fault::InDoubtRuleSkipped));
    if !context.begins_again {
        keep(rows, page, &context.client, promotes, &mut moved)?;
        unreadable::note(rows, page)?;
        set_cursor(rows, &answer.cursor)?;
    }
    registers::observe(rows, page.greatest_clock, answer.server_time.as_millis())?;
    if promotes {
        promote(rows, &mut moved)?;
    }
    registers::refresh_all(rows, &moved.registers, &context.client)?;
    sessions::deleted_here(rows, moved.registers.of(Table::Sessions), &context.client)?;
    if moved.folds || moved.registers.of(Table::Sessions).next().is_some() {
        visible::rebuild(rows, context.user_id, changed)?;
    }
    if !has_more {
        rows.set_meta(Meta::LastSyncedMs, &context.now.0.to_string())?;
        // By the server's clock, as they were settled: the device's own may jump by years.
        let clock =
            if planted::is(Fault::PrunedByOwnClock) { context.now } else { answer.server_time.as_millis() };
        let keep_ms = if planted::is(Fault::PrunedAtOnce) { 0 } else { KEEP_MS };
        rows.date_deletions(clock)?;
        rows.prune_reflected(UnixMillis(clock.0.saturating_sub(keep_ms)))?;
    }
    note_registers(rows.shapes(), page, &moved, changed);
    Ok(Applied {
        changed: Vec::new(),
        next: Next::Wait,
        pushed: moved.pushed,
        rejected: moved.rejected,
        pulled: page.rows(),
        failure: None,
    })
}

/// The register rows that an answer brought, took away or lets be seen anew.
fn note_registers(shapes: &Shapes, page: &Page<'_>, moved: &Moved, changed: &mut Changed) {
    for (table, key, _) in &page.registers {
        changed.row(*table, key.as_str());
    }
    for (table, row) in &page.packed {
        changed.row(*table, row.key());
    }
    let is_register = |table: Table| shapes.kind(table) == TableKind::Registers;
    let deleted = page.deleted.iter().filter(|(table, _)| is_register(*table));
    for (table, key) in deleted.filter(|_| !planted::is(Fault::DeletionsNotTold)) {
        changed.row(*table, *key);
    }
    for (table, key) in moved.registers.iter().filter(|_| !planted::is(Fault::RefusalsNotTold)) {
        changed.row(*table, key.as_str());
    }
}

/// Acknowledges by id, and only what this request carried: whatever was recorded meanwhile stays queued.
fn apply_results(
    rows: Rows<'_>,
    sent: &[MutationId],
    answer: &SyncAnswer,
    now: UnixMillis,
    moved: &mut Moved,
) -> Result<(), Error> {
    let mut asked = FewMap::default();
    sent.iter().for_each(|id| asked.insert(*id, ()));
    let settled = answer.server_time.as_millis();
    for result in answer.results.iter().filter(|result| asked.get(&result.id).is_some()) {
        let Some(known) = rows.sent_mutation(result.id)?.filter(|known| queue::is_open(known.state)) else {
            continue;
        };
        let is_odd = result.code.as_deref().is_some_and(|code| code.starts_with("PT"));
        if result.status == ResultStatus::Rejected && !(is_odd && planted::is(Fault::OddRefusalsTaken)) {
            let code = result.code.as_deref().unwrap_or("unknown");
            rows.reject(result.id, code, result.message.as_deref().unwrap_or(""), now)?;
            moved.rejected += 1;
            if known.table == Table::UserApiKeys {
                // What the server refused is not the newest.
                rows.clear_meta(Meta::VaultKnown)?;
            }
            if known.table.kind() == TableKind::Events {
                moved.folds |= !planted::is(Fault::RefusedStillCounts);
            }
            if rows.shapes().kind(known.table) == TableKind::Registers {
                moved.registers.insert((known.table, known.key));
            }
        } else if result.status != ResultStatus::Duplicate || !planted::is(Fault::DuplicatesUnheeded) {
            let kind = rows.shapes().kind_of(known.table, known.op);
            let mut state = queue::after_acceptance(known.state, kind);
            if known.op == Op::Add && state == MutationState::Reflected {
                if rows.shadow(known.table, &known.key)?.is_some_and(|shadow| shadow.row.is_none()) {
                    // No value of the server's has come yet that it could be in: it counts here until one has.
                    state = MutationState::Acknowledged;
                } else {
                    moved.registers.insert((known.table, known.key));
                }
            }
            rows.settle(result.id, state, settled)?;
            moved.pushed += 1;
        }
    }
    if planted::is(Fault::AcknowledgeWholeQueue) {
        rows.move_all(MutationState::Pending, MutationState::Acknowledged)?;
    }
    Ok(())
}

/// `promotes`: what arrives is confirmed in this transaction.
fn keep(
    rows: Rows<'_>,
    page: &Page<'_>,
    client: &str,
    promotes: bool,
    moved: &mut Moved,
) -> Result<(), Error> {
    let arriving = Arriving::new(rows, promotes)?;
    let refilling = rows.meta(Meta::Refilling)?.is_some();
    if planted::is(Fault::ArrivedRowsDropped) {
        rows.clear_arrived()?;
    }
    for row in &page.folds {
        rows.put_arrived(row.table, &row.key, Some(&*row.json))?;
    }
    for (table, key, row) in &page.registers {
        arriving.note(rows, *table, key, moved)?;
        registers::arrive(rows, *table, key, Some(row.clone()), client, &mut moved.registers)?;
        if refilling {
            rows.mark_refilled(*table, key)?;
        }
    }
    keep_packed(rows, page, (refilling, &arriving), client, moved)?;
    for (table, key) in page.deleted.iter().filter(|_| !planted::is(Fault::DeletionsUnheeded)) {
        match rows.shapes().kind(*table) {
            TableKind::Registers => {
                arriving.note(rows, *table, key, moved)?;
                registers::arrive(rows, *table, key, None, client, &mut moved.registers)?;
            }
            _ => rows.put_arrived(*table, key, None)?,
        }
    }
    Ok(())
}

/// Nearly all of many rows have no local write on them and are only written down.
fn keep_packed(
    rows: Rows<'_>,
    page: &Page<'_>,
    (refilling, arriving): (bool, &Arriving),
    client: &str,
    moved: &mut Moved,
) -> Result<(), Error> {
    let Some((table, _)) = page.packed.first() else { return Ok(()) };
    let mut shadowed = (*table, rows.shadowed(*table)?);
    for (table, row) in &page.packed {
        if shadowed.0 != *table {
            shadowed = (*table, rows.shadowed(*table)?);
        }
        let Some(shape) = rows.shapes().get(*table) else { continue };
        arriving.note(rows, *table, row.key(), moved)?;
        if shadowed.1.contains(row.key()) {
            let named = row.to_register(shape)?;
            registers::arrive(rows, *table, row.key(), Some(named), client, &mut moved.registers)?;
        } else {
            rows.put_packed(shape, row)?;
        }
        if refilling {
            rows.mark_refilled(*table, row.key())?;
        }
    }
    Ok(())
}

/// What is to be noted of sessions as they arrive.
struct Arriving {
    /// What the confirmed rows contain of them, because those wait.
    counted: bool,
    /// They contain each session as this mirror has it.
    knows_all: bool,
    /// This mirror keeps deletions of some.
    has_deletions: bool,
}

impl Arriving {
    fn new(rows: Rows<'_>, promotes: bool) -> Result<Arriving, Error> {
        if !sessions::are_mirrored(rows) {
            return Ok(Arriving { counted: false, knows_all: false, has_deletions: false });
        }
        Ok(Arriving {
            counted: !promotes && rows.has_confirmed()?,
            knows_all: rows.meta(Meta::SessionsComplete)?.is_some(),
            has_deletions: rows.keeps_deletions_of(Table::Sessions)?,
        })
    }

    fn note(&self, rows: Rows<'_>, table: Table, key: &str, moved: &mut Moved) -> Result<(), Error> {
        if table != Table::Sessions {
            return Ok(());
        }
        if self.has_deletions && rows.keeps_deletion(table, key)? {
            moved.registers.insert((table, key.to_owned()));
        }
        if self.counted { sessions::note_counted(rows, key, self.knows_all) } else { Ok(()) }
    }
}

/// Lets the arrived rows count, and with them every acknowledged mutation.
fn promote(rows: Rows<'_>, moved: &mut Moved) -> Result<(), Error> {
    let refilled = rows.meta(Meta::Refilling)?.is_some();
    if refilled && !planted::is(Fault::RefillNotSwept) {
        rows.clear_confirmed()?;
        moved.registers.extend(rows.sweep_registers()?);
        rows.clear_refilled()?;
        rows.clear_meta(Meta::Refilling)?;
    }
    let arrived = rows.confirm_arrived()?;
    sessions::confirmed(rows)?;
    // No write is left to lie on a row: what its counters held back counts, and a session may have come while its deletion hid it.
    moved.registers.extend(rows.all_shadowed()?);
    let reflected = rows.move_all(MutationState::Acknowledged, MutationState::Reflected)? > 0;
    moved.folds |= refilled || arrived || reflected;
    Ok(())
}

pub(super) fn cursor(rows: Rows<'_>) -> Result<Option<Cursor>, Error> {
    let version = rows.meta(Meta::CursorVersion)?.and_then(|text| text.parse().ok());
    Ok(version.zip(rows.meta(Meta::CursorEpoch)?).map(|(version, epoch)| Cursor { version, epoch }))
}

/// Goes back to the beginning. The epoch stays: without it a server that has lost its past could not say so.
pub(super) fn rewind_cursor(rows: Rows<'_>) -> Result<(), Error> {
    rows.set_meta(Meta::CursorVersion, "0")?;
    if planted::is(Fault::EpochForgotten) { rows.clear_meta(Meta::CursorEpoch) } else { Ok(()) }
}

pub(super) fn set_cursor(rows: Rows<'_>, cursor: &Cursor) -> Result<(), Error> {
    if cursor.version > 0 && rows.meta(Meta::KnownUser)?.is_none() {
        rows.set_meta(Meta::KnownUser, "true")?;
    }
    rows.set_meta(Meta::CursorVersion, &cursor.version.to_string())?;
    rows.set_meta(Meta::CursorEpoch, &cursor.epoch)
}
