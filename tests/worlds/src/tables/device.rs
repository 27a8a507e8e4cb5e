//! One device of a world of tables: the engine on a disk of its own, and what it was told and has recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use marea_core::{Engine, Error, ListQuery, MutationId, Now, SyncAnswer, Ticket, UnixMillis, UserId};
use serde_json::Value;

use super::catalogue::Described;
use super::server::{Place, Taken};
use super::sessions::TABLE;
use super::told::Told;
use crate::disk::{Disk, Files};
use crate::mirror;
use crate::random::{Random, Seeded};

/// What the server had of each row.
pub(super) type Known = Rc<BTreeMap<Place, Taken>>;

/// Rows as a device shows them.
pub(super) type Shown = BTreeMap<Place, String>;

pub(super) struct Device {
    pub(super) engine: Engine,
    disk: Disk,
    user: UserId,
    /// The app's own description; `None`: it learns the server's.
    pub(super) brings: Option<Described>,
    pub(super) life: u32,
    pub(super) waiting: Option<Ticket>,
    skew_ms: i64,
    /// What it, or the device it is a copy of, has recorded.
    pub(super) own: BTreeSet<MutationId>,
    /// What it has heard to be refused, and counts only once the server has it.
    pub(super) refused: BTreeSet<MutationId>,
    pub(super) told: Vec<Known>,
    /// What was refused and is tried again: whether it is shown before the server has it depends on the rest of the row.
    pub(super) retried: BTreeSet<MutationId>,
    pub(super) knows: Told,
    subscription: marea_core::Subscription,
    pub(super) shown: Shown,
    /// It has had an older catalogue after a newer one: of a column that comes back it has the additions before it has the sum.
    pub(super) went_back: bool,
}

fn text(error: Error) -> String {
    error.to_string()
}

impl Device {
    pub(super) fn new(
        user: UserId,
        brings: Option<Described>,
        life: u32,
        random: &mut Random,
    ) -> Result<Device, String> {
        let skew_ms = -random.within(0..=2) * 60_000;
        let none = (BTreeSet::new(), BTreeSet::new(), vec![Known::default()]);
        Device::on(mirror::empty_files(), user, brings, (life, skew_ms), none, random)
    }

    fn on(
        files: Files,
        user: UserId,
        brings: Option<Described>,
        (life, skew_ms): (u32, i64),
        (own, refused, told): (BTreeSet<MutationId>, BTreeSet<MutationId>, Vec<Known>),
        random: &mut Random,
    ) -> Result<Device, String> {
        let disk = Disk::with(files);
        let now = Now { unix_ms: UnixMillis(0), utc_offset_minutes: 0 };
        let entropy = Box::new(Seeded(Random::of_seed(random.bits())));
        let mut engine = Engine::open(&disk.in_browser(), user, entropy, now).map_err(text)?;
        let subscription = engine.subscribe();
        let catalogue = brings.as_ref().map(Described::catalogue);
        engine.use_catalogue(catalogue.as_ref(), now).map_err(text)?;
        let waiting = None;
        let mut device = Device {
            engine,
            disk,
            user,
            brings,
            life,
            waiting,
            skew_ms,
            own,
            refused,
            told,
            subscription,
            shown: Shown::new(),
            went_back: false,
            retried: BTreeSet::new(),
            knows: Told::default(),
        };
        device.shown = device.rows()?;
        device.engine.take_changed_rows(device.subscription);
        Ok(device)
    }

    pub(super) fn now(&self, true_ms: i64) -> Now {
        Now { unix_ms: UnixMillis(true_ms + self.skew_ms), utc_offset_minutes: 0 }
    }

    /// Dies without a word and starts again.
    pub(super) fn start_again(&mut self, life: u32, random: &mut Random) -> Result<(), String> {
        *self = self.copied(self.skew_ms, life, random)?;
        Ok(())
    }

    /// Another device made of this one's files.
    pub(super) fn copied(&self, skew_ms: i64, life: u32, random: &mut Random) -> Result<Device, String> {
        let known = (self.own.clone(), self.refused.clone(), self.told.clone());
        let mut device =
            Device::on(self.disk.as_it_is(), self.user, self.brings.clone(), (life, skew_ms), known, random)?;
        (device.went_back, device.retried) = (self.went_back, self.retried.clone());
        device.knows = self.knows.clone();
        Ok(device)
    }

    /// The app is updated, and brings another description.
    pub(super) fn brings_another(&mut self, described: Described, now_ms: i64) -> Result<(), String> {
        let (now, before) = (self.now(now_ms), self.rows()?);
        self.engine.use_catalogue(Some(&described.catalogue()), now).map_err(text)?;
        let after = self.rows()?;
        let stays = |place: &&Place| described.table(&place.0).is_some();
        if let Some(place) = before.keys().filter(stays).find(|place| !after.contains_key(*place)) {
            return Err(format!("{place:?} is shown no more once another app has described its table"));
        }
        for (place, before) in &before {
            let parsed = |json: &String| serde_json::from_str::<Value>(json).expect("JSON");
            let (Some(after), before) = (after.get(place).map(parsed), parsed(before)) else { continue };
            let lost = |(name, value): (&String, &Value)| {
                !value.is_null() && after.get(name).is_some_and(Value::is_null)
            };
            if before.as_object().expect("a row").iter().any(lost) {
                return Err(format!(
                    "{place:?} was {before}, and is {after} once another app has described its table"
                ));
            }
        }
        self.went_back |= self.brings.as_ref().is_some_and(|before| before.version > described.version);
        self.brings = Some(described);
        self.knows.forget();
        // What it asked for before counts for nothing where the tables are others.
        self.waiting.take_if(|ticket| !self.engine.awaits(*ticket));
        Ok(())
    }

    /// The app is updated, and learns the tables from the server from now on.
    pub(super) fn learns(&mut self, now_ms: i64) -> Result<(), String> {
        let now = self.now(now_ms);
        self.engine.use_catalogue(None, now).map_err(text)?;
        self.brings = None;
        Ok(())
    }

    /// How many changes wait. There is nothing that it cannot read.
    pub(super) fn pending(&self, now: Now) -> Result<u32, String> {
        let status = self.engine.status(now).map_err(text)?;
        let unreadable = status.unreadable;
        if unreadable.is_empty() { Ok(status.pending) } else { Err(format!("cannot read {unreadable:?}")) }
    }

    pub(super) fn user(&self) -> UserId {
        self.user
    }

    pub(super) fn tables(&self) -> Vec<String> {
        self.engine
            .catalogue()
            .map_or_else(Vec::new, |catalogue| catalogue.tables().map(str::to_owned).collect())
    }

    /// All rows that it shows.
    pub(super) fn rows(&self) -> Result<Shown, String> {
        let mut shown = Shown::new();
        for table in self.tables() {
            let all = ListQuery { limit: Some(1_000), ..ListQuery::default() };
            for row in self.engine.list_rows(&table, &all).map_err(text)? {
                let values: Value = serde_json::from_str(&row).expect("JSON");
                let key = if table == TABLE { &values["id"] } else { &values["k"] };
                let key = key.as_str().expect("a key").to_owned();
                if self.engine.get_row(&table, &key).map_err(text)?.as_ref() != Some(&row) {
                    return Err(format!("{table} {key} is listed as another row"));
                }
                shown.insert((table.clone(), key), row);
            }
        }
        Ok(shown)
    }

    /// Who watches was told of every row that is shown otherwise than before.
    pub(super) fn check_told(&mut self) -> Result<(), String> {
        let (before, now) = (std::mem::take(&mut self.shown), self.rows()?);
        let changes = self.engine.take_changed_rows(self.subscription);
        let is_told = |place: &Place| {
            changes.iter().any(|change| {
                change.table.name() == place.0
                    && change.keys.as_ref().is_none_or(|keys| keys.contains(&place.1))
            })
        };
        for place in before.keys().chain(now.keys()) {
            if before.get(place) != now.get(place) && !is_told(place) {
                return Err(format!("nobody was told that {place:?} is {:?}", now.get(place)));
            }
        }
        self.shown = now;
        Ok(())
    }

    /// The visible rows are those that the confirmed ones and the queue come to.
    pub(super) fn check_rebuilt(&mut self) -> Result<(), String> {
        let before = self.rows()?;
        self.engine.rebuild_visible().map_err(text)?;
        let after = self.rows()?;
        match before.keys().chain(after.keys()).find(|place| before.get(*place) != after.get(*place)) {
            None => Ok(()),
            Some(place) => {
                let (before, after) = (before.get(place), after.get(place));
                Err(format!("shows {after:?} of {place:?} once it is made anew, and {before:?} before"))
            }
        }
    }

    pub(super) fn heard(&mut self, answer: &SyncAnswer, known: &Known) {
        if !answer.reset {
            let refused =
                answer.results.iter().filter(|result| result.status == marea_core::ResultStatus::Rejected);
            self.refused.extend(refused.map(|result| result.id));
        }
        // Rows without a write of this device are shown as they come, also those of a page that is not the last.
        self.told.push(Rc::clone(known));
        if answer.catalogue.is_some() {
            self.knows.forget();
        }
        self.knows.heard(answer);
    }
}
