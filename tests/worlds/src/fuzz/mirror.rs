//! Damaged mirror files: they open or are refused by a typed error, and no call on them does more than fail.
//!
//! An input is a list of changes to a sound file, so that it stays small and goes with every version of the schema: ten
//! bytes each, a kind, a place and a value.

use std::sync::LazyLock;

use marea_core::{Error, Signal};

use super::answer::{now, open, read_everything, some_changes};
use crate::disk::{Disk, Files};
use crate::random::Random;

const CHANGE: usize = 10;
const PAGE: usize = 4096;

/// A sound mirror with a queue.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let disk = Disk::new();
    let mut engine = open(&disk.on_desktop()).expect("a mirror");
    for change in some_changes() {
        engine.mutate(change, now()).expect("recorded");
    }
    engine.close().expect("closed");
    disk.as_it_is().mirror().to_vec()
});

pub(super) fn feed(input: &[u8]) {
    let disk = Disk::with(Files::of_mirror(damaged(input)));
    let mut engine = match open(&disk.on_desktop()) {
        Ok(engine) => engine,
        Err(error) => return assert_typed(&error),
    };
    let expect_typed = |done: Result<(), Error>| done.err().iter().for_each(assert_typed);
    expect_typed(read_everything(&engine));
    for change in some_changes() {
        expect_typed(engine.mutate(change, now()).map(drop));
    }
    engine.signal(Signal::SyncNow, now());
    expect_typed(engine.next_request(now()).map(drop));
    expect_typed(engine.rebuild_visible());
    expect_typed(read_everything(&engine));
}

/// All codes are documented; this asks for those that a bad file may lead to.
fn assert_typed(error: &Error) {
    let code = error.code();
    let expected =
        ["mirror_corrupt", "mirror_newer", "wrong_user", "storage_failed", "storage_full", "internal"];
    assert!(expected.contains(&code), "{code} for a damaged file");
}

fn damaged(input: &[u8]) -> Vec<u8> {
    let mut file = SOUND.clone();
    for change in input.chunks_exact(CHANGE) {
        let place = u64::from_le_bytes(change[1..9].try_into().expect("eight bytes"));
        let at = usize::try_from(place % file.len().max(1) as u64).unwrap_or(0);
        let value = change[9];
        match change[0] % 6 {
            _ if file.is_empty() => {}
            0 => file[at] ^= 1 << (value % 8),
            1 => file[at] = value,
            // The header and the pages' own headers decide more than the rest.
            2 => set(&mut file, at % 100, value),
            3 => set(&mut file, at / PAGE * PAGE + usize::from(value) % 12, value),
            4 => file.truncate(at),
            _ => {
                let (from, to) = (at / PAGE * PAGE, usize::from(value) * PAGE % file.len() / PAGE * PAGE);
                let end = (from + PAGE).min(file.len());
                let page = file[from..end].to_vec();
                let room = page.len().min(file.len() - to);
                file[to..to + room].copy_from_slice(&page[..room]);
            }
        }
    }
    file
}

/// A file that was cut short may not reach so far.
fn set(file: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = file.get_mut(at) {
        *byte = value;
    }
}

pub(super) fn grow(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut input = if random.chance(50) { seed.to_vec() } else { Vec::new() };
    for _ in 0..random.within(1..=12) {
        let kind = *random.one_of(&[0, 0, 1, 1, 2, 3, 3, 4, 5]);
        input.push(kind);
        input.extend(random.bits().to_le_bytes());
        input.push(random.bits().to_le_bytes()[0]);
    }
    input
}
