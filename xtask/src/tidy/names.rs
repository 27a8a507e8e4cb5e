//! Names of tables that Marea has code of its own for: each stands where that code is, and nowhere else in the core. Everything else is driven
//! by the catalogue.

use super::{Finding, source::Source, tree::Tree};

/// Tables whose names mean nothing else. `sessions` is a column, too.
const TABLES: [&str; 5] =
    ["daily_activity", "export_history", "progress_events", "user_api_keys", "user_progress"];

/// The list of them, the names that no table of an app may have, and in the store the code of each.
const PLACES: [&str; 8] = [
    "core/src/catalogue/",
    "core/src/model/table.rs",
    "core/src/store/exports.rs",
    "core/src/store/facts.rs",
    "core/src/store/files.rs",
    "core/src/store/progress.rs",
    "core/src/store/sessions.rs",
    "core/src/vault/",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let elsewhere =
        |path: &str| !path.contains("/tests") && !PLACES.iter().any(|place| path.starts_with(place));
    let files = ["core/src/", "wasm/src/"].into_iter().flat_map(|folder| tree.under(folder, &[".rs"]));
    let mut findings = Vec::new();
    for file in files.filter(|file| elsewhere(&file.path)) {
        let source = Source::rust(&file.text);
        let tests = source.code.iter().position(|line| line.contains("#[cfg(test)]")).unwrap_or(usize::MAX);
        for (number, text) in source.strings.iter().filter(|(number, _)| *number < tests) {
            for name in TABLES.iter().filter(|name| text.contains(**name)) {
                let message = format!("`{name}` has code of its own in {}", PLACES.join(" and "));
                findings.push(Finding::at(&file.path, *number, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_name_elsewhere_is_found() {
        let places = |path: &str, text: &str| -> Vec<String> {
            check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.place).collect()
        };
        let sql = "//! x\nconst SQL: &str = \"SELECT 1 FROM export_history\";\n";
        assert_eq!(places("core/src/store/room.rs", sql), ["core/src/store/room.rs:2"]);
        assert!(places("core/src/store/exports.rs", sql).is_empty());
        assert!(places("core/src/engine/tests/room.rs", sql).is_empty());
        assert!(places("core/src/store/room.rs", &format!("#[cfg(test)]\nmod tests {{}}\n{sql}")).is_empty());
        assert!(
            places("core/src/engine/mod.rs", "// export_history\nlet exports = Table::ExportHistory;")
                .is_empty()
        );
    }
}
