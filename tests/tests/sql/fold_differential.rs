//! The same arithmetic twice: the triggers in Postgres and the fold in Rust must agree on every column of `user_progress` and
//! `marea.daily_activity`, over random histories; and what a device shows before a sync is what it shows after, and what
//! Postgres has.

use std::collections::{BTreeMap, BTreeSet};

use marea_core::{ActivityDay, Fold, LocalDate, Now, SessionInput, Timestamp, Transport, UnixMillis, UserId};
use marea_tests::engine_device::EngineDevice;
use marea_tests::history::History;
use marea_tests::random::Random;
use marea_tests::world::World;
use serde_json::{Map, Value};
use uuid::Uuid;

const HISTORIES: usize = 1_000;
/// Histories whose statements are mixed with each other.
const AT_ONCE: i64 = 20;
const DEVICES: usize = 60;

/// A learner as Postgres has them: the progress row without its own bookkeeping, and the days.
type Stored = (Value, BTreeMap<String, Value>);

#[tokio::test(flavor = "multi_thread")]
async fn triggers_and_rust_fold_agree_on_every_column() {
    let mut random = Random::of_this_run("fold_differential");
    let world = World::alone().await;
    // Whether a crash would lose the last commits is not the question here, and waiting for the disk is half of the time.
    world.execute("SET synchronous_commit = off").await;
    // Histories freeze more days than a learner may.
    world.execute("INSERT INTO marea.settings (name, value) VALUES ('freezes_per_30_days', '100000')").await;
    let mut histories = Vec::new();
    while histories.len() < HISTORIES {
        histories.extend(play_some(&world, &mut random).await);
    }
    let stored = all_stored(&world).await;
    let nobody = (Value::Object(Map::new()), BTreeMap::new());
    let mut counted = 0;
    let tomorrow: LocalDate =
        world.one::<String>("SELECT marea.tomorrow()::text").await.parse().expect("a day");
    for history in &histories {
        let facts = history.facts();
        counted += facts.len();
        let mut fold = Fold::empty(history.user.into());
        fold.add(&facts);
        // As the server does: what lies after its tomorrow is no part of a streak yet.
        fold.count_days_until(tomorrow);
        let found = match stored.get(&history.user) {
            Some(found) => found,
            // Without a fact there need not be a row.
            None if facts.is_empty() => continue,
            None => &nobody,
        };
        compare(found, &fold, || history.log.join(";\n"));
    }
    // The histories must be worth something: enough facts, and not all in one shape.
    assert!(counted > 3 * HISTORIES, "only {counted} facts in {HISTORIES} histories");
    world.stop().await;
}

/// Some learners' pasts at once, in transactions of one to eight statements, a few of them rolled back.
async fn play_some(world: &World, random: &mut Random) -> Vec<History> {
    let mut histories: Vec<History> = (0..AT_ONCE).map(|_| History::new(random.uuid())).collect();
    for history in &histories {
        add_user(world, history.user).await;
    }
    let mut left = AT_ONCE * random.within(2..=18);
    while left > 0 {
        let before = histories.clone();
        let mut transaction = vec!["BEGIN".to_owned()];
        for _ in 0..random.within(1..=8) {
            let chosen = usize::try_from(random.within(0..=AT_ONCE - 1)).expect("an index");
            transaction.push(histories[chosen].step(random));
            left -= 1;
        }
        if random.chance(5) {
            transaction.push("ROLLBACK".into());
            histories = before;
        } else {
            transaction.push("COMMIT".into());
        }
        let statements = transaction.join(";\n");
        if let Err(error) = world.database().batch_execute(&statements).await {
            panic!("Postgres refused: {error:?}\n{statements}");
        }
    }
    histories
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_shows_is_the_same_before_and_after_the_sync_and_in_postgres() {
    let mut random = Random::of_this_run("device_differential");
    let world = World::alone().await;
    let ready = world.backend().ready();
    let transport = Transport::new(&ready.url, &ready.anon_key).unwrap();
    let mut expected = Vec::new();
    for _ in 0..DEVICES {
        let user = random.uuid();
        add_user(&world, user).await;
        let token = world.backend().token(user, 600);
        let device = EngineDevice::new(user.into(), &token, some_time(&mut random));
        let mut recorded = 0;
        for _ in 0..random.within(0..=12) {
            device.set_now(some_time(&mut random));
            recorded += device.record(some_session(&mut random, device_now(&device))).pending.min(1);
        }
        // No day lies ahead of it in the end: Postgres, which lives later, has counted them all.
        device.set_now(Now { unix_ms: UnixMillis(END_MS), ..some_time(&mut random) });
        let before = (device.progress(), device.days());
        let report = device.sync(&transport).await;
        assert_eq!((report.pushed, report.rejected, report.pending), (recorded, 0, 0), "{report:?}");
        assert_eq!((device.progress(), device.days()), before, "a sync changed what user {user} sees");

        // Another device of the same learner, on the same day, sees the same.
        let other = EngineDevice::new(user.into(), &token, device_now(&device));
        other.sync(&transport).await;
        assert_eq!(
            (other.progress(), other.days()),
            before,
            "the second device of {user} sees something else"
        );
        if recorded > 0 {
            expected.push((user, device_now(&device), before));
        }
    }
    let stored = all_stored(&world).await;
    for (user, now, (progress, days)) in expected {
        let found = &stored[&user];
        // What is stored is as of the last active day; what is shown is as of today.
        let mut shown = found.0.clone();
        let last: LocalDate = shown["last_active_on"].as_str().unwrap().parse().unwrap();
        if last < now.local_date().previous() {
            shown["current_streak_days"] = 0.into();
        }
        let days = days.into_iter().map(|day| (day.day, day)).collect();
        compare(&(shown, found.1.clone()), &Fold { progress, days }, || {
            format!("synced by a device of {user}")
        });
    }
    world.stop().await;
}

fn device_now(device: &EngineDevice) -> Now {
    marea_core::Host::now(device)
}

/// After the three weeks.
const END_MS: i64 = 1_767_571_200_000 + 22 * 86_400_000;

/// The learner travels: any of three weeks, any time zone.
fn some_time(random: &mut Random) -> Now {
    let unix_ms = 1_767_571_200_000 + random.within(0..=21 * 86_400_000);
    let utc_offset_minutes = i32::try_from(random.within(-48..=56) * 15).expect("a small number");
    Now { unix_ms: UnixMillis(unix_ms), utc_offset_minutes }
}

fn some_session(random: &mut Random, now: Now) -> SessionInput {
    let some = |random: &mut Random, most: i64| {
        random.chance(60).then(|| i32::try_from(random.within(0..=most)).expect("a small number"))
    };
    let qa_attempts = some(random, 40);
    let earlier = UnixMillis(now.unix_ms.0 - random.within(0..=3 * 86_400_000));
    SessionInput {
        ended_at: random.chance(50).then(|| Timestamp::from_millis(earlier)),
        duration_minutes: some(random, 90),
        images_processed: some(random, 9),
        descriptions_generated: some(random, 9),
        qa_correct: qa_attempts
            .map(|attempts| i32::try_from(random.within(0..=attempts.into())).expect("rows")),
        qa_attempts,
        vocabulary_learned: some(random, 20),
        phrases_saved: some(random, 5),
        ..SessionInput::new("practice")
    }
}

async fn add_user(world: &World, user: Uuid) {
    world
        .execute(&format!("INSERT INTO public.users (id, email) VALUES ('{user}', '{user}@example.com')"))
        .await;
}

#[track_caller]
fn compare((progress, days): &Stored, fold: &Fold, story: impl Fn() -> String) {
    let mut expected = serde_json::to_value(&fold.progress).expect("JSON");
    for own in ["user_id", "future_days", "frozen_days"] {
        expected.as_object_mut().expect("an object").remove(own);
    }
    assert_eq!(names(progress), names(&expected), "columns without a counterpart");
    for (column, value) in expected.as_object().expect("an object") {
        assert_eq!(&progress[column], value, "user_progress.{column} (left: Postgres) after\n{}", story());
    }
    let expected_days: BTreeMap<String, Value> = fold
        .days
        .iter()
        .map(|(day, row)| (day.to_string(), serde_json::to_value(row).expect("JSON")))
        .collect();
    assert_eq!(*days, expected_days, "daily_activity (left: Postgres) after\n{}", story());
}

fn names(row: &Value) -> BTreeSet<&String> {
    row.as_object().expect("an object").keys().collect()
}

/// Every learner's rows, with each column in the form that it has on the wire.
async fn all_stored(world: &World) -> BTreeMap<Uuid, Stored> {
    let mut stored: BTreeMap<Uuid, Stored> = BTreeMap::new();
    for (user, row) in
        rows(world, "public", "user_progress", &["id", "user_id", "created_at", "updated_at"]).await
    {
        stored.entry(user).or_default().0 = row;
    }
    let day_names = names_of_a_day();
    for (user, row) in rows(world, "marea", "daily_activity", &["user_id", "facts"]).await {
        assert_eq!(names(&row), day_names.iter().collect(), "columns without a counterpart");
        let day = row["day"].as_str().expect("text").to_owned();
        stored.get_mut(&user).expect("a progress row beside the days").1.insert(day, row);
    }
    stored
}

fn names_of_a_day() -> BTreeSet<String> {
    let day = ActivityDay::empty("2026-01-01".parse().expect("a day"));
    serde_json::to_value(day).expect("JSON").as_object().expect("an object").keys().cloned().collect()
}

/// All columns that the table has today but for its bookkeeping: a new one that only one side knows makes the test fail.
async fn rows(world: &World, schema: &str, table: &str, bookkeeping: &[&str]) -> Vec<(Uuid, Value)> {
    let columns = world
        .database()
        .query(
            "SELECT column_name::text, data_type::text FROM information_schema.columns \
             WHERE table_schema = $1 AND table_name = $2",
            &[&schema, &table],
        )
        .await
        .expect("rows");
    let pairs: Vec<String> = columns
        .iter()
        .map(|column| (column.get::<_, String>(0), column.get::<_, String>(1)))
        .filter(|(name, _)| !bookkeeping.contains(&name.as_str()))
        .map(|(name, kind)| match kind.as_str() {
            "timestamp with time zone" => {
                format!("'{name}', to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
            }
            _ => format!("'{name}', {name}"),
        })
        .collect();
    assert!(!pairs.is_empty(), "{schema}.{table} is missing");
    // What a page works out beside the columns.
    let frozen = if table == "daily_activity" { ", 'frozen', NOT marea.is_active(t)" } else { "" };
    let query = format!(
        "SELECT user_id, jsonb_build_object({}{frozen}) FROM {schema}.{table} AS t",
        pairs.join(", ")
    );
    let found = world.database().query(&query, &[]).await.expect("rows");
    found.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// The check above is only worth something if it can fail.
#[test]
#[should_panic(expected = "user_progress.total_sessions")]
fn a_single_wrong_number_is_noticed() {
    let user = UserId::from(Uuid::nil());
    let mut row = serde_json::to_value(Fold::empty(user).progress).unwrap();
    row.as_object_mut()
        .unwrap()
        .retain(|name, _| !["user_id", "future_days", "frozen_days"].contains(&name.as_str()));
    row["total_sessions"] = 1.into();
    compare(&(row, BTreeMap::new()), &Fold::empty(user), || "nothing".into());
}
