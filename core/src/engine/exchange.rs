//! One exchange with the server: what to send, and what to make of the answer.

use crate::catalogue::Catalogue;
use crate::engine::apply::{Context, apply, cursor, set_cursor};
use crate::engine::changed::Changed;
use crate::engine::page::Page;
use crate::engine::traffic::Traffic;
use crate::engine::{Engine, refill, registers, traffic, vault, visible};
use crate::error::Error;
use crate::model::{MutationId, Now, Table, TableKind, UnixMillis, UserId};
use crate::planted::{self, Fault};
use crate::queue::{self, BatchLimits};
use crate::store::{JournalEntry, MIRROR_VERSION, Meta, Rows};
use crate::sync::{Due, Failure, Limits, Load, Next};
use crate::wire::{Cursor, MAX_REQUEST_BYTES, PROTOCOL, SyncAnswer, SyncRequest, WireMutation};

/// What one request's mutations may weigh, leaving room for the rest of the request.
pub(super) const BATCH_BYTES: usize = MAX_REQUEST_BYTES - 16 * 1024;

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
    /// Why it did not go as it should: what came instead of an answer, or what is wrong with the answer that came.
    pub failure: Option<Failure>,
}

#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) ticket: Ticket,
    pub(super) sent: Vec<MutationId>,
    /// Of a page that was asked for ahead: the cursor that the mirror must have come to.
    pub(super) asked_from: Option<Cursor>,
    /// The version of the cursor that it carries.
    pub(super) since: Option<i64>,
    /// More waited than it could carry.
    pub(super) leaves_some: bool,
    /// It carries one mutation, or one batch, and cannot carry less.
    pub(super) is_one: bool,
    pub(super) load: Load,
    pub(super) started: UnixMillis,
}

impl Engine {
    /// The next request, if one is due and none is under way. Nothing is written for it: whether a mutation was ever sent
    /// decides nothing, because it may also have been sent from a copy of this file.
    ///
    /// # Errors
    /// The storage errors.
    pub fn next_request(&mut self, now: Now) -> Result<Option<Outgoing>, Error> {
        if self.in_flight.is_some() || self.paused || self.user_id.is_guest() {
            return Ok(None);
        }
        let made = self.make_request(now);
        made.inspect_err(|error| self.mirror_failed(error, now))
    }

    fn make_request(&mut self, now: Now) -> Result<Option<Outgoing>, Error> {
        let has_work = self.store.pending()? > 0;
        if self.schedule.due(has_work, now.unix_ms) != Due::Now {
            return Ok(None);
        }
        if refill::must_bring_back(self.store.read())? {
            let entropy = self.entropy.as_mut();
            self.store.write(|rows| refill::bring_back(rows, entropy, now.unix_ms))?;
        }
        let limits = BatchLimits { mutations: self.limits.mutations(), bytes: self.limits.bytes() };
        let (batch, cursor) = self.store.snapshot(|rows| {
            let mut queue = rows.open_mutations(limits.mutations)?;
            if let Some((last, batch)) = queue.last().and_then(|last| Some((last.id, last.batch?))) {
                queue.extend(rows.open_rest_of(batch, last)?);
            }
            Ok((queue::take_prefix(queue, limits), cursor(rows)?))
        })?;
        let pending = self.store.pending()?;
        let load = Load { mutations: batch.mutations.len(), bytes: batch.bytes, timeout_ms: 0 };
        let mutations = batch.mutations.into_iter().map(WireMutation::from).collect();
        let request = self.request(cursor, mutations);
        let outgoing = self.outgoing(request, load.bytes, self.schedule.wants_fresh_token());
        let in_flight = InFlight::new(&outgoing, load, now.unix_ms);
        self.in_flight = Some(InFlight { leaves_some: pending as usize > load.mutations, ..in_flight });
        self.schedule.started(now.unix_ms);
        Ok(Some(outgoing))
    }

    /// What the requests under way carry: the server may have it.
    pub(super) fn sent(&self) -> Vec<MutationId> {
        [&self.in_flight, &self.ahead]
            .into_iter()
            .flatten()
            .flat_map(|under_way| under_way.sent.clone())
            .collect()
    }

    pub(super) fn request(&self, cursor: Option<Cursor>, mutations: Vec<WireMutation>) -> SyncRequest {
        SyncRequest {
            protocol: PROTOCOL,
            client_id: self.client_id,
            schema: MIRROR_VERSION,
            cursor,
            limit: self.limits.page_rows(),
            limit_bytes: self.limits.is_page_small().then(|| self.limits.page_bytes()),
            packed: true,
            catalogue: self.learns.then(|| self.catalogue().map_or("", Catalogue::hash).to_owned()),
            mutations,
        }
    }

    /// Gives a request its ticket and its time limit. `bytes`: those of its mutations.
    pub(super) fn outgoing(&mut self, request: SyncRequest, bytes: usize, fresh_token: bool) -> Outgoing {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.wrapping_add(1);
        let expects_page = request.cursor.is_none() || self.expects_page;
        let timeout_ms = self.limits.timeout_ms(bytes, expects_page);
        Outgoing { ticket, user_id: self.user_id, request, timeout_ms, fresh_token }
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
        let mut changed = Changed::default();
        let taken = self.take_outcome(&in_flight, outcome, now, &mut changed);
        // Unless this answer was applied, nothing is certain about the page behind it.
        self.ahead = None;
        let mut applied = taken.inspect_err(|error| self.mirror_failed(error, now))?;
        if self.store.take_left_out() {
            changed.merge(&Changed::of(&[Table::ExportHistory]));
        }
        applied.changed = changed.tables();
        self.announce_rows(&changed);
        Ok(applied)
    }

    fn take_outcome(
        &mut self,
        in_flight: &InFlight,
        outcome: Result<SyncAnswer, Failure>,
        now: Now,
        changed: &mut Changed,
    ) -> Result<Applied, Error> {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => return self.failed(in_flight, failure, now, changed),
        };
        if !self.fits_on(in_flight)? {
            return Ok(Applied { next: Next::Continue, ..Applied::default() });
        }
        // Before the rows are read, and on its own: should the program die here, everything is pulled with the new tables.
        let begins_again = self.learn(&answer, changed)?
            && in_flight.since.is_some()
            && !planted::is(Fault::CursorOutlivesCatalogue);
        match Page::read(&answer, &in_flight.sent, self.user_id, self.store.shapes()) {
            Some(page) => self.succeeded(in_flight, (&answer, begins_again), &page, now, changed),
            None => self.failed(in_flight, Failure::Unintelligible, now, changed),
        }
    }

    /// The mirror could not be read or written: without a pause a full disk would be asked to empty itself all the time.
    fn mirror_failed(&mut self, error: &Error, now: Now) {
        let random = self.random();
        self.schedule.mirror_failed(error, now.unix_ms, random);
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
        (answer, begins_again): (&SyncAnswer, bool),
        page: &Page<'_>,
        now: Now,
        changed: &mut Changed,
    ) -> Result<Applied, Error> {
        let client = self.client_id.to_string();
        let context = Context { user_id: self.user_id, client, now: now.unix_ms, begins_again };
        if planted::is(Fault::CursorBeforeRows) {
            self.store.write(|rows| set_cursor(rows, &answer.cursor))?;
        }
        let before_page = changed.clone();
        let (traffic, before, limits) = (self.traffic, self.limits, self.limits_after(in_flight, now));
        let (mut applied, pending) = self.store.write_making_room(|rows| {
            *changed = before_page.clone();
            let applied = apply(rows, &context, &in_flight.sent, answer, page, changed)?;
            // What was refused now would be refused again.
            if changed.has(Table::UserApiKeys) && applied.rejected == 0 {
                let device = (context.user_id, context.client.as_str());
                vault::tend_arrived(rows, &mut self.vault, device, self.entropy.as_mut(), now)?;
            }
            let pending = rows.count_pending()?;
            keep(rows, (limits != before).then_some(limits), &entry(&applied, traffic, pending, now))?;
            Ok((applied, pending))
        })?;
        self.traffic = Traffic::default();
        self.limits = limits;
        self.expects_page = answer.has_more;
        let failures = self.schedule.failures();
        let goes_on =
            answer.has_more || begins_again || (pending > 0 && (in_flight.leaves_some || answer.reset));
        applied.next = self.schedule.succeeded(goes_on, pending > 0, now.unix_ms);
        self.take_news(answer, goes_on);
        if !answer.has_more && !begins_again {
            self.transfers.heard(answer.server_time);
        }
        if self.paging.moves_on(in_flight.since, answer) {
            self.in_flight = self.ahead.take().map(|ahead| InFlight { started: now.unix_ms, ..ahead });
        } else {
            let random = self.random();
            applied.next = self.schedule.stalled(now.unix_ms, random, failures);
            applied.failure = Some(Failure::NoProgress);
        }
        Ok(applied)
    }

    /// The limits of the next request, after a success.
    fn limits_after(&self, in_flight: &InFlight, now: Now) -> Limits {
        let mut limits = self.limits;
        limits.succeeded(in_flight.load, in_flight.took_ms(now));
        if planted::is(Fault::LimitsNeverGrow) { self.limits } else { limits }
    }

    fn failed(
        &mut self,
        in_flight: &InFlight,
        failure: Failure,
        now: Now,
        changed: &mut Changed,
    ) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        let mut limits = self.limits;
        let is_repeated = self.schedule.failures() > 0;
        let mut is_smaller = failure.may_be_size(is_repeated, in_flight.took_ms(now))
            && shrink(&mut limits, &failure, in_flight.load);
        // Only on the server's own word, and only when it can mean no other.
        let is_about_one = failure == Failure::TooLarge
            || (planted::is(Fault::OuterStatusTrusted) && failure == Failure::ProxyTooLarge);
        if is_about_one && in_flight.is_one {
            applied.rejected = u32::try_from(in_flight.sent.len()).unwrap_or(u32::MAX);
            for alone in &in_flight.sent {
                self.set_aside(*alone, now, changed)?;
            }
            is_smaller = true;
        }
        applied.failure = Some(failure);
        let traffic = self.traffic;
        self.store.write(|rows| {
            let pending = rows.count_pending()?;
            keep(rows, (limits != self.limits).then_some(limits), &entry(&applied, traffic, pending, now))
        })?;
        self.traffic = Traffic::default();
        self.limits = limits;
        let random = self.random();
        if let Some(failure) = &applied.failure {
            self.expects_page |= *failure == Failure::Timeout;
            applied.next = self.schedule.failed(failure, is_smaller, now.unix_ms, random);
        }
        Ok(applied)
    }

    /// Sets a mutation aside that the server finds too large even alone.
    fn set_aside(&mut self, id: MutationId, now: Now, changed: &mut Changed) -> Result<(), Error> {
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        self.store.write(|rows| {
            let Some(sent) = rows.sent_mutation(id)? else { return Ok(()) };
            rows.reject(id, "PT413", "too large for the server even alone", now.unix_ms)?;
            registers::refresh(rows, sent.table, &sent.key, &client)?;
            visible::rebuild(rows, user_id, changed)?;
            if rows.shapes().kind(sent.table) == TableKind::Registers && !planted::is(Fault::SetAsideNotTold)
            {
                changed.row(sent.table, sent.key);
            }
            Ok(())
        })
    }
}

impl InFlight {
    pub(super) fn new(outgoing: &Outgoing, load: Load, started: UnixMillis) -> InFlight {
        InFlight {
            ticket: outgoing.ticket,
            sent: outgoing.request.mutations.iter().map(|mutation| mutation.id).collect(),
            asked_from: None,
            since: outgoing.request.cursor.as_ref().map(|cursor| cursor.version),
            leaves_some: false,
            is_one: is_one(&outgoing.request.mutations),
            load: Load { timeout_ms: outgoing.timeout_ms, ..load },
            started,
        }
    }

    /// How long it has been under way, by a clock that may have been set back.
    fn took_ms(&self, now: Now) -> u64 {
        now.unix_ms.0.saturating_sub(self.started.0).max(0).unsigned_abs()
    }
}

fn is_one(mutations: &[WireMutation]) -> bool {
    match mutations {
        [] => false,
        [_] => true,
        [first, rest @ ..] => first.batch.is_some() && rest.iter().all(|other| other.batch == first.batch),
    }
}

/// Makes the next request smaller, where this one may have been too large. Says whether it will be.
fn shrink(limits: &mut Limits, failure: &Failure, load: Load) -> bool {
    if planted::is(Fault::LimitsNeverShrink) {
        return false;
    }
    let batch = limits.shrink_batch(load);
    let page = *failure != Failure::TooLarge && limits.shrink_page();
    batch || page
}

/// Keeps what an exchange has taught, and what it moved.
fn keep(rows: Rows<'_>, limits: Option<Limits>, entry: &JournalEntry) -> Result<(), Error> {
    if let Some(limits) = limits {
        rows.set_meta(Meta::Limits, &limits.kept())?;
    }
    traffic::count(rows, entry)?;
    rows.add_to_journal(entry)
}

fn entry(applied: &Applied, traffic: Traffic, pending: u32, now: Now) -> JournalEntry {
    let Applied { pushed, rejected, pulled, ref failure, .. } = *applied;
    let code = failure.as_ref().map_or("ok", Failure::code).to_owned();
    let message = failure.as_ref().map(Failure::to_string).unwrap_or_default();
    let [bytes_sent, bytes_received] =
        [traffic.sent, traffic.received].map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    JournalEntry {
        at_ms: now.unix_ms.0,
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
