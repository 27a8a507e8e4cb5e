//! The desktop: how long the command takes to start, what an idle client costs, how large the program is, and a first sync of
//! many rows. Linux only: it reads /proc.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::core::fill_exports;
use super::{Figure, Rounds, Spread, millis, now};
use crate::world::World;

const START_ROUNDS: usize = 60;
const SESSIONS: usize = 200;

/// The programs that are measured, built for release.
pub struct Programs {
    /// The command.
    pub marea: PathBuf,
    /// A runtime and nothing else.
    pub bare: PathBuf,
    /// A runtime and a client.
    pub idle: PathBuf,
}

/// A device's folder and what the command needs to know.
struct Setting {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Setting {
    fn of(world: &World) -> Setting {
        let ready = world.backend().ready();
        let folder = tempfile::tempdir().expect("a folder");
        let variables = vec![
            ("MAREA_DIR", folder.path().display().to_string()),
            ("MAREA_URL", ready.url.clone()),
            ("MAREA_ANON_KEY", ready.anon_key.clone()),
            ("MAREA_TOKEN", world.token(1, 3600)),
        ];
        Setting { folder, variables }
    }

    fn run(&self, program: &Path, words: &[&str]) -> Value {
        let mut command = Command::new(program);
        let ended = command.args(words).envs(self.variables.iter().cloned()).output().expect("it runs");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        serde_json::from_slice(&ended.stdout).expect("JSON")
    }
}

fn taken(command: &mut Command) -> Duration {
    let begun = now();
    let status = command.stdout(Stdio::null()).status().expect("it runs");
    assert!(status.success(), "{command:?}");
    begun.elapsed()
}

/// The start of `marea progress --json`, against `sqlite3` that reads the same row of the same file.
pub async fn start_figure(programs: &Programs, world: &World) -> Figure {
    let setting = Setting::of(world);
    for _ in 0..SESSIONS {
        setting.run(&programs.marea, &["session", "record", "--minutes", "5", "--json"]);
    }
    let mirror = setting.folder.path().join(format!("{}.sqlite3", world.learner(1)));
    let mut rounds = Rounds::new();
    for _ in 0..START_ROUNDS {
        let mut baseline = Command::new("sqlite3");
        baseline.arg(&mirror).arg("SELECT * FROM user_progress");
        let mut subject = Command::new(&programs.marea);
        subject.args(["progress", "--json"]).envs(setting.variables.iter().cloned());
        let baseline = taken(&mut baseline);
        rounds.add(baseline, taken(&mut subject));
    }
    let measured = Spread::of("ms", rounds.subject_ms.iter().copied());
    let against = Spread::of("ms", rounds.baseline_ms.iter().copied());
    Figure {
        what: "start of `marea progress --json`".into(),
        baseline: format!("`sqlite3` on the same file: {:.2} ms", against.median),
        bar: "<= 30 ms".into(),
        passed: measured.median <= 30.0,
        measured,
        how: format!(
            "process start to its end, {SESSIONS} sessions waiting; {:.2} x sqlite3",
            rounds.ratios().median
        ),
    }
}

/// What an idle client adds to a bare program, in memory and in wake-ups.
pub async fn idle_figures(programs: &Programs, world: &World, watched: Duration) -> Vec<Figure> {
    let setting = Setting::of(world);
    setting.run(&programs.marea, &["session", "record", "--minutes", "5", "--json"]);
    setting.run(&programs.marea, &["sync", "--json"]);
    let words: Vec<&String> = setting.variables.iter().map(|(_, value)| value).collect();
    let mut bare = begin(Command::new(&programs.bare));
    let mut idle = Command::new(&programs.idle);
    idle.args(words);
    let mut idle = begin(idle);
    // Long enough for its first look at the server, and for the threads that this needed to have ended.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let memory = [resident_kib(bare.id()), resident_kib(idle.id())];
    let before = [wake_ups(bare.id()), wake_ups(idle.id())];
    tokio::time::sleep(watched).await;
    let after = [wake_ups(bare.id()), wake_ups(idle.id())];
    for child in [&mut bare, &mut idle] {
        child.kill().expect("it ends");
        child.wait().expect("it has ended");
    }
    let added = (memory[1] - memory[0]) / 1024.0;
    let woken = (after[1] - before[1]) as f64;
    vec![
        Figure {
            what: "memory of an idle client, over a bare tokio program".into(),
            baseline: format!("{:.1} MiB resident", memory[0] / 1024.0),
            bar: "<= 20 MiB".into(),
            passed: added <= 20.0,
            measured: Spread::of("MiB", [added]),
            how: format!("VmRSS after a sync, {:.1} MiB in all", memory[1] / 1024.0),
        },
        Figure {
            what: format!("wake-ups of an idle client in {} s", watched.as_secs()),
            baseline: format!("the bare program: {}", after[0] - before[0]),
            bar: "0".into(),
            passed: woken == 0.0,
            measured: Spread::of("wake-ups", [woken]),
            how: "voluntary context switches of all threads; the next look at the server is minutes away"
                .into(),
        },
    ]
}

fn begin(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts")
}

pub(super) fn field_of(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of /proc");
    line.trim_start_matches(':')
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .expect("a number")
}

fn resident_kib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a running process");
    field_of(&status, "VmRSS") as f64
}

fn wake_ups(process: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("a running process");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
        .map(|status| field_of(&status, "voluntary_ctxt_switches"))
        .sum()
}

/// The size of the program without symbols.
pub fn size_figure(programs: &Programs) -> Figure {
    let folder = tempfile::tempdir().expect("a folder");
    let stripped = folder.path().join("marea");
    let mut strip = Command::new("strip");
    taken(strip.arg("-o").arg(&stripped).arg(&programs.marea));
    let mib = |path: &Path| std::fs::metadata(path).map_or(0.0, |file| file.len() as f64 / 1_048_576.0);
    let measured = Spread::of("MiB", [mib(&stripped)]);
    Figure {
        what: "size of `marea`, stripped".into(),
        baseline: format!("not stripped: {:.1} MiB", mib(&programs.marea)),
        bar: "none".into(),
        passed: true,
        measured,
        how: "release build, `strip`".into(),
    }
}

/// A new device's first sync, against reading the same rows from PostgREST page by page and keeping none of them.
pub async fn first_sync_figure(programs: &Programs, world: &World, rows: usize) -> Figure {
    fill_exports(world, 1, rows).await;
    let begun = now();
    let mut after = String::from("00000000-0000-0000-0000-000000000000");
    let mut read = 0;
    loop {
        let path = format!("/rest/v1/export_history?order=id&limit=1000&id=gt.{after}");
        let call = world.backend().call(reqwest::Method::GET, &path).bearer_auth(world.token(1, 600));
        let page: Vec<Value> = call.send().await.expect("an answer").json().await.expect("rows");
        read += page.len();
        match page.last().and_then(|row| row["id"].as_str()) {
            Some(last) => last.clone_into(&mut after),
            None => break,
        }
    }
    let baseline = begun.elapsed();
    assert!(read >= rows, "{read} rows read");
    let setting = Setting::of(world);
    let begun = now();
    let report = setting.run(&programs.marea, &["sync", "--json"]);
    let subject = begun.elapsed();
    assert!(report["pulled"].as_u64().is_some_and(|pulled| pulled >= rows as u64), "{report}");
    let per_second = rows as f64 / subject.as_secs_f64();
    Figure {
        what: format!("first sync of {rows} rows, end to end"),
        baseline: format!("reading them by GET, 1,000 a page, keeping none: {:.0} ms", millis(baseline)),
        bar: "none".into(),
        passed: true,
        measured: Spread::of("s", [subject.as_secs_f64()]),
        how: format!(
            "`marea sync` on a new folder, {per_second:.0} rows/s, {:.2} x the reading; PowerSync is not beside it: its client \
             needs PowerSync's own service between it and Postgres, and a stub of that would measure the stub",
            subject.as_secs_f64() / baseline.as_secs_f64()
        ),
    }
}
