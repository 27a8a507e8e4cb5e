//! `cargo xtask bindings`: makes the bindings of Kotlin, Swift and Python from libmarea_uniffi into target/bindings/; with `--test` it runs
//! the programs of tests/bindings/ on them. Apart from `cargo xtask test`, which everybody runs: a JVM and a compiler are large.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{build, paths, run::Run, setup};

/// What cargo calls the library on this platform.
fn library() -> &'static str {
    match std::env::consts::OS {
        "windows" => "marea_uniffi.dll",
        "macos" => "libmarea_uniffi.dylib",
        _ => "libmarea_uniffi.so",
    }
}

/// Makes them, and runs the programs where that is asked for.
pub(crate) fn run(test: bool, release: bool) -> Result<()> {
    let out = make(release)?;
    eprintln!("the bindings are in {}", out.display());
    if !test {
        return Ok(());
    }
    let tools = setup::ensure_for_bindings()?;
    let binaries = build::Binaries::build()?;
    let tests = paths::root().join("tests").join("bindings");
    Run::new(&tools.node).arg(tests.join("install.mjs")).show()?;
    Run::new(&tools.node)
        .args(["--test", "--test-reporter=spec"])
        .arg(tests.join("programs.test.mjs"))
        .env("MAREA_BINDINGS", &out)
        .env("MAREA_BACKEND_BIN", &binaries.backend)
        .env("MAREA_BIN", &binaries.marea)
        // Nothing here needs a browser; the stage that these tests share with the browser's starts none then.
        .env("MAREA_FACE", "node")
        .show()
}

fn make(release: bool) -> Result<PathBuf> {
    let profile: &[&str] = if release { &["--release"] } else { &[] };
    let package = ["--package", "marea-uniffi"];
    Run::new("cargo").arg("build").args(package).args(profile).show()?;
    let built = paths::target().join(if release { "release" } else { "debug" }).join(library());
    let out = paths::target().join("bindings");
    fs::create_dir_all(&out)?;
    let copy = out.join(library());
    // Not over one that a program may have loaded.
    let _ = fs::remove_file(&copy);
    fs::copy(&built, &copy).with_context(|| format!("cannot copy {}", built.display()))?;
    let bindgen = ["--features", "bindgen", "--bin", "uniffi-bindgen", "--", "generate"];
    let generate =
        Run::new("cargo").args(["run", "--quiet"]).args(package).args(bindgen).arg("--library").arg(&copy);
    let languages = ["kotlin", "swift", "python"].into_iter().flat_map(|name| ["--language", name]);
    generate.args(languages).args(["--no-format", "--out-dir"]).arg(&out).show()?;
    Ok(out)
}
