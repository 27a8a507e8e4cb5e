//! `cargo xtask mutants`: breaks the engine, or the SQL, in one place after another, and says where no test notices.
//!
//! An hour of work and more, and so no part of `cargo xtask test`. cargo-mutants lists the engine's mutants; all of them are woven into
//! one copy of the sources (`xtask/weave`), which is built once. Each is then switched on in turn, and only the tests that reach it are
//! run. The SQL is broken by the list in `tests/sql_mutations/`.

mod list;
mod table;
mod trial;
mod woven;

use std::io::Write;

use anyhow::{Context, Result, bail};

use self::{
    list::Mutant,
    table::Table,
    trial::{Outcome, Pace, Tests},
};
use crate::{build, paths, run::Run, say};

/// What to break.
#[derive(clap::Args, Debug)]
pub(crate) struct Wanted {
    /// The SQL of the migrations instead of the engine
    #[arg(long)]
    sql: bool,
    /// Only SQL mutations, or mutants of the engine, with this in their names
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only so many mutants, evenly spread over the engine
    #[arg(long, value_name = "N", conflicts_with = "sql")]
    sample: Option<usize>,
    /// Which of the samples
    #[arg(long, value_name = "K", default_value_t = 0, requires = "sample")]
    seed: usize,
    /// Only with the engine's quick tests: tells what they miss, and asks for no bar
    #[arg(long, conflicts_with = "sql")]
    quick: bool,
}

pub(crate) fn run(wanted: &Wanted) -> Result<()> {
    if wanted.sql { sql(wanted.only.as_deref()) } else { engine(wanted) }
}

/// Makes each SQL mutation in the databases of the SQL tests.
fn sql(only: Option<&str>) -> Result<()> {
    say::heading("Building the SQL tests");
    let programs = build::cargo(&["--package", "marea-tests", "--test", "sql", "--bin", "sql_mutations"])?;
    let tests = programs.iter().find(|program| program.is_test && program.name == "sql");
    let tests = tests.context("cargo built no SQL tests")?;
    say::heading("Breaking the SQL");
    Run::new(build::find(&programs, "sql_mutations")?).dir(&tests.package).arg(&tests.path).args(only).show()
}

fn engine(wanted: &Wanted) -> Result<()> {
    let all = list::all()?;
    say::heading("Building the engine with all mutants in it");
    let woven = woven::build(&all)?;
    let is_wanted = |mutant: &&Mutant| wanted.only.as_ref().is_none_or(|text| mutant.name.contains(text));
    let wanted_ones: Vec<&Mutant> = all.iter().filter(is_wanted).collect();
    let mut left = list::sample(&wanted_ones, wanted.sample, wanted.seed);
    let mut log = std::fs::File::create(paths::target().join("mutants/tried.txt"))?;
    let mut table = Table::new(list::equivalents()?);
    let mut note = |mutant: &Mutant, outcome: &Outcome| {
        let line = format!("{outcome} {}", mutant.name);
        eprintln!("{line}");
        writeln!(log, "{line}")
    };
    // The engine's own tests first, which notice most in the shortest time; the worlds only for what is left.
    let all_paces = [Pace::Quick, Pace::Slow];
    let (programs, paces) = if wanted.quick { (1, 1) } else { (woven.programs.len(), all_paces.len()) };
    for program in &woven.programs[..programs] {
        say::heading(&format!("Looking what the tests of {} reach", program.name));
        let tests = Tests::of(program)?;
        for pace in all_paces.into_iter().take(paces) {
            say::heading(&format!("Breaking the engine in {} places: {pace:?} tests", left.len()));
            let mut missed = Vec::new();
            for mutant in left {
                let outcome = woven.why_not(mutant.id).map_or_else(|| tests.try_out(mutant.id, pace), Ok)?;
                note(mutant, &outcome)?;
                match outcome {
                    Outcome::Missed => missed.push(mutant),
                    decided => table.add(mutant, &decided),
                }
            }
            left = missed;
        }
    }
    left.iter().for_each(|mutant| table.add(mutant, &Outcome::Missed));
    print!("{table}");
    let weak = table.below_the_bar();
    if !weak.is_empty() && !wanted.quick {
        bail!("fewer than {} % of the noticeable mutants are noticed in {}", table::BAR, weak.join(", "));
    }
    Ok(())
}
