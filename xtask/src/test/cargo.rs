//! Rust's tests: built all at once, then run program by program.
//!
//! One build for the whole workspace, because cargo would compile a dependency anew for each selection of packages
//! that uses other features of it.

use std::{path::Path, sync::Mutex, thread};

use anyhow::{Result, bail};

use super::{Tally, reasons};
use crate::{
    build::{self, Program},
    clock::{Stopwatch, spoken},
    paths,
    run::{Run, Stream},
};

/// The crates that are built natively and tested: all but the browser's, and the generator, which is a build tool.
pub(crate) const NATIVE: [&str; 5] = ["--workspace", "--exclude", "marea-wasm", "--exclude", "marea-bindgen"];

/// Programs that run at the same time. One often waits: for a server to start, a disk, a single long test.
const LANES: usize = 2;

/// The programs that take longest, the longest first: begun last, one would run on alone.
const LONGEST: [&str; 4] = ["simulation_fast", "sql", "desktop", "operations"];

/// Builds every test and every binary.
pub(crate) fn build_all() -> Result<Vec<Program>> {
    build::cargo(&[&NATIVE[..], &["--all-targets"]].concat())
}

/// Runs the test programs of some packages, which are named by their folders.
pub(crate) fn run_tests(
    programs: &[Program],
    folders: &[&str],
    equip: impl Fn(Run) -> Run + Sync,
) -> Result<Tally> {
    let root = paths::root();
    let chosen = |program: &&Program| {
        program.is_test && folders.iter().any(|folder| program.package == root.join(folder))
    };
    let mut chosen: Vec<&Program> = programs.iter().filter(chosen).collect();
    chosen.sort_by_key(|program| {
        LONGEST.iter().position(|name| *name == program.name).unwrap_or(LONGEST.len())
    });
    let waiting = Mutex::new(chosen.into_iter());
    let lane = || {
        let mut total = Tally::default();
        loop {
            // In a statement of its own: the lock must not be held while a program runs.
            let next = waiting.lock().expect("no lane panics while it takes a program").next();
            let Some(program) = next else { break Ok(total) };
            total = total + run_program(program, &equip)?;
        }
    };
    let total: Tally = thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().map(|lane| lane.join().expect("a panic was told above")).sum::<Result<Tally>>()
    })?;
    if total == Tally::default() {
        bail!("there is no test in {}", folders.join(" and "));
    }
    Ok(total)
}

/// Runs one test program as `cargo test` would. A program without a test says nothing.
fn run_program(program: &Program, equip: impl Fn(Run) -> Run) -> Result<Tally> {
    let watch = Stopwatch::start();
    let run = Run::new(&program.path).dir(&program.package);
    let ended = equip(run).observe(|_, line| {
        // What passes is only counted; everything else is shown as it comes.
        if is_worth_showing(line) {
            eprintln!("    {}: {line}", program.name);
        }
    })?;
    let tally = Tally::of_program(ended.success, Tally::of_rust(&ended.stdout));
    if tally.failed > 0 {
        reasons::keep(&program.name, reasons::of_rust(&ended.stdout));
    }
    if tally != Tally::default() {
        let mark = if tally.failed == 0 { "✓" } else { "✗" };
        let package = program.package.strip_prefix(paths::root()).unwrap_or(Path::new("")).display();
        let counts = format!("{} passed, {} failed", tally.passed, tally.failed);
        eprintln!("  {mark} {package}: {} ({counts}, {})", program.name, spoken(watch.elapsed()));
    }
    Ok(tally)
}

fn is_worth_showing(line: &str) -> bool {
    let passed = line.starts_with("test ") && line.ends_with("... ok");
    let frame = line.trim().is_empty() || line.starts_with("running ") || line.starts_with("test result: ok");
    !passed && !frame
}

/// Runs the examples in the documentation.
pub(crate) fn run_examples() -> Result<Tally> {
    let ended = Run::new("cargo").args(["test", "--doc"]).args(NATIVE).observe(|stream, line| {
        if stream == Stream::Err || is_worth_showing(line) {
            eprintln!("    {line}");
        }
    })?;
    // A workspace without examples is well.
    let counted = Tally::of_rust(&ended.stdout).unwrap_or_default();
    let tally = Tally::of_program(ended.success, Some(counted));
    eprintln!("  examples in the documentation ({} passed, {} failed)", tally.passed, tally.failed);
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_shown() {
        for usual in ["", "running 3 tests", "test a::b ... ok", "test result: ok. 3 passed; 0 failed"] {
            assert!(!is_worth_showing(usual), "{usual}");
        }
        for telling in
            ["test a::b ... FAILED", "seed: 17", "test result: FAILED. 1 passed; 1 failed", "panicked"]
        {
            assert!(is_worth_showing(telling), "{telling}");
        }
    }
}
