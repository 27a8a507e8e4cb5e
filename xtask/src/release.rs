//! `cargo xtask release --dry-run`: everything that a release needs, up to the point at which something leaves this machine.
//!
//! Publishing itself is a person's, on a machine that may: CONTRIBUTING.md says how. What cannot be checked here is said, not passed over.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{build, node_addon, package, paths, run::Run, say, setup, sizes, wasm};

/// The crates that others may depend on, in the order in which they are published.
const CRATES: [&str; 2] = ["marea-core", "marea-native"];

/// Makes all that would be published, and checks it.
pub(crate) fn run(dry_run: bool) -> Result<()> {
    if !dry_run {
        bail!(
            "nothing is published from here; `cargo xtask release --dry-run` makes and checks it, CONTRIBUTING.md has the rest"
        );
    }
    say::heading("── versions ──");
    let version = env!("CARGO_PKG_VERSION");
    versions_agree(version, &read("wasm/package.json")?, &read("CHANGELOG.md")?)?;
    eprintln!("  ✓ {version}, in Cargo.toml, wasm/package.json and CHANGELOG.md");

    say::heading("── crates ──");
    // They were compiled by the tests. Without lock files: one is made by asking a registry for the crates that these need, the first of
    // which is in none before it is published.
    let packed = CRATES.iter().fold(
        Run::new("cargo").args(["package", "--no-verify", "--allow-dirty", "--exclude-lockfile"]),
        |run, name| run.args(["--package", name]),
    );
    packed.show()?;
    semver_checks()?;

    say::heading("── the npm package ──");
    wasm::build(&setup::ensure()?, wasm::Effort::Release)?;
    build::npm_package()?;
    build::page()?;
    let tally = package::check()?;
    node_addon::pack()?;
    sizes::print()?;
    if tally.failed > 0 {
        bail!("the npm package has {} faults", tally.failed);
    }

    say::heading("── not done here ──");
    eprintln!("  tests: `cargo xtask test`; licences and known vulnerabilities: `cargo xtask audit`");
    eprintln!(
        "  npm publish --provenance: only a build service that npm trusts can sign where a package was built"
    );
    eprintln!("  cargo publish: the crates say `publish = false` until their names are decided");
    Ok(())
}

/// One version everywhere, and a chapter that tells of it.
fn versions_agree(version: &str, manifest: &str, changelog: &str) -> Result<()> {
    let manifest: Value = serde_json::from_str(manifest).context("wasm/package.json is no JSON")?;
    match manifest.get("version").and_then(Value::as_str) {
        Some(other) if other == version => {}
        other => bail!("wasm/package.json has version {}, Cargo.toml {version}", other.unwrap_or("none")),
    }
    if !changelog.lines().any(|line| line.starts_with(&format!("## {version}"))) {
        bail!("CHANGELOG.md has no chapter `## {version}`");
    }
    Ok(())
}

/// Against the last release that was published, where the tool is installed and there is one.
fn semver_checks() -> Result<()> {
    if Run::new("cargo").args(["semver-checks", "--version"]).read().is_err() {
        eprintln!("  - cargo-semver-checks is not installed: the Rust API was compared with nothing");
        return Ok(());
    }
    for name in CRATES {
        let outcome = Run::new("cargo").args(["semver-checks", "--package", name]).read();
        eprintln!("{}", semver_verdict(name, outcome.map_err(|error| format!("{error:#}")))?);
    }
    Ok(())
}

/// What the tool's outcome means. Whatever it says that is not *there is no release yet* stops the release.
fn semver_verdict(name: &str, outcome: Result<String, String>) -> Result<String> {
    match outcome {
        Ok(_) => Ok(format!("  ✓ {name} is compatible with its last release (cargo-semver-checks)")),
        Err(said) if said.contains("not found in registry") => {
            Ok(format!("  - {name}: there is no release to compare with yet"))
        }
        Err(said) => bail!("{name} may break who depends on it:\n{said}"),
    }
}

fn read(name: &str) -> Result<String> {
    fs::read_to_string(paths::root().join(name)).with_context(|| format!("cannot read {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_not_everywhere_is_found() {
        let manifest = |version: &str| format!(r#"{{"version": "{version}"}}"#);
        assert!(
            versions_agree("1.2.3", &manifest("1.2.3"), "# Changelog\n\n## 1.2.3 (2026-11-30)\n").is_ok()
        );
        assert!(versions_agree("1.2.3", &manifest("1.2.4"), "## 1.2.3\n").is_err());
        assert!(versions_agree("1.2.3", "{}", "## 1.2.3\n").is_err());
        assert!(versions_agree("1.2.3", &manifest("1.2.3"), "## 1.2\n").is_err());
    }

    #[test]
    fn an_incompatible_crate_stops_the_release() {
        let verdict = |outcome: Result<&str, &str>| {
            semver_verdict("marea-core", outcome.map(str::to_owned).map_err(str::to_owned))
        };
        assert!(verdict(Ok("")).is_ok());
        assert!(verdict(Err("error: `marea-core` not found in registry (crates.io)")).is_ok());
        let refused = verdict(Err("--- failure function_missing ---")).unwrap_err();
        assert!(refused.to_string().contains("function_missing"), "{refused}");
    }

    #[test]
    fn the_versions_of_this_tree_agree() {
        let (manifest, changelog) = (read("wasm/package.json").unwrap(), read("CHANGELOG.md").unwrap());
        versions_agree(env!("CARGO_PKG_VERSION"), &manifest, &changelog).unwrap();
    }
}
