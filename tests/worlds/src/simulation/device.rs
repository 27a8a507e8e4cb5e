//! One device: the engine on a disk of its own, a clock that may be wrong, and what a crash or a copy makes of it.

use marea_core::{
    Engine, Error, LocalDate, MutationId, Now, Outgoing, Ticket, Timestamp, UnixMillis, UserId, Zone as _,
};

use super::oracle::Oracle;
use super::told::Watcher;
use super::zones::Place;
use crate::disk::{Disk, Fault, Files};
use crate::mirror;
use crate::random::{Random, Seeded};

pub(super) struct Device {
    pub(super) name: String,
    pub(super) user: UserId,
    pub(super) engine: Engine,
    /// Unlike every other life of any device.
    pub(super) life: u32,
    pub(super) waiting: Option<Ticket>,
    /// The request for the page behind the one that is being applied.
    pub(super) ahead: Option<Outgoing>,
    pub(super) skew_ms: i64,
    pub(super) place: Place,
    pub(super) good_token: bool,
    /// Until then the app has no fresh token to give, by true time.
    pub(super) no_token_until: i64,
    pub(super) oracle: Oracle,
    pub(super) watcher: Watcher,
    pub(super) disk: Disk,
    /// The queue and the exchanges with the server, as they were before the call in which it died last.
    remembered: (Vec<MutationId>, i64),
    /// A browser's mirror, which nobody else opens; else a desktop's.
    is_browser: bool,
}

impl Device {
    pub(super) fn new(name: String, user: UserId, life: u32, random: &mut Random) -> Result<Device, String> {
        // Making the tables is the dearest part of a short life: most devices find them made.
        let files = if random.chance(10) { Files::default() } else { mirror::empty_files() };
        let is_browser = random.chance(50);
        let place = Place::some(random);
        let (mut engine, disk) = start(files, is_browser, (user, &place), random)?;
        Ok(Device {
            watcher: Watcher::new(&mut engine)?,
            engine,
            place,
            oracle: Oracle::new(user),
            name,
            user,
            life,
            waiting: None,
            ahead: None,
            skew_ms: 0,
            good_token: true,
            no_token_until: 0,
            disk,
            remembered: Default::default(),
            is_browser,
        })
    }

    /// The device's reading of its clock.
    pub(super) fn now(&self, true_ms: i64) -> Now {
        let unix_ms = UnixMillis(true_ms + self.skew_ms);
        Now { unix_ms, utc_offset_minutes: self.place.utc_offset_minutes(Timestamp::from_millis(unix_ms)) }
    }

    /// The learner's day of an instant, where it is.
    pub(super) fn day_of(&self, at: Timestamp) -> LocalDate {
        at.local_date(self.place.utc_offset_minutes(at))
    }

    /// Somebody takes it to another place.
    pub(super) fn travel(&mut self, random: &mut Random) {
        self.place = Place::some(random);
        self.engine.set_zone(Box::new(self.place.clone()));
    }

    /// Dies without a word and starts again on these files.
    pub(super) fn start_again(&mut self, files: Files, life: u32, random: &mut Random) -> Result<(), String> {
        let (mut engine, disk) = start(files, self.is_browser, (self.user, &self.place), random)?;
        self.watcher = Watcher::new(&mut engine)?;
        // The old engine goes before its disk, and neither can touch the new one.
        self.engine = engine;
        self.disk = disk;
        self.life = life;
        self.waiting = None;
        self.ahead = None;
        Ok(())
    }

    /// A second device made of this one's files, with all that is queued in them.
    pub(super) fn copy(&self, name: String, life: u32, random: &mut Random) -> Result<Device, String> {
        let place = Place::some(random);
        let (mut engine, disk) = start(self.disk.as_it_is(), self.is_browser, (self.user, &place), random)?;
        Ok(Device {
            watcher: Watcher::new(&mut engine)?,
            engine,
            place,
            oracle: self.oracle.clone(),
            name,
            user: self.user,
            life,
            waiting: None,
            ahead: None,
            skew_ms: self.skew_ms,
            good_token: self.good_token,
            no_token_until: self.no_token_until,
            disk,
            remembered: Default::default(),
            is_browser: self.is_browser,
        })
    }

    /// What an older program would have left on this disk at this moment: a mirror of that version.
    pub(super) fn files_of_version(&self, version: u32) -> Files {
        mirror::files_of_version(self.disk.as_it_is(), version)
    }

    /// Keeps what will be asked about after a call in which the device dies.
    pub(super) fn remember(&mut self) -> Result<(), String> {
        self.remembered = (self.queued()?, self.exchanges());
        Ok(())
    }

    /// A mutation that is in the queue, and was not before the call in which the device died.
    pub(super) fn newly_queued(&self) -> Result<Option<MutationId>, String> {
        Ok(self.queued()?.into_iter().find(|id| !self.remembered.0.contains(id)))
    }

    /// Whether the call in which the device died had made an exchange with the server durable.
    pub(super) fn has_exchanged(&self) -> bool {
        self.exchanges() > self.remembered.1
    }

    /// How many exchanges are in the journal: an answer and its entry are kept together.
    fn exchanges(&self) -> i64 {
        let copy = Disk::with(self.disk.as_it_is());
        let connection = rusqlite::Connection::open(copy.address()).expect("a mirror");
        let sql = "SELECT coalesce(max(seq), 0) FROM journal";
        connection.query_row(sql, [], |row| row.get(0)).expect("a journal")
    }

    fn queued(&self) -> Result<Vec<MutationId>, String> {
        let queued = self.engine.pending().map_err(|error| error.to_string())?;
        Ok(queued.iter().map(|mutation| mutation.id).collect())
    }
}

/// One of the first operations of a call, early ones more often.
pub(super) fn some_place(random: &mut Random) -> u64 {
    let most = random.within(0..=80);
    random.within(0..=most).unsigned_abs()
}

/// Opens the mirror in these files. The first attempt may be cut short by a crash or a power cut.
fn start(
    files: Files,
    is_browser: bool,
    (user, place): (UserId, &Place),
    random: &mut Random,
) -> Result<(Engine, Disk), String> {
    // Making the tables has the most to lose, and few devices do it.
    let cut_short = if files.mirror().is_empty() { 60 } else { 20 };
    let mut disk = Disk::with(files);
    if random.chance(cut_short) {
        disk.break_at(some_place(random), Fault::Crash);
        drop(open(&disk, is_browser, user, random));
        disk.mend();
        if let Some(files) = disk.found_at_crash() {
            let is_cut = random.chance(50);
            disk = Disk::with(if is_cut { files.after_power_cut(random) } else { files });
        }
    }
    let mut engine =
        open(&disk, is_browser, user, random).map_err(|error| format!("no mirror opens: {error}"))?;
    engine.set_zone(Box::new(place.clone()));
    Ok((engine, disk))
}

fn open(disk: &Disk, is_browser: bool, user: UserId, random: &mut Random) -> Result<Engine, Error> {
    let entropy = Box::new(Seeded(Random::of_seed(random.bits())));
    let now = Now { unix_ms: UnixMillis(0), utc_offset_minutes: 0 };
    let location = if is_browser { disk.in_browser() } else { disk.on_desktop() };
    Engine::open(&location, user, entropy, now)
}
