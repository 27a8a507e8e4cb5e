//! `cargo xtask`: everything that is done to Marea rather than by it.
//!
//! This file is only the command line; each command is a module. Nothing here is part of the product, and no
//! product crate depends on it.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

mod audit;
mod bench;
mod bindings;
mod build;
mod c_library;
mod clock;
mod coverage;
mod demo;
mod migrations;
mod mutants;
mod node_addon;
mod package;
mod paths;
mod record;
mod release;
mod run;
mod say;
mod sbom;
mod service;
mod setup;
mod simulate;
mod site;
mod sizes;
mod stop;
mod tauri;
mod test;
mod tidy;
mod types;
mod wasm;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Marea's tasks.")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Find or install everything that building, testing and showing Marea needs
    Setup {
        /// Only report; exit 1 when something is missing
        #[arg(long)]
        check: bool,
    },
    /// Start the backend and the demo's page, and print its address
    Demo {
        /// Play the story in a headless browser and on the command line instead
        #[arg(long)]
        headless: bool,
    },
    /// Check everything: what continuous integration runs
    #[command(alias = "ci")]
    Test {
        /// Run only this part; may be given several times
        #[arg(long, value_enum, value_name = "PART")]
        only: Vec<test::Part>,
    },
    /// Check the rules of the house that no compiler checks
    Tidy,
    /// Build the browser's module and its JavaScript glue into wasm/pkg/
    Wasm {
        /// Skip wasm-opt: quicker, but larger
        #[arg(long)]
        dev: bool,
    },
    /// Pack the npm package into target/npm/ with a list of its parts (SBOM), check it, and say how large everything is
    Package {
        /// Build the addon of Node, Bun and Electron too, as it is released, and pack it for this platform
        #[arg(long)]
        node: bool,
    },
    /// Make the bindings of Kotlin, Swift and Python into target/bindings/
    Bindings {
        /// Run the programs of tests/bindings/ on them
        #[arg(long)]
        test: bool,
        /// With the library as it is released
        #[arg(long)]
        release: bool,
    },
    /// Make and check all that a release publishes
    Release {
        /// Publish nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Check what Marea is built from: licences, sources, signatures, known vulnerabilities
    Audit,
    /// Build the documentation's site into target/site/dist/
    Site,
    /// Print what a browser downloads, as one line of JSON
    Sizes,
    /// Hold the conversations of docs/protocol/ with a real server, and write them down anew
    Record,
    /// Assemble the numbered files of migrations/ from migrations/source/, with their checksums
    Migrations {
        /// From now on they never change
        #[arg(long)]
        freeze: bool,
    },
    /// Write the TypeScript types of the tables, from a freshly migrated Postgres
    Types {
        /// Only compare; exit 1 when they are stale
        #[arg(long)]
        check: bool,
    },
    /// Write the header of the C library, native/include/marea.h, from native/c
    Header {
        /// Only compare; exit 1 when it is stale
        #[arg(long)]
        check: bool,
    },
    /// Build the C library as it is released, and install it with its header and pkg-config file
    InstallC {
        /// Where it will be used: /usr/local for example
        #[arg(long, value_name = "DIR")]
        prefix: PathBuf,
        /// Where the prefix lies while a package is being made
        #[arg(long, value_name = "DIR")]
        destdir: Option<PathBuf>,
        /// Take the libraries from here instead of building them
        #[arg(long, value_name = "DIR")]
        built: Option<PathBuf>,
    },
    /// Live through seeded worlds around the engine, or tell the story of one
    Simulate {
        /// How many worlds
        #[arg(long, default_value_t = 20_000)]
        seeds: u64,
        /// Only this one, with its story
        #[arg(long, conflicts_with = "seeds")]
        seed: Option<u64>,
    },
    /// Feed the engine hostile input: answers, mirror files, texts, envelopes
    Fuzz {
        /// How long for each kind
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Only this kind
        #[arg(value_parser = ["answer", "mirror", "text", "envelope"])]
        kind: Option<String>,
    },
    /// Build the Tauri example and click through it in WebKit, which this installs where it is missing
    Tauri,
    /// Say which lines of the engine no test reaches
    Coverage,
    /// Break the engine or the SQL in one place after another, and say where no test notices; takes an hour or more
    Mutants {
        #[command(flatten)]
        wanted: mutants::Wanted,
    },
    /// Measure, each figure against a baseline of the same run
    Bench {
        #[arg(value_enum)]
        what: bench::What,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup { check: true } => setup::check()?,
        Task::Setup { check: false } => setup::run()?,
        Task::Demo { headless } => return demo::run(headless),
        Task::Test { only } => test::run(&only)?,
        Task::Tidy => tidy::run()?,
        Task::Wasm { dev } => wasm::build(&setup::ensure()?, wasm::Effort::of_dev_flag(dev))?,
        Task::Package { node } => package::run(node)?,
        Task::Bindings { test, release } => bindings::run(test, release)?,
        Task::Release { dry_run } => release::run(dry_run)?,
        Task::Audit => audit::run()?,
        Task::Site => site::run()?,
        Task::Sizes => sizes::run()?,
        Task::Header { check } => c_library::header(check)?,
        Task::InstallC { prefix, destdir, built } => {
            c_library::install(&c_library::Destination { prefix, staging: destdir }, built)?;
        }
        Task::Record => record::run()?,
        Task::Simulate { seeds, seed } => simulate::run(seeds, seed)?,
        Task::Fuzz { minutes, kind } => simulate::fuzz(minutes, kind.as_deref())?,
        Task::Tauri => tauri::run()?,
        Task::Coverage => coverage::run()?,
        Task::Mutants { wanted } => mutants::run(&wanted)?,
        Task::Migrations { freeze } => migrations::run(freeze)?,
        Task::Types { check } => types::run(check)?,
        Task::Bench { what, json } => bench::run(what, json)?,
    }
    Ok(ExitCode::SUCCESS)
}
