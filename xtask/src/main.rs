//! `cargo xtask`: everything that is done to Marea rather than by it.
//!
//! This file is only the command line; each command is a module. Nothing here is part of the product, and no
//! product crate depends on it.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

mod clock;
mod paths;
mod run;
mod say;
mod setup;
mod tidy;
mod wasm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Marea's tasks.")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install everything that building, testing and showing Marea needs.
    Setup {
        /// Only report; exit 1 when something is missing.
        #[arg(long)]
        check: bool,
    },
    /// Build the WebAssembly module and its JavaScript glue into wasm/pkg/.
    Wasm {
        /// Skip wasm-opt: quicker, but larger.
        #[arg(long)]
        dev: bool,
    },
    /// Check the rules of the house that no compiler checks.
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Setup { check: true } => setup::check(),
        Task::Setup { check: false } => setup::run(),
        Task::Wasm { dev } => {
            setup::ensure().and_then(|tools| wasm::build(&tools, wasm::Effort::of_dev_flag(dev)))
        }
        Task::Tidy => tidy::run().map(|_| ()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
