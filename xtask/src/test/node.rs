//! The browser's tests: Node's test runner over the `*.test.mjs` of a folder, which drive a real Chromium.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{Tally, reasons};
use crate::{build::Binaries, paths, run::Run, setup::Tools};

/// The browser's tests that are about behaviour which Node has too, without `.test.mjs`.
const IN_NODE: [&str; 10] = [
    "adopt",
    "api",
    "arguments",
    "files",
    "queue",
    "sync",
    "table-arguments",
    "table-query",
    "tables",
    "vault",
];

/// Runs them in Node, and what only Node has.
pub(crate) fn run_in_node(tools: &Tools, binaries: &Binaries, addon: &Path) -> Result<Tally> {
    let browser = paths::root().join("tests").join("browser");
    let shared = IN_NODE.iter().map(|name| browser.join(format!("{name}.test.mjs")));
    let all = shared.chain(files("node")?).collect();
    run(all, tools, binaries, |run| run.env("MAREA_FACE", "node").env("MAREA_NODE_ADDON", addon))
}

/// Two files at a time: a browser test waits for most of its time, for a page, a lock, a server.
pub(crate) fn run_tests(folder: &str, tools: &Tools, binaries: &Binaries) -> Result<Tally> {
    run(files(folder)?, tools, binaries, |run| run)
}

fn run(
    files: Vec<PathBuf>,
    tools: &Tools,
    binaries: &Binaries,
    equip: impl FnOnce(Run) -> Run,
) -> Result<Tally> {
    let run = Run::new(&tools.node)
        .args(["--test", "--test-reporter=spec", "--test-concurrency=2"])
        .args(files)
        .env("MAREA_CHROMIUM", &tools.chromium)
        .env("MAREA_BACKEND_BIN", &binaries.backend)
        .env("MAREA_BIN", &binaries.marea);
    let ended = equip(run).observe(|_, line| eprintln!("  {line}"))?;
    let tally = Tally::of_program(ended.success, Tally::of_node(&ended.stdout));
    if tally.failed > 0 {
        reasons::keep("Node's test runner", reasons::of_node(&ended.stdout));
    }
    Ok(tally)
}

fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = paths::root().join("tests").join(folder);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(".test.mjs"));
    files.sort();
    if files.is_empty() {
        bail!("there is no *.test.mjs in {}", folder.display());
    }
    Ok(files)
}
