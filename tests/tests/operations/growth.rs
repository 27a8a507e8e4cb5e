//! Eight pairs on two servers and fifty devices that write all the time: users move from one pair to another and whole pairs to the other
//! server, by the commands of docs/migrations/PAIRS.md, while the router, PostgREST and Postgres are killed at each step.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use marea_tests::cluster::root;
use marea_tests::paired::{Paired, Victim};
use marea_tests::random::Random;
use marea_tests::wait;
use serde_json::Value;
use tokio::process::Command;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::documents::{commands, dumpable_programs};

const SERVERS: usize = 2;
const PAIRS: usize = 8;
const USERS: usize = 16;
const DEVICES: usize = 50;
/// How long a whole pair may take to move.
const PAIR_BOUND: Duration = Duration::from_secs(120);

/// What is done to move a user, in order; what is killed is killed before, while or after it is done.
#[derive(Clone, Copy, Debug)]
enum Step {
    Export,
    Import,
    Route,
    Erase,
    Rest,
}

const STEPS: [Step; 5] = [Step::Export, Step::Import, Step::Route, Step::Erase, Step::Rest];

/// Users who are moved. `MAREA_MOVES` says otherwise: 25 kill everything at every step.
fn moves() -> usize {
    let given = std::env::var("MAREA_MOVES").ok();
    given.map_or(STEPS.len(), |number| number.parse().expect("MAREA_MOVES is a number"))
}

struct Move<'s> {
    scene: &'s Paired,
    user: Uuid,
    from: usize,
    to: usize,
    document: RefCell<Value>,
}

impl Move<'_> {
    /// One step, as often as it takes: whoever moves a user goes on where they were stopped.
    async fn take(&self, step: Step) {
        let tries = Cell::new(0);
        wait::until("a step is done", || async {
            tries.set(tries.get() + 1);
            self.is_done(step, tries.get() > 1).await
        })
        .await;
    }

    async fn is_done(&self, step: Step, is_repeated: bool) -> bool {
        let pair = if matches!(step, Step::Import) { self.to } else { self.from };
        let done = match (step, connected(&self.scene.url(pair)).await) {
            (Step::Rest, _) => Ok(()),
            (Step::Route, _) => {
                let mut pairs = self.scene.pairs.lock().await;
                return pairs.router().route(self.user, self.to).await.is_ok();
            }
            (_, None) => return false,
            (Step::Export, Some(old)) => {
                let query = "SELECT marea.move_user($1, 'another pair')";
                old.query_one(query, &[&self.user]).await.map(|row| *self.document.borrow_mut() = row.get(0))
            }
            (Step::Import, Some(new)) => {
                let document = self.document.borrow().clone();
                new.execute("SELECT marea.import_user($1)", &[&document]).await.map(drop)
            }
            (Step::Erase, Some(old)) => old
                .execute("SELECT marea.erase_user($1, keep_address => true)", &[&self.user])
                .await
                .map(drop),
        };
        match done {
            Ok(()) => true,
            // The one before was carried out, and its answer was lost.
            Err(error) if is_repeated && error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                assert!(matches!(step, Step::Import), "{step:?}: {error}");
                true
            }
            Err(error) => {
                eprintln!("{step:?} once more: {error}");
                false
            }
        }
    }
}

async fn connected(url: &str) -> Option<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.ok()?;
    tokio::spawn(connection);
    Some(client)
}

/// Moves a user, with a kill around the step of this number; the devices write between the steps.
async fn move_user(scene: &Paired, number: usize, random: &mut Random) {
    let user = *random.one_of(scene.users());
    let from = scene.home_of(user).await;
    let distance = usize::try_from(random.within(1..=PAIRS as i64 - 1)).expect("another pair");
    let to = (from + distance) % PAIRS;
    let victims =
        [Victim::Router, Victim::Pair(from), Victim::Server(from), Victim::Pair(to), Victim::Server(to)];
    let victim = victims[(number + number / STEPS.len()) % victims.len()];
    let moved = Move { scene, user, from, to, document: RefCell::default() };
    for (place, step) in STEPS.into_iter().enumerate() {
        if place == number % STEPS.len() {
            // A step takes some milliseconds.
            let delay = Duration::from_micros(random.bits() % 20_000);
            let killed = async {
                tokio::time::sleep(delay).await;
                scene.kill(victim).await;
            };
            tokio::join!(moved.take(step), killed);
        } else {
            moved.take(step).await;
        }
        scene.write(40).await;
    }
    assert_eq!(scene.home_of(user).await, to);
}

/// The blocks of the document with which a pair is moved: by a dump; by replication while the pair serves, and when it has stopped.
fn blocks() -> [String; 3] {
    let moving = commands("docs/migrations/PAIRS.md").into_iter().filter(|block| block.contains("$OLD"));
    let blocks: Vec<String> = moving.collect();
    blocks.try_into().expect("three blocks")
}

async fn bash(script: &str, old: &str, new: &str) {
    let run = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(root())
        .envs([("OLD", old), ("NEW", new)])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PAIR_BOUND, run).await.expect("done in time").expect("bash starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}\n{}\n{}", text(&output.stdout), text(&output.stderr));
}

/// The router answers for the pair, and nothing of it runs but its database.
async fn stop_pair(scene: &Paired, pair: usize) {
    let mut pairs = scene.pairs.lock().await;
    pairs.router().hold(pair, true).await.expect("the router");
    pairs.kill_pair(pair).await;
}

async fn start_elsewhere(scene: &Paired, pair: usize, place: (usize, String)) {
    scene.start_pair_on(pair, place).await;
    scene.pairs.lock().await.router().hold(pair, false).await.expect("the router");
    scene.write(60).await;
}

async fn move_pair_by_dump(scene: &Paired, pair: usize) {
    let [dump, ..] = blocks();
    let (old, new) = (scene.url(pair), scene.other_database(pair, "dumped").await);
    stop_pair(scene, pair).await;
    scene.kill(Victim::Server(pair)).await;
    let dumped = bash(&dump, &old, &new.1);
    scene.while_writing(async { tokio::join!(dumped, scene.kill(Victim::Router)) }).await;
    start_elsewhere(scene, pair, new).await;
}

async fn move_pair_by_replication(scene: &Paired, pair: usize) {
    let [_, begin, end] = blocks();
    let (old, new) = (scene.url(pair), scene.other_database(pair, "replicated").await);
    let begun = bash(&begin, &old, &new.1);
    scene.while_writing(async { tokio::join!(begun, scene.kill(Victim::Router)) }).await;
    // It goes on by itself, on whichever side the crash was.
    scene.kill(Victim::Server(pair)).await;
    marea_tests::standby::crash(&new.1).await;
    scene.write(60).await;
    stop_pair(scene, pair).await;
    scene.while_writing(bash(&end, &old, &new.1)).await;
    start_elsewhere(scene, pair, new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_pairs_move_while_fifty_devices_write_and_everything_is_killed_in_turn() {
    let mut random = Random::of_this_run("growth");
    let programs = dumpable_programs().await;
    let sizes = [SERVERS, PAIRS, USERS, DEVICES];
    let scene = Paired::start(programs.as_deref(), sizes, &mut random).await;
    for number in 0..moves() {
        move_user(&scene, number, &mut random).await;
    }
    let [dumped, replicated] = [1, 2].map(|number| scene.users()[number]);
    let pair = scene.home_of(dumped).await;
    move_pair_by_dump(&scene, pair).await;
    let pair = scene.home_of(replicated).await;
    move_pair_by_replication(&scene, pair).await;
    let tally = scene.all_is_there_once().await;
    eprintln!("{} users and 2 pairs moved: {tally:?}", moves());
    assert!(tally.failed > 0, "nobody noticed anything");
}
