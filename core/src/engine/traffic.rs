//! How many bytes, mutations and rows went up and down. Bytes are counted in memory; all is kept with the exchange that it
//! belongs to, in the mirror, because another program that has it open may have held that exchange.

use crate::engine::Engine;
use crate::error::Error;
use crate::store::{JournalEntry, Meta, Rows};

/// Bytes of bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) sent: u64,
    pub(super) received: u64,
}

impl Traffic {
    fn plus(self, other: Traffic) -> Traffic {
        Traffic {
            sent: self.sent.saturating_add(other.sent),
            received: self.received.saturating_add(other.received),
        }
    }

    fn kept(rows: Rows<'_>) -> Result<Traffic, Error> {
        let total = |key| -> Result<u64, Error> {
            Ok(rows.meta(key)?.and_then(|text| text.parse().ok()).unwrap_or(0))
        };
        Ok(Traffic { sent: total(Meta::BytesSent)?, received: total(Meta::BytesReceived)? })
    }

    /// Adds to the totals of the mirror.
    fn keep(self, rows: Rows<'_>) -> Result<(), Error> {
        if self == Traffic::default() {
            return Ok(());
        }
        let total = Traffic::kept(rows)?.plus(self);
        rows.set_meta(Meta::BytesSent, &total.sent.to_string())?;
        rows.set_meta(Meta::BytesReceived, &total.received.to_string())
    }
}

/// How much this mirror has exchanged with the server, all in all. The difference of two is what happened in between,
/// whoever held the conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncMark {
    pushed: u64,
    rejected: u64,
    pulled: u64,
}

impl SyncMark {
    /// Mutations acknowledged, mutations refused and rows received since then.
    pub fn until(self, later: SyncMark) -> [u32; 3] {
        [
            later.pushed.saturating_sub(self.pushed),
            later.rejected.saturating_sub(self.rejected),
            later.pulled.saturating_sub(self.pulled),
        ]
        .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn kept(rows: Rows<'_>) -> Result<SyncMark, Error> {
        let text = rows.meta(Meta::Exchanged)?.unwrap_or_default();
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Ok(SyncMark { pushed: next(), rejected: next(), pulled: next() })
    }
}

/// Adds an exchange to the totals of the mirror.
pub(super) fn count(rows: Rows<'_>, entry: &JournalEntry) -> Result<(), Error> {
    let bytes = [entry.bytes_sent, entry.bytes_received].map(i64::unsigned_abs);
    Traffic { sent: bytes[0], received: bytes[1] }.keep(rows)?;
    let JournalEntry { pushed, rejected, pulled, .. } = *entry;
    if [pushed, rejected, pulled] == [0; 3] {
        return Ok(());
    }
    let before = SyncMark::kept(rows)?;
    let [pushed, rejected, pulled] = [
        before.pushed.saturating_add(pushed.into()),
        before.rejected.saturating_add(rejected.into()),
        before.pulled.saturating_add(pulled.into()),
    ];
    rows.set_meta(Meta::Exchanged, &format!("{pushed} {rejected} {pulled}"))
}

impl Engine {
    /// Where the mirror stands now, for whoever wants to know later what has been exchanged since.
    ///
    /// # Errors
    /// The storage errors.
    pub fn sync_mark(&self) -> Result<SyncMark, Error> {
        SyncMark::kept(self.store.read())
    }

    /// Counts the bytes of a request and of what came back for it. Right before [`Engine::apply_response`], which keeps
    /// them.
    pub fn count_bytes(&mut self, sent: u64, received: u64) {
        self.traffic = self.traffic.plus(Traffic { sent, received });
    }

    /// The totals, with what is not kept yet.
    pub(super) fn total_traffic(&self) -> Result<Traffic, Error> {
        Ok(Traffic::kept(self.store.read())?.plus(self.traffic))
    }
}
