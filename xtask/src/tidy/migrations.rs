//! Every Postgres migration can be taken back and can be checked, the numbers have no gap, and the files are what
//! `migrations/source/` makes of them, or what they were when they were frozen.

use std::collections::BTreeMap;

use super::{Finding, tree::Tree};
use crate::migrations;

const FOLDER: &str = "migrations/";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let names: Vec<&str> =
        tree.under(FOLDER, &[".sql"]).filter_map(|file| file.path.strip_prefix(FOLDER)).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !name.contains('/')).collect();
    let mut forward: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    let mut findings = Vec::new();
    for name in names.iter().copied().filter(|name| !name.starts_with("validate_")) {
        match number(name) {
            Some(number) if !name.ends_with("_rollback.sql") => forward.entry(number).or_default().push(name),
            Some(_) => (),
            None if UNNUMBERED.contains(&name) => (),
            None => findings.push(finding(name, "name it NNN_what_it_does.sql")),
        }
    }
    for (expected, (number, same)) in (1..).zip(&forward) {
        let name = same[0];
        if same.len() > 1 {
            findings.push(finding(same[1], "another migration has this number"));
        }
        if *number != expected {
            findings.push(finding(name, &format!("{expected:03} is missing before it")));
        }
        let rollback = name.replace(".sql", "_rollback.sql");
        for needed in [rollback, format!("validate_{number:03}.sql")] {
            if !names.contains(&needed.as_str()) {
                findings.push(finding(name, &format!("it needs {FOLDER}{needed} beside it")));
            }
        }
    }
    findings
}

/// Run before the first, or at any time.
const UNNUMBERED: [&str; 3] = ["adopt.sql", "adopt_rollback.sql", "preflight.sql"];

/// The numbered files against their source and their checksums, and the source's own rules.
pub(crate) fn check_source(tree: &Tree) -> Vec<Finding> {
    const SOURCE: &str = "migrations/source/";
    const LONGEST: usize = 400;
    let renew = "it is not what `cargo xtask migrations` makes of migrations/source";
    let every = |file: &super::tree::File| (file.path.clone(), file.text.clone());
    let files: BTreeMap<String, String> = tree.under(FOLDER, &[""]).map(every).collect();
    let mut findings: Vec<Finding> = tree
        .under(SOURCE, &[".sql"])
        .filter(|file| file.text.lines().count() > LONGEST)
        .map(|file| Finding::in_file(&file.path, format!("more than {LONGEST} lines: two topics")))
        .collect();
    match migrations::assembled(&files) {
        Ok(made) => {
            let stale = made.iter().filter(|(path, text)| files.get(*path) != Some(text));
            findings.extend(stale.map(|(path, _)| Finding::in_file(path, renew)));
        }
        Err(error) => findings.push(Finding::in_file(SOURCE, error.to_string())),
    }
    let order = files.get(migrations::ORDER).map_or("", String::as_str);
    let topics = tree.under(SOURCE, &[".sql"]).filter_map(|file| {
        let topic = file.path.strip_prefix(SOURCE)?.strip_suffix(".sql")?;
        (!topic.contains('/') && !order.lines().any(|line| line.trim() == topic)).then_some(&file.path)
    });
    findings.extend(topics.map(|path| Finding::in_file(path, "it is not in migrations/source/ORDER")));
    if !migrations::is_frozen(&files)
        && files.get(migrations::CHECKSUMS) != Some(&migrations::checksums(&files, false))
    {
        findings.push(Finding::in_file(migrations::CHECKSUMS, "stale: cargo xtask migrations"));
    }
    findings.extend(
        migrations::stale(&files).iter().map(|path| Finding::in_file(path, "its checksum is another one")),
    );
    findings
}

fn finding(name: &str, message: &str) -> Finding {
    Finding::in_file(&format!("{FOLDER}{name}"), message)
}

/// `001_tables.sql` -> 1.
fn number(name: &str) -> Option<u32> {
    let (digits, _) = name.split_once('_')?;
    (digits.len() == 3).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_migration_lacks_is_found() {
        let check = |names: &[&str], expected: usize| {
            let paths: Vec<String> = names.iter().map(|name| format!("{FOLDER}{name}")).collect();
            let files: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "")).collect();
            assert_eq!(check(&Tree::of(&files)).len(), expected, "{names:?}");
        };
        check(&["001_a.sql", "001_a_rollback.sql", "validate_001.sql"], 0);
        check(&["001_a.sql"], 2);
        check(&["001_a.sql", "001_a_rollback.sql"], 1);
        check(&["002_a.sql", "002_a_rollback.sql", "validate_002.sql"], 1);
        check(&["001_a.sql", "001_b.sql", "001_a_rollback.sql", "validate_001.sql"], 1);
        check(&["tables.sql"], 1);
    }

    #[test]
    fn a_file_that_is_not_what_its_source_makes_is_found() {
        let body = "x\n".repeat(401);
        let source = [
            ("migrations/source/ORDER", "001_a\n    one\n"),
            ("migrations/source/heads/001_a.sql", "BEGIN;\n"),
            ("migrations/source/heads/from_before_release.sql", "BEGIN;\n"),
            ("migrations/source/one.sql", "first;\n"),
        ];
        let files: BTreeMap<String, String> =
            source.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let made = migrations::assembled(&files).expect("assembled");
        let sums = migrations::checksums(&made, false);
        let mut whole: Vec<(&str, &str)> = source.to_vec();
        whole.extend(made.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        whole.push((migrations::CHECKSUMS, &sums));
        let places = |files: &[(&str, &str)]| -> Vec<String> {
            check_source(&Tree::of(files)).into_iter().map(|finding| finding.place).collect()
        };
        assert_eq!(places(&whole), [""; 0]);
        let with = |path: &'static str, text| {
            let mut files = whole.clone();
            files.retain(|(known, _)| *known != path);
            files.push((path, text));
            places(&files)
        };
        assert_eq!(with("migrations/001_a.sql", "BEGIN;\n")[0], "migrations/001_a.sql");
        assert_eq!(with("migrations/source/other.sql", "forgotten;\n"), ["migrations/source/other.sql"]);
        assert_eq!(with("migrations/source/heads/other.sql", &body), ["migrations/source/heads/other.sql"]);
        assert_eq!(with(migrations::CHECKSUMS, ""), [migrations::CHECKSUMS]);
        let frozen = migrations::checksums(&made, true);
        assert_eq!(with(migrations::CHECKSUMS, &frozen), [""; 0]);
        let mut changed = whole.clone();
        changed.retain(|(path, _)| *path != migrations::CHECKSUMS && *path != "migrations/001_a.sql");
        changed.extend([(migrations::CHECKSUMS, frozen.as_str()), ("migrations/001_a.sql", "BEGIN;\n")]);
        assert_eq!(places(&changed), ["migrations/001_a.sql"]);
    }
}
