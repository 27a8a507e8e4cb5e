//! Every crate's manifest takes from the workspace what the workspace decides: edition, licence, lints, versions.

use super::{
    Finding,
    tree::{File, Tree},
};

/// What every `[package]` must say, besides its own name.
const PACKAGE: [&str; 6] = [
    "description = \"",
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
    "publish.workspace = true",
];

/// The one crate that is a workspace of its own: it has a root's table of versions, and its `[dependencies]` take from that.
const ALONE: &str = "examples/tauri/Cargo.toml";

/// The feature that lets tests break the engine.
const PLANTED: &str = "planted-faults";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let manifests = || tree.under("", &["/Cargo.toml"]);
    manifests()
        .flat_map(check_manifest)
        .chain(manifests().flat_map(|file| check_untested(file, tree)))
        .collect()
}

/// Where cargo is told to look for no tests, a test would never run.
fn check_untested(manifest: &File, tree: &Tree) -> Vec<Finding> {
    if !manifest.text.lines().any(|line| line == "test = false") {
        return Vec::new();
    }
    let folder = manifest.path.replace("Cargo.toml", "src/");
    let written = tree.under(&folder, &[".rs"]).filter(|file| {
        file.text
            .lines()
            .any(|line| ["#[test]", "#[tokio::test"].iter().any(|mark| line.trim().starts_with(mark)))
    });
    let message = format!("{} says that there are no tests here", manifest.path);
    written.map(|file| Finding::in_file(&file.path, message.clone())).collect()
}

fn check_manifest(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for needed in PACKAGE {
        if !file.text.lines().any(|line| line.starts_with(needed)) {
            findings.push(Finding::in_file(&file.path, format!("[package] lacks `{needed}`")));
        }
    }
    if !file.text.contains("[lints]\nworkspace = true") {
        findings.push(Finding::in_file(&file.path, "it lacks `[lints] workspace = true`"));
    }
    let plants =
        file.text.lines().enumerate().filter(|(_, line)| line.contains(PLANTED) && !line.starts_with('#'));
    for (number, _) in plants.filter(|(_, line)| !may_plant(&file.path, line)) {
        let message = "faults are planted by tests alone: no product may ask for this feature";
        findings.push(Finding::at(&file.path, number, message));
    }
    let mut in_dependencies = false;
    for (number, line) in file.text.lines().enumerate() {
        if line.starts_with('[') {
            let is_root = file.path == ALONE && line == "[workspace.dependencies]";
            in_dependencies = !is_root && line.trim_end_matches(']').ends_with("dependencies");
        } else if in_dependencies && line.contains(" = ") && !line.starts_with('#') && !inherits(line) {
            let message = "a dependency's version belongs in the root's [workspace.dependencies]";
            findings.push(Finding::at(&file.path, number, message));
        }
    }
    findings
}

/// Declared by the engine, asked for by the whole-system tests.
fn may_plant(path: &str, line: &str) -> bool {
    ["tests/Cargo.toml", "tests/worlds/Cargo.toml"].contains(&path)
        || path == "core/Cargo.toml" && line.starts_with("planted-faults = []")
}

fn inherits(line: &str) -> bool {
    line.contains(".workspace = true")
        || line.contains("workspace = true,")
        || line.contains("{ workspace = true }")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(dependencies: &str) -> String {
        let package = PACKAGE.join("\n").replace("\"", "\"\"");
        format!("[package]\nname = \"a\"\n{package}\n\n[lints]\nworkspace = true\n\n{dependencies}")
    }

    #[test]
    fn only_the_workspace_of_its_own_decides_versions() {
        let check = |path: &str, table: &str, expected: usize| {
            let text = manifest(&format!("[{table}]\nserde = \"1\""));
            assert_eq!(check(&Tree::of(&[(path, &text)])).len(), expected, "{path}: {table}")
        };
        check(ALONE, "workspace.dependencies", 0);
        check(ALONE, "dependencies", 1);
        check(ALONE, "build-dependencies", 1);
        check("a/Cargo.toml", "workspace.dependencies", 1);
    }

    #[test]
    fn a_test_that_never_runs_is_found() {
        let check = |target: &str, code: &str, expected: usize| {
            let tree = Tree::of(&[("a/Cargo.toml", &manifest(target)), ("a/src/b.rs", code)]);
            assert_eq!(check(&tree).len(), expected, "{target}: {code}")
        };
        check("[lib]\ntest = false", "mod tests {\n    #[test]\n    fn a() {}", 1);
        check("[lib]\ntest = false", "#[tokio::test(flavor = \"multi_thread\")]", 1);
        check("[lib]\ntest = false", "// as any #[test]", 0);
        check("", "#[test]", 0);
    }

    #[test]
    fn what_a_manifest_lacks_is_found() {
        let check = |text: &str, expected: usize| {
            assert_eq!(check(&Tree::of(&[("a/Cargo.toml", text)])).len(), expected, "{text}")
        };
        check(&manifest(""), 0);
        check(
            &manifest(
                "[dependencies]\nserde.workspace = true\nuuid = { workspace = true, features = [\"v4\"] }",
            ),
            0,
        );
        check(&manifest("[target.'cfg(unix)'.dev-dependencies]\nserde = \"1\""), 1);
        check(&manifest("").replace("license.workspace = true", "license = \"MIT\""), 1);
        check(&manifest("[dependencies]\na = { workspace = true, features = [\"planted-faults\"] }"), 1);
        check(&manifest("[features]\ndefault = [\"a/planted-faults\"]"), 1);
        check(&manifest("").replace("[lints]", "[features]"), 1);
    }
}
