//! What people, machines and fate do to a world.

use std::collections::BTreeMap;
use std::rc::Rc;

use marea_core::{
    Change, Error, EventInput, ExportChange, ExportInput, ExportQuery, ExportStatus, Fact, FactKind,
    KeyEnvelope, MutationId, Now, Provider, SessionInput, Timestamp, UnixMillis,
};
use serde_json::{Map, Value, json};

use super::registers::Write;
use super::world::{Checked, MINUTE_MS, World};

const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The greatest count that may be written.
const MOST: i64 = 1_000_000;

impl World<'_> {
    /// Somebody uses the app.
    pub(super) fn change_something(&mut self) -> Checked {
        let chosen = self.some_device();
        let mut registers = false;
        for _ in 0..self.random.within(1..=self.plan.burst) {
            let what = self.random.within(0..=99);
            registers |= what >= 60;
            match what {
                0..=44 => self.record_session(chosen)?,
                45..=59 => self.record_award(chosen)?,
                60..=71 => self.create_export(chosen)?,
                72..=86 => self.update_export(chosen)?,
                87..=94 => self.put_key(chosen)?,
                _ => self.decide_about_refused(chosen)?,
            }
        }
        if registers {
            self.check_registers(chosen)?;
        }
        self.check_folds(chosen)?;
        self.check_told(chosen)
    }

    /// Makes a change. `None` when the device died and the change is not there when it starts again; when it is there, the
    /// app finds it in the queue, and it must count like any other.
    fn mutate(&mut self, chosen: usize, change: Change) -> Result<Option<MutationId>, String> {
        let now = self.devices[chosen].now(self.now_ms);
        let can_be_refused = self.server.beside.is_none() || is_insert(&change);
        let id = match self.dare(chosen, |device| device.engine.mutate(change, now))? {
            Some(recorded) => recorded.id,
            None => match self.devices[chosen].newly_queued()? {
                Some(id) => id,
                None => return self.check(chosen).map(|()| None),
            },
        };
        if self.random.chance(self.plan.poison) && can_be_refused {
            let taken = if self.random.chance(70) || self.server.beside.is_some() {
                &mut self.server.poison
            } else {
                &mut self.server.huge
            };
            taken.insert(id);
        }
        let name = self.devices[chosen].name.clone();
        self.tell(&name, |world| {
            let refused = world.server.poison.contains(&id) || world.server.huge.contains(&id);
            let fate = if refused { ", which the server will refuse" } else { "" };
            format!("records {id}{fate}")
        });
        Ok(Some(id))
    }

    /// Around the device's present, sometimes days off, sometimes on the other side of a change of the clocks.
    fn some_moment(&mut self, now: Now) -> Timestamp {
        let days = match self.random.within(0..=99) {
            0..40 => self.random.within(-4..=1),
            40..45 => self.random.within(-200..=-100),
            _ => 0,
        };
        let minutes = self.random.within(-90..=0);
        Timestamp::from_millis(UnixMillis(now.unix_ms.0 + days * DAY_MS + minutes * MINUTE_MS))
    }

    pub(super) fn record_session(&mut self, chosen: usize) -> Checked {
        let now = self.devices[chosen].now(self.now_ms);
        // At the bounds of what may be written: 1970-01-01 has begun and not ended everywhere.
        let is_extreme = self.random.chance(4);
        let ended_at =
            if is_extreme { Timestamp::from_millis(UnixMillis(DAY_MS)) } else { self.some_moment(now) };
        let answered = if is_extreme { MOST } else { self.random.within(0..=9) };
        let fact = Fact {
            minutes: self.random.within(0..=90),
            questions_answered: answered,
            questions_correct: self.random.within(0..=answered),
            descriptions: self.random.within(0..=2),
            vocabulary_learned: self.random.within(0..=3),
            ..Fact::empty(FactKind::Session, ended_at, self.devices[chosen].day_of(ended_at))
        };
        let small = |count: i64| i32::try_from(count).ok();
        let input = SessionInput {
            ended_at: Some(ended_at),
            duration_minutes: small(fact.minutes),
            qa_attempts: small(fact.questions_answered),
            qa_correct: small(fact.questions_correct),
            descriptions_generated: small(fact.descriptions),
            vocabulary_learned: small(fact.vocabulary_learned),
            ..SessionInput::new("practice")
        };
        self.recorded_fact(chosen, input.clone().into(), fact)?;
        Ok(())
    }

    fn record_award(&mut self, chosen: usize) -> Checked {
        let now = self.devices[chosen].now(self.now_ms);
        let occurred_at = self.some_moment(now);
        let achievements = if self.random.chance(50) {
            vec![format!("achievement{}", self.random.within(0..=3))]
        } else {
            Vec::new()
        };
        let fact = Fact {
            points: self.random.within(1..=50),
            learning_words: self.random.within(-2..=2),
            achievements: achievements.iter().map(|name| (name.clone(), occurred_at)).collect(),
            ..Fact::empty(FactKind::Award, occurred_at, self.devices[chosen].day_of(occurred_at))
        };
        let input = EventInput {
            occurred_at: Some(occurred_at),
            points: i32::try_from(fact.points).unwrap_or(0),
            learning_words: i32::try_from(fact.learning_words).unwrap_or(0),
            achievements,
            ..EventInput::default()
        };
        self.recorded_fact(chosen, input.into(), fact)
    }

    fn recorded_fact(&mut self, chosen: usize, change: Change, fact: Fact) -> Checked {
        let again = self.random.chance(15).then(|| change.clone());
        let Some(id) = self.mutate(chosen, change)? else { return Ok(()) };
        let device = &mut self.devices[chosen];
        let now = device.now(self.now_ms);
        device.oracle.tick(id, now);
        device.oracle.recorded_fact(id);
        self.facts.insert(id, Rc::new(fact));
        match again {
            Some(Change::RecordSession(input)) => {
                self.call_again(chosen, SessionInput { id: Some(id), ..input })
            }
            _ if self.random.chance(10) => self.take_anothers_id(chosen, id),
            _ => Ok(()),
        }
    }

    /// An app gives an award the id of what it has just recorded: it must be told, or the award would be lost without a word.
    fn take_anothers_id(&mut self, chosen: usize, id: MutationId) -> Checked {
        let award = EventInput { id: Some(id), points: 1_000_000, ..EventInput::default() };
        let device = &mut self.devices[chosen];
        match device.engine.mutate(award.into(), device.now(self.now_ms)) {
            Err(Error::InvalidInput { field: "id", .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
            Ok(_) => Err(format!("{} says that it recorded an award under the id {id}", device.name)),
        }
    }

    /// Somebody taps twice, or a tab repeats a call whose answer it missed.
    fn call_again(&mut self, chosen: usize, input: SessionInput) -> Checked {
        let name = self.devices[chosen].name.clone();
        self.tell(&name, |_| "is called again with the same id".to_owned());
        let now = self.devices[chosen].now(self.now_ms);
        self.dare(chosen, |device| device.engine.mutate(input.into(), now)).map(|_| ())
    }

    fn create_export(&mut self, chosen: usize) -> Checked {
        let now = self.devices[chosen].now(self.now_ms);
        let filters = self.random.chance(50).then(|| Map::from_iter([("level".to_owned(), json!(2))]));
        let input = ExportInput {
            export_type: "words".to_owned(),
            export_format: "csv".to_owned(),
            filters: filters.clone(),
            ..ExportInput::default()
        };
        let Some(id) = self.mutate(chosen, Change::CreateExport(input))? else { return Ok(()) };
        let values = json!({
            "id": id, "export_type": "words", "export_format": "csv", "filters": filters.unwrap_or_default(),
            "status": "pending", "created_at": now.timestamp(),
        });
        self.recorded_write(chosen, id, "export_history", &id.to_string(), true, &values);
        Ok(())
    }

    pub(super) fn update_export(&mut self, chosen: usize) -> Checked {
        use ExportStatus::{Completed, Expired, Failed, Processing};
        let query = ExportQuery { limit: Some(500), ..ExportQuery::default() };
        let shown = self.devices[chosen].engine.exports(&query).map_err(|error| error.to_string())?.exports;
        if shown.is_empty() {
            return Ok(());
        }
        let export = self.random.one_of(&shown).id;
        let (change, values) = if self.random.chance(60) {
            let status = *self.random.one_of(&[Processing, Completed, Failed, Expired]);
            let change = ExportChange { status: Some(status), ..ExportChange::default() };
            (change, json!({ "status": status }))
        } else {
            let count = self.random.within(0..=1000);
            let records_count = i32::try_from(count).ok();
            (ExportChange { records_count, ..ExportChange::default() }, json!({ "records_count": count }))
        };
        let change = Change::UpdateExport { id: export, change };
        let Some(id) = self.mutate(chosen, change)? else { return Ok(()) };
        self.recorded_write(chosen, id, "export_history", &export.to_string(), false, &values);
        Ok(())
    }

    pub(super) fn put_key(&mut self, chosen: usize) -> Checked {
        let user = self.devices[chosen].user.to_string();
        let (provider, column) = *self
            .random
            .one_of(&[(Provider::Openai, "openai_api_key"), (Provider::Anthropic, "anthropic_api_key")]);
        let (change, value) = if self.random.chance(25) {
            (Change::DeleteKey { provider }, Value::Null)
        } else {
            let text = crate::envelope::of_shape(self.random.within(0..=999));
            let envelope: KeyEnvelope = text.parse().expect("an envelope");
            (Change::PutKey { provider, envelope }, json!(text))
        };
        let Some(id) = self.mutate(chosen, change)? else { return Ok(()) };
        self.recorded_write(chosen, id, "user_api_keys", &user, true, &json!({ column: value }));
        Ok(())
    }

    fn recorded_write(
        &mut self,
        chosen: usize,
        id: MutationId,
        table: &str,
        key: &str,
        begins: bool,
        values: &Value,
    ) {
        let device = &mut self.devices[chosen];
        let now = device.now(self.now_ms);
        let client = device.engine.status(now).expect("a readable mirror").client_id.to_string();
        let stamp = (device.oracle.tick(id, now), client);
        let values = values.as_object().cloned().unwrap_or_default();
        let write = Write { table: table.to_owned(), key: key.to_owned(), begins, stamp, values };
        device.oracle.recorded_write(id, Rc::new(write));
    }

    /// A person looks at what was refused: has it mended and tries again, or throws it away.
    pub(super) fn decide_about_refused(&mut self, chosen: usize) -> Checked {
        let refused = self.devices[chosen].engine.rejected().map_err(|error| error.to_string())?;
        if refused.is_empty() {
            return Ok(());
        }
        let id = self.random.one_of(&refused).id;
        let kept = self.server.poison.contains(&id) || self.server.huge.contains(&id);
        if kept && self.random.chance(30) {
            if self.dare(chosen, |device| device.engine.discard(id))?.is_some() || !self.lists(chosen, id)? {
                self.discarded.insert(id);
            }
        } else {
            if !self.discarded.contains(&id) && self.random.chance(60) {
                self.server.mend(id);
            }
            if self.dare(chosen, |device| device.engine.retry(id))?.is_some() || !self.lists(chosen, id)? {
                self.devices[chosen].oracle.retried(id);
            }
        }
        let name = self.devices[chosen].name.clone();
        self.tell(&name, |world| {
            let what = if world.discarded.contains(&id) { "discards" } else { "tries again" };
            format!("{what} {id}")
        });
        Ok(())
    }

    /// Whether a refused mutation is still set aside.
    fn lists(&self, chosen: usize, id: MutationId) -> Result<bool, String> {
        let refused = self.devices[chosen].engine.rejected().map_err(|error| error.to_string())?;
        Ok(refused.iter().any(|mutation| mutation.id == id))
    }

    /// What nobody asked for, as often as the plan says.
    pub(super) fn strike(&mut self) -> Checked {
        let mut comes = BTreeMap::new();
        for (name, per_mille) in [
            ("crash", self.plan.crashes),
            ("upgrade", self.plan.upgrades),
            ("copy", self.plan.copies),
            ("set back", self.plan.set_backs),
            ("save", self.plan.set_backs * 3),
            ("clock", self.plan.clock_steps),
            ("journey", self.plan.journeys),
            ("no token", self.plan.tokens_away),
            ("worker", self.plan.server_writes),
            ("pause", self.plan.long_pauses),
            ("token", self.plan.troubled * 2),
        ] {
            comes.insert(name, self.random.within(0..=999) < per_mille);
        }
        let chosen = self.some_device();
        if comes["crash"] {
            let files = self.devices[chosen].disk.as_it_is();
            self.die(chosen, files)?;
            self.check(chosen)?;
        }
        if comes["upgrade"] {
            self.upgrade(chosen)?;
        }
        if comes["copy"] && self.devices.len() < 6 {
            self.copy(chosen)?;
        }
        if comes["save"] {
            self.server.save(self.now_ms);
            self.tell("server", |_| "is saved".to_owned());
        }
        if comes["set back"] {
            let choice = usize::try_from(self.random.within(0..=99)).expect("small");
            if self.server.set_back(choice, self.oldest_set_back()) {
                self.tell("server", |_| "is set back to an earlier state".to_owned());
            }
        }
        if comes["clock"] {
            let skew = self.some_skew();
            self.devices[chosen].skew_ms = skew;
            let name = self.devices[chosen].name.clone();
            self.tell(&name, |_| format!("has its clock {} minutes ahead", skew / MINUTE_MS));
        }
        if comes["journey"] {
            self.devices[chosen].travel(&mut self.random);
            let name = self.devices[chosen].name.clone();
            self.tell(&name, |world| format!("is in {:?} now", world.devices[chosen].place));
            self.check(chosen)?;
        }
        if comes["no token"] {
            self.devices[chosen].no_token_until = self.now_ms + HOUR_MS;
            self.devices[chosen].good_token = false;
            let name = self.devices[chosen].name.clone();
            self.tell(&name, |_| "has no token for an hour".to_owned());
        }
        if comes["worker"] {
            self.work(chosen);
        }
        if comes["pause"] {
            let days = *self.random.one_of(&[1, 3, 35]);
            self.now_ms += days * DAY_MS;
            self.tell("world", |_| format!("sleeps for {days} days"));
        }
        self.devices[chosen].good_token &= !comes["token"];
        Ok(())
    }

    /// The backend's own jobs write to one user's exports, and delete things.
    fn work(&mut self, chosen: usize) {
        let user = self.devices[chosen].user;
        let Some(books) = self.server.books.get(&user) else { return };
        let exports: Vec<String> = books
            .rows
            .keys()
            .filter(|(table, _)| table == "export_history")
            .map(|(_, key)| key.clone())
            .collect();
        let sessions: Vec<MutationId> = books
            .facts
            .iter()
            .filter(|(_, fact)| fact.kind == FactKind::Session)
            .map(|(id, _)| *id)
            .collect();
        match self.random.within(0..=5) {
            0 if !sessions.is_empty() => {
                let id = *self.random.one_of(&sessions);
                self.server.delete_fact(user, id);
                self.tell("server", |_| format!("deletes session {id}"));
            }
            1 if !exports.is_empty() => {
                let key = self.random.one_of(&exports).clone();
                self.server.delete_export(user, &key);
                self.tell("server", |_| format!("deletes export {key}"));
            }
            2 if !exports.is_empty() => {
                let key = self.random.one_of(&exports).clone();
                self.server.write_odd_values(user, &key, self.now_ms);
                self.tell("server", |_| format!("has odd values in export {key} and in the progress"));
            }
            _ if !exports.is_empty() => {
                let key = self.random.one_of(&exports).clone();
                let status = *self.random.one_of(&["processing", "completed", "failed"]);
                self.server.work_on_export(user, &key, status, self.now_ms);
                self.tell("server", |_| format!("sets export {key} to {status}"));
            }
            _ => {}
        }
    }
}

/// Whether it makes a row, whose id a real server can be told to refuse.
fn is_insert(change: &Change) -> bool {
    matches!(change, Change::RecordSession(_) | Change::RecordEvent(_) | Change::CreateExport(_))
}
