//! Asking the app for a token, for a while: a sign-in that does not answer must not hold the turn of a sync, which other programs wait
//! for too.
//!
//! A question goes on when nobody waits for it any more: what answers it may just have spent a refresh token. An answer that comes
//! then is there for the next one who asks, so that a slow sign-in is only late.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use marea_core::Failure;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::JoinSet;

use crate::tokens::TokenSource;

/// A question without an answer is given up after so long, and the app is asked again.
const LOST: Duration = Duration::from_secs(300);

type Told = Result<Option<String>, Failure>;

/// The questions to one source.
#[derive(Default)]
pub(super) struct Questions {
    under_way: RefCell<JoinSet<()>>,
    /// Nobody waits for this one now.
    late: RefCell<Option<Question>>,
}

struct Question {
    fresh: bool,
    told: oneshot::Receiver<Told>,
}

impl Questions {
    /// A token; a newer one than the last when `fresh`.
    pub(super) async fn token(&self, source: &Arc<dyn TokenSource>, fresh: bool) -> Result<String, Failure> {
        let mut question = match self.late.take().filter(|late| late.fresh || !fresh) {
            Some(mut late) => match late.told.try_recv() {
                Ok(Ok(Some(token))) => return Ok(token),
                Err(TryRecvError::Empty) => late,
                // What it said was so then: somebody may have signed in since.
                _ => self.ask(source, fresh),
            },
            None => self.ask(source, fresh),
        };
        match tokio::time::timeout(source.patience(), &mut question.told).await {
            Ok(told) => told.unwrap_or(Err(Failure::TokenUnavailable))?.ok_or_else(Failure::no_token),
            Err(_) => {
                self.late.replace(Some(question));
                Err(Failure::TokenUnavailable)
            }
        }
    }

    fn ask(&self, source: &Arc<dyn TokenSource>, fresh: bool) -> Question {
        let (answer, told) = oneshot::channel();
        let source = Arc::clone(source);
        let mut under_way = self.under_way.borrow_mut();
        while under_way.try_join_next().is_some() {}
        under_way.spawn_local(async move {
            let told = tokio::time::timeout(LOST, source.try_access_token(fresh)).await;
            // Whoever has stopped waiting does not want to know.
            let _ = answer.send(told.unwrap_or(Err(Failure::TokenUnavailable)));
        });
        Question { fresh, told }
    }

    /// What is asked next is asked anew: somebody has signed in.
    pub(super) fn forget_late(&self) {
        self.late.take();
    }

    /// The end: the source is let go of.
    pub(super) async fn end(&self) {
        let mut under_way = self.under_way.take();
        under_way.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::task::LocalSet;

    use super::*;
    use crate::tokens::{TokenFuture, TryTokenFuture};

    /// Answers each question after the next of these many milliseconds, with its number.
    struct Slow {
        asked: Arc<AtomicU32>,
        millis: &'static [u64],
    }

    impl TokenSource for Slow {
        fn access_token(&self, refused: bool) -> TokenFuture<'_> {
            Box::pin(async move { self.try_access_token(refused).await.ok().flatten() })
        }

        fn try_access_token(&self, _refused: bool) -> TryTokenFuture<'_> {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            let millis = self.millis[number as usize];
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(Some(number.to_string()))
            })
        }

        fn patience(&self) -> Duration {
            Duration::from_millis(100)
        }
    }

    /// What so many questions get, each with a pause before it; whether a fresh token is wanted is in the list. And how often the
    /// source was asked.
    async fn told(millis: &'static [u64], asks: &[(u64, bool)]) -> (Vec<String>, u32) {
        let asked = Arc::new(AtomicU32::new(0));
        let source: Arc<dyn TokenSource> = Arc::new(Slow { asked: Arc::clone(&asked), millis });
        let questions = Questions::default();
        let all = async {
            let mut told = Vec::new();
            for (pause, fresh) in asks {
                tokio::time::sleep(Duration::from_millis(*pause)).await;
                let token = questions.token(&source, *fresh).await;
                told.push(token.unwrap_or_else(|failure| failure.code().to_owned()));
            }
            questions.end().await;
            told
        };
        let told = LocalSet::new().run_until(all).await;
        assert_eq!(Arc::strong_count(&source), 1, "it is let go of");
        (told, asked.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_token_is_waited_for_and_not_for_ever() {
        const NEVER: u64 = 1_000_000;
        for (millis, asks, expected, asked) in [
            (&[0, 0][..], &[(0, false), (0, true)][..], &["0", "1"][..], 2),
            // It comes while the next one waits, or before anybody asks again.
            (&[150], &[(0, false), (0, false)], &["token_unavailable", "0"], 1),
            (&[150], &[(0, false), (200, false)], &["token_unavailable", "0"], 1),
            (&[150, 0], &[(0, false), (200, false), (0, false)], &["token_unavailable", "0", "1"], 2),
            // An older one is none where the server has refused that.
            (&[150, 0], &[(0, false), (0, true)], &["token_unavailable", "1"], 2),
            (&[NEVER], &[(0, true), (0, false), (0, true)], &["token_unavailable"; 3], 1),
        ] {
            assert_eq!(told(millis, asks).await, (expected.iter().map(|&it| it.into()).collect(), asked));
        }
    }
}
