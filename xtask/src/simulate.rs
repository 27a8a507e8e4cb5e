//! `cargo xtask simulate` and `cargo xtask fuzz`: more seeded worlds and more hostile input than a test run has time for.
//! Both are in `marea-tests`; the xtask stays light.

use anyhow::Result;

use crate::run::Run;

/// Lives through the worlds of the first `seeds` seeds, or tells the story of one `seed`.
pub(crate) fn run(seeds: u64, seed: Option<u64>) -> Result<()> {
    let (option, number) = seed.map_or(("--seeds", seeds), |seed| ("--seed", seed));
    let words = ["run", "--quiet", "--package", "marea-tests", "--bin", "simulate", "--", option];
    Run::new("cargo").args(words).args([number.to_string()]).show()
}

/// Feeds hostile input for some minutes of each kind, or of one.
pub(crate) fn fuzz(minutes: u64, kind: Option<&str>) -> Result<()> {
    let words = ["run", "--quiet", "--package", "marea-tests", "--bin", "fuzz", "--", "--minutes"];
    Run::new("cargo").args(words).args([minutes.to_string()]).args(kind).show()
}
