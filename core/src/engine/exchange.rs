//! One exchange with the server: what to send, and what to make of the answer.
//!
//! The in-doubt rule: rows that are computed from events become confirmed only at a moment when it is certain which
//! of this device's mutations they contain: when none waits. Until then the rows wait in `arrived_rows`, and the visible
//! rows stay right.

use std::collections::{BTreeSet, HashSet};

use crate::engine::page::Page;
use crate::engine::registers::Dirty;
use crate::engine::traffic::Traffic;
use crate::engine::{Engine, refill, registers, vault, visible};
use crate::error::Error;
use crate::model::{MutationId, MutationState, Now, Table, TableKind, UnixMillis, UserId};
use crate::planted::{self, Fault};
use crate::queue::{self, BatchLimits};
use crate::store::{JournalEntry, MIRROR_VERSION, Meta, Rows};
use crate::sync::{Due, Failure, Next};
use crate::wire::{Cursor, MAX_REQUEST_BYTES, PROTOCOL, ResultStatus, SyncAnswer, SyncRequest};

/// Mutations of one request at most; the server refuses more by name.
pub(super) const MAX_BATCH: usize = 500;
/// Rows of one page.
const PAGE_ROWS: u32 = 500;
/// What one request's mutations may weigh, leaving room for the rest of the request.
const BATCH_BYTES: usize = MAX_REQUEST_BYTES - 16 * 1024;
/// How long the host may wait for the answer. A full batch takes the server well under a second; a train's network
/// may take many.
const TIMEOUT_MS: u64 = 30_000;
/// How long acknowledged mutations are kept to heal a server that was set back (30 days).
const KEEP_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// Names one request; its answer must bring it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// To be handed to [`Engine::apply_response`] with what came back.
    pub ticket: Ticket,
    /// Whose token must accompany it.
    pub user_id: UserId,
    /// The message.
    pub request: SyncRequest,
    /// How long to wait for the answer, in milliseconds.
    pub timeout_ms: u64,
    /// The last token was refused: get a fresh one first.
    pub fresh_token: bool,
}

/// What an answer changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Tables whose visible rows changed.
    pub changed: Vec<Table>,
    /// What to do next.
    pub next: Next,
    /// Mutations that the server acknowledged.
    pub pushed: u32,
    /// Mutations that the server refused.
    pub rejected: u32,
    /// Rows that the server sent.
    pub pulled: u32,
}

#[derive(Debug)]
pub(super) struct InFlight {
    ticket: Ticket,
    sent: Vec<MutationId>,
}

impl Engine {
    /// The next request, if one is due and none is under way. Its mutations are marked in doubt, durably, before this
    /// returns.
    ///
    /// # Errors
    /// The storage errors.
    pub fn next_request(&mut self, now: Now) -> Result<Option<Outgoing>, Error> {
        if self.in_flight.is_some() {
            return Ok(None);
        }
        let has_work = self.store.read().count_pending()? > 0;
        if self.schedule.due(has_work, now.unix_ms) != Due::Now {
            return Ok(None);
        }
        let limits = BatchLimits { mutations: self.batch_limit, bytes: BATCH_BYTES };
        let client_id = self.client_id;
        let request = self.store.write(|rows| {
            refill::bring_back_exports(rows)?;
            let batch = queue::take_prefix(rows.open_mutations(limits.mutations)?, limits);
            for queued in batch.mutations.iter().filter(|queued| queued.state == MutationState::Pending) {
                rows.set_mutation_state(queued.mutation.id, MutationState::InDoubt)?;
            }
            Ok(SyncRequest {
                protocol: PROTOCOL,
                client_id,
                schema: MIRROR_VERSION,
                cursor: cursor(rows)?,
                limit: PAGE_ROWS,
                mutations: batch.mutations.into_iter().map(|queued| queued.mutation.into()).collect(),
            })
        })?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        self.in_flight = Some(InFlight { ticket, sent: request.mutations.iter().map(|m| m.id).collect() });
        let (user_id, fresh_token) = (self.user_id, self.schedule.wants_fresh_token());
        Ok(Some(Outgoing { ticket, user_id, request, timeout_ms: TIMEOUT_MS, fresh_token }))
    }

    /// Takes what came back for a request: everything in it, in one transaction, or nothing.
    ///
    /// # Errors
    /// [`Error::StaleTicket`] for an answer that nobody waits for (nothing changes), and the storage errors (the
    /// request counts as unanswered and will be sent again).
    pub fn apply_response(
        &mut self,
        ticket: Ticket,
        outcome: Result<SyncAnswer, Failure>,
        now: Now,
    ) -> Result<Applied, Error> {
        let in_flight = match self.in_flight.take() {
            Some(in_flight) if in_flight.ticket == ticket || planted::is(Fault::StaleTicketTaken) => {
                in_flight
            }
            other => {
                self.in_flight = other;
                return Err(Error::StaleTicket);
            }
        };
        let applied = match outcome {
            Ok(answer) => match Page::read(&answer, &in_flight.sent, self.user_id) {
                Some(page) => self.succeeded(&in_flight, &answer, &page, now)?,
                None => self.failed(&in_flight, &Failure::Unintelligible, now)?,
            },
            Err(failure) => self.failed(&in_flight, &failure, now)?,
        };
        self.announce(&applied.changed);
        Ok(applied)
    }

    /// Gives up a request whose answer will never be handed over, because the host stopped waiting. Its mutations stay in
    /// doubt and are sent again.
    pub fn abandon(&mut self, ticket: Ticket) {
        self.in_flight.take_if(|in_flight| in_flight.ticket == ticket);
    }

    fn succeeded(
        &mut self,
        in_flight: &InFlight,
        answer: &SyncAnswer,
        page: &Page<'_>,
        now: Now,
    ) -> Result<Applied, Error> {
        let context = Context { user_id: self.user_id, client: self.client_id.to_string(), now: now.unix_ms };
        if planted::is(Fault::CursorBeforeRows) {
            self.store.write(|rows| set_cursor(rows, &answer.cursor))?;
        }
        let traffic = self.traffic;
        let (mut applied, pending) = self.store.write(|rows| {
            traffic.keep(rows)?;
            let applied = apply(rows, &context, in_flight, answer, page)?;
            if applied.changed.contains(&Table::UserApiKeys) {
                vault::tend_arrived(rows, (context.user_id, &context.client), self.entropy.as_mut(), now)?;
            }
            let pending = rows.count_pending()?;
            rows.add_to_journal(&entry(None, &applied, pending, now.unix_ms))?;
            Ok((applied, pending))
        })?;
        self.traffic = Traffic::default();
        self.batch_limit = (self.batch_limit * 2).min(MAX_BATCH);
        let next = self.schedule.succeeded(answer.has_more, now.unix_ms);
        applied.next = if pending > 0 { Next::Continue } else { next };
        Ok(applied)
    }

    fn failed(&mut self, in_flight: &InFlight, failure: &Failure, now: Now) -> Result<Applied, Error> {
        let mut applied =
            Applied { changed: Vec::new(), next: Next::Wait, pushed: 0, rejected: 0, pulled: 0 };
        if *failure == Failure::TooLarge {
            match in_flight.sent.as_slice() {
                // Nothing left to leave out: the server must mend its limit.
                [] => {
                    return self.failed(
                        in_flight,
                        &Failure::Refused { status: 413, code: "PT413".to_owned() },
                        now,
                    );
                }
                [alone] => {
                    applied.rejected = 1;
                    applied.changed = self.set_aside(*alone, now)?;
                }
                sent => self.batch_limit = (sent.len() / 2).max(1),
            }
        }
        let traffic = self.traffic;
        self.store.write(|rows| {
            traffic.keep(rows)?;
            rows.add_to_journal(&entry(Some(failure), &applied, rows.count_pending()?, now.unix_ms))
        })?;
        self.traffic = Traffic::default();
        let random = self.random();
        applied.next = self.schedule.failed(failure, now.unix_ms, random);
        Ok(applied)
    }

    /// Sets a mutation aside that the server finds too large even alone.
    fn set_aside(&mut self, id: MutationId, now: Now) -> Result<Vec<Table>, Error> {
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        self.store.write(|rows| {
            let Some(sent) = rows.sent_mutation(id)? else { return Ok(Vec::new()) };
            rows.reject(id, "PT413", "too large for the server even alone", now.unix_ms)?;
            visible::rebuild(rows, user_id)?;
            registers::refresh(rows, sent.table, &sent.key, &client)?;
            Ok(tables_of(sent.table))
        })
    }
}

/// What `apply` has to know besides the answer.
struct Context {
    user_id: UserId,
    client: String,
    now: UnixMillis,
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

fn entry(failure: Option<&Failure>, applied: &Applied, pending: u32, now: UnixMillis) -> JournalEntry {
    let Applied { pushed, rejected, pulled, .. } = *applied;
    let code = failure.map_or("ok", Failure::code).to_owned();
    let message = failure.map(Failure::to_string).unwrap_or_default();
    JournalEntry { at_ms: now.0, code, message, pushed, rejected, pulled, pending }
}

fn tables_of(table: Table) -> Vec<Table> {
    match table.kind() {
        TableKind::Registers => vec![table],
        _ => vec![Table::UserProgress, Table::DailyActivity],
    }
}

fn apply(
    rows: Rows<'_>,
    context: &Context,
    in_flight: &InFlight,
    answer: &SyncAnswer,
    page: &Page<'_>,
) -> Result<Applied, Error> {
    let mut moved = Moved::default();
    if answer.reset && !planted::is(Fault::EpochUnheeded) {
        // The results do not count: what was sent may build on what is only now to be sent once more, before it.
        refill::begin(rows)?;
    } else {
        apply_results(rows, in_flight, answer, context.now, &mut moved)?;
    }
    keep(rows, page, &mut moved)?;
    registers::observe(rows, page.greatest_clock, answer.server_time.as_millis())?;
    set_cursor(rows, &answer.cursor)?;
    // Waiting for the sent ones would do, were there not copies of this file, which may have sent what this one has not.
    let complete = !answer.has_more || planted::is(Fault::MoreUnheeded);
    if complete && (rows.count_pending()? == 0 || planted::is(Fault::InDoubtRuleSkipped)) {
        promote(rows, &mut moved)?;
    }
    if moved.folds {
        visible::rebuild(rows, context.user_id)?;
    }
    registers::refresh_all(rows, &moved.registers, &context.client)?;
    if !answer.has_more {
        rows.set_meta(Meta::LastSyncedMs, &context.now.0.to_string())?;
        // By the server's clock, as they were settled: the device's own may jump by years.
        let clock =
            if planted::is(Fault::PrunedByOwnClock) { context.now } else { answer.server_time.as_millis() };
        let keep_ms = if planted::is(Fault::PrunedAtOnce) { 0 } else { KEEP_MS };
        rows.prune_reflected(UnixMillis(clock.0.saturating_sub(keep_ms)))?;
    }
    let changed = changed_tables(page, &moved);
    Ok(Applied {
        changed,
        next: Next::Wait,
        pushed: moved.pushed,
        rejected: moved.rejected,
        pulled: page.rows(),
    })
}

fn changed_tables(page: &Page<'_>, moved: &Moved) -> Vec<Table> {
    let arrived = page.registers.iter().map(|(table, ..)| *table);
    let deleted =
        page.deleted.iter().map(|(table, _)| *table).filter(|table| table.kind() == TableKind::Registers);
    let dirty = moved.registers.iter().map(|(table, _)| *table);
    let mut changed: BTreeSet<Table> = arrived.chain(deleted).chain(dirty).collect();
    if moved.folds {
        changed.extend([Table::UserProgress, Table::DailyActivity]);
    }
    changed.into_iter().collect()
}

/// Acknowledges by id, and only what this request carried: whatever was recorded meanwhile stays queued.
fn apply_results(
    rows: Rows<'_>,
    in_flight: &InFlight,
    answer: &SyncAnswer,
    now: UnixMillis,
    moved: &mut Moved,
) -> Result<(), Error> {
    let asked: HashSet<MutationId> = in_flight.sent.iter().copied().collect();
    let settled = answer.server_time.as_millis();
    for result in answer.results.iter().filter(|result| asked.contains(&result.id)) {
        let Some(sent) = rows.sent_mutation(result.id)?.filter(|sent| queue::is_open(sent.state)) else {
            continue;
        };
        if result.status == ResultStatus::Rejected {
            let code = result.code.as_deref().unwrap_or("unknown");
            rows.reject(result.id, code, result.message.as_deref().unwrap_or(""), now)?;
            moved.rejected += 1;
            if sent.table.kind() == TableKind::Registers {
                moved.registers.insert((sent.table, sent.key));
            } else {
                moved.folds |= !planted::is(Fault::RefusedStillCounts);
            }
        } else if result.status == ResultStatus::Applied || !planted::is(Fault::DuplicatesUnheeded) {
            rows.settle(result.id, queue::after_acceptance(sent.state, sent.table.kind()), settled)?;
            moved.pushed += 1;
        }
    }
    if planted::is(Fault::AcknowledgeWholeQueue) {
        rows.move_all(MutationState::Pending, MutationState::Acknowledged)?;
    }
    Ok(())
}

fn keep(rows: Rows<'_>, page: &Page<'_>, moved: &mut Moved) -> Result<(), Error> {
    let refilling = rows.meta(Meta::Refilling)?.is_some();
    if planted::is(Fault::ArrivedRowsDropped) {
        rows.clear_arrived()?;
    }
    for row in &page.folds {
        rows.put_arrived(row.table, &row.key, Some(row.json))?;
    }
    for (table, key, row) in &page.registers {
        registers::arrive(rows, *table, key, Some(row), &mut moved.registers)?;
        if refilling {
            rows.mark_refilled(*table, key)?;
        }
    }
    for (table, key) in page.deleted.iter().filter(|_| !planted::is(Fault::DeletionsUnheeded)) {
        match table.kind() {
            TableKind::Registers => registers::arrive(rows, *table, key, None, &mut moved.registers)?,
            _ => rows.put_arrived(*table, key, None)?,
        }
    }
    Ok(())
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
    moved.registers.extend(rows.register_rows_in(MutationState::Acknowledged)?);
    let reflected = rows.move_all(MutationState::Acknowledged, MutationState::Reflected)? > 0;
    moved.folds |= refilled || arrived || reflected;
    Ok(())
}

fn cursor(rows: Rows<'_>) -> Result<Option<Cursor>, Error> {
    let version = rows.meta(Meta::CursorVersion)?.and_then(|text| text.parse().ok());
    Ok(version.zip(rows.meta(Meta::CursorEpoch)?).map(|(version, epoch)| Cursor { version, epoch }))
}

fn set_cursor(rows: Rows<'_>, cursor: &Cursor) -> Result<(), Error> {
    rows.set_meta(Meta::CursorVersion, &cursor.version.to_string())?;
    rows.set_meta(Meta::CursorEpoch, &cursor.epoch)
}
