//! What must hold in a world of tables: at every step on each device, and once it has come to rest everywhere.

use std::collections::BTreeSet;

use marea_core::MutationId;
use serde_json::{Map, Value};

use super::catalogue::hundredths;
use super::server::{Place, Taken};
use super::sessions;
use super::world::{Checked, World};

impl World {
    pub(super) fn check(&mut self, chosen: usize) -> Checked {
        self.devices[chosen].check_told()?;
        self.check_counters(chosen)?;
        self.check_batches(chosen)?;
        self.devices[chosen].check_progress(self.devices[chosen].now(self.now_ms))?;
        let own = &self.devices[chosen].own;
        let is_insert = |place: &Place| {
            self.recorded
                .iter()
                .any(|(id, one)| one.op == "insert" && one.place == *place && own.contains(id))
        };
        self.devices[chosen].check_gone(|place| place.0 != sessions::TABLE && is_insert(place))?;
        if self.random.chance(10) {
            self.devices[chosen].check_rebuilt()?;
        }
        Ok(())
    }

    /// Additions to a counter: those that the server had at some time when this device was told, and the device's own, each once.
    fn check_counters(&self, chosen: usize) -> Checked {
        let device = &self.devices[chosen];
        if device.went_back {
            return Ok(());
        }
        let deleted: BTreeSet<&Place> =
            self.recorded.values().filter(|one| one.op == "delete").map(|one| &one.place).collect();
        let retried: BTreeSet<&Place> =
            device.retried.iter().filter_map(|id| Some(&self.recorded.get(id)?.place)).collect();
        let is_certain = |place: &Place| !deleted.contains(place) && !retried.contains(place);
        for (place, json) in device.shown.iter().filter(|(place, _)| is_certain(place)) {
            // Where two devices begin one row it depends on who was first.
            let inserts: Vec<_> =
                self.recorded.iter().filter(|(_, one)| one.op == "insert" && one.place == *place).collect();
            let [(begins, insert)] = inserts.as_slice() else { continue };
            // What a row without its beginning comes to nobody can tell before the server has decided.
            if device.refused.contains(begins) || self.is_healed(place) {
                continue;
            }
            let shown: Map<String, Value> = serde_json::from_str(json).expect("JSON");
            let Some(table) = self.server.described.table(&place.0) else { continue };
            for column in table.columns.iter().filter(|column| column.rule == "counter") {
                let Some(value) = shown.get(&column.name).filter(|value| !value.is_null()) else { continue };
                let begun = insert.values.get(&column.name).map_or(0, hundredths);
                let sum = |known: Option<&Taken>| {
                    let mut ids: BTreeSet<MutationId> =
                        device.own.difference(&device.refused).copied().collect();
                    ids.extend(known.into_iter().flatten().map(|(id, _)| *id));
                    let added = ids
                        .iter()
                        .filter_map(|id| self.recorded.get(id))
                        .filter(|one| one.op == "add" && one.place == *place);
                    begun + added.filter_map(|one| one.values.get(&column.name)).map(hundredths).sum::<i64>()
                };
                let value = hundredths(value);
                let fits = device.told.iter().rev().any(|known| sum(known.get(place)) == value);
                if !fits {
                    let newest = sum(device.told.last().and_then(|known| known.get(place)));
                    let last = device.told.last().and_then(|known| known.get(place));
                    let adds: Vec<_> = self
                        .recorded
                        .iter()
                        .filter(|(_, one)| one.op == "add" && one.place == *place)
                        .map(|(id, one)| {
                            let known = last.into_iter().flatten().any(|(known, _)| known == id);
                            let refused = device.refused.contains(id);
                            (one.values.get(&column.name).cloned(), device.own.contains(id), refused, known)
                        })
                        .collect();
                    return Err(format!(
                        "{place:?}.{} shows {value}, expected {newest} hundredths: begun with {begun}, then (how much, own, refused, told) {adds:?}, {:?}",
                        column.name,
                        self.states()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether a device has inserted the row on behalf of the one that made it: with the sum that it knew, to which additions that
    /// others send once more are added.
    fn is_healed(&self, place: &Place) -> bool {
        self.server.ever.get(place).is_some_and(|taken| taken.iter().any(|(_, said)| said.heals()))
    }

    /// Of a batch all waits, or all is refused, or all is with the server.
    fn check_batches(&self, chosen: usize) -> Checked {
        let device = &self.devices[chosen];
        let views = |list: Result<Vec<marea_core::MutationView>, marea_core::Error>| -> Result<BTreeSet<MutationId>, String> {
            Ok(list.map_err(|error| error.to_string())?.into_iter().map(|view| view.id).collect())
        };
        for listed in [views(device.engine.pending())?, views(device.engine.rejected())?] {
            for id in &listed {
                let whole = self.batches.get(id).is_none_or(|all| all.is_subset(&listed));
                // After the server was set back, what of a batch was deleted meanwhile is not sent again.
                if !whole && !self.server.was_set_back() {
                    return Err("a batch is in two states".to_owned());
                }
            }
        }
        Ok(())
    }

    /// Everything is delivered and decided about; then every device shows what the server has, and the server what was recorded.
    pub(super) fn come_to_rest(&mut self) -> Checked {
        self.newest_tables_everywhere()?;
        self.server.poison.clear();
        self.is_calm = true;
        let mut rounds = 0;
        while !self.is_at_rest()? {
            rounds += 1;
            if rounds > 500 {
                return Err(format!("does not come to rest: {:?}", self.states()?));
            }
            self.now_ms += 60_000;
            for chosen in 0..self.devices.len() {
                self.decide(chosen)?;
                self.send(chosen)?;
                while !self.is_quiet() {
                    self.deliver()?;
                }
                if let Some(ticket) = self.devices[chosen].waiting.take() {
                    self.devices[chosen].engine.abandon(ticket);
                }
            }
        }
        for chosen in 0..self.devices.len() {
            self.check(chosen)?;
            self.devices[chosen].check_rebuilt()?;
            self.check_equal(chosen)?;
            let device = &self.devices[chosen];
            device.compare_progress(&self.server.folded(), device.now(self.now_ms))?;
        }
        self.check_sessions()?;
        self.check_deleted()?;
        self.check_counted()
    }

    /// Every session that nobody threw away is with the server, unless somebody deleted it; then it is not.
    fn check_sessions(&self) -> Checked {
        let there = self.server.sessions();
        let of = |op: &'static str| {
            self.recorded
                .iter()
                .filter(move |(id, one)| {
                    one.op == op && one.place.0 == sessions::TABLE && !self.discarded.contains(id)
                })
                .map(|(_, one)| &one.place.1)
        };
        let deleted: BTreeSet<&String> = of("delete").collect();
        if let Some(key) = deleted.iter().find(|key| there.contains(**key)) {
            return Err(format!("session {key} was deleted and is with the server"));
        }
        let taken_back = |key: &str| self.devices.iter().any(|device| device.knows.has_deleted(key));
        match of("insert").find(|key| !there.contains(*key) && !deleted.contains(key) && !taken_back(key)) {
            Some(key) => Err(format!("session {key} was recorded and is not with the server")),
            None => Ok(()),
        }
    }

    /// A row that was made once and deleted stays away, whatever the server has lost meanwhile.
    fn check_deleted(&self) -> Checked {
        let rows = self.server.rows();
        let of = |op: &'static str, place: &Place| {
            self.recorded.iter().filter(|(_, one)| one.op == op && one.place == *place).count()
        };
        let deletions = self.recorded.iter().filter(|(id, one)| {
            one.op == "delete" && !self.discarded.contains(id) && self.was_taken(id, &one.place)
        });
        for (_, one) in deletions.filter(|(_, one)| of("insert", &one.place) == 1) {
            if rows.contains_key(&one.place) {
                return Err(format!("{:?} was deleted and is with the server", one.place));
            }
        }
        Ok(())
    }

    /// Nothing waits anywhere, and every device has all that the server has.
    fn is_at_rest(&self) -> Result<bool, String> {
        for device in &self.devices {
            let status = device.engine.status(device.now(self.now_ms)).map_err(|error| error.to_string())?;
            if status.pending > 0 || status.rejected > 0 || status.cursor != Some(self.server.version()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What waits, what is refused and how far each device is, to be printed.
    fn states(&self) -> Result<String, String> {
        let state = |device: &super::device::Device| {
            let status = device.engine.status(device.now(self.now_ms)).map_err(|error| error.to_string())?;
            let error = status.last_error.map_or_else(String::new, |error| error.code);
            Ok((status.pending, status.rejected, status.cursor, error))
        };
        let all: Vec<_> = self.devices.iter().map(state).collect::<Result<_, String>>()?;
        Ok(format!("{all:?}"))
    }

    fn check_equal(&self, chosen: usize) -> Checked {
        let rows = self.server.rows();
        let shown = &self.devices[chosen].shown;
        for place in rows.keys().chain(shown.keys()) {
            let there: Option<Map<String, Value>> =
                shown.get(place).map(|json| serde_json::from_str(json).expect("JSON"));
            let expected = rows.get(place).map(|row| row.values.clone());
            if there != expected {
                return Err(format!(
                    "device {chosen} shows {there:?} of {place:?}, the server has {expected:?}"
                ));
            }
        }
        Ok(())
    }

    /// Every addition that nobody threw away is with the server, once, and every row that nobody deleted.
    fn check_counted(&self) -> Checked {
        let rows = self.server.rows();
        for (id, one) in self.recorded.iter().filter(|(id, _)| !self.discarded.contains(id)) {
            let Some(table) = self.server.described.table(&one.place.0) else { continue };
            if one.values.keys().any(|name| table.column(name).is_none()) {
                continue;
            }
            let of_place = |op: &'static str| {
                self.recorded.iter().filter(move |(_, other)| other.op == op && other.place == one.place)
            };
            if of_place("delete").next().is_some() || of_place("insert").count() != 1 {
                continue;
            }
            let (begins, _) = of_place("insert").next().ok_or("no insert")?;
            if self.discarded.contains(begins) || !self.server.ever.contains_key(&one.place) {
                continue;
            }
            let may_be_more = self.is_healed(&one.place) && !self.is_of_one_device(&one.place);
            let row =
                rows.get(&one.place).ok_or_else(|| format!("{:?} is not with the server", one.place))?;
            // What one device throws away, a copy of it may have sent.
            if one.op != "add" || of_place("add").any(|(id, _)| self.discarded.contains(id)) {
                continue;
            }
            for name in one.values.keys() {
                let counted = of_place("add")
                    .filter(|(id, _)| !self.discarded.contains(id) && self.was_taken(id, &one.place));
                let begun = of_place("insert")
                    .filter_map(|(_, insert)| insert.values.get(name))
                    .map(hundredths)
                    .sum::<i64>();
                let expected =
                    begun + counted.filter_map(|(_, add)| add.values.get(name)).map(hundredths).sum::<i64>();
                let value = row.values.get(name).map_or(0, hundredths);
                if value < expected || (value > expected && !may_be_more) {
                    let ever = &self.server.ever[&one.place];
                    let said =
                        ever.iter().map(|(id, said)| format!("\n  {id} {} {:?}", said.op, said.values));
                    return Err(format!(
                        "{:?}.{name} is {value}, all additions are {expected} ({id}); the server took{}",
                        one.place,
                        said.collect::<String>()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether one device alone has added to the row and healed it: then nothing may count twice. Of a mutation that a copied device
    /// has too, nobody can tell who sent it.
    fn is_of_one_device(&self, place: &Place) -> bool {
        let adds = self.recorded.iter().filter(|(_, one)| one.op == "add" && one.place == *place);
        let healed = self.server.ever.get(place).into_iter().flatten().filter(|(_, said)| said.heals());
        let mut ids = adds.map(|(id, _)| id).chain(healed.map(|(id, _)| id));
        self.devices.iter().any(|device| ids.clone().all(|id| device.own.contains(id)))
            && ids.all(|id| self.devices.iter().filter(|device| device.own.contains(id)).count() == 1)
    }

    /// Whether the server ever took it: one that named a column that it did not have was refused, and may have been thrown away.
    fn was_taken(&self, id: &MutationId, place: &Place) -> bool {
        self.server.ever.get(place).is_some_and(|taken| taken.iter().any(|(known, _)| known == id))
    }
}
