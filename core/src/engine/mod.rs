//! What an app can do: record, read, and be brought into agreement with the server.
//!
//! Synchronous and without I/O of its own but the mirror's file. Every call that writes persists first, in one
//! transaction, and changes memory afterwards.

#[cfg(feature = "http")]
mod account;
mod ahead;
mod apply;
mod asked;
mod catalogue;
mod changed;
mod day;
mod exchange;
mod files;
mod guest;
mod import;
mod leave;
mod overview;
mod page;
mod paging;
mod plan;
mod probe;
mod query;
#[cfg(any(test, feature = "planted-faults"))]
mod rebuild;
mod record;
mod refill;
mod registers;
mod rescue;
mod review;
mod rows;
mod same_write;
mod sessions;
#[cfg(test)]
pub(crate) mod tests;
mod traffic;
mod transfer_state;
mod transfers;
mod unreadable;
mod vault;
mod visible;
mod wakeups;
mod watch;

use uuid::Uuid;

use crate::entropy::Entropy;
use crate::error::Error;
use crate::model::{
    ActivityDay, ApiKeys, ClientId, Connection, Export, ExportKey, ExportPage, ExportQuery, ExportStatus,
    LocalDate, MutationId, Now, Progress, Status, StatusError, StorageKind, Table, Timestamp, UnixMillis,
    UserId, Zone, from_value,
};
use crate::planted::{self, Fault};
use crate::store::{ImageKeeper, Location, MIRROR_VERSION, Meta, Rows, Store};
use crate::sync::{Channel, Due, Limits, Schedule, Signal};
use crate::vault::Vault;

pub use asked::Asked;
#[cfg(any(test, feature = "planted-faults"))]
pub use changed::TableChanges;
pub use exchange::{Applied, Outgoing, Ticket};
pub use files::{FILE_QUOTA_BYTES, FileSource};
pub use leave::Left;
pub use plan::Change;
pub use rescue::SetAside;
pub use review::QueueCounts;
pub use traffic::SyncMark;
pub use transfer_state::TransferTicket;
pub use transfers::{Transfer, TransferFailure};
pub use watch::Subscription;

/// A write that is durable.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct Recorded {
    /// The mutation's id; for a session also the row's.
    pub id: MutationId,
    /// The key of the row that it concerns; for a new row without one that which was made.
    #[serde(default)]
    pub key: String,
    /// Mutations that wait for the server now.
    pub pending: u32,
    /// The day for which a session or an award was recorded, where that day lies after tomorrow: it counts in the totals now, and
    /// for the streaks once it has come. Nearly always the sign of a clock that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_from: Option<LocalDate>,
}

crate::model::redacted_debug!(Recorded);

/// One user's mirror and everything that happens to it.
pub struct Engine {
    store: Store,
    user_id: UserId,
    client_id: ClientId,
    entropy: Box<dyn Entropy + Send>,
    schedule: Schedule,
    in_flight: Option<exchange::InFlight>,
    /// The app itself has forbidden the network.
    paused: bool,
    /// The request for the page behind the one that is being applied.
    ahead: Option<exchange::InFlight>,
    /// What one request carries and asks for at most.
    limits: Limits,
    paging: paging::Paging,
    /// More than a few rows are expected of the next answer.
    expects_page: bool,
    next_ticket: u64,
    watchers: watch::Watchers,
    storage: StorageKind,
    /// Bytes that are not in the mirror's totals yet.
    traffic: traffic::Traffic,
    transfers: transfer_state::Transfers,
    vault: Vault,
    zone: Option<Box<dyn Zone + Send>>,
    /// The catalogue comes from the server.
    learns: bool,
    /// Minutes after midnight at which the learner's day begins.
    day_starts_at: u16,
    channel: Channel,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the mirror of a user, or makes it; that of [`UserId::GUEST`] is for who has not signed in: it makes no requests. What [`Engine::open_or_recover`] saved of a damaged one and did not come to
    /// restore, because its program died, is restored.
    ///
    /// # Errors
    /// [`Error::WrongUser`] when the file is another user's, [`Error::MirrorNewer`] and [`Error::MirrorCorrupt`]
    /// (the file is left alone), [`Error::MirrorLocked`], and the storage errors.
    pub fn open(
        location: &Location,
        user_id: UserId,
        entropy: Box<dyn Entropy + Send>,
        now: Now,
    ) -> Result<Engine, Error> {
        Engine::open_and_restore(location, user_id, entropy, now).map(|(engine, _)| engine)
    }

    /// Opens a mirror that lives in memory and whose image is kept elsewhere, or makes it. For surroundings without
    /// files. Each write hands the whole image to the keeper before it is committed.
    ///
    /// # Errors
    /// Those of [`Engine::open`], and the keeper's own.
    pub fn open_image(
        keeper: Box<dyn ImageKeeper>,
        user_id: UserId,
        entropy: Box<dyn Entropy + Send>,
        _now: Now,
    ) -> Result<Engine, Error> {
        Engine::over(Store::open_image(keeper)?, StorageKind::LocalStorage, user_id, entropy)
    }

    /// Says in which time zone the learner is. Without one every day is that of the present offset, [`Now::utc_offset_minutes`],
    /// which is another one for half of the year in many places.
    pub fn set_zone(&mut self, zone: Box<dyn Zone + Send>) {
        self.zone = Some(zone);
    }

    fn over(
        mut store: Store,
        storage: StorageKind,
        user_id: UserId,
        mut entropy: Box<dyn Entropy + Send>,
    ) -> Result<Engine, Error> {
        let client_id = store.write_beside_queue(|rows| claim(rows, user_id, entropy.as_mut()))?;
        let mut schedule = Schedule::new();
        // Another process, or an earlier one, may have been the last to try.
        let last = store.read().last_exchange()?.filter(|last| !last.message.is_empty());
        schedule.last_error = last.map(|last| StatusError { code: last.code, message: last.message });
        let limits = Limits::read(exchange::BATCH_BYTES, store.read().meta(Meta::Limits)?.as_deref());
        let day_starts_at = store.read().meta(Meta::DayStartsAt)?.and_then(|text| text.parse().ok());
        let day_starts_at = day_starts_at.unwrap_or(0);
        // A host may still hold the answer to a request of an engine that is gone, of another user even.
        let next_ticket =
            if planted::is(Fault::TicketsBeginAnew) { 0 } else { random_bits(entropy.as_mut())? };
        Ok(Engine {
            store,
            user_id,
            client_id,
            entropy,
            schedule,
            in_flight: None,
            paused: false,
            ahead: None,
            limits,
            paging: paging::Paging::default(),
            expects_page: false,
            next_ticket,
            watchers: watch::Watchers::default(),
            storage,
            traffic: traffic::Traffic::default(),
            transfers: transfer_state::Transfers::default(),
            vault: Vault::default(),
            zone: None,
            learns: false,
            day_starts_at,
            channel: Channel::new(),
        })
    }

    /// The learner's progress as of the host's local day: days after tomorrow are in the totals, and not yet in the streaks.
    ///
    /// # Errors
    /// The storage errors.
    pub fn progress(&self, now: Now) -> Result<Progress, Error> {
        let rows = self.store.read();
        let stored = rows.progress(self.user_id)?.unwrap_or_else(|| Progress::empty(self.user_id));
        visible::as_of(rows, stored, self.today(now))
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

    /// A page of exports, newest first.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] for a page size outside 1 to 500, and the storage errors.
    pub fn exports(&self, query: &ExportQuery) -> Result<ExportPage, Error> {
        let limit = query.page_rows()?;
        let status = query.status.map(ExportStatus::name);
        let after = query.after.as_ref().map(|key| (key.created_at.to_string(), key.id.to_string()));
        let after = after.as_ref().map(|(at, id)| (at.as_str(), id.as_str()));
        // One more than asked for tells whether there is a next page.
        let found = self.store.read().exports(status, query.export_type.as_deref(), after, limit + 1)?;
        let is_last = found.len() <= limit as usize;
        let exports: Vec<Export> =
            found.into_iter().take(limit as usize).map(read_row).collect::<Result<_, _>>()?;
        let next = exports.last().filter(|_| !is_last);
        let next = next.map(|last| ExportKey { created_at: last.created_at, id: last.id });
        Ok(ExportPage { exports, next })
    }

    /// One export; `None` when this mirror has none with this id.
    ///
    /// # Errors
    /// The storage errors.
    pub fn export(&self, id: MutationId) -> Result<Option<Export>, Error> {
        let row = self.store.read().register(Table::ExportHistory, &id.to_string())?;
        row.map(|row| read_row(row.values)).transpose()
    }

    /// The sealed API keys.
    ///
    /// # Errors
    /// The storage errors.
    pub fn api_keys(&self) -> Result<ApiKeys, Error> {
        let row = self.store.read().register(Table::UserApiKeys, &self.user_id.to_string())?;
        row.map_or_else(|| Ok(ApiKeys::default()), |row| read_row(row.values))
    }

    /// How the engine is doing.
    ///
    /// # Errors
    /// The storage errors.
    pub fn status(&self, now: Now) -> Result<Status, Error> {
        let rows = self.store.read();
        let pending = self.store.pending()?;
        let last_synced_ms = rows.meta(Meta::LastSyncedMs)?.and_then(|text| text.parse().ok());
        let next_attempt_at = match self.schedule.due(pending > 0, now.unix_ms) {
            _ if self.in_flight.is_some() || self.paused || self.user_id.is_guest() => None,
            Due::Now => Some(now.timestamp()),
            Due::At(at) => Some(Timestamp::from_millis(at)),
        };
        let total = self.total_traffic()?;
        Ok(Status {
            user_id: self.user_id,
            client_id: self.client_id,
            storage: self.storage,
            pending,
            rejected: self.store.rejected()?,
            connection: self.schedule.connection,
            online: !self.paused && self.schedule.connection != Connection::Offline,
            paused: self.paused,
            syncing: self.in_flight.is_some(),
            last_synced_at: last_synced_ms.map(|ms| Timestamp::from_millis(UnixMillis(ms))),
            last_error: self
                .schedule
                .last_error
                .clone()
                .map_or_else(|| rows.left_out(), |error| Ok(Some(error)))?,
            next_attempt_at,
            bytes_sent: total.sent,
            bytes_received: total.received,
            mirror_version: MIRROR_VERSION,
            unreadable: unreadable::list(rows)?,
            cursor: apply::cursor(rows)?.map(|cursor| cursor.version),
            wakeups: self.channel.status(),
            limits: self.sync_limits(),
            files: self.files_status()?,
        })
    }

    /// The code of what the last attempt to sync met, until one succeeds.
    #[cfg(feature = "http")]
    pub(crate) fn last_failure(&self) -> Option<&str> {
        self.schedule.last_error.as_ref().map(|error| error.code.as_str())
    }

    /// The app's own wish: with `false`, no request begins until it is `true` again, and then one is due at once. A request
    /// that is under way is finished. Kept in memory only.
    pub fn set_online(&mut self, online: bool) {
        if std::mem::replace(&mut self.paused, !online) && online {
            self.schedule.signal(Signal::Online);
            self.transfers.signal();
        }
    }

    /// Whether the app itself has forbidden the network, by [`Engine::set_online`].
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// When [`Engine::next_request`] may have something again: in the past or now when it is due, and never later than in
    /// a quarter of an hour, or in half an hour while the server tells of changes. `None` while a request is under way, while the
    /// app forbids the network, and for a guest.
    ///
    /// # Errors
    /// The storage errors.
    pub fn next_wake(&self, now: Now) -> Result<Option<UnixMillis>, Error> {
        if self.in_flight.is_some() || self.paused || self.user_id.is_guest() {
            return Ok(None);
        }
        let has_work = self.store.pending()? > 0;
        Ok(match self.schedule.due(has_work, now.unix_ms) {
            Due::Now => Some(now.unix_ms),
            Due::At(at) => Some(at),
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
        // Only spreads retries: without randomness they are merely less spread.
        random_bits(self.entropy.as_mut()).unwrap_or(0)
    }
}

fn random_bits(entropy: &mut dyn Entropy) -> Result<u64, Error> {
    let mut bytes = [0u8; 8];
    entropy.fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Reads a fact of the mirror's own; where there is none, or it cannot be read, it is as in a new mirror.
fn from_json_or_default<T: serde::de::DeserializeOwned + Default>(json: Option<&str>) -> T {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// Reads a row that was checked before it was kept.
fn read_row<T: serde::de::DeserializeOwned>(
    values: serde_json::Map<String, serde_json::Value>,
) -> Result<T, Error> {
    from_value(values.into()).map_err(|_| Error::Internal("the mirror holds a row that it cannot read"))
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
