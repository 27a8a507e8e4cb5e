//! A disk in memory for SQLite: it remembers what was synced, fails at a chosen operation, and loses its power.
//!
//! The mirrors of the seeded worlds live on such disks, and the tests of failing storage break them. One connection at a
//! time may have a file open: locks are granted to everybody.

mod drive;
mod vfs;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use marea_core::Location;

use crate::random::Random;
use drive::Drive;
pub use drive::{Fault, Files, How};

/// All disks that exist, by number: SQLite knows only names.
static DISKS: LazyLock<Mutex<BTreeMap<u64, Arc<Mutex<Drive>>>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The name of the one file that a mirror is; its journal lies beside it.
const MIRROR: &str = "mirror";

/// A disk that goes away when this is dropped.
#[derive(Debug)]
pub struct Disk {
    number: u64,
    drive: Arc<Mutex<Drive>>,
}

impl Disk {
    /// An empty disk.
    pub fn new() -> Disk {
        Disk::with(Files::default())
    }

    /// A disk with these files on it, all of them durable.
    pub fn with(files: Files) -> Disk {
        vfs::register();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let drive = Arc::new(Mutex::new(Drive::with(files)));
        lock(&DISKS).insert(number, Arc::clone(&drive));
        Disk { number, drive }
    }

    /// The mirror on this disk, as a desktop opens it: its log's index in shared memory.
    pub fn on_desktop(&self) -> Location {
        Location::File(PathBuf::from(self.address()))
    }

    /// The mirror on this disk, as a browser opens it: by itself alone.
    pub fn in_browser(&self) -> Location {
        Location::Vfs(self.address())
    }

    /// What SQLite opens.
    pub fn address(&self) -> String {
        format!("file:/{}/{MIRROR}?vfs={}", self.number, vfs::NAME)
    }

    /// Counts from now on; at the `at`-th operation that changes something (the first is 0) the fault strikes.
    pub fn break_at(&self, at: u64, fault: Fault) {
        lock(&self.drive).break_at(at, fault);
    }

    /// No fault any more; returns how many changing operations there were since [`Disk::break_at`].
    pub fn mend(&self) -> u64 {
        lock(&self.drive).mend()
    }

    /// What a [`Fault::Crash`] found, if it has struck.
    pub fn found_at_crash(&self) -> Option<Files> {
        lock(&self.drive).found.take()
    }

    /// The files as a program that starts now finds them, after one that died.
    pub fn as_it_is(&self) -> Files {
        lock(&self.drive).files()
    }
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::new()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&DISKS).remove(&self.number);
    }
}

impl Files {
    /// What is left of them when the power fails: what was synced, and of the rest whatever the disk had got to.
    #[must_use]
    pub fn after_power_cut(self, random: &mut Random) -> Files {
        self.cut(random)
    }

    /// The bytes of the mirror's file.
    pub fn mirror(&self) -> &[u8] {
        self.content(MIRROR)
    }

    /// A disk's worth of files: only a mirror's, with these bytes.
    pub fn of_mirror(bytes: Vec<u8>) -> Files {
        Files::of(MIRROR, bytes)
    }
}

/// A panic while a disk was locked has been told already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The disk of a path `/NUMBER/NAME`, and the name.
fn find(path: &str) -> Option<(Arc<Mutex<Drive>>, &str)> {
    let (number, name) = path.strip_prefix('/')?.split_once('/')?;
    let drive = lock(&DISKS).get(&number.parse().ok()?).cloned()?;
    Some((drive, name))
}
