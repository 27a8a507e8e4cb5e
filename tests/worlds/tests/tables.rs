//! Seeded worlds of mirrored tables: all devices and the server agree in the end, and planted faults are seen.

use marea_worlds::tables;

/// Worlds of every test run: about half a minute.
const SEEDS: u64 = 300;

/// Worlds beyond these that have found something: a copied device that counted for the one it is a copy of, and rows that were forgotten
/// as deleted by an app that did not know their table.
const FOUND: [u64; 2] = [804, 1707];

fn seeds() -> Vec<u64> {
    let given = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a whole number")))
    };
    match given("MAREA_SEED") {
        Some(seed) => vec![seed],
        None => (0..given("MAREA_SEEDS").unwrap_or(SEEDS)).chain(FOUND).collect(),
    }
}

#[test]
fn in_every_world_of_tables_all_agree_in_the_end() {
    if let Some(violation) = tables::first_violation(seeds()) {
        panic!("{violation}");
    }
}

#[test]
fn every_fault_that_is_planted_into_the_tables_is_seen() {
    let find = |fault| tables::find(fault, 0..2_000).map(|violation| eprintln!("{fault:?}: {violation}"));
    let missed: Vec<_> = tables::TABLE_FAULTS.iter().filter(|fault| find(**fault).is_none()).collect();
    assert!(missed.is_empty(), "not seen: {missed:?}");
}
