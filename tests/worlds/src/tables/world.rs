//! One seeded world of tables: what happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use marea_core::{Change, Error, Failure, Hlc, MutationId, Signal, SyncAnswer, SyncRequest, Ticket, UserId};
use serde_json::Map;

use super::catalogue::Described;
use super::device::{Device, Known};
use super::server::{Place, Server};
use crate::random::Random;

/// 2026-11-23T12:00:00Z.
const START_MS: i64 = 1_795_435_200_000;
const STEPS: u32 = 90;

pub(super) type Checked = Result<(), String>;

/// A mutation as it was recorded.
pub(super) struct Recorded {
    pub(super) place: Place,
    pub(super) op: &'static str,
    pub(super) values: Map<String, serde_json::Value>,
}

enum Message {
    Request(usize, u32, Ticket, Rc<SyncRequest>),
    Answer(usize, u32, Ticket, Result<(Rc<SyncAnswer>, Known), Failure>),
}

pub(super) struct World {
    pub(super) random: Random,
    pub(super) server: Server,
    pub(super) devices: Vec<Device>,
    pub(super) recorded: BTreeMap<MutationId, Recorded>,
    /// All mutations of each batch.
    pub(super) batches: BTreeMap<MutationId, BTreeSet<MutationId>>,
    pub(super) discarded: BTreeSet<MutationId>,
    /// The network loses nothing any more.
    pub(super) is_calm: bool,
    pub(super) step: u32,
    pub(super) now_ms: i64,
    user: UserId,
    lives: u32,
    under_way: Vec<Message>,
    /// Rows that a device may choose to write to, by text keys.
    older: Vec<Described>,
}

pub(super) fn text(error: Error) -> String {
    error.to_string()
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random::of_seed(seed);
        let user = UserId::from(random.uuid());
        let described = Described::some(&mut random);
        let mut server = Server::new(described.clone(), user);
        server.page_rows = usize::try_from(random.within(2..=40)).expect("small");
        server.packs = random.chance(50);
        World {
            random,
            server,
            devices: Vec::new(),
            recorded: BTreeMap::new(),
            batches: BTreeMap::new(),
            discarded: BTreeSet::new(),
            is_calm: false,
            step: 0,
            now_ms: START_MS,
            user,
            lives: 0,
            under_way: Vec::new(),
            older: vec![described],
        }
    }

    fn new_life(&mut self) -> u32 {
        self.lives += 1;
        self.lives
    }

    pub(super) fn live(&mut self) -> Checked {
        for _ in 0..self.random.within(2..=3) {
            let (life, learns) = (self.new_life(), self.random.chance(40));
            let brings = (!learns).then(|| self.server.described.clone());
            let device = Device::new(self.user, brings, life, &mut self.random)?;
            self.devices.push(device);
        }
        while self.step < STEPS {
            self.step += 1;
            self.now_ms += self.random.within(0..=60_000);
            let chosen = self.some_device();
            match self.random.within(0..=99) {
                0..=34 => self.change_something(chosen)?,
                35..=54 => self.send(chosen)?,
                55..=84 => self.deliver()?,
                85..=87 => self.lose(chosen)?,
                88..=89 => self.decide(chosen)?,
                90..=91 => {
                    let life = self.new_life();
                    self.devices[chosen].start_again(life, &mut self.random)?;
                }
                92 if self.devices.len() < 5 => {
                    let life = self.new_life();
                    let device = self.devices[chosen].copied(0, life, &mut self.random)?;
                    self.devices.push(device);
                }
                93..=94 => self.server.save(),
                95 => {
                    let choice = usize::try_from(self.random.within(0..=99)).expect("small");
                    self.server.set_back(choice);
                }
                96 => self.change_tables(),
                _ => self.update_app(chosen)?,
            }
            self.check(chosen)?;
        }
        Ok(())
    }

    fn some_device(&mut self) -> usize {
        let last = i64::try_from(self.devices.len()).expect("few") - 1;
        usize::try_from(self.random.within(0..=last)).expect("at least one")
    }

    fn change_tables(&mut self) {
        let had_sessions = self.server.described.sessions;
        self.server.described.change(&mut self.random);
        self.server.touch_all();
        if self.server.described.sessions && !had_sessions {
            self.server.mirror_sessions();
        }
        self.older.push(self.server.described.clone());
    }

    /// A newer app comes, or an older one is installed again.
    fn update_app(&mut self, chosen: usize) -> Checked {
        if self.devices[chosen].brings.is_none() {
            return Ok(());
        }
        let described = self.random.one_of(&self.older).clone();
        let now_ms = self.now_ms;
        if self.random.chance(25) {
            return self.devices[chosen].learns(now_ms);
        }
        self.devices[chosen].brings_another(described, now_ms)?;
        self.devices[chosen].check_rebuilt()
    }

    /// What a device knows the tables to be.
    fn described(&self, chosen: usize) -> Option<Described> {
        let catalogue = self.devices[chosen].engine.catalogue()?;
        self.older.iter().find(|described| described.catalogue().hash() == catalogue.hash()).cloned()
    }

    fn change_something(&mut self, chosen: usize) -> Checked {
        if self.random.chance(30) {
            return self.change_sessions(chosen);
        }
        let Some(described) = self.described(chosen) else { return Ok(()) };
        if self.random.chance(25) {
            return self.write_batch(chosen, &described);
        }
        let Some((change, recorded)) = self.some_change(chosen, &described)? else { return Ok(()) };
        let now = self.devices[chosen].now(self.now_ms);
        let done = self.devices[chosen].engine.mutate(change, now).map_err(text)?;
        let (name, is_deletion) = (recorded.place.0.clone(), recorded.op == "delete");
        let key = done.key.clone();
        self.note(chosen, done.id, done.key, recorded);
        let shown = self.devices[chosen].engine.get_row(&name, &key).map_err(text)?;
        if is_deletion && shown.is_some() {
            return Err(format!("{name} {key} is shown right after it was deleted"));
        }
        Ok(())
    }

    fn write_batch(&mut self, chosen: usize, described: &Described) -> Checked {
        let mut changes = Vec::new();
        let mut recorded = Vec::new();
        for _ in 0..self.random.within(2..=5) {
            if let Some((change, what)) = self.some_change(chosen, described)? {
                changes.push(change);
                recorded.push(what);
            }
        }
        let now = self.devices[chosen].now(self.now_ms);
        let is_spoilt = self.random.chance(20);
        if is_spoilt {
            let (table, key) =
                (described.tables[0].name.clone(), "00000000-0000-4000-8000-000000000000".to_owned());
            let column = described.tables[0].columns.iter().find(|column| column.rule == "register");
            let Some(column) = column else { return Ok(()) };
            let values = Map::from_iter([(column.name.clone(), column.some_value(&mut self.random))]);
            changes.push(Change::Update { table, key, values });
        }
        if changes.is_empty() {
            return Ok(());
        }
        let device = &mut self.devices[chosen];
        let before = device.engine.pending().map_err(text)?.len();
        match device.engine.mutate_batch(None, changes, now) {
            Err(Error::InvalidValue { .. }) => {
                // A row that an earlier change of the batch has deleted is another reason.
                let after = device.engine.pending().map_err(text)?.len();
                if after == before { Ok(()) } else { Err("a refused batch is kept in part".to_owned()) }
            }
            Err(error) => Err(text(error)),
            Ok(_) if is_spoilt => Err("a batch with an update of no row was taken".to_owned()),
            Ok(done) => {
                let ids: BTreeSet<MutationId> = done.iter().map(|one| one.id).collect();
                ids.iter().for_each(|id| drop(self.batches.insert(*id, ids.clone())));
                for (one, what) in done.into_iter().zip(recorded) {
                    self.note(chosen, one.id, one.key, what);
                }
                Ok(())
            }
        }
    }

    pub(super) fn note(&mut self, chosen: usize, id: MutationId, key: String, mut recorded: Recorded) {
        recorded.place.1 = key;
        if self.random.chance(6) {
            self.server.poison.insert(id);
        }
        self.devices[chosen].own.insert(id);
        self.recorded.insert(id, recorded);
    }

    fn some_change(
        &mut self,
        chosen: usize,
        described: &Described,
    ) -> Result<Option<(Change, Recorded)>, String> {
        let table = self.random.one_of(&described.tables).clone();
        let shown = self.devices[chosen].rows()?;
        let keys: Vec<String> =
            shown.keys().filter(|place| place.0 == table.name).map(|place| place.1.clone()).collect();
        let what = if keys.is_empty() { 0 } else { self.random.within(0..=99) };
        let rules: &[&str] = match what {
            0..=29 => &["register", "once", "counter", "union"],
            30..=59 => &["register", "union"],
            _ => &["counter"],
        };
        let mut values = Map::new();
        for column in table.columns.iter().filter(|column| rules.contains(&column.rule)) {
            if self.random.chance(60) {
                values.insert(column.name.clone(), column.some_value(&mut self.random));
            }
        }
        let name = table.name.clone();
        if what < 30 {
            // Text keys are few, so that rows meet.
            let key = (table.key == "text").then(|| format!("key{}", self.random.within(0..=5)));
            let recorded =
                Recorded { place: (name.clone(), String::new()), op: "insert", values: values.clone() };
            return Ok(Some((Change::Insert { table: name, key, values }, recorded)));
        }
        let key = self.random.one_of(&keys).clone();
        let recorded = |op| Recorded { place: (name.clone(), key.clone()), op, values: values.clone() };
        let (table, key_of) = (name.clone(), key.clone());
        Ok(match what {
            30..=89 if values.is_empty() => None,
            30..=59 => {
                Some((Change::Update { table, key: key_of, values: values.clone() }, recorded("merge")))
            }
            60..=89 => Some((Change::Add { table, key: key_of, values: values.clone() }, recorded("add"))),
            _ => Some((
                Change::Delete { table, key: key_of },
                Recorded { values: Map::new(), ..recorded("delete") },
            )),
        })
    }

    pub(super) fn send(&mut self, chosen: usize) -> Checked {
        let device = &mut self.devices[chosen];
        let now = device.now(self.now_ms);
        device.engine.signal(Signal::SyncNow, now);
        let Some(outgoing) = device.engine.next_request(now).map_err(text)? else { return Ok(()) };
        device.waiting = Some(outgoing.ticket);
        let (life, sent) = (device.life, Rc::new(outgoing.request));
        for heals in sent.mutations.iter().filter(|one| one.op == "insert" && one.hlc == Hlc::ZERO) {
            device.own.insert(heals.id);
            device.knows.healed.insert((heals.table.clone(), heals.key.clone()));
        }
        self.check_whole_batches(chosen, &sent)?;
        self.under_way.push(Message::Request(chosen, life, outgoing.ticket, sent));
        Ok(())
    }

    /// A request has all that waits of a batch, or nothing of it.
    fn check_whole_batches(&self, chosen: usize, request: &SyncRequest) -> Checked {
        let sent: BTreeSet<MutationId> = request.mutations.iter().map(|mutation| mutation.id).collect();
        let waiting = self.devices[chosen].engine.pending().map_err(text)?;
        let left = waiting.iter().map(|view| view.id).filter(|id| !sent.contains(id));
        let splits = |id: MutationId| self.batches.get(&id).is_some_and(|all| !all.is_disjoint(&sent));
        if left.into_iter().any(splits) { Err("a request splits a batch".to_owned()) } else { Ok(()) }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(super) fn deliver(&mut self) -> Checked {
        if self.under_way.is_empty() {
            return Ok(());
        }
        let last = i64::try_from(self.under_way.len()).expect("few") - 1;
        let at = usize::try_from(self.random.within(0..=last)).expect("small");
        let message = self.under_way.swap_remove(at);
        match message {
            _ if !self.is_calm && self.random.chance(12) => Ok(()),
            Message::Request(from, life, ticket, request) => {
                let again = self.random.chance(10);
                let answered = self.server.answer(&request, self.now_ms);
                let known = Rc::new(self.server.known());
                let outcome = answered.map(|answer| (Rc::new(answer), known));
                self.under_way.push(Message::Answer(from, life, ticket, outcome));
                if again {
                    self.under_way.push(Message::Request(from, life, ticket, request));
                }
                Ok(())
            }
            Message::Answer(to, life, ticket, outcome) => {
                if self.devices[to].life != life || self.devices[to].waiting != Some(ticket) {
                    return Ok(());
                }
                self.hand_over(to, ticket, outcome)
            }
        }
    }

    fn hand_over(
        &mut self,
        to: usize,
        ticket: Ticket,
        outcome: Result<(Rc<SyncAnswer>, Known), Failure>,
    ) -> Checked {
        let device = &mut self.devices[to];
        device.waiting = None;
        let now = device.now(self.now_ms);
        let answer = outcome.as_ref().map(|(answer, _)| SyncAnswer::clone(answer)).map_err(Clone::clone);
        let before = device.queued()?;
        device.engine.apply_response(ticket, answer, now).map_err(text)?;
        device.note_what_is_queued(&before)?;
        if let Ok((answer, known)) = &outcome {
            device.heard(answer, known);
            if device.pending(now)? == 0 && !answer.has_more && answer.catalogue.is_none() {
                device.settled()?;
            }
        }
        self.check(to)
    }

    /// A host stops waiting.
    fn lose(&mut self, chosen: usize) -> Checked {
        match self.devices[chosen].waiting {
            Some(ticket) => self.hand_over(chosen, ticket, Err(Failure::Timeout)),
            None => Ok(()),
        }
    }

    /// A person decides about something that was refused: of a batch about all of it.
    pub(super) fn decide(&mut self, chosen: usize) -> Checked {
        let device = &mut self.devices[chosen];
        let refused = device.engine.rejected().map_err(text)?;
        let Some(first) = refused.first() else { return Ok(()) };
        let together: BTreeSet<MutationId> = match first.batch {
            Some(_) => refused.iter().filter(|view| view.batch == first.batch).map(|view| view.id).collect(),
            None => BTreeSet::from([first.id]),
        };
        if self.random.chance(40) {
            device.engine.discard(first.id).map_err(text)?;
            self.discarded.extend(&together);
        } else {
            self.server.poison.retain(|id| !together.contains(id));
            device.engine.retry(first.id).map_err(text)?;
            device.retried.extend(&together);
            // It is shown again, and so is what it adds.
            let sessions = refused.iter().filter(|view| together.contains(&view.id));
            sessions.for_each(|view| device.knows.wrote(&view.key, false));
        }
        let left = device.engine.rejected().map_err(text)?;
        if left.iter().any(|view| together.contains(&view.id)) {
            return Err("a batch was decided about in part".to_owned());
        }
        Ok(())
    }

    pub(super) fn newest_tables_everywhere(&mut self) -> Checked {
        let (described, now_ms) = (self.server.described.clone(), self.now_ms);
        for device in self.devices.iter_mut().filter(|device| device.brings.is_some()) {
            device.brings_another(described.clone(), now_ms)?;
        }
        Ok(())
    }
}
