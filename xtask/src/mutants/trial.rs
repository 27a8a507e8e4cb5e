//! Which tests reach a mutant, and whether one of them fails when it is switched on.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{build::Program, clock::Stopwatch, paths, run::Run};

/// Worlds that each mutant is tried in. The engine's own tests come first, and notice most.
const SEEDS: &str = "2000";
/// A test is quick that takes less than this many seconds.
const QUICK_SECONDS: f64 = 1.0;
/// Address space in KiB: a mutant that allocates without end is noticed by that.
const MEMORY_KIB: u32 = 8 << 20;
/// A mutant that makes tests wait for ever is noticed by that: seconds beside several times what they take.
const LIMIT_SECONDS: f64 = 30.0;
/// The name of a thread without one: what it reaches, all tests of the program are taken to reach.
const NAMELESS: &str = "?";

/// Which tests to run: all mutants meet the quick ones first, and only what is left the slow ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Quick,
    Slow,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// By which test.
    Noticed(String),
    Missed,
    NotCompiled,
    NotWoven,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Noticed(by) => write!(f, "noticed by {by}:"),
            Outcome::Missed => write!(f, "missed:"),
            Outcome::NotCompiled => write!(f, "does not compile:"),
            Outcome::NotWoven => write!(f, "not tried:"),
        }
    }
}

struct Test {
    name: String,
    seconds: f64,
}

/// The tests of one program.
pub(crate) struct Tests<'p> {
    program: &'p Program,
    tests: Vec<Test>,
    /// By mutant, which of the tests reach it.
    reaching: BTreeMap<u32, Vec<usize>>,
}

impl<'p> Tests<'p> {
    /// Runs all of them once with no mutant, to see which mutants each reaches and how long it takes.
    pub(crate) fn of(program: &'p Program) -> Result<Tests<'p>> {
        let folder = paths::target().join("mutants/seen");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder)?;
        // Two threads: with one, libtest runs tests in the main thread, which has no test's name.
        let run = command(program).args(["--test-threads", "2", "-Zunstable-options", "--report-time"]);
        let run = run.env("RUSTC_BOOTSTRAP", "1").env("MAREA_MUTANTS_SEEN", &folder);
        let mut tests = Vec::new();
        run.watch(|_, line| tests.extend(timed(line)))?;
        if tests.is_empty() {
            bail!("{} ran no tests", program.name);
        }
        let mut reaching: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, test) in tests.iter().enumerate() {
            for name in [test.name.as_str(), NAMELESS] {
                for id in seen(&folder.join(name))? {
                    reaching.entry(id).or_default().push(index);
                }
            }
        }
        reaching.values_mut().for_each(Vec::dedup);
        Ok(Tests { program, tests, reaching })
    }

    /// Runs what reaches a mutant until one fails.
    pub(crate) fn try_out(&self, id: u32, pace: Pace) -> Result<Outcome> {
        let reaching = self.reaching.get(&id).map(Vec::as_slice).unwrap_or_default();
        let all = reaching.iter().map(|index| &self.tests[*index]);
        let group: Vec<&Test> =
            all.filter(|test| (test.seconds < QUICK_SECONDS) == (pace == Pace::Quick)).collect();
        let by = if group.is_empty() { None } else { first_failure(self.program, id, &group)? };
        Ok(by.map_or(Outcome::Missed, Outcome::Noticed))
    }
}

/// What a thread wrote down.
fn seen(path: &Path) -> Result<Vec<u32>> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(Vec::new()) };
    text.lines().map(|line| line.parse().context("a mutant's number")).collect()
}

/// `test a::b ... ok <0.002s>`
fn timed(line: &str) -> Option<Test> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let seconds = outcome.strip_prefix("ok <")?.strip_suffix("s>")?.parse().ok()?;
    // Tests that are to panic say so behind the name.
    let name = name.split(" - ").next().unwrap_or(name);
    Some(Test { name: name.to_owned(), seconds })
}

fn command(program: &Program) -> Run {
    let limited = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"");
    let run = Run::new("sh").args(["-c", &limited]).arg(&program.path).dir(&program.package);
    if program.name == "short" && std::env::var_os("MAREA_SEEDS").is_none() {
        run.env("MAREA_SEEDS", SEEDS)
    } else {
        run
    }
}

/// The first of some tests that fails with a mutant.
fn first_failure(program: &Program, id: u32, tests: &[&Test]) -> Result<Option<String>> {
    let limit = LIMIT_SECONDS + 5.0 * tests.iter().map(|test| test.seconds).sum::<f64>();
    let run = command(program).args(["--exact", "--test-threads", "1"]);
    let run = run.args(tests.iter().map(|test| &test.name)).env("MAREA_MUTANT", id.to_string());
    let mut command = run.into_command();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let out = child.stdout.take().context("a pipe")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let watch = Stopwatch::start();
    loop {
        let left = Duration::from_secs_f64(limit).saturating_sub(watch.elapsed());
        let failed = match receiver.recv_timeout(left) {
            Ok(line) => line
                .strip_prefix("test ")
                .and_then(|line| line.strip_suffix(" ... FAILED"))
                .map(str::to_owned),
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => Some("the clock".to_owned()),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                let success = child.wait()?.success();
                return Ok((!success).then(|| format!("the end of {}", program.name)));
            }
        };
        if failed.is_some() {
            let _ = child.kill();
            child.wait()?;
            return Ok(failed);
        }
    }
}
