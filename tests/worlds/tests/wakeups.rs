//! Seeded worlds of wake-ups: everybody has everything in the end, nobody waits or asks too much, and planted faults are seen.

use marea_worlds::wakeups;

/// Worlds of every test run: a few seconds.
const SEEDS: u64 = 300;

fn seeds() -> u64 {
    let given = std::env::var("MAREA_SEEDS").ok();
    given.map_or(SEEDS, |text| text.parse().expect("MAREA_SEEDS is a whole number"))
}

#[test]
fn in_every_world_of_wake_ups_nothing_is_missed_and_nobody_asks_too_often() {
    if let Some(violation) = wakeups::first_violation(0..seeds()) {
        panic!("{violation}");
    }
}

#[test]
fn every_fault_that_is_planted_into_wake_ups_is_seen() {
    let find = |fault| wakeups::find(fault, 0..500).map(|violation| eprintln!("{fault:?}: {violation}"));
    let missed: Vec<_> = wakeups::WAKEUP_FAULTS.iter().filter(|fault| find(**fault).is_none()).collect();
    assert!(missed.is_empty(), "not seen: {missed:?}");
}
