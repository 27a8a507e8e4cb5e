//! `cargo xtask types`: the TypeScript types of the tables, from a live migrated Postgres. The work is done by a program of
//! `marea-tests`, which has the database; the xtask stays light.

use anyhow::Result;

use crate::run::Run;

/// Writes `wasm/js/database.types.ts`; with `check` it only compares, and fails on drift.
pub(crate) fn run(check: bool) -> Result<()> {
    let words = ["run", "--quiet", "--package", "marea-tests", "--bin", "types", "--"];
    Run::new("cargo").args(words).args(check.then_some("--check")).show()
}
