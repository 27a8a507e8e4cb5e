//! The engine with all its mutants in it: a copy of the sources, woven, and its tests, built once.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::{list::Mutant, trial::Outcome};
use crate::{
    build::{self, Program},
    paths,
    run::Run,
};

/// Where the switch itself goes.
const LIB: &str = "core/src/lib.rs";
/// What is built and run: the engine's own tests, and the worlds around it.
const PACKAGES: [&str; 4] = ["--package", "marea-core", "--package", "marea-worlds"];

pub(crate) struct Woven {
    pub(crate) programs: Vec<Program>,
    woven: BTreeSet<u32>,
    not_compiled: BTreeSet<u32>,
}

impl Woven {
    /// Why a mutant cannot be switched on.
    pub(crate) fn why_not(&self, id: u32) -> Option<Outcome> {
        match (self.not_compiled.contains(&id), self.woven.contains(&id)) {
            (true, _) => Some(Outcome::NotCompiled),
            (false, false) => Some(Outcome::NotWoven),
            (false, true) => None,
        }
    }
}

/// The lines of a woven file on which a mutant stands, as `marea-weave` tells them.
#[derive(Deserialize)]
struct Lines {
    id: u32,
    file: String,
    first: usize,
    last: usize,
}

/// Weaves and checks until what is left compiles, then builds the tests.
pub(crate) fn build(all: &[Mutant]) -> Result<Woven> {
    let tree = paths::target().join("mutants/tree");
    copy(&tree, all)?;
    let known = Known::read(all)?;
    let mut not_compiled = known.not_compiled.clone();
    loop {
        let lines = weave(&tree, all, &not_compiled)?;
        let bad = errors(&tree, &lines)?;
        if bad.is_empty() {
            let programs = tests(&tree)?;
            return Ok(Woven { programs, woven: lines.iter().map(|line| line.id).collect(), not_compiled });
        }
        eprintln!("{} mutants do not compile", bad.len());
        not_compiled.extend(bad);
        Known { not_compiled: not_compiled.clone(), sources: known.sources }.write()?;
    }
}

/// What was found of the same sources before, so that they are not woven, checked and built again.
#[derive(Deserialize, Serialize)]
struct Known {
    sources: u64,
    not_compiled: BTreeSet<u32>,
}

impl Known {
    fn path() -> PathBuf {
        paths::target().join("mutants/not-compiled.json")
    }

    fn read(all: &[Mutant]) -> Result<Known> {
        let mut hasher = DefaultHasher::new();
        for file in files(all) {
            std::fs::read(paths::root().join(file))?.hash(&mut hasher);
        }
        let sources = hasher.finish();
        let known =
            std::fs::read(Known::path()).ok().and_then(|text| serde_json::from_slice::<Known>(&text).ok());
        let known = known.filter(|known| known.sources == sources);
        Ok(known.unwrap_or(Known { sources, not_compiled: BTreeSet::new() }))
    }

    fn write(&self) -> Result<()> {
        Ok(std::fs::write(Known::path(), serde_json::to_vec(self)?)?)
    }
}

/// The files that are woven.
fn files(all: &[Mutant]) -> BTreeSet<&str> {
    all.iter().map(|mutant| mutant.file.as_str()).chain([LIB]).collect()
}

/// Brings the copy up to date. A file that is the same keeps its time, so that cargo builds nothing again that need not be.
fn copy(tree: &Path, all: &[Mutant]) -> Result<()> {
    let listed = Run::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).read()?;
    let woven = files(all);
    listed.lines().filter(|file| !woven.contains(file)).try_for_each(|file| bring(tree, file))
}

fn bring(tree: &Path, file: &str) -> Result<()> {
    let (from, to) = (paths::root().join(file), tree.join(file));
    let Ok(content) = std::fs::read(&from) else { return Ok(()) };
    if std::fs::read(&to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    std::fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
    Ok(std::fs::write(to, content)?)
}

fn weave(tree: &Path, all: &[Mutant], without: &BTreeSet<u32>) -> Result<Vec<Lines>> {
    let mutants = paths::target().join("mutants/woven.json");
    let wanted: Vec<_> = all.iter().filter(|mutant| !without.contains(&mutant.id)).collect();
    // Of whose mutants none compiles, that file is as it was.
    let woven: BTreeSet<&str> = wanted.iter().map(|mutant| mutant.file.as_str()).chain([LIB]).collect();
    files(all).difference(&woven).try_for_each(|file| bring(tree, file))?;
    let wanted: Vec<_> = wanted.iter().map(|mutant| &mutant.listed).collect();
    std::fs::write(&mutants, serde_json::to_vec(&wanted)?)?;
    let program = build::find(&build::cargo(&["--package", "marea-weave"])?, "marea-weave")?;
    let lines = Run::new(program).arg(paths::root()).arg(tree).arg(&mutants).read()?;
    serde_json::from_str(&lines).context("marea-weave printed something else")
}

/// The mutants that do not compile, as far as the compiler came.
fn errors(tree: &Path, lines: &[Lines]) -> Result<BTreeSet<u32>> {
    let check =
        Run::new("cargo").dir(tree).args(["check", "--tests", "--message-format", "json"]).args(PACKAGES);
    let ended = check.env("CARGO_TARGET_DIR", paths::target()).observe(|_, _| ())?;
    let mut by_file: BTreeMap<&str, Vec<&Lines>> = BTreeMap::new();
    lines.iter().for_each(|line| by_file.entry(&line.file).or_default().push(line));
    let (mut bad, mut unexplained) = (BTreeSet::new(), Vec::new());
    for message in ended.stdout.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok()) {
        let Some(message) = message.message.filter(|message| message.level == "error") else { continue };
        let here = |span: &Span| {
            let there = by_file.get(span.file_name.as_str()).map(Vec::as_slice).unwrap_or_default();
            there
                .iter()
                .filter(|line| line.first <= span.line_end && span.line_start <= line.last)
                .map(|line| line.id)
                .collect::<Vec<_>>()
        };
        let primary: Vec<u32> = message.spans.iter().filter(|span| span.is_primary).flat_map(here).collect();
        let any = || message.spans.iter().flat_map(here).collect();
        let found = if primary.is_empty() { any() } else { primary };
        if found.is_empty() {
            unexplained.extend(message.rendered);
        }
        bad.extend(found);
    }
    if bad.is_empty() && !ended.success {
        bail!("the woven engine does not compile:\n{}\n{}", unexplained.join("\n"), ended.stderr);
    }
    Ok(bad)
}

#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    spans: Vec<Span>,
    rendered: Option<String>,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    line_start: usize,
    line_end: usize,
    is_primary: bool,
}

fn tests(tree: &Path) -> Result<Vec<Program>> {
    let manifest = tree.join("Cargo.toml");
    let manifest = manifest.to_str().context("a path that is no text")?;
    let mut arguments = vec!["--no-run", "--tests", "--manifest-path", manifest];
    arguments.extend(PACKAGES);
    let target = paths::target();
    let target = target.to_str().context("a path that is no text")?;
    let mut programs = build::cargo_with("test", &arguments, &[("CARGO_TARGET_DIR", target)])?;
    programs.retain(|program| program.is_test);
    // What notices most, in the shortest time, first.
    programs.sort_by_key(|program| (program.name != "marea_core", program.name != "short"));
    Ok(programs)
}
