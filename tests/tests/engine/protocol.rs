//! The conversations of `docs/protocol/`: the engine, given those answers, sends those requests; and the real server, through
//! the real PostgREST, given those requests, gives those answers.
//!
//! `cargo xtask record` records them anew.

use std::path::PathBuf;

use marea_core::{Engine, Now, UserId};
use marea_tests::normalised::normalised;
use marea_tests::recorded::{Carrier, Exchange, Mishap, Script, Step, export, play, record};
use marea_tests::world::{Fault, FaultKind, World};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

const PATH: &str = "/rest/v1/rpc/marea_sync";

/// A file of `docs/protocol/`.
#[derive(Serialize, Deserialize)]
struct Recording {
    title: String,
    exchanges: Vec<Exchange>,
}

fn one(engine: &mut Engine, now: Now) {
    record(engine, now, "qa", 10);
}

fn three(engine: &mut Engine, now: Now) {
    for minutes in 1..=3 {
        record(engine, now, "qa", minutes);
    }
}

fn one_good_one_bad(engine: &mut Engine, now: Now) {
    record(engine, now, "forbidden", 10);
    record(engine, now, "qa", 5);
}

fn one_export(engine: &mut Engine, now: Now) {
    export(engine, now);
}

/// Another device's session, a minute after noon.
const ANOTHER: &str = "INSERT INTO public.sessions (id, user_id, session_type, started_at, ended_at, duration_minutes, session_data)
    VALUES (gen_random_uuid(), '$user', 'qa', '2025-11-23T12:00:00Z', '2025-11-23T12:01:00Z', 1, '{\"local_date\": \"2025-11-23\"}')";

/// Five exports, in an order that is the same every time.
const EXPORTS: &str =
    "INSERT INTO public.export_history (id, user_id, export_type, export_format, filters, created_at)
    SELECT ('019aaf00-0000-7000-8000-00000000000' || n)::uuid, '$user', 'vocabulary', 'csv', '{}',
           '2025-11-23T11:00:00Z'::timestamptz + n * interval '1 minute'
    FROM generate_series(1, 5) AS n ORDER BY n";

/// The learner's rows as they were before the first sync, and the clock with them: a backup was restored.
const RESTORED: &str = "SET session_replication_role = replica;
    DELETE FROM public.sessions WHERE user_id = '$user';
    DELETE FROM public.user_progress WHERE user_id = '$user';
    DELETE FROM marea.daily_activity WHERE user_id = '$user';
    DELETE FROM marea.rows WHERE user_id = '$user';
    DELETE FROM marea.checkpoints WHERE user_id = '$user';
    DELETE FROM marea.clocks WHERE user_id = '$user';
    SET session_replication_role = origin";

/// Tombstones up to here were pruned, a month later: older cursors are of no use.
const PRUNED: &str = "UPDATE marea.clocks SET pruned = version WHERE user_id = '$user'";

fn scripts() -> Vec<Script> {
    use Step::{Device, Server, Sync};
    vec![
        Script {
            name: "idle",
            title: "A new device, a session, and a sync with nothing to do",
            limit: None,
            steps: vec![Device(one), Sync(None), Sync(None)],
            end: (1, 0, 0, 0),
        },
        Script {
            name: "first-sync-in-pages",
            title: "The first sync of a learner with five exports, in pages of two",
            limit: Some(2),
            steps: vec![Server(EXPORTS), Sync(None)],
            end: (0, 5, 0, 0),
        },
        Script {
            name: "rejected",
            title: "A mutation that the server refuses blocks no other",
            limit: None,
            steps: vec![Device(one_good_one_bad), Sync(None), Device(one_export), Sync(None)],
            end: (1, 1, 0, 1),
        },
        Script {
            name: "lost-answer",
            title: "The answer is lost after the work was done; the same mutations are sent again, and count once",
            limit: None,
            steps: vec![Device(one), Sync(Some(Mishap::Lost)), Device(one), Sync(None)],
            end: (2, 0, 0, 0),
        },
        Script {
            name: "too-large",
            title: "Somebody in front of the server finds a request too large; it is halved",
            limit: None,
            steps: vec![Device(three), Sync(Some(Mishap::TooLarge))],
            end: (3, 0, 0, 0),
        },
        Script {
            name: "token-expired",
            title: "The token has expired; the request is sent again with a fresh one",
            limit: None,
            steps: vec![Device(one), Sync(Some(Mishap::Expired))],
            end: (1, 0, 0, 0),
        },
        Script {
            name: "reset",
            title: "A device that was away for so long that deletions it never heard of are forgotten",
            limit: None,
            steps: vec![Device(one), Sync(None), Server(ANOTHER), Server(PRUNED), Sync(None)],
            end: (2, 0, 0, 0),
        },
        Script {
            name: "restored-server",
            title: "The server was restored from a backup without the device's sessions: the device heals it",
            limit: None,
            steps: vec![Device(one), Sync(None), Device(one), Sync(None), Server(RESTORED), Sync(None)],
            end: (2, 0, 0, 0),
        },
    ]
}

fn user(number: usize) -> Uuid {
    format!("00000000-0000-4000-8000-{number:012}").parse().expect("a UUID")
}

fn file(script: &Script) -> PathBuf {
    marea_tests::cluster::root().join("docs/protocol").join(format!("{}.json", script.name))
}

fn recording(script: &Script) -> Recording {
    let text = std::fs::read_to_string(file(script)).expect("a recording; `cargo xtask record` makes it");
    serde_json::from_str(&text).expect("a recording")
}

/// The server that only says what it has said.
struct Recorded {
    name: &'static str,
    exchanges: std::vec::IntoIter<Exchange>,
}

impl Carrier for Recorded {
    async fn carry(&mut self, request: &Value, _mishap: Option<Mishap>) -> Option<(u16, Value)> {
        let next =
            self.exchanges.next().unwrap_or_else(|| panic!("{}: one more request: {request}", self.name));
        assert_eq!(*request, next.request, "{}: another request than was recorded", self.name);
        next.status.map(|status| (status, next.answer.unwrap_or_default()))
    }

    async fn on_server(&mut self, _sql: &str) {}
}

/// The real one.
struct Real<'w> {
    world: &'w World,
    user: Uuid,
}

impl Carrier for Real<'_> {
    async fn carry(&mut self, request: &Value, mishap: Option<Mishap>) -> Option<(u16, Value)> {
        let lifetime = if mishap == Some(Mishap::Expired) { -3600 } else { 3600 };
        let token = self.world.backend().token(self.user, lifetime);
        if mishap == Some(Mishap::TooLarge) {
            self.world.fault(Fault::new(FaultKind::Status, PATH, 1).with_status(413));
        }
        let answer = self.world.backend().sync(&token, request).await;
        (mishap != Some(Mishap::Lost)).then(|| (answer.status.as_u16(), answer.body))
    }

    async fn on_server(&mut self, sql: &str) {
        self.world.execute(sql).await;
    }
}

#[tokio::test]
async fn the_engine_says_what_was_recorded() {
    for (number, script) in scripts().into_iter().enumerate() {
        let exchanges = recording(&script).exchanges.into_iter();
        let mut recorded = Recorded { name: script.name, exchanges };
        play(&script, UserId::from(user(number)), &mut recorded).await;
        assert_eq!(recorded.exchanges.len(), 0, "{}: requests were not sent", script.name);
    }
}

#[test]
fn the_document_shows_the_last_exchange_of_the_first_conversation() {
    let text = std::fs::read_to_string(marea_tests::cluster::root().join("docs/PROTOCOL.md")).expect("it");
    let shown = text.split("<!-- idle.json, the last exchange -->\n```json\n").nth(1).expect("the mark");
    let shown = shown.lines().take(2).map(|line| serde_json::from_str(line).expect("JSON"));
    let shown: Vec<Value> = shown.collect();
    let Recording { exchanges, .. } = recording(&scripts()[0]);
    let last = exchanges.into_iter().last().expect("an exchange");
    assert_eq!(shown, [last.request, last.answer.expect("an answer")]);
    for script in scripts() {
        assert!(text.contains(&format!("(protocol/{}.json)", script.name)), "{}", script.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_says_what_was_recorded() {
    let world = World::alone().await;
    world.execute("ALTER TABLE public.sessions ADD CHECK (session_type <> 'forbidden')").await;
    let is_recording = std::env::var_os("MAREA_RECORD").is_some();
    for (number, script) in scripts().into_iter().enumerate() {
        let user = user(number);
        let learner =
            format!("INSERT INTO public.users (id, email) VALUES ('{user}', 'learner{number}@test.example')");
        world.execute(&learner).await;
        let said = play(&script, UserId::from(user), &mut Real { world: &world, user }).await;
        let exports = (1..=5).map(|n| format!("019aaf00-0000-7000-8000-{n:012}"));
        let exchanges = normalised(said, exports.chain([user.to_string()]));
        if is_recording {
            let recording = Recording { title: script.title.to_owned(), exchanges };
            let text = serde_json::to_string_pretty(&recording).expect("JSON") + "\n";
            std::fs::create_dir_all(file(&script).parent().expect("a folder")).expect("a folder");
            std::fs::write(file(&script), text).expect("a file");
            continue;
        }
        let recording = recording(&script);
        assert_eq!(recording.title, script.title);
        for (place, (said, recorded)) in exchanges.iter().zip(&recording.exchanges).enumerate() {
            assert_eq!(said, recorded, "{}, exchange {place}", script.name);
        }
        assert_eq!(exchanges.len(), recording.exchanges.len(), "{}", script.name);
    }
    assert!(!is_recording, "recorded anew; run it again without MAREA_RECORD");
    world.stop().await;
}
