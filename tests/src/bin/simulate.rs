//! Lives through seeded worlds, or tells the story of one. `cargo xtask simulate` runs it.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::process::ExitCode;
use std::time::Instant;

use marea_tests::simulation::{self, Story};

const USAGE: &str = "usage: simulate --seeds N | --seed S";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = words.get(1).and_then(|text| text.parse().ok());
    match (words.first().map(String::as_str), number) {
        (Some("--seeds"), Some(count)) => live_through(count),
        (Some("--seed"), Some(seed)) => tell(seed),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "says how long the worlds took; no world depends on it")]
fn live_through(count: u64) -> ExitCode {
    let begun = Instant::now();
    let violation = simulation::first_violation_on_all_cores(count);
    let seconds = begun.elapsed().as_secs_f64();
    match violation {
        None => {
            println!("{count} worlds, all well ({seconds:.1} s)");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("{violation}\nits story: cargo xtask simulate --seed {}", violation.seed);
            ExitCode::FAILURE
        }
    }
}

fn tell(seed: u64) -> ExitCode {
    let mut story = Story::told();
    let lived = simulation::run(seed, &mut story);
    story.lines().iter().for_each(|line| println!("{line}"));
    match lived {
        Ok(()) => {
            println!("all well");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
    }
}
