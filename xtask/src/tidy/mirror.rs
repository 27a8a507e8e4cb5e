//! The mirror's schema keeps to what the browser's SQLite has: a step that uses more would open on the desktop and stop
//! every learner's browser. What is left out, and why: docs/adr/0103-the-apps-own-sql.md. And it has no clock of its own.

use super::{
    Finding,
    tree::{File, Tree},
};

const FOLDER: &str = "core/src/store/schema/";

/// What the schema does not use, and what does the same.
const LEFT_OUT: [(&str, &str); 10] = [
    ("alter table", "make the table anew, as 002_journal_traffic.sql does"),
    ("create trigger", "do it in the engine, which is the only writer"),
    ("create view", "select in the engine"),
    ("generated always", "compute it in the engine, which is the only writer"),
    ("reindex", "drop the index and create it"),
    (" references ", "check in the engine, which is the only writer"),
    ("foreign key", "check in the engine, which is the only writer"),
    ("current_timestamp", "let the host pass the time in"),
    ("datetime(", "let the host pass the time in"),
    ("strftime(", "let the host pass the time in"),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    tree.under(FOLDER, &[".sql"]).flat_map(findings).collect()
}

fn findings(file: &File) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let code = line.split("--").next().unwrap_or_default().to_ascii_lowercase();
        for (word, instead) in LEFT_OUT {
            if code.contains(word) {
                let message = format!("`{}` is not for the mirror's schema: {instead}", word.trim());
                found.push(Finding::at(&file.path, number, message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_browser_cannot_do_is_found() {
        let check = |path, text, expected: usize| {
            assert_eq!(check(&Tree::of(&[(path, text)])).len(), expected, "{text}")
        };
        check(
            "core/src/store/schema/002_more.sql",
            "\nCREATE TABLE a (b TEXT DEFAULT CURRENT_TIMESTAMP);",
            1,
        );
        check("core/src/store/schema/002_more.sql", "CREATE TABLE a (b TEXT REFERENCES c (d));", 1);
        check("core/src/store/schema/002_more.sql", "CREATE TABLE a (b TEXT); -- no FOREIGN KEY here", 0);
        check(
            "core/src/store/schema/002_more.sql",
            "CREATE TRIGGER a AFTER INSERT ON b BEGIN SELECT 1; END;",
            1,
        );
        check("migrations/007_more.sql", "CREATE TABLE a (b TEXT REFERENCES c (d));", 0);
    }
}
