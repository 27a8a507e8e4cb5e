//! Tokens from the other side: each question has a number, and its answer comes by a call of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use marea_core::Failure;
use serde_json::json;
use tokio::sync::oneshot;

use super::Listener;
use crate::tokens::{TokenFuture, TokenSource, TryTokenFuture};

/// An app that does not answer (it may be waiting for a network) does not hold up a sync for longer.
const LIMIT: Duration = Duration::from_secs(10);

type Told = Result<Option<String>, Failure>;

/// The questions that wait for an answer.
pub(super) struct Questions {
    listener: Listener,
    waiting: Mutex<HashMap<u32, oneshot::Sender<Told>>>,
    asked: AtomicU32,
}

impl Questions {
    pub(super) fn new(listener: Listener) -> Questions {
        Questions { listener, waiting: Mutex::default(), asked: AtomicU32::new(0) }
    }

    async fn ask(&self, fresh: bool) -> Told {
        let id = self.asked.fetch_add(1, Ordering::Relaxed);
        let (answer, told) = oneshot::channel();
        self.waiting().insert(id, answer);
        (self.listener)(json!({ "kind": "token-wanted", "id": id, "fresh": fresh }).to_string());
        let told = tokio::time::timeout(LIMIT, told).await;
        self.waiting().remove(&id);
        told.ok().and_then(Result::ok).unwrap_or(Err(Failure::TokenUnavailable))
    }

    pub(super) fn answer(&self, id: u32, token: Option<String>, failed: bool) {
        let Some(waiting) = self.waiting().remove(&id) else { return };
        // Whoever has stopped waiting does not want to know.
        let _ = waiting.send(match failed {
            true => Err(Failure::TokenUnavailable),
            false => Ok(token.filter(|token| !token.is_empty())),
        });
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u32, oneshot::Sender<Told>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source that asks the other side.
pub(super) struct Asking(pub(super) Arc<Questions>);

impl TokenSource for Asking {
    fn access_token(&self, refused: bool) -> TokenFuture<'_> {
        Box::pin(async move { self.0.ask(refused).await.ok().flatten() })
    }

    fn try_access_token(&self, refused: bool) -> TryTokenFuture<'_> {
        Box::pin(self.0.ask(refused))
    }
}
