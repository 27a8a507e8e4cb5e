//! Words that may not be in the tree: what is unfinished or switched off, waiting by the clock, and paths that
//! exist on one machine only.

use super::{
    Finding,
    source::Source,
    tree::{File, Tree},
};
use crate::paths;

/// In Rust code, each with what to do instead.
const UNFINISHED_RUST: [(&str, &str); 4] = [
    ("#[ignore", "a test that does not run is no test: fix it or delete it"),
    ("todo!(", "finish it"),
    ("unimplemented!(", "finish it"),
    ("dbg!(", "take the debugging aid out"),
];

/// In TypeScript and JavaScript code.
const UNFINISHED_SCRIPT: [(&str, &str); 5] = [
    ("test.skip(", "a test that does not run is no test: fix it or delete it"),
    ("it.skip(", "a test that does not run is no test: fix it or delete it"),
    ("test.only(", "it switches all other tests off"),
    ("test.todo(", "write the test"),
    ("debugger;", "take the debugging aid out"),
];

/// Files in which a thread may sleep, because they wait, with a bound, for the end of a process that they are not
/// the parent of or that is dropped outside an async context: there is nothing to wait on.
const MAY_SLEEP: [&str; 1] = ["backend/src/process.rs"];

/// The user of examples, who has no machine.
const NOBODY: &str = "ada";

pub(crate) fn check_unfinished(tree: &Tree) -> Vec<Finding> {
    let rust = tree.under("", &[".rs"]).flat_map(|file| in_code(file, Source::rust, &UNFINISHED_RUST));
    let script = tree
        .under("", &[".ts", ".tsx", ".mjs", ".js"])
        .flat_map(|file| in_code(file, Source::typescript, &UNFINISHED_SCRIPT));
    rust.chain(script).collect()
}

pub(crate) fn check_sleeps(tree: &Tree) -> Vec<Finding> {
    let words = [("thread::sleep", "wait for the condition itself, with a bound")];
    let files = tree.under("", &[".rs"]).filter(|file| !MAY_SLEEP.contains(&file.path.as_str()));
    files.flat_map(|file| in_code(file, Source::rust, &words)).collect()
}

fn in_code(file: &File, read: fn(&str) -> Source, words: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in read(&file.text).code.iter().enumerate() {
        for (word, instead) in words.iter().filter(|(word, _)| line.contains(word)) {
            findings.push(Finding::at(&file.path, number, format!("`{word}`: {instead}")));
        }
    }
    findings
}

pub(crate) fn check_paths(tree: &Tree) -> Vec<Finding> {
    let here = [Some(paths::root()), std::env::var_os("HOME").map(Into::into)];
    let here = here.into_iter().flatten().map(|path| format!("{}/", path.display()));
    // A short path (`/app/`, `/`) is too likely to stand for something else.
    let here: Vec<String> = here.filter(|path| path.matches('/').count() > 2).collect();
    tree.files.iter().flat_map(|file| machine_paths(file, &here)).collect()
}

fn machine_paths(file: &File, here: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let homes = ["home", "Users"].into_iter().find_map(|folder| home_path(line, folder));
        let found = homes.or_else(|| here.iter().find(|path| line.contains(path.as_str())).cloned());
        if let Some(path) = found {
            findings.push(Finding::at(&file.path, number, format!("`{path}` exists on one machine only")));
        }
    }
    findings
}

/// A path into somebody's home folder.
fn home_path(line: &str, folder: &str) -> Option<String> {
    let start = format!("/{folder}/");
    line.match_indices(&start).find_map(|(at, _)| {
        // `https://.../home/x` is an address; `{root}/home/` is built from something.
        let absolute = line[..at].chars().next_back().is_none_or(|last| " \"'`=(".contains(last));
        let name: String = line[at + start.len()..]
            .chars()
            .take_while(|next| next.is_alphanumeric() || *next == '_')
            .collect();
        (absolute && !name.is_empty() && name != NOBODY).then(|| format!("{start}{name}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unfinished_is_found() {
        let check = |path, text, expected: usize| {
            assert_eq!(check_unfinished(&Tree::of(&[(path, text)])).len(), expected, "{text}");
        };
        check("a.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() { todo!() }", 2);
        check("a.rs", "// todo!() and \"dbg!(\"", 0);
        check("a.test.mjs", "test.skip('x', () => {})\ntest('y', () => {})", 1);
        check("a.test.mjs", "// test.only(", 0);
    }

    #[test]
    fn a_sleeping_thread_is_found() {
        let tree = Tree::of(&[("a.rs", "std::thread::sleep(delay);"), ("b.rs", "// thread::sleep")]);
        assert_eq!(check_sleeps(&tree).len(), 1);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let check = |text: &str, expected: usize| {
            let file = File { path: "a.md".to_owned(), text: text.to_owned() };
            assert_eq!(machine_paths(&file, &["/srv/checkouts/marea/".to_owned()]).len(), expected, "{text}");
        };
        check(concat!("see /ho", "me/ana/notes"), 1);
        check(concat!("open \"/Us", "ers/ana/x\""), 1);
        check(concat!("open \"/ho", "me/ada/x\""), 0);
        check("cd /srv/checkouts/marea/core", 1);
        check("https://example.org/home/ana", 0);
        check("/usr/bin/rustc", 0);
    }
}
