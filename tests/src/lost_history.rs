//! A model of one user, three devices and a server that can lose the end of its history in every way that is known: by crashes, cold
//! copies, point-in-time recovery, promotions in a row and in a fork. It plays seeded histories under a rule of noticing, and counts
//! what was lost by it. No SQL: `marea.runs` in the migrations is the rule that is built, `tests/tests/operations` runs it for real.

mod sync;

use std::collections::{BTreeMap, BTreeSet};

use crate::random::Random;

/// How a lost history is noticed.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// A push of something that changes no row moves the clock all the same.
    pub silent_push_moves: bool,
    /// So does a push that finds such a thing there, which the app may have written without a trace.
    pub silent_duplicate_moves: bool,
    /// A run ends with the server process, not only when the unlogged row that names it is gone.
    pub tied_to_start: bool,
    /// A run's name is drawn, not made of the timeline.
    pub drawn: bool,
    /// A cursor is judged by the clock at which it was given out, not by its version.
    pub by_clock: bool,
    /// Pruning notes where the clock stood, as every other move of it does.
    pub pruning_notes: bool,
    /// By cluster, timeline and checkpoints of each hour alone: what came before the runs.
    pub by_checkpoints: bool,
}

/// The rule that is built.
pub const RUNS: Rule = Rule {
    silent_push_moves: true,
    silent_duplicate_moves: true,
    tied_to_start: true,
    drawn: true,
    by_clock: true,
    pruning_notes: true,
    by_checkpoints: false,
};

/// What came of some plays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Plays in which an acknowledged fact was lost or a mirror was wrong in the end.
    pub with_a_loss: u32,
    /// How often a device was told to begin from nothing.
    pub resets: u32,
    /// Resets of a device whose cursor's state was still in the history.
    pub needless: u32,
}

/// What the server holds after a commit.
#[derive(Clone, Default)]
struct State {
    id: u32,
    clock: u64,
    pruned: u64,
    rows: BTreeMap<u32, (u64, u64)>,
    facts: BTreeMap<u32, bool>,
    checkpoints: Vec<(f64, u64)>,
    checked_hour: i64,
    timeline: u64,
    runs: BTreeMap<u64, u32>,
    notes: Vec<(u32, u64)>,
}

/// A server: the states that its log holds, and what dies with its process.
#[derive(Clone, Default)]
struct Server {
    log: Vec<State>,
    run: Option<u64>,
    /// The start at which `run` was named.
    named_at: u32,
    start: u32,
    /// Which log this is: a standby follows one.
    branch: u32,
}

#[derive(Clone, Copy)]
struct Cursor {
    version: u64,
    clock: u64,
    at: f64,
    history: u64,
    state: u32,
}

#[derive(Default)]
struct Device {
    queue: Vec<(u32, bool)>,
    kept: BTreeMap<u32, bool>,
    rows: BTreeMap<u32, u64>,
    cursor: Option<Cursor>,
}

/// A standby: a copy of a log up to some state.
#[derive(Clone, Default)]
struct Standby {
    log: Vec<State>,
    branch: u32,
}

struct World {
    rule: Rule,
    random: Random,
    hours: f64,
    server: Server,
    standbys: [Standby; 2],
    copies: Vec<Server>,
    devices: [Device; 3],
    acknowledged: BTreeSet<u32>,
    last_id: u32,
    starts: u32,
    runs_drawn: u64,
    branches: u32,
    last_fact: u32,
    last_write: u64,
    tally: Tally,
}

/// Plays histories under a rule, from seed 0 on.
pub fn play(rule: Rule, plays: u64) -> Tally {
    let mut all = Tally::default();
    for seed in 0..plays {
        let one = World::new(rule, seed).live(60);
        all.with_a_loss += one.with_a_loss;
        all.resets += one.resets;
        all.needless += one.needless;
    }
    all
}

impl World {
    fn new(rule: Rule, seed: u64) -> World {
        let first = State { timeline: 1, checked_hour: -1, ..State::default() };
        let server = Server { log: vec![first], ..Server::default() };
        let standby = Standby { log: server.log.clone(), branch: 0 };
        World {
            rule,
            random: Random::of_seed(seed),
            hours: 0.0,
            server,
            standbys: [standby.clone(), standby],
            copies: Vec::new(),
            devices: Default::default(),
            acknowledged: BTreeSet::new(),
            last_id: 0,
            starts: 0,
            runs_drawn: 0,
            branches: 0,
            last_fact: 0,
            last_write: 0,
            tally: Tally::default(),
        }
    }

    fn live(mut self, steps: u32) -> Tally {
        for _ in 0..steps {
            self.hours += *self.random.one_of(&[0.001, 0.01, 0.01, 0.3]);
            self.replicate();
            self.step();
        }
        for _ in 0..12 {
            for device in 0..3 {
                self.hours += 0.01;
                self.sync(device, 100);
            }
        }
        let last = self.state();
        let want: BTreeMap<u32, u64> = last.rows.iter().map(|(key, (_, value))| (*key, *value)).collect();
        let lost = self.acknowledged.iter().any(|fact| !last.facts.contains_key(fact));
        let wrong = self.devices.iter().any(|device| device.rows != want);
        self.tally.with_a_loss = u32::from(lost || wrong);
        self.tally
    }

    fn step(&mut self) {
        let choice = self.random.within(0..=999);
        match choice {
            0..300 => {
                self.last_fact += 1;
                let counts = self.random.chance(85);
                let device = self.any(3);
                self.devices[device].queue.push((self.last_fact, counts));
            }
            300..720 => {
                let (device, limit) = (self.any(3), *self.random.one_of(&[1, 2, 100]));
                self.sync(device, limit);
            }
            720..800 => {
                let mut next = self.state().clone();
                self.last_write += 1;
                let key = 1 + u32::try_from(self.any(3)).expect("few");
                let value = self.last_write;
                self.change(&mut next, &[(key, value)]);
                self.commit(next);
            }
            800..820 => self.prune(),
            820..850 => self.crash(),
            850..870 => self.restart(),
            870..890 => {
                self.copies.push(self.server.clone());
                if self.copies.len() > 3 {
                    self.copies.remove(0);
                }
                self.restart();
            }
            890..905 if !self.copies.is_empty() => {
                let copy = self.any(self.copies.len());
                self.server = self.copies[copy].clone();
                self.restart();
                self.begin_branch();
            }
            905..930 => self.promote(),
            930..940 => {
                let upto = self.any(self.server.log.len());
                self.server = Server { log: self.server.log[..=upto].to_vec(), ..Server::default() };
                self.begin_timeline();
            }
            940..970 => self.record_on_both_sides(),
            _ => {}
        }
    }

    /// The app inserts by itself what a device is going to push, where that changes no row.
    fn record_on_both_sides(&mut self) {
        self.last_fact += 1;
        let device = self.any(3);
        self.devices[device].queue.push((self.last_fact, false));
        let mut next = self.state().clone();
        next.facts.insert(self.last_fact, false);
        self.commit(next);
    }

    fn any(&mut self, of: usize) -> usize {
        usize::try_from(self.random.within(0..=i64::try_from(of).expect("few") - 1)).expect("not negative")
    }

    fn state(&self) -> &State {
        self.server.log.last().expect("a first state")
    }

    fn commit(&mut self, mut state: State) {
        self.last_id += 1;
        state.id = self.last_id;
        self.server.log.push(state);
    }

    fn restart(&mut self) {
        self.starts += 1;
        self.server.start = self.starts;
    }

    /// Both standbys begin again with what this server has.
    fn begin_branch(&mut self) {
        self.branches += 1;
        self.server.branch = self.branches;
        let standby = Standby { log: self.server.log.clone(), branch: self.branches };
        self.standbys = [standby.clone(), standby];
    }

    fn begin_timeline(&mut self) {
        let mut state = self.state().clone();
        state.timeline += 1;
        self.restart();
        self.commit(state);
        self.begin_branch();
    }

    /// Each standby that follows this server gets some more of its log.
    fn replicate(&mut self) {
        for place in 0..2 {
            let behind = self.standbys[place].log.len();
            if self.standbys[place].branch == self.server.branch && self.random.chance(50) {
                let upto = behind + self.any(self.server.log.len() - behind + 1);
                self.standbys[place].log.extend_from_slice(&self.server.log[behind..upto]);
            }
        }
    }

    /// With `synchronous_commit = off` a crash takes the end of the log away.
    fn crash(&mut self) {
        let lost = *self.random.one_of(&[0, 0, 1, 2, 4]);
        let left = self.server.log.len().saturating_sub(lost).max(1);
        self.server.log.truncate(left);
        self.server.run = None;
        if self.random.chance(50) {
            self.restart();
        }
        if self.standbys.iter().any(|s| s.branch == self.server.branch && s.log.len() > left) {
            // A standby that has more than its primary follows it no longer.
            let before = self.server.branch;
            self.branches += 1;
            self.server.branch = self.branches;
            for standby in &mut self.standbys {
                if standby.branch == before && standby.log.len() <= left {
                    standby.branch = self.server.branch;
                }
            }
        }
    }

    fn promote(&mut self) {
        let chosen = self.any(2);
        let Standby { log, branch } = self.standbys[chosen].clone();
        let length = log.len();
        let mut state = log.last().expect("a state").clone();
        self.server = Server { log, ..Server::default() };
        state.timeline += 1;
        self.restart();
        self.commit(state);
        self.branches += 1;
        self.server.branch = self.branches;
        let other = &mut self.standbys[1 - chosen];
        if other.branch == branch && other.log.len() <= length && self.random.chance(60) {
            other.branch = self.branches;
        }
        self.standbys[chosen] = Standby { log: self.server.log.clone(), branch: self.branches };
    }

    fn prune(&mut self) {
        let mut next = self.state().clone();
        if self.rule.pruning_notes {
            self.note(&mut next);
        }
        next.clock += 1;
        next.pruned = next.clock;
        self.commit(next);
    }

    /// The name of the run that this server is in, and its number in this history.
    fn run(&mut self, state: &mut State) -> u64 {
        let ended = self.rule.tied_to_start && self.server.named_at != self.server.start;
        if self.server.run.is_none() || ended {
            self.runs_drawn += 1;
            let name = if self.rule.drawn { self.runs_drawn } else { state.timeline };
            let number = state.runs.values().max().map_or(1, |last| last + 1);
            state.runs.insert(name, number);
            self.server.run = Some(name);
            self.server.named_at = self.server.start;
        }
        self.server.run.expect("just named")
    }

    /// Where the clock stands before its first move in this run.
    fn note(&mut self, state: &mut State) {
        if !self.rule.by_checkpoints {
            let run = self.run(state);
            let number = state.runs.get(&run).copied().unwrap_or(0);
            if state.notes.last().is_none_or(|(last, _)| *last < number) {
                state.notes.push((number, state.clock));
            }
        }
    }

    fn change(&mut self, state: &mut State, rows: &[(u32, u64)]) {
        self.note(state);
        #[expect(clippy::cast_possible_truncation, reason = "a few hundred hours")]
        let hour = self.hours as i64;
        if state.checked_hour < hour {
            state.checkpoints.push((self.hours, state.clock));
            state.checked_hour = hour;
        }
        for (key, value) in rows {
            state.clock += 1;
            state.rows.insert(*key, (state.clock, *value));
        }
    }

    fn is_lost(&self, state: &mut State, cursor: Cursor) -> bool {
        if self.rule.by_checkpoints && cursor.history != state.timeline {
            return true;
        }
        if cursor.clock > state.clock {
            if self.rule.by_checkpoints {
                state.checkpoints.push((self.hours, state.clock));
            }
            return true;
        }
        if self.rule.by_checkpoints {
            let first = state.checkpoints.iter().find(|(at, _)| *at > cursor.at);
            return first.is_some_and(|(_, version)| cursor.clock > *version);
        }
        let Some(number) = state.runs.get(&cursor.history) else { return true };
        let claimed = if self.rule.by_clock { cursor.clock } else { cursor.version };
        let first = state.notes.iter().find(|(noted, _)| noted > number);
        claimed > first.map_or(state.clock, |(_, clock)| *clock)
    }
}
