//! Lock files: what is committed must not depend on where one machine downloads from, and must be whole.

use serde_json::Value;

use super::{
    Finding,
    tree::{File, Tree},
};

/// crates.io's own name in a Cargo.lock, which stands for it whatever mirror answers.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        match name {
            "package-lock.json" => {
                findings.extend(lines(file, |line| line.contains("\"resolved\": \"http")));
                findings.extend(incomplete(file));
            }
            "Cargo.lock" => findings
                .extend(lines(file, |line| line.starts_with("source = ") && !line.contains(CRATES_IO))),
            ".npmrc" => {
                findings.extend(lines(file, |line| line.contains("registry=") || line.contains("//")))
            }
            "config.toml" => findings.extend(lines(file, |line| {
                line.starts_with("[source") || line.starts_with("[registr") || line.contains("replace-with")
            })),
            _ => (),
        }
    }
    findings
}

fn lines(file: &File, is_bad: impl Fn(&str) -> bool) -> Vec<Finding> {
    let bad = file.text.lines().enumerate().filter(|(_, line)| is_bad(line));
    bad.map(|(number, _)| {
        Finding::at(&file.path, number, "it names a registry: that is each machine's own setting")
    })
    .collect()
}

/// The packages that a locked package needs and the lock file lacks. `npm install` writes such a file, without a word,
/// when the registry does not have an optional one; `npm ci` then refuses it.
fn incomplete(file: &File) -> Vec<Finding> {
    let lock: Value = serde_json::from_str(&file.text).unwrap_or_default();
    let Some(packages) = lock.get("packages").and_then(Value::as_object) else { return Vec::new() };
    let is_locked = |name: &str| {
        let ending = format!("node_modules/{name}");
        packages.keys().any(|path| path.ends_with(&ending))
    };
    let needs = |package: &Value| -> Vec<String> {
        let named = ["dependencies", "optionalDependencies"]
            .into_iter()
            .filter_map(|kind| package.get(kind)?.as_object());
        named.flat_map(|names| names.keys().cloned()).collect()
    };
    packages
        .iter()
        .flat_map(|(path, package)| needs(package).into_iter().map(move |name| (path, name)))
        .filter(|(_, name)| !is_locked(name))
        .map(|(path, name)| {
            Finding::in_file(
                &file.path,
                format!("`{path}` needs {name}, which is not in it: `npm ci` refuses that"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_registry_is_found() {
        let check = |path: &str, text: &str, expected: usize| {
            assert_eq!(check(&Tree::of(&[(path, text)])).len(), expected, "{text}")
        };
        check("package-lock.json", "  \"resolved\": \"http://mirror.example/a.tgz\",", 1);
        check("package-lock.json", "  \"resolved\": \"wasm\",", 0);
        check("Cargo.lock", "source = \"registry+https://mirror.example/index\"", 1);
        let usual = format!("source = \"{CRATES_IO}\"");
        check("Cargo.lock", &usual, 0);
        check(".npmrc", "registry=https://mirror.example/", 1);
        check(".npmrc", "omit-lockfile-registry-resolved=true", 0);
        check(".cargo/config.toml", "[source.crates-io]", 1);
    }

    #[test]
    fn a_package_that_the_lock_file_lacks_is_found() {
        let lock = r#"{"packages": {
            "node_modules/a": {"dependencies": {"b": "1"}, "optionalDependencies": {"@s/c": "1", "d": "1"}},
            "node_modules/b": {}, "node_modules/a/node_modules/@s/c": {}}}"#;
        let found = check(&Tree::of(&[("package-lock.json", lock)]));
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("`node_modules/a` needs d"), "{found:?}");
    }
}
