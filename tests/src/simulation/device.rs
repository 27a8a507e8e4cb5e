//! One device: the engine on a real file, a clock that may be wrong, and what a crash or a copy makes of it.

use std::path::{Path, PathBuf};

use marea_core::{Engine, Entropy, Error, Location, Now, Ticket, UnixMillis, UserId};

use super::oracle::Oracle;
use crate::random::Random;

/// Randomness of a seed, for an engine.
struct Seeded(Random);

impl Entropy for Seeded {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.0.bits().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

pub(super) struct Device {
    pub(super) name: String,
    pub(super) user: UserId,
    pub(super) engine: Engine,
    /// Unlike every other life of any device.
    pub(super) life: u32,
    pub(super) waiting: Option<Ticket>,
    pub(super) skew_ms: i64,
    pub(super) good_token: bool,
    pub(super) oracle: Oracle,
    path: PathBuf,
}

impl Device {
    pub(super) fn new(name: String, user: UserId, life: u32, folder: &Path, random: &mut Random) -> Device {
        let path = folder.join(format!("{life}.sqlite3"));
        Device {
            engine: open(&path, user, random),
            oracle: Oracle::new(user),
            name,
            user,
            life,
            waiting: None,
            skew_ms: 0,
            good_token: true,
            path,
        }
    }

    /// The device's reading of its clock.
    pub(super) fn now(&self, true_ms: i64) -> Now {
        Now { unix_ms: UnixMillis(true_ms + self.skew_ms), utc_offset_minutes: 60 }
    }

    /// Dies without a word and starts again on the file as it was at that moment.
    pub(super) fn crash(&mut self, life: u32, random: &mut Random) {
        let reborn = self.copy_files(life);
        self.engine = open(&reborn, self.user, random);
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(with_suffix(&self.path, suffix));
        }
        self.path = reborn;
        self.life = life;
        self.waiting = None;
    }

    /// A second device made of this one's file, with all that is queued in it.
    pub(super) fn copy(&self, name: String, life: u32, random: &mut Random) -> Device {
        let path = self.copy_files(life);
        Device {
            engine: open(&path, self.user, random),
            oracle: self.oracle.clone(),
            name,
            user: self.user,
            life,
            waiting: None,
            skew_ms: self.skew_ms,
            good_token: self.good_token,
            path,
        }
    }

    /// Between two calls of the engine the file and its log together are what a crash would leave.
    fn copy_files(&self, life: u32) -> PathBuf {
        let copy = self.path.with_file_name(format!("{life}.sqlite3"));
        for suffix in ["", "-wal"] {
            let from = with_suffix(&self.path, suffix);
            if from.exists() {
                std::fs::copy(from, with_suffix(&copy, suffix)).expect("a copy of the mirror");
            }
        }
        copy
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn open(path: &Path, user: UserId, random: &mut Random) -> Engine {
    let entropy = Box::new(Seeded(Random::of_seed(random.bits())));
    let now = Now { unix_ms: UnixMillis(0), utc_offset_minutes: 0 };
    Engine::open(&Location::File(path.to_owned()), user, entropy, now).expect("a mirror")
}
