//! The hosts hold no SQL: statements belong to `core/src/store/` and to `migrations/`. What is handed to `query` is an app's own, and
//! the developer tools are an app.

use super::{
    Finding,
    source::Source,
    tree::{File, Tree},
};

const HOSTS: [&str; 3] = ["wasm/src/", "wasm/js/", "native/src/"];
const APPS: [&str; 1] = ["wasm/js/devtools/"];

/// How statements begin, and a word that must follow somewhere for it to be one and not English.
const STATEMENTS: [(&str, &str); 9] = [
    ("select ", " from "),
    ("insert ", "into "),
    ("update ", " set "),
    ("delete from ", ""),
    ("create table ", ""),
    ("drop table ", ""),
    ("alter table ", ""),
    ("pragma ", ""),
    ("begin immediate", ""),
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let files = HOSTS.iter().flat_map(|folder| tree.under(folder, &[".rs", ".ts", ".tsx", ".mjs", ".js"]));
    files.filter(|file| !APPS.iter().any(|app| file.path.starts_with(app))).flat_map(statements).collect()
}

fn statements(file: &File) -> Vec<Finding> {
    let source = match file.path.ends_with(".rs") {
        true => Source::rust(&file.text),
        false => Source::typescript(&file.text),
    };
    let found = source.strings.into_iter().filter(|(_, text)| is_sql(text));
    found
        .map(|(line, _)| Finding::at(&file.path, line, "SQL text: a host calls the engine instead"))
        .collect()
}

fn is_sql(text: &str) -> bool {
    // Line ends and indentation do not make it another statement.
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    STATEMENTS.iter().any(|(begin, later)| words.strip_prefix(begin).is_some_and(|rest| rest.contains(later)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_in_a_host_is_found() {
        let check = |path, text, expected: usize| {
            assert_eq!(check(&Tree::of(&[(path, text)])).len(), expected, "{text}")
        };
        check("native/src/client.rs", r#"db.execute("SELECT id\n FROM mutations")"#, 1);
        check("wasm/src/engine.rs", r#"const S: &str = "PRAGMA synchronous = FULL";"#, 1);
        check("wasm/js/worker.ts", "run(`insert into x values (1)`)", 1);
        check("wasm/js/devtools/views.ts", "run(`select a from b`)", 0);
        check("core/src/store/open.rs", r#""SELECT a FROM b""#, 0);
        check("native/src/client.rs", r#"// "SELECT a FROM b""#, 0);
        check("native/src/client.rs", r#"say("update the app")"#, 0);
    }
}
