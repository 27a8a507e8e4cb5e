//! From a change that an app asks for to a mutation in the queue and new visible rows, in one transaction.

use uuid::Uuid;

use crate::engine::changed::Changed;
use crate::engine::exchange::BATCH_BYTES;
use crate::engine::plan::{Change, Known, Plan};
use crate::engine::same_write::other_write;
use crate::engine::{Engine, Recorded, registers, sessions, visible};
use crate::error::Error;
use crate::model::{Here, Hlc, Mutation, MutationId, Now, Op, Table, TableKind, UnixMillis, UserId};
use crate::planted::{self, Fault};
use crate::queue;
use crate::store::{Meta, NewMutation, Newest, Rows};

/// Changes of one batch at most: as many as one request carries.
const MAX_BATCH: usize = 500;

impl Engine {
    /// Records a change. When this returns, the change survives a crash of the program and of the machine.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] (nothing was written) and the storage errors (the write was refused whole).
    pub fn mutate(&mut self, change: Change, now: Now) -> Result<Recorded, Error> {
        let outcome = self.mutate_all(vec![(None, change)], now)?.pop();
        outcome.unwrap_or(Err(Error::Internal("a change had no outcome")))
    }

    /// Records changes that belong together: all of them or none, here and on the server. `id`: of the batch, from a caller that
    /// may call twice; the same id again is a no-op.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] and [`Error::InvalidValue`] of the first change that is refused, [`Error::InvalidInput`] for a
    /// batch of none or of more than 500 changes or too large for one request, and the storage errors. Nothing was written.
    pub fn mutate_batch(
        &mut self,
        id: Option<MutationId>,
        changes: Vec<Change>,
        now: Now,
    ) -> Result<Vec<Recorded>, Error> {
        if changes.is_empty() || changes.len() > MAX_BATCH {
            return Err(Error::invalid("batch", format!("must have 1 to {MAX_BATCH} changes")));
        }
        let batch = id.map_or_else(|| MutationId::make(now.unix_ms, self.entropy.as_mut()), Ok)?;
        let each = |(place, change): (usize, Change)| {
            let place = u128::try_from(place).unwrap_or(u128::MAX) + 1;
            // Of the batch's own id, so that they are the same when the caller calls again.
            let own = MutationId::from(Uuid::from_u128(batch.as_uuid().as_u128() ^ place));
            (Some(change.given_id().unwrap_or(own)), change)
        };
        let changes = changes.into_iter().enumerate().map(each).collect();
        let outcomes = self.record_making_room(changes, Some(batch), now)?;
        outcomes.into_iter().collect()
    }

    /// Records changes that came together in one transaction, in order: as durable as one by one, for the price of one.
    /// Each may bring the id of its mutation: a change whose id is known already was done before, and is not done again.
    ///
    /// The answer holds for each what became of it; one that is refused for its input keeps no other back.
    ///
    /// # Errors
    /// The storage errors: all were refused, and nothing was written.
    pub fn mutate_all(
        &mut self,
        changes: Vec<(Option<MutationId>, Change)>,
        now: Now,
    ) -> Result<Vec<Result<Recorded, Error>>, Error> {
        self.record_making_room(changes, None, now)
    }

    /// Records a change, and does `also` in the same transaction, unless the change is refused for its input.
    pub(super) fn mutate_beside(
        &mut self,
        change: Change,
        also: &mut dyn FnMut(Rows<'_>) -> Result<(), Error>,
        now: Now,
    ) -> Result<Recorded, Error> {
        let outcome = self.record_all(vec![(None, change)], None, also, now)?.pop();
        outcome.unwrap_or(Err(Error::Internal("a change had no outcome")))
    }

    fn record_making_room(
        &mut self,
        changes: Vec<(Option<MutationId>, Change)>,
        batch: Option<MutationId>,
        now: Now,
    ) -> Result<Vec<Result<Recorded, Error>>, Error> {
        if !self.store.is_image() {
            return self.record_all(changes, batch, &mut |_| Ok(()), now);
        }
        self.in_room(|engine| engine.record_all(changes.clone(), batch, &mut |_| Ok(()), now))
    }

    /// Writes; where an image finds no room, with fewer and fewer exports in it, and tells of those.
    pub(super) fn in_room<T>(
        &mut self,
        mut write: impl FnMut(&mut Engine) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let written = loop {
            match write(self) {
                Err(Error::StorageFull) if self.store.make_room()? => {}
                done => break done,
            }
        };
        if self.store.take_left_out() {
            self.announce(&[Table::ExportHistory]);
        }
        written
    }

    fn record_all(
        &mut self,
        changes: Vec<(Option<MutationId>, Change)>,
        batch: Option<MutationId>,
        also: &mut dyn FnMut(Rows<'_>) -> Result<(), Error>,
        now: Now,
    ) -> Result<Vec<Result<Recorded, Error>>, Error> {
        let mut planned: Vec<Result<(Known, Plan), Error>> =
            changes.into_iter().map(|(id, change)| self.plan(id, change, now)).collect();
        if batch.is_some() {
            planned = all_or_none(planned)?;
        }
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        let has_sessions = self.store.shapes().get(Table::Sessions).is_some();
        let sent = if has_sessions { self.sent() } else { Vec::new() };
        let mut changed = Changed::default();
        let tomorrow = self.today(now).next();
        let (outcomes, pending) = self.store.write_queueing(|rows, newest| {
            let (mut outcomes, mut queued) = (Vec::with_capacity(planned.len()), 0);
            let mut refolds = false;
            for planned in planned {
                let outcome = match planned {
                    Ok((id, plan)) => {
                        let key = plan.key.clone();
                        refolds |= plan.table == Table::Sessions && plan.fact.is_none();
                        let ahead = plan.fact.as_ref().map(|fact| fact.day).filter(|day| *day > tomorrow);
                        let by = Author { user_id, client: &client, sent: &sent };
                        record_by(rows, by, (id, batch), plan, now, newest, &mut changed)?
                            .map(|more| (id.id(), key, ahead, more))
                    }
                    Err(refused) => Err(refused),
                };
                if batch.is_some() && outcome.is_err() && !planted::is(Fault::BatchKeptInPart) {
                    return outcome.map(|_| (Vec::new(), 0));
                }
                queued += outcome.as_ref().map_or(0, |(.., more)| *more);
                outcomes.push(outcome);
            }
            if refolds {
                visible::rebuild(rows, user_id, &mut changed)?;
                *newest = None;
            }
            if outcomes.iter().all(Result::is_ok) {
                also(rows)?;
            }
            Ok((outcomes, queued))
        })?;
        self.announce_rows(&changed);
        if !changed.tables().is_empty() {
            self.schedule.wrote();
        }
        let recorded = |(id, key, counts_from, _)| Recorded { id, key, pending, counts_from };
        Ok(outcomes.into_iter().map(|done| done.map(recorded)).collect())
    }

    pub(super) fn plan(
        &mut self,
        id: Option<MutationId>,
        change: Change,
        now: Now,
    ) -> Result<(Known, Plan), Error> {
        let id = match id.filter(|_| !change.is_named_by_key()).or_else(|| change.given_id()).or(id) {
            Some(id) => Known::Maybe(id),
            None => Known::New(MutationId::make(now.unix_ms, self.entropy.as_mut())?),
        };
        let day_starts_at = i32::from(self.day_starts_at);
        let here = Here { now, zone: self.zone.as_deref(), day_starts_at };
        Ok((id, change.plan(id.id(), self.user_id, here, self.store.shapes())?))
    }
}

/// What one change comes to, or why it cannot be recorded.
type Planned = Result<(Known, Plan), Error>;

/// The plans of a batch, unless one of them is refused, or all of them would not fit into one request.
fn all_or_none(planned: Vec<Planned>) -> Result<Vec<Planned>, Error> {
    let planned = planned.into_iter().collect::<Result<Vec<_>, _>>()?;
    let bytes = planned.iter().map(|(_, plan)| queue::weight(plan.values.get())).sum::<usize>();
    if bytes > BATCH_BYTES {
        return Err(Error::invalid(
            "batch",
            format!("must have at most {BATCH_BYTES} bytes as JSON; make two"),
        ));
    }
    Ok(planned.into_iter().map(Ok).collect())
}

/// Who records.
#[derive(Clone, Copy)]
struct Author<'a> {
    user_id: UserId,
    client: &'a str,
    /// Mutations that a request under way carries.
    sent: &'a [MutationId],
}

/// Records one change that takes nothing back, as [`record_by`] does; says whether it is new.
pub(super) fn record(
    rows: Rows<'_>,
    (user_id, client): (UserId, &str),
    id: (Known, Option<MutationId>),
    plan: Plan,
    now: Now,
    newest: &mut Option<Newest>,
    changed: &mut Changed,
) -> Result<Result<bool, Error>, Error> {
    let by = Author { user_id, client, sent: &[] };
    Ok(record_by(rows, by, id, plan, now, newest, changed)?.map(|more| more > 0))
}

/// Records one change inside a transaction; says by how much that makes the queue longer: 0 for one that is known. The inner error is the change's own, and nothing was written for it; the outer
/// one ends the transaction.
fn record_by(
    rows: Rows<'_>,
    by: Author<'_>,
    (id, batch): (Known, Option<MutationId>),
    mut plan: Plan,
    now: Now,
    newest: &mut Option<Newest>,
    changed: &mut Changed,
) -> Result<Result<i32, Error>, Error> {
    let Author { user_id, client, sent } = by;
    // Before it is compared with what is known.
    if let Err(refused) = sessions::complete(rows, &mut plan)? {
        return Ok(Err(refused));
    }
    if let Known::Maybe(id) = id
        && let Some(known) = rows.mutation(id)?
    {
        if let Some(refused) = other_write(&known, &plan).filter(|_| !planted::is(Fault::IdOfAnotherTaken)) {
            return Ok(Err(refused));
        }
        if let (Some(fact), true) = (&plan.fact, planted::is(Fault::RepeatedCallCounts)) {
            *newest = None;
            visible::count(rows, user_id, fact, None, Hlc::ZERO)?;
        }
        return Ok(Ok(0));
    }
    match plan.check(rows) {
        Err(refused @ (Error::InvalidInput { .. } | Error::InvalidValue { .. })) => return Ok(Err(refused)),
        checked => checked?,
    }
    match &plan.fact {
        Some(fact) => {
            changed.row(Table::UserProgress, user_id.to_string());
            changed.row(Table::DailyActivity, fact.day.to_string());
            if rows.shapes().get(plan.table).is_some() {
                changed.row(plan.table, plan.key.as_str());
            }
        }
        None => changed.row(plan.table, plan.key.as_str()),
    }
    let hlc = match (&plan.fact, &newest) {
        _ if plan.clock.is_some() => plan.clock.unwrap_or(Hlc::ZERO),
        (Some(_), Some(newest)) => newest.clock.tick(now.unix_ms),
        (Some(_), None) => rows.clock()?.tick(now.unix_ms),
        (None, _) if plan.table.is_of_catalogue() => rows.clock()?.tick(now.unix_ms),
        (None, _) => tick(rows, now.unix_ms, Hlc::tick)?,
    };
    if plan.table == Table::Sessions && plan.op == Op::Delete && batch.is_none() {
        let taken = sessions::take_back(rows, &plan, (id.id(), hlc), now.unix_ms, sent)?;
        if taken > 0 {
            return Ok(Ok(-taken));
        }
    }
    carry_out(rows, (user_id, client), (id.id(), batch), plan, hlc, now.unix_ms, newest)?;
    Ok(Ok(1))
}

pub(super) fn carry_out(
    rows: Rows<'_>,
    (user_id, client): (UserId, &str),
    (id, batch): (MutationId, Option<MutationId>),
    plan: Plan,
    hlc: Hlc,
    now: UnixMillis,
    newest: &mut Option<Newest>,
) -> Result<(), Error> {
    let Plan { table, op, key, values, fact, .. } = plan;
    let is_register = rows.shapes().kind(table) == TableKind::Registers;
    if is_register {
        registers::keep_shadow(rows, table, &key)?;
    }
    let mutation = Mutation { id, hlc, table, op, key, values, batch };
    rows.insert_mutation(&NewMutation { mutation: &mutation, recorded: now })?;
    let before = newest.take();
    if let Some(fact) = fact {
        *newest = Some(visible::count(rows, user_id, &fact, before, hlc)?);
    }
    if is_register {
        registers::refresh(rows, table, &mutation.key, client)?;
    }
    Ok(())
}

/// The next hybrid logical clock, noted in the same transaction as the mutation that carries it: it may not stay the newest.
pub(super) fn tick(
    rows: Rows<'_>,
    now: UnixMillis,
    next: impl Fn(Hlc, UnixMillis) -> Hlc,
) -> Result<Hlc, Error> {
    let next = next(rows.clock()?, now);
    rows.set_meta(Meta::Hlc, &next.to_string())?;
    Ok(next)
}
