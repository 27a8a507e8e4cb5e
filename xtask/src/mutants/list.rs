//! Which mutants there are, as cargo-mutants lists them, and which of them are tried.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::{paths, run::Run, say};

/// What must not be broken without a test that notices: the modules of the engine, by folder of `core/src`.
const MODULES: [&str; 7] = ["merge", "queue", "sync", "engine", "store", "wire", "vault"];
/// Mutants that change nothing that anybody could notice, a reason with each.
const EQUIVALENT: &str = "xtask/mutants-equivalent.txt";

#[derive(Debug)]
pub(crate) struct Mutant {
    /// What switches it on, from 1.
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) module: String,
    /// All that cargo-mutants says of it, and the id: what `marea-weave` reads.
    pub(crate) listed: Value,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    file: String,
}

/// All mutants of the modules, by file and place.
pub(crate) fn all() -> Result<Vec<Mutant>> {
    install()?;
    let mut run = Run::new("cargo").args(["mutants", "--list", "--json", "--package", "marea-core"]);
    for module in MODULES {
        run = run.args(["--file", &format!("core/src/{module}/**/*.rs")]);
    }
    let listed = run.args(["--exclude", "**/tests.rs", "--exclude", "**/tests/**"]).read()?;
    let listed: Vec<Value> = serde_json::from_str(&listed).context("cargo-mutants listed something else")?;
    listed.into_iter().zip(1..).map(|(listed, id)| mutant(listed, id)).collect()
}

fn mutant(mut listed: Value, id: u32) -> Result<Mutant> {
    let Listed { name, file } = Listed::deserialize(&listed)?;
    listed["id"] = id.into();
    let module = file.split('/').nth(2).unwrap_or_default().to_owned();
    Ok(Mutant { id, name, file, module, listed })
}

/// Evenly spread ones, as many as asked for: the k-th sample takes those between the ones of the samples before it.
pub(crate) fn sample<'m>(all: &[&'m Mutant], count: Option<usize>, k: usize) -> Vec<&'m Mutant> {
    let count = count.unwrap_or(all.len()).clamp(1, all.len().max(1));
    let step = (all.len() / count).max(1);
    (0..count.min(all.len()))
        .map(|index| all[(index * all.len() / count + k % step).min(all.len() - 1)])
        .collect()
}

/// The names of equivalent mutants: lines that are neither empty nor a comment. The reason stands in the comment above each.
pub(crate) fn equivalents() -> Result<Vec<String>> {
    let text = std::fs::read_to_string(paths::root().join(EQUIVALENT))?;
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_evenly_spread_and_the_next_one_is_another() {
        let all: Vec<_> = (1..=10)
            .map(|id| mutant(serde_json::json!({"name": "n", "file": "core/src/merge/a.rs"}), id))
            .collect::<Result<_>>()
            .unwrap();
        let all: Vec<&Mutant> = all.iter().collect();
        let ids = |count, k| sample(&all, count, k).iter().map(|mutant| mutant.id).collect::<Vec<_>>();
        assert_eq!(ids(Some(3), 0), [1, 4, 7]);
        assert_eq!(ids(Some(3), 1), [2, 5, 8]);
        assert_eq!(ids(Some(20), 0), (1..=10).collect::<Vec<_>>());
        assert_eq!(ids(None, 5), (1..=10).collect::<Vec<_>>());
    }
}
