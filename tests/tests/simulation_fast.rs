//! Seeded worlds in which everything goes wrong, and in the end nothing is lost and nothing counts twice.
//!
//! `MAREA_SEEDS` says how many; `cargo xtask simulate --seed S` tells the story of one.

use marea_tests::simulation;

/// Seeds of every test run: under four minutes on two cores. `cargo xtask simulate` lives through more.
const SEEDS: u64 = 20_000;

#[test]
fn in_every_world_all_agree_in_the_end() {
    let given = std::env::var("MAREA_SEEDS").ok();
    let seeds = given.map_or(SEEDS, |text| text.parse().expect("MAREA_SEEDS is a whole number"));
    eprintln!("simulation_fast: seeds 0 to {seeds}");
    if let Some(violation) = simulation::first_violation_on_all_cores(seeds) {
        panic!("{violation}\nIts story: cargo xtask simulate --seed {}", violation.seed);
    }
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    let tell = || {
        let mut story = simulation::Story::told();
        simulation::run(7, &mut story).expect("a good world");
        story.lines().to_vec()
    };
    let told = tell();
    assert!(told.len() > 20, "{} lines", told.len());
    assert_eq!(told, tell());
}
