//! The backfill (migration 003) makes of past sessions exactly what the triggers would have made of them, also when it is
//! stopped in between and while new sessions keep arriving. The figures are not here: `cargo xtask bench postgres`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use marea_backend::{Backend, Options};
use marea_tests::cluster::{Cluster, Database};
use marea_tests::history::History;
use marea_tests::random::Random;
use uuid::Uuid;

/// Every column of every progress row and day, less what is only bookkeeping.
const STORED: &str = "
    SELECT u.id, jsonb_build_object(
        'progress', (SELECT to_jsonb(p) - '{id,created_at,updated_at}'::text[] FROM public.user_progress AS p
                     WHERE p.user_id = u.id),
        'days', (SELECT jsonb_agg(to_jsonb(d) ORDER BY d.day) FROM marea.daily_activity AS d WHERE d.user_id = u.id))
    FROM public.users AS u ORDER BY u.id";

/// As if none of the sessions and events had ever been counted: what a database with a past looks like after 001 and 002.
/// Achievements are left, for they are never taken away.
const FORGET: &str = "
    SET session_replication_role = replica;
    DELETE FROM marea.daily_activity;
    UPDATE public.user_progress SET total_descriptions = 0, total_images = 0, total_questions_answered = 0,
        total_questions_correct = 0, total_vocabulary_learned = 0, total_sessions = 0, total_time_spent_minutes = 0,
        current_streak_days = 0, longest_streak_days = 0, total_points = 0, average_accuracy = 0,
        average_completion_time_seconds = 0, mastered_words_count = 0, learning_words_count = 0, new_words_count = 0,
        achievements = '{}', last_activity_at = NULL, last_description_at = NULL, last_qa_session_at = NULL,
        last_vocabulary_practice_at = NULL, last_active_on = NULL;
    DELETE FROM public.user_progress WHERE left(user_id::text, 1) < '4';
    SET session_replication_role = origin;";

async fn stored(database: &Database) -> BTreeMap<Uuid, serde_json::Value> {
    let rows = database.client.query(STORED, &[]).await.expect("what is stored");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Learners with random pasts, folded by the triggers.
async fn with_histories(database: &Database, random: &mut Random, learners: usize) {
    database.execute("SET synchronous_commit = off").await;
    for _ in 0..learners {
        let mut history = History::new(random.uuid());
        let mut statements = vec![format!("INSERT INTO public.users (id) VALUES ('{}')", history.user)];
        statements.extend((0..random.within(0..=25)).map(|_| history.step(random)));
        database.execute(&statements.join(";\n")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backfill_makes_what_the_triggers_would_have_made() {
    let mut random = Random::of_this_run("backfill");
    let cluster = Cluster::start().await;
    let database = cluster.database("equal", 3).await;
    with_histories(&database, &mut random, 120).await;
    // Every learner has a progress row then. Nothing is wrong, so nothing is written, and no version is taken.
    database.sql(&["CALL marea.run_backfill(again => true)"]).await.succeeds();
    let expected = stored(&database).await;
    assert!(expected.values().filter(|row| !row["days"].is_null()).count() > 80, "histories worth something");
    let versions = "SELECT md5(string_agg(c::text, ',' ORDER BY c.user_id)) FROM marea.clocks AS c";
    let before = database.text(versions).await;
    database.sql(&["CALL marea.run_backfill(batch_users => 50, again => true)"]).await.succeeds();
    assert_eq!(
        database.text("SELECT users_changed FROM marea.backfill ORDER BY run DESC LIMIT 1").await,
        "0"
    );
    assert_eq!(database.text(versions).await, before);

    database.execute(FORGET).await;
    let ran = database.sql(&["CALL marea.run_backfill(batch_users => 50, again => true)"]).await.succeeds();
    assert!(ran.stderr.contains("backfill: 120 of 120 users"), "{}", ran.stderr);
    assert_eq!(stored(&database).await, expected);
    // What it wrote, devices get: every progress row and day carries a version.
    let unversioned = database
        .text(
            "SELECT count(*) FROM marea.daily_activity AS d WHERE NOT EXISTS (SELECT FROM marea.rows AS r
             WHERE r.user_id = d.user_id AND r.table_name = 'daily_activity' AND r.row_key = d.day::text
               AND NOT r.deleted AND r.version > 0)",
        )
        .await;
    assert_eq!(unversioned, "0");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_backfill_goes_on_where_it_was() {
    let mut random = Random::of_this_run("backfill_restart");
    let cluster = Cluster::start().await;
    let database = cluster.database("restart", 3).await;
    with_histories(&database, &mut random, 60).await;
    // Every learner has a progress row from here on.
    database.sql(&["CALL marea.run_backfill(again => true)"]).await.succeeds();
    let expected = stored(&database).await;
    database.execute(&FORGET.replace("DELETE FROM public.user_progress WHERE", "--")).await;

    let state = "SELECT users_done || ' of ' || users_total || coalesce(' finished' || left(finished_at::text, 0), '')
                 FROM marea.backfill ORDER BY run DESC LIMIT 1";
    database.sql(&["SELECT marea.backfill_batch(25, again => true)"]).await.succeeds();
    assert_eq!(database.text(state).await, "25 of 60");
    // A batch that fails leaves no trace of itself.
    database
        .sql(&["BEGIN; SELECT marea.backfill_batch(25); SELECT 1 / 0"])
        .await
        .fails_with("division by zero");
    assert_eq!(database.text(state).await, "25 of 60");
    database.sql(&["CALL marea.run_backfill(batch_users => 25)"]).await.succeeds();
    assert_eq!(database.text(state).await, "60 of 60 finished");
    assert_eq!(stored(&database).await, expected);

    // A finished one is not begun again unasked, and the file may be run twice.
    let runs = "SELECT count(*) FROM marea.backfill";
    let before = database.text(runs).await;
    database.migration("003_backfill.sql").await.succeeds();
    assert_eq!(database.text(runs).await, before);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_arrive_meanwhile_are_counted_once() {
    const WRITERS: u64 = 4;
    let mut random = Random::of_this_run("backfill_busy");
    let cluster = Cluster::start().await;
    let database = cluster.database("busy", 3).await;
    with_histories(&database, &mut random, 50).await;
    database.execute(FORGET).await;
    let users: Vec<Uuid> = stored(&database).await.into_keys().collect();

    let over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (client, over, users) = (database.connect().await, Arc::clone(&over), users.clone());
        let mut random = Random::of_seed(random.bits() ^ writer);
        writers.push(tokio::spawn(async move {
            let mut written = 0;
            // Each keeps to its own sessions, but all to the same learners.
            while !over.load(Ordering::Relaxed) || written == 0 {
                let mut history = History::new(*random.one_of(&users));
                for _ in 0..random.within(1..=6) {
                    let statement = history.step(&mut random);
                    // Statements on all of a learner's sessions would be other writers' business too.
                    if !statement.contains("WHERE user_id") {
                        client
                            .batch_execute(&statement)
                            .await
                            .unwrap_or_else(|e| panic!("{e:?}\n{statement}"));
                        written += 1;
                    }
                }
            }
            written
        }));
    }
    for _ in 0..5 {
        database.sql(&["CALL marea.run_backfill(batch_users => 7, again => true)"]).await.succeeds();
    }
    over.store(true, Ordering::Relaxed);
    let mut written = 0;
    for writer in writers {
        written += writer.await.expect("a writer that was not refused");
    }
    assert!(written > 0);

    // The fold of everything, once more: nothing was left to correct.
    let before = stored(&database).await;
    database.sql(&["CALL marea.run_backfill(again => true)"]).await.succeeds();
    assert_eq!(stored(&database).await, before, "after {written} statements");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_says_what_it_needs_and_can_be_taken_back() {
    let cluster = Cluster::start().await;
    let bare = cluster.database("bare", 1).await;
    bare.migration("003_backfill.sql").await.fails_with("Missing: the sync layer (migration 002)");

    // A past of more users than one batch holds, so that the file has to commit in between.
    let past = cluster.database("past", 2).await;
    past.execute(
        "INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, 250);
         SET session_replication_role = replica;
         INSERT INTO public.sessions (user_id, ended_at, duration_minutes)
         SELECT id, timestamptz '2026-11-01', 5 FROM public.users, generate_series(1, 3);
         SET session_replication_role = origin;",
    )
    .await;
    let schema =
        "SELECT md5(string_agg(format('%s %s', p.oid::regprocedure, pg_get_function_result(p.oid)), ','
        ORDER BY p.oid::regprocedure::text)) FROM pg_proc AS p WHERE pronamespace = 'marea'::regnamespace";
    let before = past.text(schema).await;
    let ran = past.migration("003_backfill.sql").await.succeeds();
    assert_eq!(ran.stderr.matches("NOTICE:  backfill: ").count(), 3, "{}", ran.stderr);
    past.migration("validate_003.sql").await.succeeds();
    let progress = "SELECT count(*) FROM public.user_progress WHERE total_sessions = 3 AND total_time_spent_minutes = 15";
    assert_eq!(past.text(progress).await, "250");

    // Each check is seen to fail.
    for breakage in [
        "ALTER TABLE marea.backfill DROP COLUMN facts_read",
        "DROP FUNCTION marea.backfill_batch",
        "ALTER TABLE marea.backfill DISABLE ROW LEVEL SECURITY",
        "GRANT EXECUTE ON FUNCTION marea.backfill_batch TO authenticated",
        "UPDATE marea.backfill SET finished_at = NULL",
        "DELETE FROM marea.backfill",
    ] {
        let script =
            std::fs::read_to_string(marea_tests::cluster::root().join("migrations/validate_003.sql"));
        let script = script.expect("the validation").replacen("BEGIN;", &format!("BEGIN; {breakage};"), 1);
        past.sql(&[&script]).await.fails_with("Marea 003: ");
    }
    past.migration("validate_003.sql").await.succeeds();

    past.migration("003_backfill_rollback.sql").await.succeeds();
    assert_eq!(past.text(schema).await, before);
    assert_eq!(past.text(progress).await, "250", "what was computed stays");
    past.migration("validate_003.sql").await.fails_with("Marea 003: ");
    past.migration("003_backfill_rollback.sql").await.succeeds();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_migrates_a_database_with_a_past() {
    let cluster = Cluster::start().await;
    let database = cluster.database("served", 0).await;
    database
        .execute(
            "INSERT INTO public.users (id) SELECT gen_random_uuid() FROM generate_series(1, 250);
             INSERT INTO public.sessions (user_id, ended_at) SELECT id, '2026-11-01' FROM public.users;",
        )
        .await;
    let options = Options { database_url: Some(database.url.clone()), ..Options::default() };
    let backend = Backend::start(options).await.expect("the backend applies all migrations");
    backend.stop().await;
    assert_eq!(
        database.text("SELECT users_done FROM marea.backfill WHERE finished_at IS NOT NULL").await,
        "250"
    );
    let counted =
        "SELECT count(*) FROM public.user_progress WHERE total_sessions = 1 AND current_streak_days = 1";
    assert_eq!(database.text(counted).await, "250");
    cluster.stop().await;
}
