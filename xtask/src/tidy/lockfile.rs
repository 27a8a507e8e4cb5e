//! What is committed must not depend on where one machine downloads from.

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
            "package-lock.json" => findings.extend(lines(file, |line| line.contains("\"resolved\": \"http"))),
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
}
