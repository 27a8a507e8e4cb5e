//! One exchange with the server: what to send, and what to make of the answer.

use crate::engine::apply::{Context, apply, cursor, set_cursor};
use crate::engine::changed::Changed;
use crate::engine::page::Page;
use crate::engine::traffic::Traffic;
use crate::engine::{Engine, refill, registers, vault, visible};
use crate::error::Error;
use crate::model::{MutationId, Now, Table, TableKind, UnixMillis, UserId};
use crate::planted::{self, Fault};
use crate::queue::{self, BatchLimits};
use crate::store::{JournalEntry, MIRROR_VERSION};
use crate::sync::{Due, Failure, Next};
use crate::wire::{Cursor, MAX_REQUEST_BYTES, PROTOCOL, SyncAnswer, SyncRequest, WireMutation};

/// Mutations of one request at most; the server refuses more by name.
pub(super) const MAX_BATCH: usize = 500;
/// Rows of one page: the most that the server gives. What a request costs by itself is shared by more rows, and a page of
/// exports still weighs about 1 MiB.
const PAGE_ROWS: u32 = 2_000;
/// What one request's mutations may weigh, leaving room for the rest of the request.
const BATCH_BYTES: usize = MAX_REQUEST_BYTES - 16 * 1024;
/// How long the host may wait for the answer. A full batch takes the server well under a second; a train's network
/// may take many.
const TIMEOUT_MS: u64 = 30_000;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    pub(super) ticket: Ticket,
    pub(super) sent: Vec<MutationId>,
    /// Of a page that was asked for ahead: the cursor that the mirror must have come to.
    pub(super) asked_from: Option<Cursor>,
}

impl Engine {
    /// The next request, if one is due and none is under way. Nothing is written for it: whether a mutation was ever sent
    /// decides nothing, because it may also have been sent from a copy of this file.
    ///
    /// # Errors
    /// The storage errors.
    pub fn next_request(&mut self, now: Now) -> Result<Option<Outgoing>, Error> {
        if self.in_flight.is_some() || self.paused {
            return Ok(None);
        }
        let has_work = self.store.pending()? > 0;
        if self.schedule.due(has_work, now.unix_ms) != Due::Now {
            return Ok(None);
        }
        if refill::must_bring_back(self.store.read())? {
            self.store.write(refill::bring_back_exports)?;
        }
        let limits = BatchLimits { mutations: self.batch_limit, bytes: BATCH_BYTES };
        let (batch, cursor) = self.store.snapshot(|rows| {
            Ok((queue::take_prefix(rows.open_mutations(limits.mutations)?, limits), cursor(rows)?))
        })?;
        let mutations = batch.mutations.into_iter().map(WireMutation::from).collect();
        let request = self.request(cursor, mutations);
        let outgoing = self.outgoing(request, self.schedule.wants_fresh_token());
        let sent = outgoing.request.mutations.iter().map(|mutation| mutation.id).collect();
        self.in_flight = Some(InFlight { ticket: outgoing.ticket, sent, asked_from: None });
        Ok(Some(outgoing))
    }

    pub(super) fn request(&self, cursor: Option<Cursor>, mutations: Vec<WireMutation>) -> SyncRequest {
        SyncRequest {
            protocol: PROTOCOL,
            client_id: self.client_id,
            schema: MIRROR_VERSION,
            cursor,
            limit: PAGE_ROWS,
            packed: true,
            mutations,
        }
    }

    /// Gives a request its ticket.
    pub(super) fn outgoing(&mut self, request: SyncRequest, fresh_token: bool) -> Outgoing {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        Outgoing { ticket, user_id: self.user_id, request, timeout_ms: TIMEOUT_MS, fresh_token }
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
        // Until this answer is applied, nothing is certain about the page behind it.
        let ahead = self.ahead.take();
        let mut changed = Changed::default();
        let mut applied = match outcome {
            Ok(answer) => match Page::read(&answer, &in_flight.sent, self.user_id) {
                Some(_) if !self.fits_on(&in_flight)? => {
                    Applied { next: Next::Continue, ..Applied::default() }
                }
                Some(page) => {
                    let applied = self.succeeded(&in_flight, &answer, &page, now, &mut changed)?;
                    self.in_flight = ahead;
                    applied
                }
                None => self.failed(&in_flight, &Failure::Unintelligible, now, &mut changed)?,
            },
            Err(failure) => self.failed(&in_flight, &failure, now, &mut changed)?,
        };
        if self.store.take_left_out() {
            changed.merge(&Changed::of(&[Table::ExportHistory]));
        }
        applied.changed = changed.tables();
        self.announce_rows(&changed);
        Ok(applied)
    }

    /// Gives up a request whose answer will never be handed over, because the host stopped waiting. Its mutations
    /// are sent again, and a page that was asked for ahead is asked for again.
    pub fn abandon(&mut self, ticket: Ticket) {
        self.ahead.take_if(|ahead| ahead.ticket == ticket);
        if self.in_flight.take_if(|in_flight| in_flight.ticket == ticket).is_some() {
            self.ahead = None;
        }
    }

    fn succeeded(
        &mut self,
        in_flight: &InFlight,
        answer: &SyncAnswer,
        page: &Page<'_>,
        now: Now,
        changed: &mut Changed,
    ) -> Result<Applied, Error> {
        let context = Context { user_id: self.user_id, client: self.client_id.to_string(), now: now.unix_ms };
        if planted::is(Fault::CursorBeforeRows) {
            self.store.write(|rows| set_cursor(rows, &answer.cursor))?;
        }
        let traffic = self.traffic;
        let (mut applied, pending) = self.store.write_making_room(|rows| {
            *changed = Changed::default();
            traffic.keep(rows)?;
            let applied = apply(rows, &context, &in_flight.sent, answer, page, changed)?;
            // What was refused now would be refused again.
            if changed.has(Table::UserApiKeys) && applied.rejected == 0 {
                let device = (context.user_id, context.client.as_str());
                vault::tend_arrived(rows, &mut self.vault, device, self.entropy.as_mut(), now)?;
            }
            let pending = rows.count_pending()?;
            rows.add_to_journal(&entry(None, &applied, traffic, pending, now.unix_ms))?;
            Ok((applied, pending))
        })?;
        self.traffic = Traffic::default();
        self.batch_limit = (self.batch_limit * 2).min(MAX_BATCH);
        let next = self.schedule.succeeded(answer.has_more, now.unix_ms);
        applied.next = if pending > 0 { Next::Continue } else { next };
        Ok(applied)
    }

    fn failed(
        &mut self,
        in_flight: &InFlight,
        failure: &Failure,
        now: Now,
        changed: &mut Changed,
    ) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        if *failure == Failure::TooLarge {
            match in_flight.sent.as_slice() {
                // Nothing left to leave out: the server must mend its limit.
                [] => {
                    let refused = Failure::Refused { status: 413, code: "PT413".to_owned() };
                    return self.failed(in_flight, &refused, now, changed);
                }
                [alone] => {
                    applied.rejected = 1;
                    self.set_aside(*alone, now, changed)?;
                }
                sent => self.batch_limit = (sent.len() / 2).max(1),
            }
        }
        let traffic = self.traffic;
        self.store.write(|rows| {
            traffic.keep(rows)?;
            let pending = rows.count_pending()?;
            rows.add_to_journal(&entry(Some(failure), &applied, traffic, pending, now.unix_ms))
        })?;
        self.traffic = Traffic::default();
        let random = self.random();
        applied.next = self.schedule.failed(failure, now.unix_ms, random);
        Ok(applied)
    }

    /// Sets a mutation aside that the server finds too large even alone.
    fn set_aside(&mut self, id: MutationId, now: Now, changed: &mut Changed) -> Result<(), Error> {
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        self.store.write(|rows| {
            let Some(sent) = rows.sent_mutation(id)? else { return Ok(()) };
            rows.reject(id, "PT413", "too large for the server even alone", now.unix_ms)?;
            visible::rebuild(rows, user_id, changed)?;
            registers::refresh(rows, sent.table, &sent.key, &client)?;
            if sent.table.kind() == TableKind::Registers && !planted::is(Fault::SetAsideNotTold) {
                changed.row(sent.table, sent.key);
            }
            Ok(())
        })
    }
}

fn entry(
    failure: Option<&Failure>,
    applied: &Applied,
    traffic: Traffic,
    pending: u32,
    now: UnixMillis,
) -> JournalEntry {
    let Applied { pushed, rejected, pulled, .. } = *applied;
    let code = failure.map_or("ok", Failure::code).to_owned();
    let message = failure.map(Failure::to_string).unwrap_or_default();
    let [bytes_sent, bytes_received] =
        [traffic.sent, traffic.received].map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    JournalEntry {
        at_ms: now.0,
        code,
        message,
        pushed,
        rejected,
        pulled,
        pending,
        bytes_sent,
        bytes_received,
    }
}
