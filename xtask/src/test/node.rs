//! The browser's tests: Node's test runner over the `*.test.mjs` of a folder, which drive a real Chromium.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use super::Tally;
use crate::{build::Binaries, paths, run::Run, setup::Tools};

/// Two files at a time: a browser test waits for most of its time, for a page, a lock, a server.
pub(crate) fn run_tests(folder: &str, tools: &Tools, binaries: &Binaries) -> Result<Tally> {
    let files = files(folder)?;
    let run = Run::new(&tools.node)
        .args(["--test", "--test-reporter=spec", "--test-concurrency=2"])
        .args(files)
        .env("MAREA_CHROMIUM", &tools.chromium)
        .env("MAREA_BACKEND_BIN", &binaries.backend)
        .env("MAREA_BIN", &binaries.marea);
    let ended = run.observe(|_, line| eprintln!("  {line}"))?;
    Ok(Tally::of_program(ended.success, Tally::of_node(&ended.stdout)))
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
