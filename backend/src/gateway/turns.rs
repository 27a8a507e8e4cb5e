//! How many requests of one user PostgREST has at a time, so that no account takes it and Postgres from the others. The next ones wait here,
//! where that costs nothing. It does not know what a request asks for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of the ten or so that PostgREST serves. A device asks for one thing at a time; two of one user wait for one another.
const AT_A_TIME: usize = 1;
/// A pause between two turns is no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Under way and waiting: more than a user's devices and tabs have.
const MOST: usize = 32;

/// The users who have requests, by the `sub` of their tokens.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<String, Line>>>);

struct Line {
    requests: usize,
    turns: Arc<Semaphore>,
}

/// A request's place among those of its user, until it is dropped.
pub(super) struct Turn {
    user: String,
    lines: Turns,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for a turn of this user; `None`: too many wait already.
    pub(super) async fn take(&self, user: &str) -> Option<Turn> {
        let (mut turn, turns) = {
            let mut lines = self.lines();
            let line = lines
                .entry(user.to_owned())
                .or_insert_with(|| Line { requests: 0, turns: Arc::new(Semaphore::new(AT_A_TIME)) });
            if line.requests == MOST {
                return None;
            }
            line.requests += 1;
            (Turn { user: user.to_owned(), lines: self.clone(), _permit: None }, Arc::clone(&line.turns))
        };
        // Whoever goes away while it waits leaves its place: `turn` is dropped.
        turn._permit = turns.acquire_owned().await.ok();
        Some(turn)
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Ends the turn of a request that took so long. Where others of its user wait they wait as long again: whoever has the next request ready
    /// before the last one is answered takes half of a core of Postgres, and the rest is for the others.
    pub(super) async fn end(self, took: Duration) {
        let others_wait = self.lines.lines().get(&self.user).is_some_and(|line| line.requests > 1);
        if others_wait {
            tokio::time::sleep(took.min(LONGEST_PAUSE)).await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let lines = self.lines.clone();
        if let Entry::Occupied(mut line) = lines.lines().entry(std::mem::take(&mut self.user)) {
            line.get_mut().requests -= 1;
            if line.get().requests == 0 {
                line.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_user_has_one_turn_and_the_others_have_their_own() {
        let turns = Turns::default();
        let one = turns.take("one").await.unwrap();
        let mut waiting = Box::pin(turns.take("one"));
        assert!(waiting.as_mut().now_or_never().is_none(), "a second turn");
        assert!(turns.take("other").now_or_never().is_some(), "another user waits");
        drop(one);
        assert!(waiting.now_or_never().flatten().is_some(), "a turn that is free is not given");
    }

    #[tokio::test]
    async fn whoever_has_more_waiting_pauses_for_as_long_as_the_request_took() {
        let (turns, took) = (Turns::default(), Duration::from_millis(30));
        let one = turns.take("one").await.unwrap();
        let (begun, mut next) = (Instant::now(), Box::pin(turns.take("one")));
        assert!(next.as_mut().now_or_never().is_none());
        let (next, ()) = futures_util::join!(next, one.end(took));
        assert!(begun.elapsed() >= took);
        assert!(next.unwrap().end(took).now_or_never().is_some(), "a pause that nobody waits for");
        assert!(turns.lines().is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_is_counted_until_it_goes() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..AT_A_TIME {
            held.push(turns.take("one").await.unwrap());
        }
        let mut waiting: Vec<_> = (AT_A_TIME..MOST).map(|_| Box::pin(turns.take("one"))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        assert!(matches!(turns.take("one").now_or_never(), Some(None)), "one too many waits");
        waiting.pop();
        assert!(turns.take("one").now_or_never().is_none(), "its place is free");
        drop((waiting, held));
        assert!(turns.lines().is_empty(), "a user without requests is remembered");
    }
}
