//! Both apps, from the preflight to a year later and back: nothing that a learner has is lost, counted twice, or left behind.

use std::collections::BTreeMap;

use marea_tests::cluster::{Cluster, Database, migrations};
use marea_tests::schema::{SNAPSHOT, assert_same};

use crate::app::{Supabase, by_subject, preflight, rows, verdict};

const DAYS: i64 = 365;
/// What the year does to sessions, and what the app notes of it, stays done.
const CHANGED: [&str; 2] = ["sessions", "audit_log"];
const LEARNER: &str = "00000000-0000-4000-8000-000000000001";

/// The totals of each learner: sessions, minutes, questions, correct, words, points.
async fn totals(database: &Database, table: &str) -> BTreeMap<String, [i64; 6]> {
    let query = format!(
        "SELECT user_id::text, ARRAY[total_sessions, total_time_spent_minutes, total_questions_answered, total_questions_correct,
            total_vocabulary_learned, total_points]::bigint[] FROM {table}"
    );
    let rows = database.client.query(&query, &[]).await.unwrap_or_else(|error| panic!("{table}: {error:?}"));
    rows.iter().map(|row| (row.get(0), row.get::<_, Vec<i64>>(1).try_into().expect("six"))).collect()
}

async fn migrate(database: &Database) {
    for (_, file) in migrations() {
        database.file(&file).await.succeeds();
    }
    validate(database).await;
}

/// Every check passes, or says why it was not tried.
async fn validate(database: &Database) {
    for (number, _) in migrations() {
        let ran = database.migration(&format!("validate_{number:03}.sql")).await.succeeds();
        assert!(ran.stdout.contains("PASS") && !ran.stdout.contains("FAIL"), "{number}: {ran:#?}");
    }
}

async fn take_back(database: &Database) {
    for (_, file) in migrations().into_iter().rev() {
        let name =
            file.file_name().and_then(|name| name.to_str()).expect("a name").replace(".sql", "_rollback.sql");
        database.migration(&name).await.succeeds();
    }
    database.migration("adopt_rollback.sql").await.succeeds();
}

/// A session each day, ended at noon, corrected at times; `nightly` runs after each, as of that day.
async fn live(database: &Database, nightly: &str) {
    let mut expected = totals(database, "public.user_progress").await;
    let begin = expected[LEARNER];
    for day in 0..DAYS {
        let noon = format!("date_trunc('day', now()) - interval '{} days' + interval '9 hours'", DAYS - day);
        database
            .execute(&format!(
                "INSERT INTO public.sessions (id, user_id, session_type, started_at, ended_at, duration_minutes, qa_attempts, qa_correct)
                 VALUES (gen_random_uuid(), '{LEARNER}', 'qa', {noon} - interval '15 minutes', {noon}, 15, 10, 9)"
            ))
            .await;
        if day % 30 == 0 {
            database
                .execute(&format!(
                    "UPDATE public.sessions SET vocabulary_learned = 2 WHERE ended_at = {noon}"
                ))
                .await;
            expected.get_mut(LEARNER).expect("the learner")[4] += 2;
        }
        database.execute(&nightly.replace("{today}", &format!("({noon} + interval '15 hours')"))).await;
        let now = expected.get_mut(LEARNER).expect("the learner");
        for (total, more) in now.iter_mut().zip([1, 15, 10, 9, 0, 0]) {
            *total += more;
        }
        assert_eq!(totals(database, "public.user_progress").await, expected, "day {day}");
    }
    assert_eq!(expected[LEARNER][0], begin[0] + DAYS);
    let left = database
        .text("SELECT count(*) FROM public.sessions WHERE ended_at < now() - interval '92 days'")
        .await;
    assert_eq!(left, "0", "the job has run");
    let days = format!(
        "SELECT count(*) FROM marea.daily_activity WHERE user_id = '{LEARNER}' AND day >= current_date - {DAYS} AND day < current_date"
    );
    assert_eq!(database.text(&days).await, DAYS.to_string());
    let longest =
        format!("SELECT longest_streak_days >= {DAYS} FROM public.user_progress WHERE user_id = '{LEARNER}'");
    assert_eq!(database.text(&longest).await, "true");
    // What is kept and what is folded from nothing are the same.
    assert_eq!(database.text("SELECT sum(marea.refold(ARRAY[id])) FROM public.users").await, "0");
    let mut folded = totals(database, "public.user_progress").await;
    folded.retain(|learner, _| expected.contains_key(learner)); // who has done nothing got an empty row
    assert_eq!(folded, expected);
    validate(database).await;
}

async fn awkward(automatic_grants: bool) {
    let server = Supabase::start().await;
    let database = server.awkward("awkward", automatic_grants).await;
    // What a developer would paste, and nothing more.
    for subject in ["learners without a row in users", "new learners", "job 2 of cron"] {
        let findings = preflight(&database).await;
        database.execute(&by_subject(&findings)[&(subject, "warning")].remedy).await;
    }
    let findings = preflight(&database).await;
    let nightly = "function public.delete_old_sessions(today timestamp with time zone)";
    database.execute(&by_subject(&findings)[&(nightly, "warning")].remedy).await;

    let (schema, data) = (database.text(SNAPSHOT).await, rows(&database, &CHANGED).await);
    let were = totals(&database, "public.user_progress").await;
    let exports = "SELECT string_agg(concat_ws(' ', id, user_id, export_type, {format}, {error}, {made}, {ended}), E'\\n' ORDER BY id)
        FROM public.export_history";
    let old = exports.replace("{format}", "format").replace("{error}", "error");
    let old = database.text(&old.replace("{made}", "requested_at").replace("{ended}", "finished_at")).await;

    database.migration("adopt.sql").await.succeeds();
    migrate(&database).await;
    // Everything that the app's own trigger had counted, once; points that no session says; nothing less.
    let mut are = totals(&database, "public.user_progress").await;
    are.retain(|learner, _| were.contains_key(learner));
    assert_eq!(are, were);
    let streaks = format!(
        "SELECT concat_ws(' ', current_streak_days, longest_streak_days, created_at AT TIME ZONE 'UTC', average_accuracy,
            (SELECT string_agg(name, ',' ORDER BY name) FROM jsonb_object_keys(achievements) AS name))
         FROM public.user_progress WHERE user_id = '{LEARNER}'"
    );
    assert_eq!(database.text(&streaks).await, "4 31 2024-11-05 10:00:00 80.00 first_session,ten_sessions");
    let new = exports.replace("{format}", "export_format").replace("{error}", "error_message");
    assert_eq!(
        database.text(&new.replace("{made}", "created_at").replace("{ended}", "completed_at")).await,
        old
    );
    let statuses = "SELECT string_agg(DISTINCT status, ',' ORDER BY status) FROM public.export_history";
    assert_eq!(database.text(statuses).await, "completed,failed,pending");
    // Whoever signs up now has a row.
    database
        .execute("INSERT INTO auth.users (id, email) VALUES (gen_random_uuid(), 'new@example.com')")
        .await;
    assert_eq!(database.text("SELECT value FROM marea.health WHERE measure = 'learners'").await, "0");
    let findings = preflight(&database).await;
    assert_eq!(verdict(&findings).subject, "ready, with warnings", "{findings:#?}");

    live(&database, "SELECT public.delete_old_sessions({today})").await;

    database.execute("DELETE FROM auth.users WHERE email = 'new@example.com'").await;
    database.execute("TRUNCATE public.audit_log").await;
    take_back(&database).await;
    assert_same(&schema, &database.text(SNAPSHOT).await, "the schema");
    assert!(data.contains("\nuser_progress\n") && data.starts_with("export_history\n"), "{data}");
    assert_same(&data, &rows(&database, &CHANGED).await, "the rows");
    server.cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_awkward_app_lives_a_year_and_goes_back() {
    awkward(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_with_automatic_grants() {
    awkward(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tidy_app_lives_a_year_and_goes_back() {
    let cluster = Cluster::start().await;
    let database = cluster.database("tidy", 0).await;
    database
        .execute(&format!(
            "INSERT INTO public.users (id) VALUES ('{LEARNER}'), (gen_random_uuid());
             INSERT INTO public.sessions (user_id, ended_at, qa_attempts, qa_correct) SELECT id, '2024-03-01', 5, 3 FROM public.users"
        ))
        .await;
    let (schema, data) = (database.text(SNAPSHOT).await, rows(&database, &["sessions"]).await);
    assert_eq!(verdict(&preflight(&database).await).subject, "ready");
    database.migration("adopt.sql").await.succeeds();
    migrate(&database).await;
    live(&database, "SELECT marea.retire_sessions({today} - interval '90 days')").await;

    take_back(&database).await;
    assert_same(&schema, &database.text(SNAPSHOT).await, "the schema");
    assert_same(&data, &rows(&database, &["sessions"]).await, "the rows");
    cluster.stop().await;
}
