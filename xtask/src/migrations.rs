//! `cargo xtask migrations`: the numbered files of `migrations/`, assembled from `migrations/source/`, and their checksums. It
//! knows no SQL: what belongs where, and in which order, stands in `migrations/source/ORDER`.
//!
//! A file that is listed in frozen `migrations/CHECKSUMS` never changes and is not assembled any more. The newest, which is not listed yet,
//! makes the topics anew that have changed since; its rollback puts back what the frozen files say about them.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail};

use crate::paths;

const FOLDER: &str = "migrations/";
/// Which topics make which file.
pub(crate) const ORDER: &str = "migrations/source/ORDER";
/// The checksums, in the format of `sha256sum`.
pub(crate) const CHECKSUMS: &str = "migrations/CHECKSUMS";
/// Made of all topics: its head removes the functions of the old layout, and keeps the rows.
const UPGRADE: &str = "upgrade/from_before_release";
/// The head of a rollback, which then has the topics as they were. The other rollbacks are written by hand.
const ROLLBACK: &str = "_rollback";
/// Where the topics come in a head that goes on behind them.
const TOPICS: &str = "\n-- The topics come here.\n";
const END: &str = "\nNOTIFY pgrst, 'reload schema';\n\nCOMMIT;\n";
/// What follows a file's COMMIT.
const TAILS: [(&str, &str); 1] = [("003_backfill", "\nCALL marea.run_backfill();\n")];
const OPEN: &str = "# Renewed by `cargo xtask migrations` until the first release, frozen by `cargo xtask migrations --freeze`.\n";
const FROZEN: &str =
    "# Frozen: none of these files may change. `cargo xtask migrations --freeze` adds new ones.\n";

/// A file's path from the root, and its text.
type Files = BTreeMap<String, String>;

/// Writes the numbered files and their checksums.
pub(crate) fn run(freeze: bool) -> Result<()> {
    let mut files = Files::new();
    for folder in ["migrations", "migrations/upgrade", "migrations/source", "migrations/source/heads"] {
        for entry in
            fs::read_dir(paths::root().join(folder)).with_context(|| format!("cannot read {folder}"))?
        {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
                let text = fs::read_to_string(entry.path()).with_context(|| format!("cannot read {path}"))?;
                files.insert(path, text);
            }
        }
    }
    for (path, text) in assembled(&files)? {
        write(&path, &text)?;
        files.insert(path, text);
    }
    let frozen = is_frozen(&files);
    let stale = stale(&files);
    if frozen && !stale.is_empty() {
        bail!("frozen, and yet changed: {}", stale.join(", "));
    }
    if !frozen || freeze {
        write(CHECKSUMS, &checksums(&files, frozen || freeze))?;
    }
    Ok(())
}

fn write(path: &str, text: &str) -> Result<()> {
    fs::write(paths::root().join(path), text).with_context(|| format!("cannot write {path}"))
}

/// The numbered files that may still change, as the source has them.
///
/// # Errors
/// When a head or a topic is missing.
pub(crate) fn assembled(files: &Files) -> Result<Files> {
    let order = order(files.get(ORDER).with_context(|| format!("{ORDER} is missing"))?)?;
    let mut every: Vec<&str> = Vec::new();
    for topic in order.iter().flat_map(|(_, topics)| topics) {
        if !every.contains(topic) {
            every.push(topic);
        }
    }
    let upgrade = UPGRADE.rsplit('/').next().unwrap_or(UPGRADE);
    let mut made = Files::new();
    let mut add = |name: &str, head: &str, topics: &[&str], body: &dyn Fn(&str) -> Result<String>| {
        if !is_listed(files, name) {
            made.insert(format!("{FOLDER}{name}.sql"), assemble(files, name, head, topics, body)?);
        }
        anyhow::Ok(())
    };
    let now = |topic: &str| read(files, &format!("{FOLDER}source/{topic}.sql")).map(ToOwned::to_owned);
    for (name, topics) in &order {
        add(name, name, topics, &now)?;
        let rollback = format!("{name}{ROLLBACK}");
        if files.contains_key(&format!("{FOLDER}source/heads/{rollback}.sql")) {
            add(&rollback, &rollback, topics, &|topic| before(files, &order, name, topic))?;
        }
    }
    add(UPGRADE, upgrade, &every, &now)?;
    Ok(made)
}

fn read<'a>(files: &'a Files, path: &str) -> Result<&'a str> {
    Ok(files.get(path).with_context(|| format!("{path} is missing"))?)
}

fn assemble(
    files: &Files,
    name: &str,
    head: &str,
    topics: &[&str],
    body: &dyn Fn(&str) -> Result<String>,
) -> Result<String> {
    let mut text =
        String::from("-- Assembled from migrations/source by `cargo xtask migrations`: change it there.\n");
    let head = read(files, &format!("{FOLDER}source/heads/{head}.sql"))?;
    let (head, behind) = head.split_once(TOPICS).map_or((head, None), |(head, behind)| (head, Some(behind)));
    text += head;
    for topic in topics {
        text += &format!("\n{}\n{}", heading(topic), body(topic)?);
    }
    if let Some(behind) = behind {
        text += &format!("\n{}{behind}", heading("behind them"));
    }
    text += END;
    text += TAILS.iter().find(|(of, _)| *of == name).map_or("", |(_, tail)| tail);
    Ok(text)
}

/// What stands above a topic in a numbered file.
fn heading(topic: &str) -> String {
    let line = format!("-- {}\n", "-".repeat(117));
    format!("{line}-- {topic}\n{line}")
}

/// A topic as the newest file before this migration has it. A topic that begins with the migration has nothing to go back to.
fn before(files: &Files, order: &[Section<'_>], migration: &str, topic: &str) -> Result<String> {
    let earlier = order.iter().take_while(|(name, _)| *name != migration);
    let Some((name, _)) = earlier.filter(|(_, topics)| topics.contains(&topic)).last() else {
        return Ok(String::new());
    };
    let text = read(files, &format!("{FOLDER}{name}.sql"))?;
    let (_, rest) =
        text.split_once(&heading(topic)).with_context(|| format!("{name} has no topic {topic}"))?;
    let end = rest.find(&format!("\n-- {}\n-- ", "-".repeat(117))).or_else(|| rest.find(END));
    let body = &rest[..end.with_context(|| format!("{name}: {topic} does not end"))?];
    Ok(body.trim_start_matches('\n').to_owned())
}

/// A migration's name, and its topics in their order.
type Section<'a> = (&'a str, Vec<&'a str>);

fn order(text: &str) -> Result<Vec<Section<'_>>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match (line.starts_with(' '), sections.last_mut()) {
            (false, _) => sections.push((line.trim(), Vec::new())),
            (true, Some((_, topics))) => topics.push(line.trim()),
            (true, None) => bail!("{ORDER}: {} belongs to no migration", line.trim()),
        }
    }
    Ok(sections)
}

/// Whether the files that are listed may not change any more.
pub(crate) fn is_frozen(files: &Files) -> bool {
    files.get(CHECKSUMS).is_some_and(|text| text.starts_with(FROZEN))
}

fn is_listed(files: &Files, name: &str) -> bool {
    let line = format!("  {name}.sql");
    is_frozen(files) && files[CHECKSUMS].lines().any(|listed| listed.ends_with(&line))
}

/// The files whose checksum is another one than is listed, or that are listed and gone.
pub(crate) fn stale(files: &Files) -> Vec<String> {
    let lines = files.get(CHECKSUMS).map_or("", String::as_str).lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once("  "));
    let wrong = |(sum, name): &(&str, &str)| {
        files.get(&format!("{FOLDER}{name}")).is_none_or(|text| sum_of(text) != *sum)
    };
    pairs.filter(wrong).map(|(_, name)| format!("{FOLDER}{name}")).collect()
}

/// What `migrations/CHECKSUMS` should be.
pub(crate) fn checksums(files: &Files, frozen: bool) -> String {
    // What may be run at any time (preflight.sql, validate_001.sql) changes nothing, and may be mended.
    let is_migration = |name: &str| {
        let numbered = name.starts_with(|first: char| first.is_ascii_digit());
        name.ends_with(".sql") && (numbered || name.starts_with("upgrade/"))
    };
    let names = files.iter().filter_map(|(path, text)| Some((path.strip_prefix(FOLDER)?, text)));
    let lines = names.filter(|(name, _)| is_migration(name));
    let lines = lines.map(|(name, text)| format!("{}  {name}\n", sum_of(text)));
    std::iter::once(if frozen { FROZEN } else { OPEN }.to_owned()).chain(lines).collect()
}

fn sum_of(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_file_is_its_head_its_topics_in_their_order_and_its_end() {
        let source = files(&[
            (ORDER, "# why\n\n001_a\n    one\n    two\n\n003_backfill\n    three\n"),
            ("migrations/source/heads/001_a.sql", "BEGIN;\n"),
            ("migrations/source/heads/003_backfill.sql", "BEGIN;\n"),
            ("migrations/source/heads/from_before_release.sql", "BEGIN; DROP\n"),
            ("migrations/source/one.sql", "first;\n"),
            ("migrations/source/two.sql", "second;\n"),
            ("migrations/source/three.sql", "third;\n"),
        ]);
        let made = assembled(&source).expect("assembled");
        let names: Vec<&str> = made.keys().map(String::as_str).collect();
        let upgrade = "migrations/upgrade/from_before_release.sql";
        assert_eq!(names, ["migrations/001_a.sql", "migrations/003_backfill.sql", upgrade]);
        let first = &made["migrations/001_a.sql"];
        let places: Vec<_> =
            ["BEGIN;", "first;", "second;", "NOTIFY", "COMMIT;"].map(|part| first.find(part)).into();
        assert!(places.is_sorted() && places[0].is_some() && !first.contains("third"), "{first}");
        assert!(made["migrations/003_backfill.sql"].ends_with("COMMIT;\n\nCALL marea.run_backfill();\n"));
        assert!(["DROP", "first;", "second;", "third;"].iter().all(|part| made[upgrade].contains(part)));
        let without = Files::from_iter(source.into_iter().filter(|(path, _)| !path.ends_with("two.sql")));
        assert!(assembled(&without).is_err());
        assert!(order("    one\n").is_err());
    }

    #[test]
    fn what_is_frozen_stays_and_the_next_makes_anew_what_has_changed() {
        let mut all = files(&[
            (ORDER, "001_a\n    one\n    two\n"),
            ("migrations/source/heads/001_a.sql", "BEGIN;\n"),
            ("migrations/source/heads/from_before_release.sql", "BEGIN;\n"),
            ("migrations/source/one.sql", "first;\n"),
            ("migrations/source/two.sql", "second;\n"),
        ]);
        let first = assembled(&all).expect("assembled");
        all.extend(first.clone());
        all.insert(CHECKSUMS.to_owned(), checksums(&all, true));
        assert_eq!(assembled(&all).expect("assembled"), Files::new(), "all of it is frozen");
        all.extend(files(&[
            (ORDER, "001_a\n    one\n    two\n\n002_b\n    one\n    new\n"),
            ("migrations/source/heads/002_b.sql", "BEGIN; -- second\n\n-- The topics come here.\n\nlast;\n"),
            ("migrations/source/heads/002_b_rollback.sql", "BEGIN; DROP\n"),
            ("migrations/source/one.sql", "better;\n"),
            ("migrations/source/new.sql", "more;\n"),
        ]));
        let made = assembled(&all).expect("assembled");
        let names: Vec<&str> = made.keys().map(String::as_str).collect();
        assert_eq!(names, ["migrations/002_b.sql", "migrations/002_b_rollback.sql"]);
        let (forward, back) = (&made[names[0]], &made[names[1]]);
        assert!(forward.contains("better;") && forward.contains("more;") && !forward.contains("second;"));
        assert!(forward.find("more;") < forward.find("last;") && !forward.contains("come here"), "{forward}");
        assert!(back.contains("DROP") && back.contains("\nfirst;\n") && !back.contains("better;"), "{back}");
        assert!(!back.contains("second;") && !back.contains("more;"), "{back}");
    }

    #[test]
    fn what_was_changed_after_it_was_listed_is_told() {
        let mut all = files(&[("migrations/001_a.sql", "one"), ("migrations/source/a.sql", "two")]);
        all.insert("migrations/validate_001.sql".to_owned(), "three".to_owned());
        all.insert(CHECKSUMS.to_owned(), checksums(&all, false));
        assert!(all[CHECKSUMS].contains("  001_a.sql\n") && !all[CHECKSUMS].contains("source/a"));
        assert!(!all[CHECKSUMS].contains("validate"));
        assert!(stale(&all).is_empty() && !is_frozen(&all));
        all.insert("migrations/001_a.sql".to_owned(), "other".to_owned());
        assert_eq!(stale(&all), ["migrations/001_a.sql"]);
        all.remove("migrations/001_a.sql");
        assert_eq!(stale(&all), ["migrations/001_a.sql"]);
        all.insert(CHECKSUMS.to_owned(), checksums(&all, true));
        assert!(is_frozen(&all));
    }
}
