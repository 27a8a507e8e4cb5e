//! What an app can do: record, read, and be brought into agreement with the server.
//!
//! Synchronous and without I/O of its own but the mirror's file. Every call that writes persists first, in one
//! transaction, and changes memory afterwards.

mod exchange;
#[cfg(test)]
mod tests;
mod visible;

use uuid::Uuid;

use crate::entropy::Entropy;
use crate::error::Error;
use crate::model::{
    ActivityDay, ClientId, Hlc, LocalDate, Mutation, MutationId, Now, Op, Progress, SessionInput, Status,
    Table, Timestamp, UnixMillis, UserId,
};
use crate::store::{Location, MIRROR_VERSION, Meta, NewMutation, Rows, Store};
use crate::sync::{Due, Schedule, Signal};

pub use exchange::{Applied, Outgoing, Ticket};

/// A local write.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A completed session.
    RecordSession(SessionInput),
}

impl From<SessionInput> for Change {
    fn from(input: SessionInput) -> Change {
        Change::RecordSession(input)
    }
}

/// A write that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Recorded {
    /// The mutation's id; for a session also the row's.
    pub id: MutationId,
    /// Mutations that wait for the server now.
    pub pending: u32,
}

/// One user's mirror and everything that happens to it.
pub struct Engine {
    store: Store,
    user_id: UserId,
    client_id: ClientId,
    entropy: Box<dyn Entropy + Send>,
    schedule: Schedule,
    in_flight: Option<exchange::InFlight>,
    /// Mutations of one request at most; halved when a server finds that too many.
    batch_limit: usize,
    next_ticket: u64,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the mirror of a user, or makes it.
    ///
    /// # Errors
    /// [`Error::WrongUser`] when the file is another user's, [`Error::MirrorNewer`] and [`Error::MirrorCorrupt`]
    /// (the file is left alone), [`Error::MirrorLocked`], and the storage errors.
    pub fn open(
        location: &Location,
        user_id: UserId,
        mut entropy: Box<dyn Entropy + Send>,
        _now: Now,
    ) -> Result<Engine, Error> {
        let mut store = Store::open(location)?;
        let client_id = store.write(|rows| claim(rows, user_id, entropy.as_mut()))?;
        Ok(Engine {
            store,
            user_id,
            client_id,
            entropy,
            schedule: Schedule::new(),
            in_flight: None,
            batch_limit: exchange::MAX_BATCH,
            next_ticket: 0,
        })
    }

    /// Records a change. When this returns, the change survives a crash of the program and of the machine.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] (nothing was written) and the storage errors (the write was refused whole).
    pub fn mutate(&mut self, change: Change, now: Now) -> Result<Recorded, Error> {
        let Change::RecordSession(input) = change;
        let id = match input.id {
            Some(id) => id,
            None => MutationId::make(now.unix_ms, self.entropy.as_mut())?,
        };
        let session = input.complete(id, now)?;
        let user_id = self.user_id;
        self.store.write(|rows| {
            if rows.mutation_state(id)?.is_none() {
                let hlc = tick(rows, now.unix_ms)?;
                let mutation = Mutation {
                    id,
                    hlc,
                    table: Table::Sessions,
                    op: Op::Insert,
                    key: id.to_string(),
                    values: serde_json::value::to_raw_value(&session)
                        .map_err(|_| Error::Internal("a session is not JSON"))?,
                };
                rows.insert_mutation(&NewMutation { mutation: &mutation, recorded: now.unix_ms })?;
                visible::count(rows, user_id, &(&session).into())?;
            }
            Ok(Recorded { id, pending: rows.count_pending()? })
        })
    }

    /// The learner's progress as of the host's local day.
    ///
    /// # Errors
    /// The storage errors.
    pub fn progress(&self, now: Now) -> Result<Progress, Error> {
        let stored = self.store.read().progress(self.user_id)?;
        Ok(stored.unwrap_or_else(|| Progress::empty(self.user_id)).as_of(now.local_date()))
    }

    /// The days with activity from `from` to `to`, both included, oldest first.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when `from` is after `to`, and the storage errors.
    pub fn activity(&self, from: LocalDate, to: LocalDate) -> Result<Vec<ActivityDay>, Error> {
        if from > to {
            return Err(Error::invalid("from", "is after to"));
        }
        self.store.read().activity(from, to)
    }

    /// How the engine is doing.
    ///
    /// # Errors
    /// The storage errors.
    pub fn status(&self, now: Now) -> Result<Status, Error> {
        let rows = self.store.read();
        let pending = rows.count_pending()?;
        let last_synced_ms = rows.meta(Meta::LastSyncedMs)?.and_then(|text| text.parse().ok());
        let next_attempt_at = match self.schedule.due(pending > 0, now.unix_ms) {
            _ if self.in_flight.is_some() => None,
            Due::Now => Some(now.timestamp()),
            Due::At(at) => Some(Timestamp::from_millis(at)),
            Due::OnSignal => None,
        };
        Ok(Status {
            user_id: self.user_id,
            client_id: self.client_id,
            pending,
            rejected: rows.count_rejected()?,
            connection: self.schedule.connection,
            syncing: self.in_flight.is_some(),
            last_synced_at: last_synced_ms.map(|ms| Timestamp::from_millis(UnixMillis(ms))),
            last_error: self.schedule.last_error.clone(),
            next_attempt_at,
            mirror_version: MIRROR_VERSION,
        })
    }

    /// Tells the engine what the host noticed.
    pub fn signal(&mut self, signal: Signal, _now: Now) {
        self.schedule.signal(signal);
    }

    /// When [`Engine::next_request`] may have something again: in the past or now when it is due. `None` while a
    /// request is under way and when only a [`Signal`] can change anything.
    ///
    /// # Errors
    /// The storage errors.
    pub fn next_wake(&self, now: Now) -> Result<Option<UnixMillis>, Error> {
        if self.in_flight.is_some() {
            return Ok(None);
        }
        let has_work = self.store.read().count_pending()? > 0;
        Ok(match self.schedule.due(has_work, now.unix_ms) {
            Due::Now => Some(now.unix_ms),
            Due::At(at) => Some(at),
            Due::OnSignal => None,
        })
    }

    /// Whose mirror it is.
    pub fn user_id(&self) -> UserId {
        self.user_id
    }

    /// Closes the mirror's file. Dropping the engine does the same but cannot report a failure.
    ///
    /// # Errors
    /// The storage errors; everything acknowledged is durable all the same.
    pub fn close(self) -> Result<(), Error> {
        self.store.close()
    }

    fn random(&mut self) -> u64 {
        let mut bytes = [0u8; 8];
        // Only spreads retries: without randomness they are merely less spread.
        let _ = self.entropy.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// Makes a new file this user's, or checks that it is; returns the installation's id.
fn claim(rows: Rows<'_>, user_id: UserId, entropy: &mut dyn Entropy) -> Result<ClientId, Error> {
    match rows.meta(Meta::UserId)? {
        Some(owner) if owner != user_id.to_string() => return Err(Error::WrongUser),
        Some(_) => {}
        None => rows.set_meta(Meta::UserId, &user_id.to_string())?,
    }
    if let Some(known) = rows.meta(Meta::ClientId)? {
        let parsed = Uuid::parse_str(&known).map_err(|_| Error::Internal("the client id is not a UUID"))?;
        return Ok(ClientId::from(parsed));
    }
    let made = ClientId::make(entropy)?;
    rows.set_meta(Meta::ClientId, &made.to_string())?;
    Ok(made)
}

/// The next hybrid logical clock, kept in the same transaction as the mutation that carries it.
fn tick(rows: Rows<'_>, now: UnixMillis) -> Result<Hlc, Error> {
    let last = rows.meta(Meta::Hlc)?.and_then(|text| text.parse().ok()).unwrap_or(Hlc::ZERO);
    let next = last.tick(now);
    rows.set_meta(Meta::Hlc, &next.to_string())?;
    Ok(next)
}
