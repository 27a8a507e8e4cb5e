//! From a change that an app asks for to a mutation in the queue and new visible rows, in one transaction.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::engine::changed::Changed;
use crate::engine::same_write::other_write;
use crate::engine::{Engine, Recorded, registers, visible};
use crate::error::Error;
use crate::merge::Fact;
use crate::model::limits::check_instant;
use crate::model::{
    EventInput, ExportChange, ExportInput, ExportStatus, Here, Hlc, KeyEnvelope, Mutation, MutationId, Now,
    Op, Provider, SessionInput, Table, TableKind, Timestamp, UnixMillis, UserId,
};
use crate::planted::{self, Fault};
use crate::store::{Meta, NewMutation, Newest, Rows};

/// A local write.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A completed session.
    RecordSession(SessionInput),
    /// An award that belongs to no session.
    RecordEvent(EventInput),
    /// A new export.
    CreateExport(ExportInput),
    /// What became of an export.
    UpdateExport {
        /// The export.
        id: MutationId,
        /// The columns to set.
        change: ExportChange,
    },
    /// A sealed API key, in place of the provider's last one.
    PutKey {
        /// Whose API the key is for.
        provider: Provider,
        /// The sealed key.
        envelope: KeyEnvelope,
    },
    /// A provider's key is to be gone, everywhere.
    DeleteKey {
        /// Whose API the key is for.
        provider: Provider,
    },
    /// The providers accepted the keys at this time.
    KeysValidated {
        /// When.
        at: Timestamp,
    },
}

impl From<SessionInput> for Change {
    fn from(input: SessionInput) -> Change {
        Change::RecordSession(input)
    }
}

impl From<EventInput> for Change {
    fn from(input: EventInput) -> Change {
        Change::RecordEvent(input)
    }
}

/// A mutation's id, and whether this mirror may have it already.
#[derive(Clone, Copy)]
enum Known {
    /// The caller has given it, perhaps before.
    Maybe(MutationId),
    /// It was drawn for this change.
    New(MutationId),
}

impl Known {
    fn id(self) -> MutationId {
        match self {
            Known::Maybe(id) | Known::New(id) => id,
        }
    }
}

/// What is to be queued, and what it adds to progress.
pub(super) struct Plan {
    pub(super) table: Table,
    pub(super) op: Op,
    pub(super) key: String,
    pub(super) values: Box<RawValue>,
    fact: Option<Fact>,
    /// The columns whose values the caller did not choose: the same call made later has others.
    pub(super) assumed: Vec<&'static str>,
}

impl Change {
    /// The id that the caller gave.
    fn given_id(&self) -> Option<MutationId> {
        match self {
            Change::RecordSession(input) => input.id,
            Change::RecordEvent(input) => input.id,
            Change::CreateExport(input) => input.id,
            _ => None,
        }
    }

    fn plan(self, id: MutationId, user_id: UserId, here: Here<'_>) -> Result<Plan, Error> {
        match self {
            Change::RecordSession(input) => {
                let assumed = input.assumed();
                let session = input.complete(id, here)?;
                let fact = Some(Fact::from(&session));
                Ok(Plan { fact, assumed, ..insert(Table::Sessions, id, &session)? })
            }
            Change::RecordEvent(input) => {
                let assumed = input.assumed();
                let event = input.complete(id, here)?;
                let fact = Some(Fact::from(&event));
                Ok(Plan { fact, assumed, ..insert(Table::ProgressEvents, id, &event)? })
            }
            Change::CreateExport(input) => {
                input.check()?;
                // NULL is no value of this column in Postgres: without filters it is the empty object.
                let filters = input.filters.unwrap_or_default();
                let values = json!({
                    "id": id, "export_type": input.export_type, "export_format": input.export_format,
                    "filters": filters, "status": ExportStatus::Pending,
                    "created_at": here.now.timestamp().max(Timestamp::FIRST),
                });
                Ok(Plan {
                    assumed: vec!["created_at", "status"],
                    ..insert(Table::ExportHistory, id, &values)?
                })
            }
            Change::UpdateExport { id, change } => {
                change.check()?;
                merge(Table::ExportHistory, id.to_string(), &change)
            }
            Change::PutKey { provider, envelope } => keys(user_id, provider, json!(envelope)),
            Change::DeleteKey { provider } => keys(user_id, provider, Value::Null),
            Change::KeysValidated { at } => {
                check_instant(Table::UserApiKeys, "last_validated_at", Some(at))?;
                keys_column(user_id, "last_validated_at", json!(at))
            }
        }
    }
}

impl Plan {
    /// What only the mirror's rows can tell.
    fn check(&self, rows: Rows<'_>) -> Result<(), Error> {
        let Plan { table, op, key, .. } = self;
        if *table == Table::ExportHistory && *op == Op::Merge && rows.register(*table, key)?.is_none() {
            return Err(Error::invalid("id", "there is no such export in this mirror"));
        }
        Ok(())
    }
}

fn insert(table: Table, id: MutationId, values: &impl serde::Serialize) -> Result<Plan, Error> {
    let (key, values, assumed) = (id.to_string(), raw(values)?, Vec::new());
    Ok(Plan { table, op: Op::Insert, key, values, fact: None, assumed })
}

fn merge(table: Table, key: String, values: &impl serde::Serialize) -> Result<Plan, Error> {
    Ok(Plan { table, op: Op::Merge, key, values: raw(values)?, fact: None, assumed: Vec::new() })
}

pub(super) fn keys(user_id: UserId, provider: Provider, value: Value) -> Result<Plan, Error> {
    keys_column(user_id, provider.column(), value)
}

fn keys_column(user_id: UserId, column: &str, value: Value) -> Result<Plan, Error> {
    let mut values = Map::new();
    values.insert(column.to_owned(), value);
    merge(Table::UserApiKeys, user_id.to_string(), &values)
}

fn raw(values: &impl serde::Serialize) -> Result<Box<RawValue>, Error> {
    to_raw_value(values).map_err(|_| Error::Internal("a change is not JSON"))
}

impl Engine {
    /// Records a change. When this returns, the change survives a crash of the program and of the machine.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] (nothing was written) and the storage errors (the write was refused whole).
    pub fn mutate(&mut self, change: Change, now: Now) -> Result<Recorded, Error> {
        let outcome = self.mutate_all(vec![(None, change)], now)?.pop();
        outcome.unwrap_or(Err(Error::Internal("a change had no outcome")))
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
        if !self.store.is_image() {
            return self.record_all(changes, now);
        }
        let recorded = loop {
            match self.record_all(changes.clone(), now) {
                Err(Error::StorageFull) if self.store.make_room()? => {}
                done => break done,
            }
        };
        if self.store.take_left_out() {
            self.announce(&[Table::ExportHistory]);
        }
        recorded
    }

    fn record_all(
        &mut self,
        changes: Vec<(Option<MutationId>, Change)>,
        now: Now,
    ) -> Result<Vec<Result<Recorded, Error>>, Error> {
        let planned: Vec<Result<(Known, Plan), Error>> =
            changes.into_iter().map(|(id, change)| self.plan(id, change, now)).collect();
        let (user_id, client) = (self.user_id, self.client_id.to_string());
        let mut changed = Changed::default();
        let tomorrow = now.local_date().next();
        let (outcomes, pending) = self.store.write_queueing(|rows, newest| {
            let (mut outcomes, mut queued) = (Vec::with_capacity(planned.len()), 0);
            for planned in planned {
                let outcome = match planned {
                    Ok((id, plan)) => {
                        let ahead = plan.fact.as_ref().map(|fact| fact.day).filter(|day| *day > tomorrow);
                        record(rows, (user_id, &client), id, plan, now, newest, &mut changed)?
                            .map(|is_new| (id.id(), ahead, is_new))
                    }
                    Err(refused) => Err(refused),
                };
                queued += u32::from(matches!(outcome, Ok((.., true))));
                outcomes.push(outcome);
            }
            Ok((outcomes, queued))
        })?;
        self.announce_rows(&changed);
        if !changed.tables().is_empty() {
            self.schedule.wrote();
        }
        let recorded = |(id, counts_from, _)| Recorded { id, pending, counts_from };
        Ok(outcomes.into_iter().map(|done| done.map(recorded)).collect())
    }

    fn plan(&mut self, id: Option<MutationId>, change: Change, now: Now) -> Result<(Known, Plan), Error> {
        let id = match id.or_else(|| change.given_id()) {
            Some(id) => Known::Maybe(id),
            None => Known::New(MutationId::make(now.unix_ms, self.entropy.as_mut())?),
        };
        let here = Here { now, zone: self.zone.as_deref() };
        Ok((id, change.plan(id.id(), self.user_id, here)?))
    }
}

/// Records one change inside a transaction; says whether it was not known yet. The inner error is the change's own, and nothing was written for it; the outer
/// one ends the transaction.
fn record(
    rows: Rows<'_>,
    (user_id, client): (UserId, &str),
    id: Known,
    plan: Plan,
    now: Now,
    newest: &mut Option<Newest>,
    changed: &mut Changed,
) -> Result<Result<bool, Error>, Error> {
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
        return Ok(Ok(false));
    }
    if let Err(refused) = plan.check(rows) {
        return Ok(Err(refused));
    }
    match &plan.fact {
        Some(fact) => {
            changed.row(Table::UserProgress, user_id.to_string());
            changed.row(Table::DailyActivity, fact.day.to_string());
        }
        None => changed.row(plan.table, plan.key.as_str()),
    }
    let hlc = match (&plan.fact, &newest) {
        (Some(_), Some(newest)) => newest.clock.tick(now.unix_ms),
        (Some(_), None) => rows.clock()?.tick(now.unix_ms),
        (None, _) => tick(rows, now.unix_ms, Hlc::tick)?,
    };
    carry_out(rows, (user_id, client), id.id(), plan, hlc, now.unix_ms, newest)?;
    Ok(Ok(true))
}

pub(super) fn carry_out(
    rows: Rows<'_>,
    (user_id, client): (UserId, &str),
    id: MutationId,
    plan: Plan,
    hlc: Hlc,
    now: UnixMillis,
    newest: &mut Option<Newest>,
) -> Result<(), Error> {
    let Plan { table, op, key, values, fact, .. } = plan;
    let is_register = table.kind() == TableKind::Registers;
    if is_register {
        registers::keep_shadow(rows, table, &key)?;
    }
    let mutation = Mutation { id, hlc, table, op, key, values };
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
