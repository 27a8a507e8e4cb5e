//! Every dependency's licence is one that an application under any terms can be shipped with.
//!
//! Reads what the packages declare of themselves; it is no lawyer, and does not open their files.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Finding, tree::Tree};
use crate::{paths, run::Run};

/// SPDX names. All are permissive, but MPL-2.0, whose copyleft ends at its own files.
const ALLOWED: [&str; 18] = [
    "0BSD",
    "Apache-2.0",
    "BlueOak-1.0.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    // Of fonts only: it lets them be shipped with any program.
    "OFL-1.1",
    "PostgreSQL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    // An exception only adds permissions.
    "LLVM-exception",
];

/// What `cargo metadata` says of a package.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// Each workspace's: an example that an app starts from brings its dependencies along.
pub(crate) fn check_cargo(tree: &Tree) -> Vec<Finding> {
    lock_files(tree).flat_map(check_workspace).collect()
}

fn lock_files(tree: &Tree) -> impl Iterator<Item = &str> {
    tree.files.iter().map(|file| file.path.as_str()).filter(|path| Path::new(path).ends_with("Cargo.lock"))
}

fn check_workspace(lock: &str) -> Vec<Finding> {
    let manifest = paths::root().join(lock).with_file_name("Cargo.toml");
    let words = ["metadata", "--format-version", "1", "--locked", "--manifest-path"];
    let read = Run::new("cargo").args(words).arg(manifest).read();
    let metadata = read.and_then(|text| Ok(serde_json::from_str::<Metadata>(&text)?));
    match metadata {
        Ok(metadata) => metadata.packages.iter().filter_map(judge_package).collect(),
        Err(error) => vec![Finding::in_file(lock, format!("cannot be read by cargo: {error:#}"))],
    }
}

fn judge_package(package: &Package) -> Option<Finding> {
    judge(&format!("{} {}", package.name, package.version), package.license.as_deref())
}

pub(crate) fn check_npm(tree: &Tree) -> Vec<Finding> {
    let lock = tree.files.iter().find(|file| file.path == "package-lock.json");
    let parsed = lock.and_then(|file| serde_json::from_str::<Value>(&file.text).ok());
    match parsed.as_ref().and_then(|lock| lock.get("packages")).and_then(Value::as_object) {
        Some(packages) => judge_npm(packages),
        None => vec![Finding::in_file("package-lock.json", "it is missing or lists no packages")],
    }
}

fn judge_npm(packages: &Map<String, Value>) -> Vec<Finding> {
    let is_link = |package: &Value| package.get("link").and_then(Value::as_bool) == Some(true);
    let downloaded =
        packages.iter().filter(|(path, package)| path.contains("node_modules/") && !is_link(package));
    downloaded
        .filter_map(|(path, package)| judge(path, package.get("license").and_then(Value::as_str)))
        .collect()
}

fn judge(package: &str, licence: Option<&str>) -> Option<Finding> {
    match licence {
        None => Some(Finding::in_file(package, "it declares no licence")),
        Some(licence) if is_allowed(licence) => None,
        Some(licence) => {
            Some(Finding::in_file(package, format!("`{licence}` is no licence that we may ship")))
        }
    }
}

/// Whether an SPDX expression (`(MIT OR GPL-3.0) AND Zlib`) can be met with allowed licences.
fn is_allowed(expression: &str) -> bool {
    // Old manifests write `MIT/Apache-2.0`.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    let allowed = either(&mut rest);
    allowed == Some(true) && rest.is_empty()
}

/// `a OR b`; nothing when it is no expression.
fn either(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = both(rest)?;
    while let Some((&"OR", after)) = rest.split_first() {
        *rest = after;
        allowed |= both(rest)?;
    }
    Some(allowed)
}

/// `a AND b`, `a WITH exception`
fn both(rest: &mut &[&str]) -> Option<bool> {
    let mut allowed = one(rest)?;
    while let Some((&("AND" | "WITH"), after)) = rest.split_first() {
        *rest = after;
        allowed &= one(rest)?;
    }
    Some(allowed)
}

/// A name, or an expression in parentheses.
fn one(rest: &mut &[&str]) -> Option<bool> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    if first != "(" {
        return Some(ALLOWED.contains(&first));
    }
    let allowed = either(rest)?;
    let (&")", after) = rest.split_first()? else { return None };
    *rest = after;
    Some(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_judged() {
        for licence in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "GPL-2.0 OR MIT",
            "Apache-2.0 WITH LLVM-exception OR MIT",
            "MIT OR (GPL-2.0 AND Zlib)",
        ] {
            assert!(is_allowed(licence), "{licence}");
        }
        for licence in ["GPL-3.0", "MIT AND GPL-3.0", "", "MIT OR", "(MIT", "MIT)", "SEE LICENSE IN x"] {
            assert!(!is_allowed(licence), "{licence}");
        }
    }

    #[test]
    fn an_npm_package_without_a_good_licence_is_found() {
        let lock = serde_json::json!({
            "node_modules/good": {"license": "MIT"},
            "node_modules/bad": {"license": "AGPL-3.0"},
            "node_modules/silent": {},
            "node_modules/ours": {"link": true},
        });
        let found = judge_npm(lock.as_object().unwrap());
        let places: Vec<&str> = found.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(places, ["node_modules/bad", "node_modules/silent"]);
    }

    #[test]
    fn every_workspace_is_looked_at() {
        let tree = Tree::of(&[
            ("Cargo.lock", ""),
            ("a/Cargo.toml", ""),
            ("a/Cargo.lock", ""),
            ("a/NoCargo.lock", ""),
        ]);
        assert_eq!(lock_files(&tree).collect::<Vec<_>>(), ["Cargo.lock", "a/Cargo.lock"]);
        let found = check_workspace("nowhere/Cargo.lock");
        assert_eq!(found.len(), 1, "what cannot be read is no licence to ship: {found:?}");
    }

    #[test]
    fn a_crate_without_a_good_licence_is_found() {
        let package = |license: Option<&str>| Package {
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
        };
        assert!(judge_package(&package(Some("MIT"))).is_none());
        assert!(judge_package(&package(Some("GPL-3.0"))).is_some());
        assert!(judge_package(&package(None)).is_some());
    }
}
