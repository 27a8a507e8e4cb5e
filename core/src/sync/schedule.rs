//! The engine's patience: whether a request is due, and when the next one will be.
//!
//! Lives in memory only. A restart tries at once, which is what a person who restarts the app wants.

use serde::{Deserialize, Serialize};

use crate::model::{Connection, StatusError, UnixMillis};
use crate::sync::Failure;
use crate::sync::backoff::full_jitter_ms;

/// How long an idle client waits before it looks for other devices' changes.
const POLL_MS: u64 = 5 * 60 * 1_000;

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
    /// Get a fresh token, then ask for the next request.
    RefreshToken,
    /// Wait for [`Signal::NewToken`]: a fresh token was refused as well.
    NeedToken,
    /// The server refuses the request itself: wait for [`Signal::SyncNow`].
    Stopped,
}

/// Whether a request is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Now.
    Now,
    /// At this time, unless a signal or a mutation comes first.
    At(UnixMillis),
    /// Only a signal changes it.
    OnSignal,
}

/// Why nothing is sent although something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Free,
    /// Not before this time.
    Until(UnixMillis),
    Token,
    Stopped,
}

#[derive(Debug)]
pub(crate) struct Schedule {
    hold: Hold,
    /// Failures in a row.
    attempt: u32,
    /// The token was refused and a fresh one is being tried.
    token_tried: bool,
    wanted: bool,
    last_pull: Option<UnixMillis>,
    pub(crate) connection: Connection,
    pub(crate) last_error: Option<StatusError>,
}

impl Schedule {
    pub(crate) fn new() -> Self {
        Self {
            hold: Hold::Free,
            attempt: 0,
            token_tried: false,
            wanted: true,
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
            Signal::Online | Signal::Visible => {
                // What the last attempt found says nothing about a network that has come back.
                if signal == Signal::Online && self.connection == Connection::Offline {
                    self.connection = Connection::Unknown;
                }
                if matches!(self.hold, Hold::Token | Hold::Stopped) {
                    return;
                }
            }
            Signal::NewToken => {
                self.token_tried = false;
                if self.hold == Hold::Stopped {
                    return;
                }
            }
            Signal::SyncNow => self.token_tried = false,
        }
        self.hold = Hold::Free;
        self.attempt = 0;
        self.wanted = true;
    }

    /// Whether a request is due, given that mutations wait or not.
    pub(crate) fn due(&self, has_work: bool, now: UnixMillis) -> Due {
        let ready_at = match self.hold {
            Hold::Token | Hold::Stopped => return Due::OnSignal,
            Hold::Until(at) => Some(at),
            Hold::Free => None,
        };
        let is_rest = !has_work && !self.wanted;
        let wanted_at = self.last_pull.filter(|_| is_rest).map(|at| at.plus_ms(POLL_MS));
        match ready_at.max(wanted_at) {
            // A clock that was set back must not make the client wait for years.
            Some(at) if at > now && at <= now.plus_ms(POLL_MS.max(super::backoff::LAST_MS)) => Due::At(at),
            _ => Due::Now,
        }
    }

    pub(crate) fn succeeded(&mut self, has_more: bool, now: UnixMillis) -> Next {
        self.hold = Hold::Free;
        self.attempt = 0;
        self.token_tried = false;
        self.connection = Connection::Online;
        self.last_error = None;
        self.wanted = has_more;
        self.last_pull = Some(now);
        if has_more { Next::Continue } else { Next::Wait }
    }

    /// The next step after a failure. `random` only spreads the delay.
    pub(crate) fn failed(&mut self, failure: &Failure, now: UnixMillis, random: u64) -> Next {
        self.last_error = Some(StatusError { code: failure.code().to_owned(), message: failure.to_string() });
        if failure.is_offline() {
            self.connection = Connection::Offline;
        } else if failure.met_the_server() {
            self.connection = Connection::Online;
        }
        match failure {
            Failure::Unauthorized { .. } if !self.token_tried => {
                self.token_tried = true;
                Next::RefreshToken
            }
            Failure::Unauthorized { .. } | Failure::OtherUser => {
                self.hold = Hold::Token;
                Next::NeedToken
            }
            Failure::UpgradeRequired | Failure::Refused { .. } | Failure::ApiKeyRefused => {
                self.hold = Hold::Stopped;
                Next::Stopped
            }
            // The engine has halved the batch already.
            Failure::TooLarge => Next::Continue,
            Failure::Offline
            | Failure::NameNotFound
            | Failure::ConnectionRefused
            | Failure::ConnectionLost
            | Failure::Tls { .. }
            | Failure::CaptivePortal
            | Failure::Timeout
            | Failure::Unintelligible
            | Failure::TokenUnavailable
            | Failure::Server { .. } => {
                let asked = match failure {
                    Failure::Server { retry_after_ms, .. } => retry_after_ms.unwrap_or(0),
                    _ => 0,
                };
                let delay = full_jitter_ms(self.attempt, random).max(asked.min(super::backoff::LAST_MS));
                self.attempt = self.attempt.saturating_add(1);
                self.hold = Hold::Until(now.plus_ms(delay.max(1)));
                Next::Wait
            }
        }
    }

    /// Whether the host should hand over a fresh token with the next request.
    pub(crate) fn wants_fresh_token(&self) -> bool {
        self.token_tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn unauthorized() -> Failure {
        Failure::Unauthorized { code: "PGRST301".to_owned() }
    }

    #[test]
    fn a_new_engine_looks_at_the_server_once_and_then_rests() {
        let mut schedule = Schedule::new();
        assert_eq!(schedule.due(false, NOW), Due::Now);
        assert_eq!(schedule.succeeded(false, NOW), Next::Wait);
        assert_eq!(schedule.due(false, NOW), Due::At(NOW.plus_ms(POLL_MS)));
        assert_eq!(schedule.due(true, NOW), Due::Now);
    }

    #[test]
    fn failures_wait_and_signals_cut_the_wait_short() {
        let mut schedule = Schedule::new();
        assert_eq!(schedule.failed(&Failure::Offline, NOW, 700), Next::Wait);
        assert_eq!(schedule.due(true, NOW), Due::At(NOW.plus_ms(700)));
        schedule.signal(Signal::Online);
        assert_eq!(schedule.due(true, NOW), Due::Now);
    }

    #[test]
    fn a_lost_network_is_told_and_holds_nothing_back() {
        let mut schedule = Schedule::new();
        schedule.signal(Signal::Offline);
        assert_eq!(schedule.connection, Connection::Offline);
        assert_eq!(schedule.due(true, NOW), Due::Now, "the system may be wrong");
        schedule.succeeded(false, NOW);
        assert_eq!(schedule.connection, Connection::Online);
    }

    #[test]
    fn a_refused_token_is_refreshed_once_and_then_waited_for() {
        let mut schedule = Schedule::new();
        assert_eq!(schedule.failed(&unauthorized(), NOW, 0), Next::RefreshToken);
        assert!(schedule.wants_fresh_token());
        assert_eq!(schedule.failed(&unauthorized(), NOW, 0), Next::NeedToken);
        schedule.signal(Signal::Online);
        assert_eq!(schedule.due(true, NOW), Due::OnSignal);
        schedule.signal(Signal::NewToken);
        assert_eq!(schedule.due(true, NOW), Due::Now);
    }

    #[test]
    fn a_missing_token_says_nothing_about_the_network() {
        let mut schedule = Schedule::new();
        schedule.failed(&Failure::OtherUser, NOW, 0);
        assert_eq!(schedule.connection, Connection::Unknown);
        schedule.failed(&unauthorized(), NOW, 0);
        assert_eq!(schedule.connection, Connection::Online);
    }

    #[test]
    fn a_refused_request_stops_until_somebody_asks() {
        let mut schedule = Schedule::new();
        let refused = Failure::Refused { status: 400, code: "PT400".to_owned() };
        assert_eq!(schedule.failed(&refused, NOW, 0), Next::Stopped);
        schedule.signal(Signal::NewToken);
        assert_eq!(schedule.due(true, NOW), Due::OnSignal);
        schedule.signal(Signal::SyncNow);
        assert_eq!(schedule.due(true, NOW), Due::Now);
    }

    #[test]
    fn a_server_that_asks_for_patience_gets_it() {
        let mut schedule = Schedule::new();
        let busy = Failure::Server { status: 503, retry_after_ms: Some(30_000) };
        schedule.failed(&busy, NOW, 5);
        assert_eq!(schedule.due(true, NOW), Due::At(NOW.plus_ms(30_000)));
    }

    #[test]
    fn a_clock_set_back_by_years_does_not_make_it_wait_for_years() {
        let mut schedule = Schedule::new();
        schedule.succeeded(false, NOW);
        let years_ago = UnixMillis(NOW.0 - 3 * 365 * 86_400_000);
        assert_eq!(schedule.due(false, years_ago), Due::Now);
    }
}
