//! `cargo xtask audit`: whether what Marea is built from may be used, comes from where it should, and is known to be unsafe. By cargo-deny
//! (`deny.toml`) and npm. No part of `cargo xtask test`: what is known changes from day to day, and needs a network.

use anyhow::{Result, bail};

use crate::{run::Run, say};

/// What needs no network.
const OFFLINE: [&str; 3] = ["licenses", "bans", "sources"];
/// How cargo-deny and npm say that they could not ask anybody.
const UNREACHED: [&str; 8] = [
    "failed to fetch advisory database",
    "unable to fetch",
    "failed to open advisory database",
    "ENOTFOUND",
    "ECONNREFUSED",
    "ETIMEDOUT",
    "No dependencies found with signatures",
    "audit endpoint returned an error",
];

/// How a check that needs a network ended.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Good,
    Bad,
    /// Nobody could be asked: nothing is known.
    Unreached,
}

pub(crate) fn run() -> Result<()> {
    install()?;
    say::heading("Crates: licences, banned ones, where they come from");
    let deny = || Run::new("cargo").args(["deny", "--all-features", "--locked"]);
    deny().args(["--offline", "check"]).args(OFFLINE).show()?;
    let checks = [
        ("Crates: known vulnerabilities", deny().args(["check", "advisories"])),
        ("npm packages: signatures of the registry", Run::new("npm").args(["audit", "signatures"])),
        (
            "npm packages: known vulnerabilities of what is shipped",
            Run::new("npm").args(["audit", "--omit=dev"]),
        ),
    ];
    let (mut bad, mut unreached) = (Vec::new(), Vec::new());
    for (name, check) in checks {
        say::heading(name);
        let ended = check.observe(|_, line| eprintln!("{line}"))?;
        match judge(ended.success, &format!("{}\n{}", ended.stdout, ended.stderr)) {
            Asked::Good => {}
            Asked::Bad => bad.push(name),
            Asked::Unreached => unreached.push(name),
        }
    }
    for name in &unreached {
        eprintln!("NOT CHECKED, because nobody could be asked: {name}");
    }
    if !bad.is_empty() {
        bail!("not in order: {}", bad.join("; "));
    }
    Ok(())
}

fn judge(success: bool, said: &str) -> Asked {
    match (success, UNREACHED.iter().any(|words| said.contains(words))) {
        (true, false) => Asked::Good,
        (_, true) => Asked::Unreached,
        (false, false) => Asked::Bad,
    }
}

fn install() -> Result<()> {
    if Run::new("cargo").args(["deny", "--version"]).read().is_ok() {
        return Ok(());
    }
    say::heading("Installing cargo-deny");
    Run::new("cargo").args(["install", "cargo-deny", "--locked"]).show()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_asked_is_neither_good_nor_bad() {
        for (success, said, expected) in [
            (true, "advisories ok", Asked::Good),
            (
                true,
                "audited 120 packages in 2s\n\n120 packages have verified registry signatures",
                Asked::Good,
            ),
            (false, "error[vulnerability]: a heap overflow", Asked::Bad),
            (false, "1 package has an invalid registry signature", Asked::Bad),
            (false, "error[advisory]: failed to fetch advisory database", Asked::Unreached),
            (false, "npm error code ENOTFOUND", Asked::Unreached),
            (false, "npm error audit endpoint returned an error", Asked::Unreached),
        ] {
            assert_eq!(judge(success, said), expected, "{said}");
        }
    }
}
