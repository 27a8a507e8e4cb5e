//! Conversations with the server: one that somebody asked for, and the loop that holds them when they are due.
//!
//! It sleeps without a timer when only a signal can change anything, and until the engine's next wake-up otherwise.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use marea_core::{Engine, Failure, Host, Now, Signal, SyncReport, Table, sync_since};
use tracing::Instrument as _;

use super::state::State;
use crate::files::FileLock;
use crate::{Error, clock};

/// How long the loop rests when the mirror itself fails: a full disk is not emptied by asking again at once.
const TROUBLE: Duration = Duration::from_secs(30);

/// How long another process may talk before this one gives up waiting for its turn. Longer than any request may take; a first sync
/// of a large mirror may take longer, and then the next attempt is as good.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a conversation is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Somebody wants it now, however long a backoff the last failure has set.
    Asked,
    /// The engine says that it is time.
    Due,
}

/// Holds the conversations that the engine wants, for as long as the client lives.
pub(super) async fn in_the_background(state: Rc<State>) {
    loop {
        let now = clock::now();
        match state.with_engine(|engine| engine.next_wake(now)) {
            Ok(Some(at)) if at <= now.unix_ms => {
                state.refresh_watchers();
                if converse(&state, Why::Due).await.is_err() {
                    tokio::time::sleep(TROUBLE).await;
                }
            }
            Ok(Some(at)) => {
                let wait = Duration::from_millis(at.0.saturating_sub(now.unix_ms.0).unsigned_abs());
                // Out of time or out of sleep: either way the engine is asked again.
                let _ = tokio::time::timeout(wait, state.nudge.notified()).await;
            }
            Ok(None) => state.nudge.notified().await,
            Err(error) => {
                tracing::warn!(code = error.code(), "the mirror cannot say when to sync");
                tokio::time::sleep(TROUBLE).await;
            }
        }
    }
}

/// Talks to the server until nothing is left to say or it cannot be spoken to.
pub(super) async fn converse(state: &Rc<State>, why: Why) -> Result<SyncReport, Error> {
    let told = async {
        let result = converse_in_turn(state, why).await;
        match &result {
            Ok(report) => tracing::debug!(
                outcome = ?report.outcome, pushed = report.pushed, rejected = report.rejected,
                pulled = report.pulled, pending = report.pending, "synced"
            ),
            Err(error) => tracing::warn!(code = error.code(), "a sync failed"),
        }
        if let Err(Error::Engine(marea_core::Error::MirrorCorrupt)) = &result {
            state.recover();
        }
        // What was acknowledged may have a file to follow it, and the server may have said that it wakes devices.
        state.files_nudge.notify_one();
        state.socket_nudge.notify_one();
        result
    };
    told.instrument(tracing::info_span!("marea_sync", ?why)).await
}

async fn converse_in_turn(state: &Rc<State>, why: Why) -> Result<SyncReport, Error> {
    let transport = state.transport()?;
    state.has_tokens()?;
    // Whoever asks is told of all that happens while they wait, by whichever conversation.
    let asked = state.with_engine(|engine| engine.sync_mark())?;
    let under_way = state.conversation_began.get();
    let _turn = state.turn.lock().await;
    let _turn_of_this_process = turn_between_processes(state).await?;
    state.conversation_began.set(Some(state.with_engine(|engine| engine.sync_mark())?));
    if why == Why::Asked {
        state.with_engine(|engine| engine.signal(Signal::SyncNow, clock::now()));
    }
    let report = sync_since(&Conversation { state }, transport, under_way.unwrap_or(asked)).await;
    state.conversation_began.set(None);
    Ok(report?)
}

/// Of two conversations at once, the later answer could be the older one: between processes, a lock decides.
async fn turn_between_processes(state: &State) -> Result<FileLock, Error> {
    let path = state.mirror_path().with_extension("sync-lock");
    if let Some(lock) = FileLock::try_for(&path)? {
        return Ok(lock);
    }
    let lock = wait_for_turn(&path, PATIENCE).await?;
    // The other one has probably said everything that this one was about to say.
    state.look_for_other_writers();
    Ok(lock)
}

/// Asks again and again, and not for ever: the other process may have been stopped in the middle. A thread that waits for the lock
/// could not be told to give up.
async fn wait_for_turn(path: &Path, patience: Duration) -> Result<FileLock, Error> {
    let asking = async {
        let mut rest = Duration::from_millis(20);
        loop {
            if let Some(lock) = FileLock::try_for(path)? {
                return Ok(lock);
            }
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(Duration::from_millis(500));
        }
    };
    tokio::time::timeout(patience, asking).await.unwrap_or(Err(Error::SyncBusy))
}

/// What the engine's loop sees of this thread.
struct Conversation<'a> {
    state: &'a State,
}

impl Host for Conversation<'_> {
    fn with_engine<R>(&self, call: impl FnOnce(&mut Engine) -> R) -> R {
        self.state.with_engine(call)
    }

    fn now(&self) -> Now {
        clock::now()
    }

    async fn access_token(&self, fresh: bool) -> Option<String> {
        self.token(fresh).await.ok()
    }

    async fn token(&self, fresh: bool) -> Result<String, Failure> {
        self.state.token(fresh).await
    }

    /// Lending the engine has told those who watch already.
    fn changed(&self, _tables: &[Table]) {}

    async fn pause(&self, ms: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_waited_for_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FileLock::try_for(&path).unwrap();
        let refused = wait_for_turn(&path, Duration::from_millis(60)).await;
        assert_eq!(refused.err().map(|error| (error.code(), error.may_retry())), Some(("sync_busy", true)));
        let (waited, ()) = tokio::join!(wait_for_turn(&path, PATIENCE), async { drop(held) });
        assert!(waited.is_ok());
    }
}
