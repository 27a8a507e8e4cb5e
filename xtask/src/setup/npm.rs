//! Node, and the npm packages of the workspace as the lock file fixes them.

use std::{fs, path::PathBuf};

use serde_json::{Map, Value};

use super::{Fix, Look, Missing};
use crate::{paths, run::Run};

/// Vite and the test runner's options need this major version.
const MIN_NODE: u32 = 20;

pub(crate) fn look_for_node() -> Look<PathBuf> {
    let missing = |why| Missing {
        name: "Node",
        why,
        fix: Fix::None,
        by_hand: match cfg!(target_os = "macos") {
            true => "brew install node".to_owned(),
            false => format!("install Node {MIN_NODE} or newer, with npm, from https://nodejs.org"),
        },
    };
    let Some(node) = paths::on_path("node") else {
        return Err(missing(
            "`node` is not on PATH; the page is built and the browser is driven with it".to_owned(),
        ));
    };
    let version = Run::new(&node).arg("--version").read().map_err(|error| missing(format!("{error:#}")))?;
    let version = version.trim().to_owned();
    if major(&version).is_none_or(|major| major < MIN_NODE) {
        return Err(missing(format!("Node {version} is too old: {MIN_NODE} is the oldest that will do")));
    }
    if paths::on_path("npm").is_none() {
        return Err(missing("`npm` is not on PATH".to_owned()));
    }
    Ok((node, version))
}

/// `v20.20.2` -> 20.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

pub(crate) fn look_for_packages() -> Look<()> {
    let missing = |why| Missing {
        name: "npm packages",
        why,
        fix: Fix::NpmPackages,
        by_hand: "npm ci (it needs the network, or a registry set in npm's configuration)".to_owned(),
    };
    let locked = read_packages("package-lock.json").map_err(missing)?;
    let installed = read_packages("node_modules/.package-lock.json")
        .map_err(|_| missing("node_modules does not hold what package-lock.json fixes".to_owned()))?;
    let on_disk = |path: &str| paths::root().join(path).exists();
    match first_difference(&locked, &installed, on_disk) {
        Some(difference) => Err(missing(difference)),
        None => Ok(((), format!("{}, as the lock file has them", installed.len()))),
    }
}

fn read_packages(path: &str) -> Result<Map<String, Value>, String> {
    let text = fs::read_to_string(paths::root().join(path)).map_err(|error| format!("{path}: {error}"))?;
    let mut lock: Value = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    match lock.get_mut("packages").map(Value::take) {
        Some(Value::Object(packages)) => Ok(packages),
        _ => Err(format!("{path} lists no packages")),
    }
}

/// The first package of the lock file that is not installed as it says. A package that is optional may be absent:
/// it may be for another platform.
fn first_difference(
    locked: &Map<String, Value>,
    installed: &Map<String, Value>,
    on_disk: impl Fn(&str) -> bool,
) -> Option<String> {
    let flag = |package: &Value, name: &str| package.get(name).and_then(Value::as_bool).unwrap_or(false);
    locked.iter().filter(|(path, _)| path.contains("node_modules/")).find_map(|(path, wanted)| {
        let version = |package: &Value| package.get("version").and_then(Value::as_str).map(str::to_owned);
        match installed.get(path) {
            _ if flag(wanted, "link") => (!on_disk(path)).then(|| format!("{path} is not linked")),
            Some(found) if version(found) != version(wanted) => Some(format!("{path} is another version")),
            Some(_) => (!on_disk(path)).then(|| format!("{path} has been removed")),
            None if flag(wanted, "optional") => None,
            None => Some(format!("{path} is not installed")),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("20.20.2"), None);
        assert_eq!(major(""), None);
    }

    #[test]
    fn a_difference_from_the_lock_file_is_found() {
        let packages = |value: Value| value.as_object().unwrap().clone();
        let locked = packages(json!({
            "": {},
            "wasm": {"version": "0.1.0"},
            "node_modules/@marea/client": {"link": true, "resolved": "wasm"},
            "node_modules/a": {"version": "1.0.0"},
            "node_modules/a-darwin": {"version": "1.0.0", "optional": true},
        }));
        let check = |installed: Value, on_disk: bool, expected: Option<&str>| {
            let found = first_difference(&locked, &packages(installed), |_| on_disk);
            assert_eq!(found.as_deref(), expected);
        };
        check(json!({"node_modules/a": {"version": "1.0.0"}}), true, None);
        check(
            json!({"node_modules/a": {"version": "1.0.1"}}),
            true,
            Some("node_modules/a is another version"),
        );
        check(json!({}), true, Some("node_modules/a is not installed"));
        check(
            json!({"node_modules/a": {"version": "1.0.0"}}),
            false,
            Some("node_modules/@marea/client is not linked"),
        );
    }
}
