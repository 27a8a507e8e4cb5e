//! Sessions mirrored: they come to every device, are corrected and deleted there, and progress follows.

use marea_core::{
    Change, Engine, Entropy, EventInput, ListQuery, Location, Now, SessionInput, Signal, SyncAnswer,
    UnixMillis, UserId,
};
use marea_tests::mirrored::{MirroredApp, deleted, pull, pull_after, rows, send};
use marea_tests::sql::{Caller, hlc, mutation, progress, request, session};
use marea_worlds::random::Random;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_come_are_corrected_and_deleted_and_progress_follows() {
    let app = MirroredApp::start(&[]).await;
    let one = app.user().await;
    let me = one.user;
    // One from before it was declared, and a guest's, which reaches nobody.
    app.database
        .execute(&format!(
            "INSERT INTO public.sessions (user_id, ended_at, duration_minutes) VALUES ('{me}', '2026-04-30 12:00Z', 5);
             ALTER TABLE public.sessions ALTER COLUMN user_id DROP NOT NULL;
             INSERT INTO public.sessions (user_id, ended_at) VALUES (NULL, '2026-04-30 12:00Z');
             SELECT marea.mirror('public.sessions');
             INSERT INTO public.sessions (user_id, ended_at) VALUES (NULL, '2026-04-30 13:00Z');"
        ))
        .await;
    assert_eq!(rows(&pull(&one).await, "sessions").len(), 1);
    let made = session("2026-05-01", json!({ "duration_minutes": 10, "qa_attempts": 4, "qa_correct": 2 }));
    let key = made["key"].as_str().expect("a key").to_owned();
    assert_eq!(send(&one, std::slice::from_ref(&made)).await, ["applied"]);
    let find = |answer: &Value| rows(answer, "sessions").into_iter().find(|row| row["id"] == json!(key));
    let found = find(&pull(&one).await).expect("it comes to every device");
    assert_eq!(
        (&found["duration_minutes"], &found["ended_at"]),
        (&json!(10), &json!("2026-05-01T12:00:00.000000Z"))
    );

    let correct = |n: u32, values: Value| mutation("sessions", "merge", Some(&key), &hlc(n), values);
    let sent = [
        correct(5, json!({ "duration_minutes": 25, "qa_correct": 4 })),
        correct(4, json!({ "duration_minutes": 7 })),
        correct(6, json!({ "duration_minutes": 2500 })),
        correct(
            6,
            json!({ "session_data": { "local_date": "2026-05-02" }, "ended_at": "2026-05-02T12:00:00.000000Z" }),
        ),
    ];
    let refused = "22023: values.duration_minutes: must be a whole number from 0 to 1440";
    assert_eq!(send(&one, &sent).await, ["applied", "applied", refused, "applied"]);
    let answer = one.sync(&request(&[])).await;
    let of = progress(&answer);
    assert_eq!(
        (
            &of["total_time_spent_minutes"],
            &of["total_questions_correct"],
            &of["last_active_on"],
            &of["total_sessions"]
        ),
        (&json!(30), &json!(4), &json!("2026-05-02"), &json!(2))
    );
    let days: Vec<&Value> = answer["rows"]["daily_activity"]
        .as_array()
        .expect("days")
        .iter()
        .map(|row| &row["values"]["day"])
        .collect();
    assert_eq!(days, [&json!("2026-04-30"), &json!("2026-05-02")]);

    let cursor = pull(&one).await["cursor"].clone();
    assert_eq!(
        send(&one, &[mutation("sessions", "delete", Some(&key), &hlc(9), json!({}))]).await,
        ["applied"]
    );
    assert_eq!(deleted(&pull_after(&one, &cursor).await, "sessions"), std::slice::from_ref(&key));
    // Sent again, it stays deleted.
    assert_eq!(
        send(&one, &[made, correct(20, json!({ "duration_minutes": 1 }))]).await,
        ["duplicate", "applied"]
    );
    assert_eq!(find(&pull(&one).await), None);
    assert_eq!(progress(&one.sync(&request(&[])).await)["total_time_spent_minutes"], 5);
    assert_eq!(
        app.database.text(&format!("SELECT marea.refold('{{{me}}}')")).await,
        "0",
        "what the fold from nothing says"
    );

    // Unmirrored, deleted ones stay deleted, and nothing of them is sent.
    app.database.execute("SELECT marea.unmirror('public.sessions')").await;
    assert_eq!(app.database.text("SELECT count(*) FROM marea.rows WHERE table_name = 'sessions'").await, "1");
    let late = mutation("sessions", "delete", Some(&key), &hlc(9), json!({}));
    assert_eq!(send(&one, &[late]).await, ["22023: table, op: no device may do this"]);
    app.stop().await;
}

/// A device, and the connection that it syncs over.
struct Device {
    engine: Engine,
    caller: Caller,
}

impl Device {
    async fn new(app: &MirroredApp, user: Uuid, seed: u64) -> Device {
        let entropy = Box::new(Seeded(Random::of_seed(seed)));
        let mut engine =
            Engine::open(&Location::Memory, UserId::from(user), entropy, now()).expect("a mirror");
        engine.use_catalogue(None, now()).expect("the tables are learned");
        let mut device = Device { engine, caller: app.again(user).await };
        device.sync().await;
        device
    }

    async fn sync(&mut self) {
        self.engine.signal(Signal::SyncNow, now());
        while let Some(outgoing) = self.engine.next_request(now()).expect("a request") {
            let answer = self.caller.sync(&serde_json::to_value(&outgoing.request).expect("JSON")).await;
            let answer: SyncAnswer = serde_json::from_value(answer).expect("an answer");
            let refused = answer.results.iter().find(|result| result.code.is_some());
            assert!(refused.is_none(), "{:?}", refused.map(|result| &result.message));
            self.engine.apply_response(outgoing.ticket, Ok(answer), now()).expect("it is applied");
        }
        assert_eq!(self.engine.status(now()).expect("a status").pending, 0);
    }

    fn sessions(&self) -> Vec<Value> {
        let all = ListQuery { limit: Some(1_000), ..ListQuery::default() };
        let rows = self.engine.list_rows("sessions", &all).expect("sessions");
        rows.iter().map(|row| serde_json::from_str(row).expect("JSON")).collect()
    }

    /// Progress and all days, column by column.
    fn shown(&self) -> (Value, Value) {
        let [first, last] = ["1970-01-01", "9999-12-31"].map(|day| day.parse().expect("a day"));
        let progress = self.engine.progress(now()).expect("progress");
        let days = self.engine.activity(first, last).expect("days");
        (serde_json::to_value(progress).expect("JSON"), serde_json::to_value(days).expect("JSON"))
    }

    /// Somebody records, corrects or deletes something.
    fn change(&mut self, random: &mut Random, awards: bool) {
        let day = format!("2026-05-{:02}", random.within(1..=14));
        let rows = self.sessions();
        let key = |random: &mut Random| random.one_of(&rows)["id"].as_str().expect("a key").to_owned();
        let table = "sessions".to_owned();
        let change = match random.within(0..=9) {
            0 if awards => {
                let at = format!("{day}T23:00:00Z").parse().ok();
                EventInput { occurred_at: at, points: 3, learning_words: 1, ..EventInput::default() }.into()
            }
            1..=3 if !rows.is_empty() => {
                let values = match random.within(0..=3) {
                    0 => {
                        json!({ "duration_minutes": random.within(0..=90), "descriptions_generated": random.within(0..=2) })
                    }
                    1 => json!({ "qa_attempts": 9, "qa_correct": random.within(0..=9) }),
                    2 => json!({ "local_date": day }),
                    _ => {
                        json!({ "started_at": format!("{day}T08:00:00Z"), "ended_at": format!("{day}T09:00:00Z"), "local_date": day })
                    }
                };
                let values = values.as_object().cloned().unwrap_or_default();
                Change::Update { table, key: key(random), values }
            }
            4..=5 if !rows.is_empty() => Change::Delete { table, key: key(random) },
            _ => {
                let input = SessionInput {
                    ended_at: format!("{day}T{:02}:00:00Z", random.within(0..=23)).parse().ok(),
                    duration_minutes: i32::try_from(random.within(0..=60)).ok(),
                    qa_attempts: i32::try_from(random.within(0..=9)).ok(),
                    vocabulary_learned: i32::try_from(random.within(0..=1)).ok(),
                    ..SessionInput::new("qa")
                };
                input.into()
            }
        };
        self.engine.mutate(change, now()).expect("it is recorded");
    }
}

struct Seeded(Random);

impl Entropy for Seeded {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), marea_core::Error> {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.0.bits().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Later than all that is recorded, and before this test was written.
fn now() -> Now {
    Now { unix_ms: UnixMillis(1_780_000_000_000), utc_offset_minutes: 0 }
}

/// What a device shows before it syncs is what Postgres makes of the same corrections and deletions.
#[tokio::test(flavor = "multi_thread")]
async fn the_device_folds_corrections_and_deletions_as_postgres_does() {
    let app = MirroredApp::start(&[]).await;
    app.database.execute("SELECT marea.mirror('public.sessions')").await;
    let mut random = Random::of_this_run("the_device_folds_corrections_and_deletions_as_postgres_does");
    for round in 0..6 {
        let user = app.user().await.user;
        let mut devices =
            [Device::new(&app, user, random.bits()).await, Device::new(&app, user, random.bits()).await];
        for step in 0..12 {
            let turn = step % 2;
            let device = &mut devices[turn];
            device.sync().await;
            for _ in 0..random.within(1..=8) {
                // Awards of the other device are not here: what the latest of them are, only the server can tell.
                device.change(&mut random, turn == 0);
            }
            let (mut before, days) = device.shown();
            device.sync().await;
            let (mut after, days_after) = device.shown();
            if turn == 1 {
                for shown in [&mut before, &mut after] {
                    shown.as_object_mut().expect("columns").retain(|name, _| !name.ends_with("_at"));
                }
            }
            assert_eq!((before, days), (after, days_after), "round {round}, step {step}");
        }
        for device in &mut devices {
            device.sync().await;
        }
        assert_eq!(devices[0].shown(), devices[1].shown());
        assert_eq!(devices[0].sessions().len(), devices[1].sessions().len());
        assert_eq!(app.database.text(&format!("SELECT marea.refold('{{{user}}}')")).await, "0");
    }
    app.stop().await;
}
