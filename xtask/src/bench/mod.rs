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
    /// The desktop: start-up, an idle client, the program's size, a first sync
    Native,
}

/// Measures and prints a table, or JSON.
pub(crate) fn run(what: What, json: bool) -> Result<()> {
    let program = match what {
        What::Postgres => "bench_postgres",
        What::Native => {
            // A start-up is the user's: measured as it is shipped.
            let own = ["--package", "marea-native", "--bin", "marea"];
            let instruments = ["--package", "marea-tests", "--bin", "bare_tokio", "--bin", "idle_client"];
            Run::new("cargo").args(["build", "--quiet", "--release"]).args(own).show()?;
            Run::new("cargo").args(["build", "--quiet", "--release"]).args(instruments).show()?;
            "bench_native"
        }
    };
    let words = ["run", "--quiet", "--package", "marea-tests", "--bin", program, "--"];
    Run::new("cargo").args(words).args(json.then_some("--json")).show()
}
