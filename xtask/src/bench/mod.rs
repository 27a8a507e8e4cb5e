//! `cargo xtask bench`: measurements, each against a named baseline in the same run. They are programs of `marea-tests`; the
//! xtask stays light.

use anyhow::Result;
use clap::ValueEnum;

use crate::run::Run;

/// What can be measured.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum What {
    /// The Postgres side: syncs, pushes, triggers, migrations, the backfill
    Postgres,
}

/// Measures and prints a table, or JSON.
pub(crate) fn run(what: What, json: bool) -> Result<()> {
    let program = match what {
        What::Postgres => "bench_postgres",
    };
    let words = ["run", "--quiet", "--package", "marea-tests", "--bin", program, "--"];
    Run::new("cargo").args(words).args(json.then_some("--json")).show()
}
