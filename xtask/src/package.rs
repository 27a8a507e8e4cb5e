//! `cargo xtask package`: the tarball that npm would publish, and what must hold of it before anybody installs it.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{build, node_addon, paths, run::Run, sbom, setup, sizes, test::Tally, wasm};

/// Packs, checks, and prints the sizes.
pub(crate) fn run(node: bool) -> Result<()> {
    wasm::build(&setup::ensure()?, wasm::Effort::Release)?;
    build::npm_package()?;
    build::page()?;
    let tally = check()?;
    if node {
        node_addon::pack()?;
    }
    sizes::print()?;
    if tally.failed > 0 {
        bail!("the package has {} faults", tally.failed);
    }
    Ok(())
}

/// What must hold of the built package, as a part of the test run.
pub(crate) fn check() -> Result<Tally> {
    let tarball = pack()?;
    eprintln!("  {}", tarball.display());
    let parts = tarball.with_extension("cdx.json");
    fs::write(&parts, serde_json::to_vec_pretty(&sbom::of(&release())?)?)?;
    eprintln!("  {}", parts.display());
    // Not for CommonJS; and the module and the list of documents are no code.
    let esm = ["--profile", "esm-only", "--exclude-entrypoints", "./marea_wasm_bg.wasm", "./llms.txt"];
    let publint = Run::new(paths::npm_bin("publint")).args(["run", "--strict"]).arg(&tarball);
    let attw = Run::new(paths::npm_bin("attw")).arg(&tarball).args(esm);
    let report = Run::new("node").arg(paths::root().join("wasm").join("api").join("report.mjs"));
    let checks = [
        checked("nothing runs when it is installed", manifest().and_then(|manifest| runs_nothing(&manifest))),
        checked("it weighs no more than it may", sizes::within_limit()),
        checked("the manifest is as bundlers want it (publint)", publint.read().map(drop)),
        checked("the types resolve as the code does (attw)", attw.read().map(drop)),
        checked("its face is the one in wasm/api/", report.arg("--check").read().map(drop)),
    ];
    Ok(checks.into_iter().fold(Tally::default(), |sum, tally| sum + tally))
}

/// The package, as its list of parts begins: what is downloaded is the module, compiled for the browser.
pub(crate) fn release() -> sbom::Release<'static> {
    let version = env!("CARGO_PKG_VERSION");
    let purl = format!("pkg:npm/%40marea/client@{version}");
    let component = json!({
        "type": "library", "bom-ref": purl, "group": "@marea", "name": "client", "version": version, "purl": purl,
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    });
    sbom::Release { package: "marea-wasm", platform: Some("wasm32-unknown-unknown"), component }
}

/// Says how a check went.
fn checked(label: &str, outcome: Result<()>) -> Tally {
    match outcome {
        Ok(()) => {
            eprintln!("  ✓ {label}");
            Tally::passed()
        }
        Err(error) => {
            eprintln!("  ✗ {label}\n{error:#}");
            Tally::failed()
        }
    }
}

fn manifest() -> Result<Value> {
    let path = paths::root().join("wasm").join("package.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// Packs the npm package into `target/npm/`, with the name that the package's scope and version give it.
fn pack() -> Result<PathBuf> {
    let out = paths::target().join("npm");
    fs::create_dir_all(&out)?;
    let pack =
        Run::new("npm").args(["pack", "--workspace", "@marea/client", "--silent", "--pack-destination"]);
    let said = pack.arg(&out).read()?;
    let name = said.lines().last().context("npm did not say what it packed")?;
    Ok(out.join(name.trim()))
}

/// npm runs these on the machine of whoever installs the package; and what it depends on, they would install too.
fn runs_nothing(manifest: &Value) -> Result<()> {
    for script in ["preinstall", "install", "postinstall", "prepare"] {
        if manifest.pointer(&format!("/scripts/{script}")).is_some() {
            bail!("the package has a `{script}` script");
        }
    }
    if manifest.get("dependencies").is_some() {
        bail!("the package depends on others");
    }
    if manifest.get("sideEffects") != Some(&Value::Bool(false)) {
        bail!("without `sideEffects: false`, bundlers keep what an app does not use");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_package_that_runs_something_is_refused() {
        let good = json!({"sideEffects": false, "scripts": {"build": "x"}});
        assert!(runs_nothing(&good).is_ok());
        for bad in [
            json!({"sideEffects": false, "scripts": {"postinstall": "x"}}),
            json!({"sideEffects": false, "dependencies": {"left-pad": "1"}}),
            json!({"scripts": {}}),
        ] {
            assert!(runs_nothing(&bad).is_err(), "{bad}");
        }
    }
}
