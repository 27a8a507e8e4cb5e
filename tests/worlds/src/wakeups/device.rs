//! One device: the engine, its socket, and what is asked of both whenever something has happened.

use marea_core::{
    Change, Engine, Error, Failure, Next, Now, Outgoing, SessionInput, Signal, SocketEvent, SocketStep,
    SyncAnswer, Ticket, UnixMillis, UserId, WakeUps,
};

use super::world::{Checked, MINUTE_MS};
use crate::disk::Disk;
use crate::mirror;
use crate::random::{Random, Seeded};

/// What a device that is not told of changes waits at most, and one that is.
const POLL_MS: i64 = 5 * MINUTE_MS;
const POLL_LISTENING_MS: i64 = 30 * MINUTE_MS;
/// The most that any failure makes it wait.
const LONGEST_MS: i64 = 15 * MINUTE_MS;
/// What is news is asked for within this time, and nothing is asked for more often.
const SECOND_MS: i64 = 1_000;

pub(super) struct Device {
    engine: Engine,
    _disk: Disk,
    pub(super) user: UserId,
    skew_ms: i64,
    pub(super) socket: Option<u32>,
    pub(super) waiting: Option<Ticket>,
    /// The cursor of the last answer that it took.
    pub(super) applied: Option<i64>,
    /// What it heard of while a request was under way.
    heard: Option<i64>,
    /// The last answer was none, or somebody has given it a reason to ask at once.
    may_hurry: bool,
    is_failing: bool,
    last_started: Option<i64>,
    last_pull: Option<i64>,
    pub(super) requests: u32,
    /// Which of the timers of its host still count.
    pub(super) look: u32,
    pub(super) rest: u32,
}

fn text(error: Error) -> String {
    error.to_string()
}

impl Device {
    pub(super) fn new(user: UserId, random: &mut Random) -> Result<Device, String> {
        let disk = Disk::with(mirror::empty_files());
        let entropy = Box::new(Seeded(Random::of_seed(random.bits())));
        let now = Now { unix_ms: UnixMillis(0), utc_offset_minutes: 0 };
        let mut engine = Engine::open(&disk.on_desktop(), user, entropy, now).map_err(text)?;
        engine.want_wakeups(true);
        Ok(Device {
            engine,
            _disk: disk,
            user,
            skew_ms: random.within(-3..=3) * MINUTE_MS,
            socket: None,
            waiting: None,
            applied: None,
            heard: None,
            may_hurry: true,
            is_failing: false,
            last_started: None,
            last_pull: None,
            requests: 0,
            look: 0,
            rest: 0,
        })
    }

    fn now(&self, true_ms: i64) -> Now {
        Now { unix_ms: UnixMillis(true_ms + self.skew_ms), utc_offset_minutes: 0 }
    }

    /// True time of one that this device has named.
    pub(super) fn true_ms(&self, at: UnixMillis) -> i64 {
        at.0 - self.skew_ms
    }

    pub(super) fn record(&mut self, now_ms: i64) -> Checked {
        let input = SessionInput { duration_minutes: Some(1), ..SessionInput::new("qa") };
        self.engine.mutate(Change::RecordSession(input), self.now(now_ms)).map_err(text)?;
        Ok(())
    }

    pub(super) fn signal(&mut self, signal: Signal, now_ms: i64) {
        self.may_hurry |= signal != Signal::Offline;
        let now = self.now(now_ms);
        self.engine.signal(signal, now);
    }

    pub(super) fn is_joined(&self, now_ms: i64) -> Result<bool, String> {
        let status = self.engine.status(self.now(now_ms)).map_err(text)?;
        Ok(status.wakeups == WakeUps::Joined)
    }

    /// The request that is due, or when to look again.
    pub(super) fn ask(&mut self, now_ms: i64) -> Result<Result<Outgoing, Option<i64>>, String> {
        let now = self.now(now_ms);
        let Some(outgoing) = self.engine.next_request(now).map_err(text)? else {
            let wake = self.engine.next_wake(now).map_err(text)?.map(|at| self.true_ms(at));
            self.check_rest(wake, now_ms)?;
            return Ok(Err(wake));
        };
        let since = self.last_started.map_or(i64::MAX, |at| now_ms - at);
        if since < SECOND_MS && !self.may_hurry && !self.is_failing {
            return Err(format!("two requests within {since} ms, and nobody has asked for it"));
        }
        let asked = outgoing.request.cursor.as_ref().map(|cursor| cursor.version);
        if asked != self.applied {
            return Err(format!("asks for what came after {asked:?}, and has come to {:?}", self.applied));
        }
        self.may_hurry = false;
        self.last_started = Some(now_ms);
        self.waiting = Some(outgoing.ticket);
        self.requests += 1;
        Ok(Ok(outgoing))
    }

    /// Nothing is due: how long may it be so?
    fn check_rest(&mut self, wake: Option<i64>, now_ms: i64) -> Checked {
        if self.waiting.is_some() {
            return Ok(());
        }
        let Some(wake) = wake else { return Err("waits for ever".to_owned()) };
        let most = match (self.is_failing, self.last_pull) {
            (true, _) => now_ms + LONGEST_MS,
            (false, Some(at)) if self.is_joined(now_ms)? => at + POLL_LISTENING_MS,
            (false, Some(at)) => at + POLL_MS,
            (false, None) => now_ms,
        };
        match wake <= most {
            true => Ok(()),
            false => Err(format!("looks again {} ms after it should", wake - most)),
        }
    }

    pub(super) fn take(&mut self, outcome: Result<SyncAnswer, Failure>, now_ms: i64) -> Checked {
        let Some(ticket) = self.waiting.take() else { return Ok(()) };
        let version = outcome.as_ref().ok().map(|answer| answer.cursor.version);
        let now = self.now(now_ms);
        let applied = self.engine.apply_response(ticket, outcome, now).map_err(text)?;
        self.is_failing = version.is_none();
        let Some(version) = version else { return Ok(()) };
        (self.applied, self.last_pull) = (Some(version), Some(now_ms));
        if applied.next == Next::Continue {
            self.may_hurry = true;
        }
        match self.heard.take() {
            Some(heard) if heard > version => self.check_soon("what it heard meanwhile", now_ms),
            _ => Ok(()),
        }
    }

    /// Something was news: it is asked for within a second.
    fn check_soon(&self, what: &str, now_ms: i64) -> Checked {
        let wake = self.engine.next_wake(self.now(now_ms)).map_err(text)?.map(|at| self.true_ms(at));
        match wake {
            Some(at) if at <= now_ms + SECOND_MS => Ok(()),
            _ => Err(format!("{what} is not asked for within a second, but at {wake:?} (it is {now_ms})")),
        }
    }

    /// Tells what happened to the socket. `news` is what it should mean: a version, or `i64::MAX` for whatever may have been missed.
    pub(super) fn tell(
        &mut self,
        event: SocketEvent<'_>,
        news: Option<i64>,
        now_ms: i64,
    ) -> Result<SocketStep, String> {
        let now = self.now(now_ms);
        let before = self.engine.next_wake(now).map_err(text)?;
        let was_joined = self.is_joined(now_ms)?;
        let step = self.engine.socket(event, now).map_err(text)?;
        let is_joined = self.is_joined(now_ms)?;
        // A frame for a channel that is not joined says nothing, but the answer to the join.
        let Some(version) = news.filter(|_| is_joined) else { return Ok(step) };
        if self.waiting.is_some() {
            self.heard = self.heard.max(Some(version));
        } else if self.is_failing {
            // A failure's wait goes on, and what it then asks for brings everything.
        } else if self.applied.is_none_or(|applied| version > applied) {
            self.check_soon("news", now_ms)?;
        } else if was_joined && self.engine.next_wake(now).map_err(text)? != before {
            return Err(format!("version {version} is known, and something is asked for"));
        }
        Ok(step)
    }
}
