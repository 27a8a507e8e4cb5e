//! `cargo xtask types`: the TypeScript types of the tables, from a live migrated Postgres. The work is done by a program of
//! `marea-tests`, which has the database; the xtask stays light.

use anyhow::Result;

use crate::run::Run;

/// Where `cargo xtask test` says that it has built that program.
pub(crate) const BUILT: &str = "MAREA_TYPES_BIN";

/// Writes `wasm/js/database.types.ts`; with `check` it only compares, and fails on drift.
pub(crate) fn run(check: bool) -> Result<()> {
    let words = ["run", "--quiet", "--package", "marea-tests", "--bin", "types", "--"];
    let run = std::env::var_os(BUILT).map_or_else(|| Run::new("cargo").args(words), Run::new);
    run.args(check.then_some("--check")).show()
}
