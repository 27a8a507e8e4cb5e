//! Locks the vault when its time has come, also when nobody asks anything of it any more: what is left of an open vault in the
//! memory of a forgotten window is what locking by itself is for.

use std::rc::Rc;
use std::time::Duration;

use super::state::State;
use crate::clock;

/// Sleeps without a timer while there is nothing to lock.
pub(super) async fn watch(state: Rc<State>) {
    loop {
        let Some(at) = state.vault_locks_at() else {
            state.vault_nudge.notified().await;
            continue;
        };
        let wait = at.0.saturating_sub(clock::now().unix_ms.0);
        if wait > 0 {
            let wait = Duration::from_millis(wait.unsigned_abs());
            // Out of time, or used since: either way the time is looked at again.
            let _ = tokio::time::timeout(wait, state.vault_nudge.notified()).await;
            continue;
        }
        if let Err(error) = state.with_engine(|engine| engine.vault_status(clock::now())) {
            tracing::warn!(code = error.code(), "the vault could not be looked at");
            // It is locked all the same, before the mirror is read; if not, the next use locks it.
            state.vault_nudge.notified().await;
        }
    }
}
