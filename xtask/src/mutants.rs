//! `cargo xtask mutants`: breaks the engine, or the SQL, in one place after another, and says where no test notices.
//!
//! Hours of work, and so no part of `cargo xtask test`. The engine is broken by cargo-mutants, each time built and tested with its
//! own tests and with seeded worlds; the SQL by the list in `tests/sql_mutations/`.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{build, paths, run::Run, say};

/// What must not be broken without a test that notices: the modules of the engine, by folder of `core/src`.
const MODULES: [&str; 7] = ["merge", "queue", "sync", "engine", "store", "wire", "vault"];
/// Of the mutants of a module that can be noticed, in percent.
const BAR: f64 = 97.0;
/// Worlds that each mutant is tried in. The engine's own tests come first, and notice most.
const SEEDS: &str = "2000";
/// A mutant that makes a test wait for ever is noticed by that.
const LIMIT_SECONDS: &str = "600";
/// Mutants that change nothing that anybody could notice, a reason with each.
const EQUIVALENT: &str = "xtask/mutants-equivalent.txt";

/// What to break.
#[derive(clap::Args, Debug)]
pub(crate) struct Wanted {
    /// The SQL of the migrations instead of the engine
    #[arg(long)]
    sql: bool,
    /// Only SQL mutations with this in their names, or the mutants of this file of the engine
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only one part of the engine's mutants: 0/40 is the first of forty
    #[arg(long, value_name = "K/N", conflicts_with = "sql")]
    shard: Option<String>,
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

/// Has cargo-mutants break the engine, and sums up what it found.
fn engine(wanted: &Wanted) -> Result<()> {
    install()?;
    let folder = paths::target().join("mutants");
    std::fs::create_dir_all(&folder)?;
    let equivalent = equivalents(&std::fs::read_to_string(paths::root().join(EQUIVALENT))?);
    let mut run = Run::new("cargo").args(["mutants", "--package", "marea-core", "--colors", "never"]);
    run = run.args(["--test-package", "marea-core,marea-worlds", "--timeout", LIMIT_SECONDS]);
    run = run.args(["--no-shuffle", "--cap-lints=true", "--output"]).arg(&folder);
    for module in MODULES {
        run = run.args(["--file", &format!("core/src/{module}/**/*.rs")]);
    }
    run = run.args(["--exclude", "**/tests.rs", "--exclude", "**/tests/**"]);
    if let Some(only) = &wanted.only {
        run = run.args(["--re", only]);
    }
    if let Some(shard) = &wanted.shard {
        run = run.args(["--shard", shard]);
    }
    say::heading("Breaking the engine: each mutant takes a build and its tests");
    // It fails when mutants were missed; which they are, and whether they are too many, is said below.
    run.env("MAREA_SEEDS", SEEDS).observe(|_, line| eprintln!("{line}"))?;
    let outcomes = std::fs::read_to_string(folder.join("mutants.out/outcomes.json"))
        .context("cargo-mutants left no outcomes; what it says is above")?;
    let table = Table::of(&serde_json::from_str(&outcomes)?, &equivalent);
    print!("{table}");
    let weak = table.below_the_bar();
    if !weak.is_empty() {
        bail!("fewer than {BAR} % of the noticeable mutants are noticed in {}", weak.join(", "));
    }
    Ok(())
}

fn install() -> Result<()> {
    let cargo_home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let bin = cargo_home.or_else(home).map(|home| home.join("bin/cargo-mutants"));
    if paths::on_path("cargo-mutants").is_some() || bin.is_some_and(|bin| paths::is_program(&bin)) {
        return Ok(());
    }
    say::heading("Installing cargo-mutants, which is missing");
    Run::new("cargo").args(["install", "cargo-mutants", "--locked"]).show()
}

/// The names of equivalent mutants: lines that are neither empty nor a comment. The reason stands in the comment above each.
fn equivalents(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// What cargo-mutants writes down.
#[derive(Deserialize)]
struct Outcomes {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    summary: String,
    scenario: Scenario,
}

#[derive(Deserialize)]
enum Scenario {
    Baseline,
    Mutant(Mutant),
}

#[derive(Deserialize)]
struct Mutant {
    name: String,
    file: String,
}

/// Counts by module, and the mutants that nothing notices.
#[derive(Default)]
struct Table {
    modules: BTreeMap<String, (u32, u32)>,
    missed: Vec<String>,
}

impl Table {
    fn of(outcomes: &Outcomes, equivalent: &[String]) -> Table {
        let mut table = Table::default();
        for outcome in &outcomes.outcomes {
            let Scenario::Mutant(mutant) = &outcome.scenario else { continue };
            let noticed = matches!(outcome.summary.as_str(), "CaughtMutant" | "Timeout");
            let name = without_place(&mutant.name);
            let counts = noticed || (outcome.summary == "MissedMutant" && !equivalent.contains(&name));
            if !counts {
                continue;
            }
            let module = mutant.file.split('/').nth(2).unwrap_or_default().to_owned();
            let (seen, all) = table.modules.entry(module).or_default();
            *seen += u32::from(noticed);
            *all += 1;
            if !noticed {
                table.missed.push(mutant.name.clone());
            }
        }
        table
    }

    fn below_the_bar(&self) -> Vec<&str> {
        let is_below = |(_, (seen, all)): &(&String, &(u32, u32))| percent(*seen, *all) < BAR;
        self.modules.iter().filter(is_below).map(|(module, _)| module.as_str()).collect()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (module, (seen, all)) in &self.modules {
            writeln!(f, "{module:8} {:5.1} %  {seen} of {all}", percent(*seen, *all))?;
        }
        self.missed.iter().try_for_each(|name| writeln!(f, "missed: {name}"))
    }
}

fn percent(seen: u32, all: u32) -> f64 {
    100.0 * f64::from(seen) / f64::from(all.max(1))
}

/// A mutant's name without line and column, which change with every edit: `file: what`.
fn without_place(name: &str) -> String {
    let (place, what) = name.split_once(": ").unwrap_or((name, ""));
    format!("{}: {what}", place.split(':').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_mutants_count_neither_way() {
        let text = r#"{"outcomes": [
            {"summary": "Success", "scenario": "Baseline"},
            {"summary": "CaughtMutant", "scenario": {"Mutant": {"name": "core/src/merge/a.rs:1:2: replace + with -", "file": "core/src/merge/a.rs"}}},
            {"summary": "Timeout", "scenario": {"Mutant": {"name": "core/src/merge/a.rs:2:2: replace x", "file": "core/src/merge/a.rs"}}},
            {"summary": "Unviable", "scenario": {"Mutant": {"name": "core/src/merge/a.rs:3:2: replace y", "file": "core/src/merge/a.rs"}}},
            {"summary": "MissedMutant", "scenario": {"Mutant": {"name": "core/src/merge/a.rs:4:2: replace z", "file": "core/src/merge/a.rs"}}},
            {"summary": "MissedMutant", "scenario": {"Mutant": {"name": "core/src/store/b.rs:5:7: replace w", "file": "core/src/store/b.rs"}}}]}"#;
        let outcomes: Outcomes = serde_json::from_str(text).unwrap();
        let list = equivalents("# it only spreads retries\n\ncore/src/merge/a.rs: replace z\n");
        let table = Table::of(&outcomes, &list);
        assert_eq!(table.modules["merge"], (2, 2));
        assert_eq!(table.missed, ["core/src/store/b.rs:5:7: replace w"]);
        assert_eq!(table.below_the_bar(), ["store"]);
        assert!(table.to_string().contains("merge    100.0 %  2 of 2"), "{table}");
    }
}
