//! Who may use which library: SQLite in the store, cryptography in the vault, HTTP in the transport.

use super::{
    Finding,
    source::Source,
    tree::{File, Tree},
};

/// A library and the only places, of those that the product consists of, that may name it.
struct Room {
    library: &'static str,
    /// Where the rule holds.
    within: &'static [&'static str],
    /// Where, within that, the library may be named.
    only_in: &'static [&'static str],
}

const ROOMS: [Room; 4] = [
    Room { library: "rusqlite", within: &["core/", "wasm/", "native/"], only_in: &["core/src/store/"] },
    Room {
        library: "ring",
        within: &["core/", "wasm/", "native/"],
        only_in: &["core/src/vault/", "core/src/entropy.rs"],
    },
    Room {
        library: "reqwest",
        within: &["core/", "wasm/"],
        only_in: &["core/src/transport.rs", "core/src/transport/"],
    },
    // The browser's file system for SQLite is installed by the browser's host, which runs no statement with it.
    Room { library: "sqlite_wasm_rs", within: &["core/", "wasm/", "native/"], only_in: &["wasm/src/"] },
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    ROOMS.iter().flat_map(|room| check_room(tree, room)).collect()
}

fn check_room(tree: &Tree, room: &Room) -> Vec<Finding> {
    let outside = |file: &&File| !room.only_in.iter().any(|allowed| file.path.starts_with(allowed));
    let files = room.within.iter().flat_map(|folder| tree.under(folder, &[".rs"])).filter(outside);
    files.flat_map(|file| uses(file, room)).collect()
}

fn uses(file: &File, room: &Room) -> Vec<Finding> {
    let message = format!("`{}` may only be used in {}", room.library, room.only_in.join(" and "));
    let source = Source::rust(&file.text);
    let lines = source.code.iter().enumerate().filter(|(_, line)| names(line, room.library));
    lines.map(|(number, _)| Finding::at(&file.path, number, message.clone())).collect()
}

/// Whether a line of code names a crate: as the beginning of a path, or in a `use` by itself.
fn names(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + library.len()..]);
        let begins = !before.ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == ':')
            || before.ends_with("::") && before.trim_end_matches("::").trim_end().is_empty();
        let used = before.trim_start().starts_with("use ") || before.trim_start().starts_with("pub use ");
        let ends = after.starts_with("::") || used && after.starts_with([';', ' ', ',']);
        begins && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn a_library_outside_its_room_is_found() {
        assert_eq!(
            places("core/src/engine/mod.rs", "//! x\nuse rusqlite::Row;\n"),
            ["core/src/engine/mod.rs:2"]
        );
        assert_eq!(
            places("native/src/lib.rs", "let hash = ring::digest::digest();"),
            ["native/src/lib.rs:1"]
        );
        assert_eq!(places("core/src/driver.rs", "fn a(e: reqwest::Error) {}"), ["core/src/driver.rs:1"]);
        assert_eq!(places("wasm/src/lib.rs", "use reqwest;"), ["wasm/src/lib.rs:1"]);
        assert_eq!(places("core/src/engine.rs", "sqlite_wasm_rs::open()"), ["core/src/engine.rs:1"]);
    }

    #[test]
    fn a_library_in_its_room_is_welcome() {
        assert!(places("core/src/store/open.rs", "use rusqlite::Connection;").is_empty());
        assert!(places("core/src/entropy.rs", "use ring::rand;").is_empty());
        assert!(places("core/src/transport/mod.rs", "use reqwest::Client;").is_empty());
        assert!(places("native/src/auth/gotrue.rs", "use reqwest::Client;").is_empty());
        assert!(places("tests/src/lib.rs", "use rusqlite::Connection;").is_empty());
    }

    #[test]
    fn a_mention_is_no_use() {
        assert!(
            places("core/src/engine.rs", "// rusqlite::Row\nlet s = \"ring::x\"; string::x(); ").is_empty()
        );
        assert!(places("core/src/engine.rs", "let ring = 1; f(ring); crate::ring::x()").is_empty());
    }
}
