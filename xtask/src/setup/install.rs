//! Getting what is missing: rustup, apt and npm, in this order, each at most once.
//!
//! A way that fails is said and the next is tried; whether everything is there in the end is for the caller to
//! look, not for this file to believe.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;

use super::{Fix, Missing, apt, compiler};
use crate::{paths, run::Run, say::Step};

/// rustup retries for minutes when its servers cannot be reached; the target itself is 20 MB.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);

pub(crate) fn all(missing: &[&Missing]) {
    let mut wanted = BTreeSet::new();
    let mut npm = false;
    for fix in missing.iter().map(|missing| &missing.fix) {
        match fix {
            Fix::RustTarget { or_apt } => {
                if !add_rust_target() {
                    wanted.extend(or_apt.iter().cloned());
                }
            }
            Fix::Apt(packages) => wanted.extend(packages.iter().cloned()),
            Fix::NpmPackages => npm = true,
            Fix::None => (),
        }
    }
    if !wanted.is_empty() {
        install_packages(&wanted);
    }
    if npm && paths::on_path("npm").is_some() {
        attempt("npm ci", |step| {
            step.run(Run::new("npm").args(["ci", "--no-audit", "--no-fund"])).map(|_| ())
        });
    }
}

/// Whether rustup brought the target.
fn add_rust_target() -> bool {
    rustup(&["target", "add", compiler::TARGET])
}

/// The standard library's source, with which the browser's module is smaller. Without it that is built all the same.
pub(super) fn add_rust_source() {
    rustup(&["component", "add", "rust-src"]);
}

fn rustup(words: &[&str]) -> bool {
    if paths::on_path("rustup").is_none() {
        return false;
    }
    attempt(&format!("rustup {}", words.join(" ")), |step| {
        let rustup = Run::new("rustup").args(words).limit(RUSTUP_LIMIT);
        // One try: the answer to an unreachable server is another way, not another try.
        step.run(rustup.env("RUSTUP_MAX_RETRIES", "0").env("RUST_BACKTRACE", "0")).map(|_| ())
    })
}

fn install_packages(wanted: &BTreeSet<apt::Wanted>) {
    // Why not is said with each thing that stays missing.
    if apt::usable().is_err() {
        return;
    }
    if let Err(error) = apt::update().and_then(|()| apt::install(wanted)) {
        eprintln!("  ✗ {error:#}");
    }
}

fn attempt(label: &str, work: impl FnOnce(&Step) -> Result<()>) -> bool {
    let step = Step::start(label);
    match work(&step) {
        Ok(()) => {
            step.done();
            true
        }
        Err(error) => {
            step.failed(&gist(&format!("{error:#}")));
            false
        }
    }
}

/// Of a program's long complaint, its conclusion: there may be another way, and then nobody reads the rest.
fn gist(complaint: &str) -> String {
    let lines = || complaint.lines().map(|line| line.trim_start_matches("npm error").trim());
    let telling = || lines().filter(|line| !line.is_empty() && !line.starts_with("npm warn"));
    let of_npm = || telling().skip(1).find(|line| !line.starts_with("code "));
    let conclusion = match complaint.contains("npm error") {
        true => of_npm(),
        false => telling().find(|line| line.starts_with("error")).or_else(|| telling().next_back()),
    };
    conclusion.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_complaint_is_put_in_one_line() {
        let rustup =
            "`rustup` failed:\ninfo: downloading\nerror: download failed\n\nCaused by:\n    0: refused\n";
        assert_eq!(gist(rustup), "error: download failed");
        assert_eq!(gist("`rustup` was stopped after 90 s"), "`rustup` was stopped after 90 s");
        let npm = "`npm ci` failed:\nnpm warn x\nnpm error code EUSAGE\nnpm error\nnpm error no lock file\nnpm error usage\n";
        assert_eq!(gist(npm), "no lock file");
        assert_eq!(gist(""), "");
    }
}
