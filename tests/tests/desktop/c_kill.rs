//! `kill -9` of a program that links libmarea, at random, while it records and syncs: everything that it had acknowledged arrives
//! once. (Of the command: `kill`.)

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use marea_tests::c_program::Installed;
use marea_tests::kills::{Ids, nothing_is_lost_or_doubled, rounds};
use marea_tests::random::Random;
use marea_tests::world::World;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

/// Lets the program record these sessions, kills it after `delay`, and gives those that it has acknowledged in whole lines. The
/// delay counts from the first of them, or from the start: however slow the machine is, both are killed, the busy and the starting.
async fn run_and_kill(mut program: Command, ids: &[String], busy: bool, delay: Duration) -> BTreeSet<String> {
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut running = program.spawn().expect("it starts");
    let mut stdout = BufReader::new(running.stdout.take().expect("a pipe"));
    let mut stdin = running.stdin.take().expect("a pipe");
    // All fit into the pipe, which is left open: a program that has recorded all goes on syncing until it is killed.
    stdin.write_all((ids.join("\n") + "\n").as_bytes()).await.expect("it reads");
    let mut said = String::new();
    if busy {
        stdout.read_line(&mut said).await.expect("it records");
    }
    let ended_by_itself = tokio::time::timeout(delay, running.wait()).await.is_ok();
    // Killing one that has ended is no error worth telling apart here.
    let _ = running.start_kill();
    let output = running.wait_with_output().await.expect("its output");
    drop(stdin);
    assert!(!ended_by_itself, "{}", String::from_utf8_lossy(&output.stderr));
    stdout.read_to_string(&mut said).await.expect("the rest, in UTF-8");
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    whole.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_two_hundred_times_at_random_a_program_that_links_libmarea_loses_and_doubles_nothing() {
    let world = World::shared().await;
    let random = Random::of_this_run("c_killed_at_random");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Installed::shared().compile("killed", &[], folder.path());
    let ready = world.backend().ready();
    nothing_is_lost_or_doubled(&world, random, |device, mut random| {
        let config = json!({
            "dir": device.dir(), "url": ready.url, "anon_key": ready.anon_key, "access_token": world.token(1, 3600),
        });
        let program = program.clone();
        async move {
            let mut ids = Ids::default();
            for _ in 0..rounds(50) {
                let asked: Vec<_> = (0..20).map(|_| random.uuid().to_string()).collect();
                let delay = Duration::from_micros(random.within(0..=150_000).unsigned_abs());
                let mut command = Command::new(&program);
                command.arg(config.to_string());
                let acknowledged = run_and_kill(command, &asked, random.chance(80), delay).await;
                assert!(acknowledged.iter().all(|id| asked.contains(id)), "{acknowledged:?}");
                ids.promised.extend(acknowledged);
                ids.tried.extend(asked);
            }
            (device, ids)
        }
    })
    .await;
}
