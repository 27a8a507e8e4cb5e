//! Every Postgres migration can be taken back and can be checked, and the numbers have no gap.

use std::collections::BTreeMap;

use super::{Finding, tree::Tree};

const FOLDER: &str = "migrations/";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let names: Vec<&str> =
        tree.under(FOLDER, &[".sql"]).filter_map(|file| file.path.strip_prefix(FOLDER)).collect();
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
}
