//! The schedule: whether a request is due, and when the next one will be.
//!
//! Lives in memory only. A restart tries at once, which is what a person who restarts the app wants.
//!
//! **Invariant:** no state waits for ever. Whatever was met, there is a next attempt within [`LONGEST_MS`], and at once on
//! every [`Signal`] but [`Signal::Offline`]. Where nothing is wrong and the server wakes the client, it is within
//! [`POLL_LISTENING_MS`].

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::{Connection, StatusError, UnixMillis};
use crate::planted::{self, Fault};
use crate::sync::Failure;
use crate::sync::backoff::full_jitter_ms;

/// How long an idle client waits before it looks for other devices' changes.
const POLL_MS: u64 = 5 * 60 * 1_000;

/// The same while the server wakes the client: what a lost message brought is found then.
const POLL_LISTENING_MS: u64 = 30 * 60 * 1_000;

/// The longest that anything else waits: what a server asks for at most, and how often an app that is too old looks whether it
/// still is.
const LONGEST_MS: u64 = 15 * 60 * 1_000;

/// After a failure a new write is a reason to try earlier, but no earlier than this: somebody who practises while the server
/// is away must not ask it once for each answer.
const WRITE_MS: u64 = 30_000;

/// Writes that come one upon the other share a request a second. A single one after a rest goes at once.
const GATHER_MS: u64 = 1_000;

/// Something that the host noticed and that may make a request worth while at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// The network came back.
    Online,
    /// The network went away.
    Offline,
    /// The app became visible.
    Visible,
    /// The app has a new access token.
    NewToken,
    /// A person or the app asked for a sync.
    SyncNow,
}

/// What the host should do after an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Next {
    /// Ask for the next request at once.
    Continue,
    /// Nothing is due; wait for the next wake-up, a signal or a mutation.
    #[default]
    Wait,
    /// Wait for the next wake-up, which is within a second or so, and ask for the next request: it will be a smaller one.
    Pause,
    /// Get a fresh token, then ask for the next request.
    RefreshToken,
    /// A fresh token was refused as well, or there is none: [`Signal::NewToken`] ends the wait that is planned.
    NeedToken,
    /// The request itself is refused. It is tried again like every other failure, but trying is not what will mend it.
    Stopped,
}

/// Whether a request is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Now.
    Now,
    /// At this time, unless a signal or a mutation comes first.
    At(UnixMillis),
}

/// Why nothing is sent although something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hold {
    until: UnixMillis,
    /// A new write ends it at this time; none where the server has said how long to wait.
    with_write: Option<UnixMillis>,
}

#[derive(Debug)]
pub(crate) struct Schedule {
    hold: Option<Hold>,
    /// Failures in a row.
    attempt: u32,
    /// The token was refused and a fresh one is being tried.
    token_tried: bool,
    wanted: bool,
    /// The server has changes.
    woken: bool,
    /// The server says when it has changes.
    listening: bool,
    /// Somebody waits for all that is queued: writes are not gathered.
    asked: bool,
    last_started: Option<UnixMillis>,
    last_pull: Option<UnixMillis>,
    pub(crate) connection: Connection,
    pub(crate) last_error: Option<StatusError>,
}

impl Schedule {
    pub(crate) fn new() -> Self {
        Self {
            hold: None,
            attempt: 0,
            token_tried: false,
            wanted: true,
            woken: false,
            listening: false,
            asked: false,
            last_started: None,
            last_pull: None,
            connection: Connection::Unknown,
            last_error: None,
        }
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Offline => {
                self.connection = Connection::Offline;
                return;
            }
            // What the last attempt found says nothing about a network that has come back.
            Signal::Online if self.connection == Connection::Offline => self.connection = Connection::Unknown,
            Signal::Online | Signal::Visible => {}
            Signal::NewToken => self.token_tried = false,
            Signal::SyncNow => self.asked = true,
        }
        self.hold = None;
        self.attempt = 0;
        self.wanted = true;
    }

    /// Something was recorded.
    pub(crate) fn wrote(&mut self) {
        if let Some(hold) = &mut self.hold
            && let Some(earlier) = hold.with_write
        {
            hold.until = hold.until.min(earlier);
        }
    }

    /// The server has, or may have, something that this client does not know. A failure's wait goes on.
    pub(crate) fn woken(&mut self) {
        self.woken = true;
    }

    /// Whether the server says when it has changes.
    pub(crate) fn set_listening(&mut self, listening: bool) {
        self.listening = listening;
    }

    /// Whether a request is due, given that mutations wait or not.
    pub(crate) fn due(&self, has_work: bool, now: UnixMillis) -> Due {
        // A clock that was set back must not make the client wait for years.
        let ahead = |at: UnixMillis, most_ms| Some(at).filter(|at| *at > now && *at <= now.plus_ms(most_ms));
        let held = self.hold.and_then(|hold| ahead(hold.until, LONGEST_MS));
        let poll_ms = match self.listening {
            true if planted::is(Fault::PollAbsentWhileListening) => u64::from(u32::MAX),
            true => POLL_LISTENING_MS,
            false => POLL_MS,
        };
        let rests_until = match (self.wanted, has_work || self.woken) {
            (true, _) => None,
            (false, false) => self.last_pull.and_then(|at| ahead(at.plus_ms(poll_ms), poll_ms)),
            (false, true) if self.asked || planted::is(Fault::WritesNotGathered) => None,
            (false, true) => self.last_started.and_then(|at| ahead(at.plus_ms(GATHER_MS), GATHER_MS)),
        };
        held.max(rests_until).map_or(Due::Now, Due::At)
    }

    /// A request begins.
    pub(crate) fn started(&mut self, now: UnixMillis) {
        self.last_started = Some(now);
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.attempt
    }

    /// The next step after a success. `goes_on`: the server has more, or the request did not carry all that waited then.
    /// `has_work`: mutations wait.
    pub(crate) fn succeeded(&mut self, goes_on: bool, has_work: bool, now: UnixMillis) -> Next {
        if !planted::is(Fault::HoldStaysAfterSuccess) {
            self.hold = None;
        }
        self.attempt = 0;
        self.token_tried = false;
        self.connection = Connection::Online;
        self.last_error = None;
        self.wanted = goes_on;
        self.woken = false;
        self.asked &= goes_on || has_work;
        self.last_pull = Some(now);
        if goes_on || self.asked { Next::Continue } else { Next::Wait }
    }

    /// The next step after a failure. `is_smaller`: the next request will carry or ask for less, so that it need not wait
    /// for the server to get well. `random` only spreads the delay.
    pub(crate) fn failed(
        &mut self,
        failure: &Failure,
        is_smaller: bool,
        now: UnixMillis,
        random: u64,
    ) -> Next {
        self.last_error = Some(StatusError { code: failure.code().to_owned(), message: failure.to_string() });
        if failure.is_offline() {
            self.connection = Connection::Offline;
        } else if failure.met_the_server() {
            self.connection = Connection::Online;
        }
        let next = match failure {
            Failure::Unauthorized { .. } if !self.token_tried => {
                self.token_tried = true;
                return Next::RefreshToken;
            }
            Failure::Unauthorized { .. } | Failure::OtherUser => {
                // The next attempt begins with the token that there is then: a new one may not be to be had although that
                // one is good.
                self.token_tried = false;
                Next::NeedToken
            }
            Failure::UpgradeRequired
            | Failure::Refused { .. }
            | Failure::UserMissing
            | Failure::UserMoved { .. }
            | Failure::AccountDeleted
            | Failure::ApiKeyRefused => Next::Stopped,
            Failure::TooLarge | Failure::ProxyTooLarge | Failure::AnswerTooLarge | Failure::ServerTimeout
                if is_smaller =>
            {
                // Somebody has answered: what remains is to find the size, and that ends after a few steps.
                self.hold_for(full_jitter_ms(0, random), true, now);
                return Next::Pause;
            }
            _ => Next::Wait,
        };
        let asked_ms = match failure {
            Failure::Server { retry_after_ms, .. } => retry_after_ms.unwrap_or(0).min(LONGEST_MS),
            Failure::UpgradeRequired => LONGEST_MS,
            _ => 0,
        };
        self.back_off(asked_ms, now, random);
        next
    }

    /// The mirror itself failed: an answer could not be written. It is asked for again, after a pause like any other.
    pub(crate) fn mirror_failed(&mut self, error: &Error, now: UnixMillis, random: u64) {
        self.last_error = Some(StatusError { code: error.code().to_owned(), message: error.to_string() });
        self.back_off(0, now, random);
    }

    /// A success that did not bring the client any further.
    pub(crate) fn stalled(&mut self, now: UnixMillis, random: u64, failures: u32) -> Next {
        self.attempt = failures;
        self.failed(&Failure::NoProgress, false, now, random)
    }

    fn back_off(&mut self, asked_ms: u64, now: UnixMillis, random: u64) {
        let attempt = if planted::is(Fault::WaitsNeverGrow) { 0 } else { self.attempt };
        let delay = full_jitter_ms(attempt, random).max(asked_ms);
        self.attempt = self.attempt.saturating_add(1);
        self.asked = false;
        self.hold_for(delay, asked_ms == 0, now);
    }

    fn hold_for(&mut self, delay_ms: u64, may_shorten: bool, now: UnixMillis) {
        let delay_ms = match delay_ms {
            _ if planted::is(Fault::NoPauseAfterFailure) => 0,
            delay_ms => delay_ms,
        };
        let with_write = may_shorten.then(|| now.plus_ms(WRITE_MS));
        self.hold = Some(Hold { until: now.plus_ms(delay_ms), with_write });
    }

    /// Whether the host should hand over a fresh token with the next request.
    pub(crate) fn wants_fresh_token(&self) -> bool {
        self.token_tried
    }
}

#[cfg(test)]
mod tests;
