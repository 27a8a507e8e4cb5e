//! What is on a disk: bytes that programs see, bytes that are durable, and the writes in between.

use std::collections::BTreeMap;

use rusqlite::ffi;

use crate::random::Random;

/// What a power cut may tear a write into.
const SECTOR: usize = 512;

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and all is well afterwards.
    Once(How),
    /// It fails, and so does every later one until the disk is mended.
    ForGood(How),
    /// Right before it, the files are kept as they are: what a program finds after a crash at this moment.
    Crash,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The device does not do it.
    Error,
    /// There is no space left. A write may have been done in part.
    Full,
}

/// An operation that changes something, as far as its failure differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Open,
    Write,
    Sync,
    Truncate,
    Delete,
    Memory,
}

impl Operation {
    fn code(self, how: How) -> i32 {
        match (self, how) {
            (Operation::Open | Operation::Write | Operation::Sync | Operation::Memory, How::Full) => {
                ffi::SQLITE_FULL
            }
            (Operation::Open, How::Error) => ffi::SQLITE_CANTOPEN,
            (Operation::Write, How::Error) => ffi::SQLITE_IOERR_WRITE,
            (Operation::Sync, How::Error) => ffi::SQLITE_IOERR_FSYNC,
            (Operation::Memory, How::Error) => ffi::SQLITE_IOERR_SHMMAP,
            // No space is needed for less.
            (Operation::Truncate, _) => ffi::SQLITE_IOERR_TRUNCATE,
            (Operation::Delete, _) => ffi::SQLITE_IOERR_DELETE,
        }
    }
}

/// A change, with what undoes it.
#[derive(Clone, Debug)]
struct Change {
    what: What,
    /// The size before.
    size: usize,
    /// What stood where this wrote, or behind where it cut.
    before: Vec<u8>,
}

#[derive(Clone, Debug)]
enum What {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { size: usize },
}

/// One file.
#[derive(Clone, Debug, Default)]
struct File {
    /// As programs see it.
    now: Vec<u8>,
    /// What was changed since the last sync.
    since: Vec<Change>,
    /// Whether its name is durable: from its first sync on.
    is_entered: bool,
}

impl File {
    fn change(&mut self, what: What) {
        let from = match &what {
            What::Write { at, bytes } => *at..at + bytes.len(),
            What::Truncate { size } => *size..self.now.len(),
        };
        let (start, end) = (from.start.min(self.now.len()), from.end.min(self.now.len()));
        let before = self.now[start..end.max(start)].to_vec();
        let size = self.now.len();
        what.apply(&mut self.now);
        self.since.push(Change { what, size, before });
    }
}

impl What {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            What::Write { at, bytes } => write_over(content, *at, bytes),
            What::Truncate { size } => content.truncate(*size),
        }
    }

    fn start(&self) -> usize {
        match self {
            What::Write { at, .. } => *at,
            What::Truncate { size } => *size,
        }
    }
}

fn write_over(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at {
        content.resize(at, 0);
    }
    let over = bytes.len().min(content.len() - at);
    content[at..at + over].copy_from_slice(&bytes[..over]);
    content.extend_from_slice(&bytes[over..]);
}

/// All files of a disk at one moment.
#[derive(Clone, Debug, Default)]
pub struct Files {
    there: BTreeMap<String, File>,
    /// Deleted, but the folder was not synced since: a power cut may bring them back.
    leaving: BTreeMap<String, File>,
}

/// The disk.
#[derive(Debug, Default)]
pub(super) struct Drive {
    files: Files,
    /// Shared memory of write-ahead logs: belongs to programs, so no crash leaves anything of it.
    pub(super) memory: BTreeMap<String, Vec<Box<[u64]>>>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    pub(super) found: Option<Files>,
}

impl Drive {
    pub(super) fn with(files: Files) -> Drive {
        Drive { files, ..Drive::default() }
    }

    pub(super) fn files(&self) -> Files {
        self.files.clone()
    }

    pub(super) fn break_at(&mut self, at: u64, fault: Fault) {
        self.operations = 0;
        self.found = None;
        self.fault = Some((at, fault));
    }

    pub(super) fn mend(&mut self) -> u64 {
        self.fault = None;
        self.operations
    }

    /// Counts an operation; the code with which it is to fail, or none.
    pub(super) fn begin(&mut self, operation: Operation) -> Result<(), i32> {
        let place = self.operations;
        self.operations += 1;
        let Some((at, fault)) = self.fault else { return Ok(()) };
        match fault {
            Fault::Crash if place == at => {
                self.found = Some(self.files.clone());
                Ok(())
            }
            Fault::Once(how) if place == at => Err(operation.code(how)),
            Fault::ForGood(how) if place >= at => Err(operation.code(how)),
            _ => Ok(()),
        }
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.files.there.contains_key(name)
    }

    pub(super) fn create(&mut self, name: &str) {
        self.files.there.entry(name.to_owned()).or_default();
    }

    pub(super) fn delete(&mut self, name: &str, is_durable: bool) -> bool {
        let Some(file) = self.files.there.remove(name) else { return false };
        if is_durable || !file.is_entered {
            self.files.leaving.remove(name);
        } else {
            self.files.leaving.insert(name.to_owned(), file);
        }
        true
    }

    pub(super) fn size(&self, name: &str) -> usize {
        self.files.content(name).len()
    }

    /// Fills the buffer; what is beyond the end reads as zeros. Says whether all of it was there.
    pub(super) fn read(&self, name: &str, at: usize, buffer: &mut [u8]) -> bool {
        let there = self.files.content(name).get(at..).unwrap_or_default();
        let length = there.len().min(buffer.len());
        buffer[..length].copy_from_slice(&there[..length]);
        buffer[length..].fill(0);
        length == buffer.len()
    }

    pub(super) fn write(&mut self, name: &str, at: usize, bytes: &[u8]) {
        self.change(name, What::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn truncate(&mut self, name: &str, size: usize) {
        self.change(name, What::Truncate { size });
    }

    fn change(&mut self, name: &str, what: What) {
        if let Some(file) = self.files.there.get_mut(name) {
            file.change(what);
        }
    }

    pub(super) fn sync(&mut self, name: &str) {
        if let Some(file) = self.files.there.get_mut(name) {
            file.since.clear();
            file.is_entered = true;
            // Entering the name syncs the folder.
            self.files.leaving.clear();
        }
    }
}

impl Files {
    pub(super) fn of(name: &str, bytes: Vec<u8>) -> Files {
        let file = File { now: bytes, since: Vec::new(), is_entered: true };
        Files { there: BTreeMap::from([(name.to_owned(), file)]), leaving: BTreeMap::new() }
    }

    pub(super) fn content(&self, name: &str) -> &[u8] {
        self.there.get(name).map(|file| file.now.as_slice()).unwrap_or_default()
    }

    /// Each unsynced write was done, or not, or in part, in whatever order the disk liked.
    pub(super) fn cut(self, random: &mut Random) -> Files {
        let back = self.leaving.into_iter().filter(|_| random.chance(50)).collect::<Vec<_>>();
        let mut left = Files::default();
        for (name, file) in self.there.into_iter().chain(back) {
            if !file.is_entered && random.chance(50) {
                continue;
            }
            let content = torn(file, random);
            // A file that came back loses to one that was made since under its name.
            left.there.entry(name).or_insert(content);
        }
        left
    }
}

fn torn(file: File, random: &mut Random) -> File {
    let mut content = file.now;
    for change in file.since.iter().rev() {
        write_over(&mut content, change.what.start().min(change.size), &change.before);
        content.truncate(change.size);
    }
    // Some power cuts lose all that was not synced, some nothing, most a part.
    let kept = *random.one_of(&[0, 50, 90, 100]);
    for change in file.since {
        if !random.chance(kept) {
            continue;
        }
        match change.what {
            What::Write { at, bytes } if kept < 100 && random.chance(30) => {
                for (place, sector) in bytes.chunks(SECTOR).enumerate() {
                    let at = at + place * SECTOR;
                    match random.within(0..=9) {
                        0..=5 => write_over(&mut content, at, sector),
                        6 => {
                            let garbage: Vec<u8> =
                                sector.iter().map(|_| random.bits().to_le_bytes()[0]).collect();
                            write_over(&mut content, at, &garbage);
                        }
                        _ => {}
                    }
                }
            }
            what => what.apply(&mut content),
        }
    }
    File { now: content, since: Vec::new(), is_entered: true }
}
