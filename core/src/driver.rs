//! The loop that both hosts share: ask the engine, carry, hand back. Every decision is the engine's.

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::engine::{Applied, Engine, Outgoing, Ticket};
use crate::error::Error;
use crate::model::{Now, StatusError, Table};
use crate::sync::{Failure, Next, OFFLINE_CODES};
use crate::transport::{Carried, Transport};

/// A run of the loop ends after so many requests even if the server always has more; the next run goes on.
const MAX_REQUESTS: u32 = 100_000;

/// What the loop needs from its surroundings. The engine is lent for one call at a time, never across an await.
pub trait Host {
    /// Lends the engine.
    fn with_engine<R>(&self, work: impl FnOnce(&mut Engine) -> R) -> R;
    /// Reads the clock.
    fn now(&self) -> Now;
    /// The access token of the mirror's user; `fresh` says that the last one was refused. `None`: there is none.
    fn access_token(&self, fresh: bool) -> impl Future<Output = Option<String>>;
    /// The visible rows of these tables have changed, durably.
    fn changed(&self, tables: &[Table]);
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
    let mut report = SyncReport {
        outcome: Outcome::Done,
        pushed: 0,
        rejected: 0,
        pulled: 0,
        pending: 0,
        last_error: None,
    };
    let mut last = None;
    for _ in 0..MAX_REQUESTS {
        let Some(outgoing) = host.with_engine(|engine| engine.next_request(host.now()))? else { break };
        let mut waiting = Waiting { host, ticket: Some(outgoing.ticket) };
        let carried = carry(host, transport, &outgoing).await;
        waiting.ticket = None;
        let answer = carried.outcome;
        let failure = answer.as_ref().err().cloned();
        let applied = host.with_engine(|engine| {
            engine.count_bytes(carried.bytes_sent, carried.bytes_received);
            engine.apply_response(outgoing.ticket, answer, host.now())
        })?;
        add(&mut report, &applied);
        if !applied.changed.is_empty() {
            host.changed(&applied.changed);
        }
        last = Some((applied.next, failure));
        if !matches!(applied.next, Next::Continue | Next::RefreshToken) {
            break;
        }
    }
    let status = host.with_engine(|engine| engine.status(host.now()))?;
    report.outcome = match last {
        Some((next, failure)) => outcome(next, failure.as_ref()),
        // Nothing was due: what held it back is what the last attempt met.
        None => status.last_error.as_ref().map_or(Outcome::Done, |error| held_back_by(&error.code)),
    };
    report.pending = status.pending;
    report.last_error = status.last_error;
    Ok(report)
}

/// Gives the request up when the loop's future is dropped in the middle of it: else the engine would wait for ever.
struct Waiting<'h, H: Host> {
    host: &'h H,
    ticket: Option<Ticket>,
}

impl<H: Host> Drop for Waiting<'_, H> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.host.with_engine(|engine| engine.abandon(ticket));
        }
    }
}

async fn carry(host: &impl Host, transport: &Transport, outgoing: &Outgoing) -> Carried {
    match host.access_token(outgoing.fresh_token).await {
        Some(token) => transport.post(&outgoing.request, outgoing.user_id, &token, outgoing.timeout_ms).await,
        None => Carried { outcome: Err(Failure::no_token()), bytes_sent: 0, bytes_received: 0 },
    }
}

fn add(report: &mut SyncReport, applied: &Applied) {
    report.pushed += applied.pushed;
    report.rejected += applied.rejected;
    report.pulled += applied.pulled;
}

fn outcome(next: Next, failure: Option<&Failure>) -> Outcome {
    match (next, failure) {
        (Next::NeedToken | Next::RefreshToken, _) => Outcome::NeedToken,
        (Next::Stopped, _) => Outcome::Refused,
        (_, Some(failure)) if failure.is_offline() => Outcome::Offline,
        (_, Some(_)) => Outcome::RetryLater,
        (Next::Continue | Next::Wait, None) => Outcome::Done,
    }
}

fn held_back_by(code: &str) -> Outcome {
    match code {
        code if OFFLINE_CODES.contains(&code) => Outcome::Offline,
        "unauthorized" | "other_user" => Outcome::NeedToken,
        "refused" | "upgrade_required" => Outcome::Refused,
        _ => Outcome::RetryLater,
    }
}
