//! Debian's package manager: what it offers, and installing from it.
//!
//! Only used as root on Debian and its relatives; nobody is asked for a password.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Result;

use super::{Fix, Missing};
use crate::{paths, run::Run, say::Step};

/// Versions of LLVM worth asking for, the best first: each has a wasm32 backend that SQLite and ring build with.
pub(crate) const LLVM_VERSIONS: std::ops::RangeInclusive<u32> = 14..=26;

/// A package that is wanted, whose name may depend on what the distribution has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Wanted {
    Exactly(&'static str),
    /// `clang`, `lld` or `llvm` of the newest version that is offered; one version for all of them.
    Llvm(&'static str),
}

/// Whether setup may install packages here; if not, why.
pub(crate) fn usable() -> Result<(), &'static str> {
    if paths::on_path("apt-get").is_none() {
        return Err("this is no Debian");
    }
    if !is_root() {
        return Err("only root may install packages");
    }
    Ok(())
}

/// Whether packages come from apt on this machine, be it by root or through sudo.
pub(crate) fn exists() -> bool {
    paths::on_path("apt-get").is_some()
}

/// What is missing of some programs, each with the package of Debian that has it; `None` when all are there.
pub(crate) fn missing_programs(
    name: &'static str,
    needed: &[(&'static str, &'static str)],
    what_for: &str,
) -> Option<Missing> {
    let absent = needed.iter().filter(|(program, _)| paths::on_path(program).is_none());
    let (programs, packages): (Vec<_>, Vec<_>) =
        absent.map(|(program, package)| (*program, Wanted::Exactly(package))).unzip();
    if programs.is_empty() {
        return None;
    }
    let by_hand = match exists() {
        true => command(&packages),
        false => format!("install {}", programs.join(", ")),
    };
    let why = format!("{} not found; {what_for}", programs.join(", "));
    Some(Missing { name, why, fix: Fix::Apt(packages), by_hand })
}

/// Whether this is Debian itself: its relatives may ship a stub instead of the real package (Chromium on Ubuntu).
pub(crate) fn is_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| os_id(&text) == Some("debian"))
}

fn os_id(os_release: &str) -> Option<&str> {
    os_release.lines().find_map(|line| line.strip_prefix("ID=")).map(|id| id.trim_matches('"'))
}

fn is_root() -> bool {
    is_root_status(&fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default())
}

/// Whether the effective user of a `/proc/PID/status` is root.
fn is_root_status(status: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

/// Fetches the lists of packages.
pub(crate) fn update() -> Result<()> {
    let step = Step::start("apt-get update");
    step.run(apt_get().arg("update"))?;
    step.done();
    Ok(())
}

/// Installs what is wanted in one go.
pub(crate) fn install(wanted: &BTreeSet<Wanted>) -> Result<()> {
    let packages = resolve(wanted)?;
    let step = Step::start(format!("apt-get install {}", packages.join(" ")));
    step.run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(&packages))?;
    step.done();
    Ok(())
}

fn apt_get() -> Run {
    // Another apt may be at work, as on a machine that has just started.
    Run::new("apt-get").args(["-o", "DPkg::Lock::Timeout=120"]).env("DEBIAN_FRONTEND", "noninteractive")
}

/// The names of the packages, once it is known which versions are offered.
fn resolve(wanted: &BTreeSet<Wanted>) -> Result<Vec<String>> {
    let stems: Vec<&str> = wanted.iter().filter_map(Wanted::llvm_stem).collect();
    let offered = if stems.is_empty() { BTreeSet::new() } else { offered(&stems)? };
    Ok(name_all(wanted, newest(&stems, &offered)))
}

impl Wanted {
    fn llvm_stem(&self) -> Option<&'static str> {
        match self {
            Self::Exactly(_) => None,
            Self::Llvm(stem) => Some(stem),
        }
    }
}

/// Which of the versioned LLVM packages the distribution has.
fn offered(stems: &[&str]) -> Result<BTreeSet<String>> {
    let names = LLVM_VERSIONS.flat_map(|version| stems.iter().map(move |stem| format!("{stem}-{version}")));
    Ok(candidates(&Run::new("apt-cache").arg("policy").args(names).read()?))
}

/// The packages in `apt-cache policy`'s answer that can be installed.
fn candidates(policy: &str) -> BTreeSet<String> {
    let mut package = "";
    let mut offered = BTreeSet::new();
    for line in policy.lines() {
        if !line.starts_with(' ') {
            package = line.trim_end_matches(':');
        } else if line.trim_start().strip_prefix("Candidate: ").is_some_and(|version| version != "(none)") {
            offered.insert(package.to_owned());
        }
    }
    offered
}

/// The newest LLVM of which every wanted part is offered.
fn newest(stems: &[&str], offered: &BTreeSet<String>) -> Option<u32> {
    LLVM_VERSIONS.rev().find(|version| {
        !stems.is_empty() && stems.iter().all(|stem| offered.contains(&format!("{stem}-{version}")))
    })
}

fn name_all(wanted: &BTreeSet<Wanted>, llvm: Option<u32>) -> Vec<String> {
    let name = |wanted: &Wanted| match (wanted, llvm) {
        (Wanted::Exactly(name), _) => (*name).to_owned(),
        (Wanted::Llvm(stem), Some(version)) => format!("{stem}-{version}"),
        (Wanted::Llvm(stem), None) => (*stem).to_owned(),
    };
    wanted.iter().map(name).collect()
}

/// The command that a person types to install what is wanted.
pub(crate) fn command(wanted: &[Wanted]) -> String {
    let installed_llvm = resolve(&wanted.iter().cloned().collect());
    let packages = installed_llvm.unwrap_or_else(|_| name_all(&wanted.iter().cloned().collect(), None));
    format!("sudo apt-get install {}", packages.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "clang-21:\n  Installed: (none)\n  Candidate: 1:21.1\n  Version table:\n\
        clang-22:\n  Installed: 1:22.1.8\n  Candidate: 1:22.1.8\n  Version table:\n\
        lld-21:\n  Installed: (none)\n  Candidate: 1:21.1\n  Version table:\n\
        lld-22:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";

    #[test]
    fn only_packages_with_a_candidate_are_offered() {
        let offered: Vec<String> = candidates(POLICY).into_iter().collect();
        assert_eq!(offered, ["clang-21", "clang-22", "lld-21"]);
    }

    #[test]
    fn one_version_serves_all_parts() {
        let offered = candidates(POLICY);
        assert_eq!(newest(&["clang"], &offered), Some(22));
        assert_eq!(newest(&["clang", "lld"], &offered), Some(21));
        assert_eq!(newest(&["clang", "llvm"], &offered), None);
        assert_eq!(newest(&[], &offered), None);
    }

    #[test]
    fn packages_are_named_with_their_version() {
        let wanted = [Wanted::Exactly("chromium"), Wanted::Llvm("lld")].into_iter().collect();
        assert_eq!(name_all(&wanted, Some(22)), ["chromium", "lld-22"]);
        assert_eq!(name_all(&wanted, None), ["chromium", "lld"]);
    }

    #[test]
    fn the_distribution_and_the_user_are_read() {
        assert_eq!(os_id("NAME=\"Debian GNU/Linux\"\nID=debian\n"), Some("debian"));
        assert_eq!(os_id("VERSION_ID=\"24.04\"\nID=\"ubuntu\"\n"), Some("ubuntu"));
        assert_eq!(os_id(""), None);
        assert!(is_root_status("Name:\tx\nUid:\t0\t0\t0\t0\n"));
        assert!(!is_root_status("Name:\tx\nUid:\t0\t1000\t0\t0\n"));
        assert!(!is_root_status(""));
    }
}
