//! What a device must show: what the server has told it, and everything that it recorded, each once.
//!
//! Knows nothing of queues and states. It keeps sets of ids and the greatest stamp of each column.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use marea_core::{
    ActivityDay, ApiKeys, Engine, Export, ExportQuery, Fact, Fold, Hlc, LocalDate, MutationId, Now, Progress,
    ResultStatus, SyncAnswer, SyncRequest, UserId,
};
use serde_json::{Map, Value};

use super::packed::unpacked;
use super::registers::{Row, Write, read};
use super::server::Known;

/// All facts of the world by id.
pub(super) type Facts = BTreeMap<MutationId, Rc<Fact>>;

/// One device's knowledge.
#[derive(Clone)]
pub(super) struct Oracle {
    user: UserId,
    /// Facts that the device recorded.
    own: BTreeSet<MutationId>,
    /// Mutations whose refusal the device has heard of.
    pub(super) refused: BTreeSet<MutationId>,
    /// The server's facts as of each complete answer that may be what the device shows, oldest first.
    told: Vec<Rc<Known>>,
    rows: BTreeMap<(String, String), Row>,
    /// Rows that came since everything is pulled anew.
    refill: Option<BTreeMap<(String, String), Row>>,
    /// What was shown before that: an export that is brought back may show it until it is on the server again.
    before_refill: BTreeMap<(String, String), Row>,
    /// Rows that were there and then not: whether an own insert shows them again depends on what is still queued.
    vanished: BTreeSet<(String, String)>,
    /// Rows that were ever deleted: what was written to them had no effect, and is not brought back with them.
    deleted: BTreeSet<(String, String)>,
    /// The device's own writes to registers.
    pub(super) writes: Vec<(MutationId, Rc<Write>)>,
    clock: Hlc,
    stamped: BTreeMap<MutationId, Hlc>,
}

impl Oracle {
    pub(super) fn new(user: UserId) -> Oracle {
        Oracle {
            user,
            own: BTreeSet::new(),
            refused: BTreeSet::new(),
            told: vec![Rc::new(Known::default())],
            rows: BTreeMap::new(),
            refill: None,
            before_refill: BTreeMap::new(),
            vanished: BTreeSet::new(),
            deleted: BTreeSet::new(),
            writes: Vec::new(),
            clock: Hlc::ZERO,
            stamped: BTreeMap::new(),
        }
    }

    /// The clock of a mutation that is recorded now.
    pub(super) fn tick(&mut self, id: MutationId, now: Now) -> String {
        self.clock = self.clock.tick(now.unix_ms);
        self.stamped.insert(id, self.clock);
        self.clock.to_string()
    }

    pub(super) fn recorded_fact(&mut self, id: MutationId) {
        self.own.insert(id);
    }

    pub(super) fn recorded_write(&mut self, id: MutationId, write: Rc<Write>) {
        self.writes.push((id, write));
    }

    pub(super) fn recorded_facts(&self) -> impl Iterator<Item = MutationId> {
        self.own.iter().copied()
    }

    /// A refused mutation is queued again. A fact counts once the server has taken it: it may have done so before.
    pub(super) fn retried(&mut self, id: MutationId) {
        if !self.own.contains(&id) {
            self.refused.remove(&id);
        }
    }

    /// A mutation of this device may only be sent with the clock that it was recorded with.
    pub(super) fn check_sent(&self, request: &SyncRequest) -> Result<(), String> {
        for mutation in &request.mutations {
            // What only heals the server has a clock before every other.
            let heals = mutation.op == "insert" && mutation.hlc == Hlc::ZERO;
            let stamp = self.stamped.get(&mutation.id).filter(|stamp| **stamp != mutation.hlc && !heals);
            if let Some(stamp) = stamp {
                return Err(format!("{} was recorded at {stamp} and sent as {}", mutation.id, mutation.hlc));
            }
        }
        Ok(())
    }

    /// The device has taken an answer; `waiting` mutations are left in its queue.
    pub(super) fn heard(&mut self, answer: &SyncAnswer, known: &Rc<Known>, waiting: u32) {
        let answer = &unpacked(answer);
        if answer.reset {
            let shown = self.expected_rows().into_iter().filter_map(|(place, row)| Some((place, row?)));
            self.before_refill.extend(shown);
            self.refill = Some(BTreeMap::new());
        } else {
            let refused = answer.results.iter().filter(|result| result.status == ResultStatus::Rejected);
            self.refused.extend(refused.map(|result| result.id));
        }
        self.hear_rows(answer);
        self.observe(answer);
        if answer.has_more {
            return;
        }
        self.told.push(Rc::clone(known));
        if waiting == 0 {
            // Nothing stands in the way of the newest rows any more.
            self.told.drain(..self.told.len() - 1);
            if let Some(rows) = self.refill.take() {
                let gone = self.rows.keys().filter(|place| !rows.contains_key(*place)).cloned();
                self.vanished.extend(gone);
                self.rows = rows;
                self.before_refill.clear();
            }
            // What was pushed and has not come back was deleted before this device could see it.
            let pushed = self.writes.iter().map(|(_, write)| (write.table.clone(), write.key.clone()));
            self.vanished.extend(pushed.filter(|place| !self.rows.contains_key(place)));
        }
    }

    fn hear_rows(&mut self, answer: &SyncAnswer) {
        for (table, rows) in &answer.rows {
            let key_column = match table.as_str() {
                "export_history" => "id",
                "user_api_keys" => "user_id",
                _ => continue,
            };
            for row in rows {
                let values: Map<String, Value> = serde_json::from_str(row.values.get()).expect("JSON");
                let stamps = serde_json::from_value(row.hlc.clone()).expect("stamps");
                let place = (table.clone(), values[key_column].as_str().unwrap_or_default().to_owned());
                let row = Row { values, stamps };
                if let Some(refill) = &mut self.refill {
                    refill.insert(place.clone(), row.clone());
                }
                self.vanished.remove(&place);
                self.rows.insert(place, row);
            }
        }
        for (table, keys) in &answer.deleted {
            for key in keys {
                let place = (table.clone(), key.clone());
                if let Some(refill) = &mut self.refill {
                    refill.remove(&place);
                }
                self.rows.remove(&place);
                self.deleted.insert(place.clone());
                self.vanished.insert(place);
            }
        }
    }

    /// The next own write comes after every believable one that was seen.
    fn observe(&mut self, answer: &SyncAnswer) {
        let limit = Hlc::ZERO.tick(answer.server_time.as_millis().plus_ms(5 * 60 * 1000));
        let registers =
            answer.rows.iter().filter(|(table, _)| !table.contains("progress")).flat_map(|(_, rows)| rows);
        let seen = registers
            .flat_map(|row| row.hlc.as_object().into_iter().flatten())
            .filter_map(|(_, stamp)| stamp[0].as_str()?.parse().ok())
            .max()
            .filter(|seen| *seen <= limit);
        self.clock = self.clock.max(seen.unwrap_or(Hlc::ZERO));
    }

    /// The sums that the device shows are those of what it was told and what it recorded, each fact once.
    pub(super) fn check_folds(&mut self, engine: &Engine, facts: &Facts, now: Now) -> Result<(), String> {
        let shown = engine.progress(now).map_err(|error| error.to_string())?;
        let days: Vec<ActivityDay> =
            engine.activity(first_day(), last_day()).map_err(|error| error.to_string())?;
        let fits = |known: &Rc<Known>| {
            let fold = self.fold(known, facts);
            as_read(&fold, now) == shown && fold.days.values().eq(&days)
        };
        match self.told.iter().position(fits) {
            Some(place) => {
                self.told.drain(..place);
                Ok(())
            }
            None => {
                let newest = self.fold(&self.told[self.told.len() - 1], facts);
                Err(format!(
                    "shows {} sessions, {} minutes, {} points on {} days; told and recorded are {}, {}, {} on {}",
                    shown.total_sessions,
                    shown.total_time_spent_minutes,
                    shown.total_points,
                    days.len(),
                    newest.progress.total_sessions,
                    newest.progress.total_time_spent_minutes,
                    newest.progress.total_points,
                    newest.days.len()
                ))
            }
        }
    }

    fn fold(&self, known: &Known, facts: &Facts) -> Fold {
        let own = self.own.difference(&self.refused);
        let counted: BTreeSet<&MutationId> = known.facts.iter().chain(own).collect();
        let mut counted: Vec<&Fact> =
            counted.into_iter().filter(|id| !known.gone.contains(id)).map(|id| facts[id].as_ref()).collect();
        // By day, because the fold then never has to count its days again.
        counted.sort_by_key(|fact| fact.day);
        let mut fold = Fold::empty(self.user);
        fold.add(counted);
        fold
    }

    /// The exports and keys that the device shows carry, in each column, the latest write that it knows of.
    pub(super) fn check_registers(&self, engine: &Engine) -> Result<(), String> {
        let query = ExportQuery { limit: Some(500), ..ExportQuery::default() };
        let shown = engine.exports(&query).map_err(|error| error.to_string())?.exports;
        let mut shown: BTreeMap<String, Export> =
            shown.into_iter().map(|export| (export.id.to_string(), export)).collect();
        for (place, row) in self.expected_rows() {
            if place.0 == "user_api_keys" {
                let expected: ApiKeys = row.as_ref().map(read).unwrap_or_default();
                if engine.api_keys().map_err(|error| error.to_string())? != expected {
                    return Err("shows other keys than the latest it knows of".to_owned());
                }
                continue;
            }
            let there = shown.remove(&place.1);
            let is_certain = !self.vanished.contains(&place) && !self.deleted.contains(&place);
            let expected: Option<Export> = row.as_ref().map(read);
            if is_certain
                && there != expected
                && !self.is_brought_back(&place, there.as_ref(), expected.as_ref())
            {
                let json = |export| serde_json::to_string(&export).unwrap_or_default();
                return Err(format!("export {} is {}, expected {}", place.1, json(there), json(expected)));
            }
        }
        match shown.keys().next() {
            Some(key) => Err(format!("shows export {key}, of which it was never told")),
            None => Ok(()),
        }
    }

    /// Whether an export differs from what is expected only by what it showed before everything was pulled again.
    fn is_brought_back(
        &self,
        place: &(String, String),
        there: Option<&Export>,
        expected: Option<&Export>,
    ) -> bool {
        let columns = |export: &Export| serde_json::to_value(export).expect("an export");
        let (Some(there), Some(expected), Some(before)) = (there, expected, self.before_refill.get(place))
        else {
            return false;
        };
        let (expected, before) = (columns(expected), columns(&read(before)));
        let mut shown = columns(there).as_object().cloned().unwrap_or_default().into_iter();
        shown.all(|(column, value)| value == expected[&column] || value == before[&column])
    }

    fn expected_rows(&self) -> BTreeMap<(String, String), Option<Row>> {
        let mut rows: BTreeMap<_, _> =
            self.rows.iter().map(|(place, row)| (place.clone(), Some(row.clone()))).collect();
        for (id, write) in &self.writes {
            let row = rows.entry((write.table.clone(), write.key.clone())).or_default();
            if self.refused.contains(id) {
                continue;
            }
            match row {
                Some(row) if write.begins && row.is_brought_back() => {}
                Some(row) => {
                    let registers =
                        write.values.iter().filter(|(column, _)| !super::registers::is_once(column));
                    row.merge(&registers.map(|(c, v)| (c.clone(), v.clone())).collect(), &write.stamp);
                }
                None if write.begins => {
                    let mut begun = Row::default();
                    begun.merge(&write.values, &write.stamp);
                    *row = Some(begun);
                }
                None => {}
            }
        }
        rows
    }
}

/// Progress as a device reads it whose clock shows this: of the days up to its tomorrow.
pub(super) fn as_read(fold: &Fold, now: Now) -> Progress {
    let today = now.local_date();
    let mut fold = fold.clone();
    fold.count_days_until(today.next());
    fold.progress.as_of(today)
}

pub(super) fn first_day() -> LocalDate {
    "1970-01-01".parse().expect("a day")
}

pub(super) fn last_day() -> LocalDate {
    "9999-12-31".parse().expect("a day")
}
