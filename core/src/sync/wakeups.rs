//! The socket on which a server says that there is something to pull: a machine without a socket, a clock or a timer. The host
//! tells it what happened and does what it answers.
//!
//! Wake-ups only save waiting. Whatever is lost, a join or the next look brings it, and no frame ever moves a cursor.

mod frames;
#[cfg(test)]
mod tests;

use crate::model::{Claims, UnixMillis, UserId, WakeUps, redacted_debug};
use crate::planted::{self, Fault};
use crate::sync::backoff::{LAST_MS, full_jitter_ms};
use crate::sync::wakeups::frames::Said;

/// Supabase closes a socket that has been silent for longer.
const HEARTBEAT_MS: u64 = 25_000;
/// A heartbeat that is not answered by then was sent into a connection that is gone.
const ANSWER_MS: u64 = 10_000;
/// Connecting and joining: as long as the clients of Supabase wait, each.
const JOIN_MS: u64 = 20_000;
/// So long before its end a token is replaced.
const RENEW_MS: i64 = 60_000;

/// What happened at the host.
#[derive(Clone, Copy)]
pub enum SocketEvent<'e> {
    /// Nothing but time, or something that the engine was told in another way.
    Look,
    /// The socket that was asked for is open; the user's access token, got before it was opened.
    Opened(&'e str),
    /// A text frame came.
    Text(&'e str),
    /// The token that was asked for.
    Token(&'e str),
    /// There is no socket: it broke, or could not be opened, or there was no token for it.
    Closed,
}

/// What the host is to do about its socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketAsk {
    /// Nothing.
    #[default]
    Nothing,
    /// Get a token, open a socket, and say [`SocketEvent::Opened`] or [`SocketEvent::Closed`].
    Open,
    /// Get a token and say [`SocketEvent::Token`]. Without one there is nothing to say.
    Token,
    /// Close it, without saying so.
    Close,
}

/// What to do next, in this order: `ask` where it is to close, `frames`, `ask`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SocketStep {
    /// About the socket.
    pub ask: SocketAsk,
    /// The last token was refused: a fresh one is asked for.
    pub fresh: bool,
    /// Text frames to send.
    pub frames: Vec<String>,
    /// When to look again, in Unix milliseconds; `None`: only an event changes anything.
    pub at: Option<UnixMillis>,
    /// A request may have become due.
    pub sync: bool,
    /// The status says something else now.
    pub changed: bool,
}

redacted_debug!(SocketStep);

/// What a frame means for the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A change, up to this version.
    Version(i64),
    /// Something may have been missed.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No socket, and none is wanted.
    Idle,
    /// No socket until then.
    Held {
        until: UnixMillis,
    },
    /// Asked for since then.
    Opening {
        since: UnixMillis,
    },
    /// Open, and the join is not answered yet.
    Joining {
        since: UnixMillis,
        renew_at: Option<UnixMillis>,
    },
    Joined {
        beat: Beat,
        renew_at: Option<UnixMillis>,
    },
    /// The server lets this user not listen. Nothing changes that but another user, or the server's word.
    Refused,
}

/// Heartbeats of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beat {
    last: UnixMillis,
    /// The one that is not answered yet.
    waits_for: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Channel {
    state: State,
    /// The app wants it, and somebody looks.
    wanted: bool,
    /// The server has said that it wakes devices.
    offered: bool,
    /// The network is known to be away.
    away: bool,
    /// Times in a row that it came to nothing.
    attempt: u32,
    reference: u32,
    /// The token was refused, or has ended.
    fresh: bool,
    /// What was heard of while a request was under way: the greatest version.
    pub(crate) heard: Option<i64>,
}

impl Channel {
    pub(crate) fn new() -> Channel {
        Channel {
            heard: None,
            state: State::Idle,
            wanted: false,
            offered: false,
            away: false,
            attempt: 0,
            reference: 0,
            fresh: false,
        }
    }

    /// Whether the host has a socket to offer, and reason to.
    pub(crate) fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// What an answer of the server says. Who was refused is tried again once the server has switched it off and on. That there is an
    /// answer shows a network: a browser's word that there is none may be wrong, and never be taken back.
    pub(crate) fn set_offered(&mut self, offered: bool) {
        if !offered && self.state == State::Refused {
            self.state = State::Idle;
        }
        (self.offered, self.away) = (offered, false);
    }

    pub(crate) fn set_away(&mut self, away: bool, now: UnixMillis) {
        self.away = away;
        if !away {
            self.try_now(now);
        }
    }

    /// A reason to try at once, and to doubt a socket that has been quiet.
    pub(crate) fn try_now(&mut self, now: UnixMillis) {
        match &mut self.state {
            State::Held { until } => {
                *until = now;
                self.attempt = 0;
            }
            // A heartbeat is due.
            State::Joined { beat, .. } if beat.waits_for.is_none() => beat.last = UnixMillis(0),
            _ => {}
        }
    }

    /// The app has another token.
    pub(crate) fn new_token(&mut self, now: UnixMillis) {
        if let State::Joined { renew_at, .. } = &mut self.state {
            *renew_at = Some(now);
        }
        self.try_now(now);
    }

    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined { .. })
    }

    pub(crate) fn status(&self) -> WakeUps {
        match self.state {
            State::Joined { .. } => WakeUps::Joined,
            State::Refused if self.offered => WakeUps::Refused,
            _ if self.wanted && self.offered => WakeUps::Joining,
            _ => WakeUps::Off,
        }
    }

    /// Takes an event, and says what to do. `may` is the app's word about the network; `random` only spreads waiting.
    pub(crate) fn step(
        &mut self,
        event: SocketEvent<'_>,
        user: UserId,
        may: bool,
        now: UnixMillis,
        random: u64,
    ) -> (SocketStep, Option<News>) {
        let mut step = SocketStep::default();
        let news = self.take(event, user, now, random, &mut step);
        let had_socket = !matches!(self.state, State::Idle | State::Held { .. } | State::Refused);
        if !(self.wanted && self.offered && may && !self.away) {
            if had_socket {
                step.ask = SocketAsk::Close;
                step.frames.clear();
            }
            if self.state != State::Refused {
                self.state = State::Idle;
            }
        } else {
            self.go_on(now, random, &mut step);
        }
        step.fresh = self.fresh;
        step.at = self.deadline();
        (step, news)
    }

    fn take(
        &mut self,
        event: SocketEvent<'_>,
        user: UserId,
        now: UnixMillis,
        random: u64,
        step: &mut SocketStep,
    ) -> Option<News> {
        match event {
            SocketEvent::Look => {}
            SocketEvent::Opened(token) => match (self.state, Claims::of(token)) {
                (State::Opening { .. }, Some(claims)) if claims.is_of(user) => {
                    self.reference = 1;
                    step.frames.push(frames::join(&frames::topic(user), 1, token));
                    self.state = State::Joining { since: now, renew_at: renewal(&claims, now) };
                }
                // Nobody listens with another user's token, nor keeps a socket that came too late.
                (State::Opening { .. }, _) => self.lose(now, random, step),
                _ => step.ask = SocketAsk::Close,
            },
            SocketEvent::Token(token) => self.renew(token, user, now, step),
            SocketEvent::Closed => {
                if !matches!(self.state, State::Idle | State::Refused) {
                    self.hold(now, random);
                }
            }
            SocketEvent::Text(text) => {
                return self.said(frames::read(text, &frames::topic(user))?, now, random, step);
            }
        }
        None
    }

    fn renew(&mut self, token: &str, user: UserId, now: UnixMillis, step: &mut SocketStep) {
        let claims = Claims::of(token).filter(|claims| claims.is_of(user));
        let reference = self.reference + 1;
        if let (State::Joined { renew_at, .. }, Some(claims)) = (&mut self.state, claims) {
            self.reference = reference;
            self.fresh = false;
            *renew_at = renewal(&claims, now);
            step.frames.push(frames::access_token(&frames::topic(user), reference, token));
        }
    }

    fn said(&mut self, said: Said, now: UnixMillis, random: u64, step: &mut SocketStep) -> Option<News> {
        match (said, &mut self.state) {
            (Said::Reply { reference: 1, outcome: Ok(()) }, &mut State::Joining { renew_at, .. }) => {
                let beat = Beat { last: now, waits_for: None };
                self.state = State::Joined { beat, renew_at };
                self.fresh = false;
                Some(News::Unknown).filter(|_| !planted::is(Fault::JoinBringsNothing))
            }
            (Said::Reply { reference: 1, outcome: Err(reason) }, State::Joining { .. }) => {
                if reason.starts_with("Unauthorized") || reason.contains("do not have permissions") {
                    self.state = State::Refused;
                    step.ask = SocketAsk::Close;
                } else {
                    self.fresh |= reason.contains("oken") || reason.contains("JWT");
                    self.lose(now, random, step);
                }
                None
            }
            (Said::Reply { reference, .. }, State::Joined { beat, .. })
                if beat.waits_for == Some(reference) =>
            {
                beat.waits_for = None;
                // It has held for a while.
                self.attempt = 0;
                None
            }
            (Said::Changed(version), State::Joined { .. }) => {
                Some(version.map_or(News::Unknown, News::Version))
            }
            (Said::Ready, State::Joined { .. }) => {
                Some(News::Unknown).filter(|_| !planted::is(Fault::ReadyBringsNothing))
            }
            (Said::Trouble(reason), State::Joined { .. }) => {
                self.fresh |= reason.contains("oken") || reason.contains("JWT");
                None
            }
            (Said::Closed, State::Joined { .. } | State::Joining { .. }) => {
                self.lose(now, random, step);
                None
            }
            _ => None,
        }
    }

    /// What time asks for.
    fn go_on(&mut self, now: UnixMillis, random: u64, step: &mut SocketStep) {
        match self.state {
            State::Idle => self.open(now, step),
            State::Held { until } if is_due(until, LAST_MS, now) => self.open(now, step),
            State::Opening { since } | State::Joining { since, .. }
                if is_due(since.plus_ms(JOIN_MS), JOIN_MS, now) =>
            {
                self.lose(now, random, step);
            }
            State::Joined { beat, renew_at } => {
                let next = self.reference + 1;
                let beat = match beat.waits_for {
                    Some(_)
                        if is_due(beat.last.plus_ms(ANSWER_MS), ANSWER_MS, now)
                            && !planted::is(Fault::SilentSocketTrusted) =>
                    {
                        return self.lose(now, random, step);
                    }
                    None if is_due(beat.last.plus_ms(HEARTBEAT_MS), HEARTBEAT_MS, now) => {
                        self.reference = next;
                        step.frames.push(frames::heartbeat(next));
                        Beat { last: now, waits_for: Some(next) }
                    }
                    _ => beat,
                };
                let is_old = renew_at.is_some_and(|at| at <= now);
                if is_old && step.ask == SocketAsk::Nothing {
                    step.ask = SocketAsk::Token;
                }
                // One that does not come is asked for again with the next heartbeat but one or so.
                let renew_at = if is_old { Some(now.plus_ms(2 * HEARTBEAT_MS)) } else { renew_at };
                self.state = State::Joined { beat, renew_at };
            }
            _ => {}
        }
    }

    fn open(&mut self, now: UnixMillis, step: &mut SocketStep) {
        // One thing at a time: what is to be closed first is opened again with the next look, which is at once.
        self.state = match step.ask {
            SocketAsk::Nothing => State::Opening { since: now },
            _ => State::Held { until: now },
        };
        if step.ask == SocketAsk::Nothing {
            step.ask = SocketAsk::Open;
        }
    }

    fn lose(&mut self, now: UnixMillis, random: u64, step: &mut SocketStep) {
        step.ask = SocketAsk::Close;
        step.frames.clear();
        self.hold(now, random);
    }

    fn hold(&mut self, now: UnixMillis, random: u64) {
        self.state = State::Held { until: now.plus_ms(full_jitter_ms(self.attempt, random)) };
        self.attempt = self.attempt.saturating_add(1);
    }

    fn deadline(&self) -> Option<UnixMillis> {
        match self.state {
            State::Idle | State::Refused => None,
            State::Held { until } => Some(until),
            State::Opening { since } | State::Joining { since, .. } => Some(since.plus_ms(JOIN_MS)),
            State::Joined { beat, renew_at } => {
                let wait = if beat.waits_for.is_some() { ANSWER_MS } else { HEARTBEAT_MS };
                let beat_at = beat.last.plus_ms(wait);
                Some(renew_at.map_or(beat_at, |at| at.min(beat_at)))
            }
        }
    }
}

/// When a token is replaced: a minute before it ends, and never at once.
fn renewal(claims: &Claims, now: UnixMillis) -> Option<UnixMillis> {
    let ends = claims.ends_ms()?;
    Some(UnixMillis(ends.saturating_sub(RENEW_MS)).max(now.plus_ms(HEARTBEAT_MS)))
}

/// Whether a time has come that was at most so far ahead. A clock that was set back must not make anything wait for years.
fn is_due(at: UnixMillis, most_ms: u64, now: UnixMillis) -> bool {
    at <= now || at > now.plus_ms(most_ms)
}
