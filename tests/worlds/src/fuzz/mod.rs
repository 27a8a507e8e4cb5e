//! Hostile input for the engine: answers of a server, mirror files, and the texts of clocks, times, ids and cursors.
//!
//! Inputs grow out of a corpus that lies in the repository (`tests/corpus/`), by chance and without guidance by coverage,
//! which stable Rust does not offer. Each is lived through under a bound on memory; a watchdog ends what hangs.

mod answer;
mod envelope;
pub mod memory;
mod mirror;
mod mutate;
mod text;

pub use answer::Counter;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::random::Random;

/// What one input may use at most, beyond what was used before it. An honest page stays far below.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// How long an input may be: no transport hands over a longer answer.
const LONGEST_INPUT: usize = 64 * 1024 * 1024;

/// What is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An answer to a request that is under way: JSON.
    Answer,
    /// A mirror's file, by the changes that are made to a sound one.
    Mirror,
    /// The text of a clock, a time, a day, an id, a key envelope or a cursor.
    Text,
    /// A sealed key, as the server hands it over: its text.
    Envelope,
}

/// All of them.
pub const TARGETS: [Target; 4] = [Target::Answer, Target::Mirror, Target::Text, Target::Envelope];

impl Target {
    /// The name of its folder in the corpus.
    pub fn name(self) -> &'static str {
        match self {
            Target::Answer => "answer",
            Target::Mirror => "mirror",
            Target::Text => "text",
            Target::Envelope => "envelope",
        }
    }

    /// The target of a name.
    pub fn of_name(name: &str) -> Option<Target> {
        TARGETS.into_iter().find(|target| target.name() == name)
    }

    fn feed(self, input: &[u8]) {
        match self {
            Target::Answer => answer::feed(input),
            Target::Mirror => mirror::feed(input),
            Target::Text => text::feed(input),
            Target::Envelope => envelope::feed(input),
        }
    }

    /// Where its corpus lies.
    pub fn folder(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(self.name())
    }

    /// Its corpus, in the order of the files' names.
    ///
    /// # Panics
    /// When there is none: a corpus that is not found would prove nothing.
    pub fn corpus(self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(self.folder()).expect("a corpus");
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "the corpus of {} is empty", self.name());
        paths.into_iter().map(|path| (path.clone(), std::fs::read(&path).expect("a readable file"))).collect()
    }

    /// A new input, grown out of the corpus.
    pub fn grow(self, corpus: &[(PathBuf, Vec<u8>)], random: &mut Random) -> Vec<u8> {
        loop {
            let grown = self.grow_once(corpus, random);
            if grown.len() <= LONGEST_INPUT {
                return grown;
            }
        }
    }

    fn grow_once(self, corpus: &[(PathBuf, Vec<u8>)], random: &mut Random) -> Vec<u8> {
        let (_, seed) = random.one_of(corpus);
        let (_, other) = random.one_of(corpus);
        match self {
            Target::Answer if random.chance(80) => mutate::json(seed, random),
            Target::Mirror => mirror::grow(seed, random),
            _ => mutate::bytes(seed, other, random),
        }
    }
}

/// The same JSON with a few of its values exchanged, left out, doubled or made hostile.
pub fn mutated_json(seed: &[u8], random: &mut Random) -> Vec<u8> {
    mutate::json(seed, random)
}

/// Feeds one input.
///
/// # Errors
/// What the engine must not do: panic, or use more memory than it may.
pub fn feed(target: Target, input: &[u8]) -> Result<(), String> {
    memory::begin();
    let fed = catch_unwind(AssertUnwindSafe(|| target.feed(input)));
    let used = memory::most_since_begin();
    match fed {
        Err(_) => Err(format!("{}: a panic, told above", target.name())),
        Ok(()) if used > MOST_BYTES => Err(format!("{}: {used} bytes of memory", target.name())),
        Ok(()) => Ok(()),
    }
}
