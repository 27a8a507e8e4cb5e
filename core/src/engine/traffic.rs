//! How many bytes went up and down. Counted in memory, and kept with the exchange that they belong to.

use crate::engine::Engine;
use crate::error::Error;
use crate::store::{Meta, Rows};

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
    pub(super) fn keep(self, rows: Rows<'_>) -> Result<(), Error> {
        if self == Traffic::default() {
            return Ok(());
        }
        let total = Traffic::kept(rows)?.plus(self);
        rows.set_meta(Meta::BytesSent, &total.sent.to_string())?;
        rows.set_meta(Meta::BytesReceived, &total.received.to_string())
    }
}

impl Engine {
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
