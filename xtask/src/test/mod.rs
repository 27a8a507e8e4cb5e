//! `cargo xtask test`: everything that continuous integration checks, in named parts, each to be run alone.
//!
//! A part that needs something built has it built, once, however many parts need it. A failing part does not keep
//! the others from running: one run tells everything that is wrong.

mod cargo;
mod node;
mod parts;
mod reasons;
mod tally;

use std::thread;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::{
    clock::{Stopwatch, spoken},
    say,
};
use parts::Workshop;
pub(crate) use tally::Tally;

/// The parts, in the order in which they run: what is quick and often wrong comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    /// Find or install what the other parts need
    Setup,
    /// Formatting, of Rust
    Fmt,
    /// The rules of the house
    Tidy,
    /// Lints of all native crates, warnings denied
    Clippy,
    /// Unit tests and examples in the documentation
    Unit,
    /// The browser's module and the npm package build, warnings denied
    Wasm,
    /// TypeScript of the npm package and the demo
    #[value(alias = "package types")]
    Types,
    /// The packed npm package: its manifest, its types as others resolve them, its face, its size
    Package,
    /// Whole-system tests against real Postgres and PostgREST
    System,
    /// The real clients of Supabase's Storage against the backend
    Storage,
    /// Tests in real Chromium
    Browser,
    /// The tests of behaviour once more, in Node, with the native engine
    Node,
    /// The packed npm package in fresh apps of every bundler, and under unit tests
    Apps,
    /// The documentation's site: built, every link followed, looked at on a phone
    Site,
    /// Seeded worlds around the engine, and disks that fail: begun as soon as they are built, beside all others
    Simulation,
}

impl Part {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// How a part went.
struct Outcome {
    part: Part,
    tally: Tally,
    took: String,
}

/// Runs the chosen parts, or all, and says how they went.
pub(crate) fn run(only: &[Part]) -> Result<()> {
    let watch = Stopwatch::start();
    let workshop = Workshop::default();
    let all = Part::value_variants().iter().copied();
    let chosen: Vec<Part> = all.filter(|part| only.is_empty() || only.contains(part)).collect();
    let first_but = |earlier: &[Part]| chosen.iter().find(|part| !earlier.contains(part));
    let first_to_build = first_but(&[Part::Setup, Part::Fmt, Part::Tidy]);
    let first_to_test = first_but(&[Part::Setup, Part::Fmt, Part::Tidy, Part::Clippy]);
    let outcomes = thread::scope(|scope| {
        let mut outcomes = Vec::new();
        for part in &chosen {
            if Some(part) == first_to_build {
                scope.spawn(|| workshop.prepare(&chosen));
            }
            if Some(part) == first_to_test && chosen.contains(&Part::Simulation) {
                scope.spawn(|| workshop.worlds());
            }
            outcomes.push(run_part(*part, &workshop));
            // Without its tools, every other part would only say again what setup has said.
            if *part == Part::Setup && outcomes.iter().any(|outcome: &Outcome| outcome.tally.failed > 0) {
                break;
            }
        }
        outcomes
    });
    conclude(&outcomes, &spoken(watch.elapsed()))
}

fn run_part(part: Part, workshop: &Workshop) -> Outcome {
    say::heading(&format!("── {} ──", part.name()));
    let watch = Stopwatch::start();
    let tally = parts::run(part, workshop).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Tally::failed()
    });
    Outcome { part, tally, took: spoken(watch.elapsed()) }
}

/// The closing table, and a last line that a program can read.
fn conclude(outcomes: &[Outcome], took: &str) -> Result<()> {
    for reason in reasons::take() {
        eprintln!("\n{reason}");
    }
    println!("\n  part        passed  failed  time");
    for Outcome { part, tally, took } in outcomes {
        let mark = if tally.failed == 0 { "✓" } else { "✗" };
        println!("{mark} {:<10} {:>7} {:>7}  {took}", part.name(), tally.passed, tally.failed);
    }
    let total = outcomes.iter().fold(Tally::default(), |total, outcome| total + outcome.tally);
    println!("\nall parts: {took}");
    println!("{} passed, {} failed", total.passed, total.failed);
    let failed: Vec<String> = outcomes
        .iter()
        .filter(|outcome| outcome.tally.failed > 0)
        .map(|outcome| outcome.part.name())
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}; run one alone with `cargo xtask test --only {}`", failed.join(", "), failed[0]);
    }
    Ok(())
}
