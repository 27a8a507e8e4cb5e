//! One seeded world: devices, a network, a server, and the dice that decide what happens next.

use std::collections::BTreeSet;
use std::rc::Rc;

use marea_core::{Error, Failure, MutationId, Next, Outgoing, Signal, SyncAnswer, UserId};

use super::beside::Beside;
use super::device::Device;
use super::network::{Message, Network, Outcome, Sender};
use super::oracle::Facts;
use super::plan::Plan;
use super::server::{Known, Server};
use super::story::Story;
use crate::random::Random;

/// 2026-11-23T12:00:00Z.
const START_MS: i64 = 1_795_435_200_000;
/// 2025-11-23T12:00:00Z: in the past of every real server that is run beside a world.
const EARLY_START_MS: i64 = 1_763_899_200_000;
/// How far the server may be set back: well within the 30 days for which devices keep what they sent.
const SET_BACK_MS: i64 = 20 * 24 * 60 * 60 * 1000;
pub(super) const MINUTE_MS: i64 = 60_000;

pub(super) struct World<'s> {
    pub(super) random: Random,
    pub(super) plan: Plan,
    pub(super) server: Server,
    pub(super) devices: Vec<Device>,
    pub(super) facts: Facts,
    /// What a person threw away after it was refused.
    pub(super) discarded: BTreeSet<MutationId>,
    pub(super) now_ms: i64,
    pub(super) step: u32,
    pub(super) story: &'s mut Story,
    network: Network,
    /// Who lives in this world, and with how many devices.
    users: Vec<(UserId, usize)>,
    lives: u32,
}

/// What does not hold.
pub(super) type Checked = Result<(), String>;

impl<'s> World<'s> {
    pub(super) fn new(seed: u64, story: &'s mut Story, beside: Option<Box<dyn Beside>>) -> World<'s> {
        let mut random = Random::of_seed(seed);
        let plan = Plan::of(&mut random);
        let (plan, now_ms) = match beside {
            Some(_) => (plan.beside_a_real_server(), EARLY_START_MS),
            None => (plan, START_MS),
        };
        let users = [UserId::from(random.uuid()), UserId::from(random.uuid())];
        let mut server = Server::new(&users, &plan);
        server.save(now_ms);
        server.beside = beside;
        let mut world = World {
            random,
            server,
            devices: Vec::new(),
            facts: Facts::new(),
            discarded: BTreeSet::new(),
            now_ms,
            step: 0,
            story,
            network: Network::default(),
            users: Vec::new(),
            lives: 0,
            plan,
        };
        world.users = users.into_iter().zip(world.plan.devices).collect();
        world.tell("world", |world| format!("seed {seed}: {:?}", world.plan));
        world
    }

    pub(super) fn step(&self) -> u32 {
        self.step
    }

    pub(super) fn tell(&mut self, who: &str, what: impl FnOnce(&Self) -> String) {
        if self.story.is_told() {
            let line = what(self);
            self.story.tell(self.step, who, || line);
        }
    }

    pub(super) fn new_life(&mut self) -> u32 {
        self.lives += 1;
        self.lives
    }

    fn add_device(&mut self, user: UserId) -> Checked {
        let life = self.new_life();
        let name = format!("device{}", self.devices.len());
        let mut device = Device::new(name, user, life, &mut self.random)?;
        device.skew_ms = self.some_skew();
        self.devices.push(device);
        Ok(())
    }

    /// How wrong a clock is: mostly a little, sometimes by years, ahead only where the world allows it.
    pub(super) fn some_skew(&mut self) -> i64 {
        let minutes = match self.random.within(0..=9) {
            0 => -3 * 365 * 24 * 60,
            1 => -self.random.within(1..=600),
            2 if self.plan.fast_clocks => 4 * 365 * 24 * 60,
            3 if self.plan.fast_clocks => self.random.within(6..=600),
            _ => self.random.within(-3..=3),
        };
        minutes * MINUTE_MS
    }

    /// Everything happens that the plan has in store.
    pub(super) fn live(&mut self) -> Checked {
        for (user, count) in self.users.clone() {
            (0..count).try_for_each(|_| self.add_device(user))?;
        }
        while self.step < self.plan.steps {
            self.step += 1;
            self.now_ms += self.random.within(0..=90_000);
            self.strike()?;
            match self.random.within(0..=99) {
                0..=34 => self.change_something()?,
                35..=59 => self.send()?,
                60..=94 => self.deliver()?,
                _ => self.give_up()?,
            }
        }
        Ok(())
    }

    pub(super) fn some_device(&mut self) -> usize {
        let last = i64::try_from(self.devices.len()).expect("few") - 1;
        usize::try_from(self.random.within(0..=last)).expect("at least one")
    }

    fn send(&mut self) -> Checked {
        let chosen = self.some_device();
        if self.random.chance(80) {
            let signal = if self.devices[chosen].good_token { Signal::SyncNow } else { Signal::NewToken };
            let device = &mut self.devices[chosen];
            device.good_token |= self.now_ms >= device.no_token_until;
            device.engine.signal(signal, device.now(self.now_ms));
        }
        self.send_from(chosen)
    }

    /// Lets a device send what is due.
    fn send_from(&mut self, chosen: usize) -> Checked {
        let now = self.devices[chosen].now(self.now_ms);
        let asked = self.dare(chosen, |device| device.engine.next_request(now))?;
        match asked.flatten() {
            Some(outgoing) if self.lacks_token(chosen, &outgoing) => {
                self.devices[chosen].waiting = Some(outgoing.ticket);
                self.apply(chosen, Err(Failure::TokenUnavailable))
            }
            Some(outgoing) => self.carry(chosen, outgoing),
            None => self.check(chosen),
        }
    }

    /// Whether the app has no token for a request: the sign-in service is away, and the last one has ended.
    fn lacks_token(&self, chosen: usize, outgoing: &Outgoing) -> bool {
        let device = &self.devices[chosen];
        self.now_ms < device.no_token_until && (outgoing.fresh_token || !device.good_token)
    }

    /// A device's request sets out.
    fn carry(&mut self, chosen: usize, outgoing: Outgoing) -> Checked {
        let device = &mut self.devices[chosen];
        device.oracle.check_sent(&outgoing.request)?;
        device.waiting = Some(outgoing.ticket);
        let from = Sender { device: chosen, life: device.life, ticket: outgoing.ticket };
        let (request, good_token) = (Rc::new(outgoing.request), device.good_token || outgoing.fresh_token);
        let name = device.name.clone();
        let (sent, cursor) = (request.mutations.len(), request.cursor.clone());
        let twice = self.random.chance(self.plan.doubled);
        self.tell(&name, |_| {
            let at = cursor.map_or("the beginning".to_owned(), |c| format!("{} of {}", c.version, c.epoch));
            let twice = if twice { ", twice" } else { "" };
            format!("sends {sent} mutations, asks for what came after {at}{twice}")
        });
        self.network.carry(Message::Request { from, request, good_token }, twice);
        Ok(())
    }

    fn deliver(&mut self) -> Checked {
        let Some(message) = self.network.pick(&mut self.random) else { return Ok(()) };
        if self.random.chance(self.plan.lost) {
            self.tell("network", |_| "loses a message".to_owned());
            return Ok(());
        }
        match message {
            Message::Request { from, request, good_token } => {
                let user = self.devices[from.device].user;
                let outcome: Outcome = if !good_token {
                    // By version of PostgREST.
                    let code = *self.random.one_of(&["PGRST301", "PGRST303"]);
                    Err(self.server.refuse(user, &request, code))
                } else if self.random.chance(self.plan.troubled) {
                    Err(self.some_trouble())
                } else {
                    // A page holds as many rows as their bytes allow: some hold more.
                    self.server.page_rows = if self.random.chance(30) { 500 } else { self.plan.page_rows };
                    let answered = self.server.answer(user, &request, self.now_ms);
                    self.set_back_between_pages(&answered);
                    answered.map(|(answer, known)| (Rc::new(self.some_stalled(&request, answer)), known))
                };
                self.tell("server", |world| {
                    format!("answers {}: {}", world.devices[from.device].name, in_words(&outcome))
                });
                let twice = self.random.chance(self.plan.doubled);
                self.network.carry(Message::Answer { to: from, outcome }, twice);
                Ok(())
            }
            Message::Answer { to, outcome } => self.hand_over(to, outcome),
        }
    }

    /// The server is set back while a device is between two pages: what it has just pushed is acknowledged, and not yet in
    /// the rows that it shows. The other history has that, or it has not.
    fn set_back_between_pages(&mut self, answered: &Result<(SyncAnswer, Rc<Known>), Failure>) {
        let is_between =
            answered.as_ref().is_ok_and(|(answer, _)| answer.has_more && !answer.results.is_empty());
        if !is_between || !self.random.chance(self.plan.set_backs_between_pages) {
            return;
        }
        let choice = if self.random.chance(50) {
            self.server.save(self.now_ms);
            usize::MAX
        } else {
            usize::try_from(self.random.within(0..=99)).expect("small")
        };
        if self.server.set_back(choice, self.oldest_set_back()) {
            self.tell("server", |_| "is set back between two pages".to_owned());
        }
    }

    /// Hands an answer to the engine that asked, or, when nobody waits for it any more, to the one in its place.
    fn hand_over(&mut self, to: Sender, outcome: Outcome) -> Checked {
        let device = &self.devices[to.device];
        let expected = device.life == to.life && device.waiting == Some(to.ticket);
        if expected {
            return self.apply(to.device, outcome);
        }
        let name = device.name.clone();
        self.tell(&name, |_| "is handed an answer that it does not wait for".to_owned());
        let device = &mut self.devices[to.device];
        let answer = outcome.map(|(answer, _)| SyncAnswer::clone(&answer));
        match device.engine.apply_response(to.ticket, answer, device.now(self.now_ms)) {
            Err(Error::StaleTicket) => self.check(to.device),
            Err(error) => Err(error.to_string()),
            Ok(_) => Err(format!("{name} took an answer to a request that it had given up")),
        }
    }

    /// A device takes what came back, and does what the engine then asks its host to do.
    pub(super) fn apply(&mut self, chosen: usize, outcome: Outcome) -> Checked {
        let next = self.take_quietly(chosen, outcome)?;
        if let Some(ahead) = self.devices[chosen].ahead.take() {
            return self.carry(chosen, ahead);
        }
        if matches!(next, Next::Continue | Next::RefreshToken) && self.random.chance(70) {
            return self.send_from(chosen);
        }
        Ok(())
    }

    /// A device takes what came back.
    pub(super) fn take_quietly(&mut self, chosen: usize, outcome: Outcome) -> Result<Next, String> {
        let device = &mut self.devices[chosen];
        let now = device.now(self.now_ms);
        let Some(ticket) = device.waiting.take() else { return Ok(Next::Wait) };
        self.look_ahead(chosen, ticket, &outcome)?;
        let heard = outcome.clone();
        let answer = outcome.map(|(answer, _)| SyncAnswer::clone(&answer));
        let applied = self.dare(chosen, |device| device.engine.apply_response(ticket, answer, now))?;
        self.await_ahead(chosen);
        let device = &mut self.devices[chosen];
        if applied.is_none() && !device.has_exchanged() {
            // It died before the answer was safe.
            return self.check(chosen).map(|()| Next::Continue);
        }
        let status = device.engine.status(now).map_err(|error| error.to_string())?;
        let waiting = status.pending;
        match &heard {
            Ok((answer, known)) => device.oracle.heard(answer, known, waiting),
            Err(failure) if status.rejected > 0 => device.heard_failure(failure, &self.server.huge)?,
            Err(_) => {}
        }
        let next = applied.as_ref().map_or(Next::Continue, |applied| applied.next);
        if let Some(applied) = &applied {
            let is_stalled = heard.as_ref().is_ok_and(|(answer, _)| is_stalled(answer));
            self.check_wait(chosen, applied, waiting, is_stalled)?;
        }
        let device = &mut self.devices[chosen];
        if next == Next::RefreshToken {
            device.good_token = true;
        }
        let name = device.name.clone();
        self.tell(&name, |world| {
            let shown = world.devices[chosen].engine.progress(now).map_or(-1, |shown| shown.total_sessions);
            format!("takes {}; {waiting} wait, shows {shown} sessions", in_words(&heard))
        });
        self.check(chosen)?;
        Ok(next)
    }

    /// A host stops waiting: its time limit is over, or the network is gone. The messages stay under way.
    fn give_up(&mut self) -> Checked {
        let chosen = self.some_device();
        let failure = if self.random.chance(50) { Failure::Timeout } else { Failure::Offline };
        self.apply(chosen, Err(failure))
    }

    /// What must hold for a device at every moment.
    pub(super) fn check(&mut self, chosen: usize) -> Checked {
        self.check_folds(chosen)?;
        self.check_registers(chosen)?;
        self.check_told(chosen)
    }

    /// Who watches a device was told of all that it shows now and did not before.
    pub(super) fn check_told(&mut self, chosen: usize) -> Checked {
        let device = &mut self.devices[chosen];
        device.watcher.check(&mut device.engine).map_err(|what| format!("{} {what}", device.name))
    }

    /// The sums that a device shows.
    pub(super) fn check_folds(&mut self, chosen: usize) -> Checked {
        let device = &mut self.devices[chosen];
        let now = device.now(self.now_ms);
        let folds = device.oracle.check_folds(&device.engine, &self.facts, now);
        folds.map_err(|what| format!("{} {what}", device.name))
    }

    /// The exports and keys that a device shows.
    pub(super) fn check_registers(&self, chosen: usize) -> Checked {
        let device = &self.devices[chosen];
        if self.plan.fast_clocks {
            return Ok(());
        }
        device.oracle.check_registers(&device.engine).map_err(|what| format!("{} {what}", device.name))
    }

    pub(super) fn oldest_set_back(&self) -> i64 {
        self.now_ms - SET_BACK_MS
    }
}

/// It says that there is more, and holds nothing: no page of this server does, unless it is made to.
fn is_stalled(answer: &SyncAnswer) -> bool {
    let is_empty = answer.rows.is_empty() && answer.packed.is_empty() && answer.deleted.is_empty();
    answer.has_more && !answer.reset && is_empty
}

fn in_words(outcome: &Outcome) -> String {
    match outcome {
        Err(failure) => failure.code().to_owned(),
        Ok((answer, known)) => {
            let rows: usize = answer.rows.values().map(Vec::len).sum();
            let more = if answer.has_more { ", more to come" } else { "" };
            let reset = if answer.reset { "a new history, " } else { "" };
            let known: &Known = known;
            format!(
                "{reset}{} results, {rows} rows up to {} of {}{more}, made of {} facts",
                answer.results.len(),
                answer.cursor.version,
                answer.cursor.epoch,
                known.facts.len()
            )
        }
    }
}
