//! Tokens from the other side: each question has a number, and its answer comes by a call of its own. How long that may take is the
//! client's decision.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use marea_core::Failure;
use serde_json::json;
use tokio::sync::oneshot;

use super::Listener;
use crate::tokens::{TokenFuture, TokenSource, TryTokenFuture};

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
        let _until_then = Waiting { questions: self, id };
        (self.listener)(json!({ "kind": "token-wanted", "id": id, "fresh": fresh }).to_string());
        told.await.unwrap_or(Err(Failure::TokenUnavailable))
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

/// A question that the client may give up: nobody is told of its answer then.
struct Waiting<'q> {
    questions: &'q Questions,
    id: u32,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.questions.waiting().remove(&self.id);
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
