//! One exchange with the server: what to send, and what to make of the answer.
//!
//! The in-doubt rule: rows that are computed from events become confirmed only at a moment when it is certain which
//! of this device's mutations they contain. Until then they wait in `arrived_rows`, and the visible rows stay right.

use std::collections::HashSet;

use crate::engine::{Engine, visible};
use crate::error::Error;
use crate::model::{MutationId, MutationState, Now, Table, UnixMillis, UserId};
use crate::queue::{self, BatchLimits};
use crate::store::{MIRROR_VERSION, Meta, Rows};
use crate::sync::{Due, Failure, Next};
use crate::wire::{
    Cursor, MAX_REQUEST_BYTES, MutationResult, PROTOCOL, ResultStatus, SyncAnswer, SyncRequest,
};

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
        self.next_ticket += 1;
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
            Some(in_flight) if in_flight.ticket == ticket => in_flight,
            other => {
                self.in_flight = other;
                return Err(Error::StaleTicket);
            }
        };
        match outcome {
            Ok(answer) if !is_acceptable(&answer, &in_flight.sent, self.user_id) => {
                self.failed(&in_flight, &Failure::Unintelligible, now)
            }
            Ok(answer) => self.succeeded(&in_flight, &answer, now),
            Err(failure) => self.failed(&in_flight, &failure, now),
        }
    }

    fn succeeded(&mut self, in_flight: &InFlight, answer: &SyncAnswer, now: Now) -> Result<Applied, Error> {
        let user_id = self.user_id;
        let mut applied = self.store.write(|rows| apply(rows, user_id, in_flight, answer, now.unix_ms))?;
        self.batch_limit = (self.batch_limit * 2).min(MAX_BATCH);
        let more_to_send = self.store.read().count_pending()? > 0;
        let next = self.schedule.succeeded(answer.has_more, now.unix_ms);
        applied.next = if more_to_send { Next::Continue } else { next };
        Ok(applied)
    }

    fn failed(&mut self, in_flight: &InFlight, failure: &Failure, now: Now) -> Result<Applied, Error> {
        let mut rejected = 0;
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
                    let user_id = self.user_id;
                    self.store.write(|rows| {
                        rows.reject(*alone, "PT413", "too large for the server even alone", now.unix_ms)?;
                        visible::rebuild(rows, user_id)
                    })?;
                    rejected = 1;
                }
                sent => self.batch_limit = (sent.len() / 2).max(1),
            }
        }
        let random = self.random();
        let next = self.schedule.failed(failure, now.unix_ms, random);
        let changed = if rejected > 0 { vec![Table::UserProgress, Table::DailyActivity] } else { Vec::new() };
        Ok(Applied { changed, next, pushed: 0, rejected, pulled: 0 })
    }
}

/// Whether an answer is whole and readable: a page is applied completely or not at all. Every mutation that was sent
/// must have its result, else the client would send it again and again without a pause.
fn is_acceptable(answer: &SyncAnswer, sent: &[MutationId], user_id: UserId) -> bool {
    let answered: HashSet<MutationId> = answer.results.iter().map(|result| result.id).collect();
    answer.protocol == PROTOCOL
        && answer.cursor.version >= 0
        && sent.iter().all(|id| answered.contains(id))
        && known_rows(answer).all(|(table, json)| visible::is_readable(table, json, user_id))
}

/// The rows of tables that this version mirrors.
fn known_rows(answer: &SyncAnswer) -> impl Iterator<Item = (Table, &str)> {
    answer.rows.iter().flat_map(|(name, rows)| {
        let table = Table::from_name(name).filter(|table| *table != Table::Sessions);
        rows.iter().filter_map(move |row| table.map(|table| (table, row.values.get())))
    })
}

fn apply(
    rows: Rows<'_>,
    user_id: UserId,
    in_flight: &InFlight,
    answer: &SyncAnswer,
    now: UnixMillis,
) -> Result<Applied, Error> {
    if answer.reset {
        // Before the results: what this very answer acknowledges is part of the new history already.
        for state in [MutationState::Acknowledged, MutationState::Reflected] {
            rows.move_all(state, queue::after_reset(state))?;
        }
        rows.clear_arrived()?;
        rows.set_meta(Meta::Refilling, "1")?;
    }
    let (pushed, rejected) = apply_results(rows, in_flight, &answer.results, now)?;
    let pulled = keep_arrived(rows, answer)?;
    set_cursor(rows, &answer.cursor)?;
    let promoted = !answer.has_more && rows.count_uncertain()? == 0 && promote(rows)?;
    let changed = promoted || rejected > 0;
    if changed {
        visible::rebuild(rows, user_id)?;
    }
    if !answer.has_more {
        rows.set_meta(Meta::LastSyncedMs, &now.0.to_string())?;
        rows.prune_reflected(UnixMillis(now.0.saturating_sub(KEEP_MS)))?;
    }
    let changed = if changed { vec![Table::UserProgress, Table::DailyActivity] } else { Vec::new() };
    Ok(Applied { changed, next: Next::Wait, pushed, rejected, pulled })
}

/// Acknowledges by id, and only what this request carried: whatever was recorded meanwhile stays queued.
fn apply_results(
    rows: Rows<'_>,
    in_flight: &InFlight,
    results: &[MutationResult],
    now: UnixMillis,
) -> Result<(u32, u32), Error> {
    let (mut pushed, mut rejected) = (0, 0);
    for result in results.iter().filter(|result| in_flight.sent.contains(&result.id)) {
        let Some(state) = rows.mutation_state(result.id)? else { continue };
        if !queue::is_open(state) {
            continue;
        }
        if result.status == ResultStatus::Rejected {
            let code = result.code.as_deref().unwrap_or("unknown");
            rows.reject(result.id, code, result.message.as_deref().unwrap_or(""), now)?;
            rejected += 1;
        } else {
            rows.settle(result.id, queue::after_acceptance(state), now)?;
            pushed += 1;
        }
    }
    Ok((pushed, rejected))
}

fn keep_arrived(rows: Rows<'_>, answer: &SyncAnswer) -> Result<u32, Error> {
    let mut pulled = 0;
    for (table, json) in known_rows(answer) {
        rows.put_arrived(table, &key_of(table, json)?, Some(json))?;
        pulled += 1;
    }
    for (name, keys) in &answer.deleted {
        let Some(table) = Table::from_name(name) else { continue };
        for key in keys {
            rows.put_arrived(table, key, None)?;
            pulled += 1;
        }
    }
    Ok(pulled)
}

/// The key of a fold row: its day, or one constant key for the only row that there is.
fn key_of(table: Table, json: &str) -> Result<String, Error> {
    #[derive(serde::Deserialize)]
    struct Key {
        day: Option<String>,
        user_id: Option<String>,
    }
    let key: Key = serde_json::from_str(json).map_err(|_| Error::Internal("a checked row has no key"))?;
    match table {
        Table::DailyActivity => key.day,
        _ => key.user_id,
    }
    .ok_or(Error::Internal("a checked row has no key"))
}

/// Lets the arrived rows count, and with them every acknowledged mutation; says whether anything changed.
fn promote(rows: Rows<'_>) -> Result<bool, Error> {
    let refilled = rows.meta(Meta::Refilling)?.is_some();
    if refilled {
        rows.clear_confirmed()?;
        rows.clear_meta(Meta::Refilling)?;
    }
    let arrived = rows.confirm_arrived()?;
    let reflected = rows.move_all(MutationState::Acknowledged, MutationState::Reflected)? > 0;
    Ok(refilled || arrived || reflected)
}

fn cursor(rows: Rows<'_>) -> Result<Option<Cursor>, Error> {
    let version = rows.meta(Meta::CursorVersion)?.and_then(|text| text.parse().ok());
    Ok(version.zip(rows.meta(Meta::CursorEpoch)?).map(|(version, epoch)| Cursor { version, epoch }))
}

fn set_cursor(rows: Rows<'_>, cursor: &Cursor) -> Result<(), Error> {
    rows.set_meta(Meta::CursorVersion, &cursor.version.to_string())?;
    rows.set_meta(Meta::CursorEpoch, &cursor.epoch)
}
