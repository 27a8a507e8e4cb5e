//! `cargo xtask coverage`: which lines of the engine the tests reach: its own, and the seeded worlds, storage faults and
//! hostile inputs of `marea-tests`.
//!
//! rustc counts (`-C instrument-coverage`); LLVM's tools of the same version as rustc's own LLVM read the counts.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{build, paths, run::Run, say};

/// The whole-system tests that need no server.
const TESTS: [&str; 3] = ["simulation_fast", "mirror_faults", "fuzz_corpus"];
/// Worlds: a line that these do not reach, more of them hardly would.
const SEEDS: &str = "600";

/// Builds, runs, and prints a table of files and the lines that were not reached.
pub(crate) fn run() -> Result<()> {
    let tools = Tools::find()?;
    let folder = paths::target().join("coverage");
    let counts = folder.join("counts");
    let _ = std::fs::remove_dir_all(&counts);
    std::fs::create_dir_all(&counts)?;

    say::heading("Building with counters");
    // Of `test`, `--lib` is the program of the library's own tests; of `build` it would be the library.
    let mut arguments = vec!["--no-run", "--package", "marea-core", "--package", "marea-tests", "--lib"];
    arguments.extend(["--features", "marea-core/http,marea-core/planted-faults"]);
    arguments.extend(TESTS.iter().flat_map(|test| ["--test", test]));
    let target = folder.join("target");
    let (target, dropped) = (target.to_string_lossy(), folder.join("build.profraw"));
    let programs = build::cargo_with(
        "test",
        &arguments,
        &[
            ("RUSTFLAGS", "-C instrument-coverage"),
            ("CARGO_TARGET_DIR", &target),
            // The programs that run while others are built count as well, and would leave it where they run.
            ("LLVM_PROFILE_FILE", &dropped.to_string_lossy()),
        ],
    )?;
    let tests: Vec<_> = programs.into_iter().filter(|program| program.is_test).collect();

    say::heading("Running");
    for test in &tests {
        let pattern = counts.join(format!("{}-%p.profraw", test.name));
        let run = Run::new(&test.path)
            .dir(&test.package)
            .env("LLVM_PROFILE_FILE", pattern)
            .env("MAREA_SEEDS", SEEDS);
        run.show().with_context(|| format!("{} fails", test.name))?;
    }

    let merged = folder.join("counts.profdata");
    let raw: Vec<PathBuf> = std::fs::read_dir(&counts)?.flatten().map(|entry| entry.path()).collect();
    Run::new(&tools.profdata).args(["merge", "-sparse", "-o"]).arg(&merged).args(raw).show()?;
    let report = |what: &str| {
        let mut run = Run::new(&tools.cov).arg(what).arg("-instr-profile").arg(&merged);
        let mut objects = tests.iter().map(|test| test.path.clone());
        run = run.args(objects.next());
        run = objects.fold(run, |run, path| run.arg("-object").arg(path));
        run.arg(paths::root().join("core/src"))
    };
    say::heading("Coverage of core");
    report("report").args(["-show-region-summary=false", "-show-branch-summary=false"]).show()?;
    say::heading("Lines that no test reaches");
    let shown = report("show").args(["-show-line-counts-or-regions=false"]).observe(|_, _| ())?;
    print!("{}", unreached(&shown.stdout));
    Ok(())
}

/// `file:line: text` of every line that was counted and never reached.
fn unreached(shown: &str) -> String {
    let root = format!("{}/", paths::root().display());
    let mut file = String::new();
    let mut lines = String::new();
    for line in shown.lines() {
        if let Some(path) = line.strip_suffix(':').filter(|path| path.starts_with('/')) {
            file = path.strip_prefix(&root).unwrap_or(path).to_owned();
            continue;
        }
        let mut parts = line.splitn(3, '|');
        let (Some(number), Some(count), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if count.trim() == "0" {
            lines.push_str(&format!("{file}:{}: {}\n", number.trim(), text.trim()));
        }
    }
    lines
}

/// The programs that read the counts.
struct Tools {
    profdata: PathBuf,
    cov: PathBuf,
}

impl Tools {
    fn find() -> Result<Tools> {
        let version = Run::new("rustc").arg("-vV").observe(|_, _| ())?.stdout;
        let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "));
        let major =
            llvm.and_then(|version| version.split('.').next()).context("rustc does not name its LLVM")?;
        let sysroot = Run::new("rustc").args(["--print", "target-libdir"]).observe(|_, _| ())?.stdout;
        let of_rustup = PathBuf::from(sysroot.trim()).join("../bin");
        let find = |name: &str| {
            let own = of_rustup.join(name);
            if paths::is_program(&own) { Some(own) } else { paths::on_path(&format!("{name}-{major}")) }
        };
        match (find("llvm-profdata"), find("llvm-cov")) {
            (Some(profdata), Some(cov)) => Ok(Tools { profdata, cov }),
            _ => bail!(
                "there is no llvm-cov of version {major}: `rustup component add llvm-tools`, or install llvm-{major}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_were_counted_and_not_reached_are_listed() {
        let root = paths::root();
        let shown = format!(
            "{}/core/src/a.rs:\n    1|     3|fn a() {{\n    2|     0|    b();\n    3|      |// why\n",
            root.display()
        );
        assert_eq!(unreached(&shown), "core/src/a.rs:2: b();\n");
    }
}
