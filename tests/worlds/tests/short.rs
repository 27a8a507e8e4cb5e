//! The seeded worlds for whoever breaks the engine on purpose (`cargo xtask mutants`): a program that needs nothing but the engine,
//! and so is built again in seconds. `tests/tests/simulation_fast.rs` lives through many more.

use marea_worlds::simulation;

/// Worlds without `MAREA_SEEDS`.
const SEEDS: u64 = 50;

#[test]
fn in_every_world_all_agree_in_the_end() {
    let given = std::env::var("MAREA_SEEDS").ok();
    let seeds = given.map_or(SEEDS, |text| text.parse().expect("MAREA_SEEDS is a whole number"));
    if let Some(violation) = simulation::first_violation_on_all_cores(seeds) {
        panic!("{violation}");
    }
}
