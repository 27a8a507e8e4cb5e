//! When a device tries again: never without a pause after a failure, never later than in a quarter of an hour, later with each
//! failure, and not once for each of many writes.

use std::collections::BTreeSet;
use std::rc::Rc;

use marea_core::{Applied, Failure, MutationId, Next, Signal, SyncAnswer, SyncRequest};

use super::device::Device;
use super::world::{Checked, World};

/// The longest that anything waits.
const LONGEST_MS: i64 = 15 * 60 * 1000;
/// How far a clock is set back: less than the longest wait, beyond which the engine takes a wait for a wrong clock's.
const SET_BACK_MS: i64 = 14 * 60 * 1000;
/// Failures in a row, after which a wait of a second or less would be a wonder.
const OUTAGE: u32 = 12;
/// Syncs after which a device asks for full pages again, however often it has met what is too large.
const SYNCS_TO_GROW: u32 = 800;

impl World<'_> {
    /// What stands between a device and the server, or what ails the server itself. None of it says anything about a mutation.
    pub(super) fn some_trouble(&mut self) -> Failure {
        let refused = |status: u16, code: &str| Failure::Refused { status, code: code.to_owned() };
        match self.random.within(0..=11) {
            0 => Failure::Server { status: 429, retry_after_ms: Some(20_000) },
            1 => Failure::Unintelligible,
            2 => Failure::Unauthorized { code: "PGRST301".to_owned() },
            3 => Failure::UserMissing,
            4 | 5 => Failure::ProxyTooLarge,
            6 => refused(404, "unknown"),
            7 => refused(403, "unknown"),
            8 => Failure::CaptivePortal,
            9 => Failure::ServerTimeout,
            10 => Failure::AnswerTooLarge,
            _ => Failure::Server { status: 503, retry_after_ms: None },
        }
    }

    /// Sometimes an answer says that there is more, and where the client stands already.
    pub(super) fn some_stalled(&mut self, request: &SyncRequest, answer: SyncAnswer) -> SyncAnswer {
        match &request.cursor {
            Some(cursor) if !answer.reset && self.random.chance(self.plan.stalled) => SyncAnswer {
                rows: Default::default(),
                packed: Default::default(),
                deleted: Default::default(),
                cursor: cursor.clone(),
                has_more: true,
                ..answer
            },
            _ => answer,
        }
    }

    /// What must hold for the next attempt after an answer or a failure; `pending` mutations wait.
    /// `is_stalled`: the answer held nothing, and said that there is more.
    pub(super) fn check_wait(
        &self,
        chosen: usize,
        applied: &Applied,
        pending: u32,
        is_stalled: bool,
    ) -> Checked {
        let device = &self.devices[chosen];
        let now = device.now(self.now_ms);
        let wake = device.engine.next_wake(now).map_err(|error| error.to_string())?;
        let Some(wake) = wake else {
            let asks = device.waiting.is_some();
            return if asks { Ok(()) } else { Err(format!("{} waits for ever", device.name)) };
        };
        let wait = wake.0 - now.unix_ms.0;
        let what = match (&applied.failure, applied.next) {
            _ if wait > LONGEST_MS => "waits too long",
            (Some(_), Next::Continue) => "goes on after a failure",
            (None, Next::Continue) if is_stalled => "goes on after a page that brought it no further",
            (Some(_), next) if next != Next::RefreshToken && wait <= 0 => "does not pause after a failure",
            (None, Next::Continue) if wait > 0 => "waits although it said that it goes on",
            (None, Next::Wait) if pending > 0 && wait > 1_000 => {
                "waits although it is well and work is queued"
            }
            _ => return Ok(()),
        };
        Err(format!("{} {what}: {wait} ms after {:?}", device.name, applied.failure))
    }

    /// The server is away for a while; the device asks ever more rarely, and no signal comes. Not in every world: it takes long.
    pub(super) fn live_through_an_outage(&mut self, chosen: usize) -> Checked {
        if !self.random.chance(10) {
            return Ok(());
        }
        let now = self.devices[chosen].now(self.now_ms);
        self.devices[chosen].engine.signal(Signal::Online, now);
        let mut longest = 0;
        for _ in 0..OUTAGE {
            let Some(waited) = self.wait_for_the_next(chosen)? else { continue };
            longest = longest.max(waited);
            self.send_into_the_void(chosen)?;
        }
        let name = &self.devices[chosen].name;
        if longest <= 1_000 {
            return Err(format!("{name} never waits for more than {longest} ms"));
        }
        self.find_it_well_again(chosen)
    }

    /// The server is well again, and the device's clock is set back while the answer is under way: by that clock the wait
    /// before the request is not over, and yet nothing may wait for its end any more.
    fn find_it_well_again(&mut self, chosen: usize) -> Checked {
        self.wait_for_the_next(chosen)?;
        let device = &mut self.devices[chosen];
        let now = device.now(self.now_ms);
        let due = device.engine.next_request(now).map_err(|error| error.to_string())?;
        let Some(outgoing) = due else { return Ok(()) };
        device.oracle.check_sent(&outgoing.request)?;
        device.waiting = Some(outgoing.ticket);
        let answered = self.server.answer(device.user, &outgoing.request, self.now_ms);
        let skew_ms = device.skew_ms;
        device.skew_ms -= SET_BACK_MS;
        let is_well = answered.is_ok();
        self.take_quietly(chosen, answered.map(|(answer, known)| (Rc::new(answer), known)))?;
        self.record_session(chosen)?;
        let device = &self.devices[chosen];
        let status = device.engine.status(device.now(self.now_ms)).map_err(|error| error.to_string())?;
        let waited = self.wait_for_the_next(chosen)?;
        self.devices[chosen].skew_ms = skew_ms;
        match waited {
            Some(wait) if is_well && status.last_error.is_none() && status.pending > 0 && wait > 1_000 => {
                Err(format!("{} lets a write wait for {wait} ms after a success", self.devices[chosen].name))
            }
            _ => Ok(()),
        }
    }

    fn send_into_the_void(&mut self, chosen: usize) -> Checked {
        let device = &mut self.devices[chosen];
        let now = device.now(self.now_ms);
        if let Some(outgoing) = device.engine.next_request(now).map_err(|error| error.to_string())? {
            device.waiting = Some(outgoing.ticket);
            self.take_quietly(chosen, Err(Failure::Server { status: 503, retry_after_ms: None }))?;
        }
        Ok(())
    }

    /// Lets the time pass until the device wants to try again; how long that was, unless it is asking already.
    pub(super) fn wait_for_the_next(&mut self, chosen: usize) -> Result<Option<i64>, String> {
        let device = &self.devices[chosen];
        let now = device.now(self.now_ms);
        let wake = device.engine.next_wake(now).map_err(|error| error.to_string())?;
        let Some(wake) = wake else { return Ok(None) };
        let wait = (wake.0 - now.unix_ms.0).max(0);
        if wait > LONGEST_MS {
            return Err(format!("{} waits for {wait} ms", device.name));
        }
        self.now_ms += wait;
        Ok(Some(wait))
    }

    /// A write after a rest goes at once; the one right behind it shares the next request.
    pub(super) fn gather_writes(&mut self, chosen: usize) -> Checked {
        self.now_ms += 10_000;
        self.record_session(chosen)?;
        let name = self.devices[chosen].name.clone();
        if self.devices[chosen].pending(self.now_ms)? == 0 {
            // It died before the session was safe.
            return Ok(());
        }
        if self.wait_for_the_next(chosen)? != Some(0) {
            return Err(format!("{name} lets a single write wait"));
        }
        while self.send_one(chosen)? {}
        let (pushed, life) = (self.devices[chosen].pending(self.now_ms)? == 0, self.devices[chosen].life);
        self.record_session(chosen)?;
        // One that has started again looks at the server at once.
        let lives = self.devices[chosen].life == life;
        let is_well = pushed && lives && self.devices[chosen].pending(self.now_ms)? > 0;
        match self.wait_for_the_next(chosen)? {
            Some(0) if is_well => Err(format!("{name} asks once for each of many writes")),
            _ => Ok(()),
        }
    }

    /// A device that meets nothing too large any more asks for full pages again.
    pub(super) fn grow_again(&mut self, chosen: usize) -> Checked {
        let small = |world: &Self| {
            let now = world.devices[chosen].now(world.now_ms);
            world.devices[chosen].engine.status(now).is_ok_and(|status| status.limits.page_rows < 2_000)
        };
        if !self.random.chance(5) {
            return Ok(());
        }
        for _ in 0..SYNCS_TO_GROW {
            if self.plan.answer_rows < 2_000 || !small(self) {
                return Ok(());
            }
            let now = self.devices[chosen].now(self.now_ms);
            self.devices[chosen].engine.signal(Signal::SyncNow, now);
            self.send_one(chosen)?;
        }
        Err(format!("{} asks for small pages for ever", self.devices[chosen].name))
    }
}

impl Device {
    fn pending(&self, true_ms: i64) -> Result<u32, String> {
        let status = self.engine.status(self.now(true_ms)).map_err(|error| error.to_string())?;
        Ok(status.pending)
    }

    /// After a failure nothing may have been set aside, but what the server itself has called too large.
    pub(super) fn heard_failure(&mut self, failure: &Failure, huge: &BTreeSet<MutationId>) -> Checked {
        for refused in self.engine.rejected().map_err(|error| error.to_string())? {
            let was_told = *failure == Failure::TooLarge && huge.contains(&refused.id);
            if self.oracle.refused.insert(refused.id) && !was_told {
                return Err(format!("{} was set aside for {failure:?}", refused.id));
            }
        }
        Ok(())
    }
}
