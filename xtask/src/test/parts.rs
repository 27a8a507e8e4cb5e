//! What each part of the test run does, and the things that several parts share.

use std::{cell::OnceCell, path::Path};

use anyhow::{Result, bail};

use super::{Part, Tally, cargo, node};
use crate::{
    build::{self, Binaries, Program},
    node_addon, package, paths,
    run::Run,
    say::Step,
    setup::{self, Tools},
    site, tidy, wasm,
};

/// What parts share, made when it is first needed.
#[derive(Default)]
pub(crate) struct Workshop {
    tools: OnceCell<Tools>,
    programs: OnceCell<Vec<Program>>,
    package: OnceCell<()>,
}

impl Workshop {
    fn tools(&self) -> Result<&Tools> {
        made(&self.tools, setup::ensure)
    }

    fn programs(&self) -> Result<&[Program]> {
        made(&self.programs, cargo::build_all).map(Vec::as_slice)
    }

    /// The browser's module, the npm package and the demo's page.
    fn package(&self) -> Result<()> {
        let make = || {
            wasm::build(self.tools()?, wasm::Effort::Release)?;
            build::npm_package()?;
            build::page()
        };
        made(&self.package, make).copied()
    }
}

/// What the cell holds, made now if it holds nothing; a failure is not kept.
fn made<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if cell.get().is_none() {
        let _ = cell.set(make()?);
    }
    match cell.get() {
        Some(value) => Ok(value),
        None => bail!("a part of the workshop needs itself"),
    }
}

/// Runs one part.
pub(crate) fn run(part: Part, workshop: &Workshop) -> Result<Tally> {
    match part {
        Part::Setup => setup::run().map(|()| Tally::passed()),
        Part::Fmt => Run::new("cargo").args(["fmt", "--all", "--check"]).show().map(|()| Tally::passed()),
        Part::Tidy => tidy::run().map(|()| Tally::passed()),
        Part::Clippy => clippy(),
        Part::Unit => {
            let tested =
                cargo::run_tests(workshop.programs()?, &["core", "native", "native/c", "xtask"], |run| run)?;
            Ok(tested + cargo::run_examples()?)
        }
        Part::Wasm => {
            wasm::lint(workshop.tools()?)?;
            workshop.package().map(|()| Tally::passed())
        }
        Part::Types => types(workshop),
        Part::Package => {
            workshop.package()?;
            package::check()
        }
        Part::Simulation => {
            let programs = simulation(workshop.programs()?, true);
            cargo::run_tests(&programs, &["tests"], |run| run)
        }
        Part::System => {
            let (tools, programs) = (workshop.tools()?, workshop.programs()?);
            let binaries = Binaries::among(programs)?;
            let xtask = build::find(programs, "xtask")?;
            cargo::run_tests(&simulation(programs, false), &["backend", "tests"], |run| {
                run.env("MAREA_CHROMIUM", &tools.chromium)
                    .env("MAREA_BACKEND_BIN", &binaries.backend)
                    .env("MAREA_BIN", &binaries.marea)
                    .env("MAREA_XTASK_BIN", &xtask)
                    // Cargo puts the libraries beside the programs.
                    .env("MAREA_C_LIBRARIES", binaries.marea.parent().unwrap_or(Path::new("")))
            })
        }
        Part::Storage => {
            install(workshop, "storage")?;
            node::run_tests("storage", workshop.tools()?, &Binaries::among(workshop.programs()?)?)
        }
        Part::Browser => in_chromium("browser", workshop),
        Part::Node => {
            workshop.package()?;
            let binaries = Binaries::among(workshop.programs()?)?;
            // Cargo puts the libraries beside the programs.
            let addon = node_addon::among(binaries.marea.parent().unwrap_or(Path::new("")))?;
            node::run_in_node(workshop.tools()?, &binaries, &addon)
        }
        Part::Apps => {
            workshop.package()?;
            install(workshop, "apps")?;
            in_chromium("apps", workshop)
        }
        Part::Site => {
            workshop.package()?;
            site::build()?;
            in_chromium("site", workshop)
        }
    }
}

/// Installs what a folder's tests use beside the workspace, once for all of its files.
fn install(workshop: &Workshop, folder: &str) -> Result<()> {
    let script = paths::root().join("tests").join(folder).join("install.mjs");
    Run::new(&workshop.tools()?.node).arg(script).show()
}

fn in_chromium(folder: &str, workshop: &Workshop) -> Result<Tally> {
    workshop.package()?;
    node::run_tests(folder, workshop.tools()?, &Binaries::among(workshop.programs()?)?)
}

/// The program that lives through the fast worlds, or all others: it keeps every core at work by itself, and says how long
/// its worlds took.
fn simulation(programs: &[Program], wanted: bool) -> Vec<Program> {
    programs.iter().filter(|program| (program.name == "simulation_fast") == wanted).cloned().collect()
}

/// With all features. Without them the desktop's crate would compile its dependencies anew, a minute of each run;
/// `cargo xtask tauri` builds it without the feature `cli`.
fn clippy() -> Result<Tally> {
    Run::new("cargo")
        .args(["clippy", "--workspace", "--exclude", "marea-wasm", "--all-targets", "--", "-D", "warnings"])
        .show()?;
    Ok(Tally::passed())
}

/// The types of the npm package, and of what uses the package as an app would: the demo, and the wrong uses in `tests/types`.
fn types(workshop: &Workshop) -> Result<Tally> {
    workshop.package()?;
    let mut tally = Tally::default();
    for folder in ["wasm", "demo", "tests/types"] {
        let step = Step::start(format!("check the types of {folder}/"));
        match step.run(Run::new(paths::npm_bin("tsc")).args(["--noEmit", "-p", folder])) {
            Ok(_) => step.done(),
            Err(error) => {
                step.failed(&format!("{error:#}"));
                tally = tally + Tally::failed();
                continue;
            }
        }
        tally = tally + Tally::passed();
    }
    Ok(tally)
}
