//! Faults planted into the engine, one at a time: the seeded worlds catch each of them. Worlds that stay green whatever is
//! broken would prove nothing.

use marea_tests::simulation;

/// Seeds within which a fault must be caught.
const SEEDS: u64 = 2_000;

#[test]
fn every_planted_fault_is_caught() {
    assert!(simulation::FAULTS.len() >= 12);
    assert!(simulation::FAULTS.iter().all(|(_, known)| *known < SEEDS));
    let missed = simulation::not_found(simulation::FAULTS, SEEDS);
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
}
