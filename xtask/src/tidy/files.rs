//! The shape of a file: a header that says what it is, and no more lines than a person reads in one go.

use super::{Finding, tree::Tree};

/// The limit of the house style.
const MAX_LINES: usize = 400;

pub(crate) fn check_headers(tree: &Tree) -> Vec<Finding> {
    let files = tree.under("", &[".rs"]).filter(|file| !file.text.starts_with("//!"));
    files
        .map(|file| {
            Finding::in_file(&file.path, "begin with `//!`: what it is, and what it deliberately does not do")
        })
        .collect()
}

pub(crate) fn check_lengths(tree: &Tree) -> Vec<Finding> {
    let files = tree.under("", &[".rs", ".ts", ".tsx", ".mjs", ".js"]);
    files
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| {
            Finding::in_file(
                &file.path,
                format!("{lines} lines, over {MAX_LINES}: split it into one idea a file"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_header_is_found() {
        let tree = Tree::of(&[("a.rs", "//! What.\n"), ("b.rs", "fn f() {}\n"), ("c.ts", "let x\n")]);
        let found = check_headers(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "b.rs");
    }

    #[test]
    fn a_long_file_is_found() {
        let (whole, over) = ("//\n".repeat(MAX_LINES), "//\n".repeat(MAX_LINES + 1));
        let tree = Tree::of(&[("a.rs", &whole), ("b.ts", &over), ("c.sql", &over)]);
        let found = check_lengths(&tree);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "b.ts");
    }
}
