//! `kill -9` of the `marea` command: at the moment an id was printed, and at random moments of recording and syncing.
//! What was acknowledged is there at the next start and reaches Postgres exactly once. (Of a program that links libmarea: `c_kill`.)

use std::collections::BTreeSet;
use std::time::Duration;

use marea_tests::command::Device;
use marea_tests::kills::{Ids, nothing_is_lost_or_doubled, rounds};
use marea_tests::random::Random;
use marea_tests::world::World;
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Records a session and kills the program the moment it has printed the id.
async fn record_and_kill(device: &Device) -> String {
    let mut running =
        device.command(&["session", "record", "--minutes", "1", "--json"]).spawn().expect("marea starts");
    let mut stdout = BufReader::new(running.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).await.expect("it prints its answer");
    running.kill().await.expect("SIGKILL");
    acknowledged(&line).unwrap_or_else(|| panic!("no id in {line:?}"))
}

/// Starts a command, kills it after `delay`, and gives back what it had printed.
async fn run_and_kill(device: &Device, words: &[&str], delay: Duration) -> String {
    let mut running = device.command(words).spawn().expect("marea starts");
    let _ended_by_itself = tokio::time::timeout(delay, running.wait()).await;
    // Killing one that has ended is no error worth telling apart here.
    let _ = running.start_kill();
    let output = running.wait_with_output().await.expect("its output");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The id in a *whole* answer: half a line acknowledges nothing.
fn acknowledged(stdout: &str) -> Option<String> {
    let whole = stdout.strip_suffix('\n')?;
    let answer: serde_json::Value = serde_json::from_str(whole).ok()?;
    Some(answer["id"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_right_after_it_answered_the_session_is_there_and_arrives_once() {
    let world = World::shared().await;
    let device = world.device_of(1);
    let mut expected = BTreeSet::new();
    for round in 1..=rounds(25) {
        expected.insert(record_and_kill(&device).await);
        let progress = device.json(&["progress"]).await;
        assert_eq!(progress["total_sessions"], round, "lost at the next start");
    }
    assert_eq!(expected.len(), rounds(25));
    device.json(&["sync"]).await;
    let arrived: BTreeSet<String> = world.sessions_of(1).await.into_iter().collect();
    assert_eq!(arrived, expected);
    assert_eq!(world.total_sessions_of(1).await, i64::try_from(rounds(25)).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_two_hundred_times_at_random_while_it_records_and_syncs_nothing_is_lost_or_doubled() {
    let world = World::shared().await;
    let random = Random::of_this_run("killed_at_random");
    nothing_is_lost_or_doubled(&world, random, |device, mut random| async move {
        let mut ids = Ids::default();
        // Of the delay, in microseconds. It follows the machine, so that about every second command has answered in time.
        let mut most = 40_000;
        for _ in 0..rounds(50) {
            let id = random.uuid().to_string();
            let words = ["session", "record", "--minutes", "1", "--json", "--id", &id];
            let delay = Duration::from_micros(random.within(0..=most).unsigned_abs());
            let promised = acknowledged(&run_and_kill(&device, &words, delay).await);
            most = if promised.is_some() { most * 4 / 5 } else { most * 5 / 4 };
            ids.promised.extend(promised);
            ids.tried.insert(id);
            if random.chance(60) {
                let delay = Duration::from_micros(random.within(0..=3 * most).unsigned_abs());
                run_and_kill(&device, &["sync", "--json"], delay).await;
            }
        }
        (device, ids)
    })
    .await;
}
