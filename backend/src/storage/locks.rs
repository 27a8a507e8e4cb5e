//! One writer for each resumable upload. A later one asks the earlier to stop, as Supabase's does: after a broken connection
//! the earlier one may still be waiting for bytes that never come.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard};
use uuid::Uuid;

use super::StorageError;

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Place {
    writer: Arc<AsyncMutex<()>>,
    newer: Arc<Notify>,
}

#[derive(Default)]
pub(super) struct Locks {
    places: Mutex<HashMap<Uuid, Place>>,
}

/// Held while writing; `newer` is told when somebody else wants to.
pub(super) struct Held {
    _writer: OwnedMutexGuard<()>,
    pub(super) newer: Arc<Notify>,
}

impl Locks {
    pub(super) async fn take(&self, id: Uuid) -> Result<Held, StorageError> {
        let (writer, newer) = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let place = places.entry(id).or_default();
            (Arc::clone(&place.writer), Arc::clone(&place.newer))
        };
        if let Ok(writer) = Arc::clone(&writer).try_lock_owned() {
            return Ok(Held { _writer: writer, newer });
        }
        newer.notify_waiters();
        let taken = tokio::time::timeout(PATIENCE, writer.lock_owned()).await;
        taken.map(|writer| Held { _writer: writer, newer }).map_err(|_| StorageError::locked())
    }

    /// Nobody will write it again.
    pub(super) fn forget(&self, id: Uuid) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}
