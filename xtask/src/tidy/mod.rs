//! `cargo xtask tidy`: the rules of the house that a compiler does not check.
//!
//! Each rule is a function from the tree of files to what it found, in a file of its own, with a test in which it
//! fails once. There is no way to silence a rule at the place where it complains: an exception is made in the
//! rule, where everybody sees it.

mod arrows;
mod files;
mod licences;
mod lockfile;
mod manifests;
mod migrations;
mod mirror;
mod names;
mod rooms;
mod source;
mod sql;
mod tree;
mod words;

use anyhow::{Result, bail};

use tree::Tree;

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// `path` or `path:line`.
    place: String,
    /// What is wrong and what to do instead.
    message: String,
}

impl Finding {
    fn in_file(path: &str, message: impl Into<String>) -> Self {
        Self { place: path.to_owned(), message: message.into() }
    }

    /// `line` counts from zero, as an iterator does.
    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { place: format!("{path}:{}", line + 1), message: message.into() }
    }
}

/// A rule's name and how to check it.
type Rule = (&'static str, fn(&Tree) -> Vec<Finding>);

const RULES: [Rule; 16] = [
    ("every room keeps its own tools", rooms::check),
    ("the core's modules use only what lies below them", arrows::check),
    ("no SQL outside its rooms", sql::check),
    ("tables are named where their code is", names::check),
    ("the mirror keeps to what the browser's SQLite has", mirror::check),
    ("every Rust file says what it is", files::check_headers),
    ("no source file is too long", files::check_lengths),
    ("nothing is left unfinished or switched off", words::check_unfinished),
    ("nobody waits by sleeping", words::check_sleeps),
    ("no path of somebody's machine", words::check_paths),
    ("migrations come with rollback and validation", migrations::check),
    ("migrations are what their source makes, or what was frozen", migrations::check_source),
    ("lock files name no registry", lockfile::check),
    ("manifests inherit from the workspace", manifests::check),
    ("Rust dependencies may be used", licences::check_cargo),
    ("npm dependencies may be used", licences::check_npm),
];

/// Checks every rule.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::read()?;
    let mut count = 0;
    for (name, check) in RULES {
        let findings = check(&tree);
        count += findings.len();
        if !findings.is_empty() {
            eprintln!("  ✗ {name}");
        }
        for finding in findings {
            eprintln!("      {}: {}", finding.place, finding.message);
        }
    }
    if count > 0 {
        bail!("tidy found {count} broken rule{}", if count == 1 { "" } else { "s" });
    }
    eprintln!("  ✓ {} rules hold over {} files", RULES.len(), tree.files.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_distinct_names() {
        let mut names: Vec<&str> = RULES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }
}
