//! Feeds the engine hostile input for as long as one likes. `cargo xtask fuzz` runs it.
//!
//! What it finds it leaves in the corpus, where every test run tries it again.

#![allow(clippy::print_stdout, reason = "a command line tool talks on standard output")]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use marea_tests::fuzz::{self, TARGETS, Target, memory::Counting};
use marea_tests::random::Random;

#[global_allocator]
static COUNTING: Counting = Counting;

/// Longer than the slowest input takes on a loaded machine; more is a hang.
const HANGS_AFTER: Duration = Duration::from_secs(60);

static FED: AtomicU64 = AtomicU64::new(0);

const USAGE: &str = "usage: fuzz --minutes N [answer | mirror | text | envelope]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let minutes: Option<u64> = words.get(1).and_then(|text| text.parse().ok());
    let targets: Vec<Target> = match words.get(2) {
        None => TARGETS.to_vec(),
        Some(name) => Target::of_name(name).into_iter().collect(),
    };
    let (Some("--minutes"), Some(minutes), false) =
        (words.first().map(String::as_str), minutes, targets.is_empty())
    else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let (done, until_done) = mpsc::channel();
    std::thread::spawn(move || watch(&until_done));
    let well = targets.into_iter().all(|target| run(target, Duration::from_secs(minutes * 60)));
    drop(done);
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ends the program when one input takes too long.
fn watch(until_done: &mpsc::Receiver<()>) {
    loop {
        let before = FED.load(Ordering::Relaxed);
        if until_done.recv_timeout(HANGS_AFTER) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        if FED.load(Ordering::Relaxed) == before {
            eprintln!("fuzz: input {before} hangs");
            std::process::exit(3);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "runs for as long as it was asked to; no input depends on it")]
fn run(target: Target, time: Duration) -> bool {
    let mut random = Random::of_this_run(target.name());
    let corpus = target.corpus();
    let (begun, mut fed) = (Instant::now(), 0u64);
    while begun.elapsed() < time {
        let input = target.grow(&corpus, &mut random);
        if let Err(what) = fuzz::feed(target, &input) {
            let name = format!("found-{:016x}", random.bits());
            let path = target.folder().join(name);
            std::fs::write(&path, &input).expect("a corpus that can be written");
            println!("{what}; the input is now in {}", path.display());
            return false;
        }
        fed += 1;
        FED.fetch_add(1, Ordering::Relaxed);
    }
    println!("{}: {fed} inputs in {} s, all well", target.name(), time.as_secs());
    true
}
