//! The end of a world: the network is good, everybody syncs until nothing is due, and then all must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use marea_core::{
    ActivityDay, ApiKeys, ClientId, Export, ExportQuery, Failure, Fold, MutationId, Signal, SyncRequest,
    UserId,
};
use serde_json::Value;

use super::oracle::{as_read, first_day, last_day};
use super::registers::{Row, Stamp, Write, is_once, read};
use super::world::{Checked, World};

/// Requests after which a device that is still not at rest never will be.
const MOST_REQUESTS: u32 = 3_000;
/// The first round pushes everything, the second brings to each device what the others pushed.
const ROUNDS: u32 = 2;
/// Where the server was set back, the first round may only heal it.
const HEALING_ROUNDS: u32 = 3;

impl World<'_> {
    /// Lets everything come to rest and compares what is left.
    pub(super) fn come_to_rest(&mut self) -> Checked {
        self.step += 1;
        self.tell("world", |_| "comes to rest".to_owned());
        self.take_quietly(0, Err(Failure::Timeout))?;
        self.live_through_an_outage(0)?;
        self.live_through_a_set_back(0)?;
        for round in 0..if self.server.was_set_back() { HEALING_ROUNDS } else { ROUNDS } {
            for chosen in 0..self.devices.len() {
                self.take_quietly(chosen, Err(Failure::Timeout))?;
                if round == 0 {
                    self.decide_about_refused(chosen)?;
                    self.check_told(chosen)?;
                }
                self.retry_what_was_mended(chosen, round)?;
                self.settle(chosen)?;
                if round == 0 && chosen == 0 {
                    self.gather_writes(chosen)?;
                    self.grow_again(chosen)?;
                    self.settle(chosen)?;
                }
            }
        }
        for chosen in 0..self.devices.len() {
            self.compare_device(chosen).map_err(|what| format!("{}: {what}", self.devices[chosen].name))?;
        }
        let users: BTreeSet<UserId> = self.devices.iter().map(|device| device.user).collect();
        for user in users {
            self.compare_server(user)?;
            // A device that has nothing yet is sent everything: so a real server is compared whole.
            let (client_id, mutations) = (ClientId::from(self.random.uuid()), Vec::new());
            let request = SyncRequest {
                protocol: 1,
                client_id,
                schema: 1,
                cursor: None,
                limit: self.plan.answer_rows,
                limit_bytes: None,
                packed: true,
                catalogue: None,
                mutations,
            };
            self.server.answer(user, &request, self.now_ms).map_err(|failure| failure.to_string())?;
        }
        Ok(())
    }

    /// In each round: another device's person may have had it mended after this one's was refused. Anything else that is refused
    /// after the first round stays so, and is found at the end.
    fn retry_what_was_mended(&mut self, chosen: usize, round: u32) -> Checked {
        let device = &mut self.devices[chosen];
        for refused in device.engine.rejected().map_err(|error| error.to_string())? {
            let still = self.server.poison.contains(&refused.id) || self.server.huge.contains(&refused.id);
            let begun = refused.key.parse().is_ok_and(|row| self.server.mended.contains(&row));
            if !still && (round == 0 || begun || self.server.mended.contains(&refused.id)) {
                device.engine.retry(refused.id).map_err(|error| error.to_string())?;
                device.oracle.retried(refused.id);
            }
        }
        Ok(())
    }

    /// Syncs one device until nothing is due.
    pub(super) fn settle(&mut self, chosen: usize) -> Checked {
        let device = &mut self.devices[chosen];
        device.good_token = true;
        for signal in [Signal::NewToken, Signal::SyncNow] {
            device.engine.signal(signal, device.now(self.now_ms));
        }
        for _ in 0..MOST_REQUESTS {
            if self.send_one(chosen)? {
                continue;
            }
            let now = self.devices[chosen].now(self.now_ms);
            let status = self.devices[chosen].engine.status(now).map_err(|error| error.to_string())?;
            if status.pending == 0 && status.last_error.is_none() {
                return Ok(());
            }
            self.wait_for_the_next(chosen)?;
        }
        Err(format!("{} never comes to rest", self.devices[chosen].name))
    }

    /// Lets a device send what is due, over a good network; says whether there was something.
    pub(super) fn send_one(&mut self, chosen: usize) -> Result<bool, String> {
        self.now_ms += 10;
        let device = &mut self.devices[chosen];
        let now = device.now(self.now_ms);
        let due = match device.ahead.take() {
            Some(ahead) => Some(ahead),
            None => device.engine.next_request(now).map_err(|error| error.to_string())?,
        };
        let Some(outgoing) = due else { return Ok(false) };
        device.oracle.check_sent(&outgoing.request)?;
        device.waiting = Some(outgoing.ticket);
        let answered = self.server.answer(device.user, &outgoing.request, self.now_ms);
        self.take_quietly(chosen, answered.map(|(answer, known)| (Rc::new(answer), known)))?;
        Ok(true)
    }

    fn compare_device(&mut self, chosen: usize) -> Checked {
        self.check(chosen)?;
        let device = &self.devices[chosen];
        let now = device.now(self.now_ms);
        let books = &self.server.books[&device.user];
        let text = |error: marea_core::Error| error.to_string();
        let status = device.engine.status(now).map_err(text)?;
        if status.pending != 0 {
            return Err(format!("{} mutations still wait", status.pending));
        }
        if device.engine.progress(now).map_err(text)? != as_read(&books.fold, now) {
            return Err("shows other progress than the server's".to_owned());
        }
        let days: Vec<ActivityDay> = device.engine.activity(first_day(), last_day()).map_err(text)?;
        if !books.fold.days.values().eq(&days) {
            return Err("shows other days than the server's".to_owned());
        }
        let query = ExportQuery { limit: Some(500), ..ExportQuery::default() };
        let shown = device.engine.exports(&query).map_err(text)?.exports;
        let shown: BTreeMap<String, Export> =
            shown.into_iter().map(|export| (export.id.to_string(), self.as_shown(export))).collect();
        let (mut exports, mut keys) = (BTreeMap::new(), ApiKeys::default());
        for ((table, key), row) in &books.rows {
            match table.as_str() {
                "export_history" => {
                    exports.insert(key.clone(), self.as_shown(read(row)));
                }
                _ => keys = read(row),
            }
        }
        if shown != exports {
            return Err(format!(
                "shows {} exports, the server has {} (or others)",
                shown.len(),
                exports.len()
            ));
        }
        if device.engine.api_keys().map_err(text)? != keys {
            return Err("shows other keys than the server's".to_owned());
        }
        let listed = device.engine.rejected().map_err(text)?;
        let strange = listed.iter().find(|refused| !self.may_be_refused(refused.id, &refused.key));
        strange.map_or(Ok(()), |refused| Err(format!("{} was set aside without need", refused.id)))
    }

    /// A real server has a clock of its own.
    fn as_shown(&self, export: Export) -> Export {
        let updated_at = export.updated_at.filter(|_| self.server.beside.is_none());
        Export { updated_at, ..export }
    }

    /// Only what the server was made to refuse, and what builds on it.
    fn may_be_refused(&self, id: MutationId, key: &str) -> bool {
        let made = |id: &MutationId| self.server.poison.contains(id) || self.server.huge.contains(id);
        made(&id) || key.parse().is_ok_and(|export| made(&export))
    }

    fn compare_server(&self, user: UserId) -> Checked {
        let books = &self.server.books[&user];
        let mut anew = Fold::empty(user);
        anew.add(books.facts.values().map(Rc::as_ref));
        let mut recorded = BTreeSet::new();
        let mut writes: BTreeMap<MutationId, Rc<Write>> = BTreeMap::new();
        for device in self.devices.iter().filter(|device| device.user == user) {
            recorded.extend(device.oracle.recorded_facts());
            writes.extend(device.oracle.writes.iter().cloned());
        }
        let made = |id: &MutationId| self.server.poison.contains(id) || self.server.huge.contains(id);
        for id in recorded.iter().filter(|id| !books.gone.contains(id)) {
            match (books.facts.contains_key(id), made(id)) {
                (false, false) => {
                    return Err(format!("{id} was acknowledged to its caller and is not on the server"));
                }
                (true, true) => return Err(format!("{id} is refused and yet on the server")),
                _ => {}
            }
            if made(id) && !self.discarded.contains(id) && !self.is_listed(user, *id) {
                return Err(format!("{id} was refused and is listed nowhere"));
            }
        }
        if let Some(id) = books.facts.keys().find(|id| !recorded.contains(id)) {
            return Err(format!("{id} is on the server and nobody recorded it"));
        }
        if anew.days != books.fold.days {
            return Err("the server's days are not the fold of its facts".to_owned());
        }
        if self.plan.fast_clocks { Ok(()) } else { self.compare_writers(user, &writes) }
    }

    fn is_listed(&self, user: UserId, id: MutationId) -> bool {
        let mut of_user = self.devices.iter().filter(|device| device.user == user);
        of_user.any(|device| {
            device.engine.rejected().is_ok_and(|listed| listed.iter().any(|refused| refused.id == id))
        })
    }

    /// Each column carries the latest of all writes to it that were not refused.
    fn compare_writers(&self, user: UserId, writes: &BTreeMap<MutationId, Rc<Write>>) -> Checked {
        let books = &self.server.books[&user];
        let made = |id: &MutationId| self.server.poison.contains(id) || self.server.huge.contains(id);
        let counted = writes.iter().filter(|(id, _)| !made(id)).map(|(_, write)| write.as_ref());
        let mut latest: BTreeMap<(&String, &String, &String), (&Stamp, Vec<&Value>)> = BTreeMap::new();
        let unclear = |write: &&Write| {
            let row = books.rows.get(&(write.table.clone(), write.key.clone()));
            let late_insert = write.begins && row.is_some_and(Row::is_brought_back);
            late_insert || self.server.deleted.contains(&write.key)
        };
        for write in counted.chain(&books.own_writes).filter(|write| !unclear(write)) {
            for (column, value) in write.values.iter().filter(|(column, _)| !is_once(column)) {
                let place = (&write.table, &write.key, column);
                let entry = latest.entry(place).or_insert((&write.stamp, Vec::new()));
                if *entry.0 < write.stamp {
                    *entry = (&write.stamp, vec![value]);
                } else if *entry.0 == write.stamp {
                    // Two copies of one device wrote at the same moment by the same clock.
                    entry.1.push(value);
                }
            }
        }
        for ((table, key, column), (stamp, values)) in latest {
            let Some(row) = books.rows.get(&(table.clone(), key.clone())) else {
                let begun = writes.iter().any(|(id, write)| write.begins && write.key == *key && !made(id));
                if begun && !self.server.deleted.contains(key) {
                    return Err(format!("{table} {key} is not on the server"));
                }
                continue;
            };
            if !values.contains(&&row.values[column.as_str()]) {
                let there = &row.values[column.as_str()];
                return Err(format!("{column} of {key} is {there}, not {values:?} of {stamp:?}"));
            }
        }
        Ok(())
    }
}
