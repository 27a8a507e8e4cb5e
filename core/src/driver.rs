//! The loop that both hosts share: ask the engine, carry, hand back. Every decision is the engine's.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Outgoing, SyncMark, Ticket};
use crate::error::Error;
use crate::model::{Now, StatusError, Table, UnixMillis};
use crate::sync::{Failure, Next, OFFLINE_CODES};
use crate::transport::{Carried, Transport};

/// A run of the loop ends after so many requests even if the server always has more; the next run goes on.
const MAX_REQUESTS: u32 = 100_000;

/// How long a token is used for pages ahead without asking the host again: a learner who signs out meanwhile is gone by then.
const TOKEN_MS: u64 = 5_000;

/// How often a request is polled before the engine takes the thread. Tokio's `LocalSet` gives way to the runtime, where the
/// connection is, after 61 polls of its own tasks.
const TURNS: u32 = 200;

/// What the loop needs from its surroundings. The engine is lent for one call at a time, never across an await.
pub trait Host {
    /// Lends the engine.
    fn with_engine<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R;
    /// Reads the clock.
    fn now(&self) -> Now;
    /// The access token of the mirror's user; `fresh` says that the last one was refused. `None`: there is none.
    fn access_token(&self, fresh: bool) -> impl Future<Output = Option<String>>;
    /// The same, for a host that can tell that nobody is signed in ([`Failure::no_token`]) from not being able to say now
    /// ([`Failure::TokenUnavailable`], or why its sign-in service could not be asked): the latter is tried again.
    fn token(&self, fresh: bool) -> impl Future<Output = Result<String, Failure>> {
        async move { self.access_token(fresh).await.ok_or_else(Failure::no_token) }
    }
    /// The visible rows of these tables have changed, durably.
    fn changed(&self, tables: &[Table]);
    /// Waits so many milliseconds, a second or so at most; says false, and waits for nothing, where the host keeps no time.
    /// Then a run ends where it would go on with a smaller request.
    fn pause(&self, _ms: u64) -> impl Future<Output = bool> {
        std::future::ready(false)
    }
}

/// How a run of the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The mirror and the server agree.
    Done,
    /// The server cannot be reached; everything is kept and queued.
    Offline,
    /// The app must sign in again; everything is kept and queued.
    NeedToken,
    /// The server refuses the request itself.
    Refused,
    /// The server could not answer now, or an attempt is planned for later.
    RetryLater,
}

/// What a run of the loop did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "tsify", derive(tsify::Tsify))]
pub struct SyncReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Mutations that the server acknowledged.
    pub pushed: u32,
    /// Mutations that the server refused.
    pub rejected: u32,
    /// Rows that the server sent.
    pub pulled: u32,
    /// Mutations that still wait.
    pub pending: u32,
    /// Why it did not finish.
    pub last_error: Option<StatusError>,
}

/// Sends and pulls until nothing is due.
///
/// # Errors
/// The engine's own errors; what the network and the server do is in the report.
pub async fn sync_until_idle(host: &impl Host, transport: &Transport) -> Result<SyncReport, Error> {
    let mark = host.with_engine(|engine| engine.sync_mark())?;
    sync_since(host, transport, mark).await
}

/// The same, and the report tells of all that was exchanged since `mark`: by a run that was under way when the caller asked, or by
/// another program that has the same mirror open.
///
/// # Errors
/// The engine's own errors; what the network and the server do is in the report.
pub async fn sync_since(
    host: &impl Host,
    transport: &Transport,
    mark: SyncMark,
) -> Result<SyncReport, Error> {
    let mut last = None;
    let mut ahead = None;
    for _ in 0..MAX_REQUESTS {
        let mut under_way = match ahead.take() {
            Some(under_way) => under_way,
            None => match host.with_engine(|engine| engine.next_request(host.now()))? {
                Some(outgoing) => {
                    UnderWay::new(host, outgoing.ticket, carry(host, transport, outgoing, None))
                }
                None => break,
            },
        };
        let ticket = under_way.ticket;
        // The app has forbidden the network meanwhile: the engine gives the request up.
        let Some((carried, token)) = under_way.arrive().await else { break };
        if let Ok(answer) = &carried.outcome
            && let Some(next) = host.with_engine(|engine| engine.look_ahead(ticket, answer))?
        {
            let mut next = UnderWay::new(host, next.ticket, carry(host, transport, next, token));
            next.set_out().await;
            ahead = Some(next);
        }
        let applied = host.with_engine(|engine| {
            engine.count_bytes(carried.bytes_sent, carried.bytes_received);
            engine.apply_response(ticket, carried.outcome, host.now())
        })?;
        ahead = ahead.filter(|next| host.with_engine(|engine| engine.awaits(next.ticket)));
        if !applied.changed.is_empty() {
            host.changed(&applied.changed);
        }
        let next = applied.next;
        // Not what came over the wire: an answer that came whole may still be none that this mirror can take.
        last = Some((next, applied.failure));
        let continues = match next {
            Next::Pause => pause(host).await?,
            next => goes_on(next),
        };
        if !continues {
            break;
        }
    }
    let status = host.with_engine(|engine| engine.status(host.now()))?;
    let now = host.with_engine(|engine| engine.sync_mark())?;
    let outcome = match last {
        Some((next, failure)) if !(status.paused && goes_on(next)) => outcome(next, failure.as_ref()),
        // Not a failure: the app itself has forbidden to go on.
        _ if status.paused => Outcome::Offline,
        Some((next, failure)) => outcome(next, failure.as_ref()),
        // Nobody has signed in: there is no server for this mirror yet.
        None if host.with_engine(|engine| engine.user_id().is_guest()) => Outcome::NeedToken,
        // Nothing was due: what held it back is what the last attempt met.
        // Not what the status tells beside it, of exports that found no room: the rest is in step.
        None => host.with_engine(|engine| engine.last_failure().map_or(Outcome::Done, held_back_by)),
    };
    let [pushed, rejected, pulled] = mark.until(now);
    Ok(SyncReport {
        outcome,
        pushed,
        rejected,
        pulled,
        pending: status.pending,
        last_error: status.last_error,
    })
}

/// Waits until the engine wants to try a smaller request. Says whether it does.
async fn pause(host: &impl Host) -> Result<bool, Error> {
    let now = host.now();
    let wake = host.with_engine(|engine| engine.next_wake(now))?;
    let wait_ms = wake.map_or(0, |at| at.0.saturating_sub(now.unix_ms.0).max(0).unsigned_abs());
    Ok(host.pause(wait_ms).await)
}

/// A request on its way. When it is dropped (as when the loop's future is, in the middle of it), the engine is told to give
/// it up: else it would wait for ever. One whose answer was applied is known to it no more.
struct UnderWay<'h, H: Host, F> {
    host: &'h H,
    ticket: Ticket,
    carrying: Pin<Box<F>>,
    arrived: Option<Arrived>,
}

/// What came of a request and the token that went with it; nothing where the app forbade the network before it left.
type Arrived = Option<(Carried, Option<Token>)>;

impl<'h, H: Host, F: Future<Output = Arrived>> UnderWay<'h, H, F> {
    fn new(host: &'h H, ticket: Ticket, carrying: F) -> Self {
        UnderWay { host, ticket, carrying: Box::pin(carrying), arrived: None }
    }

    /// Lets the request leave, for the engine will keep the thread for a while: as many turns as the tasks of a connection
    /// need on an executor that shares this thread.
    async fn set_out(&mut self) {
        let mut turns = TURNS;
        poll_fn(|context| {
            if let Poll::Ready(arrived) = self.carrying.as_mut().poll(context) {
                self.arrived = Some(arrived);
                return Poll::Ready(());
            }
            turns -= 1;
            if turns == 0 {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    async fn arrive(&mut self) -> Arrived {
        match self.arrived.take() {
            Some(arrived) => arrived,
            None => self.carrying.as_mut().await,
        }
    }
}

impl<H: Host, F> Drop for UnderWay<'_, H, F> {
    fn drop(&mut self) {
        self.host.with_engine(|engine| engine.abandon(self.ticket));
    }
}

/// An access token that the host has given.
struct Token {
    text: String,
    asked: UnixMillis,
}

impl Token {
    /// Whether the host need not be asked again, by a clock that may have jumped.
    fn is_young(&self, now: UnixMillis) -> bool {
        now.0.abs_diff(self.asked.0) <= TOKEN_MS
    }
}

/// Carries a request. A page ahead goes with the token of the page before it, while that is young: an app that has to look for
/// one, in another tab even, would keep the request from leaving in time.
async fn carry(host: &impl Host, transport: &Transport, outgoing: Outgoing, known: Option<Token>) -> Arrived {
    let asked = host.now().unix_ms;
    let token = match known.filter(|token| !outgoing.fresh_token && token.is_young(asked)) {
        Some(token) => Ok(token),
        None => host.token(outgoing.fresh_token).await.map(|text| Token { text, asked }),
    };
    // Getting a token may have taken a while.
    if host.with_engine(|engine| engine.is_paused()) {
        return None;
    }
    let token = match token {
        Ok(token) => token,
        Err(failure) => {
            return Some((Carried { outcome: Err(failure), bytes_sent: 0, bytes_received: 0 }, None));
        }
    };
    let Outgoing { request, user_id, timeout_ms, .. } = outgoing;
    let mut carried = transport.post_at(&request, user_id, &token.text, timeout_ms, asked).await;
    if let Err(failure) = &mut carried.outcome {
        host.with_engine(|engine| engine.name_deleted_account(failure));
    }
    Some((carried, Some(token)))
}

fn goes_on(next: Next) -> bool {
    matches!(next, Next::Continue | Next::RefreshToken)
}

fn outcome(next: Next, failure: Option<&Failure>) -> Outcome {
    match (next, failure) {
        (Next::NeedToken | Next::RefreshToken, _) => Outcome::NeedToken,
        (Next::Stopped, _) => Outcome::Refused,
        (_, Some(failure)) if failure.is_offline() => Outcome::Offline,
        (_, Some(_)) => Outcome::RetryLater,
        (Next::Continue | Next::Wait | Next::Pause, None) => Outcome::Done,
    }
}

fn held_back_by(code: &str) -> Outcome {
    match code {
        code if OFFLINE_CODES.contains(&code) => Outcome::Offline,
        "unauthorized" | "other_user" => Outcome::NeedToken,
        "refused" | "user_missing" | "user_moved" | "account_deleted" | "upgrade_required"
        | "api_key_refused" => Outcome::Refused,
        _ => Outcome::RetryLater,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::engine::tests::image::in_step_without_some_exports;

    struct Lent(RefCell<Engine>, Now);

    impl Host for Lent {
        fn with_engine<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R {
            work(&mut self.0.borrow_mut())
        }

        fn now(&self) -> Now {
            self.1
        }

        async fn access_token(&self, _fresh: bool) -> Option<String> {
            None
        }

        fn changed(&self, _tables: &[Table]) {}
    }

    #[test]
    fn exports_that_found_no_room_hold_nothing_back() {
        let (engine, now) = in_step_without_some_exports();
        assert_eq!(engine.status(now).unwrap().last_error.unwrap().code, "storage_full");
        let (host, transport) =
            (Lent(engine.into(), now), Transport::new("http://127.0.0.1:9", "key").unwrap());
        // Nothing is due, so nobody is asked.
        let mut run = pin!(sync_until_idle(&host, &transport));
        match run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(report) => assert_eq!(report.unwrap().outcome, Outcome::Done),
            Poll::Pending => panic!("it asks somebody"),
        }
    }
}
