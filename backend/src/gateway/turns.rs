//! How many requests of one user PostgREST has at a time, so that no account takes it and Postgres from the others. The next ones wait here,
//! where that costs nothing. Syncs and the app's own requests have turns of their own.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a request is, which decides how many of its kind PostgREST has of one user, of the ten or so that it serves.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// One at a time: a device asks for one thing after the other, and two of one user can wait for each other.
    Sync,
    /// Two at a time: an app asks for several things at once.
    Other,
}

impl Kind {
    fn at_a_time(self) -> usize {
        match self {
            Kind::Sync => 1,
            Kind::Other => 2,
        }
    }
}

/// A pause between two turns is no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Of one kind, under way and waiting: more than a user's devices and tabs have.
const MOST: usize = 32;

/// The users who have requests, by the `sub` of their tokens.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<Of, Line>>>);

type Of = (String, Kind);

struct Line {
    requests: usize,
    turns: Arc<Semaphore>,
}

/// A request's place among those of its user, until it is dropped.
pub(super) struct Turn {
    of: Of,
    lines: Turns,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for a turn of this user; `None`: too many wait already.
    pub(super) async fn take(&self, user: &str, kind: Kind) -> Option<Turn> {
        let of = (user.to_owned(), kind);
        let (mut turn, turns) = {
            let mut lines = self.lines();
            let line = lines
                .entry(of.clone())
                .or_insert_with(|| Line { requests: 0, turns: Arc::new(Semaphore::new(kind.at_a_time())) });
            if line.requests == MOST {
                return None;
            }
            line.requests += 1;
            (Turn { of, lines: self.clone(), _permit: None }, Arc::clone(&line.turns))
        };
        // Whoever goes away while it waits leaves its place: `turn` is dropped.
        turn._permit = turns.acquire_owned().await.ok();
        Some(turn)
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Of, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Ends the turn of a request that took so long. Where more syncs of the same user wait, the next one begins after a pause as long: who sends
    /// without end gets half of one core.
    pub(super) async fn end(self, took: Duration) {
        let more_wait = self.lines.lines().get(&self.of).is_some_and(|line| line.requests > 1);
        if more_wait && self.of.1 == Kind::Sync {
            tokio::time::sleep(took.min(LONGEST_PAUSE)).await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Entry::Occupied(mut line) = self.lines.lines().entry(self.of.clone()) {
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
    async fn a_user_has_so_many_turns_of_each_kind_and_the_others_have_their_own() {
        for (kind, other) in [(Kind::Sync, Kind::Other), (Kind::Other, Kind::Sync)] {
            let (turns, mut held) = (Turns::default(), Vec::new());
            for _ in 0..kind.at_a_time() {
                held.push(turns.take("one", kind).await.unwrap());
            }
            let mut waiting = Box::pin(turns.take("one", kind));
            assert!(waiting.as_mut().now_or_never().is_none(), "a turn too many");
            assert!(turns.take("one", other).now_or_never().is_some(), "a request of the other kind waits");
            assert!(turns.take("other", kind).now_or_never().is_some(), "another user waits");
            held.pop();
            assert!(waiting.now_or_never().flatten().is_some(), "a turn that is free is not given");
        }
    }

    #[tokio::test]
    async fn whoever_has_more_syncs_waiting_pauses_for_as_long_as_the_last_one_took() {
        let (turns, took) = (Turns::default(), Duration::from_millis(30));
        let one = turns.take("one", Kind::Sync).await.unwrap();
        let (begun, mut next) = (Instant::now(), Box::pin(turns.take("one", Kind::Sync)));
        assert!(next.as_mut().now_or_never().is_none());
        let (next, ()) = futures_util::join!(next, one.end(took));
        assert!(begun.elapsed() >= took);
        assert!(next.unwrap().end(took).now_or_never().is_some(), "a pause that nobody waits for");
        let [one, _two] =
            [turns.take("one", Kind::Other).await.unwrap(), turns.take("one", Kind::Other).await.unwrap()];
        assert!(one.end(took).now_or_never().is_some(), "an app's own requests pause");
    }

    #[tokio::test]
    async fn whoever_waits_is_counted_until_it_goes() {
        let turns = Turns::default();
        let held = turns.take("one", Kind::Sync).await.unwrap();
        let mut waiting: Vec<_> = (1..MOST).map(|_| Box::pin(turns.take("one", Kind::Sync))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        assert!(matches!(turns.take("one", Kind::Sync).now_or_never(), Some(None)), "one too many waits");
        waiting.pop();
        assert!(turns.take("one", Kind::Sync).now_or_never().is_none(), "its place is free");
        drop((waiting, held));
        assert!(turns.lines().is_empty(), "a user without requests is remembered");
    }
}
