//! The arrows between the core's modules: engine -> { sync -> queue -> model ; merge -> model ; wire -> model ;
//! store -> model ; vault }. Nothing points up, nothing sideways.

use super::{Finding, source::Source, tree::Tree};

/// Each module of the core and the modules that it may use, besides itself and `EVERYWHERE`.
const ARROWS: [(&str, &[&str]); 17] = [
    ("lib", ANYTHING),
    ("driver", &["engine", "sync", "wire", "model", "transport"]),
    ("transport", &["sync", "transfer", "wire", "model"]),
    ("engine", &["sync", "transfer", "queue", "merge", "wire", "store", "vault", "catalogue", "model"]),
    ("sync", &["queue", "model"]),
    ("transfer", &["model"]),
    ("queue", &["model"]),
    ("merge", &["catalogue", "model"]),
    ("wire", &["model"]),
    ("store", &["catalogue", "model"]),
    ("vault", &["model"]),
    ("catalogue", &["model"]),
    ("model", &[]),
    ("clock", &["model"]),
    ("entropy", &[]),
    ("error", &[]),
    ("planted", &[]),
];

/// The front door uses every room.
const ANYTHING: &[&str] = &[
    "driver",
    "transport",
    "engine",
    "sync",
    "transfer",
    "queue",
    "merge",
    "wire",
    "store",
    "vault",
    "catalogue",
    "model",
    "clock",
];

/// What is no layer, but the ground that all stand on; and the faults that tests plant, which may be anywhere.
const EVERYWHERE: [&str; 3] = ["error", "entropy", "planted"];

const FOLDER: &str = "core/src/";

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.under(FOLDER, &[".rs"]) {
        let module = module_of(&file.path);
        let Some(allowed) = ARROWS.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed)
        else {
            let message =
                format!("module `{module}` has no arrows yet: say in tidy/arrows.rs what it may use");
            findings.push(Finding::in_file(&file.path, message));
            continue;
        };
        for (line, used) in uses(&Source::rust(&file.text).code) {
            let is_module = ARROWS.iter().any(|(name, _)| *name == used);
            if is_module
                && used != module
                && !allowed.contains(&used.as_str())
                && !EVERYWHERE.contains(&used.as_str())
            {
                let message = format!("`{module}` may not use `{used}`: {}", may_use(allowed));
                findings.push(Finding::at(&file.path, line, message));
            }
        }
    }
    findings
}

fn may_use(allowed: &[&str]) -> String {
    match allowed {
        [] => "it lies at the bottom and uses no other module".to_owned(),
        _ => format!("it may use {}", allowed.join(", ")),
    }
}

/// `core/src/store/open.rs` and `core/src/store.rs` belong to `store`.
fn module_of(path: &str) -> &str {
    let inner = path.strip_prefix(FOLDER).unwrap_or(path);
    let first = inner.split('/').next().unwrap_or(inner);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The modules that are named after `crate::`, also inside braces and over several lines, and the line of each.
fn uses(code: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // Depth of braces since an opening `crate::{`; names at depth one begin a module's path.
    let mut depth = 0_usize;
    let mut at_start = false;
    for (number, line) in code.iter().enumerate() {
        let mut rest = line.as_str();
        while let Some(next) = rest.chars().next() {
            if depth == 0 {
                let Some(start) = rest.find("crate::") else { break };
                let whole = !rest[..start].ends_with(|last: char| last.is_alphanumeric() || last == '_');
                rest = rest[start + "crate::".len()..].trim_start();
                if whole && rest.starts_with('{') {
                    (depth, at_start) = (1, true);
                    rest = &rest[1..];
                } else if whole {
                    found.push((number, word(rest).to_owned()));
                }
                continue;
            }
            let name = word(rest);
            if depth == 1 && at_start && !name.is_empty() {
                found.push((number, name.to_owned()));
            }
            at_start = match next {
                '{' | '}' | ',' => true,
                _ => at_start && next.is_whitespace(),
            };
            depth = match next {
                '{' => depth + 1,
                '}' => depth - 1,
                _ => depth,
            };
            rest = &rest[name.len().max(next.len_utf8())..];
        }
    }
    found
}

/// The identifier that a text begins with.
fn word(text: &str) -> &str {
    let end = text.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn an_arrow_up_or_sideways_is_found() {
        assert_eq!(
            places("core/src/model/time.rs", "\nuse crate::store::Rows;"),
            ["core/src/model/time.rs:2"]
        );
        assert_eq!(
            places("core/src/wire/mod.rs", "use crate::{error::Error, queue::X};"),
            ["core/src/wire/mod.rs:1"]
        );
        assert_eq!(
            places("core/src/store.rs", "use crate::{\n  model::{A, wire},\n  engine,\n};"),
            ["core/src/store.rs:3"]
        );
        assert_eq!(
            places("core/src/merge/fold.rs", "fn f(x: crate::sync::Next) {}"),
            ["core/src/merge/fold.rs:1"]
        );
    }

    #[test]
    fn an_arrow_down_is_welcome() {
        assert!(places("core/src/engine/mod.rs", "use crate::{store, sync::Next, error::Error};").is_empty());
        assert!(
            places("core/src/sync/schedule.rs", "use crate::queue::Batch; use crate::sync::Failure;")
                .is_empty()
        );
        assert!(places("core/src/model/ids.rs", "use crate::{entropy::Entropy, error::Error};").is_empty());
        assert!(places("core/src/store/mod.rs", "crate::redacted!(X); my_crate::engine::x();").is_empty());
    }

    #[test]
    fn a_new_module_needs_arrows() {
        assert_eq!(places("core/src/attic.rs", ""), ["core/src/attic.rs"]);
    }
}
