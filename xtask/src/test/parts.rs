//! What each part of the test run does, and the things that several parts share.

use std::{path::Path, sync::OnceLock};

use anyhow::{Result, anyhow, bail};

use super::{Part, Tally, cargo, node};
use crate::{
    build::{self, Binaries, Program},
    node_addon, package, paths,
    run::Run,
    say::Step,
    setup::{self, Tools},
    site, tidy, types, wasm,
};

/// Whose test programs are the part `unit`.
const UNIT: [&str; 7] =
    ["core", "native", "native/c", "native/node", "native/uniffi", "xtask", "xtask/weave"];
/// Whose test programs are the part `simulation`, beside `IN_MEMORY`.
const WORLDS: &str = "tests/worlds";
/// Whose test programs, but for `IN_MEMORY`, are the part `system`.
const SYSTEM: [&str; 2] = ["backend", "tests"];
/// Programs of `tests` that need no server: they wait for nothing but the processor.
const IN_MEMORY: [&str; 4] = ["simulation_fast", "mirror_faults", "simulation_catches", "fuzz_corpus"];

/// What parts share, made once: by whoever needs it first, while others who need it wait. A failure is kept as well.
#[derive(Default)]
pub(crate) struct Workshop {
    tools: OnceLock<Result<Tools, String>>,
    programs: OnceLock<Result<Vec<Program>, String>>,
    package: OnceLock<Result<(), String>>,
    /// What the tests of a folder use beside the workspace.
    storage: OnceLock<Result<(), String>>,
    apps: OnceLock<Result<(), String>>,
    worlds: OnceLock<Result<Tally, String>>,
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

    /// Packages of npm, and a server of S3.
    fn storage(&self) -> Result<()> {
        made(&self.storage, || install(self.tools()?, "storage")).copied()
    }

    /// Packages of npm, and the packed one of ours.
    fn apps(&self) -> Result<()> {
        let make = || {
            self.package()?;
            install(self.tools()?, "apps")
        };
        made(&self.apps, make).copied()
    }

    /// Lives through the worlds, with what the other parts leave of the processors: those wait for servers, browsers and disks.
    pub(crate) fn worlds(&self) -> Result<Tally> {
        made(&self.worlds, || {
            let programs: Vec<Program> =
                self.programs()?.iter().filter(|program| in_memory(program)).cloned().collect();
            cargo::run_tests(&programs, &[WORLDS, "tests"], Run::gently)
        })
        .copied()
    }

    /// Makes what these parts will need that takes one core, or the network, and little of either at a time: meanwhile others run.
    /// What fails is told by the part that needs it.
    pub(crate) fn prepare(&self, parts: &[Part]) {
        use Part::{Apps, Browser, Node, Package, Site, Storage, Types, Wasm};
        let wanted = |by: &[Part]| parts.iter().any(|part| by.contains(part));
        if wanted(&[Wasm, Types, Package, Browser, Node, Apps, Site]) {
            let _ = self.package();
        }
        if wanted(&[Storage]) {
            let _ = self.storage();
        }
        if wanted(&[Apps]) {
            let _ = self.apps();
        }
    }
}

fn made<T>(cell: &OnceLock<Result<T, String>>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    let made = cell.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow!("{error}"))
}

/// No test program may belong to no part.
fn all_are_run(programs: &[Program]) -> Result<()> {
    let all = UNIT.into_iter().chain([WORLDS]).chain(SYSTEM);
    let folders: Vec<_> = all.map(|folder| paths::root().join(folder)).collect();
    match programs.iter().find(|program| program.is_test && !folders.contains(&program.package)) {
        Some(program) => bail!("no part of the test run runs the tests of {}", program.package.display()),
        None => Ok(()),
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
            all_are_run(workshop.programs()?)?;
            let tested = cargo::run_tests(workshop.programs()?, &UNIT, |run| run)?;
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
        Part::System => {
            let (tools, programs) = (workshop.tools()?, workshop.programs()?);
            let binaries = Binaries::among(programs)?;
            let (xtask, types) = (build::find(programs, "xtask")?, build::find(programs, "types")?);
            let served: Vec<Program> =
                programs.iter().filter(|program| !in_memory(program)).cloned().collect();
            cargo::run_tests(&served, &SYSTEM, |run| {
                run.env("MAREA_CHROMIUM", &tools.chromium)
                    .env("MAREA_BACKEND_BIN", &binaries.backend)
                    .env("MAREA_BIN", &binaries.marea)
                    .env("MAREA_XTASK_BIN", &xtask)
                    .env(types::BUILT, &types)
                    // Cargo puts the libraries beside the programs.
                    .env("MAREA_C_LIBRARIES", binaries.marea.parent().unwrap_or(Path::new("")))
            })
        }
        Part::Storage => {
            workshop.storage()?;
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
            workshop.apps()?;
            in_chromium("apps", workshop)
        }
        Part::Site => {
            workshop.package()?;
            site::build()?;
            in_chromium("site", workshop)
        }
        Part::Simulation => workshop.worlds(),
    }
}

/// Installs what a folder's tests use beside the workspace, once for all of its files.
fn install(tools: &Tools, folder: &str) -> Result<()> {
    let script = paths::root().join("tests").join(folder).join("install.mjs");
    Run::new(&tools.node).arg(script).show()
}

fn in_chromium(folder: &str, workshop: &Workshop) -> Result<Tally> {
    workshop.package()?;
    node::run_tests(folder, workshop.tools()?, &Binaries::among(workshop.programs()?)?)
}

/// Whether a test program is of the part `simulation`.
fn in_memory(program: &Program) -> bool {
    program.package == paths::root().join(WORLDS) || IN_MEMORY.contains(&program.name.as_str())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_program_that_no_part_runs_is_told() {
        let of = |folder: &str| Program {
            package: paths::root().join(folder),
            name: "new".to_owned(),
            is_test: true,
            path: "new".into(),
        };
        all_are_run(&[of("core"), of("tests"), of("tests/worlds")]).unwrap();
        all_are_run(&[Program { is_test: false, ..of("demo") }]).unwrap();
        let error = all_are_run(&[of("core"), of("demo")]).unwrap_err().to_string();
        assert!(error.ends_with("demo"), "{error}");
    }
}
