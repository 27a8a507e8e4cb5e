//! `cargo xtask simulate`: seeded worlds around the engine, more of them than a test run has time for. The worlds are in
//! `marea-tests`; the xtask stays light.

use anyhow::Result;

use crate::run::Run;

/// Lives through the worlds of the first `seeds` seeds, or tells the story of one `seed`.
pub(crate) fn run(seeds: u64, seed: Option<u64>) -> Result<()> {
    let (option, number) = seed.map_or(("--seeds", seeds), |seed| ("--seed", seed));
    let words = ["run", "--quiet", "--package", "marea-tests", "--bin", "simulate", "--", option];
    Run::new("cargo").args(words).args([number.to_string()]).show()
}
